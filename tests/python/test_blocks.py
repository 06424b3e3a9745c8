# SPDX-License-Identifier: Apache-2.0
"""Inference on rows that must be converted first goes in blocks: nobody may notice, but for the memory."""

from __future__ import annotations

import numpy as np
import pytest
from checks import assert_same_bits, run_python
from isthmus import Autoencoder, _coercion
from numpy.typing import NDArray

# Three blocks and a piece.
D = 64
N = 3 * (_coercion._BLOCK // D) + 17


@pytest.fixture(scope="module")
def x() -> NDArray[np.float32]:
    return np.random.default_rng(0).random((N, D), dtype=np.float32)


@pytest.fixture(scope="module")
def model(x: NDArray[np.float32]) -> Autoencoder:
    return Autoencoder((8,), loss="bce", epochs=1, random_state=0).fit(x[:1000])


def test_there_are_blocks(x: NDArray[np.float32]) -> None:
    parts = [where for where, _ in _coercion.blocks(x.astype(np.float64))]
    assert len(parts) == 4
    assert [where.start for where in parts[1:]] == [where.stop for where in parts[:-1]]
    assert [rows is x for _, rows in _coercion.blocks(x)] == [True]


@pytest.mark.parametrize("dtype", ["float64", ">f4", "object"])
def test_blocks_give_the_same_bits(model: Autoencoder, x: NDArray[np.float32], dtype: str) -> None:
    n = 2 * (_coercion._BLOCK // D) + 1 if dtype == "object" else N
    x = x[:n]
    other = x.astype(dtype)
    assert_same_bits(model.encode(other), model.encode(x))
    assert_same_bits(model.reconstruct(other), model.reconstruct(x))
    assert_same_bits(model.reconstruction_error(other), model.reconstruction_error(x))
    elements = model.reconstruction_error(x, per_feature=True)
    assert elements.dtype == np.float64
    assert_same_bits(model.reconstruction_error(other, per_feature=True), elements)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_errors_name_the_row_of_x_not_of_the_block(model: Autoencoder, x: NDArray[np.float32], dtype: str) -> None:
    bad = x.astype(dtype)
    for value, words in ((1.5, "needs values in"), (np.nan, "must be finite")):
        bad[N - 2, 3] = value
        for per_feature in (False, True):
            with pytest.raises(ValueError, match=rf"^X\[{N - 2}, 3\] is {value}; .*{words}"):
                model.reconstruction_error(bad, per_feature=per_feature)
    with pytest.raises(ValueError, match=rf"^X\[{N - 2}, 3\] is nan"):
        model.encode(bad)


MEMORY = """
import resource
import numpy as np
from isthmus import Autoencoder

row = np.random.default_rng(0).random(64)
model = Autoencoder((4,), epochs=1, random_state=0).fit(np.broadcast_to(row, (1000, 64)))
x = np.broadcast_to(row, (2**20, 64))  # claims 512 MiB, as float32 256
real = np.tile(row, (2**19, 1))  # is 256 MiB, as float32 128
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
codes = model.encode(x)  # 16 MiB
model.reconstruction_error(x)
model.score(x)
model.fit(x[: 2**18])
model.reconstruction_error(real)
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
assert grown < 96, f"{grown} MiB"
"""


def test_no_giant_temporary() -> None:
    run_python(MEMORY)
