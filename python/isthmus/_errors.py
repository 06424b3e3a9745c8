# SPDX-License-Identifier: Apache-2.0
"""Exceptions with a name of their own. The bindings raise the first two by importing them from here."""

from __future__ import annotations

import sys


class ModelFormatError(ValueError):
    """A model file, or its bytes, that isthmus did not write or that was changed since."""


class DivergenceError(ArithmeticError):
    """Training reached a loss or a weight that is not finite; the model holds its last finite weights."""


class NotFittedError(ValueError, AttributeError):
    """A model was used before ``fit``, ``partial_fit``, ``initialize`` or ``load``."""


for _public in (ModelFormatError, DivergenceError, NotFittedError):
    _public.__module__ = "isthmus"  # where people import them from, and what a pickle names


def not_fitted(model: object) -> NotFittedError:
    """The error for an unfitted model."""
    name = type(model).__name__
    return _not_fitted_error(
        f"This {name} instance is not fitted yet. Call fit, partial_fit, initialize or load before this method."
    )


def _not_fitted_error(message: str) -> NotFittedError:
    """A NotFittedError that, where scikit-learn is in use already, is scikit-learn's own one, too."""
    exceptions = sys.modules.get("sklearn.exceptions")
    if exceptions is None:
        return NotFittedError(message)
    bases = (NotFittedError, exceptions.NotFittedError)
    members = {"__module__": "isthmus", "__reduce__": lambda error: (_not_fitted_error, error.args)}
    error: NotFittedError = type("NotFittedError", bases, members)(message)
    return error
