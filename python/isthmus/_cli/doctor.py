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
from isthmus import _core

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
        "gpu": {"cuda": "none: this build has no GPU part"},
        "import": {
            "seconds_after_numpy": round(_import_seconds(), 4),
            "location": str(Path(isthmus.__file__).parent),
        },
    }


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
