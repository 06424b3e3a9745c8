# SPDX-License-Identifier: Apache-2.0
"""What checkpoints cost: writes bench/results/checkpoints.json and the table of docs/long_runs.md.

A checkpoint is timed as `save` with the training state, which is what it is; the fingerprint as what a fit of no step
and a code of one unit, whose checkpoints are next to nothing, takes longer with a folder than without. An epoch stands
beside them. Medians of rounds that take turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from isthmus import Autoencoder
from machine import describe
from report import replace_between

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "checkpoints.json"
PAGE = ROOT / "docs" / "long_runs.md"

# Rows, features, encoder: a table, MNIST's size, wide layers.
CASES = [(20_000, 30, (16, 8)), (60_000, 784, (128, 32)), (5_000, 1024, (2048, 512))]


def seconds(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def measure(rows: int, features: int, encoder: tuple[int, ...], rounds: int) -> dict[str, Any]:
    X = np.random.default_rng(0).random((rows, features), np.float32)

    def no_step() -> Autoencoder:
        return Autoencoder((1,), random_state=0, max_seconds=1e-9)

    found: dict[str, list[float]] = {"epoch": [], "checkpoint": [], "fingerprint": []}
    with tempfile.TemporaryDirectory(dir=ROOT) as folder:
        for round_ in range(rounds):
            model = Autoencoder(encoder, epochs=1, random_state=0)
            path = Path(folder) / "model.safetensors"
            found["epoch"].append(seconds(partial(model.fit, X)))
            found["checkpoint"].append(seconds(partial(model.save, path, training_state=True)))
            without = seconds(partial(no_step().fit, X))
            whole = seconds(partial(no_step().fit, X, checkpoint=Path(folder) / str(round_)))
            found["fingerprint"].append(whole - without)
        model.save(path, training_state=True)
        size = path.stat().st_size
    medians = {name: statistics.median(values) for name, values in found.items()}
    return {"rows": rows, "features": features, "encoder": encoder, "bytes": size, **medians, "rounds": found}


def table(result: dict[str, Any]) -> str:
    lines = [
        f"On {result['cpu']}, medians of {result['n_rounds']} rounds:",
        "",
        "| data | encoder | an epoch | a checkpoint | its size | the fingerprint, once |",
        "| --- | --- | --: | --: | --: | --: |",
    ]
    for case in result["cases"]:
        widths = "-".join(map(str, case["encoder"]))
        milliseconds = (f"{1000 * case[name]:,.0f} ms" for name in ("epoch", "checkpoint", "fingerprint"))
        epoch, checkpoint, fingerprint = milliseconds
        size = f"{case['bytes'] / 1e6:.2f} MB"
        data = f"{case['rows']:,} x {case['features']}"
        lines.append(f"| {data} | {widths} | {epoch} | {checkpoint} | {size} | {fingerprint} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--page", action="store_true", help="only write the table anew from the results")
    arguments = parser.parse_args()
    if not arguments.page:
        cases = [measure(*case, arguments.rounds) for case in CASES]
        result = {"cpu": describe()["cpu"], "n_rounds": arguments.rounds, "cases": cases}
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    replace_between(PAGE, "checkpoints", table(json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
