# SPDX-License-Identifier: Apache-2.0
"""What precision="bfloat16" costs: prints the table of docs/accuracy.md.

Digits of the demo, layers 64-128-32-128-64, 100 epochs in batches of 64. A gradient's error is the Frobenius norm of
its difference from float32's over that of float32's, of one batch, all parameters together: at the initial weights,
and at those that float32 ends with, where the rows' gradients all but cancel. The losses are means over the test rows,
and over the seeds; float32's spread over the seeds says what of their ratio is chance.
"""

from __future__ import annotations

import numpy as np
from isthmus import Autoencoder, _core
from isthmus._cli.demo import load_digits
from numpy.typing import NDArray

BATCH = 64
SEEDS = range(5)
CASES = (("bce", "relu"), ("bce", "gelu"), ("mse", "relu"), ("mse", "tanh"))


def gradient_error(exact: Autoencoder, rounded: Autoencoder, x: NDArray[np.float32]) -> float:
    """Of the gradients of the first batch at the weights of `exact`."""
    twin = Autoencoder(**rounded.get_params()).initialize(x.shape[1]).set_weights(exact.get_weights())
    first, second = (
        np.concatenate([g.ravel() for g in m.gradients(x[:BATCH])]).astype(np.float64) for m in (exact, twin)
    )
    return float(np.linalg.norm(second - first) / np.linalg.norm(first))


def test_loss(model: Autoencoder, x: NDArray[np.float32]) -> float:
    return float(model.reconstruction_error(x).mean())


def main() -> None:
    x, x_test, _ = load_digits()
    if not _core.bfloat16_families():
        raise SystemExit("this machine has no instructions for bfloat16, or another instruction set is in use")
    print(
        "| loss, activation | gradient's error, first | gradient's error, last | test loss, float32 | spread "
        "| bfloat16 / float32 |\n|---|--:|--:|--:|--:|--:|"
    )
    for loss, activation in CASES:
        errors, losses = [], []
        for seed in SEEDS:
            exact, rounded = (
                Autoencoder(
                    (128, 32),
                    loss=loss,
                    activation=activation,
                    batch_size=BATCH,
                    random_state=seed,
                    precision=precision,
                ).initialize(x.shape[1])
                for precision in ("float32", "bfloat16")
            )
            first = gradient_error(exact, rounded, x)
            exact.fit(x)
            rounded.fit(x)
            errors.append((first, gradient_error(exact, rounded, x)))
            losses.append((test_loss(exact, x_test), test_loss(rounded, x_test)))
        (first, last), (exact_loss, rounded_loss) = np.max(errors, axis=0), np.mean(losses, axis=0)
        spread = np.ptp([exact for exact, _ in losses]) / exact_loss
        print(
            f"| {loss}, {activation} | {first:.1e} | {last:.1e} | {exact_loss:.5f} | {100 * spread:.1f} % "
            f"| {rounded_loss / exact_loss:.4f} |"
        )


if __name__ == "__main__":
    main()
