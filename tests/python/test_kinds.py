# SPDX-License-Identifier: Apache-2.0
"""Tied, sparse and drawn networks of any shape follow the twin. The draws are fixed, so that a failure comes back."""

from __future__ import annotations

from typing import Any

import numpy as np
from checks import assert_close, package
from isthmus import Autoencoder, VariationalAutoencoder
from test_properties import RULES, SEED, SMOOTH, WIDTH, given
from twin import LOSSES, Network, Rule, Trainer, default_output, normals

st = package("hypothesis.strategies")

LOSS = st.sampled_from([name for name in LOSSES if LOSSES[name].smooth])


@given(
    60, d=WIDTH, encoder=st.lists(WIDTH, min_size=1, max_size=3), activation=SMOOTH, code=SMOOTH, loss=LOSS, rule=RULES,
    tied=st.booleans(), l1=st.sampled_from([0.0, 0.1]), keep=st.integers(0, 9), n=st.integers(1, 130),
    batch_size=st.integers(1, 150), weighted=st.booleans(), n_threads=st.sampled_from([1, 2, 3]), seed=SEED,
)
def test_any_tied_or_sparse_network_follows_the_twin(
    d: int, encoder: list[int], activation: str, code: str, loss: str, rule: dict[str, Any], tied: bool, l1: float,
    keep: int, n: int, batch_size: int, weighted: bool, n_threads: int, seed: int,
) -> None:
    kept = min(keep, encoder[-1]) or None
    model = Autoencoder(encoder, activation=activation, code_activation=code, tied_weights=tied, code_l1=l1,
                        code_topk=kept, loss=loss, **settings(rule, batch_size, n_threads)).initialize(d)
    activations = [activation] * (2 * len(encoder))
    activations[len(encoder) - 1], activations[-1] = code, default_output(loss)
    rng = np.random.default_rng(seed)
    weights = initial(model, rng)
    network = Network(weights, activations, loss, tied, code=len(encoder), code_l1=l1, code_topk=kept)
    follows(model, network, rule, rows(loss, n, d, rng), batch_size, weighted, rng)


@given(
    40, d=WIDTH, encoder=st.lists(WIDTH, min_size=1, max_size=3),
    decoder=st.one_of(st.none(), st.lists(WIDTH, max_size=2)), activation=SMOOTH, loss=LOSS, rule=RULES,
    kl_weight=st.sampled_from([0.0, 0.1, 1.0]), n=st.integers(1, 130), batch_size=st.integers(1, 150),
    weighted=st.booleans(), n_threads=st.sampled_from([1, 2, 3]), seed=SEED,
)
def test_any_variational_network_follows_the_twin(
    d: int, encoder: list[int], decoder: list[int] | None, activation: str, loss: str, rule: dict[str, Any],
    kl_weight: float, n: int, batch_size: int, weighted: bool, n_threads: int, seed: int,
) -> None:
    model = VariationalAutoencoder(encoder, decoder, activation=activation, loss=loss, kl_weight=kl_weight,
                                   random_state=seed, **settings(rule, batch_size, n_threads)).initialize(d)
    rng = np.random.default_rng(seed)
    weights = initial(model, rng)
    activations = [activation] * (len(weights) // 2)
    activations[len(encoder) - 1], activations[-1] = "linear", default_output(loss)
    network = Network(weights, activations, loss, code=len(encoder), kl_weight=kl_weight)
    follows(model, network, rule, rows(loss, n, d, rng), batch_size, weighted, rng, seed)


def settings(rule: dict[str, Any], batch_size: int, n_threads: int) -> dict[str, Any]:
    # The large epsilon keeps Adam from turning a rounding error of a small gradient into a whole step.
    rate = 1e-2 if rule["optimizer"] == "sgd" else 3e-3
    return {**rule, "batch_size": batch_size, "learning_rate": rate, "epsilon": 1e-3, "epochs": 3, "shuffle": False,
            "warm_start": True, "n_threads": n_threads}


def initial(model: Autoencoder, rng: np.random.Generator) -> list[Any]:
    shapes = [w.shape for w in model.get_weights()]
    weights = [(rng.standard_normal(s) / np.sqrt(s[1] if len(s) == 2 else 100)).astype(np.float32) for s in shapes]
    model.set_weights(weights)
    return weights


def rows(loss: str, n: int, d: int, rng: np.random.Generator) -> Any:
    return (rng.random((n, d)) if loss == "bce" else rng.standard_normal((n, d))).astype(np.float32)


def follows(model: Autoencoder, network: Network, rule: dict[str, Any], x: Any, batch_size: int, weighted: bool,
            rng: np.random.Generator, seed: int | None = None) -> None:
    w = (0.01 + rng.random(len(x))).astype(np.float32) if weighted else None
    code = model.code_size_
    if seed is not None:
        network.eps = normals("sample", 0, 0, np.arange(len(x)), code)
    gradients = network.gradients(x, sample_weight=w)
    whole = np.concatenate([g.ravel() for g in gradients])
    for actual, expected in zip(model.gradients(x, sample_weight=w), gradients, strict=True):
        assert_close(actual, expected, scale=whole)
    model.fit(x, sample_weight=w)
    trainer = Trainer(network, Rule(epsilon=1e-3, **rule))
    told = []
    for epoch in range(3):
        draw = None if seed is None else lambda batch, epoch=epoch: normals("sample", seed, epoch, batch, code)
        told.append((trainer.epoch(x, batch_size, model.learning_rate, sample_weight=w, draw=draw), trainer.penalty))
    # A difference to the target is rounded to 1e-7 of the target, whose mean square is about 1.
    np.testing.assert_allclose(model.history_["loss"], [loss for loss, _ in told], rtol=1e-5, atol=1e-7)
    for name in {"kl", "code_l1"} & set(model.history_):
        np.testing.assert_allclose(model.history_[name], [penalty for _, penalty in told], rtol=1e-5, atol=1e-7)
    for actual, expected in zip(model.get_weights(), network.weights, strict=True):
        assert_close(actual, expected, tolerance=3e-5)
    assert_close(model.reconstruct(x), network.forward(x), tolerance=1e-4)
