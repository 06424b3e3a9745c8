# SPDX-License-Identifier: Apache-2.0
"""The table of docs/promises.md, from the JSON of tests/promises.py: no number in it is typed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- figures:begin (python tests/promises.py --page) -->", "<!-- figures:end -->"


def newest(results: Path) -> dict[str, dict[str, Any]]:
    """Of each stage the last run that passed, a long one before a short one of the same day."""
    stages: dict[str, dict[str, Any]] = {}
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))]
    for report in sorted(reports, key=lambda report: (report["date"], report["form"] == "long")):
        for name, stage in report["stages"].items():
            if stage["verdict"] == "passed":
                stages[name] = {**stage, "date": report["date"], "form": report["form"]}
    return stages


def table(results: Path) -> str:
    lines = ["| stage | tried in the last run that passed | when | repeat it |", "|---|---|---|---|"]
    for name, stage in newest(results).items():
        tried = ", ".join(f"{n:,} {what}" for what, n in stage["counts"].items())
        command = f"python tests/promises.py --stages {name}" + (" --long" if stage["form"] == "long" else "")
        lines.append(f"| {name} | {tried} | {stage['date']}, {stage['form']} form | `{command}` |")
    return "\n".join(lines)


def write(page: Path, results: Path) -> None:
    text = page.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    page.write_text(f"{head}{BEGIN}\n{table(results)}\n{END}{tail}", encoding="utf-8")
