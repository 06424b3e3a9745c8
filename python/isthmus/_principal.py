# SPDX-License-Identifier: Apache-2.0
"""Principal components, for reports and pictures: by the singular value decomposition of centred rows in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float64 = NDArray[np.float64]

# A decomposition of so many takes about two seconds on two cores.
_MOST_ROWS, _MOST_ELEMENTS, _FEWEST_ROWS = 2048, 1 << 22, 256


def sample(n_rows: int, n_columns: int) -> NDArray[np.int64]:
    """Numbers of rows at equal distances, few enough for a decomposition; the same for the same shape."""
    most = min(_MOST_ROWS, max(_FEWEST_ROWS, _MOST_ELEMENTS // n_columns))
    return np.unique(np.linspace(0, n_rows - 1, min(most, n_rows)).astype(np.int64))


def reconstruction(x: NDArray[Any], width: int, rows: NDArray[Any] | None = None) -> Float64:
    """Rows (x itself when None) projected on the `width` leading components of x (n, d), and back. On x itself no
    linear code of that width has a smaller squared error (Eckart and Young, 1936)."""
    x = x.astype(np.float64)
    mean = x.mean(axis=0)
    components = np.linalg.svd(x - mean, full_matrices=False)[2][:width]
    result: Float64 = ((x if rows is None else rows) - mean) @ components.T @ components + mean
    return result


def plane(x: Float64) -> tuple[Float64, Float64]:
    """Rows x (n, d), d >= 2, in the coordinates of their two leading components, (n, 2), and the share of the variance
    that each takes. Each component points where its largest entry is positive, so that pictures do not flip."""
    centred = x - x.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)  # d is the width of a code, n may be large
    components = vectors[:, ::-1][:, :2]
    components = components * np.sign(components[np.abs(components).argmax(axis=0), [0, 1]])
    total = values.sum()
    return centred @ components, values[::-1][:2] / (total if total > 0 else 1.0)
