# SPDX-License-Identifier: Apache-2.0
"""What a fit may take, in seconds and bytes: parameters that belong to the run, and that no file stores."""

from __future__ import annotations

import math
import re
from numbers import Real
from operator import index

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


# Powers of 1000 and of 1024.
_UNITS = {"": 1, **{f"{p}B": 1000**i for i, p in enumerate(("", "k", "M", "G", "T"))},
          **{f"{p}iB": 1024 ** (i + 1) for i, p in enumerate(("K", "M", "G", "T"))}}


def memory(max_memory: object) -> int:
    """``max_memory`` in bytes as the core takes it, 0 for None; TypeError or ValueError for what is not allowed."""
    if max_memory is None:
        return 0
    wanted = f"max_memory must be None, bytes above 0 or a text such as '2GB' or '512MiB'; got {max_memory!r}"
    if isinstance(max_memory, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kKMGT]?i?B?)\s*", max_memory)
        unit = None if found is None else _UNITS.get("kB" if found[2] == "KB" else found[2])
        if found is None or unit is None:
            raise ValueError(wanted)
        size = int(float(found[1]) * unit)
    elif isinstance(max_memory, (bool, np.bool_)) or not hasattr(max_memory, "__index__"):
        raise TypeError(wanted)
    else:
        size = index(max_memory)
    if not 1 <= size < 1 << 63:
        raise ValueError(wanted)
    return size
