# SPDX-License-Identifier: Apache-2.0
"""Stages that run one after another, or some side by side, each with a limit of its own and within the time of them
all; what one finds does not stop the others, but those that need what it makes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import IO, Any

PASSED, FAILED, TIMED_OUT, NOT_RUN = "passed", "failed", "timed out", "not run"
# In a command: the seconds that its stage has, less what it may take to end by itself.
SECONDS = "{seconds}"
MARGIN = 30.0
# Stages that share a GPU at a time; most of what they do is on the host. One on machines of few cores.
SIDE_BY_SIDE = max(1, min(5, len(os.sched_getaffinity(0)) // 3))


@dataclass(frozen=True)
class Command:
    """Passes by exit status 0; one that must ``find`` something by another, and by saying what is a match of it."""

    words: Sequence[str]
    finds: str | None = None

    def complaint(self, status: int, output: str) -> str:
        """Why it has not passed, or ""."""
        if self.finds is None:
            return f"exit status {status}" if status != 0 else ""
        if status == 0:
            return "the planted bug was not found"
        return "" if re.search(self.finds, output) else f"exit status {status}, but not because of {self.finds!r}"


@dataclass(frozen=True)
class Stage:
    """``family`` is what --stages names; ``after`` are the names of stages that it needs, where they are run at all.
    Neighbours of the same ``beside`` run side by side, so that one that hangs costs the others nothing."""

    name: str
    commands: Sequence[Command]
    limit: float
    environment: Mapping[str, str] = field(default_factory=dict)
    after: Sequence[str] = ()
    missing: str = ""  # why it cannot run on this machine
    beside: str = ""

    @property
    def family(self) -> str:
        return self.name.split()[0]


@dataclass
class Result:
    stage: str
    result: str
    seconds: float = 0.0
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"passed": self.result == PASSED}


def run_command(command: Command, limit: float, environment: Mapping[str, str], folder: Path, log: IO[str]) -> str:
    """Why it has not passed, or "". Raises TimeoutExpired; whatever it has started ends with it. ``log`` appends."""
    words = [word.replace(SECONDS, f"{max(1.0, limit - MARGIN):.0f}") for word in command.words]
    log.write(f"$ {' '.join(words)}\n")
    log.flush()
    start = os.path.getsize(log.name)
    try:
        process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=folder,
                                   env=os.environ | environment, start_new_session=True)  # fmt: skip
    except OSError as error:
        return str(error)
    try:
        status = process.wait(limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    with open(log.name, errors="replace") as written:
        written.seek(start)
        output = written.read()
    return command.complaint(status, output)


def run_stage(stage: Stage, limit: float, folder: Path, log: IO[str]) -> Result:
    """All of its commands; the first that does not pass ends it."""
    started = time.monotonic()
    log.write(f"\n==== {stage.name}\n")
    why, result = "", PASSED
    try:
        for command in stage.commands:
            left = limit - (time.monotonic() - started)
            if why := run_command(command, left, stage.environment, folder, log):
                result, why = FAILED, f"{' '.join(map(short, command.words))}: {why}"
                break
    except subprocess.TimeoutExpired:
        result, why = TIMED_OUT, f"more than {limit:.0f} s"
    return Result(stage.name, result, round(time.monotonic() - started, 2), why)


def short(word: str) -> str:
    return Path(word).name if "/" in word else word


class Run:
    """Runs stages; their output comes into the log stage by stage, and lies in NAME.part beside it until then."""

    def __init__(self, seconds: float, folder: Path, log: IO[str], tell: Callable[[Result], None]) -> None:
        self.seconds = seconds
        self.end = time.monotonic() + seconds
        self.folder = folder
        self.log = log
        self.tell = tell
        self.lock = threading.Lock()
        self.results: dict[str, Result] = {}

    def why_not(self, stage: Stage, limit: float) -> str:
        lost = [name for name in stage.after if name in self.results and self.results[name].result != PASSED]
        if stage.missing or lost:
            return stage.missing or f"{', '.join(lost)} did not pass"
        return f"the {self.seconds:.0f} s are over" if limit <= 0 else ""

    def stage(self, stage: Stage) -> Result:
        limit = min(stage.limit, self.end - time.monotonic())
        if why := self.why_not(stage, limit):
            result, said = Result(stage.name, NOT_RUN, why=why), ""
        else:
            part = Path(self.log.name).with_name(f"{stage.name.replace(' ', '-')}.part")
            with open(part, "a") as own:
                result = run_stage(stage, limit, self.folder, own)
            said = part.read_text(errors="replace")
            part.unlink()
        with self.lock:
            self.log.write(said)
            self.log.flush()
            self.results[stage.name] = result
            self.tell(result)
        return result


def run_stages(stages: Sequence[Stage], seconds: float, folder: Path, log: IO[str],
               tell: Callable[[Result], None] = lambda result: None) -> list[Result]:  # fmt: skip
    """The result of each, in their order, of which ``tell`` hears at once; none goes on when the seconds are over."""
    run = Run(seconds, folder, log, tell)
    results: list[Result] = []
    for _, group in groupby(stages, lambda stage: stage.beside or id(stage)):
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            results += pool.map(run.stage, group)
    return results


def chosen(stages: Sequence[Stage], families: Sequence[str]) -> list[Stage]:
    """Those of the families, or all where none is named; SystemExit for a name that is none."""
    known = list(dict.fromkeys(stage.family for stage in stages))
    if unknown := [name for name in families if name not in known]:
        raise SystemExit(f"no stage {', '.join(unknown)}; there are {', '.join(known)}")
    return [stage for stage in stages if not families or stage.family in families]


def table(results: Sequence[Result]) -> str:
    width = max(len(r.stage) for r in results)
    lines = [f"{r.stage:{width}}  {r.result:9}  {r.seconds:7.1f} s  {r.why}".rstrip() for r in results]
    count = sum(r.result == PASSED for r in results)
    return "\n".join([*lines, f"{count} of {len(results)} passed"])
