# SPDX-License-Identifier: Apache-2.0
"""The bench on a GPU, with processes that are there but for show: who is left out, what is kept, what the page says. No
GPU is needed and no time is asserted."""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture(autouse=True)
def _bench_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    for path in BENCH.iterdir():
        monkeypatch.delitem(sys.modules, path.stem, raising=False)


def test_cases_of_a_gpu_are_those_of_the_cpu_and_d_in_large_batches() -> None:
    import gpu
    from cases import CASES, GPU_CASES, by_name

    assert GPU_CASES[: len(CASES)] == CASES
    d, large = by_name("d"), by_name("d 4096")
    assert (large.widths, large.batch) == (d.widths, 4096)
    assert large.rows % large.batch == 0
    for case in ("d", "d 4096"):
        for precision in ("tf32", "bfloat16"):
            same = by_name(f"{case} {precision}")
            assert (same.widths, same.batch, same.rows, same.precision) == (
                d.widths, by_name(case).batch, by_name(case).rows, precision)  # fmt: skip
            assert same.describe() == f"{by_name(case).describe()}, {precision}"
    assert sorted(gpu.CASES) == sorted(case.name for case in GPU_CASES)


def test_every_contestant_says_whether_it_can_run() -> None:
    from contestants import GPU_NAMES
    from processes import requirements

    for name in GPU_NAMES:
        assert requirements(name)
        assert "unavailable" in (BENCH / "contestants" / f"{name}.py").read_text()


@pytest.mark.parametrize("name", ["torch_eager_cuda", "torch_compile_cuda", "jax_scan_cuda"])
def test_rivals_train_as_the_reference_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are installed, on the CPU."""
    from cases import by_name
    from processes import Process, missing
    from training import REFERENCE, first_losses, verify

    if reason := missing(name):
        pytest.skip(reason)
    monkeypatch.setenv("ISTHMUS_BENCH_EMULATED", "1")
    case = by_name("a")
    with Process(name, 1) as process, Process(REFERENCE, 1) as reference:
        assert process.ask("unavailable") is None
        verify({REFERENCE: first_losses(reference, case), name: first_losses(process, case)}, case)
        assert process.ask("train", epochs=2, repeats=1) > 0


# ---- a run --------------------------------------------------------------------------------------------------------


class Fake:
    """A contestant that answers at once. What each cannot do is in its name."""

    started: ClassVar[list[str]] = []

    def __init__(self, name: str, threads: int) -> None:
        del threads
        self.name, self.limit, self.dead = name, 0.0, False
        self.process = argparse.Namespace(poll=lambda: 1 if self.dead else None)
        Fake.started.append(name)

    def ask(self, do: str, **arguments: Any) -> Any:
        from processes import Failed

        if do == "unavailable":
            return "there is none" if self.name == "jax_scan_cuda" else None
        if do == "build" and self.name == "torch_compile_cuda" and arguments["case"] == "a":
            self.dead = True
            raise Failed(f"{self.name}:\nTraceback\nout of memory")
        if do == "build" and self.name == "isthmus_cuda" and arguments["case"] == "c":
            raise Failed("isthmus_cuda: no")
        wrong = self.name == "torch_eager_cuda" and do == "losses"
        answers = {"versions": {"v": "1"}, "losses": [2.0, 1.0 + wrong], "train": 0.25, "supports": True,
                   "build": None, "build_inference": None, "error": 1e-7, "reconstruct": 0.5,
                   "plan": "two kernels, no graph"}  # fmt: skip
        return answers[do]

    def close(self) -> None:
        self.dead = True

    def __enter__(self) -> Fake:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def fake_run(monkeypatch: pytest.MonkeyPatch, output: Path, **settings: Any) -> tuple[int, dict[str, Any]]:
    import gpu
    import machine
    from contestants import GPU_NAMES

    Fake.started = []
    monkeypatch.setattr(gpu, "Process", Fake)
    monkeypatch.setattr(gpu, "missing", lambda name: None)
    monkeypatch.setattr(machine, "gpu", lambda: {"name": "A GPU", "driver": "1.2"})
    chosen = {"contestants": list(GPU_NAMES), "cases": ["a", "e"], "parts": ["training"], "rounds": 2, "seconds": 0.1,
              "budget": 100.0, "emulated": False, "program": None, "output": output, "plan": None}  # fmt: skip
    with contextlib.ExitStack() as stack:
        status = gpu.Bench(argparse.Namespace(**chosen | settings), stack).run()
    return status, json.loads(output.read_text())


def test_who_fails_is_left_out_of_that_case(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status, result = fake_run(monkeypatch, tmp_path / "a-gpu.json")
    assert status == 0
    assert result["left_out"] == {"jax_scan_cuda": "there is none"}
    a, e = result["cases"]
    assert a["left_out"]["torch_compile_cuda"] == "out of memory"
    assert "torch_eager_cuda has the losses" in a["left_out"]["torch_eager_cuda"]
    assert list(a["seconds_per_step"]) == ["isthmus_cuda"]
    assert list(e["seconds_per_step"]) == ["isthmus_cuda", "torch_compile_cuda"]
    assert Fake.started.count("torch_compile_cuda") == 2
    # 0.25 s a training; how long a turn is does not matter
    steps = e["plans"]["isthmus_cuda"]["epochs"] * e["plans"]["isthmus_cuda"]["repeats"] * 10
    assert e["seconds_per_step"]["isthmus_cuda"] == [0.25 / steps] * 2
    assert e["steps"] == "two kernels, no graph"


def test_a_case_that_isthmus_fails_is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status, result = fake_run(monkeypatch, tmp_path / "a-gpu.json", cases=["c", "e"])
    assert status == 1
    assert result["failed"] == {"training c": "isthmus_cuda: no"}
    assert [case["name"] for case in result["cases"]] == ["e"]


def test_what_the_budget_does_not_reach_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status, result = fake_run(monkeypatch, tmp_path / "a-gpu.json", budget=0.0, parts=["inference", "training"])
    assert status == 0
    assert result["out_of_time"] == ["training a", "training e"]


def test_a_process_that_takes_too_long_is_ended() -> None:
    from processes import Failed, Lines

    answers = "for line in iter(input, ''): print(line * 2, flush=True)"
    with Lines("echo", [sys.executable, "-c", answers], {}) as echo:
        echo.limit = 60
        assert echo.exchange("ab") == "abab\n"
    with Lines("sleeper", [sys.executable, "-c", "import time; time.sleep(60)"], {}) as sleeper:
        sleeper.limit = 0.2
        with pytest.raises(Failed, match="sleeper took more than 0 s at hello"):
            sleeper.exchange("hello")


# ---- single kernels -----------------------------------------------------------------------------------------------


PROGRAM = """#!{python}
import sys
for line in sys.stdin:
    verb, *words = line.split()
    error = 1e-3 if words[:1] == ["gather"] and {wrong} else 1e-7
    flops = 100 if len(words) == 4 else 0
    print({{"device": '{{"device": "fake"}}', "time": '{{"seconds": 0.5}}',
           "prepare": f'{{{{"error": {{error}}, "flops": {{flops}}, "bytes": 8}}}}'}}[verb], flush=True)
