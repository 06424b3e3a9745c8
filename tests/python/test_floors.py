# SPDX-License-Identifier: Apache-2.0
"""The floors of the house, read from #include and import lines: each room sees only rooms below it.

Every rule is a function from text to complaints, so that it is also tried on synthetic text that breaks it.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "csrc"

# What a room may include beside itself. The devices never see core nor each other; core sees the contract only.
SEES: dict[str, set[str]] = {
    "types": set(),
    "math": {"types"},
    "device": {"types", "math"},
    "cpu": {"types", "math", "device"},
    "cuda": {"types", "math", "device"},
    "core": {"types", "math", "device"},
    "serving": {"types", "math", "device", "cpu", "core"},
    "public": {"types"},
    "c": {"types", "math", "device", "cpu", "core", "serving", "public"},
    "bindings": {"types", "math", "device", "cpu", "cuda", "core", "serving", "public"},
}
# Headers from outside, and the only rooms that know them.
OUTSIDE = [
    (re.compile(r"omp\.h$"), {"cpu"}),
    (re.compile(r"(immintrin|x86intrin|arm_neon)\.h$"), {"cpu"}),
    (re.compile(r"(pybind11/|Python\.h$)"), {"bindings"}),
    (re.compile(r"(cuda|cublas|cooperative_groups|nvrtc|mma\.h$)"), {"cuda"}),
]
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)
SOURCES = {".c", ".cpp", ".hpp", ".h", ".cu", ".cuh", ".py", ".cmake", ".in", ".sh"}
FAST_MATH = re.compile(r"-Ofast|f(fast|unsafe|associative|finite)-math|reciprocal-math|use_fast_math|fp-model[= ]fast"
                       r"|no-signed-zeros|float_control\(precise, *off\)|FP_CONTRACT +ON|ffp-contract=(fast|on)")


def room_of(path: str) -> str:
    """Room of a path written from csrc; "outside" for what is none of ours."""
    if path in ("isthmus/types.hpp", "include/isthmus/types.hpp"):
        return "types"
    first = path.split("/")[0]
    if first in ("isthmus", "include"):
        return "public"
    return first if first in SEES else "outside"


def include_complaints(path: str, text: str, known: set[str]) -> Iterator[str]:
    """`path` from csrc; `known` are the paths that an include may name."""
    room = room_of(path)
    for quote, included in INCLUDE.findall(text):
        other = room_of(included)
        if quote == '"' and included not in known:
            yield f'{path}: "{included}" is no file, or not written from csrc'
        elif other == "outside":
            for pattern, rooms in OUTSIDE:
                if pattern.match(included) and room not in rooms:
                    yield f"{path}: <{included}> belongs to {', '.join(sorted(rooms))} alone"
        elif other != room and other not in SEES[room]:
            yield f"{path}: {room} must not see {other} ({included})"
    if room != "cpu" and re.search(r"^[ \t]*#[ \t]*pragma[ \t]+omp", text, re.MULTILINE):
        yield f"{path}: OpenMP belongs to cpu alone"


def runs_at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when a module is imported: not those of functions, nor for a type checker."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            yield from runs_at_import(statement.orelse)
        elif not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            for block in ("body", "orelse", "finalbody"):
                yield from runs_at_import(getattr(statement, block, []))
            for handler in getattr(statement, "handlers", []):
                yield from runs_at_import(handler.body)


def import_complaints(path: str, text: str) -> Iterator[str]:
    for statement in runs_at_import(ast.parse(text).body):
        names: list[str] = []
        if isinstance(statement, ast.Import):
            names = [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom) and statement.level == 0:
            names = [statement.module or ""]
        for name in names:
            top = name.split(".")[0]
            if top not in ("numpy", "isthmus") and top not in sys.stdlib_module_names:
                yield f"{path}:{statement.lineno}: {name} at import time; NumPy is the only dependency"


def files(*folders: str) -> list[Path]:
    found = [p for folder in folders for p in sorted((ROOT / folder).rglob("*")) if p.is_file()]
    hidden = re.compile(r"__pycache__|build|\.(?!ci$)")
    return [p for p in found if not any(map(hidden.match, p.relative_to(ROOT).parts[:-1]))]


# ---- the house ------------------------------------------------------------------------------------------------------


def test_every_room_exists_and_is_known() -> None:
    rooms = {p.name for p in CSRC.iterdir() if p.is_dir()}
    assert {"math", "device", "cpu", "core", "bindings", "include"} <= rooms <= set(SEES) | {"include"}


def test_includes_go_down() -> None:
    sources = [p for p in files("csrc") if p.suffix in SOURCES]
    assert len(sources) > 40
    paths = {p.relative_to(CSRC).as_posix() for p in sources}
    known = paths | {p.removeprefix("include/") for p in paths if p.startswith("include/")}
    complaints = [c for p in sources for c in include_complaints(p.relative_to(CSRC).as_posix(), p.read_text(), known)]
    assert not complaints, "\n".join(complaints)


def test_python_imports_numpy_alone() -> None:
    modules = [p for p in files("python") if p.suffix == ".py"]
    assert len(modules) > 5
    complaints = [c for p in modules for c in import_complaints(str(p.relative_to(ROOT)), p.read_text())]
    assert not complaints, "\n".join(complaints)


def test_public_headers_carry_nothing_of_the_inside() -> None:
    headers = [p for p in files("csrc/include") if p.suffix in (".h", ".hpp")]
    assert headers
    for header in headers:
        text = header.read_text()
        inside = r"include.*cuda|\bcu(da)?[A-Z]|omp\.h|pybind11|Python\.h|pragma omp|ISTHMUS_HAS_|__AVX"
        assert not re.search(inside, text), header
        assert "#pragma once" in text or "#ifndef" in text, header


def test_no_fast_math() -> None:
    suspects = [p for p in files("csrc", "tests", "bench", "cmake", ".ci") if p.suffix in SOURCES | {".txt", ""}]
    suspects += [p for p in (ROOT / "CMakeLists.txt", ROOT / "pyproject.toml") if p.exists()]
    suspects.remove(Path(__file__).resolve())
    guilty = [str(p) for p in suspects if FAST_MATH.search(p.read_text("utf-8", "replace"))]
    assert not guilty


def test_every_source_names_its_licence() -> None:
    sources = [p for p in files("csrc", "python", "tests", "bench", "examples", ".ci", "docs")
               if p.suffix in SOURCES or p.name in ("CMakeLists.txt", "run")] + [ROOT / "CMakeLists.txt"]
    licence = re.compile(r"(#!.*\n)?(//|#|/\*) SPDX-License-Identifier: Apache-2\.0")
    guilty = [str(p.relative_to(ROOT)) for p in sources if not licence.match(p.read_text())]
    assert not guilty


def test_no_file_is_a_drawer_for_everything() -> None:
    names = re.compile(r"^_?(utils?|common|misc|helpers?)(\.|$)")
    paths = [p.relative_to(ROOT) for p in files("csrc", "python", "tests", "bench")]
    assert not [str(p) for p in paths if any(map(names.match, p.parts))]


# ---- negative controls ----------------------------------------------------------------------------------------------

KNOWN = {"isthmus/types.hpp", "math/a.hpp", "device/contract.hpp", "cpu/cpu.hpp", "core/json.hpp", "bindings/b.hpp",
         "isthmus/autoencoder.hpp", "cuda/c.hpp", "serving/s.hpp"}


@pytest.mark.parametrize("path,line", [
    ("core/a.cpp", '#include "cpu/cpu.hpp"'), ("cpu/a.cpp", '#include "core/json.hpp"'),
    ("cpu/a.cpp", '#include "cuda/c.hpp"'), ("math/a.hpp", '  #  include "device/contract.hpp"'),
    ("device/contract.hpp", '#include "cpu/cpu.hpp"'), ("include/isthmus/types.hpp", '#include "math/a.hpp"'),
    ("include/isthmus/autoencoder.hpp", '#include "core/json.hpp"'), ("core/a.cpp", '#include "bindings/b.hpp"'),
    ("core/a.cpp", '#include "isthmus/autoencoder.hpp"'), ("core/a.cpp", '#include "../cpu/cpu.hpp"'),
    ("core/a.cpp", '#include "json.hpp"'), ("core/a.cpp", "#include <omp.h>"), ("core/a.cpp", "#include <cpu/cpu.hpp>"),
    ("c/a.cpp", '#include "bindings/b.hpp"'), ("c/a.cpp", '#include "cuda/c.hpp"'),
    ("core/a.cpp", '#include "serving/s.hpp"'), ("serving/a.cpp", '#include "bindings/b.hpp"'),
    ("core/a.cpp", "#include <pybind11/numpy.h>"), ("cpu/a.cpp", "#include <cuda_runtime.h>"),
    ("math/a.hpp", "#include <immintrin.h>"), ("core/a.cpp", "    #pragma omp parallel"),
])
def test_a_broken_floor_is_seen(path: str, line: str) -> None:
    text = f"// first\n{line}\nint x;\n"
    assert list(include_complaints(path, text, KNOWN)), "not noticed"
    assert not list(include_complaints(path, '#include <vector>\n#include "isthmus/types.hpp"\n', KNOWN))


@pytest.mark.parametrize("text", [
    "import torch", "from sklearn.base import clone", "try:\n    import tqdm\nexcept ImportError:\n    pass",
    "if True:\n    import pandas", "class A:\n    import pandas", "with x:\n    import pandas.core",
])
def test_a_heavy_import_is_seen(text: str) -> None:
    assert list(import_complaints("m.py", text))


@pytest.mark.parametrize("text", [
    "import numpy as np\nfrom . import _core\nimport json", "def f():\n    import torch",
    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas", "from isthmus._core import Model",
])
def test_allowed_imports(text: str) -> None:
    assert not list(import_complaints("m.py", text))


@pytest.mark.parametrize("flag", [
    "-ffast-math", "-Ofast", "-funsafe-math-optimizations", "--use_fast_math", "-ffp-contract=fast",
])
def test_a_fast_math_flag_is_seen(flag: str) -> None:
    assert FAST_MATH.search(f"target_compile_options(x PRIVATE {flag})")
    assert not FAST_MATH.search("-ffp-contract=off -fno-math-errno -fno-trapping-math")
