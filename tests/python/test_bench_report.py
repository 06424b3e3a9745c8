# SPDX-License-Identifier: Apache-2.0
"""The bench's tables and pictures say what is in its results: every figure of a small result, by hand."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"

RESULT: dict[str, Any] = {
    "machine": {"cpu": "A CPU"},
    "threads": 2,
    "rounds": 3,
    "versions": {"numpy_loop": {"numpy": "9.9"}, "isthmus_cpu": {"isthmus": "1.2"}},
    "left_out": {"jax_scan": "not installed: jax"},
    "peak": {
        "instruction_set": "avx2",
        "fma_flops": {"1": 1e11, "2": 2e11},
        "l2_triad_bytes": {"1": 5e10, "2": 1e11},
        "dram_triad_bytes": {"1": 1e10, "2": 2e10},
    },
    "barrier": {"median": 1e-7, "min": 5e-8, "max": 3e-7},
    "cases": [
        {
            "name": "a",
            "network": "3-2-3",
            "flops_per_step": 4_000_000,
            "bytes_per_step": 200_000,
            "seconds_per_step": {
                "numpy_loop": [4e-4, 5e-4, 6e-4],
                "isthmus_cpu": [1e-4, 1e-4, 3e-4],
                "torch_eager": [2e-4, 2e-4, 9e-4],
            },
        },
        {
            "name": "b",
            "network": "5-2-5",
            "flops_per_step": 1_000_000,
            "bytes_per_step": 200_000,
            "seconds_per_step": {"numpy_loop": [1e-4, 1e-4, 1e-4], "isthmus_cpu": [1e-4, 2e-4, 1e-4]},
        },
    ],
    "inference": [
        {
            "case": "b",
            "rows_per_call": 1024,
            "seconds_per_call": {"numpy_loop": [2e-3, 2e-3, 2e-3], "isthmus_cpu": [1e-3, 1e-3, 1e-3]},
        }
    ],
    "scaling": [{"case": "a", "seconds_per_step": {"1": [2e-4, 2e-4, 3e-4], "2": [1e-4, 1e-4, 2e-4]}}],
    "memory": {
        "case": "b",
        "data_bytes": 49_000_000,
        "parameter_bytes": 1_000_000,
        "contestants": {"isthmus_cpu": {"imported": 20_000_000, "peak": 80_000_000}},
    },
    "import_seconds": {"isthmus": [0.2, 0.1, 0.3], "numpy": [0.05, 0.05, 0.09]},
}


@pytest.fixture(autouse=True)
def _bench_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    for path in BENCH.iterdir():
        monkeypatch.delitem(sys.modules, path.stem, raising=False)


def cells(lines: list[str], row: int) -> list[str]:
    return [cell.strip() for cell in lines[row + 2].strip("|").split("|")]


def test_training_names_the_strongest_rival() -> None:
    import tables

    lines = tables.training(RESULT)
    # 4e6 flops in 1e-4 s are 40 GFLOP/s, a fifth of the peak on two threads; 1/2, 1/2, 1/3 of PyTorch's rounds
    assert cells(lines, 0) == [
        "a",
        "3-2-3",
        "0.1 (0.1 to 0.3)",
        "40.0",
        "20%",
        "PyTorch eager",
        "0.2 (0.2 to 0.9)",
        "**0.50**",
    ]
    assert cells(lines, 1)[5:] == ["NumPy", "0.1 (0.1 to 0.1)", "**1.00**"]


def test_the_other_tables() -> None:
    import tables

    assert cells(tables.everyone(RESULT), 0) == ["a", "0.1", "0.5", "0.2"]
    assert cells(tables.everyone(RESULT), 1) == ["b", "0.1", "0.1", "-"]
    assert cells(tables.inference(RESULT), 0) == [
        "b, 1,024 rows a call",
        "1,000 (1,000 to 1,000)",
        "1,024,000",
        "NumPy",
        "2,000 (2,000 to 2,000)",
        "512,000",
        "**0.50**",
    ]
    assert cells(tables.scaling(RESULT), 0)[-1] == "2.00"
    text = "\n".join(tables.footprint(RESULT))
    assert "isthmus 60 MB (1.20)" in text
    assert "`numpy` 0.050 s, `isthmus` 0.200 s" in text


def test_a_section_says_what_was_measured_and_what_not() -> None:
    import tables

    text = tables.machine_section(RESULT, {"A picture": "p.png"})
    for words in ("A CPU", "numpy 9.9", "200 GFLOP/s", "100 GB/s from L2", "100 ns (50 to 300)", "![A picture](p.png)"):
        assert words in text
    assert "JAX scan is left out, not installed: jax." in text
    bare = copy.deepcopy(RESULT) | {"peak": None, "barrier": None, "memory": None, "import_seconds": None}
    bare |= {"inference": [], "scaling": []}
    text = tables.machine_section(bare, {})
    assert "GFLOP/s of float32" not in text
    assert "| 40.0 | - | PyTorch eager" in text


def test_kernels() -> None:
    import tables

    rows = [
        {"operation": "dense", "shape": "s", "flops": 10**6, "bytes": 10**5, "triad_bytes": None,
         "seconds": {"isthmus": [1e-5, 1e-5], "numpy": [2e-5, 4e-5]}},
        {"operation": "gelu", "shape": "s", "flops": 0, "bytes": 10**5, "triad_bytes": 4e10,
         "seconds": {"isthmus": [1e-5, 1e-5]}},
    ]  # fmt: skip
    result = {"machine": {"cpu": "A CPU"}, "threads": 1, "rounds": 2, "versions": {}, "instruction_set": "avx2"}
    lines = tables.kernels_section(result | {"fma_flops": 4e11, "kernels": rows}).splitlines()[2:]
    # 100 GFLOP/s of 400; 10 GB/s of 40
    assert cells(lines, 0) == ["dense", "s", "10 (10 to 10)", "100.0", "10.0", "25%", "30", "**0.38**"]
    assert cells(lines, 1) == ["gelu", "s", "10 (10 to 10)", "-", "10.0", "25%", "-", "-"]


def test_pictures_are_a_function_of_the_results(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    import pictures

    kernels = {"kernels": [{"flops": 10**6, "bytes": 10**5, "seconds": {"isthmus": [1e-5]}}]}
    for name in ("one", "two"):
        pictures.draw_ratios(RESULT, tmp_path / f"{name}-ratios.png")
        pictures.draw_roofline(RESULT, kernels, tmp_path / f"{name}-roofline.png")
    for kind in ("ratios", "roofline"):
        one, two = ((tmp_path / f"{name}-{kind}.png").read_bytes() for name in ("one", "two"))
        assert one.startswith(b"\x89PNG")
        assert one == two
    pictures.draw_roofline(RESULT, None, tmp_path / "other.png")
    assert (tmp_path / "other.png").read_bytes() != (tmp_path / "one-roofline.png").read_bytes()


def test_a_page_without_markers_is_refused(tmp_path: Path) -> None:
    import report

    page = tmp_path / "p.md"
    for text in ("", "<!-- x:begin -->", "<!-- x:end --><!-- x:begin -->", "<!-- x:begin -->" * 2 + "<!-- x:end -->"):
        page.write_text(text)
        with pytest.raises(SystemExit, match="must hold"):
            report.replace_between(page, "x", "new")
        assert page.read_text() == text


def test_kept_results_are_whole() -> None:
    """Each file of bench/results has what the report reads."""
    import tables

    for path in sorted((BENCH / "results").glob("*-threads.json")):
        tables.machine_section(json.loads(path.read_text()), {})
    for path in sorted((BENCH / "results").glob("*-kernels.json")):
        tables.kernels_section(json.loads(path.read_text()))
