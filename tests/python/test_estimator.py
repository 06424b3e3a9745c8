# SPDX-License-Identifier: Apache-2.0
"""Autoencoder as an estimator: parameters, fitted attributes, feature names, containers, threads."""

from __future__ import annotations

import inspect
import threading
from typing import Any

import numpy as np
import pytest
from checks import assert_same_bits, bits, package
from isthmus import AnomalyDetector, Autoencoder, VariationalAutoencoder
from numpy.typing import NDArray

F32 = NDArray[np.float32]


@pytest.fixture
def x(rng: np.random.Generator) -> F32:
    return rng.random((60, 6)).astype(np.float32)


@pytest.fixture
def fitted(x: F32) -> Autoencoder:
    return Autoencoder((5, 2), epochs=2, random_state=0).fit(x)


# ---- parameters -----------------------------------------------------------------------------------------------------

DEFAULTS: dict[str, Any] = {
    "encoder_layers": None, "decoder_layers": None, "activation": "relu", "code_activation": "linear",
    "output_activation": None, "loss": "mse", "optimizer": "adam", "learning_rate": 1e-3, "beta_1": 0.9,
    "beta_2": 0.999, "epsilon": 1e-8, "momentum": 0.0, "weight_decay": None, "learning_rate_schedule": None,
    "clip_norm": None, "input_noise": 0.0, "input_noise_kind": "gaussian", "code_l1": 0.0,
    "code_topk": None, "tied_weights": False, "scaling": None, "missing": "error",
    "batch_size": 256, "epochs": 100, "shuffle": True, "validation_fraction": 0.0, "patience": None, "min_delta": 0.0,
    "restore_best": True, "max_seconds": None, "max_memory": None, "device": "auto", "precision": "float32",
    "n_threads": None, "random_state": None, "warm_start": False, "verbose": 0,
}


def test_defaults_are_those_of_the_documentation() -> None:
    assert Autoencoder().get_params() == DEFAULTS
    signature = inspect.signature(Autoencoder)
    assert {name: p.default for name, p in signature.parameters.items()} == DEFAULTS
    kinds = [p.kind for p in signature.parameters.values()]
    assert kinds[:2] == [inspect.Parameter.POSITIONAL_OR_KEYWORD] * 2
    assert set(kinds[2:]) == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("heir", [AnomalyDetector, VariationalAutoencoder])
def test_heirs_have_every_parameter(heir: type[Autoencoder]) -> None:
    assert set(DEFAULTS) <= set(heir().get_params())


def test_the_constructor_only_stores() -> None:
    marker = object()
    model = Autoencoder(marker, loss="nonsense", epochs=-1)  # type: ignore[arg-type]
    assert model.get_params()["encoder_layers"] is marker and model.loss == "nonsense"
    widths = [3, 2]
    assert Autoencoder(widths).encoder_layers is widths


def test_set_params() -> None:
    model = Autoencoder()
    assert model.set_params(epochs=3, loss="mae") is model
    assert model.epochs == 3 and model.get_params()["loss"] == "mae"
    assert model.get_params(deep=False) == model.get_params()
    with pytest.raises(ValueError, match=r"n_epochs.*epochs"):
        model.set_params(n_epochs=3)
    with pytest.raises(ValueError):
        model.set_params(epochs=5, nonsense=1)
    assert model.epochs == 3  # all or nothing


def test_repr_shows_what_differs_from_the_defaults() -> None:
    assert repr(Autoencoder()) == "Autoencoder()"
    text = repr(Autoencoder((128, 32), loss="bce", epochs=50, random_state=0))
    assert eval(text).get_params() == Autoencoder((128, 32), loss="bce", epochs=50, random_state=0).get_params()
    assert "batch_size" not in text


def test_default_widths(rng: np.random.Generator) -> None:
    # code = d // 4 within 1 to 32, one hidden layer of min(128, 4 * code) before it; the decoder mirrors.
    for d, code, hidden in [(1, 1, 4), (3, 1, 4), (8, 2, 8), (64, 16, 64), (128, 32, 128), (784, 32, 128)]:
        model = Autoencoder().initialize(d)
        assert model.code_size_ == code
        assert [w.shape for w in model.get_weights()[::2]] == [(hidden, d), (code, hidden), (hidden, code), (d, hidden)]
    shapes = {
        ((7, 3), None): [(7, 9), (3, 7), (7, 3), (9, 7)],
        ((7, 3), ()): [(7, 9), (3, 7), (9, 3)],
        ((7, 3), (5, 6)): [(7, 9), (3, 7), (5, 3), (6, 5), (9, 6)],
        ((3,), None): [(3, 9), (9, 3)],
    }
    for (encoder, decoder), expected in shapes.items():
        assert [w.shape for w in Autoencoder(encoder, decoder).initialize(9).get_weights()[::2]] == expected


