# SPDX-License-Identifier: Apache-2.0
"""A model as an ONNX graph: scaling, encoder, decoder and what is computed from the two, in the words of opset 18.

Scaling is in float64 and rounds once, as in core, so that a column of 1e9 + 0.25 keeps its quarter; layers and losses
are in float32. Opset 18 (ONNX 1.13, 2022) is the oldest in which every reduction takes its axes as an input; gelu and
silu, which later ones have, are written with Erf and Sigmoid.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus import _core
from isthmus._extras import need

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from isthmus._network import Layer, Network

OPSET = 18
IR_VERSION = 8  # that of ONNX 1.13
_MOST_BYTES = (1 << 31) - 1  # of a protobuf
DETECTOR_OUTPUTS = ("score", "decision")
OUTPUTS = ("code", "reconstruction", "error", *DETECTOR_OUTPUTS)


def model_proto(network: Network, outputs: Sequence[str], dtype: str, names: list[str]) -> Any:
    """A checked ``onnx.ModelProto`` with these of `OUTPUTS`, or with the decoder alone for ``("decoder",)``."""
    onnx = need("onnx", "onnx", "to_onnx")
    layers = [*network.encoder, *network.decoder]
    size = sum(layer.weight.nbytes + layer.bias.nbytes for layer in layers)
    if size > _MOST_BYTES - (1 << 20):
        raise ValueError(f"the weights take {size} bytes; an ONNX file holds at most {_MOST_BYTES}")
    graph = _Graph(onnx)
    if tuple(outputs) == ("decoder",):
        inputs = [graph.declare("Z", onnx.TensorProto.FLOAT, network.code_size)]
        results = {"reconstruction": _unscaled(graph, network, _decode(graph, network, "Z")[1])}
    else:
        kind = onnx.TensorProto.DOUBLE if dtype == "float64" else onnx.TensorProto.FLOAT
        inputs = [graph.declare("X", kind, network.n_features)]
        results = _results(graph, network, dtype, outputs)
    widths = {"code": network.code_size, "reconstruction": network.n_features}
    declared = []
    for name, value in results.items():
        graph.nodes.append(onnx.helper.make_node("Identity", [value], [name], name))
        declared.append(graph.declare(name, onnx.TensorProto.FLOAT, widths.get(name)))
    proto = onnx.helper.make_model(
        onnx.helper.make_graph(graph.nodes, "isthmus", inputs, declared, graph.constants),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="isthmus",
        producer_version=_core.__version__,
    )
    if names:
        onnx.helper.set_model_props(proto, {"feature_names": json.dumps(names)})
    onnx.checker.check_model(proto, full_check=True)
    return proto


class _Graph:
    """Nodes and constants as they come; every method that adds a node returns the name of what it computes."""

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def declare(self, name: str, kind: int, width: int | None) -> Any:
        shape: list[str | int] = ["rows"] if width is None else ["rows", width]
        return self.onnx.helper.make_tensor_value_info(name, kind, shape)

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(op, list(inputs), [name], name, **attributes))
        return name

    def cast(self, value: str, to: str) -> str:
        kinds = self.onnx.TensorProto
        return self.add("Cast", value, to=kinds.DOUBLE if to == "float64" else kinds.FLOAT)

    def row_mean(self, value: str, missing: str | None = None) -> str:
        """The mean of each row, of what is not missing: NaN, 0 / 0, for a row without any."""
        if missing is None:
            return self.add("ReduceMean", value, self.constant([1], np.int64), keepdims=0)
        observed = self.cast(self.add("Not", missing), "float32")
        kept = self.add("Where", missing, self.constant(0.0), value)
        return self.add("Div", *(self.add("ReduceSum", part, self.constant([1], np.int64), keepdims=0)
                                 for part in (kept, observed)))

    def activation(self, z: str, name: str) -> str:
        match name:
            case "linear":
                return z
            case "leaky_relu":
                return self.add("LeakyRelu", z, alpha=0.01)
            case "elu":
                return self.add("Elu", z, alpha=1.0)
            case "gelu":  # z (1 + erf(z / sqrt(2))) / 2
                one_and_erf = self.add("Add", self.add("Erf", self.add("Mul", z, self.constant(0.5**0.5))),
                                       self.constant(1.0))
                return self.add("Mul", self.add("Mul", z, self.constant(0.5)), one_and_erf)
            case "silu":
                return self.add("Mul", z, self.add("Sigmoid", z))
            case "relu" | "softplus" | "sigmoid" | "tanh":
                return self.add(name.capitalize(), z)
        raise ValueError(f"activation {name!r} has no form in ONNX yet")

    def keep_largest(self, code: str, keep: int) -> str:
        """Zeros, with the largest of each row put where they were; of equal ones TopK takes the lower index."""
        name = f"topk_{len(self.nodes)}"
        largest = [f"{name}_values", f"{name}_indices"]
        wanted = [code, self.constant([keep], np.int64)]
        self.nodes.append(self.onnx.helper.make_node("TopK", wanted, largest, name, axis=1, largest=1))
        zeros = self.add("Sub", code, code)
        return self.add("ScatterElements", zeros, largest[1], largest[0], axis=1)

    def dense(self, x: str, layer: Layer) -> str:
        """z = x @ weight.T + bias"""
        return self.add("Gemm", x, self.constant(layer.weight), self.constant(layer.bias), transB=1)


def _results(graph: _Graph, network: Network, dtype: str, outputs: Sequence[str]) -> dict[str, str]:
    x = _scaled(graph, network, dtype)
    missing = None
    code = target = x
    if network.means is not None:
        missing = graph.add("IsNaN", x)
        target = code = graph.add("Where", missing, graph.constant(_filling(network)), x)
    for layer in network.encoder:
        code = graph.activation(graph.dense(code, layer), layer.activation)
    if network.keep is not None:
        code = graph.keep_largest(code, network.keep)
    results = {"code": code}
    if set(outputs) != {"code"}:
        z, y = _decode(graph, network, code)
        if "reconstruction" in outputs:
            results["reconstruction"] = _unscaled(graph, network, y)
        if "error" in outputs:
            results["error"] = graph.row_mean(_loss(graph, network, target, y, z), missing)
        if set(outputs) & set(DETECTOR_OUTPUTS):
            assert network.spread is not None and network.offset is not None
            difference = graph.add("Abs", graph.add("Sub", y, target))
            errors = graph.add("Div", difference, graph.constant(network.spread))
            results["score"] = graph.add("Neg", graph.row_mean(errors, missing))
            results["decision"] = graph.add("Sub", results["score"], graph.constant(network.offset))
    return {name: results[name] for name in OUTPUTS if name in outputs}


def _scaled(graph: _Graph, network: Network, dtype: str) -> str:
    if network.scaling is None:
        return "X" if dtype == "float32" else graph.cast("X", "float32")
    shift, scale = network.scaling
    x = "X" if dtype == "float64" else graph.cast("X", "float64")
    shifted = graph.add("Sub", x, graph.constant(shift, np.float64))
    return graph.cast(graph.add("Div", shifted, graph.constant(scale, np.float64)), "float32")


def _filling(network: Network) -> NDArray[np.float32]:
    """What a missing value of each feature enters as, in scaled space."""
    assert network.means is not None
    shift, scale = (0.0, 1.0) if network.scaling is None else network.scaling
    return ((network.means - shift) / scale).astype(np.float32)


def _decode(graph: _Graph, network: Network, code: str) -> tuple[str, str]:
    """z and y of the output layer: before its activation, and after."""
    z, y = "", code
    for layer in network.decoder:
        z = graph.dense(y, layer)
        y = graph.activation(z, layer.activation)
    return z, y


def _unscaled(graph: _Graph, network: Network, y: str) -> str:
    if network.scaling is None:
        return y
    shift, scale = network.scaling
    scaled = graph.add("Mul", graph.cast(y, "float64"), graph.constant(scale, np.float64))
    return graph.cast(graph.add("Add", scaled, graph.constant(shift, np.float64)), "float32")


def _loss(graph: _Graph, network: Network, x: str, y: str, z: str) -> str:
    """Each element's loss, as csrc/math/losses.hpp has it."""
    if network.loss == "bce":  # max(z, 0) - z t + log(1 + e^-|z|)
        target = x
        if network.scaling_kind == "minmax":
            target = graph.add("Clip", x, graph.constant(0.0), graph.constant(1.0))
        tail = graph.add("Softplus", graph.add("Neg", graph.add("Abs", z)))
        return graph.add("Add", graph.add("Sub", graph.add("Relu", z), graph.add("Mul", z, target)), tail)
    difference = graph.add("Sub", y, x)
    if network.loss == "mse":
        return graph.add("Mul", difference, difference)
    size = graph.add("Abs", difference)
    if network.loss == "mae":
        return size
    if network.loss == "huber":  # with a = min(|d|, 1): a (|d| - a / 2)
        bounded = graph.add("Min", size, graph.constant(1.0))
        return graph.add("Mul", bounded, graph.add("Sub", size, graph.add("Mul", bounded, graph.constant(0.5))))
    raise ValueError(f"loss {network.loss!r} has no form in ONNX yet")
