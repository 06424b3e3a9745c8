# SPDX-License-Identifier: Apache-2.0
"""Packages that are imported when something that needs them is asked for, and that an extra brings."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def need(module: str, extra: str, purpose: str) -> Any:
    """The module; ImportError that says what wants it and how to get it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the package is there; something that it needs is not
        top = module.partition(".")[0]
        raise ImportError(
            f'{purpose} needs the package {top}, which is not installed; python -m pip install "isthmus[{extra}]" '
            f"brings it",
            name=error.name,
        ) from error
