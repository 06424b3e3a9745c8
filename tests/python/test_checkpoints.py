# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: a fit that was left anywhere, by whatever, and is resumed gives the bits of the one that was not."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import assert_same_bits, bits, run_python
from isthmus import AnomalyDetector, Autoencoder, ModelFormatError, VariationalAutoencoder
from numpy.typing import NDArray

pytestmark = pytest.mark.every_device

F32 = NDArray[np.float32]


@pytest.fixture
def x(rng: np.random.Generator) -> F32:
    return rng.random((50, 6)).astype(np.float32)


def model(**parameters: Any) -> Autoencoder:
    return Autoencoder(**{"encoder_layers": (5, 2), "epochs": 6, "batch_size": 16, "random_state": 0, **parameters})


class StoppedError(Exception):
    """What a callback raises."""


def left_after(epochs: int) -> Any:
    """A callback that leaves the fit after so many epochs."""

    def leave(_: object, info: dict[str, Any]) -> None:
        if info["epoch"] == epochs:
            raise StoppedError

    return leave


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_same_fit(a: Autoencoder, b: Autoencoder) -> None:
    assert bits(a) == bits(b)
    assert a.n_iter_ == b.n_iter_
    assert a.history_.keys() == b.history_.keys()
    for key in a.history_.keys() - {"seconds"}:
        assert a.history_[key] == b.history_[key], key


# ---- the folder ---------------------------------------------------------------------------------------------------


