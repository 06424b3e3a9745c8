# SPDX-License-Identifier: Apache-2.0
"""How fast this installation is on this machine, beside the loop that one writes by hand in NumPy.

The measuring is done by the project's bench, of which the package carries the part that this needs: each side in a
process of its own, in turns, after both have reached the same losses. Here its results become a table.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import resources
from typing import Any

from isthmus import _core
from isthmus._device import thread_count

OURS, RIVAL = "isthmus_cpu", "numpy_loop"
# Four rows of seven rounds, two turns each: some twenty seconds.
ROUNDS = 7
SECONDS_A_TURN = 0.3
QUICK_ROUNDS, QUICK_SECONDS_A_TURN = 3, 0.02


def run(arguments: argparse.Namespace) -> None:
    threads = thread_count(arguments.n_threads) or _core.default_threads()
    lines = measure(threads, quick=arguments.quick)
    facts = next(lines)
    if arguments.json:
        json.dump(facts | {"rows": list(lines)}, sys.stdout, indent=2)
        print()
        return
    versions = facts["versions"]
    ours, numpy = versions[OURS], versions[RIVAL]
    print(f"{facts['machine']['cpu']}, {threads} thread{'s' if threads > 1 else ''} for each")
    print(f"isthmus {ours['isthmus']} ({ours['instruction set']}), NumPy {numpy['numpy']} ({numpy['blas']})")
    print(f"median of {facts['rounds']} rounds in turns; both sides compute the same, which was checked before\n")
    print(f"{'':60} {'isthmus':>9} {'NumPy':>9}  {'GFLOP/s':>8}  NumPy takes")
    for row in lines:
        print(format_row(row), flush=True)


def measure(threads: int, *, quick: bool) -> Iterator[dict[str, Any]]:
    """The facts of the machine, then each row as it is measured.

    Raises
    ------
    RuntimeError
        When a side computes something else, or the bench could not run.
    """
    rounds, seconds = (QUICK_ROUNDS, QUICK_SECONDS_A_TURN) if quick else (ROUNDS, SECONDS_A_TURN)
    with resources.as_file(resources.files("isthmus") / "_bench") as folder:
        command = [sys.executable, str(folder / "short.py"), "--threads", str(threads)]
        command += ["--rounds", str(rounds), "--seconds", str(seconds)]
        with (
            tempfile.TemporaryFile("w+") as errors,  # not a pipe: nobody reads while the rows come
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
        ):
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    yield json.loads(line)
            except BaseException:  # Ctrl-C, or nobody wants the other rows
                process.terminate()
                raise
            if process.wait() != 0:
                errors.seek(0)
                raise RuntimeError(errors.read().strip() or f"the bench ended with exit status {process.returncode}")


def format_row(row: dict[str, Any]) -> str:
    """Network, both medians, speed of isthmus, and the median of the rounds' ratios."""
    ours, rival = row["seconds"][OURS], row["seconds"][RIVAL]
    median = statistics.median(ours)
    if row["task"] == "train":
        what, unit, scale, flops = f"{row['case']}: {row['network']}", "ms/step", 1e3, row["flops_per_step"]
    else:
        what, unit, scale = f"{row['case']}: reconstruct one row", "us", 1e6
        flops = row["flops_per_row"] * row["rows_per_call"]
    times = " ".join(f"{statistics.median(seconds) * scale:9.4g}" for seconds in (ours, rival))
    ratio = statistics.median(b / a for a, b in zip(ours, rival, strict=True))
    return f"{what:52} {unit:>7} {times}  {flops / median / 1e9:8.1f}  {ratio:.2f} x as long"
