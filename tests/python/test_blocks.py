# SPDX-License-Identifier: Apache-2.0
"""Rows that must be converted first go in blocks, in the core or here: nobody may notice, but for the memory."""

from __future__ import annotations

from pathlib import Path

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
    parts = [where for where, _ in _coercion.blocks(x.astype(">f8"))]
    assert len(parts) == 4
    assert [where.start for where in parts[1:]] == [where.stop for where in parts[:-1]]
    for known in (x, x.astype(np.float64), x[:, ::2].astype(np.uint8)):
        assert [rows is known for _, rows in _coercion.blocks(known)] == [True]  # the core has blocks of its own


@pytest.mark.parametrize("dtype", ["float64", ">f4", ">f8", "longdouble", "object"])
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
from pathlib import Path

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


# ---- files larger than memory ---------------------------------------------------------------------------------------

# RLIMIT_AS counts what is mapped, too: the limit is set when the file is, and leaves room for no copy of it.
MAPPED = """
import resource, sys
from pathlib import Path

import numpy as np
from checks import bits
from isthmus import Autoencoder

path, dtype, scaling = sys.argv[1:4]
n, d = 2**18, 64
x = np.memmap(path, dtype=dtype, mode="r", shape=(n, d))
options = dict(encoder_layers=(4,), batch_size=8192, epochs=2, random_state=0, n_threads=1,
               scaling=None if scaling == "None" else scaling)
small = Autoencoder(**options).fit(np.array(x[:4096]))
mapped = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = mapped + 56 * 2**20
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
try:
    np.ones(n * d, np.float32)
except MemoryError:
    pass
else:
    sys.exit("there is room for a copy")
model = Autoencoder(**options).fit(x)
errors = model.reconstruction_error(x)
score = model.score(x)
model.encode(x)
resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
whole = Autoencoder(**options).fit(x)  # a quarter of this machine's memory has room for it
assert bits(whole) == bits(model) and (whole.reconstruction_error(x) == errors).all() and whole.score(x) == score
assert bits(small) != bits(model)
"""


@pytest.mark.slow
@pytest.mark.parametrize("dtype,scaling", [("float32", None), ("float64", None), ("float64", "standard"),
                                           ("uint8", "minmax")])
def test_a_mapped_file_larger_than_the_memory_allowed(dtype: str, scaling: str | None, tmp_path: Path) -> None:
    pytest.importorskip("resource")
    path = tmp_path / "rows"
    rows = np.random.default_rng(0).integers(0, 256, (4096, 64)).astype(dtype)
    with open(path, "wb") as file:
        for i in range(2**18 // 4096):
            file.write(np.roll(rows, i, axis=1).tobytes())
    run_python(MAPPED, str(path), dtype, str(scaling))
