# SPDX-License-Identifier: Apache-2.0
"""One contestant in a process of its own: reads requests, one JSON object a line, and answers in kind.

Run by run.py, which sets the number of threads in the environment before this process loads any library.
"""

from __future__ import annotations

import importlib
import itertools
import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import reference
from cases import F32, Case, by_name
from contestants import Contestant, Reconstructor

# Calls take turns among so many requests: one row each of b is 0.8 MB, fresh from a client as they would be.
MOST_REQUESTS = 256


class Worker:
    """Holds the contestant's classes and at most one trainer and one reconstructor."""

    def __init__(self, name: str, n_threads: int) -> None:
        module = importlib.import_module(f"contestants.{name}")
        self.module = module
        self.n_threads = n_threads
        self.trainer_kind: Any = getattr(module, "Contestant", None)
        self.reconstructor_kind: Any = getattr(module, "Reconstructor", None)
        self.trainer: Contestant | None = None
        self.reconstructor: Reconstructor | None = None
        self.case: Case | None = None
        self.data: F32 | None = None
        self.requests: list[F32] = []

    def unavailable(self) -> str | None:
        """Why the contestant cannot run on this machine, as its file's function of that name says, where it has one."""
        why: Any = getattr(self.module, "unavailable", None)
        reason: str | None = why() if why else None
        return reason

    def versions(self) -> dict[str, str]:
        return dict((self.trainer_kind or self.reconstructor_kind).versions())

    def supports(self, case: str, kind: str) -> bool:
        kinds = {"train": self.trainer_kind, "inference": self.reconstructor_kind}
        return kinds[kind] is not None and bool(kinds[kind].supports(by_name(case)))

    def build(self, case: str) -> None:
        self._forget()
        self.trainer = self.trainer_kind(by_name(case), self.n_threads)

    def losses(self, epochs: int, batches: int) -> list[float]:
        assert self.trainer is not None
        return [float(loss) for loss in self.trainer.losses(epochs, batches)]

    def train(self, epochs: int, repeats: int) -> float:
        """Seconds of ``repeats`` trainings of ``epochs`` epochs each, every one from the first weights."""
        assert self.trainer is not None
        seconds = 0.0
        for _ in range(repeats):
            self.trainer.restart(epochs)
            started = time.perf_counter()
            self.trainer.train()
            seconds += time.perf_counter() - started
        return seconds

    def plan(self) -> str:
        """How the steps of the last training were run, where the contestant can say."""
        says: Any = getattr(self.trainer, "plan", None)
        return str(says()) if says else ""

    def build_inference(self, case: str) -> None:
        self._forget()
        self.case = by_name(case)
        self.data = self.case.data()
        self.reconstructor = self.reconstructor_kind(self.case, self.n_threads)

    def error(self, rows: int) -> float:
        """Largest absolute difference to the float64 output over the first ``rows`` rows; checks the kind of array."""
        assert self.reconstructor is not None and self.case is not None and self.data is not None
        x = self.data[:rows].copy()
        y = self.reconstructor.reconstruct(x)
        later = self.reconstructor.reconstruct(x[::-1].copy())
        if type(y) is not np.ndarray or y.dtype != np.float32 or y.shape != x.shape or not y.flags.c_contiguous:
            raise TypeError("reconstruct must return a float32 NumPy array in C order, of the shape of x")
        if np.shares_memory(y, later):
            raise ValueError("a call of reconstruct must not change what an earlier one returned")
        return float(np.abs(y - reference.reconstruct(self.case, x)).max())

    def reconstruct(self, rows: int, repeats: int) -> float:
        """Seconds of ``repeats`` calls with ``rows`` rows each."""
        assert self.reconstructor is not None and self.data is not None
        if not self.requests or len(self.requests[0]) != rows:
            count = min(MOST_REQUESTS, len(self.data) // rows)
            self.requests = [self.data[i * rows : (i + 1) * rows].copy() for i in range(count)]
        call = self.reconstructor.reconstruct
        turns = itertools.islice(itertools.cycle(self.requests), repeats)
        started = time.perf_counter()
        for x in turns:
            call(x)
        return time.perf_counter() - started

    @staticmethod
    def peak_memory() -> int:
        """Bytes of this process that were resident at once."""
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise OSError("/proc/self/status has no VmHWM")

    def _forget(self) -> None:
        """Lets the last case's data go before the next one's is made."""
        self.trainer = self.reconstructor = self.data = None
        self.requests = []


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints must not mix with the answers
    worker = Worker(sys.argv[1], int(sys.argv[2]))
    allowed = {
        "unavailable": worker.unavailable,
        "versions": worker.versions,
        "supports": worker.supports,
        "build": worker.build,
        "losses": worker.losses,
        "train": worker.train,
        "plan": worker.plan,
        "build_inference": worker.build_inference,
        "error": worker.error,
        "reconstruct": worker.reconstruct,
        "peak_memory": worker.peak_memory,
    }
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        try:
            do: Any = allowed[request.pop("do")]
            reply = {"answer": do(**request)}
        except Exception:
            reply = {"error": traceback.format_exc()}
        print(json.dumps(reply), file=answers, flush=True)


if __name__ == "__main__":
    main()
