# SPDX-License-Identifier: Apache-2.0
"""Probes, single operations and instruction counts: they measure what they say, and a check can
fail. No time is asserted."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from isthmus import _core

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture(autouse=True)
def _bench_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    for path in BENCH.iterdir():
        monkeypatch.delitem(sys.modules, path.stem, raising=False)


# ---- probes -------------------------------------------------------------------------------------------------------


def test_probes(tmp_path: Path) -> None:
    import probes

    cxx = probes.compiler()
    if cxx is None:
        pytest.skip("no C++ compiler")
    found = probes.Probes(cxx, _core.instruction_set(), tmp_path)
    for value in (found.barrier_seconds(), found.fma_flops(1), found.fma_flops(2), found.triad_bytes(2, 1 << 16)):
        assert math.isfinite(value)
        assert value > 0


def test_probes_that_do_not_compile_say_why(tmp_path: Path) -> None:
    import probes

    cxx = probes.compiler()
    if cxx is None:
        pytest.skip("no C++ compiler")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit, match=r"no-such-flag"):
        patch.setitem(probes.INSTRUCTION_SETS, "broken", (["-no-such-flag"], 16))
        probes.Probes(cxx, "broken", tmp_path)


def test_every_instruction_set_has_flags() -> None:
    import probes

    assert set(_core.instruction_sets()) <= set(probes.INSTRUCTION_SETS)


# ---- single operations --------------------------------------------------------------------------------------------


def test_operations_and_their_twins_agree_with_float64() -> None:
    import kernels as bench_kernels
    import operations
    from cases import by_name

    small = [operations.dense(by_name("a"), 1), operations.dense(by_name("odd widths"), 1)]
    small += [operations.activation(name, by_name("e"), 1) for name in operations.ACTIVATIONS]
    small += [operations.losses(by_name("b"), 1), [operations.adam(by_name("a"), 1)]]
    for operation in (operation for group in small for operation in group):
        expected = operation.expected()
        bench_kernels.verify(operation.name, operation.ours(), expected)
        if operation.rival:
            bench_kernels.verify(operation.name, operation.rival(), expected)
        else:
            assert "gelu" in operation.name


def test_operations_cover_the_registry() -> None:
    import operations
    from isthmus import kernels

    assert set(operations.ACTIVATIONS) == set(_core.activations())
    source = Path(operations.__file__).read_text()
    for name in kernels.__all__:
        assert f"kernels.{name}(" in source, name


def test_a_wrong_operation_is_refused() -> None:
    import kernels as bench_kernels

    right = np.arange(5.0)
    bench_kernels.verify("x", (right.astype(np.float32), 1.0), (right, 1.0))
    for wrong in (right * (1 + 2e-5), right * np.nan):
        with pytest.raises(SystemExit, match="x: result 1 has a relative error"):
            bench_kernels.verify("x", (1.0, wrong), (1.0, right))


def test_the_kernel_bench_runs(tmp_path: Path) -> None:
    output = tmp_path / "k.json"
    command = [sys.executable, str(BENCH / "kernels.py"), "--threads", "1", "--rounds", "2", "--seconds", "0.001"]
    subprocess.run([*command, "--match", "(640,)", "--output", str(output)], check=True, capture_output=True)
    (row,) = json.loads(output.read_text())["kernels"]
    assert row["operation"] == "adam_step"
    assert row["bytes"] == 7 * 4 * 640
    assert {len(seconds) for seconds in row["seconds"].values()} == {2}


# ---- instruction counts -------------------------------------------------------------------------------------------


def test_more_instructions_fail() -> None:
    from instructions import Count, compare

    kept = Count("a", "avx2", "gcc 12", 100_000)
    cases = [(100_000, True, "+0.00%"), (100_900, True, "+0.90%"), (101_100, False, "more than 1% above")]
    cases += [(99_100, True, "-0.90%"), (98_900, True, "--write")]
    for count, passes, words in cases:
        verdict = compare(replace(kept, instructions_per_step=count), kept)
        assert verdict[0] is passes, count
        assert words in verdict[1]
    other = compare(Count("a", "avx2", "gcc 13", 200_000), kept)
    assert other[0]
    assert "only a note" in other[1]
    assert not compare(kept, None)[0]


VALGRIND = """#!/bin/sh
# Stands for valgrind: start-up, then some instructions an epoch, which is the last argument.
for epochs in "$@"; do :; done
echo "==1== Collected : $((5000000 + epochs * $PER_EPOCH))" >&2
echo "gcc 12"
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the kept counts are those of x86-64")
def test_the_check_of_instructions_can_fail(tmp_path: Path) -> None:
    """The script end to end: counts are kept, compared, and refused when they have grown; start-up cancels."""
    (tmp_path / "valgrind").write_text(VALGRIND)
    (tmp_path / "valgrind").chmod(0o755)
    kept = tmp_path / "kept.json"
    command = [sys.executable, str(BENCH / "instructions.py"), "--program", "steps", "--kept", str(kept)]

    def run(per_epoch: int, *more: str) -> subprocess.CompletedProcess[str]:
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"PATH": path, "PER_EPOCH": str(per_epoch)}
        return subprocess.run([*command, *more], env=environment, capture_output=True, text=True)

    assert "none is kept" in run(1_000_000).stdout
    assert run(1_000_000, "--write").returncode == 0
    counts = json.loads(kept.read_text())
    assert [(c["case"], c["isa"]) for c in counts] == [
        ("a", "avx2"),
        ("a", "baseline"),
        ("e", "avx2"),
        ("e", "baseline"),
    ]
    assert {c["instructions_per_step"] for c in counts} == {100_000}  # ten steps an epoch in both cases
    assert run(1_005_000).returncode == 0
    grown = run(1_040_000)
    assert grown.returncode != 0
    assert "case a, avx2: 104,000 instructions a step, kept 100,000 (+4.00%)" in grown.stdout
    assert "have grown" in grown.stderr


def test_kept_counts_are_those_of_the_cases() -> None:
    from instructions import CASES, INSTRUCTION_SETS, KEPT, load

    assert set(load(KEPT)) == {(case, isa) for case in CASES for isa in INSTRUCTION_SETS}