def test_the_newest_three_stay(x: F32, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    seen: list[list[str]] = []
    fitted = model().fit(x, checkpoint=folder, callbacks=[lambda *_: seen.append(checkpoints(folder))])
    names = [f"epoch-{epoch:06}-step-{4 * epoch:012}.safetensors" for epoch in range(7)]
    assert seen[0] == names[:2] and seen[1] == names[:3] and seen[2] == names[1:4]
    assert checkpoints(folder) == names[-3:]
    assert bits(fitted) == bits(model().fit(x))  # leaving checkpoints changes nothing
    # Each is a model file.
    loaded = Autoencoder.load(folder / names[5])
    assert loaded.n_iter_ == 5 and bits(loaded) == bits(model(epochs=5).fit(x))


def test_every_so_many_epochs_and_the_last(x: F32, tmp_path: Path) -> None:
    model(epochs=5).fit(x, checkpoint=tmp_path, checkpoint_every=3)
    assert [name[:12] for name in checkpoints(tmp_path)] == ["epoch-000000", "epoch-000003", "epoch-000005"]


def test_files_of_others_are_left_alone(x: F32, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    mine = ["epoch-000001-step-000000000004.safetensors.bak", "epoch-1-step-1.safetensors", ".isthmus-1-0.tmp",
            "epoch-000001-step-00000000000x.safetensors", "model.safetensors"]
    for name in mine:
        (folder / name).write_text("mine")
    (tmp_path / "elsewhere").write_text("mine")
    (folder / "epoch-000000-step-000000000001.safetensors").symlink_to(tmp_path / "elsewhere")
    (folder / ".isthmus-checkpoint-1-0.tmp").write_text("half a checkpoint of a process that was killed")
    model().fit(x, checkpoint=folder)
    assert all((folder / name).read_text() == "mine" for name in mine)
    assert (folder / "epoch-000000-step-000000000001.safetensors").is_symlink()
    assert not (folder / ".isthmus-checkpoint-1-0.tmp").exists()
    assert len(checkpoints(folder)) == len(mine) + 1 + 3


def test_a_folder_with_checkpoints_is_refused(x: F32, tmp_path: Path) -> None:
    model().fit(x, checkpoint=tmp_path)
    names = checkpoints(tmp_path)
    other = model(random_state=1)
    with pytest.raises(ValueError, match=r"has checkpoints of another fit; resume"):
        other.fit(x, checkpoint=tmp_path)
    assert not hasattr(other, "n_iter_") and checkpoints(tmp_path) == names


def test_two_fits_do_not_write_to_one_folder(x: F32, tmp_path: Path) -> None:
    def fit_another(*_: object) -> None:
        with pytest.raises(BlockingIOError, match="another fit is writing"):
            model().resume(tmp_path, x)

    model(epochs=1).fit(x, checkpoint=tmp_path, callbacks=[fit_another])


@pytest.mark.parametrize(("arguments", "error", "text"), [
    ({"checkpoint": 3}, TypeError, "PathLike"), ({"checkpoint": "a\0b"}, ValueError, "null"),
    ({"checkpoint": "a", "checkpoint_every": 0}, ValueError, "checkpoint_every"),
    ({"checkpoint": "a", "checkpoint_every": 1.5}, TypeError, "checkpoint_every"),
    ({"checkpoint": "a", "checkpoint_every": True}, TypeError, "checkpoint_every"),
], ids=str)
def test_bad_arguments(x: F32, arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        model().fit(x, **arguments)


def test_a_folder_that_cannot_be_made_is_an_error_before_training(x: F32, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(OSError, match="file"):
            model().fit(x, checkpoint=folder)
    with pytest.raises(FileNotFoundError, match="no_such"):
        model().resume(tmp_path / "no_such", x)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        model().resume(tmp_path / "empty", x)


def test_a_later_checkpoint_that_cannot_be_written_is_a_warning(x: F32, tmp_path: Path) -> None:
    folder = tmp_path / "folder"

    def lose(_: object, info: dict[str, Any]) -> None:
        if info["epoch"] == 2:
            shutil.rmtree(folder)
        if info["epoch"] == 4:
            folder.mkdir()

    with pytest.warns(RuntimeWarning, match=r"a checkpoint could not be written: .*folder") as caught:
        fitted = model().fit(x, checkpoint=folder, callbacks=[lose])
    assert len(caught) == 2 and {warning.filename for warning in caught} == {__file__}
    assert bits(fitted) == bits(model().fit(x))
    assert [name[:12] for name in checkpoints(folder)] == ["epoch-000005", "epoch-000006"]


# ---- resuming -----------------------------------------------------------------------------------------------------


CASES: dict[str, dict[str, Any]] = {
    "adam": {},
    "sgd, linear": {"optimizer": "sgd", "momentum": 0.9, "learning_rate_schedule": "linear"},
    "adamw, cosine": {"optimizer": "adamw", "clip_norm": 0.1, "learning_rate_schedule": "cosine"},
    "exponential": {"learning_rate_schedule": "exponential"},
    "plateau": {"learning_rate_schedule": "plateau", "learning_rate": 1e-9, "epochs": 9},
    "gaussian noise": {"input_noise": 0.2},
    "mask, no shuffling": {"input_noise": 0.2, "input_noise_kind": "mask", "shuffle": False},
    "standard": {"scaling": "standard"},
    "minmax, bce": {"scaling": "minmax", "loss": "bce", "validation_fraction": 0.3},
    "best weights": {"patience": 2, "min_delta": 1e6, "validation_fraction": 0.3},
    "last weights": {"patience": 2, "min_delta": 1e6, "restore_best": False},
    "sparse code": {"code_l1": 0.1, "code_topk": 1, "learning_rate_schedule": "linear"},
    "tied": {"tied_weights": True},
    "fresh seed": {"random_state": None},
}


@pytest.mark.parametrize("case", CASES)
def test_resumed_after_every_epoch(case: str, x: F32, tmp_path: Path) -> None:
    parameters = CASES[case]
    straight = model(**parameters).fit(x, checkpoint=tmp_path / "straight")
    for epoch in range(1, straight.n_iter_ + 1):
        folder = tmp_path / str(epoch)
        if parameters.get("random_state", 0) is None:  # its seed is in the checkpoint alone
            shutil.copytree(tmp_path / "straight", folder)
        else:
            with pytest.raises(StoppedError):
                model(**parameters).fit(x, checkpoint=folder, callbacks=[left_after(epoch)])
        assert_same_fit(model(**parameters).resume(folder, x), straight)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_resumed_where_ctrl_c_left_it(n_threads: int, x: F32, tmp_path: Path) -> None:
    """Left by a signal within an epoch, wherever that happens to be, over and over until the fit is done."""
    run_python("""
import os, signal, sys, threading, time
import numpy as np
from checks import bits
from test_checkpoints import assert_same_fit
from isthmus import Autoencoder
folder, n_threads = sys.argv[1], int(sys.argv[2])
x = np.random.default_rng(0).random((20_000, 32)).astype(np.float32)
epochs = 1
def model(**more):
    return Autoencoder((48, 4), batch_size=16, random_state=0, learning_rate_schedule="cosine", input_noise=0.1,
                       scaling="standard", **{"epochs": epochs, **more})
begun = time.monotonic()
model(epochs=1).fit(x)
epochs = max(4, min(400, int(1 / (time.monotonic() - begun))))  # a second, so that signals come in time
straight = model(n_threads=2).fit(x)
left = 0
while left < 50:
    timer = threading.Timer(0.15, lambda: os.kill(os.getpid(), signal.SIGINT))
    parts = model(n_threads=n_threads)
    timer.start()
    try:
        begun = os.path.isdir(folder) and any(name.startswith("epoch") for name in os.listdir(folder))
        parts.resume(folder, x) if begun else parts.fit(x, checkpoint=folder)
        timer.cancel()
        timer.join()
        break
    except KeyboardInterrupt:
        left += hasattr(parts, "n_iter_")  # else it came before the first step
        if hasattr(parts, "n_iter_"):
            parts.encode(x[:5])
assert left >= 1, "nothing was interrupted"
assert_same_fit(parts, straight)
""", str(tmp_path), str(n_threads))


def test_a_detector(x: F32, tmp_path: Path) -> None:
    def detector() -> AnomalyDetector:
        return AnomalyDetector((4, 2), epochs=5, batch_size=8, random_state=0, calibration_fraction=0.2)

    straight = detector().fit(x)
    for epoch in range(1, 6):
        folder = tmp_path / str(epoch)
        with pytest.raises(StoppedError):
            detector().fit(x, checkpoint=folder, callbacks=[left_after(epoch)])
        resumed = detector().resume(folder, x)
        assert_same_fit(resumed, straight)
        assert resumed.offset_ == straight.offset_
        assert_same_bits(resumed.p_values(x), straight.p_values(x))
    with pytest.raises(ValueError, match='kind was "anomaly_detector" and now is "autoencoder"'):
        model().resume(folder, x)


def test_a_variational_autoencoder(x: F32, tmp_path: Path) -> None:
    def variational() -> VariationalAutoencoder:
        return VariationalAutoencoder((4, 2), epochs=5, batch_size=8, random_state=0, learning_rate_schedule="cosine")

    straight = variational().fit(x)
    for epoch in range(1, 6):
        folder = tmp_path / str(epoch)
        with pytest.raises(StoppedError):
            variational().fit(x, checkpoint=folder, callbacks=[left_after(epoch)])
        assert_same_fit(variational().resume(folder, x), straight)


def test_sample_weights_and_validation_data(x: F32, rng: np.random.Generator, tmp_path: Path) -> None:
    given = {"sample_weight": rng.random(50), "validation_data": (x[:9], x[9:18])}
    straight = model().fit(x, **given)
    with pytest.raises(StoppedError):
        model().fit(x, **given, checkpoint=tmp_path, callbacks=[left_after(3)])
    assert_same_fit(model().resume(tmp_path, x.astype(np.float64), **given), straight)


def test_a_fit_that_ended_is_restored(x: F32, tmp_path: Path) -> None:
    straight = model(patience=2, min_delta=1e6).fit(x, checkpoint=tmp_path)
    names = checkpoints(tmp_path)
    resumed = model(patience=2, min_delta=1e6).resume(tmp_path, x)
    assert_same_fit(resumed, straight)
    assert straight.n_iter_ == 3 and checkpoints(tmp_path) == names


def test_more_epochs(x: F32, tmp_path: Path) -> None:
    model(epochs=3).fit(x, checkpoint=tmp_path)
    assert_same_fit(model().resume(tmp_path, x), model().fit(x))


def test_a_file_and_the_model_itself(x: F32, tmp_path: Path) -> None:
    straight = model(learning_rate_schedule="cosine").fit(x)
    parts = model(learning_rate_schedule="cosine")
    with pytest.raises(StoppedError):
        parts.fit(x, callbacks=[left_after(2)])
    parts.save(tmp_path / "parts", training_state=True)
    assert_same_fit(model(learning_rate_schedule="cosine").resume(tmp_path / "parts", x), straight)
    assert_same_fit(Autoencoder.load(tmp_path / "parts").resume(tmp_path / "parts", x), straight)
    assert checkpoints(tmp_path) == ["parts"]
    before = bits(parts)
    with pytest.raises(ValueError, match="batch_size was 16 and now is 8"):
        parts.set_params(batch_size=8).resume(None, x)
    assert bits(parts) == before
    assert_same_fit(parts.set_params(batch_size=16).resume(None, x), straight)
    with pytest.raises(ValueError, match="there is no fit to resume"):
        parts.resume(None, x)
    straight.save(tmp_path / "done", training_state=True)
    with pytest.raises(ModelFormatError, match="it holds no fit to resume"):
        model().resume(tmp_path / "done", x)


def test_after_resuming_warm_start_and_partial_fit_go_on(x: F32, tmp_path: Path) -> None:
    parameters = {"warm_start": True, "learning_rate_schedule": "linear"}
    with pytest.raises(StoppedError):
        model(**parameters).fit(x, checkpoint=tmp_path, callbacks=[left_after(4)])
    resumed = model(**parameters).resume(tmp_path, x)
    assert_same_fit(resumed.fit(x).partial_fit(x), model(**parameters).fit(x).fit(x).partial_fit(x))


def test_a_warm_start_is_resumed_too(x: F32, tmp_path: Path) -> None:
    parameters = {"warm_start": True, "learning_rate_schedule": "cosine"}
    parts = model(**parameters).fit(x)
    with pytest.raises(StoppedError):
        parts.fit(x, checkpoint=tmp_path, callbacks=[left_after(9)])
    assert_same_fit(model(**parameters).resume(tmp_path, x), model(**parameters).fit(x).fit(x))


def test_differences_are_listed(x: F32, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        model().fit(x, checkpoint=tmp_path, sample_weight=np.ones(50), callbacks=[left_after(3)])
    y = x.copy()
    y[17, 3] = np.nextafter(y[17, 3], np.float32(2))
    other = model(batch_size=8, epochs=5, optimizer="sgd", random_state=None, verbose=0)
    with pytest.raises(ValueError) as caught:
        other.resume(tmp_path, y, validation_data=x)
    text = str(caught.value)
    for part in ("batch_size was 16 and now is 8", "epochs was 6 and now is 5", 'optimizer was "adam" and now is "sgd"',
                 "random_state was 0 and now is None", "X has other values", "sample_weight was given and now is not",
                 "validation_data was not given and now is"):
        assert part in text
    assert text.count(" now ") == 6 and not hasattr(other, "n_iter_")
    with pytest.raises(ValueError, match=r"X had the shape \(50, 6\) and now has \(49, 6\)"):
        model().resume(tmp_path, x[:49], sample_weight=np.ones(49))
    model(n_threads=1, verbose=2, max_seconds=100, epochs=7).resume(tmp_path, x, sample_weight=np.ones(50))


def test_the_fingerprint_is_of_values(x: F32, tmp_path: Path) -> None:
    rows = np.round(10 * x)
    with pytest.raises(StoppedError):
        model().fit(rows, checkpoint=tmp_path, callbacks=[left_after(1)])
    straight = model().fit(rows)
    for same in (rows.astype(np.float64), rows.astype(np.int8), np.asfortranarray(rows), rows[::-1].copy()[::-1],
                 rows.astype(">f4"), rows.tolist()):
        folder = tmp_path / "again"
        shutil.copytree(tmp_path, folder, ignore=lambda *_: ["again"])
        assert_same_fit(model().resume(folder, same), straight)
        shutil.rmtree(folder)
    for a, b in ((0, 1), (3, 40)):  # the order of the rows counts
        swapped = rows.copy()
        swapped[[a, b]] = rows[[b, a]]
        with pytest.raises(ValueError, match="X has other values"):
            model().resume(tmp_path, swapped)


# ---- damage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "another model"])
def test_a_damaged_newest_checkpoint_falls_back(damage: str, x: F32, tmp_path: Path) -> None:
    straight = model().fit(x, checkpoint=tmp_path)
    newest = tmp_path / checkpoints(tmp_path)[-1]
    data = newest.read_bytes()
    middle = len(data) // 2
    newest.write_bytes({
        "cut": data[:-1], "bit": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :], "empty": b"",
        "another model": straight.to_bytes(),
    }[damage])
    with pytest.warns(RuntimeWarning, match=f"{newest.name} cannot be resumed from: ") as caught:
        resumed = model().resume(tmp_path, x)
    assert [warning.filename for warning in caught] == [__file__]
    assert_same_fit(resumed, straight)
    assert bits(Autoencoder.load(newest)) == bits(straight)  # it was written again


def test_without_a_whole_checkpoint(x: F32, tmp_path: Path) -> None:
    model().fit(x, checkpoint=tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelFormatError, match="none of its checkpoints will do") as caught:
        model().resume(tmp_path, x)
    assert all(name in str(caught.value) for name in checkpoints(tmp_path))


KILLED = """
import sys
import numpy as np
from isthmus import Autoencoder
folder = sys.argv[1]
x = np.random.default_rng(0).random((4000, 32)).astype(np.float32)
model = Autoencoder((48, 8), epochs=20, batch_size=64, random_state=0, learning_rate_schedule="cosine", patience=15,
                    validation_fraction=0.1, n_threads=int(sys.argv[2]))
try:
    model.resume(folder, x)
except FileNotFoundError:
    model.fit(x, checkpoint=folder)
print(sum(model.history_["seconds"]), flush=True)
np.save(folder + "/weights.npy", np.concatenate([w.ravel() for w in model.get_weights()]))
"""


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path, rng: np.random.Generator) -> None:
    """kill -9 while it fits and leaves checkpoints, again and again until a process comes to the end."""
    straight = tmp_path / "straight"
    longest = float(run_python(KILLED, str(straight), "2")) / 8  # of a wait: a fixed one was too long on a fast machine
    folder = tmp_path / "killed"
    kills = 0
    for attempt in range(100):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(folder), str(1 + attempt % 3)],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        begun = time.monotonic()
        # Interpreters take a while to start: the clock runs from the first sign of a checkpoint folder in use.
        before = set(folder.iterdir()) if folder.exists() else set()
        while process.poll() is None and time.monotonic() - begun < 60:
            now = set(folder.iterdir()) if folder.exists() else set()
            if now != before:
                time.sleep(float(rng.uniform(0.0, longest)))
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.001)
        _, errors = process.communicate(timeout=60)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors.decode()
        kills += 1
    assert process.returncode == 0, "it was killed every time"
    assert kills >= 3, "nothing was killed"
    assert_same_bits(np.load(folder / "weights.npy"), np.load(straight / "weights.npy"))
    left = [name for name in checkpoints(folder) if not re.fullmatch(r"epoch-\d{6}-step-\d{12}\.safetensors", name)]
    assert left == ["weights.npy"]


# ---- time ---------------------------------------------------------------------------------------------------------


def test_out_of_time_within_the_first_epoch(x: F32, tmp_path: Path) -> None:
    short = model(max_seconds=1e-9).fit(x, checkpoint=tmp_path)
    assert short.n_iter_ == 0 and short.encode(x).shape == (50, 2)
    assert_same_fit(model().resume(tmp_path, x), model().fit(x))


def test_out_of_time_wherever_that_is(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((5000, 32)).astype(np.float32)
    parameters = {"encoder_layers": (48, 4), "epochs": 8, "learning_rate_schedule": "cosine"}
    parts = model(**parameters, max_seconds=0.05).fit(x, checkpoint=tmp_path)
    fits = 1
    while len(parts.history_["loss"]) < 8 and fits < 1000:
        parts = model(**parameters, max_seconds=0.05).resume(tmp_path, x)
        fits += 1
    assert_same_fit(parts, model(**parameters).fit(x))


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-1.0, ValueError), (float("nan"), ValueError),
                                              (True, TypeError), ("1", TypeError)])
