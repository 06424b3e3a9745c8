# SPDX-License-Identifier: Apache-2.0
"""JAX on the GPU with a whole epoch in one ``jit``: see jax_scan. Products in float32: JAX's default is less."""

from __future__ import annotations

import os

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the others need memory, too

import jax
from cases import Case

from contestants import jax_scan

requires = ("jax",)
EMULATED = os.environ.get("ISTHMUS_BENCH_EMULATED") == "1"
jax.config.update("jax_default_matmul_precision", "highest")


def unavailable() -> str | None:
    backend = jax.default_backend()
    return None if EMULATED or backend == "gpu" else f"JAX sees no GPU here: its backend is {backend}"


class Contestant(jax_scan.Contestant):
    def __init__(self, case: Case, n_threads: int) -> None:
        del n_threads
        self.case = case
        self.host_data = case.data()
        self._compile_epoch({})


class Reconstructor(jax_scan.Reconstructor):
    def __init__(self, case: Case, n_threads: int) -> None:
        del n_threads
        self._compile(case, {})
