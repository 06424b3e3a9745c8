# SPDX-License-Identifier: Apache-2.0
"""libisthmus.so beside the module: the same core, the same bits, the same defaults; and where the package keeps it.

How programs in C and C++ build against it is tests/cpp_embed.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from ctypes import POINTER, byref, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_uint64, c_void_p
from pathlib import Path
from typing import Any

import isthmus
import numpy as np
import pytest
from checks import run_python
from isthmus import AnomalyDetector, Autoencoder, VariationalAutoencoder, _core, _embedding
from isthmus._autoencoder import _NOT_STORED
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "embedding" / "autoencoder_ctypes.py"
NUMBERS = {"f4": 0, "f8": 1, "i1": 2, "i2": 3, "i4": 4, "i8": 5, "u1": 6, "u2": 7, "u4": 8, "u8": 9}


class Rows(ctypes.Structure):
    _fields_ = (
        ("data", c_void_p), ("rows", c_int64), ("cols", c_int64), ("row_bytes", c_int64), ("col_bytes", c_int64),
        ("type", c_int32), ("reserved", c_int32),
    )


class Placement(ctypes.Structure):
    _fields_ = (("struct_size", c_size_t), ("device", c_char_p), ("n_threads", c_int32), ("reserved", c_int32))


CPU = Placement(ctypes.sizeof(Placement), b"cpu", 0, 0)


def floats(array: NDArray[np.float32]) -> Any:
    return array.ctypes.data_as(POINTER(c_float))


def rows(array: NDArray[Any]) -> Rows:
    return Rows(array.ctypes.data, *array.shape, *array.strides, NUMBERS[array.dtype.str[1:]], 0)


class Library:
    """Calls that raise what went wrong."""

    def __init__(self) -> None:
        self.c = ctypes.CDLL(_embedding.library())
        self.c.isthmus_last_error.restype = c_char_p
        self.c.isthmus_version.restype = c_char_p
        self.c.isthmus_destroy.argtypes = self.c.isthmus_free.argtypes = [c_void_p]
        self.c.isthmus_create.argtypes = [c_int64, c_char_p, POINTER(Placement), POINTER(c_void_p)]
        self.c.isthmus_from_bytes.argtypes = [c_char_p, c_size_t, POINTER(Placement), POINTER(c_void_p)]
        self.c.isthmus_to_bytes.argtypes = [c_void_p, c_int32, POINTER(c_void_p), POINTER(c_size_t)]
        self.c.isthmus_check_parameters.argtypes = [c_char_p, POINTER(c_void_p)]
        self.c.isthmus_fit.argtypes = [c_void_p, POINTER(Rows), c_void_p, POINTER(c_int32)]
        for name in ("encode", "decode", "reconstruct"):
            getattr(self.c, f"isthmus_{name}").argtypes = [c_void_p, POINTER(Rows), POINTER(c_float), c_size_t]
        for name in ("decision", "p_values"):
            getattr(self.c, f"isthmus_{name}").argtypes = [c_void_p, POINTER(Rows), POINTER(c_double), c_size_t]
        for name in ("session_encode", "session_decode", "session_reconstruct"):
            getattr(self.c, f"isthmus_{name}").argtypes = [
                c_void_p, POINTER(c_float), c_int64, POINTER(c_float), c_size_t,
            ]
        self.c.isthmus_impute.argtypes = self.c.isthmus_encode.argtypes
        self.c.isthmus_draw_codes.argtypes = [c_void_p, POINTER(Rows), c_uint64, c_int64, POINTER(c_float), c_size_t]
        self.c.isthmus_sample.argtypes = [c_void_p, c_int64, c_uint64, POINTER(c_float), c_size_t]
        self.c.isthmus_get_weights.argtypes = [c_void_p, POINTER(c_float), c_size_t]
        self.c.isthmus_set_weights.argtypes = [c_void_p, POINTER(c_float), c_size_t]
        self.c.isthmus_set_feature_names.argtypes = [c_void_p, POINTER(c_char_p), c_size_t]
        self.c.isthmus_session_create.argtypes = [c_void_p, c_int64, c_int32, POINTER(c_void_p)]
        self.c.isthmus_session_destroy.argtypes = [c_void_p]

    def __call__(self, name: str, *arguments: Any) -> None:
        status = getattr(self.c, f"isthmus_{name}")(*arguments)
        if status != 0:
            raise RuntimeError(f"{status}: {self.c.isthmus_last_error().decode()}")

    def text(self, name: str, *arguments: Any) -> str:
        found = c_void_p()
        self(name, *arguments, byref(found))
        assert found.value is not None
        text = ctypes.string_at(found.value).decode()
        self.c.isthmus_free(found)
        return text


@pytest.fixture(scope="module")
def library() -> Library:
    return Library()


class Model:
    def __init__(self, library: Library, handle: c_void_p) -> None:
        self.library, self.handle = library, handle

    def file(self) -> bytes:
        data, size = c_void_p(), c_size_t()
        self.library("to_bytes", self.handle, 1, byref(data), byref(size))
        file = ctypes.string_at(data, size.value)
        self.library.c.isthmus_free(data)
        return file

    def run(self, name: str, array: NDArray[Any], shape: tuple[int, ...], dtype: type = np.float32) -> NDArray[Any]:
        out = np.empty(shape, dtype)
        pointer = out.ctypes.data_as(POINTER(c_float if dtype is np.float32 else c_double))
        self.library(name, self.handle, byref(rows(array)), pointer, out.size)
        return out


@pytest.fixture
def create(library: Library) -> Iterator[Any]:
    handles = []

    def made(n_features: int, **parameters: Any) -> Model:
        handle = c_void_p()
        library("create", n_features, json.dumps(parameters).encode(), byref(CPU), byref(handle))
        handles.append(handle)
        return Model(library, handle)

    yield made
    for handle in handles:
        library.c.isthmus_destroy(handle)


@pytest.fixture
def x() -> NDArray[np.float32]:
    return np.random.default_rng(3).random((300, 14), dtype=np.float32)


# ---- the same core --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameters", [
    {"encoder_layers": [9, 4], "epochs": 3, "random_state": 5},
    {"encoder_layers": [9, 4], "epochs": 3, "random_state": 5, "scaling": "minmax", "loss": "bce"},
    {"encoder_layers": [9, 4], "epochs": 2, "random_state": 5, "code_topk": 2, "tied_weights": True},
    {"encoder_layers": [6], "epochs": 2, "random_state": 5, "input_noise": 0.1, "patience": 1, "optimizer": "adamw",
     "validation_fraction": 0.2},
])
def test_c_trains_to_the_bits_of_python(create: Any, x: NDArray[np.float32], parameters: dict[str, Any]) -> None:
    ours = Autoencoder(**parameters, device="cpu").fit(x)
    model = create(x.shape[1], **parameters)
    model.library("fit", model.handle, byref(rows(x)), None, None)
    theirs = Autoencoder.from_bytes(model.file(), device="cpu")
    assert theirs._fitted().parameters == ours._fitted().parameters
    for name in ("loss", "val_loss", "learning_rate"):
        assert theirs.history_[name] == ours.history_[name]
    for a, b in zip(theirs.get_weights(), ours.get_weights(), strict=True):
        assert a.tobytes() == b.tobytes()
    codes = ours.encode(x)
    assert model.run("encode", x, codes.shape).tobytes() == codes.tobytes()
    assert model.run("decode", codes, x.shape).tobytes() == ours.decode(codes).tobytes()
    assert model.run("reconstruct", x, x.shape).tobytes() == ours.reconstruct(x).tobytes()
    # Both go on alike.
    model.library("fit", model.handle, byref(rows(x)), None, None)
    ours.set_params(warm_start=True).fit(x)
    assert model.run("reconstruct", x, x.shape).tobytes() == ours.reconstruct(x).tobytes()


def test_rows_of_any_layout(create: Any, x: NDArray[np.float32]) -> None:
    ours = Autoencoder((5,), random_state=1, device="cpu").initialize(14)
    model = create(14, encoder_layers=[5], random_state=1)
    for array in (x.astype(np.float64), (x * 100).astype(np.int16), np.asfortranarray(x), x[::-2], x[:, ::-1]):
        expected = ours.encode(array)
        assert model.run("encode", array, expected.shape).tobytes() == expected.tobytes()


def test_the_detector_and_sessions(library: Library, create: Any, x: NDArray[np.float32]) -> None:
    ours = AnomalyDetector(random_state=1, device="cpu", calibration_fraction=0.2).fit(x)
    model = create(14, kind="anomaly_detector", random_state=1, calibration_fraction=0.2)
    library("fit", model.handle, byref(rows(x)), None, None)
    assert model.run("decision", x, (300,), np.float64).tobytes() == ours.decision_function(x).tobytes()
    assert model.run("p_values", x, (300,), np.float64).tobytes() == ours.p_values(x).tobytes()
    assert isinstance(Autoencoder.from_bytes(model.file(), device="cpu"), AnomalyDetector)

    session = c_void_p()
    library("session_create", model.handle, 8, 1, byref(session))
    out = np.empty((8, 14), np.float32)
    some = np.ascontiguousarray(x[:8])
    library("session_reconstruct", session, some.ctypes.data_as(POINTER(c_float)), 8,
            out.ctypes.data_as(POINTER(c_float)), out.size)
    assert out.tobytes() == ours.reconstruct(some).tobytes()
    library.c.isthmus_session_destroy(session)


def test_weights_and_names_are_those_of_python(library: Library, create: Any, x: NDArray[np.float32]) -> None:
    ours = Autoencoder((9, 4), tied_weights=True, random_state=5, device="cpu").initialize(14)
    model = create(14, encoder_layers=[9, 4], tied_weights=True, random_state=5)
    flat = np.concatenate([weight.ravel() for weight in ours.get_weights()])
    got = np.empty_like(flat)
    library("get_weights", model.handle, floats(got), got.size)
    assert got.tobytes() == flat.tobytes()
    ours.set_weights([weight * np.float32(0.5) for weight in ours.get_weights()])
    library("set_weights", model.handle, floats(flat * np.float32(0.5)), flat.size)
    assert model.run("encode", x, (300, 4)).tobytes() == ours.encode(x).tobytes()

    names = [f"column {i}" for i in range(14)]
    library("set_feature_names", model.handle, (c_char_p * 14)(*(name.encode() for name in names)), 14)
    assert list(Autoencoder.from_bytes(model.file(), device="cpu").feature_names_in_) == names


def test_imputed_and_drawn_as_python_does(library: Library, create: Any, x: NDArray[np.float32]) -> None:
    holes = x.copy()
    holes[::3, 5] = np.nan
    ours = Autoencoder((9, 4), missing="mask", scaling="minmax", epochs=2, random_state=5, device="cpu").fit(holes)
    model = create(14, encoder_layers=[9, 4], missing="mask", scaling="minmax", epochs=2, random_state=5)
    library("fit", model.handle, byref(rows(holes)), None, None)
    assert model.run("impute", holes, x.shape).tobytes() == ours.impute(holes).tobytes()

    generator = VariationalAutoencoder((9, 4), epochs=2, random_state=5, device="cpu").fit(x)
    model = create(14, kind="variational_autoencoder", encoder_layers=[9, 4], epochs=2, random_state=5)
    library("fit", model.handle, byref(rows(x)), None, None)
    code, new = np.empty((300, 4), np.float32), np.empty((20, 14), np.float32)
    library("draw_codes", model.handle, byref(rows(x)), 11, 0, floats(code), code.size)
    assert code.tobytes() == generator.encode(x, sample=True, random_state=11).tobytes()
    library("sample", model.handle, 20, 11, floats(new), new.size)
    assert new.tobytes() == generator.sample(20, random_state=11).tobytes()


def test_python_files_are_read(library: Library, x: NDArray[np.float32]) -> None:
    ours = Autoencoder((5,), epochs=2, scaling="standard", random_state=1, device="cpu").fit(x)
    file = ours.to_bytes(training_state=True)
    handle = c_void_p()
    library("from_bytes", file, len(file), byref(CPU), byref(handle))
    model = Model(library, handle)
    assert model.file() == file
    assert model.run("reconstruct", x, x.shape).tobytes() == ours.reconstruct(x).tobytes()
    library.c.isthmus_destroy(handle)


def defaults(estimator: type[Autoencoder]) -> dict[str, Any]:
    signature = inspect.signature(estimator.__init__).parameters
    return {name: parameter.default for name, parameter in signature.items() if name != "self"}


@pytest.mark.parametrize("estimator", [Autoencoder, AnomalyDetector, VariationalAutoencoder])
def test_defaults_are_those_of_python(library: Library, estimator: type[Autoencoder]) -> None:
    """The constructor's signature states what the core has, which is also what C has."""
    kind = {"kind": estimator._kind}
    whole = json.loads(library.text("check_parameters", json.dumps(kind).encode()))
    assert whole == {k: list(v) if isinstance(v, tuple) else v for k, v in _core.check_parameters(kind).items()}
    for name, value in defaults(estimator).items():
        if name in _NOT_STORED:
            continue
        assert whole[name] == ("constant" if name == "learning_rate_schedule" else value), name


