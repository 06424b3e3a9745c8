# SPDX-License-Identifier: Apache-2.0
"""MNIST 784-32-784 (relu code, sigmoid output, BCE, Adam 1e-3, batch 256): beside PyTorch, and to the known level.

The images are read from the folder mnist/ of the folder that the environment variable ISTHMUS_DATA names.
"""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from checks import assert_close, random_weights, start_from
from isthmus import Autoencoder
from numpy.typing import NDArray

F32 = NDArray[np.float32]
FOLDER = Path(os.environ["ISTHMUS_DATA"]) / "mnist" if "ISTHMUS_DATA" in os.environ else None

pytestmark = pytest.mark.skipif(FOLDER is None or not FOLDER.is_dir(),
                                reason="ISTHMUS_DATA does not name a folder with mnist/ in it")

# 50 epochs by today's tools: PyTorch 0.09162 and 0.09154, Keras 0.09145.
LEVEL = 0.0917


def images(name: str) -> F32:
    """An IDX file of images as (n, 784) in [0, 1]."""
    assert FOLDER is not None
    path = next(p for p in (FOLDER / name, FOLDER / f"{name}.gz") if p.exists())
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    magic, n, height, width = struct.unpack(">4I", data[:16])
    assert magic == 0x803
    return np.frombuffer(data, np.uint8, offset=16).reshape(n, height * width).astype(np.float32) / 255


@pytest.fixture(scope="module")
def train() -> F32:
    return images("train-images-idx3-ubyte")


@pytest.fixture(scope="module")
def test() -> F32:
    return images("t10k-images-idx3-ubyte")


def test_200_steps_agree_with_pytorch(train: F32) -> None:
    torch = pytest.importorskip("torch")
    steps, batch = 200, 256
    x = train[: steps * batch]
    weights = random_weights(np.random.default_rng(0), (784, 32, 784))
    model = Autoencoder((32,), code_activation="relu", loss="bce", batch_size=batch, epochs=1, shuffle=False,
                        warm_start=True)
    start_from(model, weights).fit(x)

    network = torch.nn.Sequential(torch.nn.Linear(784, 32), torch.nn.ReLU(), torch.nn.Linear(32, 784))
    with torch.no_grad():
        for parameter, weight in zip(network.parameters(), weights, strict=True):
            parameter.copy_(torch.from_numpy(weight))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, eps=1e-8)
    for i in range(steps):
        rows = torch.from_numpy(x[i * batch : (i + 1) * batch])
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(network(rows), rows).backward()
        optimizer.step()

    start = [w.copy() for w in weights]
    for i, (actual, parameter) in enumerate(zip(model.get_weights(), network.parameters(), strict=True)):
        expected = parameter.detach().numpy()
        assert_close(actual, expected, tolerance=1e-5, what=f"parameter {i}")
        assert np.linalg.norm(expected - start[i]) > 0.05 * np.linalg.norm(start[i])  # there was something to agree on


@pytest.mark.slow
def test_50_epochs_reach_the_level_of_todays_tools(train: F32, test: F32) -> None:
    losses = []
    for seed in range(3):
        model = Autoencoder((32,), code_activation="relu", loss="bce", batch_size=256, epochs=50, random_state=seed)
        model.fit(train, validation_data=test)
        assert model.history_["val_loss"][-1] == pytest.approx(-model.score(test), rel=1e-12)
        losses.append(model.history_["val_loss"][-1])
    assert np.mean(losses) <= LEVEL, losses
