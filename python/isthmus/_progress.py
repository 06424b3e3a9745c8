# SPDX-License-Identifier: Apache-2.0
"""What is told of a fit while it runs: what ``verbose`` shows on stderr, a tqdm bar or a plain line for each epoch, and
what goes to the logger ``isthmus``, which gets no handler from here.
"""

from __future__ import annotations

import sys
from typing import Any


class Lines:
    """One line an epoch."""

    def begin(self, how: str) -> None:
        pass

    def show(self, info: dict[str, Any]) -> None:
        print(line(info), file=sys.stderr, flush=True)

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


class Log:
    """How the steps are run and a line an epoch at DEBUG; at INFO one when the training ends, however it ends."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger
        self._last: dict[str, Any] | None = None

    def begin(self, how: str) -> None:
        self._logger.debug("%s", how)

    def show(self, info: dict[str, Any]) -> None:
        self._last = info
        self._logger.debug("%s", line(info))

    def close(self) -> None:
        if self._last is not None:
            done, planned = self._last["epoch"], self._last["n_epochs"]
            self._logger.info("trained for %d of %d epochs  %s", done, planned, describe(self._last))


def line(info: dict[str, Any]) -> str:
    """``epoch  3/10  loss 0.0123  0.02 s``"""
    width = len(str(info["n_epochs"]))
    return f"epoch {info['epoch']:{width}}/{info['n_epochs']}  {describe(info)}  {info['seconds']:.3g} s"


def describe(info: dict[str, Any]) -> str:
    """``loss 0.0123  val_loss 0.0140``"""
    text = f"loss {info['loss']:.6g}"
    return text if info["val_loss"] is None else f"{text}  val_loss {info['val_loss']:.6g}"


def displays(verbose: int) -> list[Lines | Bar | Log]:
    """For ``verbose`` 0: nothing. 1: a bar where tqdm is installed, lines otherwise. 2: lines, and how the steps are
    run. And the logger, where somebody listens."""
    shown: list[Lines | Bar | Log] = []
    if verbose == 1:
        try:
            from tqdm import tqdm
        except ImportError:
            shown.append(Lines())
        else:
            shown.append(Bar(tqdm))
    elif verbose > 1:
        shown.append(LinesAndPlan())
    logging = sys.modules.get("logging")  # who never imported it does not listen
    if logging is not None and logging.getLogger("isthmus").isEnabledFor(logging.INFO):
        shown.append(Log(logging.getLogger("isthmus")))
    return shown
