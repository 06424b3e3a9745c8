# SPDX-License-Identifier: Apache-2.0
"""Training on a sparse matrix as it is beside training on X.toarray(): time and memory, on 17_InternetAds of
$ISTHMUS_DATA/adbench and on a wide synthetic matrix, in processes that take turns.

What is timed is what a caller waits for: ``fit`` of the matrix, or ``toarray`` and ``fit``. Both end with the same
weights, to the bit, which is checked. Writes bench/results/sparse.json and docs/sparse.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from isthmus import Autoencoder
from machine import describe

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "sparse.json"
PAGE = ROOT / "docs" / "sparse.md"
EPOCHS = {"InternetAds": 5, "synthetic": 1}
WAYS = ("as it is", "toarray")

PROSE = """\
# Sparse matrices

Written by `bench/sparse.py`; do not edit.

`fit`, `partial_fit` and all that takes X take SciPy's sparse matrices and arrays in any format, and whatever else has a
method `tocsr` and then `indptr`, `indices`, `data` and `shape`. The results have the bits of the same call on
`X.toarray()`; nothing is ever made dense beyond a batch on its way through the network, or a block at inference. Orders
of entries, duplicates (summed in their own type, as SciPy does) and stored zeros may be as they are. Every index is
looked at before anything is read by one; what leads outside of the matrix is refused by its place.

`scaling="standard"` only divides, by the same standard deviation, so that zeros stay 0; `decode` multiplies again.
With `missing="mask"` what is not stored is 0, and a NaN that is stored is missing. Rows become dense where there is
one, where the smallest value of a column under `scaling="minmax"` is not 0, where a model's scaling was fitted on dense
rows, and where `validation_data` is a pair: all at once, or a stretch of steps at a time where that would take more
than a quarter of the machine's memory.

Seconds of one training, the median of {rounds} rounds that take turns, `toarray()` included, and the most memory that
the process ever had. Default parameters, {threads} threads, batches of 256; {cpu}; {versions}.

| matrix | stored | epochs | as it is: s | `toarray()`: s | as it is: MB | `toarray()`: MB |
| --- | --: | --: | --: | --: | --: | --: |
{table}

The first layer is multiplied with its zeros, as in the dense case: the gain is memory. InternetAds is a dense file, and
reading it is what takes the most there. The synthetic matrix, of which a dense copy would take {dense:.0f} GB, is
trained on for 30 s (`max_seconds`), less than its epoch. The machine had other work: times are rough,
and in these rounds no way was the faster beyond doubt.
"""


def matrix(name: str) -> Any:
    if name == "InternetAds":
        with np.load(Path(os.environ["ISTHMUS_DATA"]) / "adbench" / "17_InternetAds.npz") as file:
            return scipy.sparse.csr_array(file["X"].astype(np.float32))
    n, d, stored = 100_000, 20_000, 20
    rng = np.random.default_rng(0)
    indices, values = rng.integers(0, d, n * stored), rng.random(n * stored, dtype=np.float32)
    return scipy.sparse.csr_array((values, indices, np.arange(n + 1) * stored), shape=(n, d))


def worker(name: str, way: str) -> dict[str, Any]:
    X = matrix(name)
    options: dict[str, Any] = {"max_seconds": 30.0} if name == "synthetic" else {}
    model = Autoencoder(epochs=EPOCHS[name], random_state=0, **options)
    start = time.perf_counter()
    model.fit(X if way == "as it is" else X.toarray())
    seconds = time.perf_counter() - start
    digest = hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest()
    status = Path("/proc/self/status").read_text(encoding="ascii")  # ru_maxrss would be at least the parent's
    memory = 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
    return {"seconds": seconds, "bytes": memory, "digest": digest, "shape": X.shape, "stored": X.nnz}


def run(name: str, way: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, __file__, "--worker", name, way], capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{name:12} {way:10} {result['seconds']:8.2f} s {result['bytes'] / 1e6:8.0f} MB", flush=True)
    return result


def measure(rounds: int) -> dict[str, Any]:
    ads: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            ads[way].append(run("InternetAds", way))
    if len({each["digest"] for runs in ads.values() for each in runs}) != 1:
        raise RuntimeError("the weights are not the same")
    wide = {"as it is": [run("synthetic", "as it is")]}
    about = describe()
    return {"cpu": about["cpu"], "threads": len(os.sched_getaffinity(0)), "rounds": rounds,
            "versions": {name: version(name) for name in ("isthmus", "scipy")},
            "runs": {"InternetAds": ads, "synthetic": wide}}


def page(result: dict[str, Any]) -> str:
    lines = []
    for name, ways in result["runs"].items():
        first = ways["as it is"][0]
        n, d = first["shape"]
        cells = {key: [f"{np.median([r[key] for r in ways[way]]) / unit:,.{digits}f}" if way in ways else "-"
                       for way in WAYS] for key, unit, digits in (("seconds", 1, 2), ("bytes", 1e6, 0))}
        lines.append(f"| {name}, {n:,} x {d:,} | {100 * first['stored'] / (n * d):.1f} % | {EPOCHS[name]} | "
                     f"{' | '.join(cells['seconds'] + cells['bytes'])} |")
    n, d = result["runs"]["synthetic"]["as it is"][0]["shape"]
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    return PROSE.format(rounds=result["rounds"], threads=result["threads"], cpu=result["cpu"], versions=versions,
                        table="\n".join(lines), dense=4 * n * d / 1e9)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--page", action="store_true", help="write the page anew from the results")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(worker(*options.worker)))
        return 0
    if not options.page:
        RESULTS.write_text(json.dumps(measure(options.rounds), indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(json.loads(RESULTS.read_text(encoding="utf-8"))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
