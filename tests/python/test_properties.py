# SPDX-License-Identifier: Apache-2.0
"""Statements about any input, tried on many: networks of any shape follow the twin, arrays of any type and layout give
the same bits, and any bad value is found where it is. The draws are fixed, so that a failure comes back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from checks import assert_close, assert_same_bits, package
from isthmus import Autoencoder, _core
from twin import ACTIVATIONS, LOSSES, Network, Rule, Trainer, default_output

hypothesis = package("hypothesis")
st = package("hypothesis.strategies")

WIDTH = st.sampled_from([1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 47, 64, 65, 97, 129])
SMOOTH = st.sampled_from([name for name in _core.activations() if ACTIVATIONS[name].smooth])
SEED = st.integers(0, 2**32 - 1)


def given(examples: int, **strategies: Any) -> Any:
    def decorate(test: Any) -> Any:
        settings = hypothesis.settings(max_examples=examples, deadline=None, derandomize=True, database=None)
        return settings(hypothesis.given(**strategies)(test))

    return decorate


RULES = st.fixed_dictionaries({
    "optimizer": st.sampled_from(_core.optimizers()),
    "momentum": st.sampled_from([0.0, 0.9]),
    "weight_decay": st.one_of(st.none(), st.floats(0, 0.2)),
    "clip_norm": st.one_of(st.none(), st.floats(1e-3, 10)),
})


@given(
    100, d=WIDTH, encoder=st.lists(WIDTH, min_size=1, max_size=3),
    decoder=st.one_of(st.none(), st.lists(WIDTH, max_size=2)), activation=SMOOTH, code=SMOOTH,
    output=st.one_of(st.none(), SMOOTH),
    loss=st.sampled_from([name for name in _core.losses() if LOSSES[name].smooth]), rule=RULES,
    n=st.integers(1, 130), batch_size=st.integers(1, 150), weighted=st.booleans(), n_threads=st.sampled_from([1, 2, 3]),
    seed=SEED,
)
def test_any_network_follows_the_twin(d: int, encoder: list[int], decoder: list[int] | None, activation: str, code: str,
                                      output: str | None, loss: str, rule: dict[str, Any], n: int, batch_size: int,
                                      weighted: bool, n_threads: int, seed: int) -> None:
    output = None if LOSSES[loss].from_logits else output
    rate = 1e-2 if rule["optimizer"] == "sgd" else 3e-3
    # The large epsilon keeps Adam from turning a rounding error of a small gradient into a whole step.
    model = Autoencoder(encoder, decoder, activation=activation, code_activation=code, output_activation=output,
                        loss=loss, batch_size=batch_size, learning_rate=rate, epsilon=1e-3, epochs=3, shuffle=False,
                        warm_start=True, n_threads=n_threads, **rule).initialize(d)
    rng = np.random.default_rng(seed)
    shapes = [w.shape for w in model.get_weights()]
    weights = [(rng.standard_normal(s) / np.sqrt(s[1] if len(s) == 2 else 100)).astype(np.float32) for s in shapes]
    activations = [activation] * (len(shapes) // 2)
    activations[len(encoder) - 1], activations[-1] = code, output or default_output(loss)
    network = Network(weights, activations, loss)
    trainer = Trainer(network, Rule(epsilon=1e-3, **rule))
    x = (rng.random((n, d)) if loss == "bce" else rng.standard_normal((n, d))).astype(np.float32)
    w = (0.01 + rng.random(n)).astype(np.float32) if weighted else None

    model.set_weights(weights)
    gradients = network.gradients(x, sample_weight=w)
    whole = np.concatenate([g.ravel() for g in gradients])
    for actual, expected in zip(model.gradients(x, sample_weight=w), gradients, strict=True):
        assert_close(actual, expected, scale=whole)
    model.fit(x, sample_weight=w)
    losses = [trainer.epoch(x, batch_size, rate, sample_weight=w) for _ in range(3)]
    np.testing.assert_allclose(model.history_["loss"], losses, rtol=1e-5)
    for actual, expected in zip(model.get_weights(), network.weights, strict=True):
        assert_close(actual, expected, tolerance=3e-5)
    assert_close(model.decode(model.encode(x)), network.forward(x), tolerance=1e-4)


DTYPES = ["?", "b", "B", "h", "H", "i", "I", "l", "L", "e", "f", "d", "g", ">f4", ">f8", ">i2", "O"]


@pytest.fixture(scope="module")
def model() -> Autoencoder:
    x = np.random.default_rng(0).random((50, 19)).astype(np.float32)
    return Autoencoder((11, 5), activation="silu", epochs=1, random_state=0).fit(x)


@given(150, dtype=st.sampled_from(DTYPES), n=st.integers(1, 70), order=st.sampled_from("CF"),
       steps=st.tuples(*[st.sampled_from([-3, -2, -1, 1, 2, 3])] * 2), offset=st.integers(0, 7), seed=SEED)
def test_any_layout_gives_the_same_bits(model: Autoencoder, dtype: str, n: int, order: str, steps: tuple[int, int],
                                        offset: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 2, (n, 19))
    size = np.dtype(dtype).itemsize
    shape = (n * abs(steps[0]), 19 * abs(steps[1]))
    if dtype == "O":
        canvas = np.empty(shape, dtype, order)
    else:
        raw = np.zeros(shape[0] * shape[1] * size + 8, np.uint8)
        canvas = raw[offset : offset + shape[0] * shape[1] * size].view(dtype).reshape(shape, order=order)
    x = canvas[:: steps[0], :: steps[1]]
    x[...] = values
    plain = values.astype(np.float32)
    assert_same_bits(model.encode(x), model.encode(plain))
    assert_same_bits(model.reconstruction_error(x), model.reconstruction_error(plain))
    np.testing.assert_array_equal(x, values)


@given(150, n=st.integers(1, 40), bad=st.sampled_from([np.nan, -np.nan, np.inf, -np.inf, 1e39, -1e300]),
       dtype=st.sampled_from(["f", "d", ">f4", ">f8", "O"]), order=st.sampled_from("CF"), seed=SEED)
def test_a_bad_value_is_found_where_it_is(model: Autoencoder, n: int, bad: float, dtype: str, order: str,
                                          seed: int) -> None:
    rng = np.random.default_rng(seed)
    hypothesis.assume(not np.isfinite(bad) or dtype not in ("f", ">f4"))
    x = np.asarray(rng.standard_normal((n, 19)), dtype, order=order)
    row, column = int(rng.integers(n)), int(rng.integers(19))
    x[row, column] = bad
    for later in rng.integers(row * 19 + column, n * 19, 3):  # others behind it are not the first
        x[later // 19, later % 19] = bad
    before = model.to_bytes(training_state=True)
    for call in (model.encode, model.fit, model.partial_fit, model.score):
        with pytest.raises(ValueError, match=rf"X\[{row}, {column}\] is"):
            call(x)
    assert model.to_bytes(training_state=True) == before
