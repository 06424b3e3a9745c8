# SPDX-License-Identifier: Apache-2.0
"""Images for the gallery: MNIST's IDX files from $ISTHMUS_DATA/mnist, or else scikit-learn's 1,797 digits of 8 x 8."""

import gzip
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits


def load(n: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8], int]:
    """At most n rows in [0, 1] to train on, others to look at, the labels of the latter, and an image's side."""
    folder = Path(os.environ.get("ISTHMUS_DATA", ".")) / "mnist"
    if not folder.is_dir():
        X, y = load_digits(return_X_y=True)
        X = (X / 16).astype(np.float32)
        return X[:1400], X[1400:], y[1400:].astype(np.uint8), 8
    train, test, labels = (
        np.frombuffer(gzip.decompress((folder / f"{name}.gz").read_bytes()), np.uint8, offset=offset)
        for name, offset in (("train-images-idx3-ubyte", 16), ("t10k-images-idx3-ubyte", 16),
                             ("t10k-labels-idx1-ubyte", 8))
    )
    rows = [(pixels.reshape(-1, 784)[:n] / np.float32(255)).astype(np.float32) for pixels in (train, test)]
    return rows[0], rows[1], labels[:n], 28
