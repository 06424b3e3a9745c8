# SPDX-License-Identifier: Apache-2.0
"""Keras 3 as its tutorials write it: ``compile`` and ``fit``, on JAX with ``jit_compile``.

JAX is the fastest of the backends that its users install for a CPU; what limits small networks is ``fit`` itself,
which calls the compiled step from Python batch by batch. One call of ``fit`` trains all epochs.

Its Adam adds epsilon to sqrt(v) before the bias correction, ours and Kingma's algorithm after it: the optimizer here
reads an epsilon that follows the step, so that losses can be compared. The time is that of Keras's own.
"""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np
from cases import F32, Case

requires = ("keras", "jax")
LOSSES = {"mse": "mean_squared_error", "bce": "binary_crossentropy"}
PROCESSORS = sorted(os.sched_getaffinity(0))


def _model(case: Case) -> Any:
    layers: list[Any] = [keras.layers.Input((case.widths[0],))]
    for i, (_, width) in enumerate(pairwise(case.widths)):
        layers.append(keras.layers.Dense(width, activation=case.activation_of(i)))
    model = keras.Sequential(layers)
    model.set_weights([w.T if w.ndim == 2 else w for w in case.weights()])
    return model


def _epsilon(optimizer: Any) -> Any:
    step = keras.ops.cast(optimizer.iterations + 1, "float32")
    return optimizer.constant_epsilon * keras.ops.sqrt(1 - keras.ops.power(optimizer.beta_2, step))


# Its constructor sets epsilon, which this keeps as constant_epsilon.
Adam = type(
    "Adam",
    (keras.optimizers.Adam,),
    {"epsilon": property(_epsilon, lambda optimizer, value: setattr(optimizer, "constant_epsilon", value))},
)


def _versions() -> dict[str, str]:
    return {"keras": keras.__version__, "jax": jax.__version__, "numpy": np.__version__}


class Contestant:
    def __init__(self, case: Case, n_threads: int) -> None:
        os.sched_setaffinity(0, PROCESSORS[:n_threads])  # JAX's client, made on first use, takes as many threads
        keras.backend.clear_session()
        self.case = case
        self.data = case.data()
        self.first = [w.T.copy() if w.ndim == 2 else w for w in case.weights()]
        self.model = _model(case)
        self.model.compile(
            optimizer=Adam(case.learning_rate, epsilon=1e-8),
            loss=LOSSES[case.loss],
            jit_compile=True,
        )
        self.epochs = 1
        self.train()

    @staticmethod
    def supports(case: Case) -> bool:
        del case
        return True

    def restart(self, epochs: int) -> None:
        self.epochs = epochs
        self.model.set_weights(self.first)
        optimizer = self.model.optimizer
        for variable in optimizer.variables:
            if variable is not optimizer.learning_rate:
                variable.assign(np.zeros(variable.shape, variable.dtype))

    def losses(self, epochs: int, batches: int) -> list[float]:
        self.restart(epochs)
        x = self.data[: batches * self.case.batch]
        history = self.model.fit(x, x, batch_size=self.case.batch, epochs=epochs, shuffle=False, verbose=0)
        return [float(loss) for loss in history.history["loss"]]

    def train(self) -> None:
        self.model.fit(self.data, self.data, batch_size=self.case.batch, epochs=self.epochs, shuffle=True, verbose=0)

    @staticmethod
    def versions() -> dict[str, str]:
        return _versions()


class Reconstructor:
    def __init__(self, case: Case, n_threads: int) -> None:
        os.sched_setaffinity(0, PROCESSORS[:n_threads])
        keras.backend.clear_session()
        self.model = _model(case)
        self.model.compile(jit_compile=True)

    @staticmethod
    def supports(case: Case) -> bool:
        del case
        return True

    def reconstruct(self, x: F32) -> F32:
        return np.asarray(self.model.predict_on_batch(x))

    @staticmethod
    def versions() -> dict[str, str]:
        return _versions()
