# SPDX-License-Identifier: Apache-2.0
"""AnomalyDetector: its score against NumPy, its threshold, conformal p-values, and what it does about anomalies."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import assert_close, assert_same_bits, bits, relative_error
from isthmus import AnomalyDetector, Autoencoder, NotFittedError
from numpy.typing import NDArray
from test_bad_input import SHAPES

pytestmark = pytest.mark.every_device

F64 = NDArray[np.float64]
OPTIONS: dict[str, Any] = {"encoder_layers": (6, 2), "epochs": 5, "random_state": 0}


def rows(n: int = 400, anomalies: int = 20) -> F64:
    """Rows near a plane in ten dimensions of different scales; the first lie far from it, not from the middle."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((n, 2)) @ rng.standard_normal((2, 10)) + 0.05 * rng.standard_normal((n, 10))
    x[:anomalies] += rng.standard_normal((anomalies, 10)) * 2
    return x * np.logspace(-2, 2, 10) + 7


@pytest.fixture(scope="module")
def detector() -> AnomalyDetector:
    return AnomalyDetector(**OPTIONS, calibration_fraction=0.25).fit(rows())


def test_the_parameters_are_those_of_the_autoencoder_and_two_more() -> None:
    own, base = AnomalyDetector().get_params(), Autoencoder().get_params()
    different = {name: value for name, value in own.items() if name not in base or base[name] != value}
    assert different == {"loss": "huber", "epochs": 20, "scaling": "standard", "contamination": 0.1,
                         "calibration_fraction": 0.0}
    assert list(own)[: len(base)] == list(base)
    signature = inspect.signature(AnomalyDetector).parameters
    assert {name: p.default for name, p in signature.items()} == own
    assert eval(repr(AnomalyDetector((3,), contamination=0.2))).get_params()["contamination"] == 0.2


def test_the_score_is_the_mean_of_the_explained_errors(detector: AnomalyDetector) -> None:
    x = rows()
    error, expected = detector.explain(x)
    assert error.shape == expected.shape == x.shape
    assert (error.dtype, expected.dtype) == (np.float64, np.float32)
    assert_close(detector.score_samples(x), -error.mean(axis=1), tolerance=1e-6)
    assert_same_bits(expected, detector.reconstruct(x))
    # |difference| over a spread that is the same for all rows of a column
    ratio = np.abs(expected - x) / error
    np.testing.assert_allclose(ratio, np.broadcast_to(np.median(ratio, axis=0), x.shape), rtol=2e-2)
    odd = x[20:].copy()  # normal but for one feature
    odd[:, 4] += 5 * x[:, 4].std()
    assert (np.argmax(detector.explain(odd)[0], axis=1) == 4).mean() > 0.9


def test_threshold_and_prediction(detector: AnomalyDetector) -> None:
    x = rows()
    scores = detector.score_samples(x)
    assert scores.dtype == np.float64 and scores.shape == (400,)
    assert_same_bits(detector.decision_function(x), scores - detector.offset_)
    assert_same_bits(detector.predict(x), np.where(scores < detector.offset_, -1, 1))
    for share in (0.01, 0.05, 0.1, 0.25, 0.5):
        model = AnomalyDetector(**OPTIONS, contamination=share)
        assert (model.fit_predict(x) == -1).sum() == round(400 * share)
        order = np.sort(model.score_samples(x))
        assert model.offset_ == (order[round(400 * share) - 1] + order[round(400 * share)]) / 2


def test_anomalies_are_found_and_not_learned() -> None:
    x = rows(1000, 100)
    truth = np.arange(1000) < 100
    model = AnomalyDetector(**OPTIONS | {"epochs": 40}).fit(x)
    found = model.predict(x) == -1
    assert (found == truth).mean() > 0.98
    clean = AnomalyDetector(**OPTIONS | {"epochs": 40}).fit(x[~truth])
    assert np.corrcoef(model.score_samples(x[~truth]), clean.score_samples(x[~truth]))[0, 1] > 0.8


def test_a_constant_column_that_moves_a_little_does_not_own_the_score() -> None:
    x = rows()
    x[:, 3] = 5.0
    model = AnomalyDetector(**OPTIONS).fit(x)
    moved = x.copy()
    moved[:, 3] += 0.001
    assert np.abs(model.score_samples(moved) - model.score_samples(x)).max() < 0.2
    assert (model.predict(moved) == model.predict(x)).mean() > 0.97


def test_integer_weights_are_repeated_rows() -> None:
    x = rows(120, 6)
    counts = np.random.default_rng(1).integers(0, 4, 120)
    options = OPTIONS | {"batch_size": 1000}
    weighted = AnomalyDetector(**options).fit(x, sample_weight=counts)
    repeated = AnomalyDetector(**options).fit(np.repeat(x, counts, axis=0))
    assert weighted.offset_ == pytest.approx(repeated.offset_, rel=1e-4)
    assert relative_error(weighted.score_samples(x), repeated.score_samples(x)) < 1e-4
    plain = AnomalyDetector(**options).fit(x)
    assert abs(plain.offset_ / repeated.offset_ - 1) > 1e-3  # it can fail


# ---- p-values -------------------------------------------------------------------------------------------------------


