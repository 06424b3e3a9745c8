# SPDX-License-Identifier: Apache-2.0
"""Denoising: noise goes in, the image comes out.

With `input_noise` the network sees each training image with fresh noise in every epoch and is asked for the clean one.
It is then given test images that were corrupted in the same way, which no one showed it clean.
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
from _images import load
from isthmus import Autoencoder

mpl.use("agg")

from matplotlib import pyplot as plt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the picture goes")
    parser.add_argument("--rows", type=int, default=10000, help="images to train on, at most")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--noise", type=float, default=0.4, help="standard deviation")
    arguments = parser.parse_args()

    train, test, _, side = load(arguments.rows)
    model = Autoencoder((256, 64), loss="bce", input_noise=arguments.noise, batch_size=128, epochs=arguments.epochs,
                        learning_rate_schedule="cosine", random_state=0)
    model.fit(train)

    noise = np.random.default_rng(0).standard_normal(test.shape, dtype=np.float32)
    noisy = test + np.float32(arguments.noise) * noise
    cleaned = model.decode(model.encode(noisy))
    print(f"squared error: noisy {np.mean((noisy - test) ** 2):.4f}, cleaned {np.mean((cleaned - test) ** 2):.4f}")

    n = 10
    figure, axes = plt.subplots(3, n, figsize=(n, 3))
    for row, images in zip(axes, (test, noisy, cleaned), strict=True):
        for ax, image in zip(row, images, strict=False):
            ax.imshow(image.reshape(side, side), cmap="gray_r", vmin=0, vmax=1)
            ax.axis("off")
    figure.tight_layout()
    figure.savefig(arguments.folder / "1-denoised.png", dpi=100)


if __name__ == "__main__":
    main()
