# SPDX-License-Identifier: Apache-2.0
"""JAX on the GPU with a whole epoch in one ``jit``: see jax_scan. Products in the case's precision: JAX's own default
is less than float32."""

from __future__ import annotations

import os

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the others need memory, too

import jax
from cases import Case

from contestants import jax_scan

requires = ("jax",)
EMULATED = os.environ.get("ISTHMUS_BENCH_EMULATED") == "1"
PRECISIONS = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "BF16_BF16_F32"}


def _set_precision(case: Case) -> None:
    jax.config.update("jax_default_matmul_precision", PRECISIONS[case.precision])


def unavailable() -> str | None:
    backend = jax.default_backend()
    return None if EMULATED or backend == "gpu" else f"JAX sees no GPU here: its backend is {backend}"


class Contestant(jax_scan.Contestant):
    def __init__(self, case: Case, n_threads: int) -> None:
        del n_threads
        self.case = case
        self.host_data = case.data()
        _set_precision(case)
        self._compile_epoch({})


class Reconstructor(jax_scan.Reconstructor):
    def __init__(self, case: Case, n_threads: int) -> None:
        del n_threads
        _set_precision(case)
        self._compile(case, {})
