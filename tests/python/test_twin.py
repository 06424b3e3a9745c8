# SPDX-License-Identifier: Apache-2.0
"""The reference itself: derivatives against differences, training against PyTorch in float64 where installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from checks import random_weights
from isthmus import _core
from twin import ACTIVATIONS, LOSSES, Network, Rule, Trainer

H = 1e-6


def test_the_twin_knows_every_registered_name() -> None:
    assert set(_core.activations()) == set(ACTIVATIONS)
    assert set(_core.losses()) == set(LOSSES)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activation_derivatives(name: str) -> None:
    z = np.linspace(-30, 30, 1200)  # without 0, where the kinks lie
    forward, derivative, _ = ACTIVATIONS[name]
    np.testing.assert_allclose((forward(z + H) - forward(z - H)) / (2 * H), derivative(z), rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_loss_derivatives(name: str) -> None:
    y, t = (grid.ravel() for grid in np.meshgrid(np.linspace(-4, 4, 82), np.linspace(0, 1, 11)))
    value, derivative, _, _ = LOSSES[name]
    np.testing.assert_allclose((value(y + H, t) - value(y - H, t)) / (2 * H), derivative(y, t), rtol=0, atol=1e-8)


@pytest.mark.parametrize("rule", [
    {"optimizer": "adam"}, {"optimizer": "adam", "weight_decay": 0.1, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-5},
    {"optimizer": "adamw"}, {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.1}, {"optimizer": "sgd"},
], ids=str)
def test_training_is_that_of_pytorch(rule: dict[str, Any], rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    weights = random_weights(rng, (5, 3, 5))
    x = rng.standard_normal((24, 5))
    trainer = Trainer(Network(weights, ["gelu", "linear"]), Rule(**rule))
    layers = [torch.nn.Linear(5, 3).double(), torch.nn.Linear(3, 5).double()]
    network = torch.nn.Sequential(layers[0], torch.nn.GELU(), layers[1])
    with torch.no_grad():
        for parameter, weight in zip(network.parameters(), weights, strict=True):
            parameter.copy_(torch.from_numpy(weight.astype(np.float64)))
    decay = trainer.rule.decay
    if rule["optimizer"] == "sgd":
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=trainer.rule.momentum, weight_decay=decay)
    else:
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[rule["optimizer"]]
        betas = (trainer.rule.beta_1, trainer.rule.beta_2)
        optimizer = kind(network.parameters(), lr=0.01, betas=betas, eps=trainer.rule.epsilon, weight_decay=decay)
    for _ in range(5):
        trainer.epoch(x, 8, 0.01)
        for first in range(0, 24, 8):
            batch = torch.from_numpy(x[first : first + 8])
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(network(batch), batch).backward()
            optimizer.step()
    for mine, theirs in zip(trainer.network.weights, network.parameters(), strict=True):
        np.testing.assert_allclose(mine, theirs.detach().numpy(), rtol=1e-9, atol=1e-12)
