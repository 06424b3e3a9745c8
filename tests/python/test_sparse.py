# SPDX-License-Identifier: Apache-2.0
"""code_l1 and code_topk: sparse codes, their gradients, what is told of the penalty and what is not."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest
from checks import assert_close, assert_same_bits, package, random_weights, relative_error, start_from
from isthmus import AnomalyDetector, Autoencoder
from numpy.typing import NDArray
from twin import Network, Rule, Trainer, default_output, finite_differences, largest

pytestmark = pytest.mark.every_device

F32 = NDArray[np.float32]
WIDTHS = (7, 9, 5, 9, 7)
SPARSE: list[dict[str, Any]] = [{"code_l1": 0.3}, {"code_topk": 2}, {"code_l1": 0.3, "code_topk": 3}]


def case(activation: str, loss: str, rng: np.random.Generator, sparse: dict[str, Any], n: int = 13,
         **parameters: Any) -> tuple[Autoencoder, Network, F32]:
    weights = random_weights(rng, WIDTHS)
    model = Autoencoder(WIDTHS[1:3], activation="tanh", code_activation=activation, loss=loss, **sparse, **parameters)
    network = Network(weights, ["tanh", activation, "tanh", default_output(loss)], loss, code=2, **sparse)
    x = rng.random((n, WIDTHS[0])) if loss == "bce" else 1.5 * rng.standard_normal((n, WIDTHS[0]))
    return start_from(model, weights), network, x.astype(np.float32)


@pytest.mark.parametrize("sparse", SPARSE, ids=str)
@pytest.mark.parametrize("activation", ["linear", "gelu", "relu", "sigmoid"])
@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_gradients(sparse: dict[str, Any], activation: str, loss: str, rng: np.random.Generator) -> None:
    model, network, x = case(activation, loss, rng, sparse)
    w = (0.1 + rng.random(len(x))).astype(np.float32)
    gradients = model.gradients(x, sample_weight=w)
    twin = network.gradients(x, sample_weight=w)
    differences = finite_differences(network, x, sample_weight=w)
    for i, gradient in enumerate(gradients):
        assert_close(gradient, twin[i], what=f"parameter {i} against the twin")
        assert_close(gradient, differences[i], what=f"parameter {i} against differences")
    # Without it the gradient is another.
    plain = Network(network.weights, network.activations, loss)
    assert relative_error(gradients[2], plain.gradients(x, sample_weight=w)[2]) > 1e-3


def test_a_wrong_sign_of_the_penalty_is_caught(rng: np.random.Generator) -> None:
    model, network, x = case("linear", "mse", rng, {"code_l1": 0.3})
    network.code_l1 = -0.3
    assert relative_error(model.gradients(x)[2], network.gradients(x)[2]) > 1e-3


@pytest.mark.parametrize("sparse", SPARSE, ids=str)
@pytest.mark.parametrize("rule", [{"optimizer": "adam"}, {"optimizer": "sgd", "momentum": 0.9, "clip_norm": 0.2}],
                         ids=str)
def test_training_follows_the_twin(sparse: dict[str, Any], rule: dict[str, Any], rng: np.random.Generator) -> None:
    rate = 3e-3
    model, network, x = case("linear", "mse", rng, sparse, n=100, warm_start=True, shuffle=False, epochs=5,
                             batch_size=16, learning_rate=rate, epsilon=1e-3, **rule)
    trainer = Trainer(network, Rule(epsilon=1e-3, **rule))
    w = (0.1 + rng.random(len(x))).astype(np.float32)
    model.fit(x, sample_weight=w)
    told = [(trainer.epoch(x, 16, rate, sample_weight=w), trainer.penalty) for _ in range(5)]
    np.testing.assert_allclose(model.history_["loss"], [loss for loss, _ in told], rtol=1e-5)
    if "code_l1" in sparse:
        np.testing.assert_allclose(model.history_["code_l1"], [penalty for _, penalty in told], rtol=1e-5)
    else:
        assert "code_l1" not in model.history_
    for actual, expected in zip(model.get_weights(), network.weights, strict=True):
        assert_close(actual, expected, tolerance=3e-5)


def test_the_penalty_is_in_no_loss(rng: np.random.Generator) -> None:
    x = rng.random((200, 12)).astype(np.float32)
    told: list[dict[str, Any]] = []
    model = Autoencoder((8, 4), code_l1=0.5, epochs=3, random_state=0, validation_fraction=0.2)
    model.fit(x, callbacks=[lambda _, info: told.append(info)])
    assert model.score(x) == pytest.approx(-float(np.mean((model.reconstruct(x) - x) ** 2)), rel=1e-6)
    assert [info["code_l1"] for info in told] == model.history_["code_l1"] and len(told) == 3
    assert min(model.history_["code_l1"]) > 0
    plain = Autoencoder((8, 4), epochs=3, random_state=0).fit(x, callbacks=[lambda _, info: told.append(info)])
    assert "code_l1" not in plain.history_ and "code_l1" not in told[-1]


def test_l1_makes_codes_sparse() -> None:
    x = np.random.default_rng(0).random((500, 20)).astype(np.float32)
    size = {}
    for weight in (0.0, 0.3):
        model = Autoencoder((16, 8), code_l1=weight, code_activation="relu", epochs=60, batch_size=64, random_state=1)
        size[weight] = float(np.abs(model.fit(x).encode(x)).mean())
    assert size[0.3] < 0.2 * size[0.0]


@pytest.mark.parametrize("activation", ["linear", "relu", "tanh"])
@pytest.mark.parametrize("code,keep", [(5, 1), (33, 7), (64, 64), (300, 20)])
def test_codes_have_the_largest_units(activation: str, code: int, keep: int, rng: np.random.Generator) -> None:
    weights = random_weights(rng, (9, code, 9))
    x = rng.standard_normal((150, 9)).astype(np.float32)
    dense = start_from(Autoencoder((code,), code_activation=activation), weights).encode(x)
    model = start_from(Autoencoder((code,), code_activation=activation, code_topk=keep), weights)
    expected = np.where(largest(dense.astype(np.float64), keep), dense, np.float32(0))
    assert_same_bits(model.encode(x), expected + np.float32(0))
    assert_same_bits(model.reconstruct(x), model.decode(model.encode(x)))
    for size in (1, 7, 64):
        chunks = [model.reconstruct(x[i : i + size]) for i in range(0, len(x), size)]
        assert_same_bits(np.concatenate(chunks), model.reconstruct(x), f"in chunks of {size}")


def test_files_and_pickles(rng: np.random.Generator) -> None:
    x = rng.random((100, 12)).astype(np.float32)
    model = Autoencoder((8, 4), code_l1=0.1, code_topk=2, epochs=2, random_state=0).fit(x)
    for other in (Autoencoder.from_bytes(model.to_bytes()), pickle.loads(pickle.dumps(model))):
        assert other.get_params()["code_topk"] == 2 and other.get_params()["code_l1"] == 0.1
        assert other.history_ == model.history_
        assert_same_bits(other.encode(x), model.encode(x))
    header = json.loads(model.to_bytes()[8 : 8 + int.from_bytes(model.to_bytes()[:8], "little")])
    assert header["history.penalty"]["shape"] == [2]


def test_more_units_than_the_code_has_are_refused() -> None:
    with pytest.raises(ValueError, match="code_topk must be None or at most the width of the code, 4; got 5"):
        Autoencoder((8, 4), code_topk=5).fit(np.ones((10, 12)))


@pytest.mark.parametrize("name,value", [("code_l1", 0.5), ("code_topk", 2)])
def test_it_cannot_change_on_a_model_that_goes_on(name: str, value: Any) -> None:
    model = Autoencoder((4,), warm_start=True, epochs=1).fit(np.ones((10, 6)))
    with pytest.raises(ValueError, match=name):
        model.set_params(**{name: value}).fit(np.ones((10, 6)))


def test_a_detector_may_be_sparse() -> None:
    x = np.random.default_rng(0).normal(size=(200, 6))
    detector = AnomalyDetector((5, 3), code_topk=2, code_l1=0.1, epochs=3, random_state=0).fit(x)
    assert np.isfinite(detector.score_samples(x)).all() and len(detector.history_["code_l1"]) == 3


@pytest.mark.cpu_only
def test_exports_keep_the_largest_units(rng: np.random.Generator) -> None:
    weights = random_weights(rng, WIDTHS)
    weights[2][3] = weights[2][1]  # two units that are always equal
    weights[3][3] = weights[3][1]
    model = start_from(Autoencoder(WIDTHS[1:3], code_activation="tanh", code_topk=2, loss="huber"), weights)
    x = rng.standard_normal((40, 7)).astype(np.float32)
    torch = package("torch")
    module = model.to_torch()
    with torch.no_grad():
        assert_close(module.encoder(torch.tensor(x)).numpy(), model.encode(x))
        assert_close(module(torch.tensor(x)).numpy(), model.reconstruct(x))
    back = Autoencoder.from_torch(pickle.loads(pickle.dumps(module)))
    assert back.code_topk == 2
    assert_same_bits(back.encode(x), model.encode(x))
    session = package("onnxruntime").InferenceSession(model.to_onnx().SerializeToString())
    code, error = session.run(["code", "error"], {"X": x})
    assert_close(code, model.encode(x))
    assert_close(error, model.reconstruction_error(x))
