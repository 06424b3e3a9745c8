# SPDX-License-Identifier: Apache-2.0
"""Anomalies in a table, and which column gives them away.

Measurements of cells, of which one in ten is of a malignant tumour; the detector is not told which. `predict` marks as
many rows as `contamination` expects, `p_values` say how rare a score is among rows that were held back, and `explain`
tells for each row which feature is odd and what would have been expected there.
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
from isthmus import AnomalyDetector
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score

mpl.use("agg")

from matplotlib import pyplot as plt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the picture goes")
    arguments = parser.parse_args()

    table = load_breast_cancer(as_frame=True)
    benign, malignant = table.data[table.target == 1], table.data[table.target == 0][:40]
    X = type(table.data)(np.concatenate([benign, malignant]), columns=table.data.columns)
    odd = np.arange(len(X)) >= len(benign)

    detector = AnomalyDetector(contamination=0.1, calibration_fraction=0.2, random_state=0).fit(X)
    scores = detector.score_samples(X)
    marked = detector.predict(X) == -1
    print(f"AUROC {roc_auc_score(odd, -scores):.3f}; {marked.sum()} rows are marked, {odd[marked].mean():.0%} of them "
          f"malignant, where {odd.mean():.0%} of all rows are")

    error, expected = detector.explain(X)
    p = detector.p_values(X)
    for row in np.argsort(scores)[:5]:
        feature = int(error[row].argmax())
        print(f"row {row}, p = {p[row]:.3f}: {X.columns[feature]} is {X.iat[row, feature]:.4g}, "
              f"{expected[row, feature]:.4g} would be normal")

    figure, axes = plt.subplots(figsize=(6, 3.5))
    bins = np.linspace(scores.min(), scores.max(), 60)
    axes.hist([scores[~odd], scores[odd]], bins=list(bins), stacked=True, label=["benign", "malignant"])
    axes.axvline(detector.offset_, color="black", linestyle="--", label="offset_")
    axes.set(xlabel="score_samples", ylabel="rows")
    axes.legend()
    figure.tight_layout()
    figure.savefig(arguments.folder / "1-scores.png", dpi=100)


if __name__ == "__main__":
    main()
