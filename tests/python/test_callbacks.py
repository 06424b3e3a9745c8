# SPDX-License-Identifier: Apache-2.0
"""What a fit tells others: the adapters against small fakes of TensorBoard and MLflow, copies and pickles of callbacks,
and the logger.
"""

from __future__ import annotations

import copy
import logging
import pickle
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from checks import bits, package, run_python
from isthmus import AnomalyDetector, Autoencoder
from isthmus.callbacks import MLflow, TensorBoard
from numpy.typing import NDArray

F32 = NDArray[np.float32]


@pytest.fixture
def x() -> F32:
    return np.random.default_rng(3).random((40, 6)).astype(np.float32)


class Writer:
    """A SummaryWriter that remembers, and like the real one cannot be pickled."""

    made: list[Writer] = []  # noqa: RUF012

    def __init__(self, log_dir: str) -> None:
        self.log_dir, self.scalars, self.flushed, self.closed = log_dir, [], 0, False
        Writer.made.append(self)

    def add_scalar(self, tag: str, value: float, global_step: int) -> None:
        self.scalars.append((tag, value, global_step))

    def flush(self) -> None:
        self.flushed = len(self.scalars)

    def close(self) -> None:
        self.closed = True

    def __reduce__(self) -> Any:
        raise TypeError("a file handle")


@pytest.fixture(params=["torch.utils.tensorboard", "tensorboardX"])
def writers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[Writer]:
    for name in ("torch", "torch.utils", "torch.utils.tensorboard", "tensorboardX"):
        module = ModuleType(name)
        module.SummaryWriter = Writer  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
    if request.param == "tensorboardX":
        monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.setattr(Writer, "made", [])
    return Writer.made


def expected(model: Autoencoder, names: list[str]) -> list[tuple[str, float, int]]:
    history = model.history_
    return [(name, history[name][i], i + 1) for i in range(model.n_iter_) for name in names]


