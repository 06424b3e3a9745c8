# SPDX-License-Identifier: Apache-2.0
"""PyTorch and JAX: what goes in comes out in kind, sharing memory; on a GPU where the library has one. Each test skips
where the library is not installed.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from checks import DEVICE, assert_same_bits
from gpu_arrays import GPU
from isthmus import AnomalyDetector, Autoencoder, _coercion
from numpy.typing import NDArray

pytestmark = pytest.mark.every_device


def torch_library() -> Any:
    torch = pytest.importorskip("torch")
    on_gpu = DEVICE != "cpu" and GPU is None and torch.cuda.is_available()
    return SimpleNamespace(
        make=lambda values: torch.tensor(values, device="cuda" if on_gpu else "cpu"), type=torch.Tensor,
        numpy=lambda tensor: tensor.cpu().numpy(), place=lambda tensor: tensor.device)


def jax_library() -> Any:
    jax = pytest.importorskip("jax")
    return SimpleNamespace(make=jax.numpy.asarray, type=jax.Array, numpy=np.asarray, place=lambda array: array.device)


@pytest.fixture(params=[torch_library, jax_library], ids=["torch", "jax"])
def library(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.fixture
def x(rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.random((30, 8)).astype(np.float32)


def model_on(x: Any) -> Autoencoder:
    return Autoencoder((5, 3), epochs=2, batch_size=16, random_state=0).fit(x)


def test_answers_are_of_the_callers_library(library: Any, x: NDArray) -> None:
    rows = library.make(x)
    model, expected = model_on(rows), model_on(x)
    codes = expected.encode(x)
    for mine, theirs in (
        (model.encode(rows), codes), (model.transform(rows), codes), (model.reconstruct(rows), expected.reconstruct(x)),
        (model.decode(library.make(codes)), expected.decode(codes)),
        (model.reconstruction_error(rows), expected.reconstruction_error(x)),
        (model.score_samples(rows), expected.score_samples(x)),
        (model.reconstruction_error(rows, per_feature=True), expected.reconstruction_error(x, per_feature=True)),
        (model_on(rows).fit_transform(rows), codes),
    ):
        assert isinstance(mine, library.type) and library.place(mine) == library.place(rows)
        found = library.numpy(mine)
        assert found.dtype == theirs.dtype or "jax" in type(mine).__module__  # whose float64 is float32 by default
        assert_same_bits(found, theirs.astype(found.dtype))
    assert model.score(rows, sample_weight=library.make(x[:, 0].copy())) == expected.score(x, sample_weight=x[:, 0])


def test_set_output_comes_first(library: Any, x: NDArray) -> None:
    pandas = pytest.importorskip("pandas")
    model = model_on(x).set_output(transform="pandas")
    assert isinstance(model.transform(library.make(x)), pandas.DataFrame)


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "bool"])
def test_other_dtypes(library: Any, dtype: str, x: NDArray) -> None:
    values = library.make((x * 3).astype(dtype))
    model = model_on(x)
    assert_same_bits(library.numpy(model.encode(values)), model.encode(library.numpy(values)))


def test_a_tensor_is_neither_copied_in_nor_out(x: NDArray) -> None:
    torch = pytest.importorskip("torch")
    model = model_on(x)
    codes = model.encode(torch.tensor(x))
    assert codes.is_contiguous() and not codes.requires_grad
    codes += 1.0  # the caller's own
    with pytest.raises(ValueError, match=r"X\[2, 5\] is nan; X must be finite"):
        bad = torch.tensor(x)
        bad[2, 5] = torch.nan
        model.encode(bad)
    rows = torch.tensor(x)
    if rows.device.type == "cpu":
        assert _coercion.readable(_coercion.matrix(rows)).ctypes.data == rows.data_ptr()


def test_scaling_and_a_detector_answer_in_kind(library: Any, x: NDArray) -> None:
    rows = library.make(x)
    scaled, plain = (Autoencoder((3,), scaling="standard", epochs=2, random_state=0).fit(r) for r in (rows, x))
    detector, other = (AnomalyDetector(calibration_fraction=0.3, random_state=0).fit(r) for r in (rows, x))
    codes = plain.encode(x)
    for mine, theirs in (
        (scaled.encode(rows), codes), (scaled.decode(library.make(codes)), plain.decode(codes)),
        (scaled.reconstruction_error(rows, units="input"), plain.reconstruction_error(x, units="input")),
        (detector.score_samples(rows), other.score_samples(x)),
        (detector.decision_function(rows), other.decision_function(x)), (detector.predict(rows), other.predict(x)),
        (detector.p_values(rows), other.p_values(x)), *zip(detector.explain(rows), other.explain(x), strict=True),
    ):
        assert isinstance(mine, library.type) and library.place(mine) == library.place(rows)
        assert_same_bits(library.numpy(mine), theirs.astype(library.numpy(mine).dtype))
    assert str(scaled.report(rows)) == str(plain.report(x))