def test_max_seconds_is_checked(x: F32, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="max_seconds must be None or a finite number above 0; got"):
        model(max_seconds=value).fit(x)


def test_a_model_file_knows_no_budget(x: F32) -> None:
    fitted = model(max_seconds=1000).fit(x)
    assert b"max_seconds" not in fitted.to_bytes(training_state=True)
    assert Autoencoder.from_bytes(fitted.to_bytes()).max_seconds is None


# ---- callbacks ----------------------------------------------------------------------------------------------------


def test_callbacks_of_a_resumed_fit(x: F32, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def count(_: object, info: dict[str, Any]) -> bool:
        seen.append((info["epoch"], info["n_epochs"]))
        return info["epoch"] == 2

    model().fit(x, checkpoint=tmp_path, callbacks=[count])
    assert seen == [(1, 6), (2, 6)]

    def again(estimator: Any, _: object) -> None:
        with pytest.raises(RuntimeError, match="is being trained"):
            estimator.resume(tmp_path, x)

    straight = model().fit(x)
    resumed = model().resume(tmp_path, x, callbacks=[lambda *info: count(*info) and None, again])
    assert seen[2:] == [(epoch, 6) for epoch in range(3, 7)]
    assert_same_fit(resumed, straight)


def test_a_divergence_leaves_the_checkpoints_before_it(x: F32, tmp_path: Path) -> None:
    with pytest.raises(ArithmeticError):
        model(optimizer="sgd", learning_rate=1e30).fit(x, checkpoint=tmp_path)
    assert [name[:12] for name in checkpoints(tmp_path)] == ["epoch-000000"]


def test_ctrl_c_while_x_is_fingerprinted(tmp_path: Path) -> None:
    """A pass over much data is left, too; the model is that of the checkpoint then."""
    x = np.broadcast_to(np.float32(0.5), (1 << 40, 6))
    threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    fitted = model()
    with pytest.raises(KeyboardInterrupt):
        fitted.resume(_begun(tmp_path), x)
    assert fitted.n_iter_ == 1


def _begun(folder: Path) -> Path:
    with pytest.raises(StoppedError):
        model().fit(np.ones((9, 6), np.float32), checkpoint=folder, callbacks=[left_after(1)])
    return folder
