# SPDX-License-Identifier: Apache-2.0
"""How well anomalies are found without labels: AUROC on the eight sets of ADBench in $ISTHMUS_DATA/adbench.

Each set is split 70/30, stratified, for each of five seeds; columns are scaled to mean 0 and standard deviation 1 of
the training part; every contestant has the same defaults on every set and sees no label. Contestants take turns on each
split, with one thread each, and what is compared is the processor's time, which other work on the machine does not
stretch as it does the clock's. Writes bench/results/anomaly.json and docs/anomaly.md. PyOD's AutoEncoder takes part
where pyod is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from isthmus import AnomalyDetector, Autoencoder
from machine import describe
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "anomaly.json"
PAGE = ROOT / "docs" / "anomaly.md"
SETS = ("6_cardio", "17_InternetAds", "23_mammography", "28_pendigits", "30_satellite", "32_shuttle", "35_SpamBase",
        "38_thyroid")
SEEDS = range(5)

PROSE = """\
# Finding anomalies without labels

Written by `bench/anomaly.py`; do not edit.

{how}

{table}

{pyod}

Plain reconstruction error fails where anomalies are many (satellite has 32 %, SpamBase 40 %, shuttle 7 %): the network
learns them, too. The detector leaves the rows that lie furthest out in their columns out of training, by ranks, and
divides each feature's error by its root mean square over the rows it learned from.

