# SPDX-License-Identifier: Apache-2.0
"""One contestant in a process of its own: reads requests, one JSON object a line, and answers in kind.

Run by run.py, which sets the number of threads in the environment before this process loads any library.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import traceback
from typing import Any

from cases import by_name
from contestants import Contestant


def timed(contestant: Contestant, epochs: int, repeats: int) -> float:
    """Seconds of ``repeats`` trainings of ``epochs`` epochs each, every one from the first weights."""
    seconds = 0.0
    for _ in range(repeats):
        contestant.restart(epochs)
        started = time.perf_counter()
        contestant.train()
        seconds += time.perf_counter() - started
    return seconds


def main() -> None:
    name, n_threads = sys.argv[1], int(sys.argv[2])
    kind = importlib.import_module(f"contestants.{name}").Contestant
    contestant: Contestant | None = None
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints must not mix with the answers
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        answer: Any = None
        try:
            match request["do"]:
                case "versions":
                    answer = kind.versions()
                case "build":
                    contestant = None  # the old data goes first
                    contestant = kind(by_name(request["case"]), n_threads)
                case "losses":
                    assert contestant is not None
                    answer = contestant.losses(request["epochs"], request["batches"])
                case "train":
                    assert contestant is not None
                    answer = timed(contestant, request["epochs"], request["repeats"])
            reply = {"answer": answer}
        except Exception:
            reply = {"error": traceback.format_exc()}
        print(json.dumps(reply), file=answers, flush=True)


if __name__ == "__main__":
    main()
