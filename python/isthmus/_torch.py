# SPDX-License-Identifier: Apache-2.0
"""A model as a PyTorch module, and back: ``nn.Sequential`` of ``encoder`` and ``decoder``, each of Linear layers and
activations. A scaling is a layer of its own, the encoder's first and, undone, the decoder's last; so is what keeps the
largest units of the code, the encoder's last.

The classes of these layers are made when torch is first imported here, and stand in this module under their names,
so that a module can be pickled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus._extras import need
from isthmus._network import Layer, Network

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCALINGS = ("Scale", "Unscale")
LAYERS = (*SCALINGS, "TopK")


def __getattr__(name: str) -> Any:
    if name in LAYERS:
        return _own_layers()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _own_layers() -> dict[str, Any]:
    torch = need("torch", "torch", "to_torch")

    class Scale(torch.nn.Module):  # type: ignore[misc, name-defined]
        """(x - shift) / scale, in the buffers' float64, as float32."""

        def __init__(self, kind: str, shift: NDArray[np.float64], scale: NDArray[np.float64]) -> None:
            super().__init__()
            self.kind = kind
            self.register_buffer("shift", torch.from_numpy(shift.copy()))
            self.register_buffer("scale", torch.from_numpy(scale.copy()))

        def forward(self, x: Any) -> Any:
            return ((x.to(self.shift.dtype) - self.shift) / self.scale).float()

        def extra_repr(self) -> str:
            return f"{self.kind!r}, {len(self.shift)} features"

    class Unscale(Scale):
        """y * scale + shift, in the buffers' float64, as float32."""

        def forward(self, y: Any) -> Any:
            return (y.to(self.shift.dtype) * self.scale + self.shift).float()

    class TopK(torch.nn.Module):  # type: ignore[misc, name-defined]
        """The k largest units of each row, the lower index where two are equal, and 0 in the place of the others."""

        def __init__(self, k: int) -> None:
            super().__init__()
            self.k = k

        def forward(self, code: Any) -> Any:
            order = torch.sort(code, dim=1, descending=True, stable=True).indices[:, : self.k]
            return torch.zeros_like(code).scatter(1, order, code.gather(1, order))

        def extra_repr(self) -> str:
            return str(self.k)

    own = {layer.__name__: layer for layer in (Scale, Unscale, TopK)}
    for name, layer in own.items():
        layer.__module__, layer.__qualname__ = __name__, name
    return own


# What each activation is in torch, and whether a module of that class is the same function.
_ACTIVATIONS: dict[str, tuple[str, dict[str, Any], Callable[[Any], bool]]] = {
    "linear": ("Identity", {}, lambda m: True),
    "relu": ("ReLU", {}, lambda m: True),
    "leaky_relu": ("LeakyReLU", {"negative_slope": 0.01}, lambda m: m.negative_slope == 0.01),
    "elu": ("ELU", {"alpha": 1.0}, lambda m: m.alpha == 1.0),
    "gelu": ("GELU", {"approximate": "none"}, lambda m: m.approximate == "none"),
    "silu": ("SiLU", {}, lambda m: True),
    "softplus": ("Softplus", {}, lambda m: m.beta == 1.0 and m.threshold >= 20.0),  # beyond it, z: 2e-9 away
    "sigmoid": ("Sigmoid", {}, lambda m: True),
    "tanh": ("Tanh", {}, lambda m: True),
}


# ---- to torch -------------------------------------------------------------------------------------------------------


def module_of(network: Network) -> Any:
    """``nn.Sequential`` of ``encoder`` and ``decoder`` with copies of the weights, in evaluation mode."""
    nn = need("torch", "torch", "to_torch").nn
    encoder, decoder = (_sequential(nn, layers) for layers in (network.encoder, network.decoder))
    if network.keep is not None:
        encoder.append(_own_layers()["TopK"](network.keep))
    if network.scaling is not None:
        scale, unscale = (_own_layers()[name](network.scaling_kind, *network.scaling) for name in SCALINGS)
        encoder.insert(0, scale)
        decoder.append(unscale)
    module = nn.Sequential()
    module.add_module("encoder", encoder)
    module.add_module("decoder", decoder)
    return module.eval()


def _sequential(nn: Any, layers: tuple[Layer, ...]) -> Any:
    torch = need("torch", "torch", "to_torch")
    sequence = nn.Sequential()
    for layer in layers:
        linear = nn.Linear(layer.weight.shape[1], layer.weight.shape[0])
        linear.weight = nn.Parameter(torch.from_numpy(layer.weight.copy()))
        linear.bias = nn.Parameter(torch.from_numpy(layer.bias.copy()))
        sequence.append(linear)
        if layer.activation != "linear":
            if layer.activation not in _ACTIVATIONS:
                raise ValueError(f"activation {layer.activation!r} has no form in torch yet")
            name, arguments, _ = _ACTIVATIONS[layer.activation]
            sequence.append(getattr(nn, name)(**arguments))
    return sequence


# ---- from torch -----------------------------------------------------------------------------------------------------


