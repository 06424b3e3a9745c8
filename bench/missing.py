# SPDX-License-Identifier: Apache-2.0
"""How well missing values are filled in: sets of ADBench in $ISTHMUS_DATA/adbench with values hidden at random.

Each set is split 70/30 for each of three seeds; of both parts a share of the values is hidden, each with the same
chance. A contestant is fitted to the training part, sees what is left of the other, and is asked for what was hidden
there. Writes bench/results/missing.json and docs/missing.md.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from isthmus import Autoencoder
from machine import describe
from numpy.typing import NDArray
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.model_selection import train_test_split

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "missing.json"
PAGE = ROOT / "docs" / "missing.md"
# Those of at most 60 columns and 12,000 rows: neighbours of more take minutes.
SETS = ("6_cardio", "23_mammography", "28_pendigits", "30_satellite", "35_SpamBase", "38_thyroid")
SEEDS = range(3)
SHARES = (0.2, 0.5)

# The same for every set. What `input_noise` hides besides is a target still, so that the network learns to fill in.
RECIPE: dict[str, Any] = {
    "encoder_layers": (128, 64), "missing": "mask", "scaling": "standard", "input_noise": 0.3,
    "input_noise_kind": "mask", "batch_size": 128, "epochs": 200, "learning_rate_schedule": "cosine",
}  # fmt: skip

PROSE = """\
# Missing values

Written by `bench/missing.py`; do not edit.

```python
import numpy as np
from isthmus import Autoencoder

rng = np.random.default_rng(0)
X = rng.standard_normal((1000, 3)) @ rng.standard_normal((3, 8))
X[rng.random(X.shape) < 0.2] = np.nan

model = Autoencoder({recipe}, random_state=0)
model.fit(X)
whole = model.impute(X)                # X with what was missing filled in, all else as it was
errors = model.reconstruction_error(X) # of each row, the mean over what it has
```

With `missing="mask"` a NaN, and what pandas, polars and Arrow mean by NA and null, is a value that was not observed:

- It enters as the mean of its column over the rows that the model was first trained on, in float64 and stored with the
  model: 0 of the scaled space under `scaling="standard"`.
- The loss does not see it: a row's error is the mean over what it has. `reconstruction_error(X, per_feature=True)` and
  a detector's `explain` have NaN in its place.
- `scaling`, and a detector's ranks and spreads, are those of the values that are there.
- `encode` and `reconstruct` give numbers for every row; `impute` gives X with the reconstruction in its place.
- A row without any value is not learned from. Its `reconstruction_error` and `score_samples` are NaN; a detector's
  `predict` is 1 and its `p_values` 1.0, since nothing speaks against it.
- A column without any value is an error that names it: nothing could be learned of it. Infinity stays an error.
- A graph of `to_onnx` does the same; the module of `to_torch` knows nothing of missing values.

Rows without a NaN go through the same kernels as without `missing="mask"` and give the same bits. On a GPU, rows with
missing values train layer by layer. The mask costs a copy: what stands in for a value and what it is compared with are
two tables then.

An autoencoder that only sees what is there may learn to copy it, which fills nothing in. `input_noise` with
`input_noise_kind="mask"` hides more of the input while training but keeps it as a target: so the network learns to fill
in what it does not see (denoising autoencoders, Vincent et al., 2008; for imputation Gondara and Wang, 2018).

## How well it fills in

