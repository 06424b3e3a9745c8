# SPDX-License-Identifier: Apache-2.0
"""cuBLAS through PyTorch: answers the requests of gpu_kernels.cpp for products alone. In float32 TF32 is off, also
where isthmus splits float32 into bfloat16 (bf16x6); a product .tf32 has it on, and one .bfloat16 has operands and
result in it.

Calls are captured in a CUDA graph, so that what is timed is cuBLAS and not the way to it through Python.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from contestants import _torch_gpu as gpu

CALLS_A_GRAPH = 20


class Products:
    """The product last prepared, as ``run``, which does ``calls`` of them."""

    def __init__(self) -> None:
        self.run: Callable[[], Any] = lambda: None
        self.calls = 1

    @staticmethod
    def device() -> dict[str, Any]:
        return {"device": "none" if gpu.EMULATED else torch.cuda.get_device_name(), **gpu.versions()}

    def prepare(self, name: str, *sizes: str) -> dict[str, Any]:
        name, _, arithmetic = name.partition(".")
        rows, inputs, outputs = map(int, sizes)
        torch.set_float32_matmul_precision("high" if arithmetic == "tf32" else "highest")
        kind = torch.bfloat16 if arithmetic == "bfloat16" else torch.float32
        # (m, k) @ (k, n), the operands as they lie in a layer
        shapes = {"forward": ((rows, inputs), (outputs, inputs)), "input": ((rows, outputs), (outputs, inputs)),
                  "weight": ((rows, outputs), (rows, inputs))}[name]  # fmt: skip
        one, other = ((torch.rand(shape, device=gpu.DEVICE) * 2 - 1).to(kind) for shape in shapes)
        left, right = {"forward": (one, other.t()), "input": (one, other), "weight": (one.t(), other)}[name]
        out = torch.empty(left.shape[0], right.shape[1], device=gpu.DEVICE, dtype=kind)

        def call() -> None:
            torch.mm(left, right, out=out)

        call()
        expected = left.double() @ right.double()
        error = float((out.double() - expected).abs().max() / expected.abs().max())
        self.run, self.calls = (call, 1) if gpu.EMULATED else (captured(call), CALLS_A_GRAPH)
        return {"error": error}

    def time(self, seconds: str) -> dict[str, Any]:
        times, elapsed = 1, self._seconds(1)
        while elapsed < float(seconds) / 8 and times < 1 << 20:
            times *= 4
            elapsed = self._seconds(times)
        times = max(1, round(times * float(seconds) / max(elapsed, 1e-9)))
        return {"seconds": self._seconds(times) / times / self.calls}

    def _seconds(self, times: int) -> float:
        if gpu.EMULATED:
            started = time.perf_counter()
            for _ in range(times):
                self.run()
            return time.perf_counter() - started
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        for _ in range(times):
            self.run()
        last.record()
        last.synchronize()
        return float(first.elapsed_time(last)) * 1e-3


def captured(call: Callable[[], None]) -> Callable[[], Any]:
    """CALLS_A_GRAPH calls as one graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # what is made on first use must not be made while capturing
        call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(CALLS_A_GRAPH):
            call()
    replay: Callable[[], Any] = graph.replay
    return replay


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr
    if why := gpu.unavailable():
        raise SystemExit(why)
    products = Products()
    requests: dict[str, Any] = {"device": products.device, "prepare": products.prepare, "time": products.time}
    with torch.inference_mode():
        for line in sys.stdin:
            verb, *words = line.split()
            print(json.dumps(requests[verb](*words)), file=answers, flush=True)


if __name__ == "__main__":
    main()
