# SPDX-License-Identifier: Apache-2.0
"""scikit-learn's ``MLPRegressor.fit(X, X)``, in float32, for the cases that it can train: a linear output and mse.

Its loss is half of ours, and its gradient is that of the sum over features: d / 2 of ours. Adam's step does not see a
factor of the gradient but for epsilon, which is scaled alike. It adds epsilon to sqrt(v) before the bias correction,
so that ours is sqrt(1 - beta_2^t) of it, which no constant is: it gets that of step 3, which keeps the nine that are
verified within 5e-5. The time does not depend on it. It gets the first weights through ``warm_start``.
"""

from __future__ import annotations

import math
import warnings
from itertools import pairwise

import numpy as np
import sklearn
from cases import Case
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

requires = ("sklearn",)
EPSILON = 1e-8 * math.sqrt(1 - 0.999**3)
ACTIVATIONS = {"relu": "relu", "tanh": "tanh", "sigmoid": "logistic", "linear": "identity"}


class Contestant:
    def __init__(self, case: Case, n_threads: int) -> None:
        del n_threads  # from the environment: BLAS read it when it was loaded
        warnings.simplefilter("ignore", ConvergenceWarning)  # "maximum iterations reached": they are what is asked
        self.case = case
        self.data = case.data()
        self.restart(1)

    @staticmethod
    def supports(case: Case) -> bool:
        return case.loss == "mse" and case.output_activation == "linear"

    def restart(self, epochs: int, shuffle: bool = True) -> None:
        case = self.case
        self.model = MLPRegressor(
            hidden_layer_sizes=case.widths[1:-1],
            activation=ACTIVATIONS[case.activation],
            solver="adam",
            alpha=0.0,
            batch_size=case.batch,
            learning_rate_init=case.learning_rate,
            max_iter=epochs,
            shuffle=shuffle,
            random_state=0,
            tol=0.0,
            n_iter_no_change=np.inf,
            epsilon=EPSILON * case.widths[0] / 2,
            warm_start=True,
        )
        self.model.partial_fit(self.data[: case.batch], self.data[: case.batch])  # makes the arrays of its weights
        weights = case.weights()
        self.model.coefs_ = [w.T.copy() for w in weights[0::2]]
        self.model.intercepts_ = weights[1::2]
        assert all(w.shape == pair for w, pair in zip(self.model.coefs_, pairwise(case.widths), strict=True))

    def losses(self, epochs: int, batches: int) -> list[float]:
        self.restart(epochs, shuffle=False)
        x = self.data[: batches * self.case.batch]
        self.model.loss_curve_ = []
        self.model.fit(x, x)
        return [2 * float(loss) for loss in self.model.loss_curve_]

    def train(self) -> None:
        self.model.fit(self.data, self.data)

    @staticmethod
    def versions() -> dict[str, str]:
        return {"scikit-learn": sklearn.__version__, "numpy": np.__version__}
