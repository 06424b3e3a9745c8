# SPDX-License-Identifier: Apache-2.0
"""Pictures of what is known already, drawn with matplotlib on one Axes each, which is returned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus import _principal
from isthmus._extras import need

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Float32 = NDArray[np.float32]

_SMALLEST_IMAGE = 8  # pixels a side from which on a square number of features is taken for an image
_MOST_CLASSES = 20  # labels that get a colour and a line of the legend each


def axes(ax: Any, purpose: str, size: tuple[float, float] | None = None) -> Any:
    """`ax` itself, or that of a new figure."""
    if ax is not None:
        return ax
    pyplot = need("matplotlib.pyplot", "plot", purpose)
    return pyplot.subplots(figsize=size, layout="constrained")[1]


def history(past: dict[str, list[float]], ax: Any) -> Any:
    if not past["loss"]:
        raise ValueError("there is no epoch to draw: the model was not trained by fit")
    ax = axes(ax, "plot_history")
    for name, label in (("loss", "training"), ("val_loss", "validation")):
        values = past[name]
        if values:  # validation may have come late, or gone
            first = len(past["loss"]) - len(values) + 1
            ax.plot(range(first, first + len(values)), values, label=label, marker="." if len(values) == 1 else None)
    if min([*past["loss"], *past["val_loss"]]) > 0:
        ax.set_yscale("log")
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss")
    ax.legend()
    return ax


# ---- rows and their reconstructions -----------------------------------------------------------------------------


def image_shape(shape: Sequence[int] | None, n_features: int) -> tuple[int, ...] | None:
    """The shape of an image, that which was asked for or a square; None: rows are curves."""
    if shape is None:
        side = math.isqrt(n_features)
        return (side, side) if side * side == n_features and side >= _SMALLEST_IMAGE else None
    sizes = tuple(index(size) for size in shape)
    if len(sizes) not in (2, 3) or (len(sizes) == 3 and sizes[2] not in (1, 3, 4)) or min(sizes) < 1:
        raise ValueError(f"shape must be (height, width) or (height, width, channels), 1, 3 or 4 of these; got {shape}")
    if math.prod(sizes) != n_features:
        raise ValueError(f"shape {sizes} has {math.prod(sizes)} values, but the model has {n_features} features")
    return sizes[:2] if sizes[2:] == (1,) else sizes


def reconstructions(rows: NDArray[Any], reconstructed: Float32, shape: tuple[int, ...] | None, ax: Any) -> Any:
    """Both (n, features): images one above the other, or curves in a row of their own each."""
    n = len(rows)
    if shape is None:
        return _curves(rows, reconstructed, axes(ax, "plot_reconstructions", (6.4, 0.8 + 0.6 * n)))
    height, width = shape[:2]
    ax = axes(ax, "plot_reconstructions", (0.6 + n * 0.9, 0.2 + 1.8 * height / width))
    gap = max(1, height // 14)
    canvas = np.full((2 * height + gap, n * (width + gap) - gap, *shape[2:]), np.nan, np.float32)
    for line, images in enumerate((rows, reconstructed)):
        for column, image in enumerate(images):
            top, left = line * (height + gap), column * (width + gap)
            canvas[top : top + height, left : left + width] = image.reshape(shape)
    if len(shape) == 3:  # matplotlib's colours lie in [0, 1]
        ax.imshow(np.nan_to_num(np.clip(canvas, 0.0, 1.0), nan=1.0), interpolation="nearest")
    else:
        ax.imshow(canvas, cmap="gray_r", vmin=rows.min(), vmax=rows.max(), interpolation="nearest")
    ax.set_yticks([height / 2, 1.5 * height + gap], ["original", "reconstruction"])
    ax.set_xticks([])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax


def _curves(rows: NDArray[Any], reconstructed: Float32, ax: Any) -> Any:
    values = rows.astype(np.float64)
    distance = 1.1 * float(max(np.ptp(values), np.ptp(reconstructed.astype(np.float64)))) or 1.0
    at = np.arange(values.shape[1])
    for row, (original, copy) in enumerate(zip(values, reconstructed, strict=True)):
        labels = ("original", "reconstruction") if row == 0 else (None, None)
        ax.plot(at, original - row * distance, color="C0", label=labels[0])
        ax.plot(at, copy - row * distance, color="C1", linestyle="--", label=labels[1])
    ax.set_yticks([values[row].mean() - row * distance for row in range(len(rows))], range(len(rows)))
    ax.set_xlabel("feature")
    ax.set_ylabel("row")
    ax.legend()
    return ax


# ---- codes --------------------------------------------------------------------------------------------------------


def code(codes: Float32, labels: ArrayLike | None, ax: Any) -> Any:
    """Codes (n, code): their values for one unit, points for two, their two principal components for more."""
    classes = None if labels is None else np.asarray(labels)
    if classes is not None and classes.dtype.kind == "O":
        classes = classes.astype(str)
    if classes is not None and classes.shape != (len(codes),):
        raise ValueError(f"labels must have shape ({len(codes)},), one a row of X; got {classes.shape}")
    ax = axes(ax, "plot_code")
    if codes.shape[1] == 1:
        _histogram(codes[:, 0], classes, ax)
        ax.set_xlabel("code 0")
        ax.set_ylabel("rows")
    elif codes.shape[1] == 2:
        _scatter(codes, classes, ax)
        ax.set_xlabel("code 0")
        ax.set_ylabel("code 1")
    else:
        points, shares = _principal.plane(codes.astype(np.float64))
        _scatter(points, classes, ax)
        for name, share, label in zip(("first", "second"), shares, (ax.set_xlabel, ax.set_ylabel), strict=True):
            label(f"{name} principal component of the code ({share:.0%})")
    if ax.get_legend_handles_labels()[0]:
        ax.legend()
    return ax


def _histogram(values: NDArray[Any], labels: NDArray[Any] | None, ax: Any) -> None:
    bins = np.histogram_bin_edges(values, bins=min(50, max(5, math.isqrt(len(values)))))
    if labels is None:
        ax.hist(values, bins=bins)
        return
    classes, which = np.unique(labels, return_inverse=True)
    if len(classes) > _MOST_CLASSES:
        raise ValueError(f"labels has {len(classes)} values; a code of one unit is drawn for at most {_MOST_CLASSES}")
    for i, name in enumerate(classes):
        ax.hist(values[which == i], bins=bins, alpha=0.6, label=str(name))


def _scatter(points: NDArray[Any], labels: NDArray[Any] | None, ax: Any) -> None:
    style: dict[str, Any] = {"s": 8, "alpha": 0.7, "linewidths": 0, "rasterized": len(points) > 10_000}
    if labels is None:
        ax.scatter(points[:, 0], points[:, 1], **style)
        return
    classes, which = np.unique(labels, return_inverse=True)
    if labels.dtype.kind in "biuf" and len(classes) > _MOST_CLASSES:
        drawn = ax.scatter(points[:, 0], points[:, 1], c=labels, **style)
        ax.figure.colorbar(drawn, ax=ax)
        return
    colours = need("matplotlib", "plot", "plot_code").colormaps["tab10" if len(classes) <= 10 else "turbo"]
    for i, name in enumerate(classes):
        colour = colours(i if len(classes) <= 10 else i / (len(classes) - 1))
        chosen = points[which == i]
        label = str(name) if len(classes) <= _MOST_CLASSES else None
        ax.scatter(chosen[:, 0], chosen[:, 1], color=[colour], label=label, **style)
