# SPDX-License-Identifier: Apache-2.0
"""What a fitted model holds, by name: for those who write it down in another form. It is read from the model's file,
the one form in which the core tells everything.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from isthmus import _core

    Float32 = NDArray[np.float32]
    Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Layer:
    """y = activation(x @ weight.T + bias), weight (out, in), bias (out,)."""

    weight: Float32
    bias: Float32
    activation: str


@dataclass(frozen=True)
class Network:
    encoder: tuple[Layer, ...]
    decoder: tuple[Layer, ...]
    loss: str
    scaling_kind: str | None
    scaling: tuple[Float64, Float64] | None  # shift and scale of each feature; None: not fitted, or not wanted
    means: Float64 | None  # what a missing value of each feature enters as, in the units of X; None: NaN is refused
    spread: Float64 | None  # of each feature's error in scaled space; None: no detector, or not trained
    offset: float | None
    keep: int | None = None  # units of each row's code that stay, the largest; None: all

    @property
    def n_features(self) -> int:
        return int(self.encoder[0].weight.shape[1])

    @property
    def code_size(self) -> int:
        return len(self.encoder[-1].bias)


def network(core: _core.Model) -> Network:
    """A copy of what the core model holds now."""
    stored = core.parameters
    held = _tensors(core.to_bytes(False))
    hidden = stored["activation"]
    output = stored["output_activation"] or ("sigmoid" if stored["loss"] == "bce" else "linear")
    offset = held.get("detector.offset")
    encoder = _layers(held, "encoder", hidden, stored["code_activation"])
    if stored["kind"] == "variational_autoencoder":  # the code is the mean: the first half of what the layer gives
        last, code = encoder[-1], len(encoder[-1].bias) // 2
        encoder = (*encoder[:-1], Layer(last.weight[:code], last.bias[:code], last.activation))
    return Network(
        encoder=encoder,
        decoder=_layers(held, "decoder", hidden, output),
        loss=stored["loss"],
        scaling_kind=stored["scaling"],
        scaling=(held["scaling.shift"], held["scaling.scale"]) if "scaling.shift" in held else None,
        means=_means(core, held),
        spread=held.get("detector.spread"),
        offset=None if offset is None else float(offset[0]),
        keep=stored["code_topk"],
    )


def _means(core: _core.Model, held: dict[str, NDArray[Any]]) -> Float64 | None:
    if not core.masks_missing:
        return None
    # Before anything was trained on, a missing value enters as 0 of the scaled space.
    for name in ("missing.mean", "scaling.shift"):
        if name in held:
            return held[name]
    return np.zeros(core.n_features)


def _layers(held: dict[str, NDArray[Any]], part: str, hidden: str, last: str) -> tuple[Layer, ...]:
    count = _count(held, part)
    return tuple(
        Layer(_weight(held, part, i), held[f"{part}.{i}.bias"], hidden if i < count - 1 else last)
        for i in range(count)
    )


def _count(held: dict[str, NDArray[Any]], part: str) -> int:
    return sum(name.startswith(f"{part}.") and name.endswith(".bias") for name in held)


def _weight(held: dict[str, NDArray[Any]], part: str, layer: int) -> Float32:
    """A tied decoder has no weights in the file: they are the encoder's, from the code back, transposed."""
    own = held.get(f"{part}.{layer}.weight")
    if own is not None:
        return own
    return np.ascontiguousarray(held[f"encoder.{_count(held, 'encoder') - 1 - layer}.weight"].T)


def _tensors(file: bytes) -> dict[str, NDArray[Any]]:
    """The tensors of a safetensors container that the core has just written, as views of it."""
    start = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        dtype = {"F32": "<f4", "F64": "<f8"}[entry["dtype"]]
        values = np.frombuffer(file, dtype, (last - first) // int(dtype[2]), start + first)
        tensors[name] = values.reshape(entry["shape"])
    return tensors
