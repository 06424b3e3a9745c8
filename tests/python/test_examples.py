# SPDX-License-Identifier: Apache-2.0
"""The programs of examples/ run as they stand: at small size, and on MNIST where ISTHMUS_DATA names its folder."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checks import package

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(name: str, *arguments: str, data: Path | None = None) -> str:
    environment = os.environ | ({} if data is None else {"ISTHMUS_DATA": str(data)})
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    found = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert found.returncode == 0, found.stderr
    return found.stdout


def validation_losses(output: str) -> list[float]:
    return [float(value) for value in re.findall(r"validation bce ([\d.]+)", output)]


def test_every_example_is_run_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [p.name for p in sorted(EXAMPLES.glob("*.py")) if f'run("{p.name}"' not in text] == []


def test_tutorial_small() -> None:
    output = run("tutorial_small.py")
    assert "code (100, 32), reconstruction (100, 10)" in output
    first, last = (float(v) for v in re.findall(r"(?:first epoch|of the last) ([\d.]+)", output))
    # Outputs lie in (0, 1): the mean square of these rows is 1.03, and clipping them to [0, 1] leaves 0.58.
    assert 0.58 < last < 0.85 * first


def test_mixed_table() -> None:
    for name in ("sklearn", "pandas"):
        package(name)
    output = run("mixed_table.py")
    assert "row 0 is odd, row 1 normal" in output
    assert float(re.findall(r"([\d.]+)% of the other rows", output)[0]) < 4
    assert re.search("worst feature of row 0: (pressure|kind_gear)", output)
    assert 40 < float(re.findall(r"where there is none: ([\d.]+)", output)[0]) < 52  # 46 on average


def test_generate_digits() -> None:
    def bound(output: str) -> float:
        return float(re.findall(r"lower bound ([\d.]+) nats", output)[0])

    long = run("generate_digits.py", "--epochs", "60", "--samples", "3")
    lines = long.splitlines()[1:]
    assert [len(line) for line in lines] == [3 * 16 + 2 * 3] * 8
    assert len(set("".join(lines))) > 5  # shades, not a blank
    assert bound(long) < 0.8 * bound(run("generate_digits.py", "--epochs", "1"))


def test_tutorial_mnist_on_a_small_stand_in(tmp_path: Path) -> None:
    """Blurred stripes instead of digits: the program, its files and its options, for everyone."""
    rng = np.random.default_rng(0)
    for name, n in (("train-images-idx3-ubyte", 512), ("t10k-images-idx3-ubyte", 128)):
        stripes = np.sin(np.arange(784) / rng.uniform(2, 30, (n, 1)) + rng.uniform(0, 6, (n, 1)))
        pixels = (255 * (stripes > 0)).astype(np.uint8)
        (tmp_path / name).write_bytes(struct.pack(">4I", 0x803, n, 28, 28) + pixels.tobytes())
    short = validation_losses(run("tutorial_mnist.py", "--epochs", "1", "--rows", "256", data=tmp_path))
    long = run("tutorial_mnist.py", "--epochs", "30", "--seeds", "2", data=tmp_path)
    losses = validation_losses(long)
    assert len(losses) == 2
    assert losses[0] != losses[1]
    assert max(losses) < 0.9 * short[0]
    mean = float(re.findall(r"mean of 2 seeds: ([\d.]+)", long)[0])
    assert mean == pytest.approx(np.mean(losses), abs=2e-5)  # both are printed with five digits


def test_tutorial_mnist_says_what_it_needs(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "tutorial_mnist.py")]
    environment = os.environ | {"ISTHMUS_DATA": str(tmp_path)}
    found = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert found.returncode != 0
    assert "set ISTHMUS_DATA" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.skipif(
    not Path(os.environ.get("ISTHMUS_DATA", "/nonexistent"), "mnist").is_dir(),
    reason="ISTHMUS_DATA does not name a folder with mnist/ in it",
)
def test_tutorial_mnist_on_mnist() -> None:
    """One epoch, 235 steps; the loss of the training images' mean, the best constant, is 0.263."""
    losses = validation_losses(run("tutorial_mnist.py", "--epochs", "1"))
    assert len(losses) == 1
    assert losses[0] < 0.2
