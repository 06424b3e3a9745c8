# SPDX-License-Identifier: Apache-2.0
"""Where the contestants named torch_*_cuda compute, and with what. TF32 is off but in a case of that precision."""

from __future__ import annotations

import os

import torch
from cases import Case

EMULATED = os.environ.get("ISTHMUS_BENCH_EMULATED") == "1"
DEVICE = "cpu" if EMULATED else "cuda"

torch.set_float32_matmul_precision("highest")


def set_precision(case: Case) -> None:
    """bfloat16 is autocast, around the forward pass: see torch_eager and torch_compile."""
    torch.set_float32_matmul_precision("high" if case.precision == "tf32" else "highest")


def unavailable() -> str | None:
    return None if EMULATED or torch.cuda.is_available() else "this PyTorch has no GPU"


def synchronize() -> None:
    if not EMULATED:
        torch.cuda.synchronize()


def versions() -> dict[str, str]:
    return {"torch": torch.__version__, "CUDA": str(torch.version.cuda)}
