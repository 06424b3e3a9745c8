# SPDX-License-Identifier: Apache-2.0
"""The bench computes what it says and refuses a contestant that computes something else. No test asserts a time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
SMALL = ["a", "batch 7"]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """bench/ as run.py sees it: its folder comes first on the path. Returns the module of the cases."""
    monkeypatch.syspath_prepend(str(BENCH))
    for name in ("cases", "contestants", "run", "report"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import cases

    return cases


def test_names_are_unique_and_batches_are_whole(bench: ModuleType) -> None:
    assert len({c.name for c in bench.CASES}) == len(bench.CASES)
    for case in bench.CASES:
        assert case.rows % case.batch == 0, case.name
        assert case.widths[0] == case.widths[-1], case.name
        assert 0 < case.code < len(case.widths) - 1, case.name


def test_flops_by_hand(bench: ModuleType) -> None:
    # 784-32-784, batch 256: two layers forward, two weight gradients, one input gradient of 784 * 32 * 256 products
    assert bench.by_name("b").flops_per_step == 5 * 2 * 784 * 32 * 256
    assert bench.by_name("a").flops_per_step == 2 * 10 * (3 * (640 + 2048 + 1024 + 2048 + 640) - 640)


def test_data_and_weights_are_the_same_every_time(bench: ModuleType) -> None:
    case = bench.by_name("a")
    np.testing.assert_array_equal(case.data(), case.data())
    assert case.data().dtype == np.float32
    b = bench.by_name("b").data()
    assert b.min() >= 0
    assert b.max() <= 1
    for one, other in zip(case.weights(), case.weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def float64_losses(case, epochs: int, batches: int) -> list[float]:
    """The textbook's loop in float64: no tricks."""
    forward = {
        "linear": lambda z: z,
        "relu": lambda z: np.maximum(z, 0),
        "tanh": np.tanh,
        "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    }
    derivative = {
        "linear": np.ones_like,
        "relu": lambda y: (y > 0).astype(float),
        "tanh": lambda y: 1 - y * y,
        "sigmoid": lambda y: y * (1 - y),
    }
    data = case.data()[: batches * case.batch].astype(np.float64)
    weights = [w.astype(np.float64) for w in case.weights()]
    m, v = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    names = [case.activation] * (len(case.widths) - 2) + [case.output_activation]
    step, losses = 0, []
    for _ in range(epochs):
        total = 0.0
        for x in np.split(data, batches):
            y = [x]
            for i, name in enumerate(names):
                y.append(forward[name](y[-1] @ weights[2 * i].T + weights[2 * i + 1]))
            if case.loss == "bce":
                total += -np.mean(x * np.log(y[-1]) + (1 - x) * np.log(1 - y[-1]))
                dy = (y[-1] - x) / (y[-1] * (1 - y[-1])) / x.size
            else:
                total += np.mean((y[-1] - x) ** 2)
                dy = 2 * (y[-1] - x) / x.size
            gradient = [np.empty(0)] * len(weights)
            for i in reversed(range(len(names))):
                dz = dy * derivative[names[i]](y[i + 1])
                gradient[2 * i], gradient[2 * i + 1] = dz.T @ y[i], dz.sum(axis=0)
                dy = dz @ weights[2 * i]
            step += 1
            for k, g in enumerate(gradient):
                m[k] = 0.9 * m[k] + 0.1 * g
                v[k] = 0.999 * v[k] + 0.001 * g * g
                rate = case.learning_rate / (1 - 0.9**step)
                weights[k] = weights[k] - rate * m[k] / (np.sqrt(v[k] / (1 - 0.999**step)) + 1e-8)
        losses.append(total / batches)
    return losses


@pytest.mark.parametrize("contestant", ["numpy_loop", "isthmus_cpu"])
@pytest.mark.parametrize("name", ["a", "b", "e", "odd widths", "one unit", "batch 1", "batch 7"])
def test_contestants_train_as_the_textbook_does(bench: ModuleType, contestant: str, name: str) -> None:
    from importlib import import_module

    case = bench.by_name(name)
    batches = min(4, case.steps_per_epoch)
    found = import_module(f"contestants.{contestant}").Contestant(case, 1)
    found.restart(1)
    found.train()  # losses() must start from the first weights whatever came before
    np.testing.assert_allclose(found.losses(3, batches), float64_losses(case, 3, batches), rtol=2e-6)


def test_verify_refuses_another_loss(bench: ModuleType) -> None:
    import run

    case = bench.by_name("a")
    run.verify({"numpy_loop": [1.0, 0.5], "other": [1.0, 0.5 + 0.4e-4]}, case)
    for wrong in ([1.0, 0.5 + 1e-4], [1.0], [1.0, float("nan")]):
        with pytest.raises(SystemExit, match="case a: other has the losses"):
            run.verify({"numpy_loop": [1.0, 0.5], "other": wrong}, case)


def test_run_and_report(tmp_path: Path) -> None:
    """A short run end to end: JSON, and the table in a README of its own."""
    result = tmp_path / "r.json"
    command = [sys.executable, str(BENCH / "run.py"), "--threads", "1", "--rounds", "2", "--seconds", "0.02"]
    command += ["--no-import-times", "--output", str(result), "--cases", *SMALL]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    content = json.loads(result.read_text())
    assert [c["name"] for c in content["cases"]] == SMALL
    for case in content["cases"]:
        for seconds in case["seconds_per_step"].values():
            assert len(seconds) == 2
            assert min(seconds) > 0
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nafter\n")
    for _ in range(2):  # the second time must change nothing
        report = [sys.executable, str(BENCH / "report.py"), "--results", str(result), "--readme", str(readme)]
        subprocess.run(report, check=True, capture_output=True)
    text = readme.read_text()
    assert text.startswith("before\n<!-- bench:begin -->\n")
    assert text.endswith("<!-- bench:end -->\nafter\n")
    assert "old" not in text
    assert text.count("| a | 10-64-32-32-64-10") == 1
