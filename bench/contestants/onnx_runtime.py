# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime: inference alone, from a graph of Gemm and activations with the weights as initializers.

What makes it fast: all graph optimisations (Gemm and activation become one node, weights are packed once), as many
threads as asked within an operator, none between operators, memory arenas that are kept between calls.
"""

from __future__ import annotations

import onnx
import onnxruntime
from cases import F32, Case
from onnx import TensorProto, helper, numpy_helper

requires = ("onnxruntime", "onnx")
ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}


def graph(case: Case) -> bytes:
    """The network with ``case.weights()``, as an ONNX file's bytes."""
    nodes, initializers, value = [], [], "x"
    weights = case.weights()
    for i, (w, b) in enumerate(zip(weights[0::2], weights[1::2], strict=True)):
        initializers += [numpy_helper.from_array(w, f"w{i}"), numpy_helper.from_array(b, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [value, f"w{i}", f"b{i}"], [f"z{i}"], transB=1))
        value = f"z{i}"
        if operation := ACTIVATIONS.get(case.activation_of(i)):
            nodes.append(helper.make_node(operation, [value], [f"y{i}"]))
            value = f"y{i}"
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width])
        for name, width in (("x", case.widths[0]), (value, case.widths[-1]))
    ]
    made = helper.make_graph(nodes, "autoencoder", ends[:1], ends[1:], initializers)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


class Reconstructor:
    def __init__(self, case: Case, n_threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.intra_op_num_threads = n_threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(graph(case), options, providers=["CPUExecutionProvider"])
        self.outputs = [self.session.get_outputs()[0].name]

    @staticmethod
    def supports(case: Case) -> bool:
        del case
        return True

    def reconstruct(self, x: F32) -> F32:
        y: F32 = self.session.run(self.outputs, {"x": x})[0]
        return y

    @staticmethod
    def versions() -> dict[str, str]:
        return {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__}
