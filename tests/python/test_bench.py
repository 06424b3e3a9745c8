# SPDX-License-Identifier: Apache-2.0
"""The bench computes what it says and refuses a contestant that computes something else. No test asserts a time."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """bench/ as its scripts see it: its folder comes first on the path. Returns the module of the cases."""
    monkeypatch.syspath_prepend(str(BENCH))
    for path in BENCH.iterdir():
        monkeypatch.delitem(sys.modules, path.stem, raising=False)
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


RIVALS = ["torch_eager", "torch_tuned", "torch_compile", "jax_scan", "keras_fit", "sklearn_mlp", "onnx_runtime"]


def test_the_rivals_are_all_here(bench: ModuleType) -> None:
    import contestants

    assert set(contestants.NAMES) == {"numpy_loop", "isthmus_cpu", *RIVALS}


@pytest.mark.parametrize("name", RIVALS)
def test_rivals_train_and_reconstruct_as_the_reference_does(bench: ModuleType, name: str) -> None:
    """Those that are installed, as the bench runs them: in a process of their own."""
    from inference import TOLERANCE
    from processes import Process, missing
    from training import VERIFY_TOLERANCE

    if reason := missing(name):
        pytest.skip(reason)
    case = bench.by_name("e")
    with Process(name, 1) as process:
        assert process.ask("versions")
        if process.ask("supports", case=case.name, kind="train"):
            process.ask("build", case=case.name)
            found = process.ask("losses", epochs=3, batches=4)
            np.testing.assert_allclose(found, float64_losses(case, 3, 4), rtol=VERIFY_TOLERANCE[case.precision])
        if process.ask("supports", case=case.name, kind="inference"):
            process.ask("build_inference", case=case.name)
            assert process.ask("error", rows=100) <= TOLERANCE


@pytest.mark.parametrize("name", ["numpy_loop", "isthmus_cpu"])
@pytest.mark.parametrize("case", ["a", "b", "e", "one unit"])
def test_reconstructions_are_those_of_float64(bench: ModuleType, name: str, case: str) -> None:
    from importlib import import_module

    import reference

    found = bench.by_name(case)
    x = found.data()[:9]
    y = import_module(f"contestants.{name}").Reconstructor(found, 1).reconstruct(x)
    np.testing.assert_allclose(y, reference.reconstruct(found, x), rtol=0, atol=2e-6)


def test_verify_refuses_another_loss(bench: ModuleType) -> None:
    import training

    case = bench.by_name("a")
    training.verify({"numpy_loop": [1.0, 0.5], "other": [1.0, 0.5 + 0.4e-4]}, case)
    for wrong in ([1.0, 0.5 + 1e-4], [1.0], [1.0, float("nan")]):
        with pytest.raises(SystemExit, match="case a: other has the losses"):
            training.verify({"numpy_loop": [1.0, 0.5], "other": wrong}, case)


def test_verify_refuses_another_reconstruction(bench: ModuleType) -> None:
    import inference

    inference.verify({"numpy_loop": 1e-7, "other": 0.9e-5}, bench.by_name("b"))
    for wrong in (1.1e-5, float("nan")):
        with pytest.raises(SystemExit, match="case b: other reconstructs with an error"):
            inference.verify({"numpy_loop": 1e-7, "other": wrong}, bench.by_name("b"))


def test_a_contestant_that_fails_is_named(bench: ModuleType) -> None:
    from processes import Process

    with Process("numpy_loop", 1) as process:
        with pytest.raises(SystemExit, match="numpy_loop, build"):
            process.ask("build", case="no such case")
        process.process.kill()
        with pytest.raises(SystemExit, match="numpy_loop ended with exit status -9"):
            process.ask("versions")
    with Process("no_such_contestant", 1) as process, pytest.raises(SystemExit, match="no_such_contestant ended"):
        process.ask("versions")


def test_what_is_not_installed_is_left_out(bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    import processes
    import run

    assert processes.requirements("onnx_runtime") == ("onnxruntime", "onnx")
    needs = {"numpy_loop": ("numpy",), "isthmus_cpu": ("isthmus",), "other": ("numpy", "no_such_module")}
    monkeypatch.setattr(processes, "requirements", needs.__getitem__)
    assert run.present(["isthmus_cpu", "other", "numpy_loop"]) == (
        ["numpy_loop", "isthmus_cpu"],
        {"other": "not installed: no_such_module"},
    )
    needs["isthmus_cpu"] = ("no_such_module",)
    with pytest.raises(SystemExit, match="isthmus_cpu is not installed"):
        run.present(["isthmus_cpu", "numpy_loop"])


def test_turns_alternate_and_are_surrounded(bench: ModuleType) -> None:
    from turns import take_turns

    log: list[str] = []

    def turn(name: str) -> float:
        log.append(name)
        return len(log)

    found = take_turns({"a": lambda: turn("a"), "b": lambda: turn("b")}, 2, lambda: log.append("-"), pause=0)
    assert "".join(log) == "-ab-ba-"
    assert found == {"a": [2, 6], "b": [3, 5]}


def test_bytes_by_hand(bench: ModuleType) -> None:
    import training

    # 10-64-32-32-64-10: 5 weights and 5 biases
    parameters = 640 + 64 + 2048 + 32 + 1024 + 32 + 2048 + 64 + 640 + 10
    assert training.parameter_bytes(bench.by_name("a")) == 4 * parameters
    assert training.step_bytes(bench.by_name("a")) == 4 * (10 * 10 + 6 * parameters)


def test_memory_holds_the_data(bench: ModuleType) -> None:
    """What an epoch needs is at least the data, and less than twice as much beside the libraries' own."""
    import footprint

    case = bench.by_name("b")
    memory = footprint.run_memory(case, ["numpy_loop", "isthmus_cpu"], 1)
    assert memory["data_bytes"] == case.data().nbytes
    for name, held in memory["contestants"].items():
        used = held["peak"] - held["imported"]
        assert 0.95 * memory["data_bytes"] < used < 2 * memory["data_bytes"], (name, used)


