# SPDX-License-Identifier: Apache-2.0
"""PyTorch as its tutorials write it: ``nn.Sequential``, autograd, ``torch.optim.Adam`` with its defaults.

What it does not pay for: a DataLoader (batches are one indexing each), a copy to Python of each step's loss.
"""

from __future__ import annotations

from typing import Any

import torch
from cases import F32, Case

from contestants import _torch_network as network

requires = ("torch",)


class Contestant:
    device = "cpu"

    def __init__(self, case: Case, n_threads: int) -> None:
        torch.set_num_threads(n_threads)
        self.case = case
        self.data = torch.from_numpy(case.data()).to(self.device)
        self.loss = network.LOSSES[case.loss]
        self.restart(1)

    @staticmethod
    def supports(case: Case) -> bool:
        del case
        return True

    def restart(self, epochs: int) -> None:
        self.epochs = epochs
        self.model = network.sequential(self.case, logits=self.case.loss == "bce").to(self.device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=self.case.learning_rate)

    def losses(self, epochs: int, batches: int) -> list[float]:
        self.restart(epochs)
        order = torch.arange(batches * self.case.batch, device=self.device)
        return [float(self._epoch(order)) for _ in range(epochs)]

    def train(self) -> None:
        for _ in range(self.epochs):
            self._epoch(torch.randperm(self.case.rows, device=self.device)).item()

    def _epoch(self, order: Any) -> Any:
        total = torch.zeros((), device=self.device)
        for indices in order.split(self.case.batch):
            x = self.data[indices]
            with torch.autocast(self.device, torch.bfloat16, enabled=self.case.precision == "bfloat16"):
                loss = self.loss(self.model(x), x)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        return total * self.case.batch / len(order)

    @staticmethod
    def versions() -> dict[str, str]:
        return network.versions()


class Reconstructor:
    device = "cpu"

    def __init__(self, case: Case, n_threads: int) -> None:
        torch.set_num_threads(n_threads)
        self.model = network.sequential(case, logits=False).to(self.device).eval()

    @staticmethod
    def supports(case: Case) -> bool:
        del case
        return True

    def reconstruct(self, x: F32) -> F32:
        with torch.inference_mode():
            y: F32 = self.model(torch.from_numpy(x).to(self.device)).cpu().numpy()
        return y

    @staticmethod
    def versions() -> dict[str, str]:
        return network.versions()
