# SPDX-License-Identifier: Apache-2.0
"""max_memory: what a fit takes is told before it is begun, and is what it takes."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
import pytest
from checks import bits, run_python
from isthmus import AnomalyDetector, Autoencoder, VariationalAutoencoder, _budget

X = np.random.default_rng(0).random((300, 20)).astype(np.float32)


def taken(model: Autoencoder, X: Any = X, **arguments: Any) -> int:
    """The bytes that a fit says it takes."""
    model.set_params(warm_start=True).initialize(X.shape[1])
    with pytest.raises(MemoryError) as caught:
        model.set_params(max_memory=1).fit(X, **arguments)
    model.set_params(max_memory=None, warm_start=False)
    parts_of = r"(\d+) of weights, moments and their copies, (\d+) of a batch, (\d+) of rows$"
    found = re.match(rf"max_memory is 1 bytes, but this fit takes (\d+): {parts_of}", str(caught.value))
    assert found, str(caught.value)
    total, *parts = map(int, found.groups())
    assert abs(sum(parts) - total) <= 2
    return total


@pytest.mark.parametrize(("text", "size"), [
    (None, 0), (1, 1), (np.int64(7), 7), ("7", 7), ("7B", 7), ("2kB", 2000), ("2KB", 2000), ("1.5MB", 1_500_000),
    (" 2 GB ", 2 * 10**9), ("1TB", 10**12), ("1KiB", 1024), ("512MiB", 512 * 2**20), ("2GiB", 2 * 2**30),
    ("1TiB", 2**40),
])
def test_sizes(text: Any, size: int) -> None:
    assert _budget.memory(text) == size


def test_a_fit_that_fits_is_the_same() -> None:
    model = Autoencoder((16, 4), epochs=2, random_state=0, n_threads=1)
    needed = taken(model)
    with pytest.raises(MemoryError, match=f"takes {needed}:"):
        model.set_params(max_memory=needed - 1).fit(X)
    limited = model.set_params(max_memory=needed).fit(X)
    assert bits(limited) == bits(Autoencoder((16, 4), epochs=2, random_state=0).fit(X))
    before = bits(limited)
    for call in (limited.fit, limited.partial_fit, limited.set_params(warm_start=True).fit):
        limited.set_params(max_memory=needed // 2)
        with pytest.raises(MemoryError, match=f"max_memory is {needed // 2}"):
            call(X)
        assert bits(limited) == before


def test_more_takes_more() -> None:
    def need(X: Any = X, **parameters: Any) -> int:
        kind = parameters.pop("kind", Autoencoder)
        given = parameters.pop("given", {})
        return taken(kind((64, 4), **{"scaling": None, "n_threads": 1, "loss": "mse", **parameters}), X, **given)

    plain = need()
    assert need(X.astype(np.float64)) == plain + X.nbytes
    assert need(scaling="standard") == plain + X.nbytes
    assert need(np.tile(X, (2, 1))) > plain
    assert need(kind=AnomalyDetector) > plain
    for more in ({"patience": 2}, {"clip_norm": 1.0}, {"batch_size": 300}, {"validation_fraction": 0.5},
                 {"given": {"sample_weight": np.ones(len(X))}},
                 {"given": {"validation_data": X.astype(np.float64)}}):
        assert need(**more) > plain, more


def test_absurd_widths_are_refused_before_they_are_made() -> None:
    model = Autoencoder((10**6, 10**5), max_memory="1GB")
    for call in (lambda: model.fit(X), lambda: model.partial_fit(X), lambda: model.initialize(20)):
        with pytest.raises(MemoryError, match=r"encoder_layers.* of weights and moments; max_memory is 1000000000"):
            call()


def test_a_copy_without_room_is_made_in_stretches() -> None:
    rows = np.random.default_rng(1).random((6000, 1000))  # 24 MB as float32: more than a stretch, 16 MiB
    model = Autoencoder((4,), epochs=2, random_state=0, n_threads=1)
    needed = taken(model, rows)
    assert needed < rows.size * 4
    assert bits(model.set_params(max_memory=needed).fit(rows)) == bits(model.set_params(max_memory=None).fit(rows))


@pytest.mark.parametrize("kind", [Autoencoder, VariationalAutoencoder])
def test_noise_is_the_same_in_stretches(kind: type[Autoencoder]) -> None:
    rows = np.random.default_rng(1).random((6000, 1000))
    model = kind((4,), epochs=2, random_state=0, n_threads=1, input_noise=0.1)
    needed = taken(model, rows)
    assert needed < rows.size * 4
    assert bits(model.set_params(max_memory=needed).fit(rows)) == bits(model.set_params(max_memory=None).fit(rows))


MEASURE = """
import re, sys
import numpy as np
from isthmus import Autoencoder

def status(field):
    return int(re.search(rf"{field}:\\s*(\\d+) kB", open("/proc/self/status").read())[1]) * 1024

name, folder = sys.argv[1:]
rng = np.random.default_rng(0)
rows, features, parameters, wide = {
    "wide": (260, 500, dict(encoder_layers=(2000, 50), batch_size=1), False),
    "best, clipped": (260, 500, dict(encoder_layers=(2000, 50), batch_size=2, patience=3, clip_norm=1.0), False),
    "checkpoints": (260, 500, dict(encoder_layers=(2000, 50), batch_size=2), False),
    "rows": (200_000, 64, dict(encoder_layers=(8,), batch_size=1024), True),
    "batches": (1000, 64, dict(encoder_layers=(8,), batch_size=1024, missing="mask"), False),
}[name]
X = rng.random((rows, features), np.float64 if wide else np.float32)
data = (lambda: (X for _ in range(200))) if name == "batches" else X
Autoencoder((2,), epochs=1).fit(X[:10])
if name == "batches":
    X[::7, 3] = np.nan
def model(**more):
    return Autoencoder(**parameters, epochs=2, random_state=0, n_threads=1, **more)
keeping = {"checkpoint": folder} if name == "checkpoints" else {}
try:
    model(warm_start=True).initialize(features).set_params(max_memory=1).fit(data, **keeping)
except MemoryError as error:
    told = int(re.search(r"takes (\\d+):", str(error))[1])
open("/proc/self/clear_refs", "w").write("5")
before = status("VmRSS")
fitted = model(max_memory=told).fit(data, **keeping)
print(told, status("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("case", ["wide", "best, clipped", "checkpoints", "rows", "batches"])
def test_what_is_told_is_what_is_taken(case: str, tmp_path: Any) -> None:
    """The peak of a process is at most what was told, and 8 MB for what is no part of it, and at least two thirds."""
    told, peak = map(int, run_python(MEASURE, case, str(tmp_path / "run")).split())
    assert 2 / 3 * told <= peak <= told + 8_000_000, f"{told:,} told, {peak:,} taken"
