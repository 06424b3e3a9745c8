# SPDX-License-Identifier: Apache-2.0
"""One training run of an estimator: which core model it trains, what is told in between, and what stays afterwards.

The rule for what stays: the estimator takes the new core model over as soon as it is trained, that is, at the end of
the first epoch or when the training ends, is interrupted or diverges. Until then it keeps the one it had, so that a
call refused for its arguments changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus import _core
from isthmus._errors import DivergenceError
from isthmus._progress import displays

if TYPE_CHECKING:
    from isthmus._fitted import Fitted

    Callback = Callable[[Fitted, dict[str, Any]], object]


def as_callbacks(callbacks: Iterable[Any]) -> list[Callback]:
    """Plain callables; of an object with ``on_epoch_end``, that method. TypeError for anything else."""
    if not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks must be a sequence; got {type(callbacks).__name__}")
    result = []
    for i, callback in enumerate(callbacks):
        function = getattr(callback, "on_epoch_end", callback)
        if not callable(function):
            raise TypeError(f"callbacks[{i}] must be callable or have on_epoch_end; got {type(callback).__name__}")
        result.append(function)
    return result


@contextmanager
def alone(estimator: Fitted) -> Iterator[None]:
    """RuntimeError when the estimator is in here already: a callback, a signal handler or another thread."""
    mine = object()
    if vars(estimator).setdefault("_training", mine) is not mine:
        raise RuntimeError(
            f"this {type(estimator).__name__} is being trained; fit, partial_fit, initialize and set_weights must wait "
            f"until that ends"
        )
    try:
        yield
    finally:
        vars(estimator).pop("_training", None)


def continued(
    core: _core.Model, parameters: dict[str, Any], where: tuple[str, int], names: list[str]
) -> _core.Model:
    """The model itself where nothing changes, else a copy that does, so that what is refused later leaves no trace.

    Raises
    ------
    ValueError
        When a parameter of the network would change.
    """
    if core.serves(*where) and core.parameters == parameters and core.feature_names == names:
        return core
    copy = core.moved(*where)
    copy.configure(parameters)
    copy.feature_names = names
    return copy


def train(estimator: Fitted, core: _core.Model, run: Callable[[], None]) -> None:
    """Calls `run`, which trains `core`, and lets the estimator have `core` once it is trained."""
    try:
        run()
    except DivergenceError:
        estimator._model = core
        raise
    except BaseException:
        if core.interrupted:
            estimator._model = core
        raise
    estimator._model = core


@contextmanager
def watched(
    estimator: Fitted, core: _core.Model, callbacks: list[Callback], verbose: int
) -> Iterator[Callable[[dict[str, Any]], bool] | None]:
    """The function that the core calls after each epoch, or None when nobody wants to know."""
    shown = displays(verbose)
    if not shown and not callbacks:
        yield None
        return
    begun = False

    def on_epoch_end(info: dict[str, Any]) -> bool:
        nonlocal begun
        estimator._model = core
        for display in shown:
            if not begun:
                display.begin(f"{core.device}: {core.last_plan}")
            display.show(info)
        begun = True
        answers = [callback(estimator, dict(info)) for callback in callbacks]
        return any(isinstance(answer, (bool, np.bool_)) and bool(answer) for answer in answers)

    try:
        yield on_epoch_end
    finally:
        for display in shown:
            display.close()
