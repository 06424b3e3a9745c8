# SPDX-License-Identifier: Apache-2.0
"""The NumPy twin: everything isthmus computes, once more in float64 and in the plainest form.

The reference of every numeric test, and the page to read for what a number means. It shares no code with the package
and is written from the formulas: x (n, in), weight (out, in), bias (out), z = x @ weight.T + bias, y = act(z); a
gradient is `d` + name. A network is its weights [W0, b0, W1, b1, ...], one activation a layer, and a loss; where it is
tied, the layers of its second half take the weights of the first transposed, the last those of the first, and only
their biases are listed. Something may be done to the code, what the layer number `code` (from 1) gives: of each row the
k largest units stay, or all are drawn from means and log variances; and a penalty may be added while training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

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


# ---- the code -------------------------------------------------------------------------------------------------------


def largest(code: Array, k: int) -> Array:
    """True for the k largest units of each row, the lower index where two are equal."""
    order = np.argsort(-code, axis=1, kind="stable")[:, :k]
    kept = np.zeros(code.shape, dtype=bool)
    np.put_along_axis(kept, order, True, axis=1)
    return kept


def divergence(mean: Array, log_variance: Array) -> Array:
    """KL(N(mean, variance) || N(0, 1)) of each unit."""
    return 0.5 * (mean**2 + np.exp(log_variance) - 1.0 - log_variance)


def philox(counter: Sequence[NDArray[np.uint64]], seed: int) -> list[NDArray[np.uint64]]:
    """Philox4x32-10 (Salmon et al., 2011) of counters of four 32-bit words each."""
    x = [np.asarray(word, dtype=np.uint64) for word in counter]
    low = np.uint64(0xFFFFFFFF)
    keys = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        a, b = x[0] * np.uint64(0xD2511F53), x[2] * np.uint64(0xCD9E8D57)
        x = [(b >> np.uint64(32)) ^ x[1] ^ np.uint64(keys[0]), b & low,
             (a >> np.uint64(32)) ^ x[3] ^ np.uint64(keys[1]), a & low]
        keys = [(keys[0] + 0x9E3779B9) & 0xFFFFFFFF, (keys[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return x


PURPOSES = {"sample": 4, "draw": 5}  # of a code while training; of one that somebody asks for


def normals(purpose: str, seed: int, epoch: int, rows: ArrayLike, width: int) -> Array:
    """Standard normal numbers (rows, width) by Box and Muller, keyed by (seed, purpose, epoch, row number, column)."""
    number = np.asarray(rows, dtype=np.uint64)[:, None]
    group = np.arange((width + 3) // 4, dtype=np.uint64)[None, :]
    third = np.uint64(PURPOSES[purpose] << 16) | (number >> np.uint64(32))
    words = np.broadcast_arrays(group, number & np.uint64(0xFFFFFFFF), third, np.uint64(epoch))
    upper = [(word >> np.uint64(8)).astype(np.float64) for word in philox(words, seed)]
    quads = []
    for first, second in ((upper[0], upper[1]), (upper[2], upper[3])):
        radius = np.sqrt(-2.0 * np.log((first + 1.0) / 2**24))
        angle = 2.0 * np.pi * second / 2**24
        quads += [radius * np.cos(angle), radius * np.sin(angle)]
    return np.stack(quads, axis=2).reshape(len(number), -1)[:, :width]


# ---- a network ----------------------------------------------------------------------------------------------------


@dataclass
class Network:
    weights: list[Array]  # [W0, b0, W1, b1, ...]
    activations: Sequence[str]  # one a layer
    loss: str = "mse"
    tied: bool = False
    code: int = 0
    code_l1: float = 0.0  # weight of the mean of a row's absolute code
    code_topk: int | None = None
    kl_weight: float | None = None  # a number: layer `code` gives means and log variances, side by side
    eps: Array | None = field(default=None, repr=False)  # of which the code is drawn; None: it is the mean
    given: Array = field(default_factory=lambda: np.zeros(0), repr=False)  # what layer `code` gave in the last pass
    zs: list[Array] = field(default_factory=list, repr=False)  # of the last forward pass
    ys: list[Array] = field(default_factory=list, repr=False)  # ys[0] is the input

    def __post_init__(self) -> None:
        self.weights = [np.array(w, dtype=np.float64) for w in self.weights]
        assert len(self.weights) == self._places(len(self.activations) - 1)[1] + 1

    def _places(self, layer: int) -> tuple[int, int, bool]:
        """Where in `weights` a layer's weight and bias stand, and whether that weight is transposed."""
        layers = len(self.activations)
        if not self.tied or layer < layers // 2:
            return 2 * layer, 2 * layer + 1, False
        return 2 * (layers - 1 - layer), layers // 2 + layer, True

    def _layer(self, layer: int) -> tuple[Array, Array]:
        weight, bias, transposed = self._places(layer)
        return self.weights[weight].T if transposed else self.weights[weight], self.weights[bias]

    def forward(self, x: Array) -> Array:
        """Output of the last layer (n, out); keeps every z and y."""
        self.zs, self.ys = [], [np.asarray(x, dtype=np.float64)]
        for layer, name in enumerate(self.activations):
            self.zs.append(dense(self.ys[-1], *self._layer(layer)))
            self.ys.append(ACTIVATIONS[name].forward(self.zs[-1]))
            if layer + 1 == self.code:
                self.given = self.ys[-1]
                self.ys[-1] = self._changed(self.given)
        return self.ys[-1]

    def _changed(self, given: Array) -> Array:
        """What the decoder sees of the code."""
        if self.kl_weight is not None:
            mean, log_variance = np.split(given, 2, axis=1)
            return mean if self.eps is None else mean + np.exp(0.5 * log_variance) * self.eps
        return given if self.code_topk is None else np.where(largest(given, self.code_topk), given, 0.0)

    def penalties(self, features: int) -> Array:
        """What is added to each row's error while training, before its weight (n,); of the last pass."""
        if self.kl_weight is not None:
            return divergence(*np.split(self.given, 2, axis=1)).sum(axis=1) / features
        return np.abs(self.ys[self.code]).mean(axis=1)

    def objective(self, x: Array, target: Array | None = None, sample_weight: Array | None = None) -> float:
        """`evaluate`, and what is added to it while training."""
        loss = self.evaluate(x, target, sample_weight)
        if self.code == 0:
            return loss
        weight = self.code_l1 if self.kl_weight is None else self.kl_weight
        return loss + weight * float(np.average(self.penalties(np.shape(x)[1]), weights=sample_weight))

    def _through_the_code(self, dy: Array, row: Array) -> Array:
        """From the gradient by what the decoder sees to that by what layer `code` gave; row: w_i / sum(w)."""
        if self.kl_weight is not None:
            mean, log_variance = np.split(self.given, 2, axis=1)
            share = row * self.kl_weight / self.ys[0].shape[1]
            eps = np.zeros_like(mean) if self.eps is None else self.eps
            return np.hstack([dy + share * mean,
                              0.5 * (dy * eps * np.exp(0.5 * log_variance) + share * (np.exp(log_variance) - 1.0))])
        code = self.ys[self.code]
        dy = dy + row * self.code_l1 / code.shape[1] * np.sign(code)
        return dy if self.code_topk is None else np.where(largest(self.given, self.code_topk), dy, 0.0)

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
        """d objective / d weights, in the order of `weights`."""
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
        gradients = [np.zeros_like(parameter) for parameter in self.weights]
        for layer in reversed(range(len(self.activations))):
            weight, bias, transposed = self._places(layer)
            dweight, dbias = dense_backward_weight(self.ys[layer], dz)
            gradients[weight] += dweight.T if transposed else dweight
            gradients[bias] += dbias
            if layer > 0:
                dy = dense_backward_input(dz, self._layer(layer)[0])
                if layer == self.code:
                    dy = self._through_the_code(dy, (w / w.sum())[:, None])
                dz = dy * ACTIVATIONS[self.activations[layer - 1]].derivative(self.zs[layer - 1])
        return gradients


