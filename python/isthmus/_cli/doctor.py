# SPDX-License-Identifier: Apache-2.0
"""What this installation found on this machine, and why: for bug reports and for "why is it slow"."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import isthmus
from isthmus import _core, _embedding

EXTRAS = ("matplotlib", "tqdm", "pandas", "scikit-learn")
IMPORT_ROUNDS = 5


def run(arguments: argparse.Namespace) -> None:
    facts = examine()
    if arguments.json:
        json.dump(facts, sys.stdout, indent=2)
        print()
        return
    for topic, found in facts.items():
        print(topic.replace("_", " "))
        for name, value in found.items():
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            print(f"    {name if name.isupper() else name.replace('_', ' '):20} {text}")


def examine() -> dict[str, dict[str, Any]]:
    """Topic -> fact -> value; all values fit into JSON."""
    return {
        "versions": {
            "isthmus": isthmus.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "system": platform.platform(),
            "compiler": _core.compiler,
            "model_file_format": _core.format_version,
            "numerics": _core.numerics_version,
        }
        | {name: _version(name) for name in EXTRAS},
        "instruction_set": {
            "in_use": _core.instruction_set(),
            "available": _core.instruction_sets(),
            "ISTHMUS_ISA": os.environ.get("ISTHMUS_ISA", "not set"),
            "bfloat16": _core.bfloat16_family(),
            "bfloat16_available": _core.bfloat16_families(),
            "ISTHMUS_BFLOAT16": os.environ.get("ISTHMUS_BFLOAT16", "not set"),
        },
        "threads": {
            "default": _core.default_threads(),
            "because": "the smallest of the following, at least 1",
            "affinity": len(os.sched_getaffinity(0)),
            "cgroup_quota": _cgroup_quota(),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "not set"),
        },
        "gpu": _gpu(),
        "import": {
            "seconds_after_numpy": round(_import_seconds(), 4),
            "location": str(Path(isthmus.__file__).parent),
        },
        "c_and_c++": {
            "library": _embedding.library() if Path(_embedding.library()).exists() else "none in this build",
            "cmake_package": _embedding.cmakedir(),
        },
    }


def _gpu() -> dict[str, Any]:
    """From the build to the card, so that the first line that says none says why there is none."""
    cuda = _core.cuda()
    built = f"CUDA {cuda['built_with']}" if cuda["built_with"] else "without CUDA"
    return {
        "built_with": built,
        "library": f"none: {cuda['library_error']}" if cuda["library_error"] else cuda["library"],
        "driver_needed": cuda["driver_needed"] or "none: there is no CUDA part",
        "driver": _driver(cuda),
        "devices": [
            f"cuda:{ordinal}: {gpu['name']}, compute capability {gpu['compute_capability']}, "
            f"{gpu['memory'] / 2**30:.1f} GiB"
            for ordinal, gpu in enumerate(cuda["gpus"])
        ]
        or "none",
        "auto_takes": cuda["auto"],
        "because": _because(cuda),
        "ISTHMUS_CUDA_LIBRARY": os.environ.get("ISTHMUS_CUDA_LIBRARY", "not set"),
        "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "not set"),
    }


def _because(cuda: dict[str, Any]) -> str:
    reason: str | None = cuda["auto_because"]
    if reason is None:
        return "it is the first GPU"
    return "there is no library, as above" if reason == cuda["library_error"] else reason


def _driver(cuda: dict[str, Any]) -> str:
    """Version of the kernel's module, and the newest CUDA that it runs."""
    if cuda["driver"] is None:
        return f"none: {cuda['driver_error']}"
    try:
        version = Path("/sys/module/nvidia/version").read_text().strip()
    except OSError:
        version = "of unknown version"  # the module is not there to be seen, as under WSL
    error = f"; {cuda['driver_error']}" if cuda["driver_error"] else ""
    return f"{version}, for CUDA {cuda['driver']} and older{error}"


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


def _cgroup_quota() -> str:
    """The quota as the kernel states it; the number of threads itself comes from the core."""
    path = Path("/sys/fs/cgroup/cpu.max")
    try:
        quota, period = path.read_text().split()
    except (OSError, ValueError):
        return "unknown"
    return "none" if quota == "max" else f"{int(quota) / int(period):g} cores"


def _import_seconds() -> float:
    """Median over fresh interpreters of the time that ``import isthmus`` adds to ``import numpy``."""
    code = "import time, numpy\nstarted = time.perf_counter()\nimport isthmus\nprint(time.perf_counter() - started)"
    command = [sys.executable, "-c", code]
    seconds = [
        float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(IMPORT_ROUNDS)
    ]
    return statistics.median(seconds)
