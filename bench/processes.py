# SPDX-License-Identifier: Apache-2.0
"""A contestant's process, seen from the bench: requests go in and answers come out, one line each, mostly of JSON.

What a contestant needs is read from its source, not by importing it, so that the bench's own process loads no library
that is measured.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).resolve().parent
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


def thread_environment(threads: int) -> dict[str, str]:
    """The environment in which libraries that read it when they are loaded use that many threads."""
    return os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))


def requirements(name: str) -> tuple[str, ...]:
    """The modules that a contestant's file names in ``requires``."""
    source = HERE / "contestants" / f"{name}.py"
    for statement in ast.parse(source.read_text()).body:
        if isinstance(statement, ast.AnnAssign):
            targets: list[ast.expr] = [statement.target]
        else:
            targets = statement.targets if isinstance(statement, ast.Assign) else []
        if any(isinstance(t, ast.Name) and t.id == "requires" for t in targets):
            assert isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None
            return tuple(ast.literal_eval(statement.value))
    raise SystemExit(f"{source} must name the modules it needs in a tuple `requires`")


def missing(name: str) -> str | None:
    """Why a contestant cannot take part, or None."""
    absent = [module for module in requirements(name) if importlib.util.find_spec(module) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


class Failed(SystemExit):
    """A process did not answer. Ends the run, naming it, unless someone goes on without it."""


class Lines:
    """A process that answers each line with a line. One that takes longer than ``limit`` seconds for it is killed."""

    def __init__(self, name: str, command: Sequence[str], environment: dict[str, str]) -> None:
        self.name = name
        self.limit: float | None = None
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def exchange(self, line: str) -> str:
        """The answer. Raises Failed, naming the process, when there is none."""
        assert self.process.stdin is not None and self.process.stdout is not None
        overdue = threading.Event()

        def end() -> None:
            overdue.set()
            self.process.kill()

        timer = threading.Timer(self.limit, end) if self.limit is not None else None
        if timer:
            timer.start()
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            if timer:
                timer.cancel()
        if overdue.is_set():
            raise Failed(f"{self.name} took more than {self.limit:.0f} s at {line}")
        if not answer:
            raise Failed(f"{self.name} ended with exit status {self.process.wait()} at {line}")
        return answer

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already, with a request unread
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Process(Lines):
    """A contestant in a process of its own; ``ask`` sends a request and waits for its answer."""

    def __init__(self, name: str, threads: int) -> None:
        command = [sys.executable, str(HERE / "worker.py"), name, str(threads)]
        super().__init__(name, command, thread_environment(threads))

    def ask(self, do: str, **arguments: Any) -> Any:
        """Ends the run, naming the contestant, when it cannot answer."""
        reply = json.loads(self.exchange(json.dumps({"do": do, **arguments})))
        if "error" in reply:
            raise Failed(f"{self.name}, {do} {arguments}:\n{reply['error']}")
        return reply["answer"]