def network_of(module: Any) -> Network:
    """What a module computes. Raises TypeError for what no isthmus model is, ValueError for one that none can be."""
    nn = need("torch", "torch", "from_torch").nn
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module; got {type(module).__name__}")
    parts = dict(module.named_children())
    if set(parts) != {"encoder", "decoder"}:
        parts = dict(zip(("encoder", "decoder"), parts.values(), strict=False)) if len(parts) == 2 else {}
    if len(parts) != 2 or not all(isinstance(part, nn.Sequential) for part in parts.values()):
        raise TypeError(
            f"module must have two children, an encoder and a decoder, both nn.Sequential; got "
            f"{type(module).__name__} with {[type(child).__name__ for child in module.children()]}. "
            f"nn.Sequential(encoder, decoder) makes one from a flat sequence and says which layer is the code"
        )
    flat = {name: list(_flat(nn, name, part)) for name, part in parts.items()}
    scaling = _taken_scaling(flat)
    keep = _taken_top_k(flat["encoder"])
    encoder, decoder = (_layers(nn, name, flat[name]) for name in ("encoder", "decoder"))
    if encoder[0].weight.shape[1] != len(decoder[-1].bias):
        raise ValueError(
            f"module takes {encoder[0].weight.shape[1]} features and gives {len(decoder[-1].bias)}; an autoencoder "
            f"gives as many as it takes"
        )
    kind = None if scaling is None else scaling.kind
    values = None if scaling is None else (_values(scaling.shift), _values(scaling.scale))
    return Network(encoder, decoder, "mse", kind, values, means=None, spread=None, offset=None, keep=keep)


def parameters_of(network: Network) -> dict[str, Any]:
    """Constructor parameters of a model with this network, but for loss and training."""
    hidden = {layer.activation for layers in (network.encoder, network.decoder) for layer in layers[:-1]}
    if len(hidden) > 1:
        raise ValueError(f"the hidden layers must share one activation; got {sorted(hidden)}")
    parameters: dict[str, Any] = {
        "encoder_layers": tuple(len(layer.bias) for layer in network.encoder),
        "decoder_layers": tuple(len(layer.bias) for layer in network.decoder[:-1]),
        "code_activation": network.encoder[-1].activation,
        "output_activation": network.decoder[-1].activation,
        "code_topk": network.keep,
        "scaling": network.scaling_kind,
    }
    if hidden:
        parameters["activation"] = hidden.pop()
    return parameters


def _flat(nn: Any, name: str, sequence: Any) -> list[tuple[str, Any]]:
    layers: list[tuple[str, Any]] = []
    for i, child in enumerate(sequence):  # not named_children, which gives a module that stands twice only once
        where = f"{name}.{i}"
        layers += _flat(nn, where, child) if isinstance(child, nn.Sequential) else [(where, child)]
    return layers


def _taken_top_k(encoder: list[tuple[str, Any]]) -> int | None:
    """Takes the layer that keeps the largest units away from the encoder's end; its k."""
    if not encoder or type(encoder[-1][1]) is not _own_layers()["TopK"]:
        return None
    return int(encoder.pop()[1].k)


def _taken_scaling(flat: dict[str, list[tuple[str, Any]]]) -> Any:
    """Takes the layers that scale and unscale away; the first of the two, or None."""
    encoder, decoder = flat["encoder"], flat["decoder"]
    found = [encoder and type(encoder[0][1]) is _own_layers()["Scale"],
             decoder and type(decoder[-1][1]) is _own_layers()["Unscale"]]
    if not any(found):
        return None
    if not all(found):
        raise ValueError("module has one of Scale and Unscale; both are needed, with the same buffers")
    scale, unscale = encoder.pop(0)[1], decoder.pop()[1]
    same = all(bool((getattr(scale, name) == getattr(unscale, name)).all()) for name in ("shift", "scale"))
    if scale.kind != unscale.kind or not same:
        raise ValueError("module scales in one way and unscales in another")
    return scale


def _layers(nn: Any, part: str, flat: list[tuple[str, Any]]) -> tuple[Layer, ...]:
    layers: list[Layer] = []
    open_for_activation = False
    for where, child in flat:
        if type(child) is nn.Linear:
            layers.append(_layer(where, child))
            if len(layers) > 1 and layers[-2].weight.shape[0] != layers[-1].weight.shape[1]:
                raise ValueError(f"{where} takes {layers[-1].weight.shape[1]} values, but {layers[-2].weight.shape[0]} "
                                 f"come in")
            open_for_activation = True
            continue
        name = _activation(nn, where, child)
        if name == "linear":
            continue
        if not open_for_activation:
            raise ValueError(f"{where} is {type(child).__name__} and follows no Linear; one activation may follow each")
        layers[-1] = Layer(layers[-1].weight, layers[-1].bias, name)
        open_for_activation = False
    if not layers:
        raise ValueError(f"the {part} has no Linear layer")
    return tuple(layers)


def _layer(where: str, linear: Any) -> Layer:
    weight = _values(linear.weight)
    bias = np.zeros(len(weight), weight.dtype) if linear.bias is None else _values(linear.bias)
    for name, values in (("weight", weight), ("bias", bias)):
        if values.dtype != np.float32:
            raise TypeError(f"{where}.{name} is {values.dtype}; isthmus has float32: pass module.float()")
    return Layer(weight, bias, "linear")


def _activation(nn: Any, where: str, child: Any) -> str:
    for name, (torch_name, _, same) in _ACTIVATIONS.items():
        if type(child) is getattr(nn, torch_name):
            if not same(child):
                raise ValueError(f"{where} is {child}, and isthmus has {torch_name} with the defaults of torch alone")
            return name
    raise TypeError(
        f"{where} is {type(child).__name__}; an isthmus model has Linear layers and the activations "
        f"{[torch_name for torch_name, _, _ in _ACTIVATIONS.values()]}"
    )


def _values(tensor: Any) -> NDArray[Any]:
    if str(tensor.dtype) == "torch.bfloat16":  # NumPy has none
        tensor = tensor.half()
    return np.array(tensor.detach().cpu().numpy())
