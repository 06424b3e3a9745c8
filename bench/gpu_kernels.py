# SPDX-License-Identifier: Apache-2.0
"""Single kernels on the GPU: the products of the cases beside cuBLAS, and what memory bounds beside a copy.

Times are the device's own, by events, of many calls on the same operands: those of a small product stay in the L2, for
both. Nothing is timed before both are within the precision's tolerance of double. See gpu_kernels.cpp.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from cases import by_name
from processes import HERE, Failed, Lines
from turns import take_turns

OURS, RIVAL = "isthmus", "cublas"
# Of float32, and of a product that says what it is computed in: forward.tf32. bf16x6 is float32 in three planes.
TOLERANCE = {"": 1e-5, "tf32": 2e-3, "bfloat16": 2e-2, "bf16x6": 1e-5}
PRODUCTS = ("forward", "input", "weight")
SQUARE = (512, 1024, 2048, 4096, 8192)
OF_CASES = ("a", "e", "b", "c", "d", "d 4096")
ON_TENSOR_CORES = ("d", "d 4096")  # whose layers are large enough to be worth it; and square matrices
ROWS, COLS = 32768, 2048  # 256 MB a matrix: no L2 keeps it
Request = tuple[str, tuple[int, ...]]


# For trying, where a product of some size takes minutes.
SMALL: tuple[Request, ...] = (
    *((name, (33, 20, 17)) for name in PRODUCTS),
    *((f"forward.{arithmetic}", (33, 20, 17)) for arithmetic in TOLERANCE if arithmetic),
    *((name, (1000,)) for name in ("copy", "update")),
    *((name, (9, 20)) for name in ("loss", "gather")),
)


def operations(cases: Sequence[str] = OF_CASES, square: Sequence[int] = SQUARE) -> list[Request]:
    """Name and sizes of what is timed: the products of the cases' layers and of square matrices, and all else."""

    def layers(names: Sequence[str]) -> dict[tuple[int, ...], None]:
        return dict.fromkeys((c.batch, *shape) for c in map(by_name, names) for shape in pairwise(c.widths))

    cubes = [(n, n, n) for n in square]
    wide = [*cubes, *layers([name for name in cases if name in ON_TENSOR_CORES])]
    large: list[Request] = [("copy", (ROWS * COLS,)), ("update", (ROWS * COLS,))]
    return [*large, *((name, (ROWS, COLS)) for name in ("loss", "gather")),
            *((p, s) for s in (*cubes, *layers(cases)) for p in PRODUCTS),
            *((f"{p}.{a}", s) for s in wide for a in TOLERANCE if a for p in PRODUCTS)]  # fmt: skip


def in_arithmetic(operation: str) -> tuple[str, str]:
    """``forward.tf32`` in two; the second is empty for float32."""
    name, _, arithmetic = operation.partition(".")
    return name, arithmetic


class Program(Lines):
    """A process that answers the requests of gpu_kernels.cpp."""

    def request(self, *words: object) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.exchange(" ".join(map(str, words))))
        return answer

    def prepare(self, operation: Request) -> dict[str, Any]:
        """Raises Failed when the result is not that of double; a NaN is none, either."""
        answer = self.request("prepare", operation[0], *operation[1])
        if not answer["error"] <= TOLERANCE[in_arithmetic(operation[0])[1]]:
            raise Failed(f"{self.name}: {operation} has an error of {answer['error']}; it was not timed")
        return answer

    def turn(self, seconds: float) -> Callable[[], float]:
        return lambda: float(self.request("time", seconds)["seconds"])


def measure(program: Path, wanted: Sequence[Request], rounds: int, seconds: float,
            left: Callable[[], float]) -> dict[str, Any]:  # fmt: skip
    """Seconds a call in each round; stops, and says what is missing, when no seconds are ``left``."""
    missing: list[str] = []
    rows: list[dict[str, Any]] = []
    cublas = [sys.executable, str(HERE / "cublas.py")]
    with Program(OURS, [str(program)], dict(os.environ)) as ours, Program(RIVAL, cublas, dict(os.environ)) as rival:
        ours.limit = rival.limit = 120
        device = ours.request("device")
        why_no_rival = ""
        try:
            device[RIVAL] = rival.request("device")
        except Failed as reason:
            why_no_rival = str(reason)
            print(f"{RIVAL} is left out: {reason}")
        for name, sizes in wanted:
            if left() <= 0:
                missing.append(f"{name} {sizes}")
                continue
            row = ours.prepare((name, sizes))
            turns = {OURS: ours.turn(seconds)}
            if in_arithmetic(name)[0] in PRODUCTS and not why_no_rival:
                rival.prepare((name, sizes))
                turns[RIVAL] = rival.turn(seconds)
            found = take_turns(turns, rounds, pause=0.0)
            rows.append({"operation": name, "sizes": list(sizes)} | row | {"seconds": found})
            print(line_of(rows[-1]), flush=True)
    return {"device": device, "left_out": {RIVAL: why_no_rival} if why_no_rival else {}, "missing": missing,
            "rows": rows}  # fmt: skip


def line_of(row: dict[str, Any]) -> str:
    medians = {name: statistics.median(seconds) for name, seconds in row["seconds"].items()}
    speed, unit = (row["flops"], "GFLOP/s") if row["flops"] else (row["bytes"], "GB/s")
    text = ", ".join(f"{name} {t * 1e6:.2f} us {speed / t / 1e9:.0f} {unit}" for name, t in medians.items())
    return f"{row['operation']:16} {'x'.join(map(str, row['sizes'])):16} {text}"
