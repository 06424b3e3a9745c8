# SPDX-License-Identifier: Apache-2.0
"""Imputing: images with holes, filled in by an autoencoder that never saw one without.

With `missing="mask"` a NaN enters as the mean of its column and the loss does not look at it. `input_noise` of the kind
"mask" hides some more while training: a network that had to guess what is there guesses what is not.
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
from _images import load
from isthmus import Autoencoder
from numpy.typing import NDArray

mpl.use("agg")

from matplotlib import pyplot as plt


def with_holes(X: NDArray[np.float32], side: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A square of a third of the side is missing at random in each image, and one pixel of ten anywhere."""
    images = X.reshape(-1, side, side).copy()
    images[rng.random(images.shape) < 0.1] = np.nan
    size = side // 3
    for image, (row, column) in zip(images, rng.integers(0, side - size, (len(images), 2)), strict=True):
        image[row : row + size, column : column + size] = np.nan
    return images.reshape(X.shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the picture goes")
    parser.add_argument("--rows", type=int, default=10000, help="images to train on, at most")
    parser.add_argument("--epochs", type=int, default=20)
    arguments = parser.parse_args()

    train, test, _, side = load(arguments.rows)
    rng = np.random.default_rng(0)
    holed_train, holed_test = with_holes(train, side, rng), with_holes(test, side, rng)

    model = Autoencoder(
        (256, 64),
        missing="mask",
        input_noise=0.2,
        input_noise_kind="mask",
        loss="bce",
        batch_size=64,
        epochs=arguments.epochs,
        random_state=0,
    )
    model.fit(holed_train)
    filled = model.impute(holed_test)

    hidden = np.isnan(holed_test)
    means = np.broadcast_to(np.nanmean(holed_train, axis=0), test.shape)
    for name, guess in ("imputed", filled), ("column means", means):
        error = np.sqrt(np.mean((guess[hidden] - test[hidden]) ** 2))
        print(f"{name}: root mean square error {error:.3f} over the {hidden.sum():,} values that are missing")

    figure, axes = plt.subplots(3, 10, figsize=(10, 3))
    for line, images in zip(axes, (holed_test, filled, test), strict=True):
        for ax, image in zip(line, images, strict=False):
            ax.imshow(np.nan_to_num(image, nan=0.5).reshape(side, side), cmap="gray_r", vmin=0, vmax=1)
            ax.axis("off")
    figure.tight_layout(pad=0.2)
    figure.savefig(arguments.folder / "1-imputed.png", dpi=100)


if __name__ == "__main__":
    main()