@pytest.mark.parametrize("activation,he", [
    ("relu", True), ("leaky_relu", True), ("elu", True), ("gelu", True), ("silu", True), ("linear", False),
    ("softplus", False), ("sigmoid", False), ("tanh", False),
])
def test_first_weights(activation: str, he: bool) -> None:
    """Uniform within +-sqrt(6 / fan_in) (He) or +-sqrt(6 / (fan_in + fan_out)) (Glorot); biases zero."""
    d, width = 200, 300
    model = Autoencoder((width,), code_activation=activation, random_state=1).initialize(d)
    weight, bias, out, _ = model.get_weights()
    bound = np.sqrt(6 / d) if he else np.sqrt(6 / (d + width))
    uniform = np.sort((weight.ravel() / bound + 1) / 2)
    assert 0 <= uniform[0] < 1e-3 and 1 - 1e-3 < uniform[-1] <= 1
    # Kolmogorov-Smirnov at one in a million
    assert np.max(np.abs(uniform - np.linspace(0, 1, uniform.size))) < 2.7 / np.sqrt(uniform.size)
    assert not bias.any()
    assert np.abs(out).max() <= np.sqrt(6 / (d + width)) * (1 + 1e-6)  # the output is linear
    assert abs(np.corrcoef(weight[0], weight[1])[0, 1]) < 5 / np.sqrt(d)
    assert_same_bits(model.get_weights()[0], Autoencoder((width,), code_activation=activation, random_state=1)
                     .initialize(d).get_weights()[0])


# ---- fitted ---------------------------------------------------------------------------------------------------------


def test_learned_attributes(fitted: Autoencoder, x: F32) -> None:
    assert fitted.n_features_in_ == 6 and fitted.n_iter_ == 2 and fitted.device_ == "cpu" and fitted.code_size_ == 2
    assert set(fitted.history_) == {"loss", "val_loss", "learning_rate", "seconds"}
    assert all(isinstance(column, list) for column in fitted.history_.values())
    assert fitted.loss_ == fitted.history_["loss"][-1] and len(fitted.history_["seconds"]) == 2
    assert not hasattr(fitted, "feature_names_in_")
    assert not [name for name in vars(Autoencoder()) if name.endswith("_") and not name.startswith("_")]


def test_outputs(fitted: Autoencoder, x: F32) -> None:
    code = fitted.encode(x)
    assert code.shape == (60, 2) and code.dtype == np.float32
    assert_same_bits(fitted.transform(x), code)
    assert_same_bits(fitted.inverse_transform(code), fitted.decode(code))
    assert_same_bits(fitted.reconstruct(x), fitted.decode(code))
    error = ((fitted.reconstruct(x).astype(float) - x) ** 2)
    np.testing.assert_allclose(fitted.reconstruction_error(x), error.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(fitted.reconstruction_error(x, per_feature=True), error, rtol=1e-4, atol=1e-12)
    assert_same_bits(fitted.score_samples(x), -fitted.reconstruction_error(x))
    assert fitted.score(x) == pytest.approx(-error.mean(), rel=1e-6)
    w = np.arange(60.0)
    assert fitted.score(x, sample_weight=w) == pytest.approx(-np.average(error.mean(axis=1), weights=w), rel=1e-6)
    again = Autoencoder((5, 2), epochs=2, random_state=0)
    assert_same_bits(again.fit_transform(x), code)
    assert again.fit(x, np.arange(60)) is again  # y is for pipelines and looked at by nobody
    assert bits(again) == bits(fitted)


METHODS = ["transform", "encode", "decode", "inverse_transform", "reconstruct", "reconstruction_error", "score",
           "score_samples", "gradients", "get_weights", "set_weights", "get_feature_names_out", "save", "to_bytes"]


@pytest.mark.parametrize("method", METHODS)
def test_not_fitted(method: str, x: F32) -> None:
    from isthmus import NotFittedError

    function = getattr(Autoencoder((2,)), method)
    arguments = [x] if method not in ("get_weights", "get_feature_names_out", "to_bytes") else []
    with pytest.raises(NotFittedError, match="fit") as caught:
        function(*arguments)
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, AttributeError)


