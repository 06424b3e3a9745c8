# SPDX-License-Identifier: Apache-2.0
"""A mixed table: categories and numbers through an autoencoder to a classifier.

scikit-learn's ColumnTransformer makes numbers of the table: a column for each category, amounts by their logarithm, all
in [0, 1]. The autoencoder learns from every row, labels are known for a hundred, and a classifier learns from the codes
of those. It does about as well on the few numbers of the code as on all columns: what a code is for when what comes
after it is a search, a plot or a model that cannot take many columns. All is one Pipeline.
"""

import argparse
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from isthmus import Autoencoder
from numpy.typing import NDArray
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder, StandardScaler

mpl.use("agg")


def orders(n: int, rng: np.random.Generator) -> tuple[pd.DataFrame, NDArray[np.str_]]:
    """A table of orders, in which firms and people differ a little in each column, and who ordered."""
    firm = rng.random(n) < 0.4
    kind, size = firm + 0.35 * rng.standard_normal(n), rng.standard_normal(n)
    likely = rng.random(n) < 1 / (1 + np.exp(2 - 4 * kind))
    return pd.DataFrame({
        "channel": np.where(rng.random(n) < 1 / (1 + np.exp(2 - 4 * kind)), "phone", "web"),
        "payment": np.where(likely, "invoice", rng.choice(["card", "wallet"], n)),
        "country": rng.choice(["de", "fr", "it", "us"], n),
        "amount": np.exp(4 + 0.8 * kind + 0.8 * size + 0.4 * rng.standard_normal(n)),
        "freight": np.exp(1 + 0.5 * kind + 0.6 * size + 0.5 * rng.standard_normal(n)),
        "items": rng.poisson(np.exp(1.5 + 0.5 * kind + 0.3 * size)),
        "hour": np.clip(15 - 4 * kind + 3 * rng.standard_normal(n), 0, 23).round(),
    }), np.where(firm, "firm", "person")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the picture goes")
    arguments = parser.parse_args()

    rng = np.random.default_rng(0)
    (table, _), (known, who), (new, new_who) = (orders(n, rng) for n in (4000, 100, 2000))
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["channel", "payment", "country"]),
        (make_pipeline(FunctionTransformer(np.log1p), MinMaxScaler(clip=True)), ["amount", "freight", "items"]),
        (MinMaxScaler(clip=True), ["hour"]),
    )
    code = make_pipeline(columns, Autoencoder((64, 4), loss="bce", epochs=60, random_state=0)).fit(table)

    def accuracy(features: Any) -> float:
        classifier = make_pipeline(features, StandardScaler(), LogisticRegression())
        return float(classifier.fit(known, who).score(new, new_who))

    print(f"{len(table):,} rows without labels, {len(known)} with; accuracy on {len(new):,} others")
    print(f"from the {columns.transform(known).shape[1]} columns {accuracy(columns):.3f}")
    print(f"from the {code[-1].code_size_} numbers of the code {accuracy(FunctionTransformer(code.transform)):.3f}")

    axes = code[-1].plot_code(columns.transform(new), new_who)
    axes.figure.savefig(arguments.folder / "1-code.png", dpi=100)


if __name__ == "__main__":
    main()
