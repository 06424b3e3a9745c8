# SPDX-License-Identifier: Apache-2.0
"""Autoencoders on dense layers: a C++ core that trains and runs them, and this thin face over it.

Importing the package imports NumPy and the core, nothing else; ``isthmus.kernels`` and ``isthmus.callbacks`` are loaded
when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from isthmus._autoencoder import Autoencoder
from isthmus._core import __version__
from isthmus._detector import AnomalyDetector
from isthmus._errors import DivergenceError, ModelFormatError, NotFittedError
from isthmus._variational import VariationalAutoencoder

if TYPE_CHECKING:
    from types import ModuleType

    from isthmus import callbacks as callbacks
    from isthmus import kernels as kernels

__all__ = [
    "AnomalyDetector", "Autoencoder", "DivergenceError", "ModelFormatError", "NotFittedError", "VariationalAutoencoder",
    "__version__", "callbacks", "kernels",
]


def __getattr__(name: str) -> ModuleType:
    if name in ("callbacks", "kernels"):
        return import_module(f"isthmus.{name}")
    raise AttributeError(f"module 'isthmus' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
