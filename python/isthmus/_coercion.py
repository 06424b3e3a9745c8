# SPDX-License-Identifier: Apache-2.0
"""Arrays at the door: what comes in from outside becomes an array that the core reads, or a clear error.

The core reads rows of any integer type, float32, float64 and bool, with any strides, and converts and checks them
itself. What is of another kind (half and extended precision, foreign byte order, objects) is converted and checked
here, where the value can still be named as it was: whole for training, a block of rows at a time for inference.

To a model with ``missing="mask"``, the argument `missing` here, NaN is a value that was not observed. What other
libraries mean by it (None, NA, null, a masked value) becomes NaN.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from numbers import Complex, Number, Real
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus import _core, _device_arrays, _frames, _sparse

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    Locate = Callable[[int, int], str]  # row and column to the words that name the element

# Elements converted at a time: 4 MiB of float32, small enough for a cache and large enough for every thread.
_BLOCK = 1 << 20


# ---- anything to an array ---------------------------------------------------------------------------------------


def matrix(X: object, name: str = "X", missing: bool = False, may_be_empty: bool = False) -> Any:
    """A 2-D array of numbers with at least one column and, unless it may be empty, one row, in the dtype and layout it
    came in: NumPy's, or a `DeviceArray` for one on a GPU, a `CsrArray` for a sparse one.

    Raises
    ------
    TypeError
        For None, dates and structured arrays.
    ValueError
        For another number of dimensions, rows of different lengths, strings, complex numbers, masked values, and
        arrays without rows or columns.
    """
    array: Any = _device_arrays.take(X, name)
    if array is None:
        array = _sparse.take(X, name)
    if array is None:
        array = _array(X, name, "a 2-D array (rows, features)", missing)
    if array.ndim == 1:
        raise ValueError(
            f"{name} must be a 2-D array (rows, features); got a 1-D array of shape {array.shape}. Reshape your data: "
            f".reshape(-1, 1) if it is a single feature, .reshape(1, -1) if it is a single row"
        )
    if array.ndim != 2:
        raise ValueError(f"{name} must be a 2-D array (rows, features); got {array.ndim}-D of shape {array.shape}")
    for axis, what in enumerate(("sample", "feature")):
        if array.shape[axis] == 0 and not (may_be_empty and axis == 0):
            raise ValueError(f"{name} has 0 {what}(s) (shape={array.shape}) while a minimum of 1 is required.")
    return array


def _array(X: object, name: str, wanted: str, missing: bool = False) -> NDArray[Any]:
    if hasattr(X, "tocsr"):
        raise TypeError(f"{name} is a sparse {type(X).__name__}; {wanted} is needed: pass {name}.toarray()")
    if X is None or isinstance(X, (str, bytes, dict, set)):
        raise TypeError(f"{name} must be {wanted}; got {'None' if X is None else type(X).__name__}")
    masked = sys.modules.get("numpy.ma")
    if masked is not None and isinstance(X, masked.MaskedArray) and masked.is_masked(X):
        if missing and X.dtype.kind in "biuf":
            return np.asarray(X.astype(np.result_type(X.dtype, np.float32)).filled(np.nan))
        row = ", ".join(str(i) for i in np.argwhere(masked.getmaskarray(X))[0])
        raise ValueError(f"{name}[{row}] is masked; {name} must be without masked values")
    try:
        table = None if isinstance(X, np.ndarray) else _frames.to_array(X, name)
        array = np.asarray(X) if table is None else table
    except ValueError as error:
        raise ValueError(f"{name} must be {wanted}: {error}") from error
    if array.ndim == 0:
        in_batches = (hasattr(X, "__iter__") or callable(X)) and not hasattr(X, "__array__")
        batches = "; fit and validation_data alone take rows in batches" if in_batches else ""
        raise ValueError(f"{name} must be {wanted}; got a single {type(X).__name__}{batches}")
    if array.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {name} has dtype {array.dtype}")
    if array.dtype.kind in "UST":
        raise ValueError(f"{name} holds strings (dtype {array.dtype}); it must hold numbers")
    if array.dtype.kind not in "biufO":
        raise TypeError(f"{name} has dtype {array.dtype}; it must hold numbers")
    return array


def feature_names(X: object) -> list[str] | None:
    """Column names of a data frame, when all are strings; TypeError when only some are."""
    names = _frames.column_names(X)
    if names is None:
        return None
    kinds = sorted({type(name).__name__ for name in names})
    strings = [name for name in names if isinstance(name, str)]
    if not strings:
        return None
    if len(strings) < len(names):
        raise TypeError(
            f"Feature names are only supported if all input features have string names, but your input has {kinds} as "
            f"feature name / column name types. Convert them all to strings, or to none"
        )
    return strings


# ---- arrays that the core reads ---------------------------------------------------------------------------------


def readable(array: Any, name: str = "X", first_row: int = 0, missing: bool = False) -> Any:
    """The 2-D array itself where the core knows its type of number, else a copy in the nearest type that it knows; for
    one on a GPU, itself or a copy there.

    `first_row` is added to the row that an error names.

    Raises
    ------
    ValueError
        Naming row, column and original value of what a conversion here makes infinite or finds to be so. What is not
        converted here is checked by the core.
    TypeError
        For an object array that holds something other than numbers.
    """
    if isinstance(array, _core.DeviceArray):
        rows, at = array.readable()
        if at is not None:
            raise ValueError(f"{_element(name, *at)} is {_why_not_finite(array.item(*at), name)}")
        return rows
    if isinstance(array, _core.CsrArray) or _core.reads(array):
        return array
    if array.strides[0] == 0 and array.shape[0] > 1:  # one row repeated stays one row
        return np.broadcast_to(readable(array[:1], name, first_row, missing), array.shape)
    kind = array.dtype.kind
    native = array.dtype.newbyteorder("=") if kind in "iu" else np.float32 if array.itemsize <= 4 else np.float64
    return _converted(
        array, name, lambda row, column: _element(name, row + first_row, column), native, missing=missing
    )


def blocks(
    array: Any, name: str = "X", whole: bool = True, missing: bool = False
) -> Iterator[tuple[slice, Any]]:
    """The array's rows in order as `readable` gives them, all at once on a GPU, and where that is no copy and `whole`
    asks for it.
    """
    if isinstance(array, _core.DeviceArray):
        yield slice(None), readable(array, name)
        return
    sparse = isinstance(array, _core.CsrArray)
    if whole and (sparse or _core.reads(array)):
        yield slice(None), array
        return
    n, width = array.shape
    step = max(1, _BLOCK // width)
    for first in range(0, n, step):
        rows = slice(first, min(first + step, n))
        yield rows, array.slice(first, rows.stop - first) if sparse else readable(array[rows], name, first, missing)


def passes(array: NDArray[Any]) -> bool:
    """Whether a kernel reads a 2-D array as it is: float32 with contiguous rows."""
    # aligned also means that strides are multiples of the element's size
    in_place = array.dtype == np.float32 and array.flags.aligned  # native byte order: the dtypes differ otherwise
    return bool(in_place and (array.shape[1] == 1 or array.strides[1] == array.itemsize))


def float32(array: NDArray[Any], name: str) -> NDArray[np.float32]:
    """The 2-D array as a kernel reads it, whatever its values are."""
    return array if passes(array) else _converted(array, name, partial(_element, name), finite=False)


def row_weights(
    sample_weight: object, n_rows: int, name: str = "sample_weight", rows: str = "X"
) -> NDArray[np.float32] | None:
    """One contiguous float32 a row, or None; the core checks that they are not negative."""
    if sample_weight is None:
        return None
    there = _device_arrays.take(sample_weight, name)  # the trainer reads weights on the host
    array: Any = there
    if there is None:
        array = _array(sample_weight, name, "a 1-D array with one number a row")
    if array.shape != (n_rows,):
        raise ValueError(f"{name} must have shape ({n_rows},), one number a row of {rows}; got {array.shape}")
    array = _device_arrays.on_host(array)
    column = _converted(array.reshape(-1, 1), name, partial(_item, name))
    return np.ascontiguousarray(column[:, 0])


def parameters(weights: object, shapes: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
    """A list ``[W0, b0, W1, b1, ...]`` of finite contiguous float32 arrays in these shapes."""
    if not isinstance(weights, (list, tuple)):
        raise TypeError(f"weights must be a list [W0, b0, W1, b1, ...]; got {type(weights).__name__}")
    if len(weights) != len(shapes):
        raise ValueError(f"weights must be a list of {len(shapes)} arrays, [W0, b0, W1, b1, ...]; got {len(weights)}")
    result = []
    for i, (weight, shape) in enumerate(zip(weights, shapes, strict=True)):
        name = f"weights[{i}]"
        array = _array(weight, name, f"an array of shape {tuple(shape)}")
        if array.shape != tuple(shape):
            raise ValueError(f"{name} must have shape {tuple(shape)}; got {array.shape}")
        rows = array.reshape(array.shape[0], -1)
        locate = partial(_element, name) if array.ndim == 2 else partial(_item, name)
        result.append(_converted(rows, name, locate).reshape(array.shape))
    return result


def _element(name: str, row: int, column: int) -> str:
    return f"{name}[{row}, {column}]"


def _item(name: str, row: int, _: int) -> str:
    return f"{name}[{row}]"


def _converted(
    array: NDArray[Any], name: str, locate: Locate, dtype: DTypeLike = np.float32, finite: bool = True,
    missing: bool = False,
) -> NDArray[Any]:  # fmt: skip
    with np.errstate(all="ignore"):
        numbers = _from_objects(array, name, locate, missing) if array.dtype.kind == "O" else array
        converted = np.require(numbers, dtype, ("C_CONTIGUOUS", "ALIGNED"))
    at = _core.find_non_finite(converted, missing) if finite else None
    if at is not None:
        raise ValueError(f"{locate(*at)} is {_why_not_finite(array[at], name)}")
    return converted


def _from_objects(array: NDArray[Any], name: str, locate: Locate, missing_too: bool) -> NDArray[np.float64]:
    refused = {kind for kind in map(type, array.flat) if not _is_number(kind)}
    if missing_too and any(_is_missing(kind) for kind in refused):
        refused = {kind for kind in refused if not _is_missing(kind)}
        holes = np.reshape([_is_missing(type(value)) for value in array.flat], array.shape)
        array = np.where(holes, np.nan, array)
    if refused:
        missing = next((at for at, value in np.ndenumerate(array) if type(value).__name__ == "NAType"), None)
        if missing is not None and not missing_too:
            raise ValueError(f"{locate(*missing)} is missing (NA); {name} must be without missing values")
        at, value = next((at, value) for at, value in np.ndenumerate(array) if type(value) in refused)
        raise TypeError(f"{locate(*at)} is {_short(value)}: {_why_no_number(value)}")
    try:
        return array.astype(np.float64)
    except OverflowError:  # an int beyond float64
        at, value = next((at, value) for at, value in np.ndenumerate(array) if abs(value) > sys.float_info.max)
        raise ValueError(f"{locate(*at)} is {_why_not_finite(value, name)}") from None


def _is_missing(kind: type) -> bool:
    return kind is type(None) or kind.__name__ == "NAType"


def _is_number(kind: type) -> bool:
    real = issubclass(kind, Real) or (issubclass(kind, Number) and not issubclass(kind, Complex))  # Decimal
    return real or issubclass(kind, np.bool_)


def _why_no_number(value: object) -> str:
    if isinstance(value, (str, bytes)):
        return "strings are not converted to numbers"
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        return str(error)
    return f"every value must be a real number, not {type(value).__name__}"


def _why_not_finite(value: Any, name: str) -> str:
    if value != value or abs(value) == float("inf"):  # not math.isfinite: value may be a huge int
        return f"{value}; {name} must be finite (no NaN, no infinity)"
    return f"{_short(value)}, beyond the largest float32, {float(np.finfo(np.float32).max):.8g}"


def _short(value: object) -> str:
    text = str(value) if isinstance(value, (int, float, np.generic)) else repr(value)
    return text if len(text) <= 60 else text[:60] + "..."
