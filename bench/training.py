# SPDX-License-Identifier: Apache-2.0
"""Training, verified and then timed; and how isthmus scales over threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cases import Case
from processes import Process
from turns import do_nothing, take_turns

REFERENCE, OURS = "numpy_loop", "isthmus_cpu"
VERIFY_EPOCHS, VERIFY_BATCHES = 3, 3
VERIFY_TOLERANCE = {"float32": 1e-4, "tf32": 2e-3, "bfloat16": 2e-2}
# A training of more steps than this would meet moments of dead units that have decayed to denormals (0.9^n).
MAX_STEPS = 800


def verify(losses: dict[str, list[float]], case: Case) -> None:
    """Ends the run when a contestant does not compute what the reference computes."""
    expected = losses[REFERENCE]
    for name, found in losses.items():
        agree = len(found) == len(expected) and all(
            abs(a - b) <= VERIFY_TOLERANCE[case.precision] * abs(b) for a, b in zip(found, expected, strict=True)
        )
        if not agree:
            raise SystemExit(
                f"case {case.name}: {name} has the losses {found}, {REFERENCE} {expected}; nothing was timed"
            )


def plan_turn(process: Process, case: Case, seconds: float, most_steps: int = MAX_STEPS) -> dict[str, int]:
    """Epochs a training and trainings a turn, for a turn of about that long; also the warm-up."""
    most = max(1, most_steps // case.steps_per_epoch)
    trial = process.ask("train", epochs=1, repeats=1)
    epochs = min(most, max(1, round(seconds / trial)))
    trial = process.ask("train", epochs=epochs, repeats=1)
    return {"epochs": epochs, "repeats": max(1, round(seconds / trial))}


def turn(process: Process, case: Case, plan: dict[str, int]) -> Callable[[], float]:
    """Seconds a step, each time it is called."""
    steps = plan["epochs"] * plan["repeats"] * case.steps_per_epoch
    return lambda: float(process.ask("train", **plan)) / steps


def run_case(
    case: Case, processes: list[Process], rounds: int, seconds: float, around: Callable[[], None] = do_nothing
) -> dict[str, Any]:
    """Seconds a step, in each round, of each contestant that can train this case, after all reached equal losses."""
    able = [p for p in processes if p.ask("supports", case=case.name, kind="train")]
    losses = {p.name: first_losses(p, case) for p in able}
    verify(losses, case)

    plans = {p.name: plan_turn(p, case, seconds) for p in able}
    times = take_turns({p.name: turn(p, case, plans[p.name]) for p in able}, rounds, around)
    return described(case) | {"plans": plans, "losses": losses, "seconds_per_step": times}


def first_losses(process: Process, case: Case) -> list[float]:
    """Builds the case there; its losses over a few epochs of a few batches."""
    process.ask("build", case=case.name)
    batches = min(VERIFY_BATCHES, case.steps_per_epoch)
    return list(process.ask("losses", epochs=VERIFY_EPOCHS, batches=batches))


def described(case: Case) -> dict[str, Any]:
    """What a result says of its case."""
    return {
        "name": case.name,
        "title": case.title,
        "network": case.describe(),
        "rows": case.rows,
        "flops_per_step": case.flops_per_step,
        "bytes_per_step": step_bytes(case),
    }


def step_bytes(case: Case) -> int:
    """What a step must read and write at least: its rows, and each parameter with both moments, read and written."""
    return 4 * case.batch * case.widths[0] + 6 * parameter_bytes(case)


def parameter_bytes(case: Case) -> int:
    return sum(weight.nbytes for weight in case.weights())


def run_scaling(
    case: Case, by_threads: dict[int, Process], rounds: int, seconds: float, around: Callable[[], None] = do_nothing
) -> dict[str, Any]:
    """isthmus on several numbers of threads, which must reach the same losses to the bit."""
    losses = {n: first_losses(p, case) for n, p in by_threads.items()}
    if any(found != losses[min(losses)] for found in losses.values()):
        raise SystemExit(f"case {case.name}: the losses depend on the number of threads: {losses}; nothing was timed")
    plans = {n: plan_turn(p, case, seconds) for n, p in by_threads.items()}
    turns = {str(n): turn(p, case, plans[n]) for n, p in by_threads.items()}
    return {"case": case.name, "seconds_per_step": take_turns(turns, rounds, around)}
