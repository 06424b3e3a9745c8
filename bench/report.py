# SPDX-License-Identifier: Apache-2.0
"""Rewrites README's bench tables, docs/kernels.md and docs/gpu.md from the JSON files of bench/results, and draws
pictures.

python bench/report.py [--results FOLDER] [--readme FILE] [--kernels FILE] [--gpu FILE]
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from gpu_tables import NOT_MEASURED
from gpu_tables import section as gpu_section
from tables import kernels_section, machine_section

HERE = Path(__file__).resolve().parent


def replace_between(page: Path, name: str, content: str) -> None:
    """The text between ``<!-- name:begin -->`` and ``<!-- name:end -->`` of a page becomes ``content``."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    text = page.read_text()
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise SystemExit(f"{page} must hold {begin} and {end} once each, in this order")
    page.write_text(text.split(begin)[0] + begin + "\n\n" + content + "\n\n" + end + text.split(end)[1])
    print(f"wrote the tables of {page}")


def draw(result: dict[str, Any], kernels: dict[str, Any] | None, stem: Path, page: Path) -> dict[str, str]:
    """Draws what the results have; description -> path as ``page`` links it."""
    from pictures import draw_ratios, draw_roofline

    found: dict[str, str] = {}
    if result["cases"]:
        path = stem.with_name(f"{stem.name}-ratios.png")
        draw_ratios(result, path)
        found["How many times as long as isthmus each rival takes, for each case"] = os.path.relpath(path, page.parent)
    if result["cases"] and result["peak"]:
        path = stem.with_name(f"{stem.name}-roofline.png")
        draw_roofline(result, kernels, path)
        found["Roofline: speed over operations a byte"] = os.path.relpath(path, page.parent)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--readme", type=Path, default=HERE.parent / "README.md")
    parser.add_argument("--kernels", type=Path, default=HERE.parent / "docs" / "kernels.md")
    parser.add_argument("--gpu", type=Path, default=HERE.parent / "docs" / "gpu.md")
    arguments = parser.parse_args()

    gpus = [json.loads(path.read_text()) for path in sorted(arguments.results.glob("*-gpu.json"))]
    replace_between(arguments.gpu, "gpu", "\n\n".join(map(gpu_section, gpus)) or NOT_MEASURED)
    results = {path: json.loads(path.read_text()) for path in sorted(arguments.results.glob("*-threads.json"))}
    kernels = {path: json.loads(path.read_text()) for path in sorted(arguments.results.glob("*-threads-kernels.json"))}
    if not results and not kernels and not gpus:
        raise SystemExit(f"there are no results in {arguments.results}; run bench/run.py and bench/kernels.py first")
    if results:
        sections = []
        for path, result in results.items():
            stem = path.with_suffix("")
            pictures = draw(result, kernels.get(path.with_name(f"{stem.name}-kernels.json")), stem, arguments.readme)
            sections.append(machine_section(result, pictures))
        replace_between(arguments.readme, "bench", "\n\n".join(sections))
    if kernels:
        replace_between(arguments.kernels, "kernels", "\n\n".join(map(kernels_section, kernels.values())))


if __name__ == "__main__":
    main()
