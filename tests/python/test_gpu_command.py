# SPDX-License-Identifier: Apache-2.0
"""The command for a real GPU, as far as it can be tried without one: its stages, what becomes of those that fail, hang
or come too late, and that what it names is there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
GPU = ROOT / "tests" / "gpu"


@pytest.fixture(autouse=True)
def _command_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(GPU))
    for name in ("stages", "plan", "command"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def run(stages: list[Any], folder: Path, seconds: float = 60.0) -> tuple[list[Any], str]:
    from stages import run_stages

    with open(folder / "log.txt", "a") as log:
        results = run_stages(stages, seconds, folder, log)
    return results, (folder / "log.txt").read_text()


def test_a_stage_that_fails_stops_only_those_that_need_it(tmp_path: Path) -> None:
    from stages import Command, Stage, table

    fails = [Command(python("print('first')")), Command(python("print('second'); raise SystemExit(3)")),
             Command(python("print('third')"))]  # fmt: skip
    variable = [Command(python("import os; print('saw', os.environ['VARIABLE'])"))]
    results, log = run([
        Stage("fails", fails, 30),
        Stage("needs it", [Command(["true"])], 30, after=["fails"]),
        Stage("needs that", [Command(["true"])], 30, after=["needs it"]),
        Stage("another", variable, 30, {"VARIABLE": "this"}, after=["not run at all"]),
        Stage("no such", [Command([str(tmp_path / "nothing")])], 30),
        Stage("lacks", [Command(["false"])], 30, missing="there is no tool"),
    ], tmp_path)  # fmt: skip
    assert [r.result for r in results] == ["failed", "not run", "not run", "passed", "failed", "not run"]
    assert "exit status 3" in results[0].why
    assert results[1].why == "fails did not pass"
    assert "No such file" in results[4].why
    assert results[5].why == "there is no tool"
    assert "second\n" in log
    assert "third\n" not in log
    assert "saw this" in log
    assert "1 of 6 passed" in table(results)


def test_a_stage_that_hangs_ends_with_all_that_it_started(tmp_path: Path) -> None:
    from stages import Command, Stage

    child = f"import time, pathlib; time.sleep(2); pathlib.Path({str(tmp_path / 'alive')!r}).touch()"
    hangs = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    started = time.monotonic()
    results, log = run([Stage("hangs", [Command(python("print('before')")), Command(python(hangs))], 1),
                        Stage("next", [Command(python("print('after')"))], 30)], tmp_path)  # fmt: skip
    assert [r.result for r in results] == ["timed out", "passed"]
    assert results[0].why == "more than 1 s"
    assert time.monotonic() - started < 30
    assert log.index("before") < log.index("after")
    time.sleep(2.5)
    assert not (tmp_path / "alive").exists()


def test_stages_side_by_side_do_not_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each waits for a file that the other one makes; one after another both would time out."""
    import stages
    from stages import Command, Stage

    monkeypatch.setattr(stages, "SIDE_BY_SIDE", 3)

    def meets(mine: str, other: str) -> Any:
        code = f"import pathlib, time; pathlib.Path({mine!r}).touch(); print('line of', {mine!r})\n"
        code += f"while not pathlib.Path({other!r}).exists(): time.sleep(0.01)\nprint('met', {other!r})"
        return Stage(f"meets {other}", [Command(python(code))], 30, beside="together")

    fails = Stage("fails", [Command(["false"])], 30, beside="together")
    needs = Stage("needs", [Command(["true"])], 30, after=["fails"])
    heard: list[str] = []
    with open(tmp_path / "log.txt", "a") as log:
        results = stages.run_stages([meets("one", "two"), meets("two", "one"), fails, needs], 60, tmp_path, log,
                                    lambda result: heard.append(result.stage))  # fmt: skip
    assert [r.result for r in results] == ["passed", "passed", "failed", "not run"]
    assert sorted(heard) == ["fails", "meets one", "meets two", "needs"]
    said = (tmp_path / "log.txt").read_text()
    for mine, other in (("one", "two"), ("two", "one")):  # what a stage prints stays together
        assert f"line of {mine}\nmet {other}\n" in said
    assert not list(tmp_path.glob("*.part"))