def test_errors_are_those_of_python(library: Library) -> None:
    with pytest.raises(ValueError) as ours:
        Autoencoder(epochs=0, device="cpu").initialize(3)
    with pytest.raises(RuntimeError) as theirs:
        library.text("check_parameters", b'{"epochs": 0}')
    assert str(theirs.value) == f"1: {ours.value}"


# ---- the package ----------------------------------------------------------------------------------------------------


def test_one_version_everywhere(library: Library) -> None:
    version = isthmus.__version__
    assert importlib.metadata.version("isthmus") == version
    assert library.c.isthmus_version().decode() == version
    header = (Path(_embedding.includes().strip("'")[2:]) / "isthmus" / "version.h").read_text()
    assert f'#define ISTHMUS_VERSION "{version}"' in header
    assert f"#define ISTHMUS_ABI_VERSION {library.c.isthmus_abi_version()}\n" in header
    assert f"Version: {version}\n" in (Path(_embedding.pkgconfigdir()) / "isthmus.pc").read_text()
    package = (Path(_embedding.cmakedir()) / "isthmusConfigVersion.cmake").read_text()
    assert f'set(PACKAGE_VERSION "{version}")' in package
    assert re.search(rf"project\(isthmus VERSION {re.escape(version)} ", (ROOT / "CMakeLists.txt").read_text())


