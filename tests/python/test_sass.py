# SPDX-License-Identifier: Apache-2.0
"""The machine code of the CUDA device: no kernel spills, and what the sources ask for is there.

Reads the library that ISTHMUS_SASS_LIBRARY names, or the one that was installed; skips where there is none, or no
cuobjdump (sass.py). The readers themselves are tried on the tool's own words below.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import isthmus
import pytest
import sass

INSTALLED = Path(isthmus.__file__).parent / "libisthmus_cuda.so"
LIBRARY = Path(os.environ.get("ISTHMUS_SASS_LIBRARY", INSTALLED))
SOURCES = Path(__file__).resolve().parents[2] / "csrc" / "cuda"

Code = tuple[list[sass.Kernel], dict[str, dict[str, Counter[str]]]]


@pytest.fixture(scope="module")
def code() -> Code:
    if not LIBRARY.exists():
        pytest.skip("no CUDA library was built")
    if sass.cuobjdump() is None:
        pytest.skip("cuobjdump is not installed (nvidia-cuda-cuobjdump, nvidia-cuda-nvdisasm)")
    return sass.read(LIBRARY)


def test_no_kernel_spills(code: Code) -> None:
    kernels, _ = code
    assert kernels
    guilty = [f"{k.architecture} {k.name}: stack {k.stack}, local {k.local}" for k in kernels if k.spills]
    assert not guilty, "\n".join(guilty)


def test_every_kernel_is_there_for_every_architecture(code: Code) -> None:
    kernels, found = code
    names = {a: {k.name for k in kernels if k.architecture == a} for a in {k.architecture for k in kernels}}
    assert len(set(map(frozenset, names.values()))) == 1, {a: len(n) for a, n in names.items()}
    assert set(found) == set(names)


# What a source asks for by a wrapper of ptx.hpp or ptx/, and the instruction that must come of it, and where.
INTENDED = {
    r"\bcopy_async_(4|16)\(": ("LDGSTS", ("sm_80", "sm_90a")),
    r"\bldmatrix_x4(_trans)?\(": ("LDSM", ("sm_80", "sm_90a")),
    r"\bmma_m16n8k8_tf32\(": ("HMMA.TF32", ("sm_80", "sm_90a")),
    r"\bmma_m16n8k16_bf16\(": ("HMMA.BF16", ("sm_80", "sm_90a")),
    r"\bcopy_box\(": ("UTMALDG", ("sm_90a",)),
    r"\bwgmma<": ("HGMMA", ("sm_90a",)),
}


@pytest.mark.parametrize("wrapper", INTENDED)
def test_the_intended_instructions_are_there(code: Code, wrapper: str) -> None:
    sources = [p for p in SOURCES.iterdir() if p.suffix in (".cu", ".cuh", ".hpp") and p.name != "ptx.hpp"]
    if not any(re.search(wrapper, path.read_text()) for path in sources):
        pytest.skip(f"no kernel calls {wrapper}")
    instruction, architectures = INTENDED[wrapper]
    for architecture in set(architectures) & set(code[1]):
        assert sum(counts[instruction] for counts in code[1][architecture].values()) > 0, architecture


def test_products_are_chains_of_fused_multiply_adds(code: Code) -> None:
    for architecture, kernels in code[1].items():
        products = [counts["FFMA"] for name, counts in kernels.items() if "gemm" in name.lower()]
        assert products and min(products) >= 8, architecture


def test_warpgroup_products_are_pipelined(code: Code) -> None:
    """Slices come by the accelerator and meet in wgmma. Where ptxas makes one product wait for the other, it says so
    (C7515) and puts a fence before and a wait behind each."""
    products = {name: counts for name, counts in code[1].get("sm_90a", {}).items() if "wgmma_product" in name}
    if not products:
        pytest.skip("no kernel for sm_90a multiplies by wgmma")
    for name, counts in products.items():
        assert counts["UTMALDG"] >= 2, name
        assert counts["HGMMA"] >= 4, name
        assert counts["WARPGROUP"] <= counts["HGMMA"], name


def test_every_tensor_core_product_is_made_of_the_intended_instructions(code: Code) -> None:
    for architecture, kernels in code[1].items():
        products = {name: counts for name, counts in kernels.items() if "mma_product" in name and "wgmma" not in name}
        assert {"Tf32" in name for name in products} == {True, False}, architecture
        for name, counts in products.items():
            mine, other = ("HMMA.TF32", "HMMA.BF16") if "Tf32" in name else ("HMMA.BF16", "HMMA.TF32")
            assert counts[mine] > 0 and counts[other] == 0 and counts["LDGSTS"] > 0, name
            # ldmatrix transposes no 4-byte elements: a weight gradient in tf32 reads its fragments word by word.
            assert counts["LDSM"] > 0 or ("Tf32" in name and "WeightGradient" in name), name


def test_a_spill_is_seen(tmp_path: Path) -> None:
    """Negative control: 200 sums a thread do not fit into the 64 registers that 1,024 threads leave each."""
    nvcc = shutil.which("nvcc", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/cuda/bin"]))
    if nvcc is None or sass.cuobjdump() is None:
        pytest.skip("nvcc or cuobjdump is not installed")
    (tmp_path / "spill.cu").write_text("""
