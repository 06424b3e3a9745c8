# SPDX-License-Identifier: Apache-2.0
"""The NumPy twin: everything isthmus computes, once more in float64 and in the plainest form.

The reference of every numeric test, and the page to read for what a number means. It shares no code with the package
and is written from the formulas: x (n, in), weight (out, in), bias (out), z = x @ weight.T + bias, y = act(z); a
gradient is `d` + name. A network is its weights [W0, b0, W1, b1, ...], one activation a layer, and a loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# ---- activations: f(z) and f'(z) ------------------------------------------------------------------------------------

_erfc = np.vectorize(math.erfc, otypes=[np.float64])
SQRT_2PI = math.sqrt(2.0 * math.pi)


def sigmoid(z: Array) -> Array:
    # Each branch only ever takes exp of a number that is not positive.
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, e) / (1.0 + e)


def normal_cdf(z: Array) -> Array:
    # erfc, because 1 + erf cancels in the lower tail.
    return 0.5 * _erfc(-z / math.sqrt(2.0))


class Activation(NamedTuple):
    forward: Callable[[Array], Array]
    derivative: Callable[[Array], Array]  # of z; at a kink the value from the left
    smooth: bool  # the derivative is continuous


ACTIVATIONS: dict[str, Activation] = {
    "linear": Activation(lambda z: z.copy(), np.ones_like, True),
    "relu": Activation(lambda z: np.maximum(z, 0.0), lambda z: np.where(z > 0, 1.0, 0.0), False),
    "leaky_relu": Activation(lambda z: np.where(z > 0, z, 0.01 * z), lambda z: np.where(z > 0, 1.0, 0.01), False),
    "elu": Activation(
        lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0.0))),
        lambda z: np.where(z > 0, 1.0, np.exp(np.minimum(z, 0.0))),
        True,
    ),
    "gelu": Activation(
        lambda z: z * normal_cdf(z), lambda z: normal_cdf(z) + z * np.exp(-0.5 * z * z) / SQRT_2PI, True
    ),
    "silu": Activation(
        lambda z: z * sigmoid(z), lambda z: sigmoid(z) * (1.0 + z * (1.0 - sigmoid(z))), True
    ),
    "softplus": Activation(lambda z: np.logaddexp(0.0, z), sigmoid, True),
    "sigmoid": Activation(sigmoid, lambda z: sigmoid(z) * sigmoid(-z), True),
    "tanh": Activation(np.tanh, lambda z: 1.0 - np.tanh(z) ** 2, True),
}

# ---- losses of one element: l(y, t) and dl/dy; bce takes the logit z for y ---------------------------------------


class Loss(NamedTuple):
    value: Callable[[Array, Array], Array]
    derivative: Callable[[Array, Array], Array]
    from_logits: bool
    smooth: bool


LOSSES: dict[str, Loss] = {
    "mse": Loss(lambda y, t: (y - t) ** 2, lambda y, t: 2.0 * (y - t), False, True),
    "bce": Loss(
        lambda z, t: np.maximum(z, 0.0) - z * t + np.log1p(np.exp(-np.abs(z))), lambda z, t: sigmoid(z) - t, True, True
    ),
    "mae": Loss(lambda y, t: np.abs(y - t), lambda y, t: np.sign(y - t), False, False),
    "huber": Loss(
        lambda y, t: np.where(np.abs(y - t) <= 1.0, 0.5 * (y - t) ** 2, np.abs(y - t) - 0.5),
        lambda y, t: np.clip(y - t, -1.0, 1.0),
        False,
        True,
    ),
}


def default_output(loss: str) -> str:
    return "sigmoid" if LOSSES[loss].from_logits else "linear"


def observed(target: Array) -> Array:
    """How many features of each row are there, not NaN, at least 1 (n, 1)."""
    return np.maximum(1, (~np.isnan(target)).sum(axis=1, keepdims=True))


# ---- a dense layer ------------------------------------------------------------------------------------------------


def dense(x: Array, weight: Array, bias: Array) -> Array:
    return x @ weight.T + bias


def dense_backward_input(dz: Array, weight: Array) -> Array:
    return dz @ weight


def dense_backward_weight(x: Array, dz: Array) -> tuple[Array, Array]:
    return dz.T @ x, dz.sum(axis=0)


# ---- a network ----------------------------------------------------------------------------------------------------


@dataclass
class Network:
    weights: list[Array]  # [W0, b0, W1, b1, ...]
    activations: Sequence[str]  # one a layer
    loss: str = "mse"
    zs: list[Array] = field(default_factory=list, repr=False)  # of the last forward pass
    ys: list[Array] = field(default_factory=list, repr=False)  # ys[0] is the input

    def __post_init__(self) -> None:
        self.weights = [np.array(w, dtype=np.float64) for w in self.weights]
        assert len(self.weights) == 2 * len(self.activations)

    def forward(self, x: Array) -> Array:
        """Output of the last layer (n, out); keeps every z and y."""
        self.zs, self.ys = [], [np.asarray(x, dtype=np.float64)]
        for layer, name in enumerate(self.activations):
            self.zs.append(dense(self.ys[-1], self.weights[2 * layer], self.weights[2 * layer + 1]))
            self.ys.append(ACTIVATIONS[name].forward(self.zs[-1]))
        return self.ys[-1]

    def element_losses(self, x: Array, target: Array | None = None) -> Array:
        """Loss of each element (n, d)."""
        target = np.asarray(x if target is None else target, dtype=np.float64)
        y = self.forward(x)
        return LOSSES[self.loss].value(self.zs[-1] if LOSSES[self.loss].from_logits else y, target)

    def row_errors(self, x: Array, target: Array | None = None) -> Array:
        """e_i, the mean of a row's loss over its observed features, whose target is not NaN (n,); 0 without any."""
        losses = self.element_losses(x, target)
        return np.where(np.isnan(losses), 0.0, losses).sum(axis=1) / observed(losses)[:, 0]

    def evaluate(self, x: Array, target: Array | None = None, sample_weight: Array | None = None) -> float:
        """sum(w_i e_i) / sum(w_i)."""
        return float(np.average(self.row_errors(x, target), weights=sample_weight))

    def gradients(self, x: Array, target: Array | None = None, sample_weight: Array | None = None) -> list[Array]:
        """d evaluate / d weights, in the order of `weights`."""
        target = np.asarray(x if target is None else target, dtype=np.float64)
        w = np.ones(len(target)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        y = self.forward(x)
        row = (w / w.sum())[:, None] / observed(target)
        loss = LOSSES[self.loss]
        if loss.from_logits:
            dz = row * loss.derivative(self.zs[-1], target)
        else:
            dz = row * loss.derivative(y, target) * ACTIVATIONS[self.activations[-1]].derivative(self.zs[-1])
        dz = np.where(np.isnan(target), 0.0, dz)
        gradients: list[Array] = []
        for layer in reversed(range(len(self.activations))):
            gradients = [*dense_backward_weight(self.ys[layer], dz), *gradients]
            if layer > 0:
                dy = dense_backward_input(dz, self.weights[2 * layer])
                dz = dy * ACTIVATIONS[self.activations[layer - 1]].derivative(self.zs[layer - 1])
        return gradients


def finite_differences(network: Network, x: Array, target: Array | None = None, sample_weight: Array | None = None,
                       h: float = 1e-6) -> list[Array]:
    """Central differences of `evaluate` for every single weight; error about h^2 + 1e-16 / h."""
    gradients = [np.zeros_like(w) for w in network.weights]
    for weight, gradient in zip(network.weights, gradients, strict=True):
        for i in np.ndindex(weight.shape):
            kept = weight[i]
            weight[i] = kept + h
            above = network.evaluate(x, target, sample_weight)
            weight[i] = kept - h
            below = network.evaluate(x, target, sample_weight)
            weight[i] = kept
            gradient[i] = (above - below) / (2.0 * h)
    return gradients


# ---- optimizers -----------------------------------------------------------------------------------------------------


@dataclass
class Rule:
    """adam as in its paper, adamw with decoupled decay, sgd with momentum as in PyTorch."""

    optimizer: str = "adam"
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    momentum: float = 0.0
    weight_decay: float | None = None  # None: 0.01 for adamw, 0 otherwise
    clip_norm: float | None = None

    @property
    def decay(self) -> float:
        return self.weight_decay if self.weight_decay is not None else (0.01 if self.optimizer == "adamw" else 0.0)

    def update(self, param: Array, gradient: Array, m: Array, v: Array, step: int, rate: float) -> None:
        """One update in place; step counts from 1. sgd keeps its velocity in m."""
        if self.optimizer == "adamw":
            param *= 1.0 - rate * self.decay
        else:
            gradient = gradient + self.decay * param
        if self.optimizer == "sgd":
            m[...] = self.momentum * m + gradient
            param -= rate * m
            return
        m[...] = self.beta_1 * m + (1.0 - self.beta_1) * gradient
        v[...] = self.beta_2 * v + (1.0 - self.beta_2) * gradient**2
        m_hat = m / (1.0 - self.beta_1**step)
        v_hat = v / (1.0 - self.beta_2**step)
        param -= rate * m_hat / (np.sqrt(v_hat) + self.epsilon)


def clip(gradients: list[Array], clip_norm: float | None) -> list[Array]:
    """Scaled by clip_norm / norm when the norm over all gradients together is larger than clip_norm."""
    norm = math.sqrt(sum(float(np.sum(g * g)) for g in gradients))
    scale = 1.0 if clip_norm is None or norm <= clip_norm else clip_norm / norm
    return [g * scale for g in gradients]


# ---- training -------------------------------------------------------------------------------------------------------


@dataclass
class Trainer:
    """Trains `network` on rows in the order given; keeps moments and the step between calls."""

    network: Network
    rule: Rule
    step: int = 0

    def __post_init__(self) -> None:
        self.m = [np.zeros_like(w) for w in self.network.weights]
        self.v = [np.zeros_like(w) for w in self.network.weights]

    def epoch(self, x: Array, batch_size: int, rate: float | Callable[[int], float],
              order: Sequence[int] | None = None, sample_weight: Array | None = None,
              target: Array | None = None) -> float:
        """One pass; `rate` may depend on the step, counted from 0 over all epochs. Returns the epoch's loss:
        the mean over its rows, each before the update of its batch."""
        x = np.asarray(x, dtype=np.float64)
        t = x if target is None else np.asarray(target, dtype=np.float64)
        w = np.ones(len(x)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        rows = np.arange(len(x)) if order is None else np.asarray(order)
        total = 0.0
        for first in range(0, len(rows), batch_size):
            batch = rows[first : first + batch_size]
            total += float(np.sum(w[batch] * self.network.row_errors(x[batch], t[batch])))
            gradients = clip(self.network.gradients(x[batch], t[batch], w[batch]), self.rule.clip_norm)
            now = rate(self.step) if callable(rate) else rate
            self.step += 1
            for param, gradient, m, v in zip(self.network.weights, gradients, self.m, self.v, strict=True):
                self.rule.update(param, gradient, m, v, self.step, now)
        return total / float(w[rows].sum())
