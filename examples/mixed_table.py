# SPDX-License-Identifier: Apache-2.0
"""A table of numbers, categories and holes: scikit-learn's ColumnTransformer makes numbers of the categories, and a
detector finds the rows that do not fit, says why, and judges by what a row has.

The rows are made here: pumps of three kinds, whose pressure goes with their kind and their speed.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from isthmus import AnomalyDetector
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

KINDS = {"gear": 6.0, "piston": 14.0, "screw": 9.0}  # bar at full speed
NUMBERS = ["speed", "pressure", "temperature"]


def pumps(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"kind": rng.choice(list(KINDS), n), "speed": rng.uniform(0.3, 1.0, n)})
    table["pressure"] = table["kind"].map(KINDS) * table["speed"] + rng.normal(0, 0.2, n)
    table["temperature"] = 20 + 40 * table["speed"] + rng.normal(0, 2, n)
    for name in NUMBERS:
        table.loc[rng.random(n) < 0.1, name] = np.nan
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3000)
    arguments = parser.parse_args()

    X = pumps(arguments.rows, seed=0)
    columns = ColumnTransformer(
        [("kind", OneHotEncoder(sparse_output=False), ["kind"]), ("number", "passthrough", NUMBERS)],
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    # Scaling and holes are the detector's own: nothing is to be filled in or scaled before.
    detector = AnomalyDetector((32, 4), missing="mask", contamination=0.01, epochs=60, random_state=0)
    pipeline = make_pipeline(columns, detector).fit(X)

    new = pumps(200, seed=1)
    new.loc[0, ["kind", "speed", "pressure"]] = "gear", 0.9, 12.6  # a pressure that only a piston pump has
    new.loc[1, ["kind", "speed", "pressure"]] = "piston", 0.9, 12.6
    odd = pipeline.predict(new) == -1
    print(f"row 0 is {'odd' if odd[0] else 'normal'}, row 1 {'odd' if odd[1] else 'normal'}")
    print(f"{odd[2:].mean():.1%} of the other rows are called odd")
    error, expected = detector.explain(columns.transform(new))
    names = detector.feature_names_in_
    worst = int(np.nanargmax(error[0]))
    print(f"worst feature of row 0: {names[worst]}")
    holes = new["temperature"].isna()
    print(f"expected temperatures where there is none: {expected[holes, list(names).index('temperature')].mean():.1f}")


if __name__ == "__main__":
    main()