def test_the_shell_says_where_things_are() -> None:
    for place, find in _embedding.PLACES.items():
        command = [sys.executable, "-m", "isthmus", f"--{place}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout == find() + "\n"
    assert (Path(_embedding.cmakedir()) / "isthmusConfig.cmake").is_file()
    headers = {path.name for path in (Path(_embedding.includes().strip("'")[2:]) / "isthmus").iterdir()}
    assert headers == {"autoencoder.hpp", "isthmus.h", "version.h"}  # nothing of the inside


def test_scikit_build_core_finds_the_package() -> None:
    (entry,) = importlib.metadata.entry_points(group="cmake.prefix", name="isthmus")
    prefix = Path(entry.load().__file__).parent
    assert list(prefix.glob("lib/cmake/isthmus/isthmusConfig.cmake"))


def test_no_python_is_linked_and_nothing_else_shown() -> None:
    linked = subprocess.run(["ldd", _embedding.library()], capture_output=True, text=True, check=True).stdout
    assert "libstdc++" in linked and "libpython" not in linked
    names = subprocess.run(["nm", "-D", "--defined-only", _embedding.library()], capture_output=True, text=True,
                           check=True).stdout.split()[2::3]
    assert len(names) > 30 and all(name.startswith("isthmus_") for name in names), names


def test_the_example_in_ctypes() -> None:
    done = subprocess.run([sys.executable, EXAMPLE, _embedding.library()], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "the mean error is 0.0" in done.stdout


def test_module_and_library_in_one_process() -> None:
    """Two cores in one process, either first, and both after each other's threads."""
    code = f"""
import ctypes, numpy as np
library = ctypes.CDLL({_embedding.library()!r})
import isthmus
x = np.random.default_rng(0).random((512, 64), dtype=np.float32)
model = isthmus.Autoencoder((32, 8), epochs=2, random_state=0, device="cpu", n_threads=2).fit(x)
handle = ctypes.c_void_p()
file = model.to_bytes()
assert library.isthmus_from_bytes(file, ctypes.c_size_t(len(file)), None, ctypes.byref(handle)) == 0
model.fit(x)
library.isthmus_destroy(handle)
"""
    run_python(code)
