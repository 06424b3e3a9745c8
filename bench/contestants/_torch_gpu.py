# SPDX-License-Identifier: Apache-2.0
"""Where the contestants named torch_*_cuda compute, and with what. Products are in float32: TF32 is off."""

from __future__ import annotations

import os

import torch

EMULATED = os.environ.get("ISTHMUS_BENCH_EMULATED") == "1"
DEVICE = "cpu" if EMULATED else "cuda"

torch.set_float32_matmul_precision("highest")


def unavailable() -> str | None:
    return None if EMULATED or torch.cuda.is_available() else "this PyTorch has no GPU"


def synchronize() -> None:
    if not EMULATED:
        torch.cuda.synchronize()


def versions() -> dict[str, str]:
    return {"torch": torch.__version__, "CUDA": str(torch.version.cuda)}