def test_initialize_makes_a_model_that_runs(x: F32) -> None:
    model = Autoencoder((2,), random_state=3)
    assert model.initialize(6) is model
    assert model.n_iter_ == 0 and model.encode(x).shape == (60, 2)
    # fit without warm start begins with the same weights, and this rate moves none that is not 0.
    start = model.get_weights()[::2]
    model.set_params(epochs=1, learning_rate=1e-30, optimizer="sgd").fit(x)
    for before, after in zip(start, model.get_weights()[::2], strict=True):
        assert_same_bits(before, after)


def test_set_weights(fitted: Autoencoder, x: F32) -> None:
    other = Autoencoder((5, 2), random_state=9).initialize(6)
    assert other.set_weights(fitted.get_weights()) is other or True
    assert_same_bits(other.encode(x), fitted.encode(x))
    weights = other.get_weights()
    weights[0][:] = 0  # copies
    assert_same_bits(other.encode(x), fitted.encode(x))
    other.set_weights([w.astype(np.float64).tolist() for w in fitted.get_weights()])
    assert bits(other) == bits(fitted)


# ---- names and containers -------------------------------------------------------------------------------------------


def test_feature_names_out(fitted: Autoencoder) -> None:
    names = fitted.get_feature_names_out()
    assert names.tolist() == ["autoencoder0", "autoencoder1"] and names.dtype == object


def test_data_frames(x: F32) -> None:
    pandas = package("pandas")
    names = list("abcdef")
    frame = pandas.DataFrame(x, columns=names, index=np.arange(60) + 100)
    model = Autoencoder((2,), epochs=1, random_state=0).fit(frame)
    assert model.feature_names_in_.tolist() == names
    with pytest.warns(UserWarning, match="feature names"):
        without_names = model.transform(x)
    assert_same_bits(model.transform(frame), without_names)
    with pytest.warns(UserWarning, match="fitted without feature names"):
        Autoencoder((2,), epochs=1).fit(x).transform(frame)
    for wrong in (frame[names[::-1]], frame.rename(columns={"c": "z"})):
        with pytest.raises(ValueError, match=r"[Ff]eature names"):
            model.transform(wrong)
    model.set_output(transform="pandas")
    out = model.transform(frame)
    assert isinstance(out, pandas.DataFrame)
    assert out.columns.tolist() == ["autoencoder0", "autoencoder1"] and out.index.equals(frame.index)
    model.set_output(transform="default")
    assert isinstance(model.transform(frame), np.ndarray)
    with pytest.raises(ValueError, match=r"transform.*nonsense"):
        model.set_output(transform="nonsense")
    with pytest.raises(ValueError, match=r"\[3, 1\].*nan|nan.*\[3, 1\]"):
        broken = frame.copy()
        broken.iloc[3, 1] = np.nan
        model.set_output(transform="default").transform(broken)


# ---- threads --------------------------------------------------------------------------------------------------------


def test_eight_threads_transform_on_one_model(x: F32) -> None:
    data = np.random.default_rng(3).random((500, 37)).astype(np.float32)
    model = Autoencoder((29, 5), epochs=1, n_threads=2, random_state=0).fit(data)
    expected, errors = model.encode(data), model.reconstruction_error(data)
    wrong: list[str] = []
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        for i in range(20):
            part = slice(7 * number + i, None, number + 1)
            if model.encode(data[part]).tobytes() != expected[part].tobytes():
                wrong.append(f"encode in thread {number}")
            if model.reconstruction_error(data[part]).tobytes() != errors[part].tobytes():
                wrong.append(f"errors in thread {number}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_two_models_train_in_two_threads(x: F32) -> None:
    expected = bits(Autoencoder((5, 2), epochs=20, random_state=0, n_threads=2).fit(x))
    models = [Autoencoder((5, 2), epochs=20, random_state=0, n_threads=2) for _ in range(4)]
    threads = [threading.Thread(target=model.fit, args=(x,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [bits(model) for model in models] == [expected] * 4