def test_tensorboard(writers: list[Writer], x: F32, tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    assert not writers  # nothing is opened before the first epoch
    model = Autoencoder((2,), epochs=3, random_state=0).fit(x, validation_data=x, callbacks=[board])
    [writer] = writers
    assert writer.log_dir == str(tmp_path)
    assert writer.scalars == expected(model, ["loss", "val_loss", "learning_rate", "seconds"])
    assert writer.flushed == len(writer.scalars)
    board.close()
    board.close()
    assert writer.closed
    plain = Autoencoder((2,), epochs=2, random_state=0).fit(x, callbacks=[board])
    assert writers[1].scalars == expected(plain, ["loss", "learning_rate", "seconds"])


def test_an_open_writer_stays_behind(writers: list[Writer], x: F32) -> None:
    board = TensorBoard("runs")
    Autoencoder((2,), epochs=1).fit(x, callbacks=[board])
    for again in (copy.deepcopy(board), copy.copy(board), pickle.loads(pickle.dumps(board))):
        assert again.log_dir == "runs"
        before = len(writers)
        Autoencoder((2,), epochs=1).fit(x, callbacks=[again])
        assert len(writers) == before + 1 and writers[0].flushed == 3


def test_mlflow(monkeypatch: pytest.MonkeyPatch, x: F32) -> None:
    calls: list[Any] = []
    fake = ModuleType("mlflow")
    fake.log_metrics = lambda metrics, step, **more: calls.append((metrics, step, more))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    model = Autoencoder((2,), epochs=2, random_state=0).fit(x, validation_data=x, callbacks=[MLflow()])
    names = ["loss", "val_loss", "learning_rate", "seconds"]
    found = [(name, value, step) for metrics, step, _ in calls for name, value in metrics.items()]
    assert found == expected(model, names) and calls[0][2] == {}
    Autoencoder((2,), epochs=1).fit(x, callbacks=[pickle.loads(pickle.dumps(MLflow("a1")))])
    assert calls[-1][2] == {"run_id": "a1"} and "val_loss" not in calls[-1][0]


@pytest.mark.parametrize("callback,name", [(TensorBoard("runs"), "tensorboardX"), (MLflow(), "mlflow")])
def test_without_the_package(monkeypatch: pytest.MonkeyPatch, x: F32, callback: Any, name: str) -> None:
    for module in ("torch.utils.tensorboard", "tensorboardX", "mlflow"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=f"needs the package {name}, "):
        Autoencoder((2,), epochs=1).fit(x, callbacks=[callback])


# ---- clone and pickle -----------------------------------------------------------------------------------------------


class Stopper:
    """An object with a state of its own."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.models: list[bytes] = []

    def on_epoch_end(self, model: Autoencoder, info: dict[str, Any]) -> bool:
        self.models.append(pickle.dumps(model))  # while it is being trained
        return bool(info["epoch"] >= self.after)


class Watched(Autoencoder):
    """A user's estimator whose callbacks are a parameter."""

    def __init__(self, encoder_layers: Any = None, *, watchers: Any = (), epochs: int = 100,
                 random_state: int | None = None) -> None:
        super().__init__(encoder_layers, epochs=epochs, random_state=random_state)
        self.watchers = watchers

    def fit(self, X: Any, y: object = None, **arguments: Any) -> Any:
        plain = Autoencoder(self.encoder_layers, epochs=self.epochs, random_state=self.random_state)
        plain.fit(X, callbacks=self.watchers)
        self._model = plain._model
        return self


def test_callbacks_survive_clone_and_pickling(x: F32, tmp_path: Path) -> None:
    clone, joblib = package("sklearn.base").clone, package("joblib")
    model = Watched((2,), watchers=[Stopper(2), TensorBoard("runs")], epochs=9, random_state=0)
    for again in (clone(model), pickle.loads(pickle.dumps(model))):
        assert [type(watcher) for watcher in again.watchers] == [Stopper, TensorBoard]
        assert again.watchers[0] is not model.watchers[0] and again.watchers[0].after == 2
        again.watchers.pop()
        assert again.fit(x).n_iter_ == 2
        joblib.dump(again, tmp_path / "model")
        assert bits(joblib.load(tmp_path / "model")) == bits(again)
    stopper = Stopper(3)
    fitted = Autoencoder((2,), epochs=9, random_state=0).fit(x, callbacks=[stopper])
    kept = [pickle.loads(data) for data in stopper.models]
    assert [m.n_iter_ for m in kept] == [1, 2, 3] and bits(kept[-1]) == bits(fitted)
    assert kept[0].set_params(warm_start=True, epochs=1).fit(x).n_iter_ == 2  # a copy is not being trained


def test_callbacks_go_through_pipelines_and_searches(x: F32) -> None:
    package("sklearn")
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline

    pipeline = make_pipeline(Autoencoder((2,), epochs=9, random_state=0))
    assert pipeline.fit(x, autoencoder__callbacks=[Stopper(2)])[-1].n_iter_ == 2
    stopper = Stopper(1)
    cross_val_score(Autoencoder((2,), epochs=9), x, cv=2, params={"callbacks": [stopper]})
    assert len(stopper.models) == 2


# ---- the logger -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [Autoencoder, AnomalyDetector])
def test_the_logger_gets_a_line_an_epoch(caplog: pytest.LogCaptureFixture, x: F32, cls: type[Autoencoder]) -> None:
    with caplog.at_level(logging.DEBUG, "isthmus"):
        model = cls((2,), epochs=3, random_state=0).fit(x, validation_data=x)
    assert [record.levelname for record in caplog.records] == ["DEBUG"] * 4 + ["INFO"]
    assert {record.name for record in caplog.records} == {"isthmus"}
    loss, val_loss = model.history_["loss"][1], model.history_["val_loss"][1]
    assert re.fullmatch(rf"epoch 2/3  loss {loss:.6g}  val_loss {val_loss:.6g}  .* s", caplog.messages[2])
    assert caplog.messages[0].startswith(f"{model.device_}: ")
    assert caplog.messages[4].startswith(f"trained for 3 of 3 epochs  loss {model.loss_:.6g}")
    caplog.clear()
    with caplog.at_level(logging.INFO, "isthmus"):
        model.set_params(epochs=2).fit(x, callbacks=[lambda _, info: True])
    assert [m[:25] for m in caplog.messages] == ["trained for 1 of 2 epochs"]
    caplog.clear()
    with caplog.at_level(logging.WARNING, "isthmus"):
        model.fit(x)
    assert not caplog.messages and not logging.getLogger("isthmus").handlers


def test_logging_changes_no_bit_and_prints_nothing(caplog: pytest.LogCaptureFixture, x: F32) -> None:
    quiet = Autoencoder((2,), epochs=3, random_state=0).fit(x)
    with caplog.at_level(logging.DEBUG, "isthmus"):
        assert bits(Autoencoder((2,), epochs=3, random_state=0).fit(x)) == bits(quiet)
    out = run_python("""
import contextlib, io, logging
import numpy as np
from isthmus import Autoencoder
err = io.StringIO()
with contextlib.redirect_stderr(err):
    Autoencoder((2,), epochs=2).fit(np.ones((4, 3)))
print(repr(err.getvalue()))
""")
    assert out.strip() == "''"
