# SPDX-License-Identifier: Apache-2.0
"""Callbacks for ``fit(..., callbacks=[...])`` that tell other tools of each epoch.

A callback is any callable, or any object with ``on_epoch_end(model, info)``; ``info`` has ``epoch``, ``n_epochs``,
``loss``, ``val_loss`` (or None), ``learning_rate`` and ``seconds``. These keep no handle when they are copied or
pickled, so that they may be attributes and parameters of what scikit-learn clones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from isthmus._extras import need

if TYPE_CHECKING:
    import os

    from isthmus._fitted import Fitted

__all__ = ["MLflow", "TensorBoard"]

_METRICS = ("loss", "val_loss", "learning_rate", "seconds")


def _metrics(info: dict[str, Any]) -> dict[str, float]:
    return {name: float(info[name]) for name in _METRICS if info[name] is not None}


class TensorBoard:
    """Writes ``loss``, ``val_loss``, ``learning_rate`` and ``seconds`` of each epoch as scalars for TensorBoard.

    Parameters
    ----------
    log_dir : str or path-like
        Folder of the event files. Each fit that should be a run of its own takes one of its own.

    Raises
    ------
    ImportError
        At the first epoch, without a ``SummaryWriter``: that of ``torch.utils.tensorboard``, which needs PyTorch and
        tensorboard, or else that of tensorboardX.
    """

    def __init__(self, log_dir: str | os.PathLike[str]) -> None:
        self.log_dir = log_dir
        self._writer: Any = None

    def on_epoch_end(self, model: Fitted, info: dict[str, Any]) -> None:
        if self._writer is None:
            self._writer = _summary_writer()(str(self.log_dir))
        for name, value in _metrics(info).items():
            self._writer.add_scalar(name, value, info["epoch"])
        self._writer.flush()  # nobody says when the last epoch was

    def close(self) -> None:
        """Closes the event file; the next epoch opens another."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_writer": None}


def _summary_writer() -> Any:
    try:
        return need("torch.utils.tensorboard", "tensorboard", "TensorBoard").SummaryWriter
    except ImportError:
        return need("tensorboardX", "tensorboard", "TensorBoard").SummaryWriter


class MLflow:
    """Logs ``loss``, ``val_loss``, ``learning_rate`` and ``seconds`` of each epoch as metrics of an MLflow run.

    ``mlflow.log_params(model.get_params())`` logs the parameters, ``mlflow.onnx.log_model(model.to_onnx(), ...)`` the
    model.

    Parameters
    ----------
    run_id : str, optional
        None: the active run, which MLflow starts where there is none.

    Raises
    ------
    ImportError
        At the first epoch, without the package mlflow.
    """

    def __init__(self, run_id: str | None = None) -> None:
        self.run_id = run_id

    def on_epoch_end(self, model: Fitted, info: dict[str, Any]) -> None:
        mlflow = need("mlflow", "mlflow", "MLflow")
        chosen = {} if self.run_id is None else {"run_id": self.run_id}
        mlflow.log_metrics(_metrics(info), step=info["epoch"], **chosen)
