# SPDX-License-Identifier: Apache-2.0
"""``torch.compile`` of whole training steps: gather, loss, gradients (``torch.func``) and Adam in one full graph.

What makes it fast: one graph without breaks, so that Inductor fuses all of Adam and every activation; its C++ wrapper
in place of the Python one, whose overhead is most of a small step; in a network whose step is mostly overhead, up to
ten steps in one graph and one thread. The step number is a tensor, so that nothing
compiles again. Compiling is outside the clock, 10 to 50 seconds a case the first time; Inductor keeps it on disk.
"""

from __future__ import annotations

from typing import Any

import torch
from cases import F32, Case
from torch._inductor import config as inductor

from contestants import _torch_network as network

requires = ("torch",)
ACTIVATIONS: dict[str, Any] = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}
# A step of fewer flops is faster on one thread, and unrolled.
SMALL_STEP = 20_000_000
MOST_UNROLLED = 10


def _forward(case: Case, params: Any, x: Any, logits: bool) -> Any:
    y = x
    for i in range(len(case.widths) - 1):
        y = torch.nn.functional.linear(y, params[2 * i], params[2 * i + 1])
        activation = ACTIVATIONS.get(case.activation_of(i))
        if activation is not None and not (logits and i == len(case.widths) - 2):
            y = activation(y)
    return y


def compiled_steps(case: Case, count: int, mode: str | None = None) -> Any:
    """A function of parameters, m, v, step number, data, indices (count, batch), sum of losses.

    It changes all but data and indices in place.
    """
    logits = case.loss == "bce"

    def loss_of(params: Any, x: Any) -> Any:
        return network.LOSSES[case.loss](_forward(case, params, x, logits), x)

    if case.precision == "bfloat16":
        plain = loss_of

        def loss_of(params: Any, x: Any) -> Any:
            with torch.autocast(x.device.type, torch.bfloat16):
                return plain(params, x)

    gradients_and_loss = torch.func.grad_and_value(loss_of)

    def steps(params: Any, m: Any, v: Any, step_number: Any, data: Any, indices: Any, total: Any) -> None:
        for i in range(count):
            x = data[indices[i]]
            gradients, loss = gradients_and_loss(tuple(params), x)
            total.add_(loss)
            step_number.add_(1)
            rate = case.learning_rate / (1 - 0.9**step_number)
            root = torch.rsqrt(1 - 0.999**step_number)
            for p, m_p, v_p, g in zip(params, m, v, gradients, strict=True):
                m_p.mul_(0.9).add_(g, alpha=1 - 0.9)
                v_p.mul_(0.999).addcmul_(g, g, value=1 - 0.999)
                p.sub_(rate * m_p / (v_p.sqrt() * root + 1e-8))

    return torch.compile(steps, fullgraph=True, dynamic=False, mode=mode)


def _prepare(n_threads: int) -> None:
    torch.set_num_threads(n_threads)
    torch.set_flush_denormal(True)
    inductor.cpp_wrapper = True
    inductor.cpp.threads = n_threads
    torch.compiler.reset()  # the last case's graphs


class Contestant:
    def __init__(self, case: Case, n_threads: int) -> None:
        small = case.flops_per_step < SMALL_STEP
        _prepare(1 if small else n_threads)
        self.case = case
        self.data = torch.from_numpy(case.data())
        self.first = [torch.from_numpy(w) for w in case.weights()]
        self.params, self.m, self.v = ([torch.empty_like(w) for w in self.first] for _ in range(3))
        self.step_number, self.total = torch.zeros(()), torch.zeros(())
        most = MOST_UNROLLED if small else 1
        self.unrolled = max(k for k in range(1, most + 1) if case.steps_per_epoch % k == 0)
        self.graphs = {k: compiled_steps(case, k) for k in {1, self.unrolled}}
        self._check_unrolled()
        self.restart(1)

    @staticmethod
    def supports(case: Case) -> bool:
        del case
        return True

    def restart(self, epochs: int) -> None:
        self.epochs = epochs
        for p, first in zip(self.params, self.first, strict=True):
            p.copy_(first)
        for tensor in (*self.m, *self.v, self.step_number):
            tensor.zero_()

    def losses(self, epochs: int, batches: int) -> list[float]:
        self.restart(epochs)
        order = torch.arange(batches * self.case.batch)
        return [self._epoch(order, 1) for _ in range(epochs)]

    def train(self) -> None:
        for _ in range(self.epochs):
            self._epoch(torch.randperm(self.case.rows), self.unrolled)

    def _epoch(self, order: Any, unrolled: int) -> float:
        self.total.zero_()
        run = self.graphs[unrolled]
        with torch.no_grad():
            for indices in order.view(-1, unrolled, self.case.batch):
                run(self.params, self.m, self.v, self.step_number, self.data, indices, self.total)
        return float(self.total) * self.case.batch / len(order)

    def _check_unrolled(self) -> None:
        """Compiles all graphs, and makes sure that what is timed computes what ``losses`` shows."""
        order = torch.arange(self.unrolled * self.case.batch)
        found = {}
        for unrolled in self.graphs:
            self.restart(1)
            found[unrolled] = [self._epoch(order, unrolled) for _ in range(2)]
        for one, many in zip(found[1], found[self.unrolled], strict=True):
            if abs(one - many) > 1e-5 * abs(one):
                raise ArithmeticError(f"losses one step at a time {found[1]}, unrolled {found[self.unrolled]}")

    @staticmethod
    def versions() -> dict[str, str]:
        return network.versions()


class Reconstructor:
    """A compiled forward pass for each number of rows: a plain function costs fewer guards than ``nn.Module``.

    Inductor's ``freezing`` and a compiled ``nn.Module`` were tried for one row; neither was faster.
    """

    def __init__(self, case: Case, n_threads: int) -> None:
        _prepare(n_threads)
        params = [torch.from_numpy(w) for w in case.weights()]

        def forward(x: Any) -> Any:
            return _forward(case, params, x, logits=False)

        self.forward = torch.compile(forward, fullgraph=True, dynamic=False)

    @staticmethod
    def supports(case: Case) -> bool:
        del case
        return True

    def reconstruct(self, x: F32) -> F32:
        with torch.inference_mode():
            y: F32 = self.forward(torch.from_numpy(x)).numpy()
        return y

    @staticmethod
    def versions() -> dict[str, str]:
        return network.versions()
