# SPDX-License-Identifier: Apache-2.0
"""Handwritten digits in eight numbers.

An autoencoder learns to squeeze the 64 pixels of scikit-learn's digits through a code of eight, beside principal
components of the same number. `report` prints what to look at first: the error beside that of PCA, code units that
never move, the rows that fit worst.
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
from isthmus import Autoencoder
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

mpl.use("agg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--epochs", type=int, default=150)
    arguments = parser.parse_args()

    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    train, test, _, labels = train_test_split(X, y, test_size=0.25, random_state=0)

    model = Autoencoder((128, 8), loss="bce", batch_size=64, epochs=arguments.epochs, random_state=0)
    model.fit(train, validation_data=test)
    print(model.report(test))

    model.plot_reconstructions(test, n=12).figure.savefig(arguments.folder / "1-reconstructions.png", dpi=100)
    model.plot_code(test, labels).figure.savefig(arguments.folder / "2-code.png", dpi=100)
    model.plot_history().figure.savefig(arguments.folder / "3-history.png", dpi=100)


if __name__ == "__main__":
    main()
