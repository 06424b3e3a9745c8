# SPDX-License-Identifier: Apache-2.0
"""The one list of cases that every contestant trains, with their data, first weights and flop count.

Letters: n rows, d features; a network is the list of its widths, d first and last. One training step costs
``2 * batch * (forward + weight gradient + input gradient)`` flops, the first layer without the input gradient.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.random import default_rng  # not with the first data: memory is counted from the imports on
from numpy.typing import NDArray

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Case:
    """One network and how it is trained.

    ``widths[code]`` is the code; every layer but the last has ``activation``, the last ``output_activation``.
    ``rows`` is the size of the data set: a whole number of batches, larger than the caches where the tutorial's is.
    """

    name: str
    widths: tuple[int, ...]
    code: int
    activation: str
    output_activation: str
    loss: str
    batch: int
    rows: int
    title: str = ""
    learning_rate: float = 1e-3
    precision: str = "float32"  # of the layers' products

    @property
    def steps_per_epoch(self) -> int:
        return self.rows // self.batch

    @property
    def flops_per_step(self) -> int:
        layers = [a * b for a, b in pairwise(self.widths)]
        return 2 * self.batch * (3 * sum(layers) - layers[0])

    def activation_of(self, layer: int) -> str:
        """Of the layer's output; layers count from 0."""
        return self.output_activation if layer == len(self.widths) - 2 else self.activation

    def describe(self) -> str:
        kind = f"{self.activation}/{self.output_activation} {self.loss}"
        return f"{'-'.join(map(str, self.widths))}, {kind}, batch {self.batch}" + (
            "" if self.precision == "float32" else f", {self.precision}"
        )

    def data(self) -> F32:
        """Rows (rows, d) near a plane of eight dimensions, within (0, 1) for bce. The same in every process.

        There is something to learn, so that units do not die in bulk: their moments would decay to denormals, and
        the bench would time those.
        """
        rng = default_rng(1)
        d = self.widths[0]
        plane = rng.standard_normal((8, d), dtype=np.float32) / np.float32(np.sqrt(8))
        x = rng.standard_normal((self.rows, 8), dtype=np.float32) @ plane
        x += rng.standard_normal((self.rows, d), dtype=np.float32) * np.float32(0.1)
        return (1 / (1 + np.exp(-x))).astype(np.float32) if self.loss == "bce" else x

    def weights(self) -> list[F32]:
        """First weights ``[W0 (out, in), b0 (out,), W1, ...]``: Glorot-uniform, small biases that are not zero."""
        rng = default_rng(7)
        parameters: list[F32] = []
        for fan_in, fan_out in pairwise(self.widths):
            limit = np.sqrt(6.0 / (fan_in + fan_out))
            parameters.append(rng.uniform(-limit, limit, (fan_out, fan_in)).astype(np.float32))
            parameters.append(rng.uniform(-0.01, 0.01, fan_out).astype(np.float32))
        return parameters


CASES: tuple[Case, ...] = (
    Case("a", (10, 64, 32, 32, 64, 10), 2, "relu", "sigmoid", "mse", 10, 100, title="small tutorial"),
    Case("b", (784, 32, 784), 1, "relu", "sigmoid", "bce", 256, 16384, title="MNIST tutorial"),
    Case("c", (784, 512, 256, 64, 256, 512, 784), 3, "relu", "sigmoid", "bce", 256, 4096, title="deep MNIST"),
    Case("d", (2048, 4096, 2048), 1, "relu", "linear", "mse", 512, 2048, title="wide"),
    Case("e", (30, 16, 8, 16, 30), 2, "tanh", "linear", "mse", 128, 1280, title="tabular"),
    Case("odd widths", (123, 77, 9, 77, 123), 2, "relu", "linear", "mse", 100, 2000),
    Case("one unit", (64, 1, 64), 1, "linear", "linear", "mse", 64, 2048),
    Case("batch 1", (100, 50, 20, 50, 100), 2, "relu", "linear", "mse", 1, 64),
    Case("batch 7", (100, 50, 20, 50, 100), 2, "relu", "linear", "mse", 7, 448),
    Case("batch 64", (100, 50, 20, 50, 100), 2, "relu", "linear", "mse", 64, 4096),
    Case("batch 1000", (100, 50, 20, 50, 100), 2, "relu", "linear", "mse", 1000, 10000),
    Case("4096 inputs", (4096, 64, 4096), 1, "tanh", "sigmoid", "bce", 128, 1024),
)

# On a GPU these, too: more rows in a batch of d than keep one busy, and d on tensor cores.
_D = next(case for case in CASES if case.name == "d")
_D_4096 = replace(_D, name="d 4096", batch=4096, rows=8192, title="wide, large batch")
GPU_CASES: tuple[Case, ...] = (
    *CASES,
    _D_4096,
    *(replace(case, name=f"{case.name} {precision}", precision=precision)
      for case in (_D, _D_4096) for precision in ("tf32", "bfloat16")),
)  # fmt: skip

# Reconstruction of rows, NumPy in and NumPy out: (name of a case, rows in a call).
INFERENCE: tuple[tuple[str, int], ...] = (("b", 1), ("c", 1), ("b", 1024), ("c", 1024))


def by_name(name: str) -> Case:
    """The case of that name; ``KeyError`` with the names there are."""
    for candidate in GPU_CASES:
        if candidate.name == name:
            return candidate
    raise KeyError(f"no case {name!r}; there are {', '.join(c.name for c in GPU_CASES)}")
