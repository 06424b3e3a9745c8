# SPDX-License-Identifier: Apache-2.0
"""The estimator. It holds parameters and a core model, turns what comes in into arrays, and computes nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus import _budget, _checkpoints, _coercion, _core, _device_arrays, _sparse, _streams
from isthmus._device import draw_seed, place, stored_random_state
from isthmus._exports import Exports
from isthmus._scikit_learn import check_names, check_width
from isthmus._training import alone, as_callbacks, continued, train, watched
from isthmus._views import Views

if TYPE_CHECKING:
    import os
    from typing import Self

    from numpy.typing import ArrayLike, NDArray

    Float32 = NDArray[np.float32]

# Parameters that belong to where a model runs, not to the model: no file stores them.
_NOT_STORED = frozenset({"device", "n_threads", "max_seconds", "max_memory"})


class Autoencoder(Views, Exports):
    """An autoencoder on dense layers, trained by minibatches.

    Layer by layer, ``y = activation(x @ W.T + b)`` with ``W`` of shape (out, in). The encoder leads from the features
    to the code, the decoder back. A row's error is the mean of its loss over the features that it has; the training
    loss is the mean of the errors, weighted by ``sample_weight``.

    The constructor only stores; what is not allowed is refused when a model is first made from it.

    Parameters
    ----------
    encoder_layers : sequence of int, optional
        Widths of the encoder; the last is the code. None: the code has a quarter of the features, kept within 1 to 32,
        and one hidden layer of min(128, 4 * code) comes before it.
    decoder_layers : sequence of int, optional
        Hidden widths of the decoder. None mirrors the encoder; ``()`` goes straight to the output.
    activation, code_activation : str
        Of the hidden layers and of the code: ``linear relu leaky_relu elu gelu silu softplus sigmoid tanh``.
    output_activation : str, optional
        None: ``"sigmoid"`` for ``loss="bce"``, which takes no other, else ``"linear"``.
    loss : {"mse", "bce", "mae", "huber"}
        ``bce`` needs values in [0, 1], or ``scaling="minmax"``.
    optimizer : {"adam", "adamw", "sgd"}
    learning_rate, beta_1, beta_2, epsilon, momentum : float
        Adam as in its paper (Kingma and Ba, 2015); ``momentum`` is that of ``sgd``.
    weight_decay : float, optional
        None: 0.01 for ``adamw``, which decouples it, 0 otherwise.
    learning_rate_schedule : {"cosine", "linear", "exponential", "plateau"}, optional
        ``cosine`` and ``linear`` go to 0 over all steps of a fit; ``exponential``: x 0.95 an epoch; ``plateau``: x 0.5
        after 5 epochs without gain. Constant in `partial_fit`.
    clip_norm : float, optional
        Largest norm of the whole gradient.
    input_noise : float
        Corrupts the input while training: standard deviation, or fraction of values set to 0.
    input_noise_kind : {"gaussian", "mask"}
    code_l1 : float
        Weight of the mean of the code's absolute values, which is added to each row's error while training: many units
        of the code then are near 0. It is in no loss that is told; ``history_["code_l1"]`` has its mean, unweighted.
    code_topk : int, optional
        Keeps so many units of each row's code, the largest after the activation (the lower index where two are equal),
        and puts 0 in the place of the others, in training and ever after (Makhzani and Frey, 2014).
    tied_weights : bool
        The decoder uses the encoder's weights transposed, with biases of its own; ``decoder_layers`` must mirror the
        encoder. Each weight is stored, listed and updated once; its gradient is the sum of both uses.
    scaling : {"standard", "minmax"}, optional
        Fitted with the model on the rows that are first trained on, applied to what comes in, undone by `decode` and
        `reconstruct`: mean and standard deviation, or minimum and range, of each column, weighted by
        ``sample_weight``. Columns that were constant are only shifted. The loss, `input_noise` and errors are in the
        scaled space.
    missing : {"error", "mask"}
        What NaN is, in X and in what other libraries call NA, null, None or masked: an error, or a value that was not
        observed. With ``"mask"`` it enters as the mean of its column over the rows that are first trained on, and the
        loss does not see it: a row's error is the mean over what it has. Scaling and means are those of the values that
        are there; a column without any is an error. A row without any value is not learned from; its error is NaN.
        `impute` fills in what is missing. Infinity stays an error.
    batch_size, epochs : int
        The last batch of an epoch may be smaller; it counts.
    shuffle : bool
        A new order of the rows each epoch.
    validation_fraction : float
        Rows held back for validation when `fit` gets no ``validation_data``.
    patience : int, optional
        Stops after so many epochs without gain of at least ``min_delta``, on the validation loss if there is one, else
        on the training loss.
    min_delta : float
    restore_best : bool
        With ``patience``: ends with the best weights, not the last.
    max_seconds : float, optional
        `fit` and `resume` end cleanly after the step in which they have taken so long, with fewer epochs, and, with
        ``restore_best``, the best weights so far.
    max_memory : int or str, optional
        Bytes, or ``"2GB"`` or ``"512MiB"``, of main memory that training may take beside X. What would take more is
        refused with a MemoryError that names them, before it is begun; X that must be converted is converted a stretch
        of steps at a time where a whole copy has no room. An upper bound is what counts, and no part on a GPU.
    device : str
        ``"cpu"``, ``"cuda"``, ``"cuda:N"``, or ``"auto"``: the first GPU, where this build and machine have one, else
        the CPU. `device_` tells what was taken.
    precision : {"float32", "tf32", "bfloat16"}
        ``"tf32"`` (GPUs) and ``"bfloat16"`` (GPUs, and CPUs with AMX or AVX512-BF16) round the operands of the layers'
        products, to 11 and 8 binary digits; sums and all else stay float32. What the device cannot do is an error.
    n_threads : int, optional
        None: what the machine and the environment allow. Never changes a result.
    random_state : int, numpy.random.RandomState or numpy.random.Generator, optional
        Key of initial weights, order and noise: 0 to 2**64 - 1, or one drawn from the object; None: a fresh one.
    warm_start : bool
        `fit` goes on from the weights, moments and epochs of the fit before.
    verbose : {0, 1, 2}
        1: a progress bar where tqdm is installed, else a line an epoch; 2: a line an epoch, after one that says on
        which device and how the steps are run.

    Attributes
    ----------
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only when the training data had column names that are all strings.
    code_size_ : int
        Width of the code.
    n_iter_ : int
        Epochs done.
    loss_ : float
        Training loss of the last epoch.
    history_ : dict of lists
        ``loss``, ``val_loss`` (empty without validation), ``learning_rate`` and ``seconds``, an entry an epoch; where
        something is added to the loss, its mean before its weight, by name.
    device_ : str

    Examples
    --------
    >>> import numpy as np
    >>> from isthmus import Autoencoder
    >>> X = np.random.default_rng(0).random((200, 16), dtype=np.float32)
    >>> model = Autoencoder((8, 2), epochs=5, random_state=0).fit(X)
    >>> model.encode(X).shape
    (200, 2)
    """

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
        random_state: int | np.random.RandomState | np.random.Generator | None = None,
        warm_start: bool = False,
        verbose: int = 0,
    ) -> None:
        self.encoder_layers = encoder_layers
        self.decoder_layers = decoder_layers
        self.activation = activation
        self.code_activation = code_activation
        self.output_activation = output_activation
        self.loss = loss
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.learning_rate_schedule = learning_rate_schedule
        self.clip_norm = clip_norm
        self.input_noise = input_noise
        self.input_noise_kind = input_noise_kind
        self.code_l1 = code_l1
        self.code_topk = code_topk
        self.tied_weights = tied_weights
        self.scaling = scaling
        self.missing = missing
        self.batch_size = batch_size
        self.epochs = epochs
        self.shuffle = shuffle
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.min_delta = min_delta
        self.restore_best = restore_best
        self.max_seconds = max_seconds
        self.max_memory = max_memory
        self.device = device
        self.precision = precision
        self.n_threads = n_threads
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose

    # ---- training ---------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: ArrayLike,
        y: object = None,
        *,
        sample_weight: ArrayLike | None = None,
        validation_data: ArrayLike | tuple[ArrayLike, ArrayLike | None] | None = None,
        callbacks: Iterable[Any] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 1,
    ) -> Self:
        """Trains on X for ``epochs`` epochs.

        Ctrl-C, a callback that raises and a loss that diverges leave the model fitted, with the weights of the last
        completed (and finite) step. A call that is refused for its arguments leaves it as it was.

        With ``checkpoint`` a fit that was interrupted, or killed, goes on by `resume` with the bits that it would have
        had. A checkpoint is a model file with ``training_state``; the newest three stay. One is written before the
        first step, one after every ``checkpoint_every`` epochs and one where the fit is left, within an epoch, too,
        unless it diverged. One that cannot be written is a RuntimeWarning, but for the first.

        Parameters
        ----------
        X : array-like of shape (n, features)
            Anything that NumPy makes a 2-D array of numbers from; pandas, polars and Arrow tables; arrays on a GPU
            (PyTorch, JAX, CuPy, Numba), by DLPack or ``__cuda_array_interface__``. A float32 array with contiguous
            rows is not copied, unless there is a ``scaling``; others are, once, or a stretch of steps at a time where
            they are too large. On a GPU, rows are read in place where their number of columns and their stride are
            multiples of 4; others are converted there for the time of the call. The model must be on the same GPU;
            ``device="auto"`` takes the one that X is on. With a ``scaling``, and for an `AnomalyDetector`, rows on a
            GPU are copied to the host for the call.

            Or rows in batches: an iterable that is no array, such as a PyTorch DataLoader, or a function that makes a
            fresh iterator; each batch rows as above, or ``(X,)``, ``(X, y)`` or ``(X, y, sample_weight)``. They are
            read once before training and once an epoch, in their own order, with the bits that all of them as one
            array have with ``shuffle=False``. What they raise comes out, at the last completed step. Not with
            ``validation_fraction``, and not for an `AnomalyDetector`.
        y : ignored
            For scikit-learn.
        sample_weight : array-like of shape (n,), optional
            Weight of each row's error; not negative, not all 0.
        validation_data : array-like or pair, optional
            Rows to validate on, which may come in batches, too, or, as in Keras, a pair of rows and what their
            reconstruction is compared with.
        callbacks : iterable
            Callables, or objects with a method ``on_epoch_end``, called with this model and a dict of ``epoch``,
            ``n_epochs``, ``loss``, ``val_loss``, ``learning_rate``, ``seconds`` and, where something is added to the
            loss, that by name, after each epoch. One that returns True stops the training.
        checkpoint : str or path-like, optional
            Folder of the checkpoints of this fit, which is made where it is not there; one that has checkpoints already
            is refused. X, weights and validation rows are read once more for their fingerprint.
        checkpoint_every : int
            Epochs from one checkpoint to the next.

        Raises
        ------
        ValueError, TypeError
            For a parameter or an argument that is not allowed, named with row and column where that applies.
        OSError
            When the first checkpoint cannot be written, or another fit writes there.
        DivergenceError
            When the loss or a weight is no longer finite.
        MemoryError
            For what takes more than ``max_memory``, or than there is.
        RuntimeError
            For a device or precision that is not here, and inside a callback of the same model.
        """
        with alone(self), _streams.opened() as take:
            parameters, where = self._checked_parameters()
            kept = _checkpoints.checked(checkpoint, checkpoint_every)
            functions = as_callbacks(callbacks)
            missing = parameters["missing"] == "mask"
            array = take(X, missing=missing)
            names = _streams.feature_names(array, X) or []
            before = self._model if parameters["warm_start"] else None
            if before is not None:
                check_width(type(self).__name__, "X", array.shape[1], before.n_features)
            if before is None:
                core = self._fresh(parameters, array.shape[1], where, names, array)
            else:
                core = continued(before, parameters, where, names)
            rows = _streams.readable(array, core, "X", missing)
            weights = _streams.row_weights(sample_weight, rows)
            validation, targets = self._validation(validation_data, core, take)
            how = (kept.folder, kept.every, _checkpoints.warn, *self._limits(), None)
            with watched(self, core, functions, parameters["verbose"]) as on_epoch_end:
                train(self, core, lambda: core.fit(rows, weights, validation, targets, on_epoch_end, *how))
        return self

    def resume(
        self,
        folder: str | os.PathLike[str] | None,
        X: ArrayLike,
        y: object = None,
        *,
        sample_weight: ArrayLike | None = None,
        validation_data: ArrayLike | tuple[ArrayLike, ArrayLike | None] | None = None,
        callbacks: Iterable[Any] = (),
        checkpoint_every: int = 1,
    ) -> Self:
        """Goes on with a fit that was interrupted, to the bits that it would have had.

        The parameters of this model and the data must be those of that fit, whatever this model was fitted to before.
        More ``epochs``, ``max_seconds``, ``device``, ``n_threads``, ``verbose`` and ``callbacks`` may be others;
        another device has other bits. A fit that had come to its end is restored as it ended.

        Parameters
        ----------
        folder : str, path-like or None
            That of `fit`'s ``checkpoint``: its newest checkpoint that is whole is taken, and further ones are written
            there. Or a file written by `save` with ``training_state=True``; or None: the fit that this model itself was
            interrupted in.
        X, y, sample_weight, validation_data, callbacks, checkpoint_every
            As in `fit`.

        Raises
        ------
        ValueError
            Listing all parameters and data that are not as they were.
        ModelFormatError
            When no checkpoint is whole. A newer one that is not is a RuntimeWarning.
        OSError
            When there is no checkpoint, or another fit writes there.

        Other errors, and interruption, as in `fit`.
        """
        with alone(self), _streams.opened() as take:
            parameters, where = self._checked_parameters()
            kept = _checkpoints.checked(folder, checkpoint_every)
            functions = as_callbacks(callbacks)
            core = self._fitted().moved(*where) if folder is None else _checkpoints.newest(folder, where)
            kept = kept.where_a_folder_is()
            array = self._rows(X, core, take=take)
            rows = _streams.readable(array, core, "X", core.masks_missing)
            weights = _streams.row_weights(sample_weight, rows)
            validation, targets = self._validation(validation_data, core, take)
            how = (kept.folder, kept.every, _checkpoints.warn, *self._limits(), parameters)
            with watched(self, core, functions, parameters["verbose"]) as on_epoch_end:
                train(self, core, lambda: core.fit(rows, weights, validation, targets, on_epoch_end, *how))
        return self

    def partial_fit(self, X: ArrayLike, y: object = None, *, sample_weight: ArrayLike | None = None) -> Self:
        """Trains for one pass over X in its order, in slices of ``batch_size``, keeping the moments between calls.

        The first call makes the initial weights and fits the ``scaling`` and, with ``missing="mask"``, the means of the
        columns, which later calls keep. Parameters, errors and interruption as in `fit`.
        """
        with alone(self):
            parameters, where = self._checked_parameters()
            before = self._model
            missing = parameters["missing"] == "mask"
            if before is None:
                array = _coercion.matrix(X, missing=missing)
                core = self._fresh(parameters, array.shape[1], where, _coercion.feature_names(X) or [], array)
                array = _device_arrays.brought(array, core, "X")
            else:
                core = continued(before, parameters, where, before.feature_names)
                array = self._rows(X, core, missing)
            rows = _coercion.readable(array, missing=missing)
            weights = _coercion.row_weights(sample_weight, len(rows))
            train(self, core, lambda: core.partial_fit(rows, weights, _budget.memory(self.max_memory)))
        return self

    def fit_transform(
        self,
        X: ArrayLike,
        y: object = None,
        *,
        sample_weight: ArrayLike | None = None,
        validation_data: ArrayLike | tuple[ArrayLike, ArrayLike | None] | None = None,
        callbacks: Iterable[Any] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 1,
    ) -> Any:
        """`fit`, then the codes of X, of shape (n, code), which is a TypeError for X in batches."""
        if _streams.is_stream(X):
            raise TypeError("fit_transform gives the codes of all rows at once: call fit(X), and encode batch by batch")
        self.fit(
            X,
            y,
            sample_weight=sample_weight,
            validation_data=validation_data,
            callbacks=callbacks,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
        )
        return self.transform(X)

    def initialize(self, n_features: int) -> Self:
        """Makes the initial weights for so many features without training.

        The model can be used at once. `partial_fit` goes on from it, and so does `fit` with ``warm_start=True``.
        """
        wanted = f"n_features must be an integer of at least 1; got {n_features!r}"
        if isinstance(n_features, (bool, np.bool_)) or not hasattr(n_features, "__index__"):
            raise TypeError(wanted)
        if not 1 <= index(n_features) < 1 << 63:
            raise ValueError(wanted)
        with alone(self):
            parameters, where = self._checked_parameters()
            self._model = self._fresh(parameters, index(n_features), where, [])
        return self

    # ---- inference --------------------------------------------------------------------------------------------------

    def encode(self, X: ArrayLike) -> Any:
        """The codes of X, float32 of shape (n, code), in the container chosen by `set_output`, else in X's library.

        A tensor of PyTorch, an array of JAX, CuPy or Numba gives one of the same library on the same device, sharing
        the memory of the result; everything else gives NumPy's. Rows on a GPU are read there: see `fit`.
        """
        codes = None if self._model is None else self._model.encode_quickly(X, self.device, self.n_threads)
        if codes is None:
            core = self._ready()
            codes = self._run(core.encode, self._rows(X, core), "X", core.code_size, core.masks_missing)
        return self._contain(codes, X)

    def decode(self, Z: ArrayLike) -> Any:
        """Rows from codes: Z of shape (n, code) to float32 of shape (n, features), in Z's library."""
        rows = None if self._model is None else self._model.decode_quickly(Z, self.device, self.n_threads)
        if rows is not None:
            return rows
        core = self._ready()
        array = _coercion.matrix(Z, "Z")
        if array.shape[1] != core.code_size:
            raise ValueError(f"Z has {array.shape[1]} columns, but the code of this model has {core.code_size}")
        array = _device_arrays.brought(array, core, "Z")
        return _device_arrays.in_kind(self._run(core.decode, array, "Z", core.n_features), Z)

    def transform(self, X: ArrayLike) -> Any:
        """`encode`, under scikit-learn's name."""
        return self.encode(X)

    def inverse_transform(self, Z: ArrayLike) -> Any:
        """`decode`, under scikit-learn's name."""
        return self.decode(Z)

    def reconstruct(self, X: ArrayLike) -> Any:
        """``decode(encode(X))`` in one pass, float32 of shape (n, features), in X's library."""
        rows = None if self._model is None else self._model.reconstruct_quickly(X, self.device, self.n_threads)
        if rows is not None:
            return rows
        core = self._ready()
        return _device_arrays.in_kind(
            self._run(core.reconstruct, self._rows(X, core), "X", core.n_features, core.masks_missing), X
        )

    def impute(self, X: ArrayLike) -> Any:
        """X with what is missing replaced by its reconstruction, of shape (n, features), for ``missing="mask"``.

        What is there stays as it is, to the bit. The answer is a copy, in float32 or float64 as X, in the container
        chosen by `set_output`; in its own dtype where X holds integers, of which none can be missing; float64 and with
        its zeros where X is sparse. A network that can copy its input learns no more than that: `input_noise` of the
        kind ``"mask"`` makes it fill in.

        Raises
        ------
        ValueError
            For a model that was fitted with ``missing="error"``, and for X as in `encode`.
        """
        core = self._ready()
        if not core.masks_missing:
            raise ValueError(f'impute needs missing="mask"; this {type(self).__name__} was fitted with missing="error"')
        array = self._rows(X, core)
        expected = self._run(core.reconstruct, array, "X", core.n_features, missing=True)
        there = _sparse.dense_rows(array, slice(None)) if isinstance(array, _core.CsrArray) else array
        filled = np.array(_coercion.readable(there, missing=True), order="C")
        holes = np.isnan(filled)
        filled[holes] = expected[holes]
        return self._contain(filled, X, self._column_names(core))

    def reconstruction_error(self, X: ArrayLike, per_feature: bool = False, units: str = "scaled") -> Any:
        """Each row's error, the mean of its loss over the features that it has, float64 of shape (n,), in X's library;
        NaN for a row without any.

        Parameters
        ----------
        X : array-like of shape (n, features)
        per_feature : bool
            The loss of each element instead, of shape (n, features), computed in float32: NaN for one that is missing.
        units : {"scaled", "input"}
            ``"input"`` takes the loss of differences in the units of X instead of those after ``scaling``; not with
            ``bce``.
        """
        if units not in ("scaled", "input"):
            raise ValueError(f"units must be 'scaled' or 'input'; got {units!r}")
        core = self._ready()
        return _device_arrays.in_kind(self._errors(core, self._rows(X, core), per_feature, units), X)

    def _errors(self, core: _core.Model, array: Any, per_feature: bool = False, units: str = "scaled") -> Any:
        errors = _device_arrays.empty(array, (len(array),), wide=True)
        if isinstance(array, _core.DeviceArray):
            losses = array.empty(list(array.shape), False) if per_feature else None
            core.reconstruction_error(_coercion.readable(array), errors, losses, units == "input", 0)
            return errors if losses is None else losses.widened()
        elements = np.empty(array.shape, np.float64) if per_feature else None
        for where, rows in _coercion.blocks(array, whole=not per_feature, missing=core.masks_missing):
            block = None if elements is None else np.empty(rows.shape, np.float32)
            core.reconstruction_error(rows, errors[where], block, units == "input", where.start or 0)
            if elements is not None:
                elements[where] = block
        return errors if elements is None else elements

    def score_samples(self, X: ArrayLike) -> Any:
        """The negative `reconstruction_error`, of shape (n,): larger is better."""
        core = self._ready()
        return _device_arrays.in_kind(self._scores(core, self._rows(X, core)), X)

    def _scores(self, core: _core.Model, array: Any) -> Any:
        return -self._errors(core, array)

    def score(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> float:
        """The negative loss over X: larger is better. y is ignored."""
        core = self._ready()
        rows = _coercion.readable(self._rows(X, core), missing=core.masks_missing)
        return -core.evaluate(rows, _coercion.row_weights(sample_weight, len(rows)))

    def gradients(self, X: ArrayLike, sample_weight: ArrayLike | None = None) -> list[Float32]:
        """Gradient of the loss, with what is added to it, over all rows of X as one batch, without noise.

        In the form of `get_weights`.
        """
        core = self._ready()
        rows = _coercion.readable(self._rows(X, core), missing=core.masks_missing)
        return core.gradients(rows, _coercion.row_weights(sample_weight, len(rows)))

    # ---- at the door ------------------------------------------------------------------------------------------------

    def _ready(self) -> _core.Model:
        """The fitted model, where ``device`` and ``n_threads`` say now."""
        core, where = self._fitted(), place(self.device, self.n_threads)
        if not core.serves(*where) and "_training" not in vars(self):
            core = self._model = core.moved(*where)
        return core

    def _checked_parameters(self) -> tuple[dict[str, Any], tuple[str, int]]:
        """The whole configuration, and where the core puts the model."""
        where = place(self.device, self.n_threads)
        self._limits()
        given = {name: getattr(self, name) for name in self._parameter_defaults() if name not in _NOT_STORED}
        given["random_state"] = stored_random_state(self.random_state)
        given["kind"] = self._kind
        return _core.check_parameters(given), where

    def _limits(self) -> tuple[float | None, int]:
        return _budget.seconds(self.max_seconds), _budget.memory(self.max_memory)

    def _fresh(
        self, parameters: dict[str, Any], n_features: int, where: tuple[str, int], names: list[str], rows: Any = None
    ) -> _core.Model:
        """A core model with initial weights. ``"auto"`` puts it on the GPU that the rows are on, if they are on one."""
        _, max_memory = self._limits()
        on = _device_arrays.home(rows, where[0])
        core = _core.Model(parameters, n_features, draw_seed(self.random_state), *where, max_memory, on)
        core.feature_names = names
        return core

    def _rows(
        self,
        X: object,
        core: _core.Model,
        missing: bool | None = None,
        take: Callable[..., Any] = _coercion.matrix,
    ) -> Any:
        """X as a 2-D array with the columns that the model was fitted on; `missing` says otherwise than the model."""
        owner = type(self).__name__
        array = take(X, missing=core.masks_missing if missing is None else missing)
        check_names(owner, _streams.feature_names(array, X), core.feature_names)
        check_width(owner, "X", array.shape[1], core.n_features)
        return _device_arrays.brought(array, core, "X")

    def _validation(self, data: Any, core: _core.Model, take: Callable[..., Any]) -> tuple[Any, Any]:
        """Rows to validate on and, where the caller gave them, other targets."""
        if data is None:
            return None, None
        if isinstance(data, tuple) and len(data) != 2:
            raise ValueError(f"validation_data must be rows or a pair (rows, targets); got a tuple of {len(data)}")
        is_pair = isinstance(data, tuple)
        inputs, targets = data if is_pair else (data, None)
        named = [(inputs, "validation_data[0]" if is_pair else "validation_data")]
        if targets is not None and targets is not inputs:
            named.append((targets, "validation_data[1]"))
        rows = []
        for X, name in named:
            array = (_coercion.matrix if is_pair else take)(X, name, core.masks_missing)
            check_width(type(self).__name__, name, array.shape[1], core.n_features)
            rows.append(_streams.readable(array, core, name, core.masks_missing))
        return rows[0], rows[1] if len(rows) == 2 else None

    @staticmethod
    def _run(run: Any, array: Any, name: str, width: int, missing: bool = False) -> Any:
        out = _device_arrays.empty(array, (len(array), width))
        for where, rows in _coercion.blocks(array, name, missing=missing):
            run(rows, out if len(rows) == len(out) else out[where])
        return out