What stays low: SpamBase and InternetAds, whose labels (spam, advertisement) name a class of its own rather than what is
rare or far out; and satellite, with more anomalies than are left out of training.
"""

HOW = (
    "AUROC, the mean over {seeds} stratified 70/30 splits of each of eight sets of ADBench (Han et al., NeurIPS 2022). "
    "No contestant sees a label, all have their defaults on every set, and all get columns of mean 0 and standard "
    "deviation 1. Seconds are processor time of all fits and scores, with one thread, taken in turns on each split. "
    "{cpu}; {versions}."
)

F64 = NDArray[np.float64]
Contestant = Callable[[F64, F64, int], F64]  # training rows, test rows, seed to a score a test row: larger is odder


def isolation_forest(train: F64, test: F64, seed: int) -> F64:
    return -np.asarray(IsolationForest(random_state=seed).fit(train).score_samples(test))


def l1_norm(train: F64, test: F64, seed: int) -> F64:
    return np.asarray(np.abs(test).sum(axis=1))


def mahalanobis(train: F64, test: F64, seed: int) -> F64:
    """By the pseudo-inverse: some columns are linear in others."""
    inverse = np.linalg.pinv(np.atleast_2d(np.cov(train, rowvar=False)), hermitian=True)
    centred = test - train.mean(axis=0)
    return np.asarray(np.einsum("ij,jk,ik->i", centred, inverse, centred))


def pca_error(train: F64, test: F64, seed: int) -> F64:
    """With the width of Autoencoder's default code."""
    width = min(32, max(1, train.shape[1] // 4))
    pca = PCA(width, random_state=seed).fit(train)
    return np.asarray(((test - pca.inverse_transform(pca.transform(test))) ** 2).mean(axis=1))


def plain_error(train: F64, test: F64, seed: int) -> F64:
    errors: F64 = Autoencoder(random_state=seed, n_threads=1).fit(train).reconstruction_error(test)
    return errors


def anomaly_detector(train: F64, test: F64, seed: int) -> F64:
    scores: F64 = AnomalyDetector(random_state=seed, n_threads=1).fit(train).score_samples(test)
    return -scores


def pyod_autoencoder(train: F64, test: F64, seed: int) -> F64:
    import torch
    from pyod.models.auto_encoder import AutoEncoder

    torch.set_num_threads(1)
    return np.asarray(AutoEncoder(random_state=seed, verbose=0).fit(train).decision_function(test))


PYOD, DETECTOR = "PyOD AutoEncoder", "isthmus AnomalyDetector"
CONTESTANTS: dict[str, Contestant] = {
    DETECTOR: anomaly_detector, "isolation forest": isolation_forest, "L1 norm": l1_norm,
    PYOD: pyod_autoencoder, "isthmus Autoencoder, plain error": plain_error,
    "Mahalanobis distance": mahalanobis, "PCA error": pca_error,
}


def load(folder: Path, name: str, seed: int) -> tuple[F64, F64, NDArray[np.int64]]:
    """Training rows, test rows, labels of the test rows (1: anomaly)."""
    with np.load(folder / f"{name}.npz") as file:
        x, y = file["X"].astype(np.float64), file["y"].astype(np.int64)
    train, test, _, labels = train_test_split(x, y, test_size=0.3, stratify=y, random_state=seed)
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test), labels


def measure(folder: Path, sets: tuple[str, ...], seeds: range) -> dict[str, Any]:
    result: dict[str, Any] = {"seeds": list(seeds), "cpu": describe()["cpu"], "auroc": {}, "seconds": {}}
    present = {title: run for title, run in CONTESTANTS.items() if title != PYOD or find_spec("pyod")}
    packages = {"isthmus", "scikit-learn"} | ({"pyod", "torch"} if PYOD in present else set())
    result["versions"] = {name: version(name) for name in sorted(packages)}
    for title in present:
        result["auroc"][title] = {name: [] for name in sets}
        result["seconds"][title] = {name: [] for name in sets}
    first = load(folder, sets[0], seeds[0])
    with threadpool_limits(1):
        for contestant in present.values():
            contestant(*first[:2], 0)  # what is imported and compiled on first use is not of the method
        for name in sets:
            for seed in seeds:
                train, test, labels = load(folder, name, seed)
                for title, contestant in present.items():
                    start = time.process_time()
                    scores = contestant(train, test, seed)
                    result["seconds"][title][name].append(time.process_time() - start)
                    result["auroc"][title][name].append(float(roc_auc_score(labels, scores)))
            means = {title: float(np.mean(result["auroc"][title][name])) for title in present}
            print(name, {title: round(value, 3) for title, value in means.items()}, flush=True)
    return result


def mean(result: dict[str, Any], title: str) -> float:
    """Mean AUROC over the sets, each the mean over the seeds."""
    return float(np.mean([np.mean(values) for values in result["auroc"][title].values()]))


def seconds(result: dict[str, Any], title: str) -> float:
    return float(sum(np.sum(values) for values in result["seconds"][title].values()))


def beside_pyod(result: dict[str, Any]) -> str:
    """The sentence on PyOD's AutoEncoder."""
    if PYOD not in result["auroc"]:
        return "PyOD was not installed where this was measured."
    ratios = [
        float(np.median(np.divide(values, result["seconds"][PYOD][name])))
        for name, values in result["seconds"][DETECTOR].items()
    ]
    whole = seconds(result, DETECTOR) / seconds(result, PYOD)
    return (
        f"The detector takes {whole:.3f} of the time of PyOD's AutoEncoder over all sets; the median of the splits' "
        f"ratios is {min(ratios):.3f} to {max(ratios):.3f}, depending on the set. By default PyOD's has batches of 32 "
        f"rows and 10 epochs, the detector 256 and 20."
    )


def page(result: dict[str, Any]) -> str:
    sets = list(next(iter(result["auroc"].values())))
    titles = sorted(result["auroc"], key=lambda title: -mean(result, title))
    best = {name: max(round(float(np.mean(result["auroc"][t][name])), 3) for t in titles) for name in sets}

    def cell(title: str, name: str) -> str:
        value = round(float(np.mean(result["auroc"][title][name])), 3)
        return f"**{value:.3f}**" if value == best[name] else f"{value:.3f}"

    head = "| | " + " | ".join(name.split("_", 1)[1] for name in sets) + " | mean | seconds |"
    rule = "| --- |" + " --: |" * (len(sets) + 2)
    rows = [
        f"| {title} | " + " | ".join(cell(title, name) for name in sets) + f" | {mean(result, title):.3f} | "
        f"{seconds(result, title):.1f} |"
        for title in titles
    ]
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    how = HOW.format(seeds=len(result["seeds"]), cpu=result["cpu"], versions=versions)
    return PROSE.format(
        how=fill(how, 120), table="\n".join([head, rule, *rows]), pyod=fill(beside_pyod(result), 120)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", action="store_true", help="only write the page anew from the results")
    if not parser.parse_args().page:
        folder = Path(os.environ["ISTHMUS_DATA"]) / "adbench"
        RESULTS.write_text(json.dumps(measure(folder, SETS, SEEDS), indent=1) + "\n")
    PAGE.write_text(page(json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
