# SPDX-License-Identifier: Apache-2.0
"""Results as Markdown. Every number comes from the JSON; a ratio is the median of the rounds' ratios.

The strongest rival of a row is the one with the least median.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

OURS = "isthmus_cpu"
NONE = "-"  # in a cell: cannot do it, or not measured
Row = dict[str, Any]
TITLES = {
    "numpy_loop": "NumPy",
    "isthmus_cpu": "isthmus",
    "torch_eager": "PyTorch eager",
    "torch_tuned": "PyTorch tuned",
    "torch_compile": "torch.compile",
    "jax_scan": "JAX scan",
    "keras_fit": "Keras",
    "sklearn_mlp": "scikit-learn",
    "onnx_runtime": "ONNX Runtime",
    "isthmus_cuda": "isthmus",
    "torch_eager_cuda": "PyTorch eager",
    "torch_compile_cuda": "torch.compile",
    "jax_scan_cuda": "JAX scan",
}


def title(name: str) -> str:
    return TITLES.get(name, name)


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> list[str]:
    """Lines of a table whose first ``left`` columns are text."""
    rule = ["---"] * left + ["--:"] * (len(header) - left)
    return [f"| {' | '.join(cells)} |" for cells in (header, rule, *rows)]


def figure(value: float) -> str:
    """Three significant digits, without an exponent where people read none."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def spread(seconds: Sequence[float], scale: float) -> str:
    """Median (min to max) in the unit that ``scale`` makes of seconds."""
    low, middle, high = (figure(f(seconds) * scale) for f in (min, statistics.median, max))
    return f"{middle} ({low} to {high})"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """ours / theirs, as the median over the rounds."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def strongest(seconds: dict[str, list[float]], ours: str = OURS) -> str:
    """The rival with the least median; "" without one."""
    rivals = [name for name in seconds if name != ours]
    return min(rivals, key=lambda name: statistics.median(seconds[name]), default="")


def threads(result: Row) -> str:
    return f"{result['threads']} thread{'s' if result['threads'] > 1 else ''}"


def libraries(versions: dict[str, dict[str, str]]) -> str:
    """Who runs on what; contestants of one library stand together."""
    users: dict[str, list[str]] = {}
    for name, found in versions.items():
        users.setdefault(", ".join(f"{k} {v}" for k, v in found.items()), []).append(title(name))
    return "; ".join(f"{', '.join(names)}: {found}" for found, names in users.items())


def heading(result: Row) -> str:
    """Machine, versions, peaks and how the times were taken: what one needs to read the tables."""
    about = (
        f"{result['machine']['cpu']}, {threads(result)} for each. {libraries(result['versions'])}. "
        f"Median (min to max) of {result['rounds']} interleaved rounds; a ratio is the median of the rounds' ratios."
    )
    if peak := result["peak"]:
        flops, l2, dram = (peak[k][str(result["threads"])] for k in ("fma_flops", "l2_triad_bytes", "dram_triad_bytes"))
        about += (
            f" Measured on this machine: {flops / 1e9:.0f} GFLOP/s of float32 ({peak['instruction_set']}), "
            f"{l2 / 1e9:.0f} GB/s from L2, {dram / 1e9:.0f} GB/s from memory"
        )
        if barrier := result["barrier"]:
            low, middle, high = (f"{barrier[k] * 1e9:.0f}" for k in ("min", "median", "max"))
            about += f", {middle} ns ({low} to {high}) for two threads to meet"
        about += "."
    for name, reason in result["left_out"].items():
        about += f" {title(name)} is left out, {reason}."
    return about


def training(result: Row) -> list[str]:
    """isthmus beside the strongest rival of each case."""
    peak = result["peak"]["fma_flops"][str(result["threads"])] if result["peak"] else None
    rows = []
    for case in result["cases"]:
        seconds = case["seconds_per_step"]
        ours, rival = seconds[OURS], strongest(seconds)
        speed = case["flops_per_step"] / statistics.median(ours)
        rows.append(
            [
                case["name"],
                case["network"],
                spread(ours, 1e3),
                f"{speed / 1e9:.1f}",
                f"{speed / peak:.0%}" if peak else NONE,
                title(rival),
                spread(seconds[rival], 1e3),
                f"**{ratio(ours, seconds[rival]):.2f}**",
            ]
        )
    header = ["case", "network", "isthmus, ms/step", "GFLOP/s", "of peak", "strongest rival", "its ms/step", "ratio"]
    return markdown(header, rows, 2)


def everyone(result: Row, ours: str = OURS) -> list[str]:
    """Medians of all contestants, in ms a step."""
    names = list(dict.fromkeys(name for case in result["cases"] for name in case["seconds_per_step"]))
    names.sort(key=lambda name: name != ours)
    rows = []
    for case in result["cases"]:
        seconds = case["seconds_per_step"]
        times = [figure(statistics.median(seconds[n]) * 1e3) if n in seconds else NONE for n in names]
        rows.append([case["name"], *times])
    return markdown(["ms/step", *map(title, names)], rows, 1)


def inference(result: Row) -> list[str]:
    """Microseconds a call, rows a second, the strongest rival."""
    rows = []
    for entry in result["inference"]:
        seconds, n = entry["seconds_per_call"], entry["rows_per_call"]
        ours, rival = seconds[OURS], strongest(seconds)
        per_second = [f"{n / statistics.median(seconds[name]):,.0f}" for name in (OURS, rival)]
        rows.append(
            [
                f"{entry['case']}, {n:,} row{'s' if n > 1 else ''} a call",
                spread(ours, 1e6),
                per_second[0],
                title(rival),
                spread(seconds[rival], 1e6),
                per_second[1],
                f"**{ratio(ours, seconds[rival]):.2f}**",
            ]
        )
    header = ["reconstruct", "isthmus, us", "rows/s", "strongest rival", "its us", "its rows/s", "ratio"]
    return markdown(header, rows, 1)


def scaling(result: Row) -> list[str]:
    """isthmus on one thread and on all."""
    counts = list(result["scaling"][0]["seconds_per_step"])
    rows = []
    for entry in result["scaling"]:
        seconds = entry["seconds_per_step"]
        gain = ratio(seconds[counts[0]], seconds[counts[-1]])
        rows.append([entry["case"], *(spread(seconds[n], 1e3) for n in counts), f"{gain:.2f}"])
    header = ["case", *(f"{n} thread{'s' if n != '1' else ''}, ms/step" for n in counts), "gain"]
    return markdown(header, rows, 1)


def footprint(result: Row) -> list[str]:
    """A sentence each on memory and import time."""
    lines: list[str] = []
    if memory := result["memory"]:
        least = memory["data_bytes"] + memory["parameter_bytes"]
        used = {name: held["peak"] - held["imported"] for name, held in memory["contestants"].items()}
        parts = [f"{title(n)} {b / 1e6:.0f} MB ({b / least:.2f})" for n, b in sorted(used.items(), key=lambda i: i[1])]
        lines += [
            f"Peak memory of an epoch of case {memory['case']}, above what the process held after its imports, and as "
            f"a multiple of data ({memory['data_bytes'] / 1e6:.1f} MB) + parameters "
            f"({memory['parameter_bytes'] / 1e6:.1f} MB): {', '.join(parts)}.",
            "",
        ]
    if imports := result["import_seconds"]:
        parts = [f"`{m}` {statistics.median(s):.3f} s" for m, s in sorted(imports.items(), key=lambda i: min(i[1]))]
        lines += [f"A fresh interpreter that imports: {', '.join(parts)}.", ""]
    return lines


def machine_section(result: Row, pictures: dict[str, str]) -> str:
    """All tables of one machine; ``pictures`` are description -> path as the page links it."""
    lines = [heading(result), "", *training(result), ""]
    lines += [line for text, path in pictures.items() for line in (f"![{text}]({path})", "")]
    lines += ["Medians of all contestants:", "", *everyone(result), ""]
    if result["inference"]:
        lines += ["Reconstruction, NumPy arrays in and out:", "", *inference(result), ""]
    if result["scaling"]:
        lines += ["isthmus over threads, the same bits on each:", "", *scaling(result), ""]
    lines += footprint(result)
    return "\n".join(lines).rstrip()


def kernels_section(result: Row) -> str:
    """The table of single operations of one machine."""
    rows = []
    for kernel in result["kernels"]:
        seconds = kernel["seconds"]
        ours, rival = seconds["isthmus"], seconds.get("numpy")
        median = statistics.median(ours)
        flops, rate = kernel["flops"] / median, kernel["bytes"] / median
        peak, speed = (result["fma_flops"], flops) if kernel["flops"] else (kernel["triad_bytes"], rate)
        rows.append(
            [
                kernel["operation"],
                kernel["shape"],
                spread(ours, 1e6),
                f"{flops / 1e9:.1f}" if flops else NONE,
                f"{rate / 1e9:.1f}",
                f"{speed / peak:.0%}" if peak else NONE,
                figure(statistics.median(rival) * 1e6) if rival else NONE,
                f"**{ratio(ours, rival):.2f}**" if rival else NONE,
            ]
        )
    versions = ", ".join(f"{k} {v}" for k, v in result["versions"].items())
    about = (
        f"{result['machine']['cpu']}, {threads(result)} for each, {result['instruction_set']}; {versions}. "
        f"Median (min to max) of {result['rounds']} interleaved rounds."
    )
    header = ["operation", "shape", "isthmus, us", "GFLOP/s", "GB/s", "of peak", "NumPy, us", "isthmus / NumPy"]
    return "\n".join([about, "", *markdown(header, rows, 2)])
