# SPDX-License-Identifier: Apache-2.0
"""Training follows the float64 twin step by step, from equal weights and in the same order of rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from checks import assert_close, assert_same_bits, bits, random_weights, start_from
from isthmus import Autoencoder, _core
from numpy.typing import NDArray
from twin import ACTIVATIONS, LOSSES, Network, Rule, Trainer, default_output

pytestmark = pytest.mark.every_device

# 50 steps of float32 against float64. A kink (relu, mae) may be passed on different sides by a rounding error.
SMOOTH, KINKED = 1e-5, 1e-4

# Adam divides a gradient by its own size, so that one near 0 turns a rounding error into a whole step. This epsilon
# bounds that; the default one is compared in test_kernels.py, and on MNIST beside PyTorch.
EPSILON = 1e-4

WIDTHS = (11, 9, 4, 9, 11)
RULES: dict[str, dict[str, Any]] = {
    "adam": {"optimizer": "adam", "epsilon": EPSILON},
    "adam, decay": {"optimizer": "adam", "epsilon": EPSILON, "weight_decay": 0.02},
    "adam, betas": {"optimizer": "adam", "epsilon": 1e-3, "beta_1": 0.8, "beta_2": 0.95},
    "adamw": {"optimizer": "adamw", "epsilon": EPSILON},
    "adamw, decay": {"optimizer": "adamw", "epsilon": EPSILON, "weight_decay": 0.1},
    "sgd": {"optimizer": "sgd"},
    "sgd, momentum": {"optimizer": "sgd", "momentum": 0.9},
    "sgd, momentum, decay": {"optimizer": "sgd", "momentum": 0.5, "weight_decay": 0.01},
    "adam, clipped": {"optimizer": "adam", "epsilon": EPSILON, "clip_norm": 0.05},
    "sgd, clipped": {"optimizer": "sgd", "clip_norm": 0.05},
}


def rows(rng: np.random.Generator, n: int = 47, d: int = WIDTHS[0]) -> NDArray[np.float32]:
    return rng.random((n, d)).astype(np.float32)


def pair(rng: np.random.Generator, *, activation: str = "tanh", loss: str = "mse", rate: float = 3e-3,
         rule: dict[str, Any] | None = None, **parameters: Any) -> tuple[Autoencoder, Trainer]:
    """A model and its twin with equal weights."""
    weights = random_weights(rng, WIDTHS)
    rule = {"epsilon": EPSILON, **(rule or {})}
    model = Autoencoder(WIDTHS[1:3], activation=activation, code_activation=activation, loss=loss, shuffle=False,
                        warm_start=True, learning_rate=rate, n_threads=2, **rule, **parameters)
    network = Network(weights, [activation] * 3 + [default_output(loss)], loss)
    return start_from(model, weights), Trainer(network, Rule(**rule))


def follow(model: Autoencoder, trainer: Trainer, x: NDArray[np.float32], rate: Any, epochs: int, batch_size: int,
           tolerance: float, sample_weight: NDArray[np.float32] | None = None) -> None:
    """Fits both for `epochs`; weights and the history of losses must agree."""
    model.set_params(epochs=epochs, batch_size=batch_size).fit(x, sample_weight=sample_weight)
    losses = [trainer.epoch(x, batch_size, rate, sample_weight=sample_weight) for _ in range(epochs)]
    for i, (actual, expected) in enumerate(zip(model.get_weights(), trainer.network.weights, strict=True)):
        assert_close(actual, expected, tolerance=tolerance, what=f"parameter {i}")
    np.testing.assert_allclose(model.history_["loss"][-epochs:], losses, rtol=tolerance)


def smoothness(activation: str, loss: str) -> float:
    return SMOOTH if ACTIVATIONS[activation].smooth and LOSSES[loss].smooth else KINKED


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("loss", _core.losses())
def test_every_optimizer_and_loss(isa: str, rule: dict[str, Any], loss: str, rng: np.random.Generator) -> None:
    model, trainer = pair(rng, loss=loss, rule=rule)
    follow(model, trainer, rows(rng), 3e-3, epochs=10, batch_size=10, tolerance=smoothness("tanh", loss))
    assert trainer.step == 50  # 47 rows in batches of 10: the last, of 7, is a step


@pytest.mark.parametrize("activation", _core.activations())
@pytest.mark.parametrize("loss", _core.losses())
def test_every_activation_and_loss(activation: str, loss: str, rng: np.random.Generator) -> None:
    model, trainer = pair(rng, activation=activation, loss=loss)
    follow(model, trainer, rows(rng), 3e-3, epochs=10, batch_size=10, tolerance=smoothness(activation, loss))


def test_the_registry_of_optimizers_is_covered() -> None:
    assert {rule["optimizer"] for rule in RULES.values()} == set(_core.optimizers())


@pytest.mark.parametrize("batch_size", [1, 2, 46, 47, 48, 1000])
def test_batch_sizes(batch_size: int, rng: np.random.Generator) -> None:
    model, trainer = pair(rng)
    follow(model, trainer, rows(rng), 3e-3, epochs=3, batch_size=batch_size, tolerance=SMOOTH)


@pytest.mark.parametrize("rule", [{"optimizer": "adamw"}, {"optimizer": "sgd", "clip_norm": 0.05}], ids=str)
def test_a_batch_of_many_rows(rule: dict[str, Any], rng: np.random.Generator) -> None:
    model, trainer = pair(rng, rule=rule)
    follow(model, trainer, rows(rng, 9001), 3e-3, epochs=3, batch_size=6000, tolerance=SMOOTH)


def test_sample_weights(rng: np.random.Generator) -> None:
    model, trainer = pair(rng)
    w = rng.random(47).astype(np.float32)
    w[::5] = 0.0
    follow(model, trainer, rows(rng), 3e-3, epochs=10, batch_size=10, tolerance=SMOOTH, sample_weight=w)


@pytest.mark.parametrize("weight", [1e-44, 1e-38, 1e-30, 1e30, 1e38, 3e38])
def test_the_scale_of_sample_weights_does_not_matter(weight: float, rng: np.random.Generator) -> None:
    """Right or refused; never a loss that is NaN, nor a divergence that is not one."""
    model, trainer = pair(rng)
    x = rows(rng)
    try:
        model.set_params(epochs=2, batch_size=10).fit(x, sample_weight=np.full(len(x), weight, np.float32))
    except ValueError as error:
        assert "sample_weight" in str(error)
        return
    losses = [trainer.epoch(x, 10, 3e-3) for _ in range(2)]
    np.testing.assert_allclose(model.history_["loss"], losses, rtol=SMOOTH)


def test_a_batch_without_weight_changes_nothing(rng: np.random.Generator) -> None:
    x, w = rows(rng, 20), np.ones(20, np.float32)
    w[10:] = 0.0
    whole, _ = pair(np.random.default_rng(0), batch_size=10)
    first, _ = pair(np.random.default_rng(0), batch_size=10)
    assert bits(whole.partial_fit(x, sample_weight=w)) == bits(first.partial_fit(x[:10]))
    assert whole.history_["loss"] == first.history_["loss"]


def test_clipping_changes_the_result(rng: np.random.Generator) -> None:
    """Negative control of the clipped rules above: without clipping the twin is far away."""
    model, trainer = pair(rng, rule={"optimizer": "sgd", "clip_norm": 0.05})
    trainer.rule = Rule("sgd")
    with pytest.raises(AssertionError, match="relative error"):
        follow(model, trainer, rows(rng), 3e-3, epochs=10, batch_size=10, tolerance=SMOOTH)


# ---- schedules ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [s for s in _core.schedules() if s not in ("constant", "plateau")])
def test_schedules(schedule: str, rng: np.random.Generator) -> None:
    rate, epochs, steps = 5e-3, 8, 5
    total = epochs * steps
    rates = {
        "cosine": lambda s: rate * 0.5 * (1.0 + math.cos(math.pi * s / total)),
        "linear": lambda s: rate * (1.0 - s / total),
        "exponential": lambda s: rate * 0.95 ** (s // steps),
    }[schedule]
    model, trainer = pair(rng, rate=rate, learning_rate_schedule=schedule)
    follow(model, trainer, rows(rng), rates, epochs, batch_size=10, tolerance=SMOOTH)
    last = [rates(steps * (epoch + 1) - 1) for epoch in range(epochs)]
    np.testing.assert_allclose(model.history_["learning_rate"], last, rtol=1e-12)


def test_plateau_halves_after_five_epochs_without_gain(rng: np.random.Generator) -> None:
    x = rows(rng)
    # A rate too small to move any weight: every epoch has the loss of the first.
    model, _ = pair(rng, rate=1e-30, rule={"optimizer": "sgd"}, learning_rate_schedule="plateau")
    model.set_params(epochs=17, batch_size=10).fit(x)
    assert len(set(model.history_["loss"])) == 1
    # The first epoch sets the mark, five without gain follow, then the rate halves; and so on.
    assert model.history_["learning_rate"] == [1e-30] * 6 + [5e-31] * 5 + [2.5e-31] * 5 + [1.25e-31]
    improving, _ = pair(rng, rate=1e-3, learning_rate_schedule="plateau")
    improving.set_params(epochs=17, batch_size=10).fit(x)
    assert improving.history_["learning_rate"] == [1e-3] * 17


def test_partial_fit_is_one_epoch_in_order_at_a_constant_rate(rng: np.random.Generator) -> None:
    x = rows(rng)
    model, trainer = pair(rng, rate=3e-3, learning_rate_schedule="cosine", batch_size=10)
    for _ in range(4):
        model.partial_fit(x)
        trainer.epoch(x, 10, 3e-3)
    for actual, expected in zip(model.get_weights(), trainer.network.weights, strict=True):
        assert_close(actual, expected, tolerance=SMOOTH)
    # shuffle=True does not reorder the rows of partial_fit, and fit without shuffling takes the same path.
    shuffled, _ = pair(np.random.default_rng(20_240_229), rate=3e-3, batch_size=10)
    start_from(shuffled.set_params(shuffle=True, random_state=5), random_weights(np.random.default_rng(3), WIDTHS))
    straight = start_from(Autoencoder(WIDTHS[1:3], activation="tanh", code_activation="tanh", learning_rate=3e-3,
                                      epsilon=EPSILON, shuffle=False, warm_start=True, batch_size=10, epochs=2),
                          random_weights(np.random.default_rng(3), WIDTHS))
    shuffled.partial_fit(x).partial_fit(x)
    straight.fit(x)
    assert bits(shuffled) == bits(straight)


# ---- noise ----------------------------------------------------------------------------------------------------------


def corrupted(kind: str, amount: float, d: int, seed: int = 0) -> NDArray[np.float64]:
    """What the network really saw, (d, d), for the clean input identity.

    One step of sgd on an encoder that passes its input on and a decoder of zeros: the decoder's gradient is
    dz.T @ code, dz = -2 / d^2 on the diagonal, so that its row i is the corrupted row i.
    """
    identity, zero = np.eye(d, dtype=np.float32), np.zeros((d, d), np.float32)
    model = Autoencoder((d,), optimizer="sgd", learning_rate=1.0, input_noise=amount,
                        input_noise_kind=kind, batch_size=d, epochs=1, shuffle=False, warm_start=True,
                        random_state=seed)
    start_from(model, [identity, zero[0], zero, zero[0]])
    model.fit(identity)
    return model.get_weights()[2].astype(float) / (2.0 / d**2)


def test_gaussian_noise(rng: np.random.Generator) -> None:
    d, std = 160, 0.3
    noise = corrupted("gaussian", std, d) - np.eye(d)
    n = d * d
    assert abs(noise.mean()) < 5 * std / math.sqrt(n)
    assert noise.std() == pytest.approx(std, rel=5 / math.sqrt(2 * n))
    for sigmas, within in ((1, 0.682689), (2, 0.954500), (3, 0.997300)):
        fraction = np.mean(np.abs(noise) < sigmas * std)
        assert fraction == pytest.approx(within, abs=5 * math.sqrt(within * (1 - within) / n))
    # Neighbours in a row and in a column are independent, and no two rows are equal.
    for a, b in ((noise[:, 1:], noise[:, :-1]), (noise[1:], noise[:-1])):
        assert abs(np.mean(a * b)) / std**2 < 5 / math.sqrt(n)
    assert len(np.unique(noise.round(6), axis=0)) == d
    assert not np.allclose(noise, corrupted("gaussian", std, d, seed=1) - np.eye(d), atol=0.1 * std)


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_mask_noise(fraction: float) -> None:
    d, repeats = 160, 8
    kept = np.concatenate([np.diag(corrupted("mask", fraction, d, seed)) for seed in range(repeats)])
    np.testing.assert_allclose(kept, np.round(kept), atol=1e-5)  # kept as it is, not rescaled; or exactly 0
    assert set(np.round(kept)) == {0.0, 1.0}
    n = d * repeats
    assert 1.0 - kept.mean() == pytest.approx(fraction, abs=5 * math.sqrt(fraction * (1 - fraction) / n))


@pytest.mark.parametrize("kind", _core.noise_kinds())
def test_noise_differs_between_epochs_and_stays_out_of_inference(kind: str, rng: np.random.Generator) -> None:
    x = rows(rng)
    noisy = Autoencoder((4,), input_noise=0.4, input_noise_kind=kind, random_state=0, epochs=2, batch_size=64).fit(x)
    clean = Autoencoder((4,), random_state=0, epochs=2, batch_size=64).fit(x)
    assert noisy.history_["loss"] != clean.history_["loss"]
    # A rate that moves nothing: the loss of an epoch then differs from the next one's through its noise alone.
    still = Autoencoder((4,), input_noise=0.4, input_noise_kind=kind, learning_rate=1e-30, random_state=0, epochs=3,
                        batch_size=64).fit(x)
    assert len(set(still.history_["loss"])) == 3
    assert_same_bits(still.reconstruct(x), still.reconstruct(x))
    again = start_from(Autoencoder((4,)), still.get_weights())
    assert_same_bits(still.reconstruct(x), again.reconstruct(x))


@pytest.mark.parametrize("epochs", [1, 3])
def test_verbose_2_says_once_how_the_steps_are_run(
    rng: np.random.Generator, capsys: pytest.CaptureFixture[str], epochs: int
) -> None:
    x = rng.random((40, 6)).astype(np.float32)
    model = Autoencoder((2,), epochs=epochs, batch_size=10, verbose=2).fit(x)
    first, *others = capsys.readouterr().err.splitlines()
    device, _, plan = first.partition(": ")
    assert device == model.device_
    assert plan.startswith(("fused, ", "one block: ", "two kernels, ", "layer by layer, "))
    assert [line.split()[:2] for line in others] == [["epoch", f"{i + 1}/{epochs}"] for i in range(epochs)]
    Autoencoder((2,), epochs=1, verbose=1).fit(x)
    assert plan not in capsys.readouterr().err
