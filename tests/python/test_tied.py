# SPDX-License-Identifier: Apache-2.0
"""tied_weights: the decoder uses the encoder's weights transposed, in training and for ever after."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import assert_close, assert_same_bits, package, random_weights, relative_error, start_from
from isthmus import AnomalyDetector, Autoencoder
from numpy.typing import NDArray
from twin import Network, Rule, Trainer, default_output, finite_differences

pytestmark = pytest.mark.every_device

F32 = NDArray[np.float32]
WIDTHS = (7, 9, 3, 9, 7)


def tied(weights: list[F32]) -> list[F32]:
    """Of a whole mirrored network: each weight once, and all biases."""
    layers = len(weights) // 2
    return [w for i, w in enumerate(weights) if i % 2 == 1 or i < layers]


def case(activation: str, loss: str, rng: np.random.Generator, n: int = 13, **parameters: Any) -> tuple[
    Autoencoder, Network, F32
]:
    weights = tied(random_weights(rng, WIDTHS))
    model = Autoencoder(WIDTHS[1:3], activation=activation, code_activation=activation, loss=loss, tied_weights=True,
                        **parameters)
    network = Network(weights, [activation] * 3 + [default_output(loss)], loss, tied=True)
    x = rng.random((n, WIDTHS[0])) if loss == "bce" else 1.5 * rng.standard_normal((n, WIDTHS[0]))
    return start_from(model, weights), network, x.astype(np.float32)


@pytest.mark.parametrize("activation", ["tanh", "gelu", "relu"])
@pytest.mark.parametrize("loss", ["mse", "bce", "huber"])
def test_gradients(activation: str, loss: str, rng: np.random.Generator) -> None:
    model, network, x = case(activation, loss, rng)
    w = rng.random(len(x)).astype(np.float32)
    gradients = model.gradients(x, sample_weight=w)
    twin = network.gradients(x, sample_weight=w)
    differences = finite_differences(network, x, sample_weight=w)
    assert [g.shape for g in gradients] == [g.shape for g in network.weights] and len(gradients) == 6
    for i, gradient in enumerate(gradients):
        assert_close(gradient, twin[i], what=f"parameter {i} against the twin")
        assert_close(gradient, differences[i], what=f"parameter {i} against differences")
    # Either use alone is far from the sum: a gradient that forgot one of them would be caught.
    whole = Network(weights := untied(network.weights), network.activations, loss)
    apart = whole.gradients(x, sample_weight=w)
    for i in (0, 2):
        assert relative_error(gradients[i], apart[i]) > 1e-2
        assert relative_error(gradients[i], apart[len(weights) - 2 - i].T) > 1e-2


def untied(weights: list[Any]) -> list[Any]:
    """The whole network of tied weights, with copies."""
    encoder = 2 * (len(weights) // 3)
    whole = list(weights[:encoder])
    for i, bias in enumerate(weights[encoder:]):
        whole += [weights[encoder - 2 - 2 * i].T.copy(), bias]
    return whole


@pytest.mark.parametrize("rule", [
    {"optimizer": "adam"}, {"optimizer": "adamw", "weight_decay": 0.1}, {"optimizer": "sgd", "momentum": 0.9},
    {"optimizer": "adam", "clip_norm": 0.05},
], ids=str)
def test_training_follows_the_twin(rule: dict[str, Any], rng: np.random.Generator) -> None:
    rate = 1e-2
    model, network, x = case("tanh", "mse", rng, n=100, warm_start=True, shuffle=False, epochs=5, batch_size=16,
                             learning_rate=rate, epsilon=1e-3, **rule)
    trainer = Trainer(network, Rule(epsilon=1e-3, **rule))
    model.fit(x)
    losses = [trainer.epoch(x, 16, rate) for _ in range(5)]
    np.testing.assert_allclose(model.history_["loss"], losses, rtol=1e-5)
    for actual, expected in zip(model.get_weights(), network.weights, strict=True):
        assert_close(actual, expected, tolerance=3e-5)
    assert_close(model.reconstruct(x), network.forward(x), tolerance=1e-4)


def test_training_follows_pytorch(rng: np.random.Generator) -> None:
    torch = package("torch")
    functional = torch.nn.functional
    model, _, x = case("tanh", "mse", rng, n=96, warm_start=True, shuffle=False, epochs=10, batch_size=32,
                       learning_rate=1e-3, epsilon=1e-4)
    parameters = [torch.tensor(w, requires_grad=True) for w in model.get_weights()]
    w0, b0, w1, b1, b2, b3 = parameters
    adam = torch.optim.Adam(parameters, lr=1e-3, eps=1e-4)
    rows = torch.tensor(x)
    for step in range(30):
        batch = rows[32 * (step % 3) : 32 * (step % 3 + 1)]
        code = torch.tanh(functional.linear(torch.tanh(functional.linear(batch, w0, b0)), w1, b1))
        y = functional.linear(torch.tanh(functional.linear(code, w1.t(), b2)), w0.t(), b3)
        adam.zero_grad()
        functional.mse_loss(y, batch).backward()
        adam.step()
    model.fit(x)
    for actual, expected in zip(model.get_weights(), parameters, strict=True):
        assert_close(actual, expected.detach().numpy())


WAYS: dict[str, Callable[[Autoencoder, Path], Autoencoder]] = {
    "file": lambda model, folder: saved(model, folder),
    "bytes": lambda model, _: Autoencoder.from_bytes(model.to_bytes()),
    "pickle": lambda model, _: pickle.loads(pickle.dumps(model)),
    "deepcopy": lambda model, _: copy.deepcopy(model),
}


def saved(model: Autoencoder, folder: Path) -> Autoencoder:
    model.save(folder / "model.safetensors")
    return Autoencoder.load(folder / "model.safetensors")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_tied_after_training_and_on_every_way(way: str, precision: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((150, 123)).astype(np.float32)
    model = Autoencoder((77, 9), tied_weights=True, precision=precision, epochs=3, batch_size=64, random_state=0,
                        clip_norm=1.0, optimizer="adamw")
    try:
        model.fit(x)
    except RuntimeError as error:
        pytest.skip(str(error))
    other = WAYS[way](model, tmp_path)
    assert [w.shape for w in other.get_weights()] == [(77, 123), (77,), (9, 77), (9,), (77,), (123,)]
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        assert_same_bits(a, b)
    # A device has a copy of the weight as the decoder reads it; one that is made anew has the same bits.
    assert_same_bits(other.reconstruct(x), model.reconstruct(x))
    assert other.tied_weights is True
    if precision == "float32":
        w0, b0, w1, b1, b2, b3 = (w.astype(np.float64) for w in model.get_weights())
        code = np.maximum(x @ w0.T + b0, 0) @ w1.T + b1
        assert_close(model.encode(x), code)
        assert_close(model.reconstruct(x), np.maximum(code @ w1 + b2, 0) @ w0 + b3)


def test_the_file_has_each_weight_once(tmp_path: Path) -> None:
    model = Autoencoder((5, 2), tied_weights=True, random_state=0).initialize(7)
    data = model.to_bytes(training_state=True)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    parameters = [name for name in header if name.startswith(("encoder", "decoder"))]
    assert parameters == ["encoder.0.weight", "encoder.0.bias", "encoder.1.weight", "encoder.1.bias",
                          "decoder.0.bias", "decoder.1.bias"]


def test_initial_weights_are_those_of_the_encoder() -> None:
    shared = Autoencoder((5, 2), tied_weights=True, random_state=3).initialize(7).get_weights()
    apart = Autoencoder((5, 2), random_state=3).initialize(7).get_weights()
    for i in range(4):
        assert_same_bits(shared[i], apart[i])


def test_set_weights_ties_them(rng: np.random.Generator) -> None:
    model, network, x = case("tanh", "mse", rng)
    assert_close(model.reconstruct(x), network.forward(x))
    with pytest.raises(ValueError, match="6"):
        model.set_weights(untied(model.get_weights()))


@pytest.mark.parametrize("layers", [(5,), (), (5, 4)])
def test_a_decoder_that_does_not_mirror_is_refused(layers: tuple[int, ...]) -> None:
    model = Autoencoder((4, 2), layers, tied_weights=True)
    with pytest.raises(ValueError, match=r"decoder_layers must be None or \[4\].*encoder_layers=\[4,2\].*tied_weights"):
        model.fit(np.ones((10, 7)))
    Autoencoder((4, 2), (4,), tied_weights=True, epochs=1).fit(np.ones((10, 7)))


def test_tying_cannot_change_on_a_model_that_goes_on() -> None:
    model = Autoencoder((2,), warm_start=True, epochs=1).fit(np.ones((10, 4)))
    with pytest.raises(ValueError, match="tied_weights is true"):
        model.set_params(tied_weights=True).fit(np.ones((10, 4)))


def test_a_detector_may_be_tied() -> None:
    x = np.random.default_rng(0).normal(size=(200, 6))
    detector = AnomalyDetector((4, 2), tied_weights=True, epochs=3, random_state=0).fit(x)
    assert len(detector.get_weights()) == 6 and np.isfinite(detector.score_samples(x)).all()


@pytest.mark.cpu_only
def test_exports_write_the_transpose_out(rng: np.random.Generator) -> None:
    model, _, x = case("tanh", "mse", rng)
    torch = package("torch")
    with torch.no_grad():
        assert_close(model.to_torch()(torch.tensor(x)).numpy(), model.reconstruct(x))
    session = package("onnxruntime").InferenceSession(model.to_onnx().SerializeToString())
    assert_close(session.run(["reconstruction"], {"X": x})[0], model.reconstruct(x))
