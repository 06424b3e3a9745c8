# SPDX-License-Identifier: Apache-2.0
"""New handwritten digits from a variational autoencoder of 8 x 8 images: trains on those that ship with the package,
draws codes from N(0, 1) and prints what they decode to.
"""

import argparse

import numpy as np
from isthmus import VariationalAutoencoder
from isthmus._cli.demo import load_digits

SHADES = np.array(list(" .:-=+*#%@"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--samples", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    X, X_test, _ = load_digits()
    model = VariationalAutoencoder(
        (256, 128, 8), loss="bce", epochs=arguments.epochs, batch_size=64, random_state=arguments.seed
    )
    model.fit(X, validation_data=X_test)
    loss, kl = model.history_["loss"][-1], model.history_["kl"][-1]
    print(f"negative evidence lower bound {X.shape[1] * (loss + kl):.1f} nats a digit: {X.shape[1] * loss:.1f} of "
          f"reconstruction, {X.shape[1] * kl:.1f} of divergence")

    images = model.sample(arguments.samples, random_state=arguments.seed).reshape(-1, 8, 8)
    for line in np.minimum((images * len(SHADES)).astype(int), len(SHADES) - 1).transpose(1, 0, 2):
        print("   ".join("".join(SHADES[pixels].repeat(2)) for pixels in line))


if __name__ == "__main__":
    main()
