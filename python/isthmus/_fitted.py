# SPDX-License-Identifier: Apache-2.0
"""What can be asked of a fitted model without data: learned attributes, weights, files, pickles. The core model is the
only place where any of it is kept.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus import _coercion, _core
from isthmus._device import check_device, place
from isthmus._errors import not_fitted
from isthmus._parameters import Parameters
from isthmus._training import alone

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import ArrayLike, NDArray


class Fitted(Parameters):
    """Base of estimators that hold a core model once they are fitted."""

    device: str
    n_threads: int | None
    _model: _core.Model | None = None
    _kind = "autoencoder"  # what a model file says of the class

    def _fitted(self) -> _core.Model:
        if self._model is None:
            raise not_fitted(self)
        return self._model

    def __sklearn_is_fitted__(self) -> bool:
        return self._model is not None

    # ---- learned attributes -----------------------------------------------------------------------------------------

    @property
    def n_features_in_(self) -> int:
        return self._fitted().n_features

    @property
    def feature_names_in_(self) -> NDArray[Any]:
        names = self._fitted().feature_names
        if not names:
            raise AttributeError(f"this {type(self).__name__} was fitted without feature names")
        return np.array(names, dtype=object)

    @property
    def code_size_(self) -> int:
        return self._fitted().code_size

    @property
    def n_iter_(self) -> int:
        return self._fitted().epoch

    @property
    def loss_(self) -> float:
        loss = self._fitted().loss
        if loss is None:
            raise AttributeError(f"this {type(self).__name__} has initial weights; it was not trained yet")
        return loss

    @property
    def history_(self) -> dict[str, list[float]]:
        return self._fitted().history

    @property
    def device_(self) -> str:
        return self._fitted().device

    # ---- weights ----------------------------------------------------------------------------------------------------

    def get_weights(self) -> list[NDArray[np.float32]]:
        """Copies of all parameters, ``[W0, b0, W1, b1, ...]``, W of shape (out, in), b of shape (out,).

        Each stored parameter comes once: with ``tied_weights`` the layers of the decoder have only their b.
        """
        return self._fitted().get_weights()

    def set_weights(self, weights: Sequence[ArrayLike]) -> Self:
        """Replaces all parameters, in the form of `get_weights`; the optimizer's moments start at zero again."""
        with alone(self):
            core = self._fitted()
            core.set_weights(_coercion.parameters(weights, core.shapes))
        return self

    # ---- files ------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], training_state: bool = False) -> None:
        """Writes the model file, a safetensors container; it is whole or not there at all.

        Parameters
        ----------
        path : str or path-like
        training_state : bool
            Adds moments, counters and best weights, so that training goes on as if it had not stopped.

        Raises
        ------
        OSError
            With the system's error number. A file that was there before stays as it was.
        """
        self._fitted().save(encoded(path), bool(training_state))

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str = "auto") -> Self:
        """Reads a model file, onto a device as in the constructor; no file says where a model ran.

        Raises
        ------
        ModelFormatError
            For a file that isthmus did not write, or that was changed since.
        OSError
            When it cannot be read.
        RuntimeError
            For a device that is not here.
        ValueError
            For a model of another class than this one or its heirs; the answer is of the model's own class.
        """
        check_device(device)
        return cls._from_core(_core.Model.load(encoded(path), device, 0), device)

    def to_bytes(self, training_state: bool = False) -> bytes:
        """The contents of the file that `save` would write."""
        return self._fitted().to_bytes(bool(training_state))

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview, device: str = "auto") -> Self:
        """The model in the contents of a model file. Errors as in `load`."""
        check_device(device)
        return cls._from_core(_core.Model.from_bytes(bytes(memoryview(data)), device, 0), device)

    @classmethod
    def _from_core(cls, core: _core.Model, device: str) -> Self:
        stored = core.parameters
        if stored["kind"] != cls._kind:
            fitting = [heir for heir in cls.__subclasses__() if heir._kind == stored["kind"]]
            if not fitting:
                raise ValueError(f"the model is of kind {stored['kind']!r}; {cls.__name__} loads {cls._kind!r}")
            return fitting[0]._from_core(core, device)
        defaults, plain = cls._parameter_defaults(), _core.check_parameters({})
        # What the core resolved to a default of its own (a schedule of None) is the constructor's default, too.
        given = {name: stored[name] for name in defaults if name in stored and stored[name] != defaults[name]}
        model = cls(**{name: v for name, v in given.items() if v != plain[name] or defaults[name] is not None})
        model.device = device
        model._model = core
        return model

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in vars(self).items() if name != "_training"}
        if self._model is not None:
            state["_model"] = self._model.to_bytes(True)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        data = state.get("_model")
        vars(self).update({**self._parameter_defaults(), **state})
        if data is not None:
            self._model = _core.Model.from_bytes(data, *place(self.device, self.n_threads))


def encoded(path: str | os.PathLike[str]) -> bytes:
    """A path as the core takes it. TypeError for what is none, ValueError for one with a null character."""
    name = os.fsencode(path)
    if b"\0" in name:
        raise ValueError(f"path holds a null character; got {path!r}")
    return name