Sets of ADBench (Han et al., NeurIPS 2022) with a share of the values hidden at random, in the training rows and in the
test rows. The error is the root mean square over the hidden values of the test rows, in standard deviations of their
columns, the mean over {seeds} splits. All have the same parameters on every set: scikit-learn's imputers their
defaults, isthmus those above, on one thread. Seconds are those of all fits and answers in one process on a machine with
other work: an order of magnitude, no more. {cpu}; {versions}.
{tables}
"""

F64 = NDArray[np.float64]
Contestant = Callable[[F64, F64, int], F64]  # training rows, test rows, both with NaN, seed to the test rows filled in


def column_means(train: F64, test: F64, seed: int) -> F64:
    return np.asarray(SimpleImputer().fit(train).transform(test))


def neighbours(train: F64, test: F64, seed: int) -> F64:
    return np.asarray(KNNImputer().fit(train).transform(test))


def iterative(train: F64, test: F64, seed: int) -> F64:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it stops after ten rounds, converged or not
        return np.asarray(IterativeImputer(random_state=seed).fit(train).transform(test))


def autoencoder(train: F64, test: F64, seed: int, **changes: Any) -> F64:
    model = Autoencoder(**{**RECIPE, **changes}, n_threads=1, random_state=seed)
    return np.asarray(model.fit(train).impute(test))


def without_noise(train: F64, test: F64, seed: int) -> F64:
    return autoencoder(train, test, seed, input_noise=0.0)


CONTESTANTS: dict[str, Contestant] = {
    "isthmus Autoencoder": autoencoder, "isthmus Autoencoder, input_noise=0": without_noise,
    "IterativeImputer": iterative, "KNNImputer": neighbours, "column means": column_means,
}  # fmt: skip


def load(folder: Path, name: str, seed: int, share: float) -> tuple[F64, F64, F64]:
    """Training rows and test rows with NaN where something is hidden, and the whole test rows; columns that are
    constant are left out, the others have standard deviation 1."""
    with np.load(folder / f"{name}.npz") as file:
        x = file["X"].astype(np.float64)
    train, test = train_test_split(x, test_size=0.3, random_state=seed)
    moves = train.std(axis=0) > 0
    train, test = (part[:, moves] / train[:, moves].std(axis=0) for part in (train, test))
    rng = np.random.default_rng(seed)
    hidden = [np.where(rng.random(part.shape) < share, np.nan, part) for part in (train, test)]
    return hidden[0], hidden[1], test


def measure(folder: Path, sets: tuple[str, ...], seeds: range, shares: tuple[float, ...]) -> dict[str, Any]:
    result: dict[str, Any] = {"seeds": list(seeds), "cpu": describe()["cpu"], "error": {}, "seconds": {}}
    result["versions"] = {name: version(name) for name in ("isthmus", "scikit-learn")}
    for share in shares:
        for title, contestant in CONTESTANTS.items():
            for name in sets:
                errors, seconds = [], []
                for seed in seeds:
                    train, test, truth = load(folder, name, seed, share)
                    start = time.perf_counter()
                    found = contestant(train, test, seed)
                    seconds.append(time.perf_counter() - start)
                    holes = np.isnan(test)
                    errors.append(float(np.sqrt(np.mean((found[holes] - truth[holes]) ** 2))))
                result["error"].setdefault(str(share), {}).setdefault(title, {})[name] = errors
                result["seconds"].setdefault(str(share), {}).setdefault(title, {})[name] = seconds
            print(f"{share:4} {title:36} {mean(result, share, title):.4f}", flush=True)
    return result


def mean(result: dict[str, Any], share: float, title: str) -> float:
    """Mean error over the sets, each the mean over the seeds."""
    return float(np.mean([np.mean(values) for values in result["error"][str(share)][title].values()]))


def table(result: dict[str, Any], share: str) -> str:
    error = result["error"][share]
    sets = list(next(iter(error.values())))
    titles = sorted(error, key=lambda title: mean(result, float(share), title))
    best = {name: min(round(float(np.mean(error[t][name])), 3) for t in titles) for name in sets}

    def cell(title: str, name: str) -> str:
        value = round(float(np.mean(error[title][name])), 3)
        return f"**{value:.3f}**" if value == best[name] else f"{value:.3f}"

    lines = [
        f"\n{float(share):.0%} hidden:\n",
        "| | " + " | ".join(name.split("_", 1)[1] for name in sets) + " | mean | seconds |",
        "| --- |" + " --: |" * (len(sets) + 2),
    ]
    for title in titles:
        seconds = sum(np.sum(v) for v in result["seconds"][share][title].values())
        cells = " | ".join(cell(title, name) for name in sets)
        lines.append(f"| {title} | {cells} | {mean(result, float(share), title):.3f} | {seconds:.1f} |")
    return "\n".join(lines)


def page(result: dict[str, Any]) -> str:
    first = RECIPE["encoder_layers"]
    rest = [f"{name}={value!r}" for name, value in RECIPE.items() if name != "encoder_layers"]
    lines = [f"{first}, " + ", ".join(rest[:4]).replace("'", '"') + ",", ", ".join(rest[4:]).replace("'", '"')]
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    return PROSE.format(
        recipe="\n                    ".join(lines), seeds=len(result["seeds"]), cpu=result["cpu"], versions=versions,
        tables="\n".join(table(result, share) for share in result["error"]),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", action="store_true", help="only write the page anew from the results")
    if not parser.parse_args().page:
        folder = Path(os.environ["ISTHMUS_DATA"]) / "adbench"
        RESULTS.write_text(json.dumps(measure(folder, SETS, SEEDS, SHARES), indent=1) + "\n")
    PAGE.write_text(page(json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