"""


@pytest.mark.parametrize("wrong", [False, True])
def test_kernels_are_checked_and_timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wrong: bool) -> None:
    import gpu_kernels
    from processes import Failed

    program = tmp_path / "program"
    program.write_text(PROGRAM.format(python=sys.executable, wrong=wrong))
    program.chmod(0o755)
    (tmp_path / "cublas.py").write_text("raise SystemExit('no PyTorch')")
    monkeypatch.setattr(gpu_kernels, "HERE", tmp_path)
    if wrong:
        with pytest.raises(Failed, match=r"gather.*has an error of 0.001"):
            gpu_kernels.measure(program, gpu_kernels.SMALL, 2, 0.1, lambda: 1.0)
        return
    found = gpu_kernels.measure(program, gpu_kernels.SMALL, 2, 0.1, lambda: 1.0)
    assert "cublas ended" in found["left_out"]["cublas"]
    assert [row["operation"] for row in found["rows"]] == [name for name, _ in gpu_kernels.SMALL]
    assert all(row["seconds"] == {"isthmus": [0.5, 0.5]} for row in found["rows"])
    assert len(gpu_kernels.measure(program, gpu_kernels.SMALL, 1, 0.1, lambda: 0.0)["missing"]) == 10


def test_products_are_those_of_the_cases() -> None:
    import gpu_kernels

    everything = gpu_kernels.operations()
    assert set(gpu_kernels.operations(("b",), (512,))) < set(everything)
    assert len(set(everything)) == len(everything)
    for wanted in (("forward", (256, 784, 32)), ("weight", (4096, 2048, 4096)), ("input", (8192, 8192, 8192)),
                   ("forward.tf32", (4096, 4096, 4096)), ("weight.bf16x6", (512, 2048, 4096)),
                   ("input.bfloat16", (4096, 2048, 4096))):  # fmt: skip
        assert wanted in everything
    assert everything[:4] == [("copy", (1 << 26,)), ("update", (1 << 26,)), ("loss", (32768, 2048)),
                               ("gather", (32768, 2048))]  # fmt: skip


# ---- the page -----------------------------------------------------------------------------------------------------

RESULT: dict[str, Any] = {
    "gpu": {"name": "A GPU", "driver": "1.2"},
    "rounds": 2,
    "versions": {"isthmus_cuda": {"isthmus": "1.2"}},
    "left_out": {"jax_scan_cuda": "JAX sees no GPU here"},
    "out_of_time": ["training d 4096"],
    "failed": {"training e": "first\nlast"},
    "cases": [
        {"name": "a", "network": "3-2-3", "steps": "one block: 512 threads", "flops_per_step": 4_000_000,
         "left_out": {"torch_compile_cuda": "memory"},
         "seconds_per_step": {"isthmus_cuda": [1e-4, 1e-4], "torch_eager_cuda": [4e-4, 4e-4]}},
        {"name": "b", "network": "5-2-5", "steps": "", "flops_per_step": 1_000_000, "left_out": {},
         "seconds_per_step": {"isthmus_cuda": [1e-4, 1e-4]}},
    ],
    "inference": [
        {"case": "b", "rows_per_call": 1, "seconds_per_call": {"isthmus_cuda": [1e-5] * 2, "jax_scan_cuda": [2e-5] * 2}}
    ],
    "kernels": {"rows": [
        {"operation": "weight", "sizes": [2, 3, 4], "flops": 10**6, "bytes": 10**5,
         "seconds": {"isthmus": [1e-5, 1e-5], "cublas": [2e-5, 2e-5]}},
        {"operation": "copy", "sizes": [1000], "flops": 0, "bytes": 10**5, "seconds": {"isthmus": [1e-5, 1e-5]}},
        {"operation": "loss", "sizes": [10, 2000], "flops": 0, "bytes": 10**5, "seconds": {"isthmus": [2e-5, 2e-5]}},
    ]},
}  # fmt: skip


def cells(lines: list[str], row: int) -> list[str]:
    return [cell.strip() for cell in lines[row + 2].strip("|").split("|")]


def test_tables_by_hand() -> None:
    import gpu_tables

    lines = gpu_tables.training(RESULT)
    # 4e6 operations in 1e-4 s
    assert cells(lines, 0) == ["a", "3-2-3", "one block", "0.1 (0.1 to 0.1)", "40", "PyTorch eager", "0.4 (0.4 to 0.4)",
                               "**0.25**", "torch.compile"]  # fmt: skip
    assert cells(lines, 1)[3:] == ["0.1 (0.1 to 0.1)", "10", "-", "-", "-", "-"]
    assert cells(gpu_tables.inference(RESULT), 0)[-1] == "**0.50**"
    assert cells(gpu_tables.products(RESULT["kernels"]), 0) == [
        "weight", "(2, 3) -> 4", "10 (10 to 10)", "100", "20", "50", "**0.50**"]  # fmt: skip
    assert [row[-1] for row in (cells(gpu_tables.bound_by_memory(RESULT["kernels"]), i) for i in (0, 1))] == [
        "100%", "50%"]  # fmt: skip
    text = gpu_tables.section(RESULT)
    for words in ("A GPU, driver 1.2", "JAX scan is left out: JAX sees no GPU here.", "training d 4096", "FAILED",
                  "training e: last"):  # fmt: skip
        assert words in text


def test_the_page_says_that_nothing_was_measured_or_what_was(tmp_path: Path) -> None:
    from gpu_tables import NOT_MEASURED

    page = tmp_path / "gpu.md"
    page.write_text("before\n<!-- gpu:begin -->\nold\n<!-- gpu:end -->\nafter\n")
    results = tmp_path / "results"
    results.mkdir()
    report = [sys.executable, str(BENCH / "report.py"), "--results", str(results), "--gpu", str(page)]
    assert subprocess.run(report, capture_output=True, check=False).returncode != 0  # nor is there anything else
    assert NOT_MEASURED in page.read_text()
    (results / "a-gpu.json").write_text(json.dumps(RESULT))
    subprocess.run(report, capture_output=True, check=True)
    text = page.read_text()
    assert NOT_MEASURED not in text
    assert "| a | 3-2-3 | one block |" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")


def test_the_page_of_the_repository_is_that_of_its_results() -> None:
    """What bench/results holds of GPUs is whole, and docs/gpu.md says it."""
    import gpu_tables

    page = (BENCH.parent / "docs" / "gpu.md").read_text()
    kept = sorted((BENCH / "results").glob("*-gpu.json"))
    for path in kept:
        assert gpu_tables.section(json.loads(path.read_text())) in page
    assert (gpu_tables.NOT_MEASURED in page) is (not kept)
