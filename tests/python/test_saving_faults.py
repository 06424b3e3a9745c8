# SPDX-License-Identifier: Apache-2.0
"""Autoencoder.save, with something wrong at every one of its system calls: the old file or the new one is whole, a
failure is an OSError that names the path, and model and process are as they were.
"""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import system_calls
from checks import counted, run_python
from isthmus import Autoencoder

# A fresh interpreter, so that a fork copies no threads. Prints [kind, at, code, exit, signal, calls, struck] of each.
CODE = """
import json, os, sys
from pathlib import Path
from isthmus import Autoencoder
from system_calls import Mishap, run, watched

target, source, existing, wanted = Path(sys.argv[1]), sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
model = Autoencoder.load(source).set_params(n_threads=1)
new = model.to_bytes(training_state=True)
old = model.to_bytes()
folder = target.parent

def descriptors():
    return len(os.listdir("/proc/self/fd"))

def body():
    open_before = descriptors()
    try:
        watched(lambda: model.save(target, training_state=True))
        said = 0
    except OSError as error:
        said = 10 if error.errno and str(folder) in str(error) else 1
    # The process and the model go on as if nothing had been.
    if model.to_bytes(training_state=True) != new or descriptors() != open_before:
        return 2
    return said

def prepare():
    for name in os.listdir(folder):
        os.unlink(folder / name)
    if existing == "link":
        (folder / "behind").write_bytes(old)
        target.symlink_to("behind")
    elif existing == "file":
        target.write_bytes(old)
        os.chmod(target, 0o640)

def found():
    names = sorted(name for name in os.listdir(folder) if not name.startswith(".isthmus-"))
    link = existing == "link"
    assert target.is_symlink() == link, "the link is gone"
    assert names in ([], ["behind", "model"] if link else ["model"]), names
    if not target.exists():
        return "none"
    data = target.read_bytes()
    return "new" if data == new else "old" if data == old else "torn"

for kind, at, code in wanted:
    prepare()
    outcome = run(body, Mishap(kind, at, code))
    left = sum(name.startswith(".isthmus-") for name in os.listdir(folder))
    print(json.dumps({"kind": kind, "at": at, "code": code, "exit": os.waitstatus_to_exitcode(outcome.status),
                      "calls": outcome.calls, "struck": outcome.struck, "found": found(), "left": left}))
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    x = np.random.default_rng(0).random((30, 5)).astype(np.float32)
    path = tmp_path / "source"
    Autoencoder((3, 2), epochs=2, random_state=7).fit(x).save(path, training_state=True)
    return path


def saves(source: Path, existing: str, mishaps: list[tuple[str, int, int]]) -> list[dict[str, Any]]:
    folder = source.parent / "folder"
    folder.mkdir(exist_ok=True)
    output = run_python(CODE, str(folder / "model"), str(source), existing, json.dumps(mishaps))
    return [json.loads(line) for line in output.splitlines()]


def file_calls(outcome: dict[str, Any]) -> list[tuple[str, int]]:
    return [(name, first) for name, first in outcome["calls"] if name not in system_calls.OF_THE_RUNTIME]


CODES = [errno.EIO, errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EINTR, errno.EACCES]
EXISTING = ["none", "file", "link"]

pytestmark = pytest.mark.skipif(not system_calls.HERE, reason="the injector reads the registers of x86-64")


def quiet(source: Path, existing: str) -> dict[str, Any]:
    """A save to which nothing happens. In a container that forbids ptrace there is no way to tell."""
    try:
        (outcome,) = saves(source, existing, [("none", -1, 0)])
    except AssertionError as error:
        if "ptrace" not in str(error):
            raise
        pytest.skip("this system does not let a process trace its child")
    assert (outcome["exit"], outcome["found"], outcome["left"]) == (0, "new", 0), outcome
    return outcome


@pytest.mark.parametrize("existing", EXISTING)
def test_the_calls_of_a_save_are_those_that_are_known(source: Path, existing: str) -> None:
    names = [name for name, _ in file_calls(quiet(source, existing))]
    assert "system call" not in " ".join(names)
    tail = ["write", "fsync", "close", "renameat", "fsync", "close"]
    assert names[-len(tail):] == tail
    assert ("fchmod" in names) == (existing != "none")


@pytest.mark.parametrize("existing", EXISTING)
def test_every_call_may_fail(source: Path, existing: str) -> None:
    calls = [name for name, _ in file_calls(quiet(source, existing))]
    renamed = calls.index("renameat")
    mishaps = [(kind, at, code) for kind in ("error", "persistent") for code in CODES for at in range(len(calls))
               if (kind, code) != ("persistent", errno.EINTR)]  # what is always interrupted is tried for ever
    old = "none" if existing == "none" else "old"
    for outcome in counted("system calls of a save that failed", saves(source, existing, mishaps)):
        at, made = outcome["at"], file_calls(outcome)
        assert outcome["struck"] and made[at][0] == calls[at], outcome
        assert outcome["exit"] in (0, 10), outcome
        assert outcome["left"] == 0, outcome
        # What is whole, and which it is: the new file only from its rename on.
        assert outcome["found"] in (["new"] if outcome["exit"] == 0 else [old] if at <= renamed else ["new"]), outcome
        if outcome["exit"] == 0:
            # EINTR is an invitation to try again; a process without a name for itself would still have a folder.
            assert outcome["code"] == errno.EINTR or calls[at] == "getpid", outcome
        if calls[at] in ("fsync", "close"):
            assert outcome["exit"] == 10, outcome
            assert made[at] not in made[at + 1 :], f"{calls[at]} was repeated on the same descriptor"


@pytest.mark.parametrize("existing", EXISTING)
def test_writes_may_be_short(source: Path, existing: str) -> None:
    calls = [name for name, _ in file_calls(quiet(source, existing))]
    (outcome,) = counted("short writes of a save", saves(source, existing, [("short", calls.index("write"), 0)]))
    assert (outcome["exit"], outcome["found"], outcome["left"]) == (0, "new", 0), outcome
    assert [name for name, _ in file_calls(outcome)].count("write") == 2


@pytest.mark.parametrize("existing", EXISTING)
def test_killed_at_every_call(source: Path, existing: str) -> None:
    """The runtime's own calls, too: before and after each."""
    calls = [name for name, _ in quiet(source, existing)["calls"]]
    renamed = calls.index("renameat")
    old = "none" if existing == "none" else "old"
    mishaps = [(kind, at, 0) for kind in ("killed before", "killed after") for at in range(len(calls))]
    for outcome in counted("kills at a system call of a save", saves(source, existing, mishaps)):
        if not outcome["struck"]:  # malloc asked for memory in other portions this time
            assert outcome["exit"] == 0 and outcome["at"] >= len(outcome["calls"]), outcome
            continue
        assert outcome["exit"] == -9, outcome
        made = [name for name, _ in outcome["calls"]]
        renamed = made.index("renameat") if "renameat" in made else len(made)
        after = outcome["at"] > renamed or (outcome["at"] == renamed and outcome["kind"] == "killed after")
        assert outcome["found"] == ("new" if after else old), outcome
        assert outcome["left"] <= 1
