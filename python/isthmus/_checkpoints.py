# SPDX-License-Identifier: Apache-2.0
"""Checkpoints as `fit` and `resume` get them: which folder, how often, and what is told of one that fails. The core
writes, reads and removes them.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np

from isthmus import _core
from isthmus._fitted import encoded


@dataclass(frozen=True)
class Checkpoints:
    """Where a fit leaves checkpoints, None being nowhere, and every how many epochs."""

    folder: bytes | None
    every: int

    def where_a_folder_is(self) -> Checkpoints:
        """A fit that is resumed from a file leaves no checkpoints."""
        return self if self.folder is not None and os.path.isdir(self.folder) else Checkpoints(None, self.every)


def checked(folder: Any, every: object) -> Checkpoints:
    """TypeError or ValueError for what is no path, or no number of epochs."""
    wanted = f"checkpoint_every must be an integer of at least 1; got {every!r}"
    if isinstance(every, (bool, np.bool_)) or not hasattr(every, "__index__"):
        raise TypeError(wanted)
    if not 1 <= index(every) < 1 << 63:
        raise ValueError(wanted)
    return Checkpoints(None if folder is None else encoded(folder), index(every))


def newest(path: str | os.PathLike[str], where: tuple[str, int]) -> _core.Model:
    """The model in the newest whole checkpoint of a folder, or in a file; a warning for each that is newer."""
    core, skipped = _core.Model.load_checkpoint(encoded(path), *where)
    for name, reason in skipped:
        warnings.warn(
            f"the newer checkpoint {os.fsdecode(name)} cannot be resumed from: {os.fsdecode(reason)}",
            RuntimeWarning,
            stacklevel=3,  # who called resume
        )
    return core


def warn(why: str) -> None:
    """For a checkpoint that could not be written: the fit goes on without."""
    warnings.warn(f"a checkpoint could not be written: {why}", RuntimeWarning, stacklevel=5)  # who called fit
