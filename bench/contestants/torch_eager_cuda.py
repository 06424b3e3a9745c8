# SPDX-License-Identifier: Apache-2.0
"""PyTorch on the GPU as its tutorials write it: see torch_eager. Data and row numbers are there beforehand; the loss is
read once an epoch."""

from __future__ import annotations

from cases import Case

from contestants import _torch_gpu as gpu
from contestants import torch_eager

requires = ("torch",)
unavailable = gpu.unavailable


class Contestant(torch_eager.Contestant):
    device = gpu.DEVICE

    def __init__(self, case: Case, n_threads: int) -> None:
        gpu.set_precision(case)
        super().__init__(case, n_threads)

    def restart(self, epochs: int) -> None:
        super().restart(epochs)
        gpu.synchronize()

    @staticmethod
    def versions() -> dict[str, str]:
        return gpu.versions()


class Reconstructor(torch_eager.Reconstructor):
    device = gpu.DEVICE

    @staticmethod
    def versions() -> dict[str, str]:
        return gpu.versions()
