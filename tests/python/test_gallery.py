# SPDX-License-Identifier: Apache-2.0
"""Each script of the gallery runs as it stands, draws what it says, and finds what it is there to show.

With MNIST's files, where ISTHMUS_DATA names them, or without: then scikit-learn's digits are the images.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from checks import package

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = {path.stem: path for path in sorted((ROOT / "examples" / "gallery").glob("[!_]*.py"))}
SMALL = {
    "denoising": ["--rows", "4000", "--epochs", "15"],
    "generating": ["--rows", "4000"],
    "gpu_arrays": ["--rows", "3000"],
    "imputing": ["--rows", "4000"],
}

pytestmark = pytest.mark.slow


def number(pattern: str, printed: str) -> float:
    found = re.search(pattern, printed)
    assert found, f"{pattern!r} is not in\n{printed}"
    return float(found[1])


def run(name: str, folder: Path, data: str | None = None) -> str:
    """What the script prints. Its figures are images that can be looked at."""
    for needed in ("matplotlib", "pandas", "sklearn"):
        package(needed)
    environment = {**os.environ, "MPLCONFIGDIR": str(folder), **({} if data is None else {"ISTHMUS_DATA": data})}
    command = [sys.executable, "-W", "error", str(SCRIPTS[name]), str(folder), *SMALL.get(name, [])]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    from matplotlib import image

    pictures = sorted(folder.glob("*.png"))
    assert pictures and all(image.imread(path).std() > 0.01 for path in pictures)
    return done.stdout


def test_every_script_is_short_and_run_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in SCRIPTS if f'run("{name}"' not in text] == []
    assert [name for name, path in SCRIPTS.items() if len(path.read_text(encoding="utf-8").splitlines()) >= 80] == []


def test_digits(tmp_path: Path) -> None:
    printed = run("digits", tmp_path)
    assert number(r"error \(mse\)\s+([\d.]+)", printed) < 0.8 * number(r"PCA, 8 components\s+([\d.]+)", printed)
    assert "dead code units    0 of 8" in printed


@pytest.mark.parametrize("data", [None, "/nonexistent"], ids=["data", "digits alone"])
def test_compression(tmp_path: Path, data: str | None) -> None:
    printed = run("compression", tmp_path, data)
    ours, pca = number(r"squared error ([\d.]+)", printed), number(r"of PCA ([\d.]+)", printed)
    if "784 pixels" in printed:
        assert ours < 0.8 * pca and number(r"([\d.]+) times smaller", printed) == 24.5
    else:  # 32 of 64 principal components leave next to nothing
        assert data or not Path(os.environ.get("ISTHMUS_DATA", "/nonexistent"), "mnist").is_dir()
        assert ours < 0.03


@pytest.mark.parametrize("data", [None, "/nonexistent"], ids=["data", "digits alone"])
def test_denoising(tmp_path: Path, data: str | None) -> None:
    printed = run("denoising", tmp_path, data)
    assert number(r"cleaned ([\d.]+)", printed) < 0.35 * number(r"noisy ([\d.]+)", printed)


def test_anomalies(tmp_path: Path) -> None:
    printed = run("anomalies", tmp_path)
    assert number(r"AUROC ([\d.]+)", printed) > 0.88
    assert number(r"are marked, ([\d.]+)%", printed) > 3 * number(r"where ([\d.]+)%", printed)
    assert len(re.findall(r"^row \d+, p = 0\.0\d+: .* would be normal$", printed, re.MULTILINE)) == 5


def test_pipeline(tmp_path: Path) -> None:
    printed = run("pipeline", tmp_path)
    columns, code = (number(rf"from the \d+ {what} ([\d.]+)", printed) for what in ("columns", "numbers of the code"))
    assert code > columns - 0.03 and code > 0.75


@pytest.mark.parametrize("data", [None, "/nonexistent"], ids=["data", "digits alone"])
def test_generating(tmp_path: Path, data: str | None) -> None:
    """Samples are, by ratio, nearer to test images than to what has lost their order."""
    printed = run("generating", tmp_path, data)
    samples, real, noise = (number(rf"{what}: ([\d.]+) away", printed) for what in
                            ("samples", "test images", "their pixels in disorder"))
    assert noise > 3 * real and samples**2 < real * noise


@pytest.mark.parametrize("data", [None, "/nonexistent"], ids=["data", "digits alone"])
def test_gpu_arrays(tmp_path: Path, data: str | None) -> None:
    package("torch")
    printed = run("gpu_arrays", tmp_path, data)
    where = re.search(r"rows on (\S+), model on (\S+), codes on (\S+): torch\.Tensor", printed)
    assert where and len({device.removesuffix(":0") for device in where.groups()}) == 1
    pixels, code = (number(rf"{what} ([\d.]+) of the five", printed) for what in ("pixels", "numbers of the code"))
    assert code > pixels - 0.05 and code > 0.75


@pytest.mark.parametrize("data", [None, "/nonexistent"], ids=["data", "digits alone"])
def test_imputing(tmp_path: Path, data: str | None) -> None:
    printed = run("imputing", tmp_path, data)
    ours, means = (number(rf"{what}: root mean square error ([\d.]+)", printed) for what in ("imputed", "column means"))
    assert ours < 0.85 * means
