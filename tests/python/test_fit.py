# SPDX-License-Identifier: Apache-2.0
"""What fit promises around the steps: validation, early stopping, warm start, callbacks, divergence, seeds."""

from __future__ import annotations

import numpy as np
import pytest
from checks import assert_same_bits, bits, random_weights, start_from
from isthmus import Autoencoder, DivergenceError
from numpy.typing import NDArray

pytestmark = pytest.mark.every_device


@pytest.fixture
def x(rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.random((90, 8)).astype(np.float32)


def model(**parameters: object) -> Autoencoder:
    return Autoencoder(**{"encoder_layers": (6, 3), "epochs": 6, "batch_size": 16, "random_state": 0, **parameters})


# ---- validation and early stopping ----------------------------------------------------------------------------------


def test_validation_data_is_evaluated_after_each_epoch(x: NDArray, rng: np.random.Generator) -> None:
    other = rng.random((33, 8)).astype(np.float32)
    seen: list[float] = []
    fitted = model()
    fitted.fit(x, validation_data=other, callbacks=[lambda _, info: seen.append(info["val_loss"])])
    assert fitted.history_["val_loss"] == seen and len(seen) == 6
    assert fitted.history_["val_loss"][-1] == pytest.approx(-fitted.score(other), rel=1e-12)
    paired = model().fit(x, validation_data=(other, other))
    assert paired.history_["val_loss"] == fitted.history_["val_loss"]
    target = rng.random(other.shape).astype(np.float32)
    paired = model().fit(x, validation_data=(other, target))
    error = np.mean((paired.reconstruct(other).astype(float) - target) ** 2)
    assert paired.history_["val_loss"][-1] == pytest.approx(error, rel=1e-6)
    # Looking does not touch: the weights are those of a fit without validation.
    assert bits(fitted) == bits(model().fit(x))


def test_validation_fraction_holds_rows_back(x: NDArray) -> None:
    x = np.arange(90, dtype=np.float32)[:, None] * np.ones(8, np.float32)
    fitted = model(validation_fraction=0.2, learning_rate=1e-30, batch_size=1000, optimizer="sgd").fit(x / 90)
    errors = fitted.reconstruction_error(x / 90)
    # Nothing moves, so both losses are means of these errors over a part of the rows: 72 and 18 of them.
    train, held = fitted.history_["loss"][0], fitted.history_["val_loss"][0]
    assert 72 * train + 18 * held == pytest.approx(errors.sum(), rel=1e-5)
    assert held != pytest.approx(errors.mean(), rel=1e-4)
    assert bits(model(validation_fraction=0.2).fit(x)) == bits(model(validation_fraction=0.2).fit(x))
    # Explicit data wins: all rows are trained on.
    assert bits(model(validation_fraction=0.2).fit(x, validation_data=x)) == bits(model().fit(x))


def test_early_stopping_restores_the_best_weights(x: NDArray) -> None:
    # The rate explodes on purpose after a while: sgd without decay beyond its stable rate.
    fitted = model(patience=3, epochs=500, learning_rate=0.05, batch_size=8).fit(x[:40], validation_data=x[40:])
    val = fitted.history_["val_loss"]
    best = int(np.argmin(val))
    assert fitted.n_iter_ == len(val) == best + 4 < 500
    assert -fitted.score(x[40:]) == pytest.approx(val[best], rel=1e-12)
    kept = model(patience=3, epochs=500, learning_rate=0.05, batch_size=8, restore_best=False)
    kept.fit(x[:40], validation_data=x[40:])
    assert kept.history_["val_loss"] == val
    assert -kept.score(x[40:]) == pytest.approx(val[-1], rel=1e-12)


def test_early_stopping_without_validation_watches_the_training_loss(x: NDArray) -> None:
    fitted = model(patience=2, min_delta=1e9, epochs=50).fit(x)
    assert fitted.n_iter_ == 3 == len(fitted.history_["loss"])
    assert fitted.history_["val_loss"] == []
    assert model(patience=50, epochs=8).fit(x).n_iter_ == 8


# ---- warm start, seeds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameters", [
    {}, {"optimizer": "sgd", "momentum": 0.9}, {"optimizer": "adamw"}, {"input_noise": 0.2},
    {"input_noise": 0.2, "input_noise_kind": "mask"}, {"clip_norm": 0.01}, {"validation_fraction": 0.2},
], ids=str)
def test_five_and_five_epochs_are_ten(x: NDArray, parameters: dict[str, object]) -> None:
    whole = model(epochs=10, **parameters).fit(x)
    halves = model(epochs=5, warm_start=True, **parameters).fit(x).fit(x)
    assert halves.n_iter_ == whole.n_iter_ == 10
    assert bits(halves) == bits(whole)
    assert halves.history_["loss"] == whole.history_["loss"]
    assert halves.history_["learning_rate"] == whole.history_["learning_rate"]


def test_without_warm_start_fit_begins_anew(x: NDArray) -> None:
    fitted = model().fit(x)
    first = bits(fitted)
    assert bits(fitted.fit(x)) == first and fitted.n_iter_ == 6 == len(fitted.history_["loss"])


def test_random_state(x: NDArray) -> None:
    assert bits(model(random_state=3).fit(x)) == bits(model(random_state=3).fit(x))
    assert bits(model(random_state=3).fit(x)) != bits(model(random_state=4).fit(x))
    assert bits(model(random_state=None).fit(x)) != bits(model(random_state=None).fit(x))
    assert bits(model(random_state=2**64 - 1, epochs=1).fit(x)) != bits(model(random_state=2**63, epochs=1).fit(x))


