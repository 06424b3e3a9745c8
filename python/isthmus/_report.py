# SPDX-License-Identifier: Apache-2.0
"""What a fitted model makes of some rows, beside what principal components of the same number make of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus import _core, _principal
from isthmus._hourglass import hourglass

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float64 = NDArray[np.float64]

_LISTED = 5  # worst features and rows
_DEAD = 1e-6  # of the span of the liveliest unit


@dataclass(frozen=True)
class Report:
    """Answer of ``report``. `str` and notebooks show it; the fields are what it is made of.

    Attributes
    ----------
    name : str
        Class of the model.
    widths : tuple of int
        Of the layers, from the features by the code to the features.
    code_size, n_parameters : int
    device : str
    n_rows, n_sampled : int
        Rows given; and those at equal distances that everything but ``loss`` and ``worst_rows`` was computed from.
    loss_name : str
    loss : float
        Mean of the rows' errors, as ``reconstruction_error`` has them, over all rows.
    measure : str
        What the two errors are means of: the loss or, for ``bce``, which has no value for what PCA puts outside [0, 1],
        the squared error.
    error, pca_error : float
        Of the model, and of the reconstruction from as many principal components as the code has units; in scaled
        space. The components are those of these very rows: no linear code has a smaller squared error on them.
    dead_units : tuple of int
        Units of the code that are the same for all rows, to a millionth of what the liveliest one spans.
    worst_features : tuple of (str, float)
        Names, or numbers, of the features with the largest mean loss.
    worst_rows : tuple of (int, float)
        Numbers of the rows with the least ``score_samples``, and that.
    """

    name: str
    widths: tuple[int, ...]
    code_size: int
    n_parameters: int
    device: str
    n_rows: int
    n_sampled: int
    loss_name: str
    loss: float
    measure: str
    error: float
    pca_error: float
    dead_units: tuple[int, ...]
    worst_features: tuple[tuple[str, float], ...]
    worst_rows: tuple[tuple[int, float], ...]
    _code: int = field(repr=False)  # the code's place among the widths

    def _lines(self) -> list[tuple[str, str]]:
        rows = f"{self.n_rows:,}"
        if self.n_sampled < self.n_rows:
            rows += f"; all but loss and worst rows from {self.n_sampled:,} at equal distances"
        beside = "" if self.error == 0 else f" ({self.pca_error / self.error:.3g} times as much)"
        dead = f"{len(self.dead_units)} of {self.code_size}"
        if self.dead_units:
            dead += f": {_listed([str(unit) for unit in self.dead_units])}"
        return [
            ("network", "-".join(map(str, self.widths))),
            ("parameters", f"{self.n_parameters:,}"),
            ("device", self.device),
            ("rows", rows),
            (f"loss ({self.loss_name})", f"{self.loss:.6g}"),
            (f"error ({self.measure})", f"{self.error:.6g}"),
            (f"PCA, {self.code_size} components", f"{self.pca_error:.6g}{beside}"),
            ("dead code units", dead),
            ("worst features", _listed([f"{name} {value:.3g}" for name, value in self.worst_features])),
            ("worst rows", _listed([f"{row} {score:.3g}" for row, score in self.worst_rows])),
        ]

    def __str__(self) -> str:
        lines = self._lines()
        width = max(len(label) for label, _ in lines)
        return "\n".join([self.name, *(f"    {label:{width}}  {text}" for label, text in lines)])

    def _repr_html_(self) -> str:
        cell = 'style="text-align:left;padding:1px 12px 1px 0"'
        body = "".join(f"<tr><th scope='row' {cell}>{escape(label)}</th><td {cell}>{escape(text)}</td></tr>"
                       for label, text in self._lines())
        return (f'<div class="isthmus" style="font-family:sans-serif;font-size:13px"><div>{escape(self.name)}</div>'
                f"{hourglass(self.widths, self._code)}<table>{body}</table></div>")


def _listed(items: list[str], most: int = 20) -> str:
    return ", ".join(items[:most]) + (", ..." if len(items) > most else "")


@dataclass(frozen=True)
class Seen:
    """What the model says of the sampled rows x (m, features), readable by the core."""

    x: NDArray[Any]
    codes: NDArray[np.float32]  # (m, code)
    y: NDArray[np.float32]  # (m, features), in the units of x
    errors: Float64  # (m, features), the loss of each element


def compare(seen: Seen, loss: str, scaling: tuple[Float64, Float64] | None, width: int) -> tuple[str, float, float]:
    """Measure, the model's error and PCA's: means over all elements in scaled space."""
    shift, scale = (0.0, 1.0) if scaling is None else scaling
    x = (seen.x.astype(np.float64) - shift) / scale
    observed = ~np.isnan(x)
    linear = _principal.reconstruction(_with_means(x, observed), width)
    if loss == "bce":
        y = (seen.y.astype(np.float64) - shift) / scale
        return "mse", mean_of_numbers((y - x) ** 2), mean_of_numbers((linear - x) ** 2)
    # The core takes the loss of float32: of the residual, which keeps its digits, and zero.
    residual = np.where(observed, linear - x, 0.0).astype(np.float32)  # of 0 the loss is 0
    zero = np.zeros_like(residual)
    pca_error = _core.loss(loss, residual, zero, None, "cpu", "float32", None)
    assert pca_error is not None, "float32 rows are ready"
    return loss, mean_of_numbers(seen.errors), pca_error[0] * observed.size / max(1, observed.sum())


def mean_of_numbers(values: Float64) -> float:
    """Without the NaNs, which stand for what is missing; NaN where there is nothing else."""
    numbers = values[~np.isnan(values)]
    return float(numbers.mean()) if len(numbers) else float("nan")


def _with_means(x: Float64, observed: NDArray[np.bool_]) -> Float64:
    counts = np.maximum(observed.sum(axis=0), 1)
    return np.where(observed, x, np.where(observed, x, 0.0).sum(axis=0) / counts)


def dead_units(codes: NDArray[np.float32]) -> tuple[int, ...]:
    """Of codes (m, code), m >= 2, the columns that do not move."""
    span = np.ptp(codes.astype(np.float64), axis=0)
    return tuple(np.flatnonzero(span <= _DEAD * span.max()).tolist())


def worst_features(errors: Float64, names: Sequence[str]) -> tuple[tuple[str, float], ...]:
    means = np.array([mean_of_numbers(column) for column in errors.T])
    order = np.argsort(-means, kind="stable")[:_LISTED]
    return tuple((names[i] if names else str(i), float(means[i])) for i in order)


def worst_rows(scores: Float64) -> tuple[tuple[int, float], ...]:
    order = np.argsort(scores, kind="stable")[:_LISTED]
    return tuple((int(row), float(scores[row])) for row in order)
