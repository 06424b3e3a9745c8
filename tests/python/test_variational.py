# SPDX-License-Identifier: Apache-2.0
"""VariationalAutoencoder: gradients at a fixed draw, training, what is drawn and by which key, and samples that look
like the data."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_mnist
from checks import assert_close, assert_same_bits, package, relative_error
from isthmus import AnomalyDetector, Autoencoder, VariationalAutoencoder
from isthmus._cli.demo import load_digits
from numpy.typing import NDArray
from twin import Network, Rule, Trainer, default_output, finite_differences, normals

pytestmark = pytest.mark.every_device

F32 = NDArray[np.float32]


def case(activation: str, loss: str, rng: np.random.Generator, n: int = 13, kl_weight: float = 1.0,
         **parameters: Any) -> tuple[VariationalAutoencoder, Network, F32]:
    model = VariationalAutoencoder((9, 3), activation=activation, loss=loss, kl_weight=kl_weight, **parameters)
    model.initialize(7)
    weights = []
    for w in model.get_weights():
        scale = 1 / np.sqrt(w.shape[1]) if w.ndim == 2 else 0.1
        weights.append((scale * rng.standard_normal(w.shape)).astype(np.float32))
    model.set_weights(weights)
    activations = [activation, "linear", activation, default_output(loss)]
    network = Network(weights, activations, loss, code=2, kl_weight=kl_weight)
    x = rng.random((n, 7)) if loss == "bce" else 1.5 * rng.standard_normal((n, 7))
    return model, network, x.astype(np.float32)


@pytest.mark.parametrize("activation", ["tanh", "gelu", "relu"])
@pytest.mark.parametrize("loss", ["mse", "bce"])
@pytest.mark.parametrize("kl_weight", [0.0, 1.0, 20.0])
def test_gradients(activation: str, loss: str, kl_weight: float, rng: np.random.Generator) -> None:
    model, network, x = case(activation, loss, rng, kl_weight=kl_weight)
    w = (0.1 + rng.random(len(x))).astype(np.float32)
    network.eps = normals("sample", 0, 0, np.arange(len(x)), 3)
    gradients = model.gradients(x, sample_weight=w)
    twin = network.gradients(x, sample_weight=w)
    differences = finite_differences(network, x, sample_weight=w)
    assert [g.shape for g in gradients] == [(9, 7), (9,), (6, 9), (6,), (9, 3), (9,), (7, 9), (7,)]
    for i, gradient in enumerate(gradients):
        assert_close(gradient, twin[i], what=f"parameter {i} against the twin")
        assert_close(gradient, differences[i], what=f"parameter {i} against differences")
    # Another draw, and a draw that is forgotten, are caught.
    for eps in (None, normals("sample", 0, 1, np.arange(len(x)), 3)):
        network.eps = eps
        assert relative_error(gradients[2], network.gradients(x, sample_weight=w)[2]) > 1e-3


@pytest.mark.parametrize("rule", [{"optimizer": "adam"}, {"optimizer": "sgd", "momentum": 0.9, "clip_norm": 0.2}],
                         ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_training_follows_the_twin(rule: dict[str, Any], weighted: bool, rng: np.random.Generator) -> None:
    rate, seed = 3e-3, 2**40 + 7
    model, network, x = case("tanh", "mse", rng, n=100, warm_start=True, shuffle=False, epochs=5, batch_size=16,
                             learning_rate=rate, epsilon=1e-3, random_state=seed, **rule)
    trainer = Trainer(network, Rule(epsilon=1e-3, **rule))
    w = (0.1 + rng.random(len(x))).astype(np.float32) if weighted else None
    model.fit(x, sample_weight=w)
    told = [(trainer.epoch(x, 16, rate, sample_weight=w,
                           draw=lambda rows, epoch=epoch: normals("sample", seed, epoch, rows, 3)), trainer.penalty)
            for epoch in range(5)]
    np.testing.assert_allclose(model.history_["loss"], [loss for loss, _ in told], rtol=1e-5)
    np.testing.assert_allclose(model.history_["kl"], [kl for _, kl in told], rtol=1e-5)
    for actual, expected in zip(model.get_weights(), network.weights, strict=True):
        assert_close(actual, expected, tolerance=3e-5)
    # The code is the mean, and all that is told of rows is by it.
    assert_close(model.reconstruct(x), network.forward(x), tolerance=1e-4)
    assert_close(model.encode(x), network.ys[2], tolerance=1e-4)
    assert_close(model.reconstruction_error(x), network.row_errors(x), tolerance=1e-4)


def test_draws_are_those_of_the_key(rng: np.random.Generator) -> None:
    model, network, x = case("tanh", "mse", rng, n=200)
    network.eps = normals("draw", 5, 0, np.arange(len(x)), 3)
    network.forward(x)
    codes = model.encode(x, sample=True, random_state=5)
    assert codes.dtype == np.float32 and codes.shape == (200, 3)
    assert_close(codes, network.ys[2])
    assert_same_bits(model.encode(x, sample=True, random_state=5), codes)
    assert_same_bits(model.encode(x.astype(np.float64), sample=True, random_state=5), codes)
    assert_same_bits(model.encode(x[:70], sample=True, random_state=5), codes[:70])
    assert relative_error(model.encode(x, sample=True), codes) > 0.1  # a fresh key
    assert_close(model.sample(50, random_state=9), model.decode(normals("draw", 9, 0, np.arange(50), 3)))
    assert_same_bits(model.sample(50, random_state=9)[:20], model.sample(20, random_state=9))
    assert relative_error(model.sample(50), model.sample(50)) > 0.1
    for generator in (np.random.default_rng, np.random.RandomState):
        assert_same_bits(model.sample(4, random_state=generator(3)), model.sample(4, random_state=generator(3)))
    assert model.sample().shape == (1, 7)


def test_drawn_codes_have_their_distribution(rng: np.random.Generator) -> None:
    model, network, x = case("tanh", "mse", rng, n=1)
    network.forward(x)
    mean, log_variance = np.split(network.given, 2, axis=1)
    codes = model.encode(np.repeat(x, 20_000, axis=0), sample=True, random_state=1)
    # 20,000 draws: the mean within 5 of its standard errors, the standard deviation within 5 of its.
    deviation = np.exp(0.5 * log_variance[0])
    assert np.all(np.abs(codes.mean(axis=0) - mean[0]) < 5 * deviation / np.sqrt(20_000))
    assert np.all(np.abs(codes.std(axis=0) / deviation - 1) < 5 / np.sqrt(40_000))


def test_scaling_is_undone() -> None:
    x = np.random.default_rng(0).normal(loc=[100, -5, 0, 3], scale=[10, 0.1, 1, 5], size=(600, 4))
    model = VariationalAutoencoder((16, 2), scaling="standard", epochs=150, random_state=0, kl_weight=0.3).fit(x)
    drawn = model.sample(2000, random_state=0)
    assert np.all(np.abs(drawn.mean(axis=0) - x.mean(axis=0)) < 0.3 * x.std(axis=0))
    assert model.encode(x, sample=True).shape == (600, 2)


@pytest.mark.parametrize("bad", [0, -3, 2.5, True, "3", None])
def test_bad_numbers_of_samples(bad: Any) -> None:
    model = VariationalAutoencoder((2,)).initialize(4)
    with pytest.raises((ValueError, TypeError), match="n must be an integer of at least 1"):
        model.sample(bad)


@pytest.mark.parametrize("bad", ["a", -1, 1.5, True, 2**64])
def test_bad_keys(bad: Any) -> None:
    model = VariationalAutoencoder((2,)).initialize(4)
    with pytest.raises((ValueError, TypeError), match="random_state must be"):
        model.sample(2, random_state=bad)
    with pytest.raises((ValueError, TypeError), match="random_state must be"):
        model.encode(np.ones((2, 4)), sample=True, random_state=bad)


def test_bad_rows_are_named() -> None:
    model = VariationalAutoencoder((2,)).initialize(4)
    x = np.ones((9, 4))
    x[7, 1] = np.nan
    with pytest.raises(ValueError, match=r"X\[7, 1\] is"):
        model.encode(x, sample=True)
    with pytest.raises(ValueError, match="4"):
        model.encode(np.ones((3, 5)), sample=True)


@pytest.mark.parametrize("name,value,allowed", [
    ("code_activation", "relu", "linear"), ("code_l1", 0.1, "0"), ("code_topk", 1, "None"),
    ("tied_weights", True, "False"),
])
def test_what_it_does_not_go_with_is_refused(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be .*{allowed}.* in a variational autoencoder; got"):
        VariationalAutoencoder((2,), **{name: value}).fit(np.ones((10, 4)))


def test_load_gives_the_class(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((100, 6)).astype(np.float32)
    model = VariationalAutoencoder((5, 2), epochs=2, kl_weight=0.5, random_state=0).fit(x)
    model.save(tmp_path / "model.safetensors")
    for other in (Autoencoder.load(tmp_path / "model.safetensors"), VariationalAutoencoder.from_bytes(model.to_bytes()),
                  pickle.loads(pickle.dumps(model))):
        assert type(other) is VariationalAutoencoder and other.kl_weight == 0.5
        assert other.history_ == model.history_ and len(other.history_["kl"]) == 2
        assert_same_bits(other.encode(x), model.encode(x))
        assert_same_bits(other.sample(5, random_state=1), model.sample(5, random_state=1))
    with pytest.raises(ValueError, match="variational_autoencoder"):
        AnomalyDetector.load(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="autoencoder"):
        VariationalAutoencoder.from_bytes(Autoencoder((2,)).initialize(4).to_bytes())


def test_a_weight_of_zero_still_tells_the_divergence() -> None:
    x = np.random.default_rng(0).random((100, 6)).astype(np.float32)
    free = VariationalAutoencoder((5, 2), epochs=300, batch_size=32, kl_weight=0.0, random_state=0).fit(x)
    bound = VariationalAutoencoder((5, 2), epochs=300, batch_size=32, kl_weight=5.0, random_state=0).fit(x)
    assert free.history_["kl"][-1] > 3 * bound.history_["kl"][-1] > 0
    assert free.history_["loss"][-1] < bound.history_["loss"][-1]


@pytest.mark.cpu_only
def test_exports_give_the_mean(rng: np.random.Generator) -> None:
    model, _, x = case("tanh", "mse", rng)
    session = package("onnxruntime").InferenceSession(model.to_onnx().SerializeToString())
    code, reconstruction = session.run(["code", "reconstruction"], {"X": x})
    assert_close(code, model.encode(x))
    assert_close(reconstruction, model.reconstruct(x))
    torch = package("torch")
    with torch.no_grad():
        assert_close(model.to_torch()(torch.tensor(x)).numpy(), model.reconstruct(x))
    with pytest.raises(ValueError, match="from_torch makes an Autoencoder"):
        VariationalAutoencoder.from_torch(model.to_torch())


@pytest.mark.cpu_only
@pytest.mark.slow
@pytest.mark.parametrize("data", ["digits", "MNIST"])
def test_samples_look_like_the_data(data: str) -> None:
    """By two judges: the distance to the nearest row that was trained on, and an autoencoder that was trained apart."""
    if data == "MNIST":
        if not (test_mnist.FOLDER is not None and test_mnist.FOLDER.is_dir()):
            pytest.skip("ISTHMUS_DATA does not name a folder with mnist/ in it")
        train, test = (test_mnist.images(f"{name}-images-idx3-ubyte") for name in ("train", "t10k"))
        train, test = train[:8000], test[:500]
        epochs, batch, code = 25, 128, 16
    else:
        train, test, _ = load_digits()
        epochs, batch, code = 120, 64, 8
    model = VariationalAutoencoder((256, 128, code), loss="bce", epochs=epochs, batch_size=batch, random_state=0,
                                   n_threads=1)
    untrained = model.initialize(train.shape[1]).sample(200, random_state=0)
    drawn = model.fit(train).sample(500, random_state=0)
    judge = Autoencoder((128, 32), loss="bce", epochs=epochs // 2, random_state=1, n_threads=1).fit(train)
    noise = np.random.default_rng(0).permuted(test, axis=1)  # the same pixels, elsewhere

    def nearest(rows: F32) -> float:
        squares = (rows**2).sum(1)[:, None] + (train**2).sum(1)[None, :] - 2 * rows @ train.T
        return float(np.sqrt(np.maximum(squares, 0).min(axis=1)).mean())

    def error(rows: F32) -> float:
        return float(np.mean((judge.reconstruct(rows) - rows) ** 2))

    assert drawn.min() >= 0 and drawn.max() <= 1
    assert nearest(drawn) < 1.15 * nearest(test) and error(drawn) < 1.5 * error(test)
    # The bounds are worth something; and the samples differ from each other nearly as the data do.
    assert nearest(noise) > 1.5 * nearest(test) and error(noise) > 3 * error(test)
    assert nearest(untrained) > 1.15 * nearest(test) and error(untrained) > 1.5 * error(test)
    assert drawn.std(axis=0).mean() > 0.5 * test.std(axis=0).mean()