def test_run_and_report(tmp_path: Path) -> None:
    """A short run end to end: JSON, then tables in a README of its own."""
    results = tmp_path / "results"
    result = results / "m-1-threads.json"
    command = [sys.executable, str(BENCH / "run.py"), "--threads", "1", "--rounds", "2", "--seconds", "0.02"]
    command += ["--parts", "training", "inference", "scaling", "--contestants", "numpy_loop", "isthmus_cpu"]
    subprocess.run(
        [*command, "--output", str(result), "--cases", "a", "b"], check=True, capture_output=True, cwd=tmp_path
    )
    content = json.loads(result.read_text())
    assert [c["name"] for c in content["cases"]] == ["a", "b"]
    assert [(i["case"], i["rows_per_call"]) for i in content["inference"]] == [("b", 1), ("b", 1024)]
    assert [s["case"] for s in content["scaling"]] == ["a", "b"]
    rows = [c["seconds_per_step"] for c in content["cases"]] + [i["seconds_per_call"] for i in content["inference"]]
    for row in rows:
        assert list(row) == ["numpy_loop", "isthmus_cpu"]
        for seconds in row.values():
            assert len(seconds) == 2
            assert min(seconds) > 0
    if importlib.util.find_spec("matplotlib") is None:
        return  # the report draws
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nafter\n")
    page = tmp_path / "gpu.md"
    page.write_text("<!-- gpu:begin --><!-- gpu:end -->")
    texts = []
    for _ in range(2):  # the second time must change nothing
        report = [sys.executable, str(BENCH / "report.py"), "--results", str(results), "--readme", str(readme)]
        report += ["--gpu", str(page)]
        subprocess.run(report, check=True, capture_output=True)
        texts.append(readme.read_text() + str([p.read_bytes() for p in sorted(results.iterdir())]))
    assert texts[0] == texts[1]
    text = readme.read_text()
    assert text.startswith("before\n<!-- bench:begin -->\n")
    assert text.endswith("<!-- bench:end -->\nafter\n")
    assert "old" not in text
    assert text.count("| a | 10-64-32-32-64-10") == 1
    assert "(results/m-1-threads-ratios.png)" in text
