# SPDX-License-Identifier: Apache-2.0
"""Runs every contestant on every case and writes bench/results/<machine>.json.

    python bench/run.py [--threads N] [--rounds N] [--cases a b ...] [--output FILE]

Each contestant lives in a process of its own and they take turns, so that a slow minute of the machine hits all of
them; a ratio is the median of the rounds' ratios. Before a case is timed, every contestant must reach the loss of
the first one, from equal weights and equal row order, to 1e-4 relative in each of three epochs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cases import CASES, Case, by_name
from contestants import NAMES

HERE = Path(__file__).resolve().parent
RIVAL = "numpy_loop"
VERIFY_EPOCHS, VERIFY_BATCHES, VERIFY_TOLERANCE = 3, 3, 1e-4
# A training of more steps than this would meet moments of dead units that have decayed to denormals (0.9^n).
MAX_STEPS = 800
IMPORT_ROUNDS = 15


class Process:
    """A contestant's process; ``ask`` sends a request and waits for its answer."""

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        count = str(threads)
        variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), name, count],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | dict.fromkeys(variables, count),
        )

    def ask(self, do: str, **arguments: Any) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with exit status {self.process.wait()}")
        reply = json.loads(line)
        if "error" in reply:
            raise SystemExit(f"{self.name}, {do} {arguments}:\n{reply['error']}")
        return reply["answer"]

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def verify(losses: dict[str, list[float]], case: Case) -> None:
    """Ends the run when a contestant does not compute what the others compute."""
    expected = losses[RIVAL]
    for name, found in losses.items():
        agree = len(found) == len(expected) and all(
            abs(a - b) <= VERIFY_TOLERANCE * abs(b) for a, b in zip(found, expected, strict=True)
        )
        if not agree:
            raise SystemExit(f"case {case.name}: {name} has the losses {found}, {RIVAL} {expected}; nothing was timed")


def run_case(case: Case, processes: list[Process], rounds: int, seconds: float) -> dict[str, Any]:
    """Verifies, then times: seconds a step of each contestant in each round."""
    for process in processes:
        process.ask("build", case=case.name)
    batches = min(VERIFY_BATCHES, case.steps_per_epoch)
    losses = {p.name: p.ask("losses", epochs=VERIFY_EPOCHS, batches=batches) for p in processes}
    verify(losses, case)

    most = max(1, MAX_STEPS // case.steps_per_epoch)
    plans: dict[str, dict[str, int]] = {}
    for process in processes:  # also the warm-up
        trial = process.ask("train", epochs=1, repeats=1)
        epochs = min(most, max(3, round(seconds / trial)))
        trial = process.ask("train", epochs=epochs, repeats=1)
        plans[process.name] = {"epochs": epochs, "repeats": max(1, round(seconds / trial))}

    times: dict[str, list[float]] = {p.name: [] for p in processes}
    for number in range(rounds):
        for process in processes if number % 2 == 0 else reversed(processes):
            plan = plans[process.name]
            elapsed = process.ask("train", **plan)
            times[process.name].append(elapsed / (plan["epochs"] * plan["repeats"] * case.steps_per_epoch))
            time.sleep(0.05)  # threads that spin after their work go to sleep
    return {
        "name": case.name,
        "title": case.title,
        "network": case.describe(),
        "rows": case.rows,
        "flops_per_step": case.flops_per_step,
        "plans": plans,
        "losses": losses,
        "seconds_per_step": times,
    }


def import_times() -> dict[str, list[float]]:
    """Wall seconds of a fresh interpreter that imports NumPy, and one that imports isthmus; interleaved."""
    times: dict[str, list[float]] = {"numpy": [], "isthmus": []}
    with tempfile.TemporaryDirectory() as folder:  # not the repository: its folders must not be found first
        for number in range(IMPORT_ROUNDS + 1):
            for module, seconds in times.items():
                started = time.perf_counter()
                subprocess.run([sys.executable, "-c", f"import {module}"], check=True, cwd=folder)
                if number > 0:  # the first fills the page cache
                    seconds.append(time.perf_counter() - started)
    return times


def machine() -> dict[str, Any]:
    """CPU, cores this process may use, system and Python."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists() and (found := re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)):
        cpu = found[1].strip()
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="for every contestant")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each turn, about")
    parser.add_argument("--cases", nargs="+", choices=[c.name for c in CASES], default=[c.name for c in CASES])
    parser.add_argument("--contestants", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--no-import-times", action="store_true")
    parser.add_argument("--output", type=Path, help="default: bench/results/<cpu>-<threads>-threads.json")
    arguments = parser.parse_args()
    if RIVAL not in arguments.contestants:
        parser.error(f"{RIVAL} must be among the contestants: the others are verified against it")

    about = machine()
    slug = re.sub(r"[^a-z0-9]+", "-", f"{about['cpu']} {arguments.threads} threads".lower()).strip("-")
    output = arguments.output or HERE / "results" / f"{slug}.json"

    names = [RIVAL, *(name for name in arguments.contestants if name != RIVAL)]
    processes = [Process(name, arguments.threads) for name in names]
    try:
        result: dict[str, Any] = {
            "machine": about,
            "threads": arguments.threads,
            "rounds": arguments.rounds,
            "versions": {p.name: p.ask("versions") for p in processes},
            "cases": [],
        }
        for name in arguments.cases:
            case = by_name(name)
            row = run_case(case, processes, arguments.rounds, arguments.seconds)
            result["cases"].append(row)
            rival = row["seconds_per_step"][RIVAL]
            print(f"{case.name:12} {case.describe()}", flush=True)
            for contestant, seconds in row["seconds_per_step"].items():
                median = statistics.median(seconds)
                ratio = statistics.median(a / b for a, b in zip(seconds, rival, strict=True))
                print(
                    f"    {contestant:12} {median * 1e3:9.4f} ms/step  ({min(seconds) * 1e3:.4f} to "
                    f"{max(seconds) * 1e3:.4f})  {case.flops_per_step / median / 1e9:7.1f} GFLOP/s  "
                    f"{ratio:.2f} x {RIVAL}",
                    flush=True,
                )
    finally:
        for process in processes:
            process.close()

    if not arguments.no_import_times:
        result["import_seconds"] = import_times()
        for module, seconds in result["import_seconds"].items():
            print(f"import {module:8} {statistics.median(seconds):.3f} s")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {output}")


if __name__ == "__main__":
    main()
