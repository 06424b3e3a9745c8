# SPDX-License-Identifier: Apache-2.0
"""One file for each contestant; each holds a class ``Contestant``, a class ``Reconstructor`` or both.

A contestant is imported in a process of its own, after the number of threads is in the environment, so that its
libraries never share a process with another's. Its file also holds ``requires``, the modules it cannot do without.
"""

from __future__ import annotations

from typing import Protocol

from cases import F32, Case

NAMES: tuple[str, ...] = (
    "numpy_loop",
    "isthmus_cpu",
    "torch_eager",
    "torch_tuned",
    "torch_compile",
    "jax_scan",
    "keras_fit",
    "sklearn_mlp",
    "onnx_runtime",
)
# On a GPU, with the data there. Their files may hold a function ``unavailable``: why not on this machine, or None.
# ISTHMUS_BENCH_EMULATED=1 is for trying them where there is no GPU: isthmus under emulation, the others on the CPU.
GPU_NAMES: tuple[str, ...] = (
    "isthmus_cuda",
    "torch_eager_cuda",
    "torch_compile_cuda",
    "jax_scan_cuda",
)


class Contestant(Protocol):
    """Trains one case: Adam, mean loss over rows and features."""

    def __init__(self, case: Case, n_threads: int) -> None: ...

    @staticmethod
    def supports(case: Case) -> bool:
        """Whether the library can train this very case."""

    def losses(self, epochs: int, batches: int) -> list[float]:
        """Loss of each epoch from ``case.weights()``, over the first ``batches`` batches, rows in their order.

        The loss of an epoch is the mean over its rows, each taken before its step.
        """

    def restart(self, epochs: int) -> None:
        """Back to ``case.weights()`` and zero moments, ready to train that many epochs; not timed."""

    def train(self) -> None:
        """What is timed: the epochs of ``restart`` over ``case.data()``, shuffled."""

    @staticmethod
    def versions() -> dict[str, str]:
        """Library versions, instruction set and whatever else explains the time."""


class Reconstructor(Protocol):
    """Runs the network of ``case.weights()`` forward."""

    def __init__(self, case: Case, n_threads: int) -> None: ...

    @staticmethod
    def supports(case: Case) -> bool:
        """Whether the library can run this very network."""

    def reconstruct(self, x: F32) -> F32:
        """Output (n, d) of the rows ``x`` (n, d), both float32 in C order: what a service does for one request.

        The result is the caller's: a later call does not change it.
        """

    @staticmethod
    def versions() -> dict[str, str]:
        """As ``Contestant.versions``."""
