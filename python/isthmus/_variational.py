# SPDX-License-Identifier: Apache-2.0
"""The variational autoencoder: its code is a distribution, and codes that nobody encoded decode to new rows."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus import _coercion, _core
from isthmus._autoencoder import Autoencoder
from isthmus._device import checked_seed

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import ArrayLike, NDArray

    Float32 = NDArray[np.float32]
    RandomState = int | np.random.RandomState | np.random.Generator | None


class VariationalAutoencoder(Autoencoder):
    """An autoencoder whose code is drawn from a normal distribution, so that new rows can be drawn, too.

    The encoder's last layer gives a mean and a log variance for each unit of the code (Kingma and Welling, 2014). While
    training, the decoder sees a code drawn from them, and the divergence of that distribution from N(0, 1) is added to
    the loss. Otherwise the code is the mean: `encode`, `reconstruct` and all errors are those of a plain autoencoder.

    Parameters are those of `Autoencoder`, and one more. The code is linear, and neither sparse nor tied: `fit` refuses
    another ``code_activation``, ``code_l1``, ``code_topk`` and ``tied_weights``.

    Parameters
    ----------
    kl_weight : float
        Weight of KL(N(mean, variance) || N(0, 1)), summed over the code and divided by the number of features, which is
        added to each row's error while training. 1: with ``bce``, the negative evidence lower bound per feature; less
        reconstructs better and generates worse.

    Attributes
    ----------
    history_ : dict of lists
        As of `Autoencoder`, and ``kl``: the mean over the rows of what ``kl_weight`` multiplies.

    Notes
    -----
    Log variances are not clamped: where they overflow, training stops with a `DivergenceError`. `gradients` draws by
    a key of its own, the same in every call.

    Examples
    --------
    >>> import numpy as np
    >>> from isthmus import VariationalAutoencoder
    >>> X = np.random.default_rng(0).random((200, 16), dtype=np.float32)
    >>> model = VariationalAutoencoder((8, 2), epochs=5, random_state=0).fit(X)
    >>> model.sample(3, random_state=0).shape
    (3, 16)
    """

    _kind = "variational_autoencoder"

    def __init__(
        self,
        encoder_layers: Sequence[int] | None = None,
        decoder_layers: Sequence[int] | None = None,
        *,
        activation: str = "relu",
        code_activation: str = "linear",
        output_activation: str | None = None,
        loss: str = "mse",
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
        scaling: str | None = None,
        missing: str = "error",
        batch_size: int = 256,
        epochs: int = 100,
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
        random_state: RandomState = None,
        warm_start: bool = False,
        verbose: int = 0,
        kl_weight: float = 1.0,
    ) -> None:
        given = locals()
        for name in self._parameter_defaults():
            setattr(self, name, given[name])

    kl_weight: float

    def encode(self, X: ArrayLike, sample: bool = False, random_state: RandomState = None) -> Any:
        """The codes of X, float32 of shape (n, code), in the container chosen by `set_output`.

        Parameters
        ----------
        X : array-like of shape (n, features)
        sample : bool
            Draws each row's code from its distribution, instead of giving the mean.
        random_state : int, numpy.random.RandomState or numpy.random.Generator, optional
            Key of what is drawn; a row's draw depends on it and on the row's number. None: a fresh one.
        """
        if not sample:
            return super().encode(X)
        core, seed = self._ready(), checked_seed(random_state)
        array = self._rows(X, core)
        if isinstance(array, _core.DeviceArray):  # what is asked for is drawn on the host
            array = array.to_host()
        codes = np.empty((len(array), core.code_size), np.float32)
        for where, rows in _coercion.blocks(array, missing=core.masks_missing):
            core.draw_codes(rows, seed, where.start or 0, codes[where])
        return self._contain(codes, X)

    @classmethod
    def from_torch(cls, module: Any, **parameters: Any) -> Self:
        """Not of this class: a module of `to_torch` gives the means, and says nothing of their variances.

        Raises
        ------
        ValueError
        """
        raise ValueError(
            "from_torch makes an Autoencoder: a module of an encoder and a decoder has no log variances"
        )

    def sample(self, n: int = 1, random_state: RandomState = None) -> Float32:
        """New rows, float32 of shape (n, features): codes drawn from N(0, 1), decoded.

        Parameters
        ----------
        n : int
        random_state : int, numpy.random.RandomState or numpy.random.Generator, optional
            Key of what is drawn. None: a fresh one.
        """
        wanted = f"n must be an integer of at least 1; got {n!r}"
        if isinstance(n, (bool, np.bool_)) or not hasattr(n, "__index__"):
            raise TypeError(wanted)
        if index(n) < 1:
            raise ValueError(wanted)
        core, seed = self._ready(), checked_seed(random_state)
        codes = np.empty((index(n), core.code_size), np.float32)
        core.draw_prior(seed, codes)
        rows: Float32 = self.decode(codes)
        return rows
