# SPDX-License-Identifier: Apache-2.0
"""The anomaly detector: an autoencoder that does not learn from what lies far out, and says how odd a row is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus import _coercion, _device_arrays
from isthmus._autoencoder import Autoencoder

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from isthmus import _core


class AnomalyDetector(Autoencoder):
    """An autoencoder that says how odd a row is, which feature makes it so, and how sure that is.

    Plain reconstruction error fails on contaminated data for two reasons: the network learns to reconstruct the
    anomalies, too, and the features that are hard for every row own the score. So `fit` does not learn from the rows
    that lie furthest out in their columns (twice the expected share, ``contamination``; by ranks, which no wild value
    can move), and each feature's error is divided by its root mean square over the rows that were learned from. A row's
    score is the mean over the features of these, negative, as scikit-learn wants it: larger is more normal.

    Parameters are those of `Autoencoder`, with defaults of its own: ``loss="huber"``, ``epochs=20``,
    ``scaling="standard"``, and two more.

    Parameters
    ----------
    contamination : float
        Share of anomalies to expect, above 0 and at most 0.5: `predict` calls so many of the training rows anomalies.
    calibration_fraction : float
        Share of the rows that `fit` holds back for `p_values`.

    Attributes
    ----------
    offset_ : float
        ``decision_function`` is ``score_samples`` minus this.

    Notes
    -----
    `partial_fit` learns from, and calibrates on, the rows of its last call. `reconstruction_error` and `score` are
    those of `Autoencoder`.

    Examples
    --------
    >>> import numpy as np
    >>> from isthmus import AnomalyDetector
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> X[:5] += 6
    >>> detector = AnomalyDetector(contamination=0.01, random_state=0).fit(X)
    >>> np.flatnonzero(detector.predict(X) == -1)
    array([0, 1, 2, 3, 4])
    """

    _kind = "anomaly_detector"
    _estimator_type = "outlier_detector"
    _outputs = (*Autoencoder._outputs, "score", "decision")

    def __init__(
        self,
        encoder_layers: Sequence[int] | None = None,
        decoder_layers: Sequence[int] | None = None,
        *,
        activation: str = "relu",
        code_activation: str = "linear",
        output_activation: str | None = None,
        loss: str = "huber",
        optimizer: str = "adam",
        learning_rate: float = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        momentum: float = 0.0,
        weight_decay: float | None = None,
        learning_rate_schedule: str | None = None,
        clip_norm: float | None = None,
        input_noise: float = 0.0,
        input_noise_kind: str = "gaussian",
        code_l1: float = 0.0,
        code_topk: int | None = None,
        tied_weights: bool = False,
        scaling: str | None = "standard",
        missing: str = "error",
        batch_size: int = 256,
        epochs: int = 20,
        shuffle: bool = True,
        validation_fraction: float = 0.0,
        patience: int | None = None,
        min_delta: float = 0.0,
        restore_best: bool = True,
        max_seconds: float | None = None,
        max_memory: int | str | None = None,
        device: str = "auto",
        precision: str = "float32",
        n_threads: int | None = None,
        random_state: int | np.random.RandomState | np.random.Generator | None = None,
        warm_start: bool = False,
        verbose: int = 0,
        contamination: float = 0.1,
        calibration_fraction: float = 0.0,
    ) -> None:
        given = locals()
        for name in self._parameter_defaults():
            setattr(self, name, given[name])

    contamination: float
    calibration_fraction: float

    @property
    def offset_(self) -> float:
        offset = self._fitted().offset
        if offset is None:
            raise AttributeError(f"this {type(self).__name__} was not trained since it got its weights")
        return offset

    def score_samples(self, X: ArrayLike) -> Any:
        """How normal each row is, of shape (n,): the negative mean of the errors that `explain` gives.

        With ``missing="mask"`` the mean over what a row has, and NaN for a row without any value: `predict` then calls
        it normal and its `p_values` are 1, since nothing speaks against it.
        """
        return super().score_samples(X)

    def _scores(self, core: _core.Model, array: NDArray[Any]) -> NDArray[np.float64]:
        scores = np.empty(len(array), np.float64)
        for where, rows in _coercion.blocks(array, missing=core.masks_missing):
            core.anomaly_scores(rows, scores[where], None)
        return scores

    def decision_function(self, X: ArrayLike) -> Any:
        """`score_samples` minus ``offset_``, of shape (n,): below 0 is an anomaly."""
        return _device_arrays.in_kind(self._decision(X), X)

    def _decision(self, X: ArrayLike) -> NDArray[np.float64]:
        core = self._ready()
        return self._scores(core, self._rows(X, core)) - self.offset_

    def predict(self, X: ArrayLike) -> Any:
        """1 for each normal row and -1 for each anomaly, int64 of shape (n,)."""
        return _device_arrays.in_kind(np.where(self._decision(X) < 0, -1, 1), X)

    def fit_predict(self, X: ArrayLike, y: object = None, **fit_arguments: Any) -> Any:
        """`fit`, with its arguments, then `predict` for the same rows."""
        return self.fit(X, y, **fit_arguments).predict(X)

    def p_values(self, X: ArrayLike) -> Any:
        """The conformal p-value of each row, of shape (n,): how rare a score as low as its own is.

        (1 + k) / (1 + m), where k of the m rows that ``calibration_fraction`` held back score as low or lower. For rows
        like those, a p-value is at most p with probability p at most (Vovk et al., 2005; Bates et al., 2023).

        Raises
        ------
        ValueError
            When `fit` held no rows back.
        """
        core = self._ready()
        array = self._rows(X, core)
        p = np.empty(len(array), np.float64)
        for where, rows in _coercion.blocks(array, missing=core.masks_missing):
            core.p_values(rows, p[where])
        return _device_arrays.in_kind(p, X)

    def explain(self, X: ArrayLike) -> tuple[Any, Any]:
        """What makes each row odd.

        Returns
        -------
        error : ndarray of shape (n, features)
            Each feature's error, 1 being what is usual for it, NaN for one that is missing; the mean of a row's others
            is its negative score.
        expected : ndarray of shape (n, features)
            The reconstruction, in the units of X: what a normal row like this one would have.
        """
        core = self._ready()
        array = self._rows(X, core)
        error = np.empty(array.shape, np.float64)
        for where, rows in _coercion.blocks(array, whole=False, missing=core.masks_missing):
            block = np.empty(rows.shape, np.float32)
            core.anomaly_scores(rows, np.empty(len(rows), np.float64), block)
            error[where] = block
        expected = self._run(core.reconstruct, array, "X", core.n_features, core.masks_missing)
        return _device_arrays.in_kind(error, X), _device_arrays.in_kind(expected, X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "outlier_detector"
        return tags
