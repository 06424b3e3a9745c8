# SPDX-License-Identifier: Apache-2.0
"""The two pictures of a machine's results: how many times as long each rival takes, and the roofline.

They stand on a light card of their own, so that they read the same on a light and on a dark page.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from tables import NONE, OURS, ratio, title

CARD, INK, FAINT = "#f7f7f4", "#1d1f22", "#9a9d9f"
# Okabe and Ito's colours, which people who see fewer of them still tell apart.
COLOURS = {
    "numpy_loop": "#0072b2",
    "torch_eager": "#e69f00",
    "torch_tuned": "#d55e00",
    "torch_compile": "#a63603",
    "jax_scan": "#009e73",
    "keras_fit": "#cc79a7",
    "sklearn_mlp": "#56b4e9",
    "onnx_runtime": "#8c6d31",
}
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.facecolor": CARD,
    "figure.facecolor": CARD,
    "savefig.facecolor": CARD,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
COLUMNS = 4
DPI = 100


def save(figure: Figure, path: Path) -> None:
    """Without the date and version that matplotlib writes into a PNG: equal results are equal files."""
    figure.savefig(path, dpi=DPI, metadata={"Software": None}, pil_kwargs={"optimize": True})


def draw_ratios(result: dict[str, Any], path: Path) -> None:
    """One panel a case; a bar is the time of a rival over that of isthmus, so that 1 is isthmus itself."""
    import matplotlib as mpl

    rows: list[tuple[str, dict[str, list[float]]]] = [(c["name"], c["seconds_per_step"]) for c in result["cases"]]
    for entry in result["inference"]:
        n = entry["rows_per_call"]
        rows.append((f"{entry['case']}, reconstruct {n:,} row{'s' if n > 1 else ''}", entry["seconds_per_call"]))
    rivals = list(dict.fromkeys(name for _, seconds in rows for name in seconds if name != OURS))
    times = {(panel, n): 1 / ratio(s[OURS], s[n]) for panel, (_, s) in enumerate(rows) for n in rivals if n in s}
    low, high = min(0.5, *times.values()) / 1.3, max(2.0, *times.values()) * 2.5

    lines = -(-len(rows) // COLUMNS)
    with mpl.rc_context(STYLE):
        height = lines * (0.22 * len(rivals) + 0.55) + 0.6
        figure = Figure(figsize=(11, height), layout="constrained")
        axes = figure.subplots(lines, COLUMNS, sharex=True, sharey=True, squeeze=False).flat
        for panel, axis in enumerate(axes):
            if panel >= len(rows):
                axis.set_axis_off()
                continue
            axis.set_title(rows[panel][0], fontsize=9.5, loc="left", fontweight="bold")
            axis.set_xscale("log")
            axis.set_xlim(low, high)
            axis.set_yticks(range(len(rivals)), [title(name) for name in rivals])
            axis.set_ylim(len(rivals) - 0.4, -0.6)
            axis.tick_params(left=False, labelsize=8)
            axis.spines["left"].set_visible(False)
            for place, name in enumerate(rivals):
                times_as_long = times.get((panel, name))
                if times_as_long is None:  # cannot do this case
                    axis.text(1.08, place, NONE, va="center", fontsize=7.5, color=FAINT)
                    continue
                axis.barh(place, times_as_long - 1, left=1, height=0.72, color=COLOURS.get(name, FAINT))
                text = f"{times_as_long:.2f}" if times_as_long < 9.95 else f"{times_as_long:,.0f}"
                axis.text(max(times_as_long, 1) * 1.08, place, text, va="center", fontsize=7.5)
            axis.axvline(1, color=INK, linewidth=1.2)
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        figure.supxlabel("times as long as isthmus takes (the line); logarithmic", fontsize=9)
        save(figure, path)


def name_points(axis: Any, points: list[tuple[str, float, float]]) -> None:
    """Writes each name beside its point, on the side where it hides least of the other names and points."""
    axis.figure.draw_without_rendering()  # lays the axes out
    dots = [axis.transData.transform((x, y)) for _, x, y in points]
    taken: list[Any] = []
    for name, x, y in points:
        best: tuple[int, Any] | None = None
        for place, align in (((7, -3), "left"), ((-7, -3), "right"), ((0, 7), "center"), ((0, -14), "center")):
            text = axis.annotate(name, (x, y), place, textcoords="offset points", ha=align, fontsize=8.5)
            box = text.get_window_extent()
            hidden = sum(box.overlaps(other) for other in taken) + sum(box.contains(*dot) for dot in dots)
            if best is None or hidden < best[0]:
                if best:
                    best[1].remove()
                best = (hidden, text)
            else:
                text.remove()
        assert best is not None
        taken.append(best[1].get_window_extent())


def draw_roofline(result: dict[str, Any], kernels: dict[str, Any] | None, path: Path) -> None:
    """Speed over arithmetic intensity; bytes are those that must move at least: no point is too far left."""
    import matplotlib as mpl

    peak, threads = result["peak"], str(result["threads"])
    flops, l2, dram = (peak[k][threads] / 1e9 for k in ("fma_flops", "l2_triad_bytes", "dram_triad_bytes"))
    points: list[tuple[str, float, float]] = []
    for case in result["cases"]:
        work = case["flops_per_step"]
        speed = work / statistics.median(case["seconds_per_step"][OURS]) / 1e9
        points.append((case["name"], work / case["bytes_per_step"], speed))
    singles = [k for k in kernels["kernels"] if k["flops"]] if kernels else []
    small = [(k["flops"] / k["bytes"], k["flops"] / statistics.median(k["seconds"]["isthmus"]) / 1e9) for k in singles]

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.5, 5), layout="constrained")
        axis = figure.subplots()
        axis.set_xscale("log")
        axis.set_yscale("log")
        intensities = [x for _, x, _ in points] + [x for x, _ in small]
        left, right = min(0.2, *intensities) / 1.5, max(500.0, *intensities) * 2
        slowest = min([y for *_, y in points] + [y for _, y in small])
        axis.set_xlim(left, right)
        axis.set_ylim(min(1.0, slowest) / 1.5, flops * 1.9)
        axis.axhline(flops, color=INK, linewidth=1.3)
        axis.text(right / 1.1, flops * 1.1, f"{flops:.0f} GFLOP/s, {peak['instruction_set']}", ha="right", fontsize=8.5)
        for name, bandwidth, style in (("L2", l2, "--"), ("memory", dram, ":")):
            axis.plot([left, flops / bandwidth], [left * bandwidth, flops], style, color=INK, linewidth=1.2)
            text = f"{name}, {bandwidth:.0f} GB/s "
            axis.text(0.55 * flops / bandwidth, 0.6 * flops, text, ha="right", fontsize=8.5)
        if small:
            x, y = zip(*small, strict=True)
            axis.plot(
                x, y, "s", color=COLOURS["jax_scan"], markersize=4.5, alpha=0.8, label="single products (kernels)"
            )
        axis.plot(
            *list(zip(*points, strict=True))[1:],
            "o",
            color=COLOURS["torch_tuned"],
            markersize=6.5,
            label="training steps (cases)",
        )
        axis.set_xlabel("float32 operations for each byte that must move")
        axis.set_ylabel(f"GFLOP/s, {threads} threads")
        for direction in (axis.xaxis, axis.yaxis):
            direction.set_major_formatter(lambda value, _: f"{value:g}")
        axis.legend(loc="lower right", frameon=False)
        name_points(axis, points)
        save(figure, path)
