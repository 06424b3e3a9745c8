# SPDX-License-Identifier: Apache-2.0
"""Generating: digits that nobody wrote, from a variational autoencoder.

While it trains the code is drawn from a distribution that is kept near N(0, 1), so that codes drawn from N(0, 1) decode
to new rows, which `sample` does. A `kl_weight` below 1 reconstructs better and generates worse. With a code of two
units, a grid of codes shows how one digit becomes another.
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
from _images import load
from isthmus import VariationalAutoencoder
from numpy.typing import NDArray

mpl.use("agg")

from matplotlib import pyplot as plt


def tiles(images: NDArray[np.float32], columns: int, side: int, path: Path) -> None:
    """Images side by side in rows of so many."""
    rows = images.reshape(-1, columns, side, side).transpose(0, 2, 1, 3).reshape(-1, columns * side)
    figure, axes = plt.subplots(figsize=(columns / 2, len(images) / columns / 2))
    axes.imshow(rows, cmap="gray_r", vmin=0, vmax=1)
    axes.axis("off")
    figure.tight_layout(pad=0)
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--rows", type=int, default=10000, help="images to train on, at most")
    parser.add_argument("--epochs", type=int, default=20)
    arguments = parser.parse_args()

    train, test, _, side = load(arguments.rows)

    def model(code: int) -> VariationalAutoencoder:
        return VariationalAutoencoder((256, code), loss="bce", batch_size=64, epochs=arguments.epochs, random_state=0)

    wide = model(16).fit(train)
    samples = wide.sample(60, random_state=1)
    tiles(samples, 15, side, arguments.folder / "1-samples.png")
    print(f"loss {wide.loss_:.4f} and divergence {wide.history_['kl'][-1]:.2f} in the last epoch")

    # How near is each sample to an image that is there? As near as another image of the same kind would be.
    noise = np.random.default_rng(0).permuted(test[:60], axis=1)
    for name, rows in ("samples", samples), ("test images", test[:60]), ("their pixels in disorder", noise):
        nearest = [((train - row) ** 2).mean(axis=1).min() for row in rows]
        print(f"{name}: {np.mean(nearest):.4f} away from the nearest training image")

    narrow = model(2).fit(train)
    across = np.linspace(-2, 2, 15, dtype=np.float32)
    grid = np.stack(np.meshgrid(across, across[::3]), axis=-1).reshape(-1, 2)
    tiles(narrow.decode(grid), 15, side, arguments.folder / "2-grid.png")


if __name__ == "__main__":
    main()
