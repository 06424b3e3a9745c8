# SPDX-License-Identifier: Apache-2.0
"""Runs every contestant on every case and writes bench/results/<machine>.json.

    python bench/run.py                 every case, every contestant that is installed
    python bench/run.py --quick         two minutes: four cases, short turns
    python bench/run.py --cases a "odd widths" --contestants numpy_loop isthmus_cpu torch_tuned

Each contestant lives in a process of its own and they take turns, so that a slow minute of the machine hits all of
them; a ratio is the median of the rounds' ratios. Before a case is timed, every contestant must reach the loss of
the first one, from equal weights and equal row order, to 1e-4 relative in each of three epochs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
from cases import CASES, INFERENCE, by_name
from contestants import NAMES
from footprint import import_times, print_imports, print_memory, run_memory
from inference import run_inference
from probes import Probes, compiler, measure_peak
from processes import Process, missing, requirements
from training import OURS, REFERENCE, run_case, run_scaling

HERE = Path(__file__).resolve().parent
QUICK_CASES = ("a", "b", "c", "e")
SCALING_CASES = ("a", "b", "c", "d", "e")
MEMORY_CASE = "b"
PARTS = ("training", "inference", "scaling", "memory", "imports", "probes")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="for every contestant")
    parser.add_argument("--rounds", type=int, help="default: 9; quick: 3")
    parser.add_argument("--seconds", type=float, help="of each turn, about; default: 0.5; quick: 0.1")
    parser.add_argument("--cases", nargs="+", choices=[c.name for c in CASES], help="default: all; quick: a b c e")
    parser.add_argument("--contestants", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="default: all; quick: without scaling and memory")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--output", type=Path, help="default: bench/results/<cpu>-<threads>-threads.json")
    arguments = parser.parse_args()
    for name in (REFERENCE, OURS):
        if name not in arguments.contestants:
            parser.error(f"{name} must be among the contestants")
    quick = arguments.quick
    arguments.rounds = arguments.rounds or (3 if quick else 9)
    arguments.seconds = arguments.seconds or (0.1 if quick else 0.5)
    arguments.cases = arguments.cases or (list(QUICK_CASES) if quick else [c.name for c in CASES])
    arguments.parts = arguments.parts or [p for p in PARTS if not (quick and p in ("scaling", "memory"))]
    return arguments


def present(names: list[str]) -> tuple[list[str], dict[str, str]]:
    """The contestants that can take part, the reference first, and why the others cannot."""
    reasons = {name: reason for name in names if (reason := missing(name))}
    for name in (REFERENCE, OURS):
        if name in reasons:
            raise SystemExit(f"{name} is {reasons[name]}")
    rest = [name for name in names if name != REFERENCE and name not in reasons]
    return [REFERENCE, *rest], reasons


class Bench:
    """A run: its settings, the processes that wait for their turns, and what was found so far."""

    def __init__(self, settings: argparse.Namespace, stack: contextlib.ExitStack) -> None:
        self.settings = settings
        self.names, left_out = present(settings.contestants)
        for name, reason in left_out.items():
            print(f"{name} is left out, {reason}")
        self.stack = stack
        self.processes = [stack.enter_context(Process(name, settings.threads)) for name in self.names]
        versions = {p.name: p.ask("versions") for p in self.processes}
        self.probes: Probes | None = None
        if "probes" in settings.parts:
            if cxx := compiler():
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                self.probes = Probes(cxx, versions[OURS]["instruction set"], folder)
            else:
                print("no C++ compiler was found: nothing is said of the machine's peak and of barriers")
        self.result: dict[str, Any] = {
            "machine": machine.describe(),
            "threads": settings.threads,
            "rounds": settings.rounds,
            "seconds_per_turn": settings.seconds,
            "versions": versions,
            "left_out": left_out,
            "peak": measure_peak(self.probes, settings.threads) if self.probes else None,
            "cases": [],
            "inference": [],
            "scaling": [],
            "memory": None,
            "import_seconds": None,
        }
        self.barriers: list[float] = []
        slug = machine.slug(self.result["machine"], settings.threads)
        self.output: Path = settings.output or HERE / "results" / f"{slug}.json"
        self.output.parent.mkdir(parents=True, exist_ok=True)

    def write(self) -> Path:
        """What was found so far, in a file beside the output: a run that fails late has not lost all."""
        path = self.output.with_suffix(".partial")
        path.write_text(json.dumps(self.result, indent=1) + "\n")
        return path

    def around(self) -> Callable[[], None]:
        """To be called around each round of a case: keeps the cost of a barrier then, in a list of the case's own."""
        self.barriers = seconds = []

        def probe() -> None:
            if self.probes:
                seconds.append(self.probes.barrier_seconds())

        return probe

    def note(self, part: str, key: str, row: dict[str, Any]) -> None:
        """Keeps and prints the row of a case."""
        self.result[part].append(row | {"barrier_seconds": self.barriers})
        self.write()
        barrier = f", barrier {statistics.median(self.barriers) * 1e9:.0f} ns" if self.barriers else ""
        print(f"{part}: {row.get('name') or row['case']} {row.get('network', '')}{barrier}")
        ours = row[key].get(OURS)
        for name, seconds in row[key].items():
            ratio = f"{statistics.median(a / b for a, b in zip(ours, seconds, strict=True)):.2f}" if ours else ""
            low, high = min(seconds) * 1e6, max(seconds) * 1e6
            about = f"({low:.2f} to {high:.2f})"
            print(
                f"    {name:14} {statistics.median(seconds) * 1e6:12.2f} us {about:26} isthmus / it {ratio}", flush=True
            )

    def run(self) -> None:
        settings, result = self.settings, self.result
        rounds, seconds = settings.rounds, settings.seconds
        if "training" in settings.parts:
            for name in settings.cases:
                row = run_case(by_name(name), self.processes, rounds, seconds, self.around())
                self.note("cases", "seconds_per_step", row)
        if "inference" in settings.parts:
            for name, rows in INFERENCE:
                if name in settings.cases:
                    row = run_inference(by_name(name), rows, self.processes, rounds, seconds, self.around())
                    self.note("inference", "seconds_per_call", row)
        for process in self.processes:  # their memory and their threads go
            process.close()
        if "scaling" in settings.parts:
            counts = sorted({1, settings.threads})
            by_threads = {n: self.stack.enter_context(Process(OURS, n)) for n in counts}
            for name in (n for n in SCALING_CASES if n in settings.cases):
                row = run_scaling(by_name(name), by_threads, rounds, seconds, self.around())
                self.note("scaling", "seconds_per_step", row)
        if "memory" in settings.parts and MEMORY_CASE in settings.cases:
            result["memory"] = run_memory(by_name(MEMORY_CASE), self.names, settings.threads)
            print_memory(result["memory"])
        if "imports" in settings.parts:
            modules = dict.fromkeys(requirements(name)[0] for name in self.names)
            result["import_seconds"] = import_times(list(modules), rounds)
            print_imports(result["import_seconds"])
        everything = [
            s for part in ("cases", "inference", "scaling") for r in result[part] for s in r["barrier_seconds"]
        ]
        result["barrier"] = (
            {"median": statistics.median(everything), "min": min(everything), "max": max(everything)}
            if everything
            else None
        )
        self.write().replace(self.output)
        print(f"wrote {self.output}")


def main() -> None:
    settings = parse()
    with contextlib.ExitStack() as stack:
        Bench(settings, stack).run()


if __name__ == "__main__":
    main()
