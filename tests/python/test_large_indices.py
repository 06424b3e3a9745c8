# SPDX-License-Identifier: Apache-2.0
"""Rows, elements and addresses beyond 2^31 and 2^32, without the memory that they seem to take: rows that lie far apart
in a mapped file of holes, and rows that overlap.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import assert_same_bits, bits
from isthmus import Autoencoder
from numpy.lib.stride_tricks import as_strided, sliding_window_view
from numpy.typing import NDArray

ROWS, COLS = 80, 6
LONG = pytest.mark.skipif(not os.environ.get("ISTHMUS_TEST_LONG"), reason="a minute each, run by .ci/long")


def scattered(path: Path, values: NDArray[Any], row_bytes: int, col_bytes: int) -> NDArray[Any]:
    """The same values in a file of holes, rows and columns that far apart."""
    size = row_bytes * (values.shape[0] - 1) + col_bytes * (values.shape[1] - 1) + values.itemsize
    with open(path, "wb") as file:
        file.truncate(size)
    mapped = np.memmap(path, dtype=np.uint8, mode="r+")
    view = as_strided(mapped[: values.itemsize].view(values.dtype), values.shape, (row_bytes, col_bytes))
    view[...] = values
    return np.asarray(view)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_addresses_beyond_2_32_elements(dtype: str, layout: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 2, (ROWS, COLS)).astype(dtype)
    item = x.itemsize
    # Farther than 2^32 elements from the first to the last; far from a power of two.
    apart = item * (2**32 // ((ROWS if layout == "rows" else COLS) - 1) + 12345)
    far = scattered(tmp_path / "x", x, *((apart, item) if layout == "rows" else (item * 7, apart)))
    assert max(far.strides) * (max(far.shape) if layout == "rows" else COLS) // item > 2**32
    near, model = (Autoencoder((4, 2), batch_size=32, epochs=2, random_state=0) for _ in range(2))
    assert bits(model.fit(far)) == bits(near.fit(x))
    assert_same_bits(model.encode(far), near.encode(x))
    assert_same_bits(model.reconstruction_error(far), near.reconstruction_error(x))
    assert bits(model.partial_fit(far)) == bits(near.partial_fit(x))


def windows(n: int, d: int, last: float = 0.5) -> NDArray[np.float32]:
    """(n, d) float32 in the memory of n + d numbers: each row begins one number after the one before."""
    numbers = np.random.default_rng(0).random(n + d - 1).astype(np.float32)
    numbers[-1] = last
    return sliding_window_view(numbers, d)


def test_more_than_2_32_elements() -> None:
    d, batch = 65_536, 256
    x = windows(65_536 + batch, d)
    assert x.size > 2**32
    model = Autoencoder((1,), decoder_layers=(), random_state=0).initialize(d)
    code = model.encode(x)
    for row in (0, 32_767, 32_768, 65_535, 65_536, len(x) - 1):
        assert_same_bits(code[row : row + 1], model.encode(x[row : row + 1]), f"row {row}")
    with pytest.raises(ValueError, match=rf"X\[{len(x) - 1}, {d - 1}\] is nan"):
        model.encode(windows(len(x), d, last=np.nan))


@LONG
def test_training_reaches_rows_beyond_2_32_elements() -> None:
    """Only the rows behind element 2^32 have a weight: training on all is training on them."""
    d, batch = 65_536, 256
    x = windows(65_536 + batch, d)
    weights = np.zeros(len(x), np.float32)
    weights[-batch:] = 1.0
    settings = {"decoder_layers": (), "optimizer": "sgd", "shuffle": False, "epochs": 1, "batch_size": batch}
    everything, those = (Autoencoder((1,), random_state=0, **settings) for _ in range(2))
    everything.fit(x, sample_weight=weights)
    those.fit(x[-batch:])
    assert bits(everything) == bits(those)


@LONG
def test_rows_beyond_2_31(tmp_path: Path) -> None:
    n = 2**31 + 10
    path = tmp_path / "x"
    with open(path, "wb") as file:
        file.truncate(4 * n)
    x = np.memmap(path, dtype=np.float32, mode="r+").reshape(n, 1)
    model = Autoencoder((1,), decoder_layers=(), random_state=0).initialize(1)
    expected = model.score(np.zeros((3, 1), np.float32))
    assert model.score(x) == pytest.approx(expected, rel=1e-6)
    x[2**31 + 5, 0] = np.nan
    with pytest.raises(ValueError, match=rf"X\[{2**31 + 5}, 0\] is nan"):
        model.score(x)
