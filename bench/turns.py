# SPDX-License-Identifier: Apache-2.0
"""Timing in turns: a slow minute of the machine hits everyone, so that only ratios within a round are compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

# Threads that spin after their work go to sleep within it.
PAUSE = 0.05


def do_nothing() -> None:
    pass


def take_turns(
    turns: Mapping[str, Callable[[], float]],
    rounds: int,
    around: Callable[[], None] = do_nothing,
    pause: float = PAUSE,
) -> dict[str, list[float]]:
    """Each turn once a round, forwards and backwards alternately; what each returned, in the order of the rounds.

    ``around`` is called before every round and once after the last.
    """
    found: dict[str, list[float]] = {name: [] for name in turns}
    names = list(turns)
    for number in range(rounds):
        around()
        for name in names if number % 2 == 0 else reversed(names):
            found[name].append(turns[name]())
            time.sleep(pause)
    around()
    return found
