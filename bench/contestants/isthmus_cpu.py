# SPDX-License-Identifier: Apache-2.0
"""isthmus on the CPU, as a user calls it: ``fit``."""

from __future__ import annotations

import isthmus
from cases import Case
from isthmus import Autoencoder, _core


class Contestant:
    def __init__(self, case: Case, n_threads: int) -> None:
        self.case = case
        self.data = case.data()
        self.n_threads = n_threads
        self.restart(1)

    def restart(self, epochs: int, shuffle: bool = True) -> None:
        case = self.case
        self.model = Autoencoder(
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
            n_threads=self.n_threads,
            random_state=0,
            device="cpu",
            warm_start=True,  # fit goes on from these weights
        )
        self.model.initialize(case.widths[0])
        self.model.set_weights(case.weights())

    def losses(self, epochs: int, batches: int) -> list[float]:
        self.restart(epochs, shuffle=False)
        self.model.fit(self.data[: batches * self.case.batch])
        return list(self.model.history_["loss"])

    def train(self) -> None:
        self.model.fit(self.data)

    @staticmethod
    def versions() -> dict[str, str]:
        return {"isthmus": isthmus.__version__, "instruction set": _core.instruction_set(), "compiler": _core.compiler}
