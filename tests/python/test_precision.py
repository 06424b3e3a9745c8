# SPDX-License-Identifier: Apache-2.0
"""precision="bfloat16": what it costs in accuracy, what stays the same, and who is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from checks import assert_same_bits
from isthmus import Autoencoder, _core, kernels
from isthmus._cli.demo import load_digits
from numpy.typing import NDArray

F32 = NDArray[np.float32]

FAMILIES = _core.bfloat16_families()
needs_bfloat16 = pytest.mark.skipif(not FAMILIES, reason="this machine has no instructions for bfloat16, "
                                                          "or another instruction set is in use")


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Iterator[str]:
    before = _core.bfloat16_family()
    _core.use_bfloat16_family(request.param)
    yield request.param
    _core.use_bfloat16_family(before)


def rounded(x: F32) -> NDArray[np.float64]:
    """To bfloat16, to nearest with ties to even, of finite numbers."""
    bits = x.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32).astype(np.float64)


def fit(precision: str, x: F32, **parameters: object) -> Autoencoder:
    return Autoencoder((64, 16), loss="bce", epochs=20, batch_size=64, random_state=0, precision=precision,
                       **parameters).fit(x)


@needs_bfloat16
def test_digits_train_as_in_float32(family: str) -> None:
    x, x_test, _ = load_digits()
    exact, model = fit("float32", x), fit("bfloat16", x)
    assert model.loss_ != exact.loss_
    assert abs(model.loss_ / exact.loss_ - 1) < 0.01
    assert abs(model.score(x_test) / exact.score(x_test) - 1) < 0.01


@needs_bfloat16
def test_any_number_of_threads_gives_the_same_bits(family: str) -> None:
    x, x_test, _ = load_digits()
    one, three = (fit("bfloat16", x, n_threads=n) for n in (1, 3))
    for i, (a, b) in enumerate(zip(one.get_weights(), three.get_weights(), strict=True)):
        assert_same_bits(a, b, f"weight {i}")
    assert_same_bits(one.reconstruct(x_test), three.reconstruct(x_test), "reconstruction")
    assert_same_bits(one.reconstruct(x_test)[5:6], one.reconstruct(x_test[5:6]), "one row")


@needs_bfloat16
def test_a_model_file_keeps_the_precision(family: str) -> None:
    x, x_test, _ = load_digits()
    model = fit("bfloat16", x)
    loaded = Autoencoder.from_bytes(model.to_bytes())
    assert loaded.precision == "bfloat16"
    assert_same_bits(model.encode(x_test), loaded.encode(x_test), "code")


@needs_bfloat16
@pytest.mark.parametrize("n,d_in,d_out", [(1, 1, 1), (7, 33, 65), (200, 77, 123), (1100, 40, 9)])
def test_kernels_round_the_operands_alone(family: str, n: int, d_in: int, d_out: int) -> None:
    rng = np.random.default_rng(1)
    x, w, b, dz = (rng.standard_normal(shape).astype(np.float32)
                   for shape in ((n, d_in), (d_out, d_in), (d_out,), (n, d_out)))
    y = kernels.dense_forward(x, w, b, precision="bfloat16")
    dx = kernels.dense_backward_input(dz, w, precision="bfloat16")
    dw, db = kernels.dense_backward_weight(x, dz, precision="bfloat16")
    x16, w16, dz16 = rounded(x), rounded(w), rounded(dz)
    # Of the magnitude of what is summed, as the sums themselves may cancel: float32's error of a sum.
    for found, expected, magnitude in [
        (y, x16 @ w16.T + b, abs(x16) @ abs(w16).T + abs(b)), (dx, dz16 @ w16, abs(dz16) @ abs(w16)),
        (dw, dz16.T @ x16, abs(dz16).T @ abs(x16)),
        (db, dz.astype(np.float64).sum(axis=0), abs(dz).astype(np.float64).sum(axis=0)),
    ]:
        assert np.linalg.norm(found - expected) <= 1e-6 * np.linalg.norm(magnitude)


@needs_bfloat16
def test_elementwise_kernels_do_not_round() -> None:
    z = np.linspace(-3, 3, 1000, dtype=np.float32).reshape(20, 50)
    assert_same_bits(kernels.activation_forward(z, "gelu", precision="bfloat16"),
                     kernels.activation_forward(z, "gelu"), "gelu")


def in_a_process(**environment: str) -> str:
    code = """
import numpy as np
from isthmus import Autoencoder, kernels
x = np.eye(8, dtype=np.float32)
for call in (lambda: Autoencoder((3,), epochs=1, precision="bfloat16").fit(x),
             lambda: kernels.dense_forward(x, x, None, precision="bfloat16"),
             lambda: kernels.activation_forward(x, "relu", precision="bfloat16")):
    try:
        call()
        print("done")
    except (RuntimeError, ValueError) as error:
        print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True,
                          text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("isa", [name for name in _core.instruction_sets() if name != "avx512"])
def test_a_machine_without_the_instructions_refuses(isa: str) -> None:
    output = in_a_process(ISTHMUS_ISA=isa)
    assert len(output.splitlines()) == 3
    for line in output.splitlines():
        assert line.startswith("RuntimeError")
        assert "precision" in line and "bfloat16" in line and ("AMX" in line or "neither" in line)


def test_an_unknown_family_is_named() -> None:
    if _core.instruction_set() != "avx512":
        pytest.skip("the instruction set in use comes first")
    output = in_a_process(ISTHMUS_BFLOAT16="abacus")
    assert output.count("ValueError") == 3 and "ISTHMUS_BFLOAT16" in output and "abacus" in output


@needs_bfloat16
@pytest.mark.parametrize("name", FAMILIES)
def test_the_environment_chooses_the_family(name: str) -> None:
    code = "from isthmus import _core; print(_core.bfloat16_family())"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "ISTHMUS_BFLOAT16": name},
                          capture_output=True, text=True, check=True)
    assert done.stdout.strip() == name
