# SPDX-License-Identifier: Apache-2.0
"""The committed stub of the bindings is the one that the bindings give now, so that mypy checks against the truth."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from checks import package

SCRIPT = Path(__file__).resolve().parents[2] / "csrc" / "bindings" / "stubs.py"


def test_the_stub_is_that_of_the_bindings() -> None:
    package("pybind11_stubgen")
    done = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
