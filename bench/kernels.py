# SPDX-License-Identifier: Apache-2.0
"""Measures each operation of isthmus.kernels beside NumPy and writes bench/results/<machine>-kernels.json.

    python bench/kernels.py [--threads N] [--rounds N] [--match TEXT] [--output FILE]

Every result, NumPy's too, must be within 1e-5 (Frobenius, relative) of float64 before anything is timed. A call is what
a user writes, so it holds Python's microseconds. % of peak is that of the float32 peak for the products and, for all
else, of a triad over as many bytes, which are then in the same level of the caches.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
from processes import thread_environment
from turns import take_turns

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-5


def relative_error(found: Any, expected: Any) -> float:
    import numpy as np

    norm = float(np.linalg.norm(expected))
    return float(np.linalg.norm(np.asarray(found, np.float64) - expected)) / (norm or 1.0)


def verify(name: str, outputs: tuple[Any, ...], expected: tuple[Any, ...]) -> None:
    """Ends the run when a result is not that of float64; a NaN is none, either."""
    for number, (found, wanted) in enumerate(zip(outputs, expected, strict=True)):
        error = relative_error(found, wanted)
        if not error <= TOLERANCE:
            raise SystemExit(f"{name}: result {number} has a relative error of {error}; nothing was timed")


def turn(call: Callable[[], object], seconds: float) -> Callable[[], float]:
    """Seconds of one call, over as many as take about that long; also the warm-up."""
    repeats, elapsed = 1, 0.0
    while elapsed < seconds / 4:
        repeats *= 2
        started = time.perf_counter()
        for _ in range(repeats):
            call()
        elapsed = time.perf_counter() - started
    repeats = max(1, round(repeats * seconds / elapsed))

    def timed() -> float:
        call()  # wakes the threads
        started = time.perf_counter()
        for _ in range(repeats):
            call()
        return (time.perf_counter() - started) / repeats

    return timed


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    # Only here: NumPy reads the number of threads when it is loaded.
    import isthmus
    import numpy as np
    from isthmus import _core
    from operations import operations
    from probes import Probes, compiler

    about, threads = machine.describe(), arguments.threads
    cxx = compiler()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        probes = Probes(cxx, _core.instruction_set(), Path(folder)) if cxx else None
        peak = probes.fma_flops(threads) if probes else None
        for operation in operations(threads):
            name = f"{operation.name} {operation.shape}"
            if arguments.match not in name:
                continue
            expected = operation.expected()
            verify(f"isthmus, {name}", operation.ours(), expected)
            turns = {"isthmus": turn(operation.ours, arguments.seconds)}
            if operation.rival:
                verify(f"NumPy, {name}", operation.rival(), expected)
                turns["numpy"] = turn(operation.rival, arguments.seconds)
            triad = probes.triad_bytes(threads, operation.bytes) if probes and not operation.flops else None
            # Both live in this process, and the threads of either may spin for a while after a call: the pause lets
            # them go to sleep before the other's turn.
            seconds = take_turns(turns, arguments.rounds, pause=0.1)
            rows.append(
                {
                    "operation": operation.name,
                    "shape": operation.shape,
                    "flops": operation.flops,
                    "bytes": operation.bytes,
                    "triad_bytes": triad,
                    "seconds": seconds,
                }
            )
            medians = {k: statistics.median(v) for k, v in seconds.items()}
            rival = f"NumPy {medians['numpy'] * 1e6:10.2f} us" if "numpy" in medians else ""
            print(f"{name:50} {medians['isthmus'] * 1e6:10.2f} us  {rival}", flush=True)
    return {
        "machine": about,
        "threads": threads,
        "rounds": arguments.rounds,
        "versions": {"isthmus": isthmus.__version__, "numpy": np.__version__, "compiler": _core.compiler},
        "instruction_set": _core.instruction_set(),
        "fma_flops": peak,
        "kernels": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="for both")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.02, help="of each turn, about")
    parser.add_argument("--match", default="", metavar="TEXT", help="only operations with it in their name or shape")
    parser.add_argument("--output", type=Path, help="default: bench/results/<cpu>-<threads>-threads-kernels.json")
    arguments = parser.parse_args()
    wanted = thread_environment(arguments.threads)
    if wanted != dict(os.environ):  # once more, in the environment that NumPy's BLAS must find
        os.execve(sys.executable, [sys.executable, *sys.argv], wanted)
    result = measure(arguments)
    slug = machine.slug(result["machine"], arguments.threads)
    output: Path = arguments.output or HERE / "results" / f"{slug}-kernels.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {output}")


if __name__ == "__main__":
    main()
