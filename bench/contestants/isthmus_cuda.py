# SPDX-License-Identifier: Apache-2.0
"""isthmus on the GPU, as a user calls it: ``fit`` and ``reconstruct`` of NumPy arrays.

The rivals' data lie on the GPU beforehand; this one's are copied there by each ``fit``, which is within the time.
"""

from __future__ import annotations

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

    @staticmethod
    def versions() -> dict[str, str]:
        return _versions()


class Reconstructor(isthmus_cpu.Reconstructor):
    device = "cuda"

    @staticmethod
    def versions() -> dict[str, str]:
        return _versions()
