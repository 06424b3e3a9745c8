# SPDX-License-Identifier: Apache-2.0
"""The first tutorial network: 10-64-32-32-64-10 on 100 rows of N(0, 1), 100 epochs of batch 10.

relu hidden layers (the code too), sigmoid output, mean squared error, Adam with learning rate 1e-3.
"""

import argparse

import numpy as np
from isthmus import Autoencoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=100)
    arguments = parser.parse_args()

    X = np.random.default_rng(0).standard_normal((100, 10), dtype=np.float32)
    model = Autoencoder(
        encoder_layers=(64, 32),
        decoder_layers=(32, 64),
        activation="relu",
        code_activation="relu",
        output_activation="sigmoid",
        loss="mse",
        optimizer="adam",
        learning_rate=1e-3,
        batch_size=10,
        epochs=arguments.epochs,
        random_state=0,
    )
    model.fit(X)

    Z = model.encode(X)
    R = model.decode(Z)
    print(f"code {Z.shape}, reconstruction {R.shape}")
    print(f"loss of the first epoch {model.history_['loss'][0]:.4f}, of the last {model.history_['loss'][-1]:.4f}")


if __name__ == "__main__":
    main()
