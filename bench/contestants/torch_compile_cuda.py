# SPDX-License-Identifier: Apache-2.0
"""``torch.compile(mode="max-autotune")`` of whole training steps on the GPU, an epoch of them in one CUDA graph.

What makes it fast: Inductor chooses each product from cuBLAS and what it generates by timing them, and fuses Adam and
activations; one launch an epoch, for the graph is captured around all its steps, rather than around one by Inductor,
which would leave a launch and copies of what comes in for each. Row numbers are written to where the graph reads them.

ISTHMUS_BENCH_TORCH_MODE=default does without the timing of products, which takes minutes in a network of many shapes.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from cases import Case

from contestants import _torch_gpu as gpu
from contestants import torch_compile

requires = ("torch",)
unavailable = gpu.unavailable
# As max-autotune, and the graphs by hand.
MODE = os.environ.get("ISTHMUS_BENCH_TORCH_MODE", "max-autotune-no-cudagraphs")


class Contestant:
    def __init__(self, case: Case, n_threads: int) -> None:
        torch.set_num_threads(n_threads)
        torch.compiler.reset()  # the last case's graphs
        gpu.set_precision(case)
        self.case = case
        self.data = torch.from_numpy(case.data()).to(gpu.DEVICE)
        self.first = [torch.from_numpy(w).to(gpu.DEVICE) for w in case.weights()]
        self.params, self.m, self.v = ([torch.empty_like(w) for w in self.first] for _ in range(3))
        self.step_number, self.total = (torch.zeros((), device=gpu.DEVICE) for _ in range(2))
        self.order = torch.arange(case.rows, device=gpu.DEVICE)
        self.step = torch_compile.compiled_steps(case, 1, "default" if gpu.EMULATED else MODE)
        self.restart(1)
        self._queue(self.order[: case.batch])  # compiles
        self.graph = None if gpu.EMULATED else self._captured()
        self._check_graph()
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
        gpu.synchronize()

    def losses(self, epochs: int, batches: int) -> list[float]:
        self.restart(epochs)
        order = torch.arange(batches * self.case.batch, device=gpu.DEVICE)
        return [self._mean_loss(order) for _ in range(epochs)]

    def train(self) -> None:
        for _ in range(self.epochs):
            torch.randperm(self.case.rows, out=self.order)
            self._epoch()

    def _queue(self, order: Any) -> None:
        """An epoch of steps, the sum of their losses in ``total``."""
        self.total.zero_()
        with torch.no_grad():
            for indices in order.view(-1, 1, self.case.batch):
                self.step(self.params, self.m, self.v, self.step_number, self.data, indices, self.total)

    def _mean_loss(self, order: Any) -> float:
        self._queue(order)
        return float(self.total) * self.case.batch / len(order)

    def _epoch(self) -> float:
        """Over the rows in ``order``; waits until the GPU is done."""
        if self.graph is None:
            return self._mean_loss(self.order)
        self.graph.replay()
        return float(self.total) / self.case.steps_per_epoch

    def _captured(self) -> Any:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # what is made on first use must not be made while capturing
            self._queue(self.order[: 2 * self.case.batch])
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._queue(self.order)
        return graph

    def _check_graph(self) -> None:
        """Makes sure that what is timed computes what ``losses`` shows."""
        torch.arange(self.case.rows, out=self.order)
        self.restart(1)
        shown = [self._mean_loss(self.order) for _ in range(2)]
        self.restart(1)
        timed = [self._epoch() for _ in range(2)]
        for one, other in zip(shown, timed, strict=True):
            if abs(one - other) > 1e-5 * abs(one):
                raise ArithmeticError(f"losses one step at a time {shown}, in a graph {timed}")

    @staticmethod
    def versions() -> dict[str, str]:
        return gpu.versions() | {"mode": MODE}
