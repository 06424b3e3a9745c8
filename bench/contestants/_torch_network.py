# SPDX-License-Identifier: Apache-2.0
"""A case as PyTorch's tutorials write it: ``nn.Sequential`` of ``nn.Linear`` and activations. Shared by torch_*."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from cases import Case
from torch import nn

ACTIVATIONS: dict[str, Any] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
# Where the functions of the losses stand; bce is taken from the value before the sigmoid.
LOSSES: dict[str, Any] = {
    "mse": nn.functional.mse_loss,
    "bce": nn.functional.binary_cross_entropy_with_logits,
}


def sequential(case: Case, logits: bool) -> Any:
    """The network with ``case.weights()``; with ``logits`` it ends before the output activation."""
    modules: list[Any] = []
    weights = case.weights()
    last = len(case.widths) - 2
    for i, (w, b) in enumerate(zip(weights[0::2], weights[1::2], strict=True)):
        layer = nn.Linear(w.shape[1], w.shape[0])
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(w))
            layer.bias.copy_(torch.from_numpy(b))
        modules.append(layer)
        name = case.activation_of(i)
        if name != "linear" and not (logits and i == last):
            modules.append(ACTIVATIONS[name]())
    return nn.Sequential(*modules)


def versions() -> dict[str, str]:
    return {
        "torch": torch.__version__,
        "instruction set": torch.backends.cpu.get_cpu_capability(),
        "blas": "MKL" if torch.backends.mkl.is_available() else "not MKL",
        "numpy": np.__version__,
    }
