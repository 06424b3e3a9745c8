# SPDX-License-Identifier: Apache-2.0
"""Autoencoders on dense layers: a C++ core that trains and runs them, and this thin face over it.

Importing the package imports NumPy and the core, nothing else; ``isthmus.kernels`` is loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from isthmus._autoencoder import Autoencoder
from isthmus._core import __version__
from isthmus._detector import AnomalyDetector
from isthmus._errors import DivergenceError, ModelFormatError, NotFittedError

if TYPE_CHECKING:
    from types import ModuleType

    from isthmus import kernels as kernels

__all__ = [
    "AnomalyDetector", "Autoencoder", "DivergenceError", "ModelFormatError", "NotFittedError", "__version__", "kernels",
]


def __getattr__(name: str) -> ModuleType:
    if name == "kernels":
        return import_module("isthmus.kernels")
    raise AttributeError(f"module 'isthmus' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
