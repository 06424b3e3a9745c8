# SPDX-License-Identifier: Apache-2.0
"""The second tutorial network: MNIST, 784-32-784, relu code, sigmoid output, binary cross-entropy, Adam 1e-3.

50 epochs of batch 256, shuffled, validated on the test images after every epoch. Reads the four IDX files (plain or
.gz) from the folder named by the environment variable ISTHMUS_DATA, or from its subfolder mnist.
"""

import argparse
import gzip
import os
import sys
from pathlib import Path

import numpy as np
from isthmus import Autoencoder
from numpy.typing import NDArray


def read_images(name: str) -> NDArray[np.float32]:
    """Images of an IDX file as rows (n, 784) in [0, 1]."""
    folder = Path(os.environ.get("ISTHMUS_DATA", "."))
    for path in (folder / "mnist" / f"{name}.gz", folder / "mnist" / name, folder / f"{name}.gz", folder / name):
        if path.exists():
            data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            # 16 bytes of header: magic number, images, rows, columns.
            pixels = np.frombuffer(data, np.uint8, offset=16).reshape(-1, 28 * 28)
            return pixels.astype(np.float32) / np.float32(255)
    sys.exit(f"{name} not found: set ISTHMUS_DATA to the folder that holds the IDX files of MNIST")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--rows", type=int, help="train on the first ROWS images only")
    parser.add_argument("--seeds", type=int, default=1, help="train with the seeds 0, 1, ... and print their mean")
    parser.add_argument("--verbose", type=int, default=0)
    arguments = parser.parse_args()

    X = read_images("train-images-idx3-ubyte")[: arguments.rows]
    X_test = read_images("t10k-images-idx3-ubyte")
    losses = []
    for seed in range(arguments.seeds):
        model = Autoencoder(
            encoder_layers=(32,),
            code_activation="relu",
            loss="bce",  # output_activation is then sigmoid
            optimizer="adam",
            learning_rate=1e-3,
            batch_size=256,
            epochs=arguments.epochs,
            shuffle=True,
            random_state=seed,
            verbose=arguments.verbose,
        )
        model.fit(X, validation_data=X_test)
        losses.append(model.history_["val_loss"][-1])
        print(
            f"seed {seed}: validation bce {losses[-1]:.5f} after {len(model.history_['val_loss'])} epochs", flush=True
        )
    if len(losses) > 1:
        print(f"mean of {len(losses)} seeds: {np.mean(losses):.5f}")


if __name__ == "__main__":
    main()
