# SPDX-License-Identifier: Apache-2.0
"""`isthmus bench`: what it measures, what it prints, and what it says when a side computes something else."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from isthmus._cli import bench, main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    command = [sys.executable, "-m", "isthmus", "bench", "--quick", "--json", "--n-threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_it_measures_both_sides(measured: dict[str, Any]) -> None:
    assert measured["threads"] == 1
    assert [(row["task"], row["case"]) for row in measured["rows"]] == [
        ("train", "a"),
        ("train", "b"),
        ("train", "e"),
        ("reconstruct", "b"),
    ]
    for row in measured["rows"]:
        assert set(row["seconds"]) == {bench.OURS, bench.RIVAL}
        for seconds in row["seconds"].values():
            assert len(seconds) == bench.QUICK_ROUNDS
            assert min(seconds) > 0


def test_the_table(
    measured: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = {key: value for key, value in measured.items() if key != "rows"}
    monkeypatch.setattr(bench, "measure", lambda threads, quick: iter([facts, *measured["rows"]]))
    assert main(["bench"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "isthmus" in lines[1]
    assert len(lines) == 5 + len(measured["rows"])


def test_a_row_by_hand() -> None:
    row = {
        "task": "train",
        "case": "a",
        "network": "3-2-3",
        "flops_per_step": 4_000_000,
        "seconds": {bench.OURS: [1e-4, 1e-4, 3e-4], bench.RIVAL: [4e-4, 5e-4, 6e-4]},
    }
    assert " ".join(bench.format_row(row).split()) == "a: 3-2-3 ms/step 0.1 0.5 40.0 4.00 x as long"


def test_a_failure_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "_bench").mkdir()
    (tmp_path / "_bench" / "short.py").write_text("raise SystemExit('case a: isthmus_cpu has the losses')")
    monkeypatch.setattr(bench, "resources", SimpleNamespace(files=lambda _: tmp_path, as_file=resources.as_file))
    assert main(["bench", "--json"]) == 1
    assert capsys.readouterr().err == "isthmus bench: case a: isthmus_cpu has the losses\n"


@pytest.mark.parametrize("threads", ["0", "-1", "many", "1.5"])
def test_bad_threads(threads: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--n-threads", threads]) == 2
    assert "n_threads must be None or an integer of at least 1" in capsys.readouterr().err


def test_ctrl_c_leaves_nothing_behind() -> None:
    command = [sys.executable, "-m", "isthmus", "bench"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    process.stdout.readline()  # the facts are there: it measures
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)  # returns when nobody holds the pipes any more
    assert process.returncode == 130, errors
    assert b"Traceback" not in errors


def test_the_package_carries_the_files_of_the_bench() -> None:
    """A difference means that the package is not installed from this tree as it is now."""
    carried = resources.files("isthmus") / "_bench"
    with resources.as_file(carried) as folder:
        found = sorted(path.relative_to(folder) for path in folder.rglob("*.py"))
        assert Path("short.py") in found
        for path in found:
            assert (folder / path).read_bytes() == (ROOT / "bench" / path).read_bytes(), path
