# SPDX-License-Identifier: Apache-2.0
"""The training loop that one writes by hand in NumPy, written well: float32, no temporaries, one BLAS call a product.

What makes it fast: every result goes to a buffer made beforehand; parameters, gradient and moments are one flat
array each, so that Adam is ten passes over blocks that stay in the L2 cache, whatever the number of layers; the
moments are kept divided by (1 - beta), which saves two passes; bce needs one exp and one log an element.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from cases import F32, Case

requires = ("numpy",)
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
# Floats a block of Adam: four arrays of 128 KiB, half of an L2 cache of 1 MiB.
BLOCK = 32768


def _activate(name: str, z: F32) -> None:
    match name:
        case "relu":
            np.maximum(z, 0, out=z)
        case "tanh":
            np.tanh(z, out=z)
        case "sigmoid":
            np.negative(z, out=z)
            np.exp(z, out=z)
            z += 1
            np.reciprocal(z, out=z)


def _versions() -> dict[str, str]:
    config: Any = np.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {})
    return {"numpy": np.__version__, "blas": f"{blas.get('name', '?')} {blas.get('version', '?')}"}


class Contestant:
    def __init__(self, case: Case, n_threads: int) -> None:
        del n_threads  # from the environment: BLAS read it when it was loaded
        self.case = case
        self.data = case.data()
        self.rng = np.random.default_rng(0)
        weights = case.weights()
        self.first = np.concatenate([w.ravel() for w in weights])
        self.params, self.gradient, self.m, self.v = (np.zeros_like(self.first) for _ in range(4))
        starts = np.cumsum([0] + [w.size for w in weights])

        def views(flat: F32) -> list[F32]:
            return [flat[a:b].reshape(w.shape) for (a, b), w in zip(pairwise(starts), weights, strict=True)]

        self.w, self.b = views(self.params)[0::2], views(self.params)[1::2]
        self.dw, self.db = views(self.gradient)[0::2], views(self.gradient)[1::2]
        # y[0] is the batch, y[i + 1] the output of layer i; dz[i] the gradient of its value before the activation.
        self.y = [np.zeros((case.batch, width), np.float32) for width in case.widths]
        self.dz = [np.zeros((case.batch, width), np.float32) for width in case.widths[1:]]
        self.positive = [np.zeros((case.batch, width), bool) for width in case.widths[1:]]
        self.ones = np.ones(case.batch, np.float32)
        self.restart(1)

    @staticmethod
    def supports(case: Case) -> bool:
        del case
        return True

    def restart(self, epochs: int) -> None:
        self.epochs = epochs
        self.params[:] = self.first
        self.m[:] = 0
        self.v[:] = 0
        self.step_number = 0

    def losses(self, epochs: int, batches: int) -> list[float]:
        self.restart(epochs)
        order = np.arange(batches * self.case.batch)
        return [self._epoch(order) for _ in range(epochs)]

    def train(self) -> None:
        for _ in range(self.epochs):
            self._epoch(self.rng.permutation(self.case.rows))

    def _epoch(self, order: np.ndarray) -> float:
        batch, total = self.case.batch, 0.0
        for first in range(0, len(order), batch):
            # mode="clip" because the default checks the indices by copying the result once more.
            np.take(self.data, order[first : first + batch], axis=0, out=self.y[0], mode="clip")
            total += self._forward()
            self._backward()
            self._adam()
        return total * batch / len(order)

    def _forward(self) -> float:
        """Fills y and the last dz; returns the mean loss of the batch."""
        last = len(self.w) - 1
        for i, (w, b) in enumerate(zip(self.w, self.b, strict=True)):
            z = self.y[i + 1]
            np.dot(self.y[i], w.T, out=z)
            z += b
            if i < last or self.case.loss != "bce":
                _activate(self.case.activation_of(i), z)
        return self._bce() if self.case.loss == "bce" else self._mse()

    def _times_derivative(self, layer: int, dz: F32) -> None:
        """dz (in: gradient of y) times act'(z), from y; y is overwritten where that saves a buffer."""
        y = self.y[layer + 1]
        match self.case.activation_of(layer):
            case "relu":
                np.greater(y, 0, out=self.positive[layer])
                np.multiply(dz, self.positive[layer], out=dz)
            case "tanh":
                np.multiply(y, y, out=y)
                np.subtract(1, y, out=y)
                dz *= y
            case "sigmoid":
                dz *= y
                np.subtract(1, y, out=y)
                dz *= y

    def _mse(self) -> float:
        x, y, dz = self.y[0], self.y[-1], self.dz[-1]
        np.subtract(y, x, out=dz)
        loss = float(np.vdot(dz, dz)) / dz.size
        dz *= np.float32(2 / dz.size)
        self._times_derivative(len(self.w) - 1, dz)
        return loss

    def _bce(self) -> float:
        """From logits z: with q = 1 + exp(-z), the loss is log q + (1 - t) z and the gradient 1 / q - t."""
        x, z, dz = self.y[0], self.y[-1], self.dz[-1]
        np.maximum(z, -80, out=z)  # exp(88) is the largest in float32; sigmoid(-80) is 0 to every digit
        loss = float(z.sum()) - float(np.vdot(z, x))
        np.negative(z, out=z)
        np.exp(z, out=z)
        z += 1
        np.log(z, out=dz)
        loss += float(dz.sum())
        np.reciprocal(z, out=z)
        np.subtract(z, x, out=dz)
        dz *= np.float32(1 / dz.size)
        return loss / dz.size

    def _backward(self) -> None:
        for i in reversed(range(len(self.w))):
            dz = self.dz[i]
            np.dot(dz.T, self.y[i], out=self.dw[i])
            np.dot(self.ones, dz, out=self.db[i])
            if i > 0:
                np.dot(dz, self.w[i], out=self.dz[i - 1])
                self._times_derivative(i - 1, self.dz[i - 1])

    def _adam(self) -> None:
        """In place; m / (1 - beta_1) and v / (1 - beta_2) are what is stored."""
        self.step_number += 1
        t = self.step_number
        root = math.sqrt((1 - BETA_2) / (1 - BETA_2**t))  # sqrt(v-hat) = root * sqrt(stored v)
        scale = np.float32(self.case.learning_rate * (1 - BETA_1) / (1 - BETA_1**t) / root)
        epsilon = np.float32(EPSILON / root)
        for first in range(0, len(self.params), BLOCK):
            part = slice(first, first + BLOCK)
            g, m, v = self.gradient[part], self.m[part], self.v[part]
            m *= np.float32(BETA_1)
            m += g
            g *= g
            v *= np.float32(BETA_2)
            v += g
            np.sqrt(v, out=g)
            g += epsilon
            np.divide(m, g, out=g)
            g *= scale
            self.params[part] -= g

    @staticmethod
    def versions() -> dict[str, str]:
        return _versions()


class Reconstructor:
    """Hidden layers go to buffers made at the first call of their size; only the result is new."""

    def __init__(self, case: Case, n_threads: int) -> None:
        del n_threads
        self.case = case
        weights = case.weights()
        names = [case.activation_of(i) for i in range(len(case.widths) - 1)]
        self.layers = [(w.T, b, name) for w, b, name in zip(weights[0::2], weights[1::2], names, strict=True)]
        self.hidden: list[F32] = []

    @staticmethod
    def supports(case: Case) -> bool:
        del case
        return True

    def reconstruct(self, x: F32) -> F32:
        if not self.hidden or len(self.hidden[0]) != len(x):
            self.hidden = [np.empty((len(x), width), np.float32) for width in self.case.widths[1:-1]]
        y = x
        for (w_t, b, name), z in zip(self.layers, [*self.hidden, np.empty_like(x)], strict=True):
            np.dot(y, w_t, out=z)
            z += b
            _activate(name, z)
            y = z
        return y

    @staticmethod
    def versions() -> dict[str, str]:
        return _versions()
