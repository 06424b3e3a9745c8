# SPDX-License-Identifier: Apache-2.0
"""Two OpenMP runtimes in one process: isthmus and PyTorch train in turns, beginning with the one that is named.

    python beside_torch.py isthmus | torch

Says which libgomp each has; fails when a result depends on the other's presence, or nothing comes back (the caller has
a time limit).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

X = np.random.default_rng(0).random((2000, 256), dtype=np.float32)


def train_isthmus() -> Any:
    import isthmus

    return isthmus.Autoencoder((128, 32), epochs=3, n_threads=2, random_state=0, device="cpu").fit(X).encode(X)


def train_torch() -> Any:
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(2)
    layer = torch.nn.Linear(256, 256)
    rows = torch.from_numpy(X)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        loss = ((layer(rows) - rows) ** 2).mean()
        loss.backward()
        optimizer.step()
    return loss.item()


def main(first: str) -> None:
    turns = [train_isthmus, train_torch] if first == "isthmus" else [train_torch, train_isthmus]
    results: dict[str, list[Any]] = {}
    for turn in turns * 3:
        results.setdefault(turn.__name__, []).append(turn())
    for name, found in results.items():
        assert all(np.array_equal(found[0], again) for again in found), name
    maps = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "gomp" in line}
    print(f"{first} first: both train, each with the same bits every time; OpenMP: {', '.join(sorted(maps))}")


if __name__ == "__main__":
    main(sys.argv[1])
