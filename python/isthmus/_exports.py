# SPDX-License-Identifier: Apache-2.0
"""A fitted model in the form of another library: an ONNX graph, a PyTorch module; and back from one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus._files import write_atomically
from isthmus._fitted import Fitted

if TYPE_CHECKING:
    from typing import Self


class Exports(Fitted):
    """The methods that turn a fitted model into something that runs without isthmus."""

    _outputs: tuple[str, ...] = ("code", "reconstruction", "error")  # what `to_onnx` can compute

    def to_onnx(
        self,
        path: str | os.PathLike[str] | None = None,
        what: str | Sequence[str] | None = None,
        dtype: str = "float32",
    ) -> Any:
        """The model as one ONNX graph of opset 18: scaling, encoder, decoder, errors.

        Its input is ``X`` of shape (rows, features); its outputs are float32 and agree with this model's to 1e-5:

        - ``code`` (rows, code), as `encode`;
        - ``reconstruction`` (rows, features), as `reconstruct`, in the units of X;
        - ``error`` (rows,), as `reconstruction_error`, in scaled space;
        - of an `AnomalyDetector`, ``score`` and ``decision`` (rows,), as `score_samples` and `decision_function`.

        A graph checks nothing: NaN gives NaN, unless ``missing="mask"`` makes it a missing value there, too, and
        ``bce`` computes on from values outside [0, 1]. It computes in float32 whatever ``precision`` is, except for the
        scaling, which is in float64 as in isthmus. The feature names are a JSON list in the graph's metadata, under
        ``feature_names``.

        Parameters
        ----------
        path : str or path-like, optional
            Where to write it, too: whole, or not at all.
        what : str or sequence of str, optional
            Some of the outputs; None: all. ``"decoder"`` is a graph of its own: from ``Z`` of shape (rows, code) to
            ``reconstruction``, as `decode`.
        dtype : {"float32", "float64"}
            Of the input X. float64 is for columns whose spread float32 cannot hold beside their size, as
            timestamps; it changes something only with ``scaling``.

        Returns
        -------
        onnx.ModelProto

        Raises
        ------
        ImportError
            Without the package onnx, which the extra ``onnx`` brings.
        ValueError
            For an output that this model does not have, and weights of 2 GiB or more, which no ONNX file holds.
        RuntimeError
            For score and decision of a detector that was not trained since it got its weights.
        """
        from isthmus import _network, _onnx

        if dtype not in ("float32", "float64"):
            raise ValueError(f"dtype must be 'float32' or 'float64'; got {dtype!r}")
        core = self._fitted()
        network = _network.network(core)
        outputs = self._wanted(what)
        if network.spread is None and set(outputs) & set(_onnx.DETECTOR_OUTPUTS):
            raise RuntimeError(
                "the detector is not calibrated: it was not trained since it got its weights, and has no score; pass "
                "what=('code', 'reconstruction', 'error')"
            )
        proto = _onnx.model_proto(network, outputs, dtype, core.feature_names)
        if path is not None:
            write_atomically(Path(os.fsdecode(path)), proto.SerializeToString())
        return proto

    # ---- PyTorch ----------------------------------------------------------------------------------------------------

    def to_torch(self) -> Any:
        """The model as a ``torch.nn.Sequential`` of ``encoder`` and ``decoder``, on the CPU and in evaluation mode.

        Both are sequences of ``nn.Linear``, whose weights are copies equal to the bit, and activations. With
        ``scaling`` the encoder begins with a layer that scales, the decoder ends with one that undoes it; their buffers
        ``shift`` and ``scale`` are float64. With ``code_topk`` the encoder ends with a layer that keeps the largest
        units. Tied weights are written out; of a variational autoencoder the encoder gives the means. So
        ``module.encoder`` is `encode`, ``module.decoder`` `decode`, and ``module`` `reconstruct`, to 1e-5. It can be
        trained on, pickled and compiled. It does not know of missing values: NaN gives NaN. What an `AnomalyDetector`
        was calibrated with is not in it: `save` keeps that, `to_onnx` computes scores with it.

        Raises
        ------
        ImportError
            Without PyTorch, which the extra ``torch`` brings.
        """
        from isthmus import _network, _torch

        return _torch.module_of(_network.network(self._fitted()))

    @classmethod
    def from_torch(cls, module: Any, **parameters: Any) -> Self:
        """A fitted model with the layers and weights of a PyTorch module; `fit` with ``warm_start=True`` goes on.

        An `AnomalyDetector` made so reconstructs, but is not calibrated, and its `score_samples` says so with a
        RuntimeError until it was trained: `fit` with ``warm_start=True``, or `partial_fit`, calibrates it on the rows
        that it is given.

        Parameters
        ----------
        module : torch.nn.Module
            With two children, ``nn.Sequential`` each: named ``encoder`` and ``decoder``, or else the first and the
            second, as in ``nn.Sequential(encoder, decoder)``. They hold ``nn.Linear`` layers, in float32, each followed
            by one activation or none, with torch's defaults; the hidden ones share one activation. What else
            ``forward`` may do is not seen. A module that `to_torch` made brings its ``scaling`` along.
        **parameters
            Of the constructor, but for those that the module says: ``encoder_layers``, ``decoder_layers``,
            ``activation``, ``code_activation``, ``output_activation``, ``code_topk``, ``scaling``. A module that was
            trained on logits with ``BCEWithLogitsLoss`` needs an ``nn.Sigmoid`` at its end and ``loss="bce"``.

        Raises
        ------
        TypeError
            For modules and layers of another kind, and other dtypes than float32, naming the layer.
        ValueError
            For widths and activations that no isthmus model has, and parameters that are not allowed.
        ImportError
            Without PyTorch.
        """
        from isthmus import _torch

        network = _torch.network_of(module)
        found = _torch.parameters_of(network)
        twice = sorted(set(found) & set(parameters))
        if twice:
            raise ValueError(f"{twice[0]} is what the module says, {found[twice[0]]!r}; got {parameters[twice[0]]!r}")
        model = cls(**found, **parameters).initialize(network.n_features)
        if network.scaling is not None:
            model._fitted().set_scaling(*(values.tolist() for values in network.scaling))
        layers = [*network.encoder, *network.decoder]
        return model.set_weights([values for layer in layers for values in (layer.weight, layer.bias)])

    if TYPE_CHECKING:

        def initialize(self, n_features: int) -> Self: ...

    def _wanted(self, what: str | Sequence[str] | None) -> tuple[str, ...]:
        outputs = self._outputs if what is None else (what,) if isinstance(what, str) else tuple(what)
        allowed = self._outputs if len(outputs) > 1 else (*self._outputs, "decoder")
        wrong = [name for name in outputs if name not in allowed]
        if wrong or not outputs:
            raise ValueError(f"what must be of {allowed}; got {what!r}")
        return outputs
