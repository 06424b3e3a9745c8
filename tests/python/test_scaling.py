# SPDX-License-Identifier: Apache-2.0
"""scaling: the statistics against NumPy in float64, what is scaled and undone, and what is kept."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import assert_close, assert_same_bits, bits, layouts, relative_error
from isthmus import Autoencoder
from numpy.typing import NDArray

pytestmark = pytest.mark.every_device

KINDS = ["standard", "minmax"]
F64 = NDArray[np.float64]


def rows(n: int = 300, d: int = 5) -> F64:
    """Columns of very different place and spread."""
    rng = np.random.default_rng(7)
    return rng.standard_normal((n, d)) * [1.0, 1e-3, 1e3, 0.5, 1e5] + [0.0, 1.0, -7.0, 1e9, 3.0]


def statistics(kind: str, x: F64, w: F64 | None = None) -> tuple[F64, F64]:
    """Shift and scale in float64, the plain formulas; the mean in exact arithmetic, where float64 would round."""
    if kind == "minmax":
        return x.min(axis=0), np.ptp(x, axis=0)
    weights = [Fraction(1)] * len(x) if w is None else [Fraction(v) for v in w]
    shift = np.array([float(sum(v * Fraction(a) for v, a in zip(weights, column, strict=True)) / sum(weights))
                      for column in x.T])
    return shift, np.sqrt(np.average((x - shift) ** 2, axis=0, weights=w))


def stored(model: Autoencoder) -> tuple[F64, F64]:
    """What the model file says."""
    data = model.to_bytes()
    import json

    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    base = 8 + int.from_bytes(data[:8], "little")
    parts = [header[f"scaling.{name}"]["data_offsets"] for name in ("shift", "scale")]
    shift, scale = (np.frombuffer(data[base + a : base + b], np.float64) for a, b in parts)
    return shift, scale


def fitted(kind: str | None, x: Any, **parameters: Any) -> Autoencoder:
    weight = parameters.pop("sample_weight", None)
    options = {"epochs": 3, "random_state": 0, "batch_size": 64, **parameters}
    return Autoencoder((4, 2), scaling=kind, **options).fit(x, sample_weight=weight)


# ---- statistics -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n,d", [(1, 5), (2, 5), (300, 5), (1000, 40), (513, 700)])
def test_statistics(kind: str, n: int, d: int) -> None:
    x = np.tile(rows(n), (1, d // 5))
    shift, scale = statistics(kind, x)
    got_shift, got_scale = stored(fitted(kind, x, epochs=1))
    np.testing.assert_allclose(got_shift, shift, rtol=1e-14, atol=1e-12)
    np.testing.assert_allclose(got_scale, scale if n > 1 else np.ones(d), rtol=1e-9)


def test_a_large_offset_costs_no_digits() -> None:
    """1e9 + noise: the textbook formula, E[x^2] - E[x]^2, gives 0 or nonsense; so does a cast to float32 first."""
    x = rows(5000)
    assert abs(np.mean(x[:, 3] ** 2) - np.mean(x[:, 3]) ** 2 - 0.25) > 1
    model = fitted("standard", x, epochs=1)
    assert stored(model)[1][3] == pytest.approx(statistics("standard", x)[1][3], rel=1e-9)
    shift, scale = statistics("standard", x)
    twin = fitted(None, ((x - shift) / scale).astype(np.float32), epochs=1)
    assert relative_error(model.encode(x), twin.encode((x - stored(model)[0]) / stored(model)[1])) < 1e-5
    far = x.copy()
    far[:, 3] += 0.25
    assert relative_error(model.encode(far), model.encode(x)) > 1e-3  # the quarter is seen


@pytest.mark.parametrize("kind", KINDS)
def test_weights_count_as_repeated_rows(kind: str) -> None:
    x = rows(60)
    counts = np.random.default_rng(1).integers(0, 4, 60)
    counts[np.argmax(x[:, 0])] = 0  # a row that is left out has no say in the range either
    weighted = stored(fitted(kind, x, sample_weight=counts, epochs=1))
    repeated = stored(fitted(kind, np.repeat(x, counts, axis=0), epochs=1))
    for a, b in zip(weighted, repeated, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_rows_held_back_have_no_say() -> None:
    x = rows(50)
    seen = [stored(fitted("minmax", x, validation_fraction=0.5, random_state=seed, epochs=1))[1] for seed in range(4)]
    assert all((scale <= np.ptp(x, axis=0)).all() for scale in seen)
    assert len({scale.tobytes() for scale in seen}) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_constant_columns_are_only_shifted(kind: str) -> None:
    x = rows()
    x[:, 1] = 0.3
    x[::2, 1] = 0.1 + 0.2  # the same but for rounding
    x[:, 2] = -1e9
    shift, scale = stored(fitted(kind, x))
    assert scale[1] == scale[2] == 1 and shift[2] == -1e9 and shift[1] == pytest.approx(0.3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_column_that_moves_a_little_does_not_own_the_score(kind: str) -> None:
    x = rows()
    x[:, 1] = 5.0
    model = fitted(kind, x, epochs=30)
    moved = x.copy()
    moved[:, 1] += 0.001
    assert relative_error(model.score_samples(moved), model.score_samples(x)) < 1e-2
    assert np.isfinite(model.score_samples(moved)).all()


# ---- what is scaled -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_training_is_that_on_scaled_rows(kind: str) -> None:
    x = rows()
    model = fitted(kind, x)
    shift, scale = stored(model)
    scaled = ((x - shift) / scale).astype(np.float32)
    plain = fitted(None, scaled)
    assert bits(plain) == bits(model)
    assert_same_bits(model.encode(x), plain.encode(scaled))
    assert_same_bits(model.reconstruction_error(x), plain.reconstruction_error(scaled))
    assert model.score(x) == plain.score(scaled)
    undone = (plain.reconstruct(scaled).astype(np.float64) * scale + shift).astype(np.float32)
    assert_same_bits(model.reconstruct(x), undone)
    assert_same_bits(model.decode(model.encode(x)), undone)
    for a, b in zip(model.gradients(x), plain.gradients(scaled), strict=True):
        assert_same_bits(a, b)
    validated = fitted(kind, x)
    validated.set_params(warm_start=True).fit(x, validation_data=x[:50])
    assert validated.history_["val_loss"][-1] == -validated.score(x[:50])


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_units_of_the_input(loss: str) -> None:
    x = rows()
    model = fitted("standard", x, loss=loss)
    scale = stored(model)[1]
    code = ((x - stored(model)[0]) / scale).astype(np.float32)
    plain = fitted(None, code, loss=loss)
    difference = (plain.reconstruct(code).astype(np.float64) - code) * scale
    size = np.abs(difference)
    expected = {"mse": size**2, "mae": size, "huber": np.where(size < 1, size**2 / 2, size - 0.5)}[loss]
    assert_close(model.reconstruction_error(x, units="input"), expected.mean(axis=1), tolerance=1e-6)
    assert_close(model.reconstruction_error(x, per_feature=True, units="input"), expected, tolerance=1e-6)
    assert_same_bits(plain.reconstruction_error(code, units="input"), plain.reconstruction_error(code))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint8", "int64", "bool", "float16", "longdouble",
                                   ">f8", ">i4", "object"])
def test_every_type_and_layout_gives_the_same_bits(kind: str, dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 100, (70, 5)).astype(np.float64)
    model = fitted(kind, x)
    data = x.astype(dtype)
    every = layouts(data) if data.dtype.kind == "f" else {
        "C": data, "Fortran": np.asfortranarray(data), "negative strides": data[::-1, ::-1].copy()[::-1, ::-1]}
    for name, y in every.items():
        assert bits(fitted(kind, y)) == bits(model), name
        assert_same_bits(model.encode(y), model.encode(x), name)


# ---- what is kept ---------------------------------------------------------------------------------------------------


def test_partial_fit_keeps_the_first_scaling() -> None:
    x = rows()
    model = Autoencoder((2,), scaling="standard", random_state=0).partial_fit(x[:100])
    before = stored(model)
    model.partial_fit(x[100:] * 3)
    for a, b in zip(stored(model), before, strict=True):
        assert_same_bits(a, b)
    np.testing.assert_allclose(before[1], statistics("standard", x[:100])[1], rtol=1e-9)
    model.set_params(warm_start=True, epochs=1).fit(x * 2)
    assert_same_bits(stored(model)[1], before[1])
    model.set_params(warm_start=False).fit(x)
    np.testing.assert_allclose(stored(model)[1], statistics("standard", x)[1], rtol=1e-9)


def test_initialize_knows_no_scaling_yet() -> None:
    x = rows()
    model = Autoencoder((2,), scaling="minmax", random_state=0, warm_start=True, epochs=1).initialize(5)
    assert_same_bits(model.encode(x), Autoencoder((2,), random_state=0).initialize(5).encode(x))
    assert Autoencoder.from_bytes(model.to_bytes()).scaling == "minmax"
    model.fit(x)
    np.testing.assert_allclose(stored(model)[1], np.ptp(x, axis=0), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_files_keep_it(kind: str, tmp_path: Path) -> None:
    x = rows()
    model = fitted(kind, x)
    model.save(tmp_path / "m", training_state=True)
    again = Autoencoder.load(tmp_path / "m")
    assert again.scaling == kind
    assert_same_bits(again.reconstruct(x), model.reconstruct(x))
    assert again.to_bytes(True) == model.to_bytes(True)


def test_a_refused_call_leaves_no_scaling() -> None:
    x = rows()
    model = Autoencoder((2,), scaling="standard", random_state=0, warm_start=True, epochs=1).initialize(5)
    bad = x.copy()
    bad[7, 3] = np.nan
    with pytest.raises(ValueError, match=r"X\[7, 3\] is nan"):
        model.fit(bad)
    with pytest.raises(ValueError, match=r"validation_data\[7, 3\] is nan"):
        model.fit(x, validation_data=bad)
    assert b"scaling.shift" not in model.to_bytes()
    model.set_params(scaling="minmax")
    with pytest.raises(ValueError, match=r"scaling is .*minmax.*standard"):
        model.fit(x)


# ---- bce ------------------------------------------------------------------------------------------------------------


def test_bce_targets_are_clipped_under_minmax() -> None:
    x = rows()
    model = fitted("minmax", x, loss="bce")
    far = x.copy()
    far[3, 0] = 100.0
    shift, scale = stored(model)
    scaled = ((far - shift) / scale).astype(np.float32)
    assert scaled[3, 0] > 5
    plain = fitted(None, ((x - shift) / scale).astype(np.float32), loss="bce")
    probability = plain.reconstruct(scaled).astype(np.float64)  # the input is not clipped, the target is
    target = np.clip(scaled, 0, 1)
    expected = -(target * np.log(probability) + (1 - target) * np.log1p(-probability)).mean(axis=1)
    assert_close(model.reconstruction_error(far), expected, tolerance=1e-5)
    assert model.score(far) == pytest.approx(-expected.mean(), rel=1e-5)
    assert np.isfinite(model.partial_fit(far).loss_)
    assert np.isfinite(model.set_params(warm_start=True).fit(x, validation_data=far).history_["val_loss"][-1])
    with pytest.raises(ValueError, match="units"):
        model.reconstruction_error(x, units="input")


def test_bce_and_standard_do_not_go_together() -> None:
    with pytest.raises(ValueError, match=r"scaling must be None or .minmax. with loss=.bce.; got .standard"):
        Autoencoder(loss="bce", scaling="standard").fit(rows())


def test_units_must_be_known() -> None:
    with pytest.raises(ValueError, match=r"units must be 'scaled' or 'input'; got 'metres'"):
        fitted("standard", rows()).reconstruction_error(rows(), units="metres")
