# SPDX-License-Identifier: Apache-2.0
"""One file for each contestant; each holds a class ``Contestant`` that follows the protocol below.

A contestant is imported in a process of its own, after the number of threads is in the environment, so that its
libraries never share a process with another's.
"""

from __future__ import annotations

from typing import Protocol

from cases import Case

NAMES: tuple[str, ...] = ("numpy_loop", "isthmus_cpu")


class Contestant(Protocol):
    """Trains one case: Adam, mean loss over rows and features."""

    def __init__(self, case: Case, n_threads: int) -> None: ...

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
