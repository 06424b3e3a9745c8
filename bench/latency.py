# SPDX-License-Identifier: Apache-2.0
"""Latency of one row through a session, beside ONNX Runtime: p50 and p99 of cases b and c, and the table of
docs/embedding.md.

    python bench/latency.py --program build/bench/isthmus_bench_latency [--rounds N] [--calls N]

The program (latency.cpp) does the timing, through both libraries' C interfaces: nothing of Python is in it. A turn of
each contestant in each round; a figure is the median over the rounds of that turn's percentile.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import isthmus
import machine
from cases import CASES, Case
from report import replace_between

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "embedding.md"
NAMES = ("b", "c")
FIGURES = ("p50", "p99", "most")


def model_file(case: Case, path: Path) -> None:
    """The case's network with its first weights, as isthmus stores it."""
    encoder = list(case.widths[1 : case.code + 1])
    model = isthmus.Autoencoder(
        encoder, list(case.widths[case.code + 1 : -1]), activation=case.activation, loss=case.loss,
        code_activation=case.activation, output_activation=case.output_activation, device="cpu",
    ).initialize(case.widths[0])
    model.set_weights(case.weights())
    model.save(path)


def rival() -> tuple[Path, str] | None:
    """ONNX Runtime's library and version, where it is installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    found = sorted(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"))
    return (found[-1], onnxruntime.__version__) if found else None


def onnx_file(case: Case, path: Path) -> str:
    """The bench's own graph of the case; returns the name of its output."""
    from contestants.onnx_runtime import graph

    path.write_bytes(graph(case))
    layers = len(list(pairwise(case.widths)))
    return f"{'z' if case.output_activation == 'linear' else 'y'}{layers - 1}"


Found = dict[str, dict[str, list[float]]]  # contestant -> figure -> ns, one for each round


def turns(program: Path, case: Case, rounds: int, calls: int, library: Path | None) -> Found:
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "model.safetensors", Path(folder) / "model.onnx"
        model_file(case, ours)
        command = [str(program), str(ours), str(rounds), str(calls)]
        if library is not None:
            command += [str(library), str(theirs), onnx_file(case, theirs)]
        lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    found: Found = {}
    for name, *numbers in map(str.split, lines):
        for figure, number in zip(FIGURES, numbers, strict=True):
            found.setdefault(name, {}).setdefault(figure, []).append(float(number))
    return found


def table(result: dict[str, Any]) -> Iterator[str]:
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    yield f"{result['machine']['cpu']}; {versions}; {result['rounds']} rounds of {result['calls']:,} calls each.\n"
    yield "| case | library | threads | p50, us | p99, us |"
    yield "| --- | --- | --: | --: | --: |"
    for name, case in result["cases"].items():
        for contestant, figures in case["ns"].items():
            library, threads = contestant.rsplit("-", 1)
            library = {"onnxruntime": "ONNX Runtime"}.get(library, library)
            middle = {figure: statistics.median(figures[figure]) / 1e3 for figure in ("p50", "p99")}
            yield f"| {name}: {case['network']} | {library} | {threads} | {middle['p50']:.2f} | {middle['p99']:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--output", type=Path, help="instead of bench/results and docs/embedding.md")
    arguments = parser.parse_args()

    about = machine.describe()
    other = rival()
    versions = {"isthmus": isthmus.__version__} | ({"ONNX Runtime": other[1]} if other else {})
    result: dict[str, Any] = {"machine": about, "versions": versions, "rounds": arguments.rounds,
                              "calls": arguments.calls, "cases": {}}
    for case in (case for case in CASES if case.name in NAMES):
        ns = turns(arguments.program, case, arguments.rounds, arguments.calls, other[0] if other else None)
        network = "-".join(map(str, case.widths))
        result["cases"][case.name] = {"network": network, "ns": ns}
    text = "\n".join(table(result))
    print(text)
    output = arguments.output or HERE / "results" / f"{machine.slug(about, about['cores'])}-latency.json"
    output.write_text(json.dumps(result, indent=1) + "\n")
    if arguments.output is None:
        replace_between(PAGE, "latency", text)


if __name__ == "__main__":
    main()
