# SPDX-License-Identifier: Apache-2.0
"""What a fit may take, in seconds and bytes: parameters that belong to the run, and that no file stores."""

from __future__ import annotations

import math
from numbers import Real

import numpy as np


def seconds(max_seconds: object) -> float | None:
    """``max_seconds`` as the core takes it; TypeError or ValueError for what is not allowed."""
    if max_seconds is None:
        return None
    wanted = f"max_seconds must be None or a finite number above 0; got {max_seconds!r}"
    if isinstance(max_seconds, (bool, np.bool_)) or not isinstance(max_seconds, Real):
        raise TypeError(wanted)
    if not 0.0 < float(max_seconds) < math.inf:
        raise ValueError(wanted)
    return float(max_seconds)
