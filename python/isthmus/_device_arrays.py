# SPDX-License-Identifier: Apache-2.0
"""Arrays of other libraries: those on a GPU go in and come out without a copy, and every answer is of the caller's
library. No library is imported for that: an array of one that is not loaded cannot come in.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus import _core

if TYPE_CHECKING:
    from numpy.typing import NDArray

DeviceArray = _core.DeviceArray


def take(X: object, name: str) -> DeviceArray | None:
    """X where it is, if that is on a GPU, by DLPack, else by ``__cuda_array_interface__``; None for everything else.

    The caller's work on X is waited for by the GPU, in the order that the protocol says.

    Raises
    ------
    TypeError
        For what holds no real numbers.
    RuntimeError
        For a GPU that isthmus cannot use, with what was found.
    """
    if isinstance(X, (np.ndarray, list, tuple)) or not (
        hasattr(X, "__dlpack_device__") or hasattr(X, "__cuda_array_interface__")
    ):
        return None
    return _core.device_array(X, name)


def home(rows: object, device: object) -> str:
    """The device that ``"auto"`` takes for the sake of rows on a GPU, else nothing."""
    return rows.device if isinstance(rows, DeviceArray) and device == "auto" else ""


def brought(array: Any, core: _core.Model, name: str) -> Any:
    """The array where this model reads it: an array on a GPU itself, or a copy on the host for what is computed there.

    Raises
    ------
    ValueError
        For an array on another GPU than the model, or for one on a GPU when the model is not.
    """
    if not isinstance(array, DeviceArray):
        return array
    array.check_device(core.device, name)
    return array if core.reads_device_rows else array.to_host()


def empty(rows: object, shape: tuple[int, ...], wide: bool = False) -> Any:
    """An array for results where the rows are: float32, or float64 when it is `wide`."""
    if isinstance(rows, DeviceArray):
        return rows.empty(list(shape), wide)
    return np.empty(shape, np.float64 if wide else np.float32)


def on_host(values: Any) -> NDArray[Any]:
    """Results as a NumPy array, copied from the GPU if they are there."""
    return values.to_host() if isinstance(values, DeviceArray) else values


def in_kind(values: Any, X: object) -> Any:
    """Results in the library that X is of, on its device, sharing memory; NumPy's, or what a GPU has, for others."""
    if not isinstance(X, np.ndarray):
        there = take(X, "X") if isinstance(values, np.ndarray) else None
        if there is not None:  # what was computed on the host for rows on a GPU
            values = _core.place(np.ascontiguousarray(values), there.device)
        for library, array_type, convert in _LIBRARIES:
            module = sys.modules.get(library)
            if module is not None and isinstance(X, array_type(module)):
                return convert(module, values)
    return values


# Library, its type of arrays, and how it takes one over.
_LIBRARIES: tuple[tuple[str, Callable[[Any], type], Callable[[Any, Any], Any]], ...] = (
    ("torch", lambda torch: torch.Tensor, lambda torch, values: torch.from_dlpack(values)),
    ("cupy", lambda cupy: cupy.ndarray, lambda cupy, values: cupy.from_dlpack(values)),
    ("jax", lambda jax: jax.Array, lambda jax, values: jax.numpy.from_dlpack(values)),
    (
        "numba.cuda",
        lambda cuda: cuda.devicearray.DeviceNDArray,
        lambda cuda, values: cuda.as_cuda_array(values) if isinstance(values, DeviceArray) else values,
    ),
)
