# SPDX-License-Identifier: Apache-2.0
"""Writes python/isthmus/_core.pyi from the installed package's bindings; with --check only compares.

What differs from build to build (the version, the compiler) is left out.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

STUB = Path(__file__).resolve().parents[2] / "python" / "isthmus" / "_core.pyi"
HEADER = """\
# SPDX-License-Identifier: Apache-2.0
# Written by csrc/bindings/stubs.py from the bindings; do not edit.
"""


def generate() -> str:
    """The stub of ``isthmus._core`` as it is installed."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pybind11_stubgen", "isthmus._core", "--exit-code", "-o", folder]
        subprocess.run(command, check=True, cwd=folder)
        text = (Path(folder) / "isthmus" / "_core.pyi").read_text(encoding="utf-8")
    return HEADER + re.sub(r"^(\w+: (?:int|str)) = .*$", r"\1", text, flags=re.MULTILINE)


def main() -> int:
    text = generate()
    if sys.argv[1:] == ["--check"]:
        if STUB.read_text(encoding="utf-8") == text:
            return 0
        print(f"{STUB.name} is not that of the bindings; write it with python csrc/bindings/stubs.py", file=sys.stderr)
        return 1
    STUB.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
