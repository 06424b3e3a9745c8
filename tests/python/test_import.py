# SPDX-License-Identifier: Apache-2.0
"""`import isthmus` costs little more than `import numpy`: nothing heavy comes with it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import isthmus
from checks import run_python

HEAVY = {
    "sklearn", "scipy", "torch", "tensorflow", "keras", "jax", "pandas", "polars", "pyarrow", "matplotlib", "tqdm",
    "onnx", "onnxruntime", "tensorboard", "tensorboardX", "mlflow", "logging", "joblib", "safetensors", "PIL",
    "argparse", "subprocess", "asyncio", "multiprocessing", "unittest", "urllib.request", "importlib.metadata", "email",
}


def imported_by(statement: str) -> set[str]:
    code = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    return set(json.loads(run_python(code)))


def test_nothing_heavy_is_imported() -> None:
    new = imported_by("import isthmus") - imported_by("import numpy")
    assert not new & HEAVY
    assert {name.split(".")[0] for name in new} <= {"isthmus", *sys.stdlib_module_names}, sorted(new)


def test_importing_stays_cheap() -> None:
    """A number of modules instead of a time: what the package costs over NumPy does not grow unseen. 24 in November
    2026; a time is in README's table (bench/footprint.py)."""
    new = imported_by("import isthmus") - imported_by("import numpy")
    assert len(new) <= 40, sorted(new)


def test_the_package_stays_small(tmp_path: Path) -> None:
    """Packed as in a wheel, below 20 MB, with and without the CUDA part."""
    package = Path(isthmus.__file__).parent
    kept = shutil.copytree(package, tmp_path / "isthmus", ignore=shutil.ignore_patterns("__pycache__"))
    size = Path(shutil.make_archive(str(tmp_path / "wheel"), "zip", tmp_path, kept.name)).stat().st_size
    assert size < 20e6, f"{size / 1e6:.1f} MB"


def test_fitting_imports_nothing_heavy_either() -> None:
    loaded = imported_by("import isthmus, numpy; x = numpy.ones((4, 3)); isthmus.Autoencoder((2,)).fit(x).transform(x)")
    assert not loaded & (HEAVY - imported_by("import numpy"))


def test_the_names_on_the_door() -> None:
    code = """
import isthmus
for name in ("AnomalyDetector", "Autoencoder", "VariationalAutoencoder", "callbacks", "kernels", "DivergenceError",
             "ModelFormatError", "NotFittedError", "__version__"):
    assert hasattr(isthmus, name), name
assert set(isthmus.__all__) <= set(dir(isthmus))
import isthmus.kernels
namespace = {}
exec("from isthmus import *", namespace)
assert "Autoencoder" in namespace
"""
    run_python(code)
