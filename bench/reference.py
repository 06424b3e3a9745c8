# SPDX-License-Identifier: Apache-2.0
"""What a network's output must be: the forward pass in float64, straight from the formulas."""

from __future__ import annotations

import numpy as np
from cases import F32, Case
from numpy.typing import NDArray

F64 = NDArray[np.float64]


def activate(name: str, z: F64) -> F64:
    match name:
        case "relu":
            return np.maximum(z, 0)
        case "tanh":
            return np.tanh(z)
        case "sigmoid":
            return 1 / (1 + np.exp(-z))
        case "linear":
            return z
    raise ValueError(f"no activation {name!r}")


def reconstruct(case: Case, x: F32) -> F64:
    """Output (n, d) of ``case.weights()`` for the rows ``x`` (n, d)."""
    weights = case.weights()
    y = x.astype(np.float64)
    for i, (w, b) in enumerate(zip(weights[0::2], weights[1::2], strict=True)):
        y = activate(case.activation_of(i), y @ w.T.astype(np.float64) + b)
    return y
