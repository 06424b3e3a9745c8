# SPDX-License-Identifier: Apache-2.0
"""PyTorch's operators without autograd: the passes by hand, every result into a tensor made beforehand.

What makes it fast: parameters, gradient and moments are one flat tensor each, so that Adam is one call of PyTorch's
fused kernel; views and transposes are made once; ``index_select`` writes the batch in place; nothing reads a value
back before the epoch ends; denormals are flushed. Building tries one thread and all of them, and keeps the faster.

Ways that were tried, their time over this one's in interleaved runs on two threads: nn.Sequential with Adam's defaults
a 5.6, e 5.4, b 2.0, and with foreach a 5.4, e 5.2, b 2.0; nn.Sequential with fused Adam, index_select into a buffer and
denormals flushed a 3.6, e 3.5, b 1.6, d 1.9; these passes with torch.optim.Adam(fused=True) a 1.5, e 1.5, b 1.1, d 1.0.
"""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from cases import F32, Case

from contestants import _torch_network as network

requires = ("torch",)

aten = torch.ops.aten
IN_PLACE: dict[str, Any] = {"relu": torch.relu_, "tanh": torch.tanh_, "sigmoid": torch.sigmoid_}
TRIAL_SECONDS = 0.1  # of each number of threads


def _trial(work: Any) -> float:
    """Seconds of one call, the smallest of several after a first."""
    work()
    best, end = float("inf"), time.perf_counter() + TRIAL_SECONDS
    while True:
        started = time.perf_counter()
        work()
        now = time.perf_counter()
        best = min(best, now - started)
        if now > end:
            return best


def _choose_threads(n_threads: int, work: Any) -> None:
    """Sets the number of threads, 1 or ``n_threads``, that does ``work`` sooner."""
    seconds = {}
    for count in {1, n_threads}:
        torch.set_num_threads(count)
        seconds[count] = _trial(work)
    torch.set_num_threads(min(seconds, key=lambda count: seconds[count]))


