# SPDX-License-Identifier: Apache-2.0
"""Rows that come in batches, more of them than there is memory: from a DataLoader, a generator over files, a database
cursor. What can be read again and again is a stream; the core reads it once before training and once an epoch, and here
each batch becomes rows that the core reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus import _coercion, _core, _device_arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What says of an object that it is all of its rows already.
_ARRAYS = (
    "__array__", "__array_interface__", "__array_struct__", "__arrow_c_array__", "__arrow_c_stream__",
    "__cuda_array_interface__", "__dataframe__", "__dlpack__", "collect_schema", "dtype", "shape", "tocsr",
)  # fmt: skip


def is_stream(X: object) -> bool:
    """Whether X is read batch by batch: something to iterate over that is no array, table, sequence, set or mapping, or
    a function that makes such an iterator.
    """
    if isinstance(X, (type, np.ndarray, Sequence, Set, Mapping)) or any(hasattr(X, name) for name in _ARRAYS):
        return False
    if hasattr(X, "__len__") and hasattr(X, "__getitem__"):  # NumPy makes an array of it
        return False
    return hasattr(X, "__iter__") or callable(X)


class Stream:
    """The batches of one argument, in their order.

    Parameters
    ----------
    source : iterable, or callable that returns one
    name : str
        What messages call it: a batch is "batch 3 of X", counted from 0.
    missing : bool
        Whether NaN is a missing value.
    weighted : bool
        Whether a batch may come with weights.

    Raises
    ------
    TypeError
        For an iterator, which could be read once only.
    ValueError
        Where there is no batch.
    """

    def __init__(self, source: Any, name: str = "X", missing: bool = False, weighted: bool = True) -> None:
        self._source, self._name, self._missing, self._weighted = source, name, missing, weighted
        self._pass: Iterator[Any] | None = None
        self._last: Iterator[Any] | None = None  # the one begun last, whether it came to its end or not
        self._waiting: tuple[Any, Any] | None = None  # the first batch, until the core reads on
        self._count = 0
        self.width = 0
        self.names: list[str] | None = None
        try:
            self.rewind()
            self._waiting = self.next_piece()
            if self._waiting is None:
                raise ValueError(f"{name} gave no batches")
        except BaseException:
            self.close()
            raise

    @property
    def shape(self) -> tuple[int, int]:
        """Of all rows, whose number is not known."""
        return -1, self.width

    def rewind(self) -> None:
        """The next piece is the first again."""
        if self._waiting is not None:
            return
        self.close()
        self._pass = self._last = self._begun()
        self._count = 0

    def next_piece(self) -> tuple[Any, NDArray[np.float32] | None] | None:
        """Rows of the host that the core reads, and their weights, if they have any; None at the end."""
        if self._waiting is not None:
            piece, self._waiting = self._waiting, None
            return piece
        if self._pass is None:
            return None
        try:
            batch = next(self._pass)
        except StopIteration:
            self._pass = None
            return None
        self._count += 1
        return self._piece(batch, f"batch {self._count - 1} of {self._name}")

    def close(self) -> None:
        """Ends a reading that has not come to its end: a generator is closed."""
        unfinished, self._pass, self._waiting = self._pass, None, None
        close = getattr(unfinished, "close", None)
        if callable(close):
            close()

    def _begun(self) -> Iterator[Any]:
        name, makes = self._name, not hasattr(self._source, "__iter__")
        made = self._source() if makes else self._source
        if not hasattr(made, "__iter__"):
            raise TypeError(f"{name}() must give an iterator of batches; got {type(made).__name__}")
        batches: Iterator[Any] = iter(made)
        if not makes and batches is made:
            raise TypeError(
                f"{name} is an iterator ({type(made).__name__}), which can be read once, and {name} is read once more "
                f"than there are epochs: pass a function that makes a fresh one each time, or its batches to "
                f"partial_fit, one by one"
            )
        if makes and batches is self._last:
            raise ValueError(f"{name}() gave the same iterator as before; it must make a fresh one each time")
        return batches

    def _piece(self, batch: Any, name: str) -> tuple[Any, NDArray[np.float32] | None]:
        X, sample_weight = _parts(batch, name)
        if sample_weight is not None and not self._weighted:
            raise ValueError(f"{name} has sample_weight; {self._name} takes none")
        array = _coercion.matrix(X, name, self._missing, may_be_empty=True)
        names = _coercion.feature_names(X)
        if self.width == 0:
            self.width, self.names = array.shape[1], names
        if array.shape[1] != self.width:
            raise ValueError(f"{name} has {array.shape[1]} features, but the batches before it have {self.width}")
        if names != self.names:
            raise ValueError(f"{name} has the feature names {names}, but the first batch has {self.names}")
        if isinstance(array, _core.DeviceArray):
            array = array.to_host()
        rows = _coercion.readable(array, name, missing=self._missing)
        return rows, _coercion.row_weights(sample_weight, len(rows), f"sample_weight of {name}", name)


def _parts(batch: Any, name: str) -> tuple[Any, Any]:
    """X and sample_weight of what a batch is: X alone, or a tuple or list (X,), (X, y) or (X, y, sample_weight)."""
    if not isinstance(batch, (tuple, list)) or not batch or not _is_table(batch[0]):
        return batch, None
    if len(batch) > 3:
        raise ValueError(f"{name} has {len(batch)} parts; it must be X, (X,), (X, y) or (X, y, sample_weight)")
    return batch[0], batch[2] if len(batch) == 3 else None


def _is_table(value: Any) -> bool:
    """Whether it can be rows, and not one row of a list of rows."""
    if isinstance(value, (list, tuple)):
        return bool(value) and isinstance(value[0], (list, tuple, np.ndarray))
    if hasattr(value, "shape"):
        return len(value.shape) >= 2
    return any(hasattr(value, name) for name in _ARRAYS)


# ---- arguments that may be streams -------------------------------------------------------------------------------


@contextmanager
def opened() -> Iterator[Callable[..., Any]]:
    """A function that makes arguments, by their names, 2-D arrays as `_coercion.matrix` does, or streams, which are
    closed at the end.
    """
    streams: list[Stream] = []

    def take(X: object, name: str = "X", missing: bool = False) -> Any:
        if not is_stream(X):
            return _coercion.matrix(X, name, missing)
        streams.append(Stream(X, name, missing, weighted=name == "X"))
        return streams[-1]

    try:
        yield take
    finally:
        for stream in streams:
            stream.close()


def readable(rows: Any, core: _core.Model, name: str, missing: bool) -> Any:
    """What was opened as the core takes it for a fit."""
    if isinstance(rows, Stream):
        return _core.RowStream(rows, rows.width)
    return _coercion.readable(_device_arrays.brought(rows, core, name), name, missing=missing)


def feature_names(rows: Any, X: object) -> list[str] | None:
    """The column names of X, of which `rows` was made."""
    return rows.names if isinstance(rows, Stream) else _coercion.feature_names(X)


def row_weights(sample_weight: object, rows: Any) -> NDArray[np.float32] | None:
    """Of what `readable` gave."""
    if not isinstance(rows, _core.RowStream):
        return _coercion.row_weights(sample_weight, len(rows))
    if sample_weight is not None:
        raise ValueError("sample_weight of a stream comes with its batches: X must give (X, y, sample_weight)")
    return None