def test_shuffling_draws_a_new_order_each_epoch(x: NDArray) -> None:
    # A step so small that only the order could show, and rows of very different loss: batches of one row each see all.
    assert bits(model(shuffle=True).fit(x)) != bits(model(shuffle=False).fit(x))
    order: list[float] = []
    scaled = x * np.logspace(0, 3, len(x), dtype=np.float32)[:, None]
    for n in range(1, len(x) + 1, 30):
        order.append(model(epochs=1, learning_rate=1e-30).fit(scaled[:n]).history_["loss"][0])
    everything = model(epochs=3, learning_rate=1e-30).fit(scaled)
    # Each epoch sees every row once: the loss is that of all rows, whatever the order.
    np.testing.assert_allclose(everything.history_["loss"], -everything.score(scaled), rtol=1e-5)


def test_global_random_state_is_neither_used_nor_moved(x: NDArray) -> None:
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    first = bits(model().fit(x))
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    np.random.seed(2)
    assert bits(model().fit(x)) == first


# ---- callbacks ------------------------------------------------------------------------------------------------------


def test_callbacks_see_each_epoch_and_may_stop(x: NDArray) -> None:
    seen: list[dict] = []

    def look(estimator: Autoencoder, info: dict) -> None:
        seen.append(info)
        # The model is there already, as it stands after this epoch.
        assert estimator is fitted and estimator.n_iter_ == info["epoch"]
        assert estimator.transform(x).shape == (90, 3)

    fitted = model()
    fitted.fit(x, callbacks=[look])
    assert [info["epoch"] for info in seen] == [1, 2, 3, 4, 5, 6]
    assert [info["loss"] for info in seen] == fitted.history_["loss"]
    stopped = model().fit(x, callbacks=[lambda _, info: info["epoch"] == 2])
    assert stopped.n_iter_ == 2 and bits(stopped) == bits(model(epochs=2).fit(x))


def test_a_callback_that_raises_leaves_the_last_epoch(x: NDArray) -> None:
    def fail(_: Autoencoder, info: dict) -> None:
        if info["epoch"] == 3:
            raise LookupError("from the callback")

    fitted = model()
    with pytest.raises(LookupError, match="from the callback"):
        fitted.fit(x, callbacks=[fail])
    assert fitted.n_iter_ == 3 and bits(fitted) == bits(model(epochs=3).fit(x))


def test_a_callback_may_look_at_other_models_but_not_fit_its_own(x: NDArray) -> None:
    other, fitted = model(random_state=1), model()
    fitted.fit(x, callbacks=[lambda _, info: other.fit(x)])
    assert bits(fitted) == bits(model().fit(x)) and bits(other) == bits(model(random_state=1).fit(x))
    with pytest.raises(RuntimeError, match="fit"):
        fitted.fit(x, callbacks=[lambda estimator, info: estimator.fit(x)])
    assert bits(fitted.fit(x)) == bits(other.set_params(random_state=0).fit(x))


# ---- divergence -----------------------------------------------------------------------------------------------------


def diverging(**parameters: object) -> Autoencoder:
    return start_from(
        Autoencoder((5,), optimizer="sgd", learning_rate=30.0, batch_size=10, shuffle=False, warm_start=True,
                    epochs=50, **parameters),
        random_weights(np.random.default_rng(0), (8, 5, 8)))


def test_divergence_stops_and_keeps_the_last_finite_weights(x: NDArray) -> None:
    fitted = diverging()
    with pytest.raises(DivergenceError, match=r"learning_rate|learning rate") as caught:
        fitted.fit(x)
    assert isinstance(caught.value, ArithmeticError)
    assert all(np.isfinite(w).all() for w in fitted.get_weights())
    # Exactly the weights after the last good step: walk there one batch at a time.
    steps = diverging()
    with pytest.raises(DivergenceError):
        for step in range(10_000):
            last = bits(steps)
            first = step * 10 % len(x)
            steps.partial_fit(x[first : first + 10])
    assert bits(steps) == last
    assert bits(fitted) == last
    # The next valid call works.
    fitted.set_params(learning_rate=1e-3, warm_start=False, random_state=0, epochs=2).fit(x)
    assert np.isfinite(fitted.history_["loss"]).all()


def test_divergence_of_the_first_step_keeps_the_first_weights(x: NDArray) -> None:
    fitted = diverging().set_params(learning_rate=1e38)
    before = bits(fitted)
    with pytest.raises(DivergenceError):
        fitted.set_params(batch_size=1000).fit(1e3 * x)
    assert bits(fitted) == before


# ---- small and flat data --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["mse", "bce", "mae", "huber"])
@pytest.mark.parametrize("data", [
    np.zeros((5, 4)), np.ones((5, 4)), np.full((1, 4), 0.5), np.eye(4)[:, :1], np.eye(1), np.full((300, 3), 1e-40),
], ids=["zeros", "ones", "one row", "one column", "one number", "denormals"])
def test_flat_and_tiny_data(data: NDArray, loss: str) -> None:
    fitted = Autoencoder(loss=loss, epochs=3, random_state=0).fit(data)
    assert np.isfinite(fitted.history_["loss"]).all()
    assert fitted.reconstruct(data).shape == data.shape
    assert np.isfinite(fitted.reconstruction_error(data)).all()


def test_more_data_than_one_batch_or_less(x: NDArray) -> None:
    for n in (1, 15, 16, 17, 90):
        losses = [model(batch_size=b, epochs=1).fit(x[:n]).history_["loss"][0] for b in (1000, n)]
        assert losses[0] == losses[1]
    assert_same_bits(model(batch_size=16).fit(x).encode(x), model(batch_size=16).fit(x.copy()).encode(x))
