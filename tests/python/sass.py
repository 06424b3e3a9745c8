# SPDX-License-Identifier: Apache-2.0
"""What nvcc made of the kernels, read from the machine code in libisthmus_cuda.so, with no GPU at hand.

    python tests/python/sass.py LIBRARY [--short] [--json FILE]

prints registers, shared memory and stack of every kernel for each architecture, and which of the instructions that the
fast paths exist for are there. cuobjdump and nvdisasm come with the CUDA toolkit or from the packages
nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

# The fused multiply-add; cp.async, ldmatrix, tensor cores by warp in two formats, tensor cores by warp group and
# what orders those, the tensor memory accelerator. What stands behind a point is among an instruction's modifiers.
INSTRUCTIONS = ("FFMA", "LDGSTS", "LDSM", "HMMA.TF32", "HMMA.BF16", "HGMMA", "WARPGROUP", "UTMALDG")


@dataclass(frozen=True)
class Kernel:
    architecture: str
    name: str
    registers: int
    stack: int  # bytes a thread: what spilled, and arrays that found no registers
    shared: int  # bytes a block, static
    local: int

    @property
    def spills(self) -> bool:
        return self.stack > 0 or self.local > 0


def cuobjdump() -> str | None:
    """Of the PATH, of the toolkit, or of the package."""
    places = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/local/cuda/bin"]
    package = importlib.util.find_spec("nvidia")
    for folder in (package.submodule_search_locations or []) if package else []:
        places += map(str, sorted(Path(folder).glob("*/bin")))
    return shutil.which("cuobjdump", path=os.pathsep.join(places))


def resources(dump: str) -> list[Kernel]:
    """Of ``cuobjdump --dump-resource-usage``."""
    kernels, architecture, name = [], "", ""
    for line in dump.splitlines():
        if match := re.match(r"arch = (\w+)", line):
            architecture = match[1]
        elif match := re.match(r" *Function (\S+):$", line):
            name = match[1]
        elif match := re.match(r" *REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)", line):
            kernels.append(Kernel(architecture, name, *map(int, match.groups())))
    return kernels


def instructions(dump: Iterator[str]) -> dict[str, dict[str, Counter[str]]]:
    """Architecture -> kernel -> how often each of INSTRUCTIONS is there, of ``cuobjdump -sass``."""
    found: dict[str, dict[str, Counter[str]]] = {}
    opcode = re.compile(r"\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z0-9]+)([.A-Z0-9]*)")
    wanted: dict[str, list[tuple[str, set[str]]]] = {}
    for name in INSTRUCTIONS:
        word, *modifiers = name.split(".")
        wanted.setdefault(word, []).append((name, set(modifiers)))
    architecture = ""
    counts: Counter[str] = Counter()
    for line in dump:
        if match := re.match(r"\s*code for (\w+)", line):
            architecture = match[1]
        elif match := re.match(r"\s*Function : (\S+)", line):
            counts = found.setdefault(architecture, {}).setdefault(match[1], Counter())
        elif (match := opcode.match(line)) and match[1] in wanted:
            there = set(match[2].split("."))
            counts.update(name for name, modifiers in wanted[match[1]] if modifiers <= there)
    return found


def read(library: Path) -> tuple[list[Kernel], dict[str, dict[str, Counter[str]]]]:
    tool = cuobjdump()
    assert tool, "cuobjdump is not installed"
    usage = subprocess.run([tool, "--dump-resource-usage", library], capture_output=True, text=True, check=True)
    with subprocess.Popen([tool, "-sass", library], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        code = instructions(process.stdout)
    assert process.returncode == 0
    return resources(usage.stdout), code


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path)
    parser.add_argument("--short", action="store_true", help="one line an architecture")
    parser.add_argument("--json", type=Path, help="writes the same as JSON")
    arguments = parser.parse_args()
    if cuobjdump() is None:
        print("NOT RUN: cuobjdump is not installed")
        return
    kernels, code = read(arguments.library)
    size = arguments.library.stat().st_size
    print(f"{arguments.library.name}: {size / 1e6:.1f} MB")
    for architecture in sorted({kernel.architecture for kernel in kernels}):
        mine = [kernel for kernel in kernels if kernel.architecture == architecture]
        total: Counter[str] = sum(code.get(architecture, {}).values(), Counter())
        print(f"{architecture}: {len(mine)} kernels, at most {max(k.registers for k in mine)} registers, "
              f"{sum(k.spills for k in mine)} with stack or spills, "
              + ", ".join(f"{total[name]} {name}" for name in INSTRUCTIONS))
        for kernel in [] if arguments.short else sorted(mine, key=lambda k: (-k.stack, -k.registers)):
            print(f"    {kernel.registers:4} registers {kernel.shared:6} shared {kernel.stack:5} stack  {kernel.name}")
    if arguments.json:
        facts = {"bytes": size, "kernels": [asdict(kernel) for kernel in kernels]}
        arguments.json.write_text(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
