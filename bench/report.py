# SPDX-License-Identifier: Apache-2.0
"""Rewrites the table between README's bench markers from the JSON files of bench/results.

python bench/report.py [--results FILE ...] [--readme FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
RIVAL, OURS = "numpy_loop", "isthmus_cpu"


def milliseconds(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:.3g} ({min(seconds) * 1e3:.3g} to {max(seconds) * 1e3:.3g})"


def table(result: dict[str, Any]) -> str:
    """One machine's cases: ms a step as median (min to max), GFLOP/s of the median, ratio to NumPy's loop."""
    about, versions = result["machine"], result["versions"]
    libraries = ", ".join(f"{k} {v}" for names in versions.values() for k, v in names.items())
    lines = [
        f"{about['cpu']}, {result['threads']} threads for each; {libraries}. "
        f"Median (min to max) of {result['rounds']} interleaved rounds; the ratio is the median of the rounds' ratios.",
        "",
        "| case | network | NumPy loop, ms/step | isthmus, ms/step | GFLOP/s | isthmus / NumPy |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for case in result["cases"]:
        rival, ours = case["seconds_per_step"][RIVAL], case["seconds_per_step"][OURS]
        ratio = statistics.median(a / b for a, b in zip(ours, rival, strict=True))
        speed = case["flops_per_step"] / statistics.median(ours) / 1e9
        lines.append(
            f"| {case['name']} | {case['network']} | {milliseconds(rival)} | {milliseconds(ours)} "
            f"| {speed:.1f} | **{ratio:.2f}** |"
        )
    if imports := result.get("import_seconds"):
        numpy, isthmus = (statistics.median(imports[m]) for m in ("numpy", "isthmus"))
        lines += ["", f"`import numpy` takes {numpy:.3f} s in a fresh interpreter, `import isthmus` {isthmus:.3f} s."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, nargs="+", default=sorted((HERE / "results").glob("*.json")))
    parser.add_argument("--readme", type=Path, default=HERE.parent / "README.md")
    arguments = parser.parse_args()

    text = arguments.readme.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"{arguments.readme} must hold {BEGIN} and {END} once each")
    tables = [table(json.loads(path.read_text())) for path in arguments.results]
    if not tables:
        raise SystemExit("there are no results; run bench/run.py first")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    arguments.readme.write_text(before + BEGIN + "\n\n" + "\n\n".join(tables) + "\n\n" + END + after)
    print(f"wrote {len(tables)} table(s) into {arguments.readme}")


if __name__ == "__main__":
    main()
