# SPDX-License-Identifier: Apache-2.0
"""Sparse matrices at the door, by what they say of themselves: SciPy's, in any format, and whatever else makes CSR of
itself. SciPy is not imported for that.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus import _core

CsrArray = _core.CsrArray


def take(X: Any, name: str) -> CsrArray | None:
    """The rows of X where they are, in CSR; None for what is not sparse. Nothing is read by an index of X before the
    core has looked at them all.

    Raises
    ------
    ValueError
        For another number of dimensions, complex numbers, and indices that are none of this matrix.
    TypeError
        For what holds no numbers.
    """
    if not hasattr(X, "tocsr"):
        return None
    if len(X.shape) != 2:
        raise ValueError(f"{name} must be a 2-D array (rows, features); got {len(X.shape)}-D of shape {X.shape}")
    csr = X.tocsr()
    offsets, columns, values = (np.asarray(part) for part in (csr.indptr, csr.indices, csr.data))
    if values.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {name} has dtype {values.dtype}")
    if values.dtype.kind not in "biuf":
        raise TypeError(f"{name} has dtype {values.dtype}; it must hold numbers")
    if not _core.reads(values):  # half and extended precision, foreign byte order
        native = values.dtype.newbyteorder("=")
        narrow = native if native.kind in "iu" else np.float32 if values.itemsize <= 4 else np.float64
        with np.errstate(over="ignore"):
            values = values.astype(narrow)
    if offsets.dtype != columns.dtype or offsets.dtype not in (np.int32, np.int64):
        _check_integers(offsets, f"{name}.indptr")
        _check_integers(columns, f"{name}.indices")
        offsets, columns = offsets.astype(np.int64), columns.astype(np.int64)
    offsets, columns, values = (np.ascontiguousarray(p) if p.ndim == 1 else p for p in (offsets, columns, values))
    return CsrArray(offsets, columns, values, int(csr.shape[0]), int(csr.shape[1]), name)


def _check_integers(array: np.ndarray[Any, Any], name: str) -> None:
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {array.dtype}; it must hold integers")


def dense_rows(array: Any, numbers: Any) -> np.ndarray[Any, Any]:
    """The rows of these numbers of an array of the host, with their zeros."""
    if not isinstance(array, CsrArray):
        return np.asarray(array[numbers])
    return array.to_dense(np.arange(len(array))[numbers].tolist())
