# SPDX-License-Identifier: Apache-2.0
"""missing="mask": against the twin, finite differences and NumPy; what NaN is on every way in; and that it learns."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import assert_close, assert_same_bits, bits, layouts, package, random_weights, relative_error, start_from
from isthmus import AnomalyDetector, Autoencoder, VariationalAutoencoder, _core
from isthmus._cli.demo import load_digits
from numpy.typing import NDArray
from twin import Network, Rule, Trainer, default_output, finite_differences, observed

pytestmark = pytest.mark.every_device

NAN = float("nan")
WIDTHS = (7, 9, 3, 9, 7)
OPTIONS: dict[str, Any] = {"encoder_layers": (6, 2), "epochs": 4, "random_state": 0, "batch_size": 32}
F32, F64 = NDArray[np.float32], NDArray[np.float64]


def rows(n: int = 90, d: int = 7, share: float = 0.3, seed: int = 1) -> F32:
    """Rows in [0, 1] with holes; row 4 has nothing, row 5 all."""
    rng = np.random.default_rng(seed)
    x = rng.random((n, d)).astype(np.float32)
    x[rng.random((n, d)) < share] = NAN
    x[4], x[5] = NAN, 0.5
    return x


def filled(x: NDArray[Any], weight: F64 | None = None) -> F64:
    """What is missing as the mean of its column, by the plain formula in float64."""
    there = ~np.isnan(x)
    w = np.ones(len(x)) if weight is None else weight
    means = np.array([np.average(c[t].astype(np.float64), weights=w[t]) for c, t in zip(x.T, there.T, strict=True)])
    return np.where(there, x, means).astype(np.float64)


# ---- against the twin -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", _core.losses())
@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_gradients(activation: str, loss: str, rng: np.random.Generator) -> None:
    """A model that has not seen a row yet puts 0 for what is missing."""
    weights = random_weights(rng, WIDTHS)
    model = start_from(Autoencoder(WIDTHS[1:3], activation=activation, code_activation=activation, loss=loss,
                                   missing="mask"), weights)
    network = Network(weights, [activation] * 3 + [default_output(loss)], loss)
    x, w = rows(13), rng.random(13).astype(np.float32)
    counted = np.where(np.isnan(x).all(axis=1), 0.0, w)
    twin = network.gradients(np.nan_to_num(x), x, counted)
    differences = finite_differences(network, np.nan_to_num(x), x, counted)
    seen = network.gradients(np.nan_to_num(x), None, counted)  # the holes taken for data: it must matter
    for i, gradient in enumerate(model.gradients(x, sample_weight=w)):
        assert_close(gradient, twin[i], tolerance=1e-5, what=f"parameter {i} against the twin")
        assert_close(gradient, differences[i], tolerance=1e-5, what=f"parameter {i} against differences")
        assert relative_error(gradient, seen[i]) > 1e-2


@pytest.mark.parametrize("loss,rule", [
    ("mse", {"optimizer": "adam"}), ("bce", {"optimizer": "adamw"}), ("huber", {"optimizer": "sgd", "momentum": 0.9}),
    ("mse", {"optimizer": "sgd", "clip_norm": 0.05}),
], ids=str)
def test_training_follows_the_twin(loss: str, rule: dict[str, Any], rng: np.random.Generator) -> None:
    x, w = rows(), rng.random(90) + 0.5
    weights = random_weights(rng, WIDTHS)
    model = Autoencoder(WIDTHS[1:3], activation="tanh", code_activation="tanh", loss=loss, shuffle=False, epochs=10,
                        missing="mask", warm_start=True, batch_size=20, epsilon=1e-4, **rule)
    start_from(model, weights).fit(x, sample_weight=w)
    network = Network(weights, ["tanh"] * 3 + [default_output(loss)], loss)
    trainer = Trainer(network, Rule(epsilon=1e-4, **rule))
    counted = np.where(np.isnan(x).all(axis=1), 0.0, w)
    losses = [trainer.epoch(filled(x, w), 20, 1e-3, sample_weight=counted, target=x) for _ in range(10)]
    for i, (actual, expected) in enumerate(zip(model.get_weights(), network.weights, strict=True)):
        assert_close(actual, expected, tolerance=1e-5, what=f"parameter {i}")
    np.testing.assert_allclose(model.history_["loss"], losses, rtol=1e-5)


@pytest.mark.parametrize("scaling", [None, "standard", "minmax"])
@pytest.mark.parametrize("parameters", [
    {}, {"loss": "mae", "clip_norm": 0.1}, {"input_noise": 0.1, "validation_fraction": 0.2, "patience": 2},
], ids=str)
def test_without_holes_a_mask_changes_no_bit(scaling: str | None, parameters: dict[str, Any]) -> None:
    x = filled(rows())
    for data in (x, x.astype(np.float32)):
        models = [Autoencoder(**OPTIONS, **parameters, scaling=scaling, missing=missing).fit(data)
                  for missing in ("error", "mask")]
        assert bits(models[0]) == bits(models[1])
        assert_same_bits(models[0].score_samples(data), models[1].score_samples(data))
        assert models[0].history_["val_loss"] == models[1].history_["val_loss"]


# ---- what is computed from rows -------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[None, "standard", "minmax"])
def model(request: pytest.FixtureRequest) -> Autoencoder:
    return Autoencoder(**OPTIONS, scaling=request.param, missing="mask").fit(rows())


def test_missing_values_enter_as_means(model: Autoencoder) -> None:
    x = rows(seed=2)
    means = filled(rows())[4]  # those of the rows that were trained on
    there = np.where(np.isnan(x), means, x)
    for call in (model.encode, model.reconstruct):
        assert_close(call(x), call(there), tolerance=1e-6)
    weights, names = model.get_weights(), model.get_params()
    again = Autoencoder.from_bytes(model.to_bytes())
    assert again.get_params()["missing"] == names["missing"] == "mask"
    for duplicate in (again, pickle.loads(pickle.dumps(model))):
        assert_same_bits(duplicate.encode(x), model.encode(x))
        assert duplicate.get_weights()[0].tobytes() == weights[0].tobytes()


def test_errors_are_means_over_what_is_there(model: Autoencoder) -> None:
    x = rows(seed=2)
    errors, elements = model.reconstruction_error(x), model.reconstruction_error(x, per_feature=True)
    np.testing.assert_array_equal(np.isnan(elements), np.isnan(x))
    assert np.isnan(errors[4]) and np.isfinite(np.delete(errors, 4)).all()
    expected = np.nansum(elements, axis=1) / observed(x)[:, 0]
    assert_close(np.delete(errors, 4), np.delete(expected, 4), tolerance=1e-6)
    assert_same_bits(model.score_samples(x), -errors)
    weight = np.linspace(0.5, 2.0, len(x))
    np.testing.assert_allclose(model.score(x), -np.delete(errors, 4).mean(), rtol=1e-9)
    wanted = -np.average(np.delete(errors, 4), weights=np.delete(weight.astype(np.float32), 4))
    np.testing.assert_allclose(model.score(x, sample_weight=weight), wanted, rtol=1e-9)
    difference = np.delete(model.reconstruct(x) - x, 4, axis=0)
    in_units = model.reconstruction_error(x, units="input")
    np.testing.assert_allclose(np.delete(in_units, 4), np.nanmean(difference**2, axis=1), rtol=1e-4)
    assert np.isnan(in_units[4])


def test_a_row_does_not_depend_on_the_others(model: Autoencoder) -> None:
    x = rows(seed=3)
    all_errors, codes = model.reconstruction_error(x), model.encode(x)
    for size in (1, 7):
        parts = range(0, len(x), size)
        assert_same_bits(np.concatenate([model.reconstruction_error(x[i : i + size]) for i in parts]), all_errors)
        assert_same_bits(np.concatenate([model.encode(x[i : i + size]) for i in parts]), codes)


@pytest.mark.cpu_only
def test_bits_do_not_depend_on_threads_and_layout() -> None:
    x = rows(300, 9)
    first: Autoencoder | None = None
    for threads in (1, 2, 3):
        for layout, values in layouts(x).items():
            fitted = Autoencoder(**OPTIONS, missing="mask", n_threads=threads).fit(values)
            first = fitted if first is None else first
            assert bits(fitted) == bits(first), f"{threads} threads, {layout}"
            assert_same_bits(fitted.impute(values), first.impute(x))


# ---- impute ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_impute_replaces_what_is_missing_alone(model: Autoencoder, dtype: str) -> None:
    x = rows(seed=4).astype(dtype) * (1 + 1e-9)
    before = x.copy()
    out = model.impute(x)
    np.testing.assert_array_equal(x, before)
    assert out.dtype == dtype and not np.isnan(out).any()
    holes = np.isnan(x)
    assert_same_bits(out[~holes], x[~holes])
    assert_same_bits(out[holes], model.reconstruct(x)[holes].astype(dtype))
    whole = model.impute(out)
    assert_same_bits(whole, out)
    assert whole is not out and not np.shares_memory(whole, out)


def test_impute_takes_what_encode_takes(model: Autoencoder) -> None:
    assert_same_bits(model.impute(np.ones((3, 7), np.int16)), np.ones((3, 7), np.int16))
    half = rows(seed=4).astype(np.float16)
    assert_same_bits(model.impute(half), model.impute(half.astype(np.float32)))
    with pytest.raises(ValueError, match=r"X\[4, 1\] is inf"):
        model.impute(np.where(np.arange(70).reshape(10, 7) == 29, np.inf, rows(10)))
    with pytest.raises(ValueError, match="X has 6 features"):
        model.impute(np.ones((2, 6)))
    with pytest.raises(ValueError, match='impute needs missing="mask"'):
        Autoencoder(**OPTIONS).fit(np.ones((9, 7))).impute(np.ones((2, 7)))


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_impute_in_frames(container: str) -> None:
    pandas, module = package("pandas"), package(container)
    frame = pandas.DataFrame(rows(), columns=list("abcdefg"), index=np.arange(90) + 7)
    fitted = Autoencoder(**OPTIONS, missing="mask").fit(frame)
    plain = fitted.impute(frame)
    assert type(plain) is np.ndarray
    out = fitted.set_output(transform=container).impute(frame)
    assert isinstance(out, module.DataFrame) and list(out.columns) == list("abcdefg")
    assert_same_bits(np.ascontiguousarray(out), plain)
    if container == "pandas":
        assert out.index.tolist() == frame.index.tolist()
    unnamed = Autoencoder(**OPTIONS, missing="mask").set_output(transform=container).fit(rows())
    assert list(unnamed.impute(rows()).columns) == [f"x{i}" for i in range(7)]


# ---- every way in ---------------------------------------------------------------------------------------------------


def objects(x: F64, what: Any) -> NDArray[Any]:
    out = x.astype(object)
    out[np.isnan(x)] = what
    return out


def arrow(x: F64) -> Any:
    pyarrow = package("pyarrow")
    return pyarrow.table({name: pyarrow.array(c, from_pandas=True) for name, c in zip("abcdefg", x.T, strict=True)})


def pandas_frame(x: F64, dtype: str | None = None, what: Any = NAN) -> Any:
    pandas = package("pandas")
    frame = pandas.DataFrame(objects(x, what), columns=list("abcdefg")) if what is not NAN else pandas.DataFrame(x)
    return frame if dtype is None else frame.astype(dtype)


WAYS: dict[str, Callable[[F64], Any]] = {
    "float32": lambda x: x.astype(np.float32),
    "float16": lambda x: x.astype(np.float16),
    "longdouble": lambda x: x.astype(np.longdouble),
    "byteswapped": lambda x: x.astype(">f8"),
    "lists": lambda x: x.tolist(),
    "None among objects": lambda x: objects(x, None),
    "NaN among objects": lambda x: objects(x, NAN),
    "masked array": lambda x: np.ma.masked_array(np.nan_to_num(x), mask=np.isnan(x)),
    "masked integers": lambda x: np.ma.masked_array(np.nan_to_num(x).astype(int), mask=np.isnan(x)),
    "pandas": pandas_frame,
    "pandas NA among objects": lambda x: pandas_frame(x, what=package("pandas").NA),
    "pandas None among objects": lambda x: pandas_frame(x, what=None),
    "pandas Float64": lambda x: pandas_frame(x, "Float64"),
    "pandas Int64": lambda x: pandas_frame(x, "Int64"),
    "pandas on arrow": lambda x: (package("pyarrow"), pandas_frame(x, "double[pyarrow]"))[1],
    "polars NaN": lambda x: package("polars").DataFrame(x),
    "polars null": lambda x: package("polars").DataFrame(x).fill_nan(None),
    "arrow null": arrow,
}


@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize("way", WAYS)
def test_what_is_missing_is_nan(way: str) -> None:
    x = np.floor(100 * rows().astype(np.float64))  # so that integers and halves hold it
    table = WAYS[way](x)
    expected = Autoencoder(**OPTIONS, missing="mask").fit(x)
    found = Autoencoder(**OPTIONS, missing="mask").fit(table, validation_data=table)
    assert bits(found) == bits(expected)
    assert_same_bits(np.asarray(found.encode(table)), expected.encode(x))
    assert_same_bits(found.score_samples(table), expected.score_samples(x))
    assert_same_bits(np.asarray(found.impute(table), np.float64), expected.impute(x).astype(np.float64))
    assert bits(found.partial_fit(table)) == bits(expected.partial_fit(x))
    # Without the mask the first of them is refused by its place.
    row, column = np.argwhere(np.isnan(x))[0]
    strict = Autoencoder(**OPTIONS).fit(filled(x))
    for call in (strict.fit, strict.partial_fit, strict.encode, strict.score):
        with pytest.raises((ValueError, TypeError), match=rf"X\[{row}, {column}\] is"):
            call(table)


def methods(model: Autoencoder) -> dict[str, Callable[[Any], Any]]:
    return {
        "fit": model.fit, "partial_fit": model.partial_fit, "encode": model.encode, "reconstruct": model.reconstruct,
        "reconstruction_error": model.reconstruction_error, "score": model.score, "gradients": model.gradients,
        "impute": model.impute, "validation_data": lambda x: model.fit(rows(), validation_data=x),
    }


@pytest.mark.parametrize("value,text", [(np.inf, "inf"), (-np.inf, "-inf"), (1e39, r"1e\+39")])
def test_infinity_stays_an_error(value: float, text: str) -> None:
    fitted = Autoencoder(**OPTIONS, missing="mask").fit(rows())
    x = rows().astype(np.float64)
    x[17, 3] = value
    before = bits(fitted)
    for name, call in methods(fitted).items():
        argument = "validation_data" if name == "validation_data" else "X"
        for data in (x, x.astype(object), *([x.astype(np.float32)] if np.isinf(value) else [])):
            with pytest.raises(ValueError, match=rf"{argument}\[17, 3\] is {text}"):
                call(data)
    assert bits(fitted) == before


def test_codes_have_no_holes() -> None:
    fitted = Autoencoder(**OPTIONS, missing="mask").fit(rows())
    with pytest.raises(ValueError, match=r"Z\[0, 1\] is nan"):
        fitted.decode([[0.0, NAN]])


def test_what_nothing_can_be_learned_from_is_named() -> None:
    x = rows()
    x[:, 3] = NAN
    fresh = Autoencoder(**OPTIONS, missing="mask")
    for scaling in (None, "standard"):
        with pytest.raises(ValueError, match=r"X\[:, 3\] has no value in the rows that are trained on"):
            fresh.set_params(scaling=scaling).fit(x)
    x[7, 3] = 1.0
    with pytest.raises(ValueError, match=r"X\[:, 3\] has no value"):
        fresh.fit(x, sample_weight=np.arange(90) != 7)
    fitted = fresh.fit(x)
    for call in (fitted.score, fitted.gradients):
        with pytest.raises(ValueError, match="X has no value in any row with a weight: all are missing"):
            call(np.full((3, 7), NAN))
    with pytest.raises(ValueError, match="validation_data has no value in any row"):
        fitted.fit(x, validation_data=np.full((3, 7), NAN))


def test_bce_looks_at_what_is_there() -> None:
    x = rows()
    fitted = Autoencoder(**OPTIONS, loss="bce", missing="mask").fit(x)
    assert np.isfinite(np.delete(fitted.score_samples(x), 4)).all()
    wrong = x.copy()
    wrong[5, 2] = 1.5
    with pytest.raises(ValueError, match=r'X\[5, 2\] is 1.5; loss="bce" needs values in \[0, 1\]'):
        fitted.fit(wrong)
    clipped = Autoencoder(**OPTIONS, loss="bce", scaling="minmax", missing="mask").fit(x)
    assert np.isfinite(np.delete(clipped.score_samples(wrong), 4)).all()


# ---- what is kept ---------------------------------------------------------------------------------------------------


def test_the_means_are_those_of_the_first_training() -> None:
    first, later = rows(seed=5), 10 + rows(seed=6)
    model = Autoencoder((3,), missing="mask", random_state=0).partial_fit(first)
    empty = np.full((1, 7), NAN)

    def enters_as(x: F64) -> bool:
        return relative_error(model.encode(empty), model.encode(x[4:5])) < 1e-6

    assert enters_as(filled(first))
    model.partial_fit(later)
    assert enters_as(filled(first))
    model.partial_fit(np.full((40, 7), NAN))  # nothing to learn, nothing lost
    model.set_params(warm_start=True, epochs=1).fit(later)
    assert enters_as(filled(first))
    model.set_params(missing="error").fit(filled(later))
    with pytest.raises(ValueError, match=r"X\[0, 0\] is nan"):
        model.encode(empty)
    model.set_params(missing="mask").fit(later)
    assert enters_as(filled(later))
    assert not enters_as(filled(first))


def test_rows_held_back_do_not_tell_the_means() -> None:
    x = rows(200, seed=7)
    model = Autoencoder(**OPTIONS, missing="mask", validation_fraction=0.25).fit(x)
    assert len(model.history_["val_loss"]) == 4
    code = model.encode(np.full((1, 7), NAN))
    assert relative_error(code, model.encode(filled(x)[4:5])) > 1e-6


@pytest.mark.parametrize("scaling", [None, "standard"])
def test_columns_with_few_and_with_many_values(scaling: str | None) -> None:
    """From all of 2,000 values to two: means and scaling are those of each column's own."""
    rng = np.random.default_rng(0)
    shares = np.logspace(0, -3, 12)
    x = rng.standard_normal((2000, 12)) * np.logspace(-3, 3, 12) + np.linspace(-5, 5, 12)
    x[rng.random(x.shape) >= shares] = NAN
    x[:2] = [[1.0], [2.0]]
    model = Autoencoder((4,), epochs=3, missing="mask", scaling=scaling, random_state=0).fit(x * 1e-3)
    assert np.isfinite(model.loss_) and np.isfinite(np.concatenate([w.ravel() for w in model.get_weights()])).all()
    means = np.nanmean(x * 1e-3, axis=0, keepdims=True)
    assert_close(model.encode(np.full((1, 12), NAN)), model.encode(means), tolerance=1e-5)


