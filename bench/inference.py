# SPDX-License-Identifier: Apache-2.0
"""Reconstruction, NumPy array in and out: one row for latency, many for throughput. Verified before it is timed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from cases import Case
from processes import Process
from turns import do_nothing, take_turns

# Largest difference from the float64 forward pass; outputs of the cases are of size 1.
TOLERANCE = 1e-5
VERIFY_ROWS = 64


def verify(errors: dict[str, float], case: Case) -> None:
    """Ends the run when a contestant does not compute the reconstruction; a NaN is an error, too."""
    for name, error in errors.items():
        if not error <= TOLERANCE:
            raise SystemExit(f"case {case.name}: {name} reconstructs with an error of {error}; nothing was timed")


def flops_per_row(case: Case) -> int:
    return 2 * sum(a * b for a, b in pairwise(case.widths))


def run_inference(
    case: Case,
    rows: int,
    processes: list[Process],
    rounds: int,
    seconds: float,
    around: Callable[[], None] = do_nothing,
) -> dict[str, Any]:
    """Seconds a call with that many rows, of each contestant that can run this case, in each round."""
    able = [p for p in processes if p.ask("supports", case=case.name, kind="inference")]
    for process in able:
        process.ask("build_inference", case=case.name)
    errors = {p.name: float(p.ask("error", rows=max(rows, VERIFY_ROWS))) for p in able}
    verify(errors, case)

    plans: dict[str, int] = {}
    for process in able:  # also the warm-up
        repeats, trial = 10, process.ask("reconstruct", rows=rows, repeats=10)
        while trial < seconds / 10:
            repeats *= 4
            trial = process.ask("reconstruct", rows=rows, repeats=repeats)
        plans[process.name] = max(1, round(repeats * seconds / trial))

    def turn(process: Process) -> Callable[[], float]:
        repeats = plans[process.name]
        return lambda: float(process.ask("reconstruct", rows=rows, repeats=repeats)) / repeats

    return {
        "case": case.name,
        "network": case.describe(),
        "rows_per_call": rows,
        "flops_per_row": flops_per_row(case),
        "plans": plans,
        "errors": errors,
        "seconds_per_call": take_turns({p.name: turn(p) for p in able}, rounds, around),
    }
