# SPDX-License-Identifier: Apache-2.0
"""What the width of the code, the hidden layers and the number of epochs are worth: docs/sizes.md.

The squared error on rows that were not trained on, beside that of principal components of the same number, for images
(MNIST) and a table (satellite of ADBench, columns of mean 0 and standard deviation 1), both in $ISTHMUS_DATA. One thing
changes at a time. Writes bench/results/sizes.json and the tables of the page; --page writes the tables alone.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from isthmus import Autoencoder
from numpy.typing import NDArray
from report import replace_between
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "sizes.json"
PAGE = ROOT / "docs" / "sizes.md"
EPOCHS = 30
N_THREADS = 1  # of no consequence for what is measured
HIDDEN = {"MNIST": (256,), "satellite": (64,)}
CODES = {"MNIST": (2, 4, 8, 16, 32, 64), "satellite": (1, 2, 4, 8, 16)}
LAYERS: dict[str, tuple[tuple[int, ...], ...]] = {
    "MNIST": ((), (64,), (128,), (256,), (512,), (256, 128)),
    "satellite": ((), (16,), (32,), (64,), (128,), (64, 32)),
}
MIDDLE = {"MNIST": 16, "satellite": 4}  # the code where something else changes
ROUNDS = (3, 10, 30, 100)

F32 = NDArray[np.float32]


def load(folder: Path, name: str) -> tuple[F32, F32]:
    """Rows to train on and others."""
    if name == "MNIST":
        images = [np.frombuffer(gzip.decompress((folder / "mnist" / file).read_bytes()), np.uint8, offset=16)
                  for file in ("train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz")]
        train, test = ((rows.reshape(-1, 784)[:5000] / np.float32(255)).astype(np.float32) for rows in images)
        return train, test
    with np.load(folder / "adbench" / f"30_{name}.npz") as file:
        train, test = train_test_split(file["X"].astype(np.float64), test_size=0.3, random_state=0)
    scaler = StandardScaler().fit(train)
    return scaler.transform(train).astype(np.float32), scaler.transform(test).astype(np.float32)


def error(name: str, rows: tuple[F32, F32], layers: tuple[int, ...], epochs: int = EPOCHS) -> float:
    """The squared error on the other rows."""
    train, test = rows
    output = "sigmoid" if name == "MNIST" else "linear"
    model = Autoencoder(layers, output_activation=output, batch_size=128, epochs=epochs, n_threads=N_THREADS,
                        learning_rate_schedule="cosine", random_state=0)
    return -model.fit(train).score(test)


def measure(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name in HIDDEN:
        rows = load(folder, name)
        pca = PCA(max(CODES[name]), random_state=0).fit(rows[0])
        centred = rows[1] - pca.mean_
        found: dict[str, Any] = {"rows": [len(part) for part in rows], "features": rows[0].shape[1], "code": {},
                                 "hidden": {}, "epochs": {}}
        for code in CODES[name]:
            axes = pca.components_[:code]
            linear = float(np.mean((centred - centred @ axes.T @ axes) ** 2))
            found["code"][str(code)] = [error(name, rows, (*HIDDEN[name], code)), linear]
        code = MIDDLE[name]
        for layers in LAYERS[name]:
            found["hidden"]["-".join(map(str, layers)) or "none"] = error(name, rows, (*layers, code))
        for epochs in ROUNDS:
            found["epochs"][str(epochs)] = error(name, rows, (*HIDDEN[name], code), epochs)
        result[name] = found
        print(name, json.dumps(found), flush=True)
    return result


def tables(result: dict[str, Any]) -> dict[str, str]:
    """Name of a table of the page to its Markdown."""
    texts = {}
    for name, found in result.items():
        lines = ["| code | isthmus | PCA | isthmus / PCA |", "| --: | --: | --: | --: |"]
        lines += [f"| {code} | {ours:.4f} | {pca:.4f} | {ours / pca:.2f} |" for code, (ours, pca) in
                  found["code"].items()]
        texts[f"{name}-code"] = "\n".join(lines)
        for what in ("hidden", "epochs"):
            keys, values = found[what].keys(), found[what].values()
            texts[f"{name}-{what}"] = "\n".join([
                f"| {what} | " + " | ".join(keys) + " |",
                "| --- |" + " --: |" * len(keys),
                "| squared error | " + " | ".join(f"{value:.4f}" for value in values) + " |",
            ])
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", action="store_true", help="only write the page anew from the results")
    if not parser.parse_args().page:
        RESULTS.write_text(json.dumps(measure(Path(os.environ["ISTHMUS_DATA"])), indent=1) + "\n")
    for name, text in tables(json.loads(RESULTS.read_text())).items():
        replace_between(PAGE, name, text)


if __name__ == "__main__":
    main()
