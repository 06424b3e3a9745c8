# SPDX-License-Identifier: Apache-2.0
"""The short bench that `isthmus bench` runs on a user's own machine: a few cases, NumPy as the only rival.

It travels in the wheel with the files of the bench that it needs, and runs as a program of its own, so that the
contestants' processes load what they measure and nothing else. Prints one JSON object a line: the facts, then each row.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from typing import Any

import machine
from cases import by_name
from inference import run_inference
from processes import Process
from training import OURS, REFERENCE, run_case

TRAIN = ("a", "b", "e")
RECONSTRUCT = (("b", 1),)


def say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="of each turn, about")
    arguments = parser.parse_args()
    rounds, seconds = arguments.rounds, arguments.seconds
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(Process(name, arguments.threads)) for name in (REFERENCE, OURS)]
        versions = {p.name: p.ask("versions") for p in processes}
        say({"machine": machine.describe(), "threads": arguments.threads, "rounds": rounds, "versions": versions})
        for name in TRAIN:
            row = run_case(by_name(name), processes, rounds, seconds)
            say({"task": "train", "case": name, **row, "seconds": row["seconds_per_step"]})
        for name, rows in RECONSTRUCT:
            row = run_inference(by_name(name), rows, processes, rounds, seconds)
            say({"task": "reconstruct", **row, "seconds": row["seconds_per_call"]})


if __name__ == "__main__":
    main()
