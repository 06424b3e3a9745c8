# SPDX-License-Identifier: Apache-2.0
"""What this machine can do: cost of a barrier, float32 peak, bandwidth. The sources are in bench/probes.

They are compiled when the bench runs, with the flags of the instruction set that isthmus uses: a percentage of peak is
one of those vectors. Without a C++ compiler there are no probes, and the tables say so.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import statistics
import subprocess
from pathlib import Path
from typing import Any

import machine

SOURCES = Path(__file__).resolve().parent / "probes"
# Flags and bytes of a vector; with neither, multiply and add are two instructions, and so they are in the kernels.
INSTRUCTION_SETS: dict[str, tuple[list[str], int]] = {
    "baseline": ([], 16),
    "avx2": (["-mavx2", "-mfma"], 32),
    "avx512": (["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma", "-mprefer-vector-width=512"], 64),
    "neon": ([], 16),
}
BARRIER_CHUNKS, BARRIERS = 21, 500
BURSTS = 7
BURST_SECONDS = 0.02


def compiler() -> str | None:
    names = [os.environ.get("CXX", ""), "c++", "g++", "clang++"]
    return next((found for name in names if name and (found := shutil.which(name))), None)


class Probes:
    """The probes, compiled into ``folder``; SystemExit with the compiler's words when that fails."""

    def __init__(self, cxx: str, instruction_set: str, folder: Path) -> None:
        self.instruction_set = instruction_set
        flags, vector_bytes = INSTRUCTION_SETS[instruction_set]
        library = folder / "probes.so"
        sources = [str(path) for path in sorted(SOURCES.glob("*.cpp"))]
        # gnu++20: the compiler makes a * b + c one instruction where there is one, as nothing forbids it here.
        common = ["-std=gnu++20", "-O3", "-shared", "-fPIC", "-pthread", "-Wall", "-Wextra"]
        command = [cxx, *common, *flags, f"-DVECTOR_BYTES={vector_bytes}", *sources, "-o", str(library)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"the probes do not compile:\n{' '.join(command)}\n{done.stderr}")
        self.library = ctypes.CDLL(str(library))
        self.library.barrier_seconds.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_double)]
        self.library.barrier_seconds.restype = None
        self.library.fma_flops.argtypes = [ctypes.c_int, ctypes.c_long, ctypes.c_int]
        self.library.fma_flops.restype = ctypes.c_double
        self.library.triad_bytes.argtypes = [ctypes.c_int, ctypes.c_long, ctypes.c_int, ctypes.c_int]
        self.library.triad_bytes.restype = ctypes.c_double

    def barrier_seconds(self) -> float:
        """One barrier between two threads: the median over short stretches, within some milliseconds."""
        seconds = (ctypes.c_double * BARRIER_CHUNKS)()
        self.library.barrier_seconds(BARRIER_CHUNKS, BARRIERS, seconds)
        return float(statistics.median(list(seconds)))

    def fma_flops(self, threads: int) -> float:
        """Float32 operations a second of that many threads together."""
        trial: float = self.library.fma_flops(1, 1_000_000, 1)
        vector_floats = INSTRUCTION_SETS[self.instruction_set][1] // 4
        rounds = max(1, int(BURST_SECONDS * trial / (2 * 12 * vector_floats)))
        return float(self.library.fma_flops(threads, rounds, BURSTS))

    def triad_bytes(self, threads: int, total_bytes: int) -> float:
        """Bytes a second of that many threads together, over arrays of ``total_bytes`` in all."""
        floats = max(16, total_bytes // (12 * threads) // 16 * 16)
        passes = max(1, int(BURST_SECONDS * 20e9 / (12 * floats)))
        return float(self.library.triad_bytes(threads, floats, passes, BURSTS if passes > 1 else 3))


def measure_peak(probes: Probes, threads: int) -> dict[str, Any]:
    """Peak and bandwidth on one thread and on ``threads``, as kept with the results.

    L2: half of it. DRAM: four times the last level of cache or a quarter of the memory, whichever is less.
    """
    caches = machine.caches()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    last = caches[max(caches)]
    counts = sorted({1, threads})
    l2, dram = caches.get("L2", machine.UNKNOWN_CACHES["L2"]) // 2, min(4 * last, memory // 4)
    return {
        "instruction_set": probes.instruction_set,
        "fma_flops": {str(n): probes.fma_flops(n) for n in counts},
        "l2_triad_bytes": {str(n): probes.triad_bytes(n, l2 * n) for n in counts},
        "dram_triad_bytes": {str(n): probes.triad_bytes(n, dram) for n in counts},
        "l2_array_bytes_a_thread": l2,
        "dram_array_bytes": dram,
    }