def finite_differences(network: Network, x: Array, target: Array | None = None, sample_weight: Array | None = None,
                       h: float = 1e-6) -> list[Array]:
    """Central differences of `objective` for every single weight; error about h^2 + 1e-16 / h."""
    gradients = [np.zeros_like(w) for w in network.weights]
    for weight, gradient in zip(network.weights, gradients, strict=True):
        for i in np.ndindex(weight.shape):
            kept = weight[i]
            weight[i] = kept + h
            above = network.objective(x, target, sample_weight)
            weight[i] = kept - h
            below = network.objective(x, target, sample_weight)
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
    penalty: float = 0.0  # of the last epoch

    def __post_init__(self) -> None:
        self.m = [np.zeros_like(w) for w in self.network.weights]
        self.v = [np.zeros_like(w) for w in self.network.weights]

    def epoch(self, x: Array, batch_size: int, rate: float | Callable[[int], float],
              order: Sequence[int] | None = None, sample_weight: Array | None = None,
              target: Array | None = None, draw: Callable[[Sequence[int]], Array] | None = None) -> float:
        """One pass; `rate` may depend on the step, counted from 0 over all epochs. Returns the epoch's loss:
        the mean over its rows, each before the update of its batch; `penalty` then is that of what is added to it.
        draw(row numbers) gives the eps of which codes are drawn."""
        x = np.asarray(x, dtype=np.float64)
        t = x if target is None else np.asarray(target, dtype=np.float64)
        w = np.ones(len(x)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        rows = np.arange(len(x)) if order is None else np.asarray(order)
        total = penalty = 0.0
        for first in range(0, len(rows), batch_size):
            batch = rows[first : first + batch_size]
            self.network.eps = None if draw is None else draw(batch)
            total += float(np.sum(w[batch] * self.network.row_errors(x[batch], t[batch])))
            if self.network.code > 0:
                penalty += float(np.sum(w[batch] * self.network.penalties(x.shape[1])))
            gradients = clip(self.network.gradients(x[batch], t[batch], w[batch]), self.rule.clip_norm)
            now = rate(self.step) if callable(rate) else rate
            self.step += 1
            for param, gradient, m, v in zip(self.network.weights, gradients, self.m, self.v, strict=True):
                self.rule.update(param, gradient, m, v, self.step, now)
        self.penalty = penalty / float(w[rows].sum())
        self.network.eps = None
        return total / float(w[rows].sum())
