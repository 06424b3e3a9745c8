# SPDX-License-Identifier: Apache-2.0
"""isthmus on the GPU, as a user calls it: ``fit`` of rows that are on the GPU beforehand, like the rivals', and
``reconstruct`` of NumPy arrays.
"""

from __future__ import annotations

from typing import Any

from cases import Case
from isthmus import _core

from contestants import isthmus_cpu

requires = ("isthmus",)


def unavailable() -> str | None:
    if _core.cuda()["auto"].startswith("cuda"):
        return None
    return f"no CUDA device of isthmus: {_core.cuda()['auto_because']}"


def _versions() -> dict[str, str]:
    found = {name: version for name, version in isthmus_cpu.Contestant.versions().items() if name != "instruction set"}
    return found | {"CUDA": str(_core.cuda()["built_with"])}


class Contestant(isthmus_cpu.Contestant):
    device = "cuda"

    def __init__(self, case: Case, n_threads: int) -> None:
        super().__init__(case, n_threads)
        self.rows: Any = _core.place(self.data, self.device)  # speaks DLPack

    def train(self) -> None:
        self.model.fit(self.rows)

    @staticmethod
    def versions() -> dict[str, str]:
        return _versions()


class Reconstructor(isthmus_cpu.Reconstructor):
    device = "cuda"

    @staticmethod
    def versions() -> dict[str, str]:
        return _versions()
