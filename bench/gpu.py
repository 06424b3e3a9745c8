# SPDX-License-Identifier: Apache-2.0
"""Runs the GPU's contestants on every case, single kernels beside cuBLAS, and writes bench/results/<gpu>-gpu.json.

    python bench/gpu.py --program build/bench/isthmus_bench_gpu_kernels
    python bench/gpu.py --quick --parts training     five cases, torch.compile without the timing of products

As on the CPU (run.py): every contestant in a process of its own, in turns, and nothing is timed before it reaches the
losses of the NumPy reference. Unlike there, whoever fails is left out of that case, which says why: an hour of a GPU is
not lost to one rival. What the budget of seconds does not reach is named.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gpu_kernels
import machine
from cases import GPU_CASES, INFERENCE, Case, by_name
from contestants import GPU_NAMES
from inference import run_inference
from processes import Failed, Process, missing
from training import REFERENCE, described, first_losses, plan_turn, turn, verify
from turns import take_turns

HERE = Path(__file__).resolve().parent
OURS = "isthmus_cuda"
FIRST = ("a", "b", "c", "e", "d")
QUICK = (*FIRST, "d tf32", "d bfloat16")
CASES = (*FIRST, "d 4096", *(c.name for c in GPU_CASES if c.name not in (*FIRST, "d 4096")))
PARTS = ("kernels", "inference", "training")
PLANS = ("one_block", "two_kernels", "layers")
# Denormals cost a GPU nothing, and in many steps the copy of the data, which is in isthmus' time, is little.
MAX_STEPS = 50_000


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="default: 5; quick: 3")
    parser.add_argument("--seconds", type=float, help="of each turn, about; default: 0.5; quick: 0.2")
    parser.add_argument("--cases", nargs="+", choices=CASES, help=f"default: all; quick: {', '.join(QUICK)}")
    parser.add_argument("--contestants", nargs="+", choices=GPU_NAMES, default=list(GPU_NAMES))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--plan", choices=PLANS, help="of isthmus, for every case; default: its choice")
    parser.add_argument("--program", type=Path, help="isthmus_bench_gpu_kernels, which the part kernels needs")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--budget", type=float, default=float("inf"), metavar="S", help="begin nothing after S seconds")
    parser.add_argument("--emulated", action="store_true", help="without a GPU, to try it; ISTHMUS_CUDA_LIBRARY is set")
    parser.add_argument("--output", type=Path, help="default: bench/results/<gpu>-gpu.json")
    arguments = parser.parse_args()
    if OURS not in arguments.contestants:
        parser.error(f"{OURS} must be among the contestants")
    if "kernels" in arguments.parts and not (arguments.program and arguments.program.exists()):
        parser.error("the part kernels needs --program, which is built by CMake where CUDA is found")
    arguments.rounds = arguments.rounds or (3 if arguments.quick else 5)
    arguments.seconds = arguments.seconds or (0.2 if arguments.quick else 0.5)
    arguments.cases = arguments.cases or list(QUICK if arguments.quick else CASES)
    return arguments


class Bench:
    """A run: its settings, who takes part, and what was found so far."""

    def __init__(self, settings: argparse.Namespace, stack: contextlib.ExitStack) -> None:
        self.settings = settings
        self.stack = stack
        self.threads = len(os.sched_getaffinity(0))
        self.end: float = time.monotonic() + settings.budget
        self.processes: dict[str, Process] = {}
        self.left_out: dict[str, str] = {}
        versions: dict[str, dict[str, str]] = {}
        for name in (REFERENCE, *settings.contestants):
            if reason := self.enter(name):
                self.left_out[name] = reason
                print(f"{name} is left out: {reason}")
                if name in (REFERENCE, OURS):
                    raise SystemExit(f"without {name} there is nothing to measure")
            else:
                versions[name] = self.processes[name].ask("versions")
        self.result: dict[str, Any] = {
            "machine": machine.describe(),
            "gpu": machine.gpu(),
            "emulated": settings.emulated,
            "plan": settings.plan,
            "rounds": settings.rounds,
            "seconds_per_turn": settings.seconds,
            "versions": versions,
            "left_out": self.left_out,
            "out_of_time": [],
            "failed": {},
            "cases": [],
            "inference": [],
            "kernels": None,
        }

        self.output: Path = settings.output or HERE / "results" / f"{slug(self.result)}-gpu.json"
        self.output.parent.mkdir(parents=True, exist_ok=True)

    def write(self) -> None:
        """What was found so far: a run that is stopped has not lost all."""
        self.output.write_text(json.dumps(self.result, indent=1) + "\n")

    def left(self) -> float:
        return self.end - time.monotonic()

    def enter(self, name: str) -> str | None:
        """Starts the contestant; why it cannot take part, or None."""
        if reason := missing(name):
            return reason
        process = self.stack.enter_context(Process(name, self.threads))
        process.limit = 120  # some take long to import
        try:
            why: str | None = process.ask("unavailable")
        except Failed as failure:
            return str(failure)
        if why is None:
            self.processes[name] = process
        else:
            process.close()
        return why

    def among(self, names: list[str], work: Callable[[Process], Any], out: dict[str, str]) -> dict[str, Any]:
        """What ``work`` returns for each; a rival that fails goes to ``out``, and starts anew for the next case."""
        found: dict[str, Any] = {}
        for name in names:
            process = self.limited(name)
            try:
                found[name] = work(process)
            except SystemExit as failure:
                if name in (REFERENCE, OURS):
                    raise
                out[name] = last_line(failure)
                print(f"    {name} is left out: {out[name]}")
                process.close()
                del self.processes[name]
                if reason := self.enter(name):
                    self.left_out[name] = reason
        return found

    def limited(self, name: str) -> Process:
        """The contestant, who must answer within what is left of the budget, and ten minutes."""
        process = self.processes[name]
        process.limit = min(600.0, max(20.0, self.left()))
        return process

    def train(self, case: Case) -> dict[str, Any]:
        out: dict[str, str] = {}

        def checked(process: Process) -> list[float]:
            losses = first_losses(process, case)
            verify({REFERENCE: expected, process.name: losses}, case)
            return losses

        expected = self.among([REFERENCE], lambda process: first_losses(process, case), out)[REFERENCE]
        losses = self.among([n for n in self.processes if n != REFERENCE], checked, out)
        plans = self.among(list(losses), lambda p: plan_turn(p, case, self.settings.seconds, MAX_STEPS), out)
        turns = {name: turn(self.processes[name], case, plan) for name, plan in plans.items()}
        seconds = take_turns(turns, self.settings.rounds)
        steps = self.processes[OURS].ask("plan")
        print(f"    {OURS} trains by {steps}")
        return described(case) | {
            "steps": steps,
            "plans": plans,
            "losses": {REFERENCE: expected} | losses,
            "left_out": out,
            "seconds_per_step": seconds,
        }

    def reconstruct(self, case: Case, rows: int) -> dict[str, Any]:
        everyone = [self.limited(name) for name in self.processes if name != REFERENCE]
        return run_inference(case, rows, everyone, self.settings.rounds, self.settings.seconds)

    def attempt(self, part: str, name: str, key: str, work: Callable[[], dict[str, Any]]) -> None:
        """Keeps and prints the row of a case, or why there is none."""
        if self.left() <= 0:
            self.result["out_of_time"].append(f"{part} {name}")
            return
        print(f"{part} {name}", flush=True)
        try:
            row = work()
        except SystemExit as failure:
            self.result["failed"][f"{part} {name}"] = str(failure)
            print(f"    FAILED: {failure}", flush=True)
            for lost in [n for n, p in self.processes.items() if p.process.poll() is not None]:
                self.enter(lost)
            return
        self.result["cases" if part == "training" else part].append(row)
        self.write()
        for contestant, seconds in row[key].items():
            middle, low, high = (f(seconds) * 1e6 for f in (statistics.median, min, max))
            print(f"    {contestant:20} {middle:12.2f} us ({low:.2f} to {high:.2f})", flush=True)

    def operations(self) -> Sequence[gpu_kernels.Request]:
        if self.settings.emulated:
            return gpu_kernels.SMALL
        return gpu_kernels.operations(("b", "d"), (4096,)) if self.settings.quick else gpu_kernels.operations()

    def run(self) -> int:
        settings, result = self.settings, self.result
        # What an hour, or a minute, of a GPU is worth most for comes first.
        if "training" in settings.parts:
            for name in settings.cases:
                self.attempt("training", name, "seconds_per_step", partial(self.train, by_name(name)))
        if "inference" in settings.parts:
            for name, rows in INFERENCE:
                if name in settings.cases:
                    label = f"{name}, {rows} rows"
                    self.attempt("inference", label, "seconds_per_call", partial(self.reconstruct, by_name(name), rows))
        if "kernels" in settings.parts:
            try:
                result["kernels"] = gpu_kernels.measure(
                    settings.program, self.operations(), settings.rounds, settings.seconds / 10, self.left
                )
            except SystemExit as failure:
                result["failed"]["kernels"] = str(failure)
                print(f"kernels FAILED: {failure}")
        self.write()
        print(f"wrote {self.output}")
        if result["out_of_time"]:
            print(f"out of time: {', '.join(result['out_of_time'])}")
        return 1 if result["failed"] else 0


def last_line(failure: SystemExit) -> str:
    return str(failure).strip().splitlines()[-1]


def slug(result: dict[str, Any]) -> str:
    """Name of a results file without its end."""
    name = result["gpu"]["name"] if result["gpu"] else "emulated"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def main() -> None:
    settings = parse()
    if settings.plan:
        os.environ["ISTHMUS_CUDA_PLAN"] = settings.plan
    if settings.emulated:
        os.environ["ISTHMUS_BENCH_EMULATED"] = "1"
    if settings.quick:
        os.environ.setdefault("ISTHMUS_BENCH_TORCH_MODE", "default")
    with contextlib.ExitStack() as stack:
        raise SystemExit(Bench(settings, stack).run())


if __name__ == "__main__":
    main()
