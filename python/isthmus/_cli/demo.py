# SPDX-License-Identifier: Apache-2.0
"""The demo: handwritten digits through a narrow code, beside PCA with a code of the same size."""

from __future__ import annotations

import argparse
import io
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import Autoencoder, _principal
from isthmus._cli import tables
from isthmus._files import write_atomically

CODE_SIZE = 8
F32 = NDArray[np.float32]


def load_digits() -> tuple[F32, F32, NDArray[np.uint8]]:
    """Training rows (1437, 64), test rows (360, 64), both in [0, 1], and the test rows' digits; every fifth is one."""
    with (resources.files("isthmus") / "data" / "digits.npz").open("rb") as file, np.load(file) as arrays:
        X, y = arrays["X"].astype(np.float32) / np.float32(16), arrays["y"]
    test = np.arange(len(X)) % 5 == 0
    return X[~test], X[test], y[test]


def make_model() -> Autoencoder:
    return Autoencoder(
        (256, CODE_SIZE),
        loss="bce",
        learning_rate=2e-3,
        learning_rate_schedule="cosine",
        input_noise=0.1,
        batch_size=32,
        epochs=150,
        random_state=0,
        verbose=1,
    )


def draw(rows: list[tuple[str, NDArray[Any]]], path: Path) -> None:
    """One line of 8x8 images for each (label, images (n, 64))."""
    from matplotlib.figure import Figure

    columns = len(rows[0][1])
    figure = Figure(figsize=(0.8 * columns + 1.2, 0.8 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, (label, images) in zip(axes, rows, strict=True):
        line[0].set_ylabel(label, rotation=0, ha="right", va="center")
        for axis, image in zip(line, images, strict=True):
            axis.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
            axis.set_xticks([])
            axis.set_yticks([])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_atomically(path, buffer.getbuffer())


def run(arguments: argparse.Namespace) -> None:
    output = tables.check_output(arguments.output, suffixes=(".png",))
    X, X_test, y_test = load_digits()
    model = make_model()
    print(f"{len(X)} images of 8x8 pixels, a code of {CODE_SIZE} numbers:\n{model}")
    model.fit(X, validation_data=X_test)

    ours, pca = model.reconstruct(X_test), _principal.reconstruction(X, CODE_SIZE, X_test)
    error, pca_error = float(np.mean((ours - X_test) ** 2)), float(np.mean((pca - X_test) ** 2))
    print(f"mean squared error on {len(X_test)} images it has not seen:")
    print(f"    autoencoder {error:.5f}")
    print(f"    PCA         {pca_error:.5f}   ({pca_error / error:.2f} times as much)")
    try:
        shown = [int(np.flatnonzero(y_test == digit)[0]) for digit in range(10)]
        draw([("original", X_test[shown]), ("isthmus", ours[shown]), ("PCA", pca[shown])], output)
    except ImportError:
        print('no picture: matplotlib is not installed; python -m pip install "isthmus[demo]" brings it')
    else:
        print(f"wrote {output}: originals over reconstructions")