class Contestant:
    def __init__(self, case: Case, n_threads: int) -> None:
        torch.set_flush_denormal(True)
        self.case = case
        self.data = torch.from_numpy(case.data())
        weights = case.weights()
        self.first = torch.from_numpy(np.concatenate([w.ravel() for w in weights]))
        self.params, self.gradient, self.m, self.v = (torch.zeros_like(self.first) for _ in range(4))
        self.step_number, self.total = torch.zeros(()), torch.zeros(())
        starts = np.cumsum([0] + [w.size for w in weights])

        def views(flat: Any) -> list[Any]:
            return [flat[a:b].view(w.shape) for (a, b), w in zip(pairwise(starts), weights, strict=True)]

        self.w, self.b = views(self.params)[0::2], views(self.params)[1::2]
        self.dw, self.db = views(self.gradient)[0::2], views(self.gradient)[1::2]
        self.w_t = [w.t() for w in self.w]
        # y[0] is the batch, y[i + 1] the output of layer i; dz[i] the gradient of its value before the activation.
        self.y = [torch.zeros(case.batch, width) for width in case.widths]
        self.dz = [torch.zeros(case.batch, width) for width in case.widths[1:]]
        self.dz_t = [dz.t() for dz in self.dz]
        self.flat_x, self.flat_y, self.flat_dz = (t.view(-1) for t in (self.y[0], self.y[-1], self.dz[-1]))
        self.softplus = torch.zeros_like(self.y[-1])
        self.restart(1)
        indices = torch.arange(case.batch)
        with torch.inference_mode():
            _choose_threads(n_threads, lambda: self._step(indices))
        self.restart(1)

    @staticmethod
    def supports(case: Case) -> bool:
        del case
        return True

    def restart(self, epochs: int) -> None:
        self.epochs = epochs
        self.params.copy_(self.first)
        for tensor in (self.m, self.v, self.step_number):
            tensor.zero_()

    def losses(self, epochs: int, batches: int) -> list[float]:
        self.restart(epochs)
        order = torch.arange(batches * self.case.batch)
        with torch.inference_mode():
            return [self._epoch(order) for _ in range(epochs)]

    def train(self) -> None:
        with torch.inference_mode():
            for _ in range(self.epochs):
                self._epoch(torch.randperm(self.case.rows))

    def _epoch(self, order: Any) -> float:
        self.total.zero_()
        for indices in order.split(self.case.batch):
            self._step(indices)
        return float(self.total) / (len(order) * self.case.widths[-1])

    def _step(self, indices: Any) -> None:
        torch.index_select(self.data, 0, indices, out=self.y[0])
        last = len(self.w) - 1
        for i in range(last + 1):
            z = self.y[i + 1]
            torch.addmm(self.b[i], self.y[i], self.w_t[i], out=z)
            activation = IN_PLACE.get(self.case.activation_of(i))
            if activation is not None and not (i == last and self.case.loss == "bce"):
                activation(z)
        if self.case.loss == "bce":
            self._bce()
        else:
            self._mse()
        for i in range(last, -1, -1):
            torch.mm(self.dz_t[i], self.y[i], out=self.dw[i])
            torch.sum(self.dz[i], 0, out=self.db[i])
            if i > 0:
                torch.mm(self.dz[i], self.w[i], out=self.dz[i - 1])
                self._times_derivative(i - 1)
        self._adam()

    def _times_derivative(self, layer: int) -> None:
        y, dz = self.y[layer + 1], self.dz[layer]
        match self.case.activation_of(layer):
            case "relu":
                aten.threshold_backward.grad_input(dz, y, 0, grad_input=dz)
            case "tanh":
                aten.tanh_backward.grad_input(dz, y, grad_input=dz)
            case "sigmoid":
                aten.sigmoid_backward.grad_input(dz, y, grad_input=dz)

    def _mse(self) -> None:
        dz = self.dz[-1]
        torch.sub(self.y[-1], self.y[0], out=dz)
        self.total.add_(torch.dot(self.flat_dz, self.flat_dz))
        dz.mul_(2 / dz.numel())
        self._times_derivative(len(self.w) - 1)

    def _bce(self) -> None:
        """From logits z: the loss is softplus(z) - x z, the gradient sigmoid(z) - x."""
        z, dz = self.y[-1], self.dz[-1]
        aten.softplus.out(z, out=self.softplus)
        self.total.add_(self.softplus.sum()).sub_(torch.dot(self.flat_x, self.flat_y))
        torch.sigmoid(z, out=dz)
        dz.sub_(self.y[0]).mul_(1 / dz.numel())

    def _adam(self) -> None:
        """What torch.optim.Adam(fused=True) calls in the end."""
        self.step_number.add_(1)
        torch._fused_adam_(
            [self.params],
            [self.gradient],
            [self.m],
            [self.v],
            [],
            [self.step_number],
            lr=self.case.learning_rate,
            beta1=0.9,
            beta2=0.999,
            weight_decay=0.0,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
            grad_scale=None,
            found_inf=None,
        )

    @staticmethod
    def versions() -> dict[str, str]:
        return network.versions()


class Reconstructor:
    """``addmm`` and activations in place; the number of threads is chosen for each number of rows."""

    def __init__(self, case: Case, n_threads: int) -> None:
        torch.set_flush_denormal(True)
        self.n_threads = n_threads
        weights = [torch.from_numpy(w) for w in case.weights()]
        names = [case.activation_of(i) for i in range(len(case.widths) - 1)]
        self.layers = [
            (w.t(), b, IN_PLACE.get(name)) for w, b, name in zip(weights[0::2], weights[1::2], names, strict=True)
        ]
        self.rows = 0

    @staticmethod
    def supports(case: Case) -> bool:
        del case
        return True

    def reconstruct(self, x: F32) -> F32:
        if len(x) != self.rows:
            self.rows = len(x)
            _choose_threads(self.n_threads, lambda: self._forward(x))
        return self._forward(x)

    def _forward(self, x: F32) -> F32:
        with torch.inference_mode():
            y = torch.from_numpy(x)
            for w_t, b, activation in self.layers:
                y = torch.addmm(b, y, w_t)
                if activation is not None:
                    activation(y)
            result: F32 = y.numpy()
        return result

    @staticmethod
    def versions() -> dict[str, str]:
        return network.versions()