__global__ void __launch_bounds__(1024) spill(float* p) {
    float sum[200];
#pragma unroll
    for (int i = 0; i < 200; ++i) sum[i] = p[i];
    for (int step = 0; step < 100; ++step) {
#pragma unroll
        for (int i = 0; i < 200; ++i) sum[i] = sum[i] * sum[(i + 1) % 200] + p[step];
    }
#pragma unroll
    for (int i = 0; i < 200; ++i) p[threadIdx.x * 200 + i] = sum[i];
}
""")
    command = [nvcc, "-arch=sm_80", "-cubin", "-o", tmp_path / "spill.cubin", tmp_path / "spill.cu"]
    subprocess.run(command, check=True)
    kernels, _ = sass.read(tmp_path / "spill.cubin")
    assert [kernel.spills for kernel in kernels] == [True]


# ---- the readers ----------------------------------------------------------------------------------------------------

USAGE = """
Fatbin elf code:
================
arch = sm_80
code version = [1,8]

Resource usage:
 Common:
  GLOBAL:0
 Function _Z1fPf:
  REG:8 STACK:0 SHARED:128 LOCAL:0 CONSTANT[0]:360 TEXTURE:0 SURFACE:0 SAMPLER:0
 Function _Z1gPf:
  REG:255 STACK:96 SHARED:0 LOCAL:0 CONSTANT[0]:360 TEXTURE:0 SURFACE:0 SAMPLER:0

Fatbin elf code:
================
arch = sm_90a

Resource usage:
 Function _Z1fPf:
  REG:10 STACK:0 SHARED:0 LOCAL:16 CONSTANT[0]:536 TEXTURE:0 SURFACE:0 SAMPLER:0
"""
SASS = """
\tcode for sm_80
\t\tFunction : _Z1fPf
        /*0000*/                   MOV R1, c[0x0][0x28] ;              /* 0x00000a0000017a02 */
                                                                       /* 0x000fe40000000f00 */
        /*0010*/                   FFMA R2, R3, R4, R2 ;               /* 0x0000000000027919 */
        /*0020*/              @!P0 LDGSTS.E.BYPASS.128 [R5], [R2.64] ; /* 0x0000000000027919 */
        /*0030*/              @UP0 HGMMA.64x256x16.F32.BF16 R24, gdesc[UR4], R24 ; /* 0x0000000000027919 */
        /*0040*/                   HFMA2.MMA R3, -RZ, RZ, 0, 2.38e-07 ; /* 0x0000000000027919 */
        /*0050*/                   HMMA.1688.F32.TF32 R4, R8, R10, R4 ; /* 0x000000000004723c */
        /*0060*/                   HMMA.16816.F32.BF16 R4, R8, R10, R4 ; /* 0x000000000004723c */
        /*0070*/                   HMMA.16816.F32 R4, R8, R10, R4 ;   /* 0x000000000004723c */
        /*0080*/                   LDSM.16.MT88.4 R8, [R2] ;          /* 0x000000000208783b */
"""


def test_the_readers_read() -> None:
    kernels = sass.resources(USAGE)
    assert [(k.architecture, k.name, k.registers, k.shared) for k in kernels] == [
        ("sm_80", "_Z1fPf", 8, 128), ("sm_80", "_Z1gPf", 255, 0), ("sm_90a", "_Z1fPf", 10, 0)]
    assert [k.spills for k in kernels] == [False, True, True]
    once = ("FFMA", "LDGSTS", "LDSM", "HMMA.TF32", "HMMA.BF16", "HGMMA")
    assert sass.instructions(iter(SASS.splitlines())) == {"sm_80": {"_Z1fPf": dict.fromkeys(once, 1)}}