def test_a_run_that_is_killed_tells_what_it_had(tmp_path: Path) -> None:
    """results.json is there after each stage, and what the stage under way had printed beside it."""
    folder = tmp_path / "build" / "tests" / "cuda_emulator"
    folder.mkdir(parents=True)
    for name in ("planted", "test_conformance", "test_conformance_hopper"):
        text = "#!/bin/sh\necho began\ncase $1 in synccheck) sleep 60;; esac\n"
        (folder / f"emulated_{name}").write_text(text)
        (folder / f"emulated_{name}").chmod(0o755)
    out = tmp_path / "out"
    command = [sys.executable, str(GPU / "run"), "--emulated", "--build", str(tmp_path / "build"), "--output", str(out)]
    running = subprocess.Popen([*command, "--stages", "conformance", "synccheck", "bench"], cwd=tmp_path,
                               stdout=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
    try:
        until = time.monotonic() + 60
        part = out / "synccheck.part"
        while not (part.exists() and "began" in part.read_text()):
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        running.kill()
        running.wait()
    result = json.loads((out / "results.json").read_text())
    assert [(s["stage"], s["passed"]) for s in result["stages"]] == [("conformance", True)]
    assert result["to_come"] == ["synccheck", "bench"]
    assert result["passed"] is False


def test_the_time_of_all_stages_is_limited(tmp_path: Path) -> None:
    from stages import Command, Stage

    sleep = [Command(python("import time; time.sleep(60)"))]
    results, _ = run([Stage("long", sleep, 30), Stage("late", sleep, 30)], tmp_path, seconds=1)
    assert [(r.result, r.why) for r in results] == [("timed out", "more than 1 s"), ("not run", "the 1 s are over")]


def test_a_command_learns_how_long_it_may_take(tmp_path: Path) -> None:
    from stages import MARGIN, SECONDS, Command, Stage

    show = Command([*python("import sys; print('has', sys.argv[1])"), SECONDS])
    results, log = run([Stage("one", [show], MARGIN + 20), Stage("two", [show], 5)], tmp_path, seconds=1000)
    assert [r.result for r in results] == ["passed", "passed"]
    assert re.findall("has (.+)", log) == ["20", "1"]


def test_a_bug_must_be_found_and_for_the_right_reason(tmp_path: Path) -> None:
    from stages import Command, Stage

    def stage(code: str) -> Any:
        return Stage("finds", [Command(python(code), finds="Race reported")], 30)

    results, _ = run([
        stage("print('Race reported between'); raise SystemExit(86)"),
        stage("print('Race reported between')"),
        stage("print('Device not supported'); raise SystemExit(1)"),
    ], tmp_path)  # fmt: skip
    assert [r.result for r in results] == ["passed", "failed", "failed"]
    assert "was not found" in results[1].why
    assert "not because of 'Race reported'" in results[2].why


def test_stages_are_chosen_by_family() -> None:
    from stages import Stage, chosen

    stages = [Stage(name, [], 1) for name in ("build", "cpp cuda", "cpp trainer", "bench")]
    assert [s.name for s in chosen(stages, ["cpp", "bench"])] == ["cpp cuda", "cpp trainer", "bench"]
    assert chosen(stages, []) == stages
    with pytest.raises(SystemExit, match="no stage cp; there are build, cpp, bench"):
        chosen(stages, ["cp"])


def test_the_plan_names_what_is_there(tmp_path: Path) -> None:
    from plan import FINDS, UNDER_SANITIZERS, Settings, every_device, plan

    assert {"cuda", "cuda_tensor_cores", "gradients", "trainer"} <= set(every_device())
    for program, chosen_tests in UNDER_SANITIZERS.items():
        assert program.removeprefix("test_") in every_device()
        tests = (ROOT / "tests" / "cpp" / f"{program}.cpp").read_text()
        for name in chosen_tests:
            assert f"TEST({name})" in tests
    planted = (GPU / "planted.cu").read_text()
    for tool in FINDS:
        assert f'tool == "{tool}"' in planted

    for emulated in (False, True):
        stages = plan(Settings(tmp_path, tmp_path, emulated=emulated), {"compute-sanitizer": "/bin/sanitizer"})
        names = [stage.name for stage in stages]
        assert len(set(names)) == len(names)
        for stage in stages:
            assert set(stage.after) <= set(names[: names.index(stage.name)]), stage.name
            assert not stage.missing
        words = [word for stage in stages for command in stage.commands for word in command.words]
        assert ("/bin/sanitizer" in words) is not emulated
        assert any("emulated" in word for word in words) is emulated
    missing = plan(Settings(tmp_path, tmp_path), {"compute-sanitizer": None})
    assert [stage.family for stage in missing if stage.missing] == list(FINDS)
    assert "build" not in [stage.name for stage in plan(Settings(tmp_path, tmp_path, build=tmp_path), {})]


def test_targets_are_those_of_cmake(tmp_path: Path) -> None:
    from plan import Settings, plan

    folders = ("tests/cpp", "tests/gpu", "tests/cuda_emulator", "bench", "csrc/cuda")
    texts = {folder: (ROOT / folder / "CMakeLists.txt").read_text() for folder in folders}
    targets = set(re.findall(r"add_(?:library|executable)\((\w+) ", "".join(texts.values())))
    targets |= {f"test_{name}" for name in re.findall(r"isthmus_add_test\((\w+)\)", texts["tests/cpp"])}
    for folder, prefix in (("tests/gpu", "gpu"), ("tests/cuda_emulator", "emulated")):
        found = re.search(rf"foreach\(name ([\w ]+)\)\n +add_executable\({prefix}_\$", texts[folder])
        assert found
        targets |= {f"{prefix}_{name}" for name in found[1].split()}
    for emulated in (False, True):
        build = plan(Settings(tmp_path, tmp_path, emulated=emulated), {})[0]
        words = list(build.commands[1].words)
        wanted = words[words.index("--target") + 1 :]
        assert len(wanted) > 5
        assert set(wanted) <= targets


FAKE = """#!/bin/sh
echo "$0 $*"
case "$*" in
"memcheck planted") echo "was written to by a kernel"; exit 1 ;;
"racecheck planted") exit 0 ;;
"synccheck planted") exit 1 ;;
esac
"""


def test_the_command_end_to_end(tmp_path: Path) -> None:
    """With programs that are there but for show: what it writes, prints and returns."""
    folder = tmp_path / "build" / "tests" / "cuda_emulator"
    folder.mkdir(parents=True)
    for name in ("planted", "test_conformance", "test_conformance_hopper"):
        (folder / f"emulated_{name}").write_text(FAKE)
        (folder / f"emulated_{name}").chmod(0o755)
    command = [str(GPU / "run"), "--emulated", "--build", str(tmp_path / "build"), "--output", str(tmp_path / "out")]
    command = [sys.executable, *command, "--stages", "conformance", "memcheck", "racecheck", "synccheck"]
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 1, done.stderr
    result = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [(s["stage"], s["passed"]) for s in result["stages"]] == [
        ("conformance", True), ("memcheck", True), ("racecheck", False), ("synccheck", False)]  # fmt: skip
    assert result["passed"] is False
    assert result["emulated"] is True
    assert {"device", "driver", "versions", "machine"} <= set(result)
    assert "the planted bug was not found" in result["stages"][2]["why"]
    assert "2 of 4 passed" in done.stdout
    assert "---- synccheck" in done.stdout
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["log.txt", "results.json"]
