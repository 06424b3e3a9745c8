# SPDX-License-Identifier: Apache-2.0
"""MNIST compressed to 32 numbers an image.

A deep autoencoder, trained for a few epochs, beside principal components with as many numbers. What it is trained on
and what it is judged on are different images. A file that holds the model and the codes is all that is needed to have
the images back: `decode` makes them.
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
from _images import load
from isthmus import Autoencoder
from sklearn.decomposition import PCA

mpl.use("agg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the model and the pictures go")
    parser.add_argument("--rows", type=int, default=10000, help="images to train on, at most")
    parser.add_argument("--epochs", type=int, default=20)
    arguments = parser.parse_args()

    train, test, _, side = load(arguments.rows)
    model = Autoencoder((256, 32), loss="bce", batch_size=128, epochs=arguments.epochs,
                        learning_rate_schedule="cosine", random_state=0)
    model.fit(train, validation_data=test)
    path = arguments.folder / "model.safetensors"
    model.save(path)

    codes = model.encode(test)
    images = Autoencoder.load(path).decode(codes)
    pca = PCA(model.code_size_, random_state=0).fit(train)
    linear = pca.inverse_transform(pca.transform(test))
    print(f"{len(train):,} images to train on, {len(test):,} to look at, {train.shape[1]} pixels each")
    print(f"{test.nbytes / codes.nbytes:.1f} times smaller; the model itself has {path.stat().st_size:,} bytes")
    print(f"squared error {np.mean((images - test) ** 2):.5f}, of PCA {np.mean((linear - test) ** 2):.5f}")

    axes = model.plot_reconstructions(test, n=10, shape=(side, side))
    axes.figure.savefig(arguments.folder / "1-reconstructions.png", dpi=100)


if __name__ == "__main__":
    main()