def test_p_values_are_uniform_on_normal_rows() -> None:
    """Over draws of data: each share of p-values at or below p is p, within five standard errors."""
    rng = np.random.default_rng(0)
    p = []
    for seed in range(40):
        x = rng.standard_normal((400, 3)) @ rng.standard_normal((3, 6)) + rng.standard_normal((400, 6)) ** 3
        model = AnomalyDetector((2,), epochs=2, random_state=seed, calibration_fraction=0.5).fit(x[:200])
        p.append(model.p_values(x[200:]))
    values = np.array(p)
    assert (values > 0).all() and (values <= 1).all()
    for share in (0.05, 0.1, 0.25, 0.5, 0.75, 0.9):
        below = (values <= share).mean(axis=1)  # rows of one model are not independent: models are
        assert abs(below.mean() - share) < 5 * below.std(ddof=1) / np.sqrt(len(below)) + 1 / 101


def test_p_values_are_the_conformal_ones(detector: AnomalyDetector) -> None:
    x = rows()
    p, scores = detector.p_values(x), detector.score_samples(x)
    assert set(np.round(p * 101).astype(int)) <= set(range(1, 102))  # of 100 rows held back
    np.testing.assert_allclose(p * 101, np.round(p * 101), atol=1e-9)
    order = np.argsort(scores)
    assert (np.diff(p[order]) >= 0).all()
    far = x.copy()
    far[:, 0] += 1e4
    assert (detector.p_values(far) == 1 / 101).all()
    with pytest.raises(ValueError, match=r"p_values.*calibration_fraction"):
        AnomalyDetector(**OPTIONS).fit(x).p_values(x)


# ---- what is kept ---------------------------------------------------------------------------------------------------


def test_files_keep_the_class_and_the_calibration(detector: AnomalyDetector, tmp_path: Path) -> None:
    x = rows()
    detector.save(tmp_path / "d")
    for again in (AnomalyDetector.load(tmp_path / "d"), Autoencoder.load(tmp_path / "d"),
                  Autoencoder.from_bytes(detector.to_bytes())):
        assert type(again) is AnomalyDetector
        assert {**again.get_params(), "device": detector.device} == detector.get_params()
        assert_same_bits(again.p_values(x), detector.p_values(x))
        assert again.offset_ == detector.offset_
    plain = AnomalyDetector(**OPTIONS, scaling=None).fit(x)
    assert AnomalyDetector.from_bytes(plain.to_bytes()).scaling is None
    with pytest.raises(ValueError, match="autoencoder"):
        AnomalyDetector.from_bytes(Autoencoder((2,), epochs=1).fit(x).to_bytes())


def test_what_changes_the_weights_changes_the_calibration() -> None:
    x = rows()
    model = AnomalyDetector(**OPTIONS)
    with pytest.raises(NotFittedError):
        model.offset_  # noqa: B018
    model.initialize(10)
    for call in (lambda: model.score_samples(x), lambda: model.p_values(x), lambda: model.explain(x)):
        with pytest.raises(RuntimeError, match="not calibrated"):
            call()
    with pytest.raises(AttributeError, match="not trained"):
        model.offset_  # noqa: B018
    model.partial_fit(x)
    first = model.offset_
    model.partial_fit(x)
    assert model.offset_ != first
    model.set_weights(model.get_weights())
    with pytest.raises(RuntimeError, match="not calibrated"):
        model.predict(x)


def test_an_interrupted_fit_is_calibrated() -> None:
    class EnoughError(Exception):
        pass

    def stop(model: Any, info: dict[str, Any]) -> None:
        raise EnoughError

    model = AnomalyDetector(**OPTIONS)
    with pytest.raises(EnoughError):
        model.fit(rows(), callbacks=[stop])
    assert model.n_iter_ == 1
    one = AnomalyDetector(**OPTIONS | {"epochs": 1}).fit(rows())
    assert model.offset_ == one.offset_ and bits(model) == bits(one)


def test_the_same_bits_for_any_threads_and_partition(detector: AnomalyDetector) -> None:
    x = rows()
    scores = detector.score_samples(x)
    assert_same_bits(np.concatenate([detector.score_samples(x[i : i + 7]) for i in range(0, 400, 7)]), scores)
    again = AnomalyDetector(**OPTIONS, calibration_fraction=0.25, n_threads=2).fit(np.asfortranarray(x))
    assert again.offset_ == detector.offset_
    assert_same_bits(again.p_values(x), detector.p_values(x))


@pytest.mark.parametrize("name,value", [("contamination", v) for v in (0, 0.51, -0.1, 1, "auto", None, np.nan)] +
                         [("calibration_fraction", v) for v in (-0.1, 1.0, None, "a")])
def test_bad_parameters(name: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"{name} must be .*; got"):
        AnomalyDetector(**{**OPTIONS, name: value}).fit(rows())
    with pytest.raises(ValueError, match="calibration_fraction needs at least 2 rows"):
        AnomalyDetector(calibration_fraction=0.5).fit(rows()[:1])


@pytest.mark.parametrize("what", SHAPES)
def test_arrays_of_the_wrong_kind(detector: AnomalyDetector, what: str) -> None:
    x, words = SHAPES[what]
    for call in (AnomalyDetector(**OPTIONS).fit, detector.score_samples, detector.decision_function, detector.predict,
                 detector.p_values, detector.explain):
        with pytest.raises((ValueError, TypeError), match="|".join(words)):
            call(x)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_bad_values_are_named(detector: AnomalyDetector, value: float) -> None:
    x = rows()
    x[17, 3] = value
    for call in (AnomalyDetector(**OPTIONS).fit, AnomalyDetector(**OPTIONS, scaling=None).fit, detector.score_samples,
                 detector.predict, detector.p_values, detector.explain):
        if value == 1e39 and call is not detector.score_samples:
            continue
        with pytest.raises(ValueError, match=r"X\[17, 3\] is"):
            call(x)
