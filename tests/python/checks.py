# SPDX-License-Identifier: Apache-2.0
"""What the tests compare with, and how: device, tolerances, bits, models that start from given weights, fresh
interpreters.

ISTHMUS_TEST_DEVICE names the device that the tests are run on, here and in the interpreters that they start. It becomes
the default of every argument ``device``, so that test bodies need not name it; without it CUDA is hidden, so that
``"auto"`` is the CPU on every machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import isthmus
import isthmus.kernels
import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

DEVICE = os.environ.get("ISTHMUS_TEST_DEVICE", "cpu")


def _make_default(device: str) -> None:
    for name in isthmus.kernels.__all__:
        getattr(isthmus.kernels, name).__kwdefaults__["device"] = device
    for estimator in (isthmus.Autoencoder, isthmus.AnomalyDetector, isthmus.VariationalAutoencoder):
        estimator.__init__.__kwdefaults__["device"] = device
    for function in (isthmus.Autoencoder.load, isthmus.Autoencoder.from_bytes):
        assert function.__func__.__defaults__ == ("auto",)
        function.__func__.__defaults__ = (device,)


if DEVICE == "cpu":
    os.environ["ISTHMUS_CUDA_LIBRARY"] = ""  # read when a device is first asked for
else:
    _make_default(DEVICE)

T = TypeVar("T")
Weights = Sequence[NDArray[np.float32]]

# Largest error, relative to the Frobenius norm of the reference.
TOLERANCE = {np.dtype(np.float32): 1e-5}
# The same of what is computed in a precision other than float32.
TOLERANCE_IN = {"tf32": 2e-3, "bfloat16": 2e-2}


def package(name: str, at_least: str | None = None) -> Any:
    """The module; the test skips without it, but fails where ISTHMUS_TEST_PACKAGES=all says that all are here."""
    if os.environ.get("ISTHMUS_TEST_PACKAGES") == "all":
        return import_module(name)
    return pytest.importorskip(name, minversion=at_least)


def relative_error(actual: ArrayLike, expected: ArrayLike, scale: ArrayLike | None = None) -> float:
    """Frobenius norm of the difference over that of `scale` (default: `expected`)."""
    a, e = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert a.shape == e.shape, f"shape {a.shape}, expected {e.shape}"
    norm = float(np.linalg.norm(np.ravel(e if scale is None else np.asarray(scale, np.float64))))
    difference = float(np.linalg.norm(np.ravel(a - e)))
    return difference / norm if norm > 0 else difference


def assert_close(actual: NDArray[Any], expected: ArrayLike, scale: ArrayLike | None = None,
                 tolerance: float | None = None, what: str = "") -> None:
    """Relative error within `tolerance`, by default that of actual's dtype. A NaN fails."""
    error = relative_error(actual, expected, scale)
    allowed = TOLERANCE[np.asarray(actual).dtype] if tolerance is None else tolerance
    assert error <= allowed, f"{what}: relative error {error:.3e}, allowed {allowed:.1e}"


def assert_same_bits(a: NDArray[Any], b: NDArray[Any], what: str = "") -> None:
    compared["arrays compared bit by bit"] += 1
    assert a.dtype == b.dtype and a.shape == b.shape, f"{what}: {a.dtype}{a.shape} and {b.dtype}{b.shape}"
    if a.tobytes() != b.tobytes():
        different = np.argwhere(~((a == b) & (np.signbit(a) == np.signbit(b))))
        raise AssertionError(f"{what}: {len(different)} of {a.size} differ, the first at {tuple(different[0])}")


def bits(model: isthmus.Autoencoder) -> bytes:
    """All weights."""
    compared["models whose weights were compared bit by bit"] += 1
    return b"".join(w.tobytes() for w in model.get_weights())


def random_weights(rng: np.random.Generator, widths: Sequence[int]) -> list[NDArray[np.float32]]:
    """[W0, b0, ...] with outputs of unit size and biases that are not zero."""
    weights = []
    for fan_in, fan_out in pairwise(widths):
        weights.append((rng.standard_normal((fan_out, fan_in)) / np.sqrt(fan_in)).astype(np.float32))
        weights.append((0.1 * rng.standard_normal(fan_out)).astype(np.float32))
    return weights


def start_from(model: isthmus.Autoencoder, weights: Weights) -> isthmus.Autoencoder:
    """The model with these weights and fresh moments; fit goes on from them when warm_start is True."""
    model.initialize(weights[0].shape[1])
    model.set_weights(list(weights))
    return model


compared = Counter[str]()  # what was compared bit by bit, for docs/promises.md


def note(what: str, n: int) -> None:
    """Where ISTHMUS_COUNTS names a file (tests/promises.py), the number goes there, for docs/promises.md."""
    path = os.environ.get("ISTHMUS_COUNTS")
    if path and n:
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{n} {what}\n")


def counted(what: str, tried: Sequence[T]) -> Sequence[T]:
    """The same, their number noted."""
    note(what, len(tried))
    return tried


def misaligned(a: NDArray[Any], offset: int = 1) -> NDArray[Any]:
    """A copy whose address is `offset` bytes off the alignment of its dtype."""
    raw = np.empty(a.nbytes + 64, dtype=np.uint8)
    start = (-raw.ctypes.data) % 64 + offset
    copy = raw[start : start + a.nbytes].view(a.dtype).reshape(a.shape)
    copy[...] = a
    assert copy.ctypes.data % a.dtype.itemsize == offset % a.dtype.itemsize
    return copy


def layouts(a: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """The same 2-D values in every memory layout that must give the same bits."""
    strided = np.full((2 * a.shape[0], 3 * a.shape[1]), np.nan, dtype=a.dtype)
    strided[::2, 1::3] = a
    wide = np.full((a.shape[0], a.shape[1] + 5), np.nan, dtype=a.dtype)
    wide[:, 2:-3] = a
    read_only = a.copy()
    read_only.setflags(write=False)
    return {
        "C": np.ascontiguousarray(a),
        "Fortran": np.asfortranarray(a),
        "strided": strided[::2, 1::3],
        "column slice": wide[:, 2:-3],
        "negative row stride": np.ascontiguousarray(a[::-1])[::-1],
        "negative strides": np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
        "misaligned": misaligned(a),
        "off a vector": misaligned(a, a.dtype.itemsize),
        "byteswapped": a.astype(a.dtype.newbyteorder()),
        "read-only": read_only,
    }


def run_python(code: str, *arguments: str, env: dict[str, str] | None = None, timeout: float = 300.0) -> str:
    """Output of `code` in a fresh interpreter that sees this folder's modules; a failure there fails here."""
    environment = {**os.environ, **(env or {})}
    path = [str(Path(__file__).parent), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment,
                          timeout=timeout, check=False)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