def test_other_kinds_of_model() -> None:
    x = rows()
    for model in (Autoencoder(**OPTIONS, tied_weights=True, code_topk=1, code_l1=0.1, missing="mask"),
                  VariationalAutoencoder(**OPTIONS, missing="mask", scaling="standard")):
        filled_in = model.fit(x).impute(x)
        assert np.isfinite(filled_in).all() and np.isfinite(model.encode(x)).all()
        assert np.isnan(model.score_samples(x)[4]) and np.isfinite(model.score(x))
        assert_close(model.encode(x), model.encode(filled(x)), tolerance=1e-6)
    drawn = model.encode(x, sample=True, random_state=0)
    assert_close(drawn, model.encode(filled(x), sample=True, random_state=0), tolerance=1e-6)


# ---- the detector ---------------------------------------------------------------------------------------------------


def plane(n: int, seed: int, share: float = 0.2) -> F64:
    """Rows near a plane in eight dimensions, with holes."""
    rng = np.random.default_rng(seed)
    basis = np.random.default_rng(8).standard_normal((2, 8))
    x = rng.standard_normal((n, 2)) @ basis + 0.05 * rng.standard_normal((n, 8))
    x[rng.random(x.shape) < share] = NAN
    return x


def test_a_detector_judges_by_what_is_there() -> None:
    x = plane(1500, 1)
    model = AnomalyDetector((6, 2), epochs=30, missing="mask", calibration_fraction=0.3, contamination=0.05,
                            random_state=0).fit(x)
    fresh = plane(600, 2)
    error, expected = model.explain(fresh)
    np.testing.assert_array_equal(np.isnan(error), np.isnan(fresh))
    assert np.isfinite(expected).all()
    assert_close(model.score_samples(fresh), -np.nanmean(error, axis=1), tolerance=1e-6)
    assert (model.predict(x) == -1).mean() == pytest.approx(0.05, abs=0.002)
    # p-values of normal rows are uniform: by Kolmogorov and Smirnov's bound at one in ten thousand.
    p = np.sort(model.p_values(fresh))
    assert np.abs(p - np.arange(1, 601) / 600).max() < 2.23 * np.sqrt(1 / 600 + 1 / 450)
    odd = fresh.copy()
    odd[np.arange(600), np.nanargmax(np.where(np.isnan(fresh), -1, 1), axis=1)] += 20
    assert np.median(model.p_values(odd)) < 0.02


