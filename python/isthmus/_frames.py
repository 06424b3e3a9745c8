# SPDX-License-Identifier: Apache-2.0
"""Data frames and tables at the door, by what they say of themselves; none of their packages is imported before one of
its objects comes in. Every column must hold numbers; a missing value becomes NaN, which is then refused by its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def column_names(X: Any) -> list[Any] | None:
    """The names of a table's columns, whatever they are; None for what has none."""
    if _package(X) == "polars" and hasattr(X, "collect_schema"):
        return list(X.collect_schema().names())
    names = getattr(X, "column_names", None)  # pyarrow, whose `columns` are the data
    if names is None and hasattr(X, "shape"):
        names = getattr(X, "columns", None)
    return None if names is None else list(names)


def to_array(X: Any, name: str) -> NDArray[Any] | None:
    """A table's columns side by side, or None for what is no table.

    Raises
    ------
    TypeError
        For a column that does not hold numbers, named, and for a table that was not computed yet.
    """
    package = _package(X)
    if package == "pandas" and hasattr(X, "iloc") and getattr(X, "ndim", 0) == 2:
        return _from_pandas(X, name)
    if package == "polars" and hasattr(X, "collect_schema"):
        return _from_polars(X, name)
    if package == "pyarrow" and hasattr(X, "column_names"):
        return _from_arrow(X, name)
    if hasattr(X, "__arrow_c_stream__") and not hasattr(X, "__array__"):
        try:
            import pyarrow
        except ImportError:
            raise TypeError(f"{name} is an Arrow stream ({type(X).__name__}); reading it needs pyarrow") from None
        return _from_arrow(pyarrow.table(X), name)
    return None


def _package(X: Any) -> str:
    return type(X).__module__.partition(".")[0]


def _from_pandas(X: Any, name: str) -> NDArray[Any]:
    dtypes = list(X.dtypes)
    for position, dtype in enumerate(dtypes):
        if dtype.name == "category" or dtype.kind not in "biufcO":  # an object may still be a number
            _refuse(name, X.columns[position], position, dtype)
    extension = any(not isinstance(dtype, np.dtype) for dtype in dtypes)
    if extension and all(dtype.kind in "biuf" for dtype in dtypes):  # else NumPy would make objects of them
        return np.asarray(X.to_numpy(dtype=np.float64, na_value=np.nan))
    return np.asarray(X)


def _from_polars(X: Any, name: str) -> NDArray[Any]:
    if not hasattr(X, "to_numpy"):
        raise TypeError(f"{name} is a polars {type(X).__name__}; pass {name}.collect()")
    for position, (column, dtype) in enumerate(X.schema.items()):
        if not dtype.is_numeric() and str(dtype) not in ("Boolean", "Null"):
            _refuse(name, column, position, dtype)
    array = np.asarray(X.to_numpy())
    return array.astype(np.float64) if array.dtype.kind == "O" else array  # nulls in a column of booleans


def _from_arrow(X: Any, name: str) -> NDArray[Any]:
    from pyarrow import types

    numbers = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null)
    for position, field in enumerate(X.schema):
        if not any(is_number(field.type) for is_number in numbers):
            _refuse(name, field.name, position, field.type)
    array = np.asarray(X)
    return array.astype(np.float64) if array.dtype.kind == "O" else array


def _refuse(name: str, column: Any, position: int, dtype: Any) -> NoReturn:
    raise TypeError(f"{name}[:, {position}], column {column!r}, has dtype {dtype}; it must hold numbers")
