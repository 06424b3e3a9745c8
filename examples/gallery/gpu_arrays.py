# SPDX-License-Identifier: Apache-2.0
"""Between PyTorch's tensors, on a GPU where there is one.

Tensors go in where they are, and codes are tensors on the same device: nothing goes to the host and back, and what
comes before and after is PyTorch's own. Here that is a search. Each image is looked for among all others, by its
pixels and by its code, which is many times smaller; what is found is right where it shows the same digit. Without a
GPU the same lines work on the host.
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import torch
from _images import load
from isthmus import Autoencoder

mpl.use("agg")

from matplotlib import pyplot as plt


def nearest(points: torch.Tensor) -> torch.Tensor:
    """Of each of the points the five others that are nearest, (n, 5)."""
    distances = torch.cdist(points, points)
    distances.fill_diagonal_(torch.inf)
    return distances.topk(5, largest=False).indices


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the picture goes")
    parser.add_argument("--rows", type=int, default=5000, help="images to train on, at most")
    arguments = parser.parse_args()

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train, test, digits, side = load(arguments.rows)
    train, test, labels = (torch.tensor(array, device=device) for array in (train, test, digits))

    model = Autoencoder((128, 12), loss="bce", batch_size=64, epochs=40, learning_rate_schedule="cosine",
                        random_state=0)
    model.fit(train)
    codes = model.encode(test)
    print(f"rows on {test.device}, model on {model.device_}, codes on {codes.device}: {type(codes).__module__}.Tensor")

    found = {"pixels": nearest(test), "numbers of the code": nearest(codes)}
    for points, (what, rows) in zip((test, codes), found.items(), strict=True):
        right = (labels[rows] == labels[:, None]).float().mean()
        print(f"by {points.shape[1]} {what} {right:.3f} of the five nearest are the same digit")

    figure, axes = plt.subplots(6, 10, figsize=(10, 6))
    for column, query in zip(axes.T, range(10), strict=True):
        for ax, row in zip(column, (query, *found["numbers of the code"][query].tolist()), strict=True):
            image = test[row].reshape(side, side).numpy(force=True)
            ax.imshow(image, cmap="gray_r" if row == query else "Blues", vmin=0, vmax=1)
            ax.axis("off")
    figure.tight_layout()
    figure.savefig(arguments.folder / "1-found.png", dpi=100)


if __name__ == "__main__":
    main()