def test_a_row_without_anything_is_no_anomaly() -> None:
    x = plane(400, 3)
    x[10] = NAN
    model = AnomalyDetector((6, 2), epochs=2, missing="mask", calibration_fraction=0.2, random_state=0).fit(x)
    assert np.isfinite(model.offset_)
    assert np.isnan(model.score_samples(x)[10]) and np.isnan(model.decision_function(x)[10])
    assert model.predict(x)[10] == 1 and model.p_values(x)[10] == 1.0
    again = AnomalyDetector.from_bytes(model.to_bytes())
    assert_same_bits(again.score_samples(x), model.score_samples(x))


def test_a_detector_goes_on_where_a_column_is_not_seen_again() -> None:
    x = plane(400, 4)
    model = AnomalyDetector((6, 2), missing="mask", random_state=0).partial_fit(x)
    later = plane(100, 5)
    later[:, 3] = NAN
    assert np.isfinite(model.partial_fit(later).score_samples(x)).all()


# ---- it learns ------------------------------------------------------------------------------------------------------


def test_masked_training_beats_means_on_what_was_hidden(tmp_path: Path) -> None:
    """A fifth of the pixels of the digits hidden at random; on those of other digits the error is far below that of the
    column means, and below that of the same network which takes the means for data."""
    X, X_test, _ = load_digits()
    rng = np.random.default_rng(0)
    holes, test_holes = rng.random(X.shape) < 0.2, rng.random(X_test.shape) < 0.2
    with_holes, test_with_holes = np.where(holes, np.nan, X), np.where(test_holes, np.nan, X_test)
    options: dict[str, Any] = {"encoder_layers": (64, 16), "epochs": 60, "learning_rate": 3e-3, "batch_size": 64,
                               "random_state": 0}

    def error(values: NDArray[Any]) -> float:
        return float(np.sqrt(np.mean((values[test_holes] - X_test[test_holes]) ** 2)))

    means = np.nanmean(with_holes, axis=0)
    model = Autoencoder(**options, missing="mask").fit(with_holes)
    ignorant = Autoencoder(**options).fit(np.where(holes, means, X))
    masked = error(model.impute(test_with_holes))
    of_means = error(np.broadcast_to(means, X_test.shape))
    of_the_ignorant = error(ignorant.reconstruct(np.where(test_holes, means, X_test)))
    assert masked < 0.7 * of_means
    assert masked < 0.97 * of_the_ignorant
    model.save(tmp_path / "digits.safetensors")
    assert error(Autoencoder.load(tmp_path / "digits.safetensors").impute(test_with_holes)) == masked


def test_a_report_counts_what_is_there() -> None:
    x = rows(300, seed=9)
    model = Autoencoder(**OPTIONS, missing="mask").fit(x)
    report = model.report(x)
    errors = model.reconstruction_error(x, per_feature=True)
    assert report.loss == pytest.approx(np.nanmean(model.reconstruction_error(x)), rel=1e-9)
    assert report.error == pytest.approx(np.nanmean(errors), rel=1e-9)
    assert np.isfinite(report.pca_error) and all(np.isfinite(value) for _, value in report.worst_features)
    assert "nan" not in str(report)
