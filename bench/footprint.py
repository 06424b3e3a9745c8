# SPDX-License-Identifier: Apache-2.0
"""What a library costs before and beside its speed: peak memory of a training, and import time; in fresh processes.

Memory is read from outside, from /proc: what a process holds when its library is imported, and the most that it held
during one epoch. Making the data takes more than holding it, so the peak is reset between the two. The difference holds
the data, the parameters, and whatever else the library needs or loads to train.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cases import Case
from processes import Process
from training import parameter_bytes

# The contestant's; without it Keras looks for another one.
IMPORT_ENVIRONMENT = {"KERAS_BACKEND": "jax"}


def status_bytes(process: Process, field: str) -> int:
    """``VmRSS`` (held now) or ``VmHWM`` (the most since the last reset) of a contestant."""
    text = Path(f"/proc/{process.process.pid}/status").read_text()
    found = re.search(rf"^{field}:\s*(\d+) kB$", text, re.MULTILINE)
    if not found:
        raise SystemExit(f"/proc/{process.process.pid}/status has no {field}")
    return int(found[1]) * 1024


def reset_peak(process: Process) -> None:
    """The process's VmHWM starts again from what it holds now."""
    Path(f"/proc/{process.process.pid}/clear_refs").write_text("5")


def memory_of(name: str, case: Case, threads: int) -> dict[str, int] | None:
    """Bytes after the import and at the peak of one epoch, or None when it cannot train the case."""
    with Process(name, threads) as process:
        if not process.ask("supports", case=case.name, kind="train"):
            return None
        imported = status_bytes(process, "VmRSS")
        process.ask("build", case=case.name)
        reset_peak(process)
        process.ask("train", epochs=1, repeats=1)
        return {"imported": imported, "peak": process.ask("peak_memory")}


def run_memory(case: Case, names: list[str], threads: int) -> dict[str, Any]:
    found = {name: memory_of(name, case, threads) for name in names}
    return {
        "case": case.name,
        "data_bytes": 4 * case.rows * case.widths[0],
        "parameter_bytes": parameter_bytes(case),
        "contestants": {name: held for name, held in found.items() if held},
    }


def import_times(modules: list[str], rounds: int) -> dict[str, list[float]]:
    """Wall seconds of a fresh interpreter that imports a module, interleaved."""
    times: dict[str, list[float]] = {module: [] for module in modules}
    with tempfile.TemporaryDirectory() as folder:  # not the repository: its folders must not be found first
        for number in range(rounds + 1):
            for module, seconds in times.items():
                started = time.perf_counter()
                done = subprocess.run(
                    [sys.executable, "-c", f"import {module}"],
                    cwd=folder,
                    env=os.environ | IMPORT_ENVIRONMENT,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                if done.returncode != 0:
                    raise SystemExit(f"import {module} fails:\n{done.stderr}")
                if number > 0:  # the first fills the page cache
                    seconds.append(time.perf_counter() - started)
    return times


def print_memory(memory: dict[str, Any]) -> None:
    least = memory["data_bytes"] + memory["parameter_bytes"]
    print(f"memory of one epoch of {memory['case']}; data and parameters {least / 1e6:.1f} MB")
    for name, held in memory["contestants"].items():
        used = held["peak"] - held["imported"]
        print(
            f"    {name:14} {used / 1e6:8.1f} MB above the import  {used / least:.2f} x data and parameters", flush=True
        )


def print_imports(imports: dict[str, list[float]]) -> None:
    for module, seconds in imports.items():
        print(f"import {module:14} {statistics.median(seconds):.3f} s", flush=True)
