# SPDX-License-Identifier: Apache-2.0
"""A GPU's results as Markdown, like those of a CPU in tables.py."""

from __future__ import annotations

import statistics

from tables import NONE, Row, everyone, figure, libraries, markdown, ratio, spread, strongest, title

OURS = "isthmus_cuda"
NOT_MEASURED = "Not measured yet: no GPU has run `bench/gpu.py`, so nothing can be said of speed on one."


def heading(result: Row) -> str:
    """GPU, versions and how the times were taken."""
    gpu = result["gpu"] or {"name": "no GPU (emulated)", "driver": NONE}
    about = (
        f"{gpu['name']}, driver {gpu['driver']}. {libraries(result['versions'])}. "
        f"Median (min to max) of {result['rounds']} interleaved rounds; a ratio is the median of the rounds' ratios."
    )
    for name, reason in result["left_out"].items():
        about += f" {title(name)} is left out: {reason}."
    if result["out_of_time"]:
        about += f" Not reached in the time that there was: {', '.join(result['out_of_time'])}."
    for what, reason in result["failed"].items():
        about += f" FAILED: {what}: {reason.splitlines()[-1]}."
    return about


def beside(seconds: dict[str, list[float]], scale: float) -> list[str]:
    """The strongest rival, its time and the ratio to it."""
    if not (rival := strongest(seconds, OURS)):
        return [NONE] * 3
    return [title(rival), spread(seconds[rival], scale), f"**{ratio(seconds[OURS], seconds[rival]):.2f}**"]


def training(result: Row) -> list[str]:
    rows = []
    for case in result["cases"]:
        seconds = case["seconds_per_step"]
        ours = seconds[OURS]
        speed = figure(case["flops_per_step"] / statistics.median(ours) / 1e9)
        out = ", ".join(map(title, case["left_out"])) or NONE
        steps = case["steps"].partition(":")[0]
        rows.append([case["name"], case["network"], steps, spread(ours, 1e3), speed, *beside(seconds, 1e3), out])
    header = ["case", "network", "steps", "isthmus, ms/step", "GFLOP/s", "strongest rival", "its ms/step", "ratio"]
    return markdown([*header, "failed"], rows, 3)


def inference(result: Row) -> list[str]:
    rows = []
    for entry in result["inference"]:
        seconds, n = entry["seconds_per_call"], entry["rows_per_call"]
        calls = f"{entry['case']}, {n:,} row{'s' if n > 1 else ''} a call"
        rows.append([calls, spread(seconds[OURS], 1e6), *beside(seconds, 1e6)])
    return markdown(["reconstruct", "isthmus, us", "strongest rival", "its us", "ratio"], rows, 1)


def products(kernels: Row) -> list[str]:
    rows = []
    for row in (row for row in kernels["rows"] if row["flops"]):
        ours, rival = row["seconds"]["isthmus"], row["seconds"].get("cublas")
        speeds = [figure(row["flops"] / statistics.median(s) / 1e9) if s else NONE for s in (ours, rival)]
        batch, inputs, outputs = row["sizes"]
        rows.append([row["operation"], f"({batch}, {inputs}) -> {outputs}", spread(ours, 1e6), speeds[0],
                     figure(statistics.median(rival) * 1e6) if rival else NONE, speeds[1],
                     f"**{ratio(ours, rival):.2f}**" if rival else NONE])  # fmt: skip
    header = ["product", "layer", "isthmus, us", "GFLOP/s", "cuBLAS, us", "its GFLOP/s", "ratio"]
    return markdown(header, rows, 2)


def bound_by_memory(kernels: Row) -> list[str]:
    """Each beside the bandwidth of the copy."""
    found = {row["operation"]: row for row in kernels["rows"] if not row["flops"]}
    rates = {name: row["bytes"] / statistics.median(row["seconds"]["isthmus"]) for name, row in found.items()}
    peak = rates.get("copy")
    rows = [
        [name, " x ".join(f"{size:,}" for size in row["sizes"]), spread(row["seconds"]["isthmus"], 1e6),
         figure(rates[name] / 1e9), f"{rates[name] / peak:.0%}" if peak else NONE]
        for name, row in found.items()
    ]  # fmt: skip
    return markdown(["bound by memory", "floats", "us", "GB/s", "of the copy"], rows, 2)


def section(result: Row) -> str:
    """All tables of one GPU."""
    lines = [heading(result), ""]
    if result["cases"]:
        lines += ["Training:", "", *training(result), "", "Medians of all:", "", *everyone(result, OURS), ""]
    if result["inference"]:
        lines += ["Reconstruction, NumPy arrays in and out:", "", *inference(result), ""]
    if kernels := result["kernels"]:
        lines += ["Products, operands on the GPU, float32 on both sides (TF32 is off) but where the name says more;",
                  "bf16x6 is float32's accuracy on tensor cores, and its rival cuBLAS in float32:", "",
                  *products(kernels), ""]  # fmt: skip
        lines += ["What moves memory, beside a copy within the memory of the GPU:", "", *bound_by_memory(kernels), ""]
    return "\n".join(lines).rstrip()
