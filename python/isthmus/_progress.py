# SPDX-License-Identifier: Apache-2.0
"""What ``verbose`` shows, on stderr: a tqdm bar, or a plain line for each epoch."""

from __future__ import annotations

import sys
from typing import Any


class Lines:
    """One line an epoch."""

    def begin(self, how: str) -> None:
        pass

    def show(self, info: dict[str, Any]) -> None:
        width = len(str(info["n_epochs"]))
        print(
            f"epoch {info['epoch']:{width}}/{info['n_epochs']}  {describe(info)}  {info['seconds']:.3g} s",
            file=sys.stderr,
            flush=True,
        )

    def close(self) -> None:
        pass


class LinesAndPlan(Lines):
    """Before them one that says on which device and how the steps are run."""

    def begin(self, how: str) -> None:
        print(how, file=sys.stderr, flush=True)


class Bar:
    """A tqdm bar over the epochs of one fit."""

    def __init__(self, tqdm: Any) -> None:
        self._tqdm = tqdm
        self._bar: Any = None

    def begin(self, how: str) -> None:
        pass

    def show(self, info: dict[str, Any]) -> None:
        if self._bar is None:  # epochs done before, with warm_start, are not part of this fit
            self._bar = self._tqdm(total=info["n_epochs"], initial=info["epoch"] - 1, unit="epoch", file=sys.stderr)
        self._bar.set_postfix_str(describe(info), refresh=False)
        self._bar.update()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def describe(info: dict[str, Any]) -> str:
    """``loss 0.0123  val_loss 0.0140``"""
    text = f"loss {info['loss']:.6g}"
    return text if info["val_loss"] is None else f"{text}  val_loss {info['val_loss']:.6g}"


def display(verbose: int) -> Lines | Bar | None:
    """0: nothing. 1: a bar where tqdm is installed, lines otherwise. 2: lines, and how the steps are run."""
    if verbose == 0:
        return None
    if verbose == 1:
        try:
            from tqdm import tqdm
        except ImportError:
            return Lines()
        return Bar(tqdm)
    return LinesAndPlan()
