# SPDX-License-Identifier: Apache-2.0
"""isthmus on the CPU, as a user calls it: ``fit`` and ``reconstruct``."""

from __future__ import annotations

import isthmus
from cases import F32, Case
from isthmus import Autoencoder, _core

requires = ("isthmus",)


def _model(case: Case, n_threads: int, device: str, epochs: int = 1, shuffle: bool = True) -> Autoencoder:
    model = Autoencoder(
        case.widths[1 : case.code + 1],
        case.widths[case.code + 1 : -1],
        activation=case.activation,
        code_activation=case.activation,
        output_activation=case.output_activation,
        loss=case.loss,
        learning_rate=case.learning_rate,
        batch_size=case.batch,
        epochs=epochs,
        shuffle=shuffle,
        n_threads=n_threads,
        random_state=0,
        device=device,
        precision=case.precision,
        warm_start=True,  # fit goes on from these weights
    )
    return model.initialize(case.widths[0]).set_weights(case.weights())


def _versions() -> dict[str, str]:
    return {"isthmus": isthmus.__version__, "instruction set": _core.instruction_set(), "compiler": _core.compiler}


class Contestant:
    device = "cpu"

    def __init__(self, case: Case, n_threads: int) -> None:
        self.case = case
        self.data = case.data()
        self.n_threads = n_threads
        self.restart(1)

    @staticmethod
    def supports(case: Case) -> bool:
        del case
        return True

    def restart(self, epochs: int) -> None:
        self.model = _model(self.case, self.n_threads, self.device, epochs)

    def losses(self, epochs: int, batches: int) -> list[float]:
        self.model = _model(self.case, self.n_threads, self.device, epochs, shuffle=False)
        self.model.fit(self.data[: batches * self.case.batch])
        return list(self.model.history_["loss"])

    def train(self) -> None:
        self.model.fit(self.data)

    def plan(self) -> str:
        core = self.model._model
        assert core is not None
        return core.last_plan

    @staticmethod
    def versions() -> dict[str, str]:
        return _versions()


class Reconstructor:
    device = "cpu"

    def __init__(self, case: Case, n_threads: int) -> None:
        self.model = _model(case, n_threads, self.device)

    @staticmethod
    def supports(case: Case) -> bool:
        del case
        return True

    def reconstruct(self, x: F32) -> F32:
        y: F32 = self.model.reconstruct(x)
        return y

    @staticmethod
    def versions() -> dict[str, str]:
        return _versions()
