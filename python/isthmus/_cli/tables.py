# SPDX-License-Identifier: Apache-2.0
"""Tables in files: what the shell reads and writes.

The format is read from the file's first bytes (after unpacking gzip); what is none of NPY, NPZ and IDX is CSV.
Every error names the file and, for CSV, line and column.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from isthmus._files import write_atomically

_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_DELIMITERS = ",;\t"


@dataclass(frozen=True)
class Table:
    """Rows of numbers, (n, d), with the names of the columns where the file has them.

    To the estimator it is a data frame: ``columns`` become the feature names, and are compared later.
    """

    values: NDArray[Any]
    columns: tuple[str, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.values, dtype=dtype, copy=copy)


def read(name: str, *, scale_255: bool | None = None) -> Table:
    """Reads a table.

    Parameters
    ----------
    name : str
        A path; for an NPZ file ``path:key`` picks an array.
    scale_255 : bool, optional
        True divides every value by 255, False nothing; None divides the uint8 images of an IDX file only.

    Raises
    ------
    ValueError
        When the file does not hold a table of numbers.
    OSError
        When it cannot be read.
    """
    path, key = _split_key(name)
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        file: BinaryIO = io.BytesIO(_unpack(raw, path)) if packed else raw
        start = file.read(4)
        file.seek(0)
        if key is not None and start[:2] != b"PK":
            raise ValueError(f"{path} is not an NPZ file; only those have arrays by name (got {name})")
        image = False
        if start[:4] == b"\x93NUM":
            # A plain file is mapped: pages are read when the estimator copies them.
            table = Table(_load(file if packed else path, path, mmap_mode=None if packed else "r"))
        elif start[:2] == b"PK":
            table = Table(_read_npz(file, path, key))
        elif len(start) == 4 and start[:2] == b"\0\0" and start[2] in _IDX_TYPES:
            values = _read_idx(file.read(), path)
            image = values.ndim > 2 and values.dtype == np.uint8
            table = Table(values.reshape(len(values), -1))
        else:
            table = _read_csv(file.read(), path)
    if image if scale_255 is None else scale_255:
        table = Table(np.divide(table.values, np.float32(255), dtype=np.float32, casting="unsafe"), table.columns)
    return table


def _split_key(name: str) -> tuple[Path, str | None]:
    if not Path(name).exists() and ":" in name:
        path, _, key = name.rpartition(":")
        if Path(path).exists():
            return Path(path), key
    return Path(name), None


def _unpack(raw: BinaryIO, path: Path) -> bytes:
    try:
        return gzip.GzipFile(fileobj=raw).read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is a damaged gzip file: {error}") from None


def _load(source: Any, path: Path, mmap_mode: Any = None) -> Any:
    try:
        return np.load(source, mmap_mode=mmap_mode, allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None


def _read_npz(file: BinaryIO, path: Path, key: str | None) -> NDArray[Any]:
    with _load(file, path) as arrays:
        names: list[str] = arrays.files
        if key is None:
            key = "X" if "X" in names else names[0] if len(names) == 1 else None
        if key not in names:
            wanted = f"no array {key!r}" if key is not None else "several arrays and none is called X"
            raise ValueError(f"{path} has {wanted}; pick one as {path}:KEY among {', '.join(names) or 'none'}")
        try:
            values: NDArray[Any] = arrays[key]
        except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{path}:{key} cannot be read: {error}") from None
        return values


def _read_idx(data: bytes, path: Path) -> NDArray[Any]:
    kind, dimensions = np.dtype(_IDX_TYPES[data[2]]), data[3]
    first = 4 + 4 * dimensions
    if dimensions == 0 or len(data) < first:
        raise ValueError(f"{path} is a damaged IDX file: its header says {dimensions} dimensions")
    shape = struct.unpack(f">{dimensions}I", data[4:first])
    expected = first + math.prod(shape) * kind.itemsize
    if len(data) != expected:
        raise ValueError(f"{path} is a damaged IDX file: shape {shape} needs {expected} bytes; it has {len(data)}")
    return np.frombuffer(data, kind, offset=first).reshape(shape).astype(kind.newbyteorder("="), copy=False)


def _read_csv(data: bytes, path: Path) -> Table:
    """The first line is a header when none of its fields is a number; a mixture is an error, not a guess."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is none of NPY, NPZ, IDX and CSV: byte {error.start} is not UTF-8 text") from None
    lines = text.split("\n")
    start = next((number for number, line in enumerate(lines) if line.strip()), None)
    if start is None:
        raise ValueError(f"{path} is empty")
    delimiter = max(_DELIMITERS, key=lines[start].count)
    fields = [field.strip() for field in next(csv.reader([lines[start]], delimiter=delimiter))]
    columns = tuple(fields) if all(_number(field) is None for field in fields) else None
    first_row = start if columns is None else start + 1
    if not any(line.strip() for line in lines[first_row:]):
        raise ValueError(f"{path} has a header and no rows")
    try:
        values = np.loadtxt(lines[first_row:], delimiter=delimiter, quotechar='"', comments=None, ndmin=2)
    except ValueError:
        raise _csv_error(text, path, delimiter, columns, len(fields)) from None
    if values.shape[1] != len(fields):
        raise _csv_error(text, path, delimiter, columns, len(fields))
    return Table(values, columns)


def _number(field: str) -> float | None:
    """What loadtxt takes, too: float() allows 1_000 besides."""
    try:
        return None if "_" in field else float(field)
    except ValueError:
        return None


def _csv_error(text: str, path: Path, delimiter: str, columns: Sequence[str] | None, width: int) -> ValueError:
    """Finds the first cell or line that loadtxt, which says less, has refused."""
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    header = columns is not None
    for fields in reader:
        if not any(field.strip() for field in fields) and len(fields) <= 1:
            continue
        if header:
            header = False
            continue
        where = f"{path}, line {reader.line_num}"
        if len(fields) != width:
            return ValueError(f"{where} has {len(fields)} columns; the first line has {width}")
        for number, field in enumerate(fields, 1):
            if _number(field) is None:
                name = f' ("{columns[number - 1]}")' if columns is not None else ""
                return ValueError(f"{where}, column {number}{name} is {field.strip()!r}; every value must be a number")
    return ValueError(f"{path} is not a table of numbers")


def check_output(name: str, suffixes: Sequence[str] = (".npy", ".npz", ".csv")) -> Path:
    """The path of an output file, refused before any work is done when it cannot be written."""
    path = Path(name)
    if suffixes and path.suffix not in suffixes:
        raise ValueError(f"output must end in {', '.join(suffixes)}; got {name}")
    if path.is_dir():
        raise ValueError(f"output must be a file; {name} is a folder")
    if not os.access(path.parent, os.W_OK):
        state = "cannot be written to" if path.parent.is_dir() else "is not a folder"
        raise ValueError(f"output {name}: {path.parent} {state}")
    return path


def write(path: Path, values: NDArray[Any], columns: Sequence[str]) -> None:
    """Writes (n, d) or (n,) as NPY, NPZ (array ``X``) or CSV with a header, by the path's suffix; all or nothing."""
    buffer = io.BytesIO()
    if path.suffix == ".npy":
        np.save(buffer, values, allow_pickle=False)
    elif path.suffix == ".npz":
        np.savez_compressed(buffer, X=values)
    else:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(columns)
        buffer.write(text.getvalue().encode())
        digits = 9 if values.dtype == np.float32 else 17  # enough to read the same bits back
        np.savetxt(buffer, values, delimiter=",", fmt=f"%.{digits}g")
    write_atomically(path, buffer.getbuffer())
