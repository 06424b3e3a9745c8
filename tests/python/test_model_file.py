# SPDX-License-Identifier: Apache-2.0
"""The model file: any safetensors tool reads it, only isthmus writes it, and nothing else than what it wrote loads."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import pickle
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import assert_same_bits, bits, counted, package, run_python
from isthmus import Autoencoder, ModelFormatError
from numpy.typing import NDArray

F32 = NDArray[np.float32]


@pytest.fixture
def x(rng: np.random.Generator) -> F32:
    return rng.random((30, 5)).astype(np.float32)


@pytest.fixture
def model(x: F32) -> Autoencoder:
    return Autoencoder((3, 2), activation="gelu", loss="bce", epochs=2, random_state=7, n_threads=2).fit(x)


def read_header(data: bytes) -> tuple[int, dict[str, Any]]:
    """An independent reader: 8 bytes of header size, a JSON header, then the tensors without gaps."""
    (size,) = struct.unpack("<Q", data[:8])
    return 8 + size, json.loads(data[8 : 8 + size])


def read_safetensors(data: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    start, header = read_header(data)
    metadata = header.pop("__metadata__")
    tensors, end = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        first, last = entry["data_offsets"]
        dtype = np.dtype({"F32": "<f4", "F64": "<f8"}[entry["dtype"]])
        assert first == end
        assert first % dtype.itemsize == 0
        end = last
        tensors[name] = np.frombuffer(data[start + first : start + last], dtype).reshape(entry["shape"])
    assert start + end == len(data)
    assert start % 8 == 0
    return tensors, metadata


# ---- what is written ------------------------------------------------------------------------------------------------


def test_layout(model: Autoencoder, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model.save(path)
    data = path.read_bytes()
    assert data == model.to_bytes()
    tensors, metadata = read_safetensors(data)
    layers = [f"{part}.{layer}" for part in ("encoder", "decoder") for layer in (0, 1)]
    names = [f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]
    weights = model.get_weights()
    assert {name for name in tensors if not name.startswith("history.")} == set(names)
    assert tensors["history.loss"].tolist() == model.history_["loss"]
    for name, weight in zip(names, weights, strict=True):
        assert_same_bits(tensors[name], weight, name)
    assert all(isinstance(value, str) for value in metadata.values())
    # Nothing in it says where or how the model ran.
    text = data.decode("latin-1")
    assert "n_threads" not in text and "device" not in text and "isthmus." not in text
    other = copy.deepcopy(model).set_params(n_threads=1)
    assert other.to_bytes() == data


def test_the_digest_is_over_the_whole_file(model: Autoencoder) -> None:
    assert len(digest_of(model.to_bytes())) == 64


def test_the_safetensors_package_reads_it(model: Autoencoder, tmp_path: Path) -> None:
    safetensors = package("safetensors.numpy")
    path = tmp_path / "model.safetensors"
    model.save(path, training_state=True)
    tensors = safetensors.load_file(path)
    assert_same_bits(tensors["encoder.0.weight"], model.get_weights()[0])
    assert len(tensors) > len(model.get_weights())


# ---- round trips ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training_state", [False, True])
def test_round_trip(model: Autoencoder, x: F32, training_state: bool, tmp_path: Path) -> None:
    for path in (tmp_path / "a.safetensors", str(tmp_path / "b"), tmp_path / "ünïcode 文.safetensors"):
        assert model.save(path, training_state=training_state) is None
        loaded = Autoencoder.load(path)
        assert type(loaded) is Autoencoder
        assert bits(loaded) == bits(model)
        assert loaded.n_iter_ == model.n_iter_ and loaded.n_features_in_ == 5 and loaded.code_size_ == 2
        assert loaded.history_["loss"] == model.history_["loss"]
        expected = {**model.get_params(), "n_threads": None, "device": "auto"}
        assert loaded.get_params() == expected
        assert_same_bits(loaded.reconstruction_error(x), model.reconstruction_error(x))
        assert loaded.to_bytes(training_state=training_state) == model.to_bytes(training_state=training_state)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["a.safetensors", "b", "ünïcode 文.safetensors"])


@pytest.mark.parametrize("parameters", [
    {"encoder_layers": None}, {"encoder_layers": (1,), "decoder_layers": ()}, {"decoder_layers": (4, 6)},
    {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 1e-300}, {"optimizer": "adamw", "weight_decay": 0.1},
    {"clip_norm": 0.1, "input_noise": 0.1, "input_noise_kind": "mask", "learning_rate_schedule": "plateau"},
    {"patience": 3, "validation_fraction": 0.25, "min_delta": 1 / 3, "restore_best": False},
    {"random_state": 2**64 - 1, "verbose": 0, "shuffle": False, "warm_start": True}, {"random_state": None},
    {"tied_weights": True, "code_topk": 1, "code_l1": 0.25},
    {"loss": "huber", "output_activation": "tanh", "code_activation": "softplus", "batch_size": 2**31 - 1, "epochs": 1},
], ids=str)
def test_every_parameter_survives(x: F32, parameters: dict[str, Any]) -> None:
    model = Autoencoder(**{"epochs": 2, **parameters}).fit(x)
    loaded = Autoencoder.from_bytes(model.to_bytes(training_state=True))
    assert loaded.get_params() == model.get_params()
    assert loaded.to_bytes(training_state=True) == model.to_bytes(training_state=True)


def test_feature_names_survive(x: F32) -> None:
    pandas = package("pandas")
    names = ["a", "ü", 'quote"', "back\\slash", "tab\t文"]
    model = Autoencoder((2,), epochs=1).fit(pandas.DataFrame(x, columns=names))
    loaded = Autoencoder.from_bytes(model.to_bytes())
    assert list(loaded.feature_names_in_) == names


def test_another_process_computes_the_same_bits(model: Autoencoder, x: F32, tmp_path: Path) -> None:
    model.save(tmp_path / "model.safetensors")
    np.save(tmp_path / "x.npy", x)
    code = """
import sys
import numpy as np
from isthmus import Autoencoder
folder = sys.argv[1]
model = Autoencoder.load(folder + "/model.safetensors")
np.save(folder + "/errors.npy", model.reconstruction_error(np.load(folder + "/x.npy")))
"""
    run_python(code, str(tmp_path))
    assert_same_bits(np.load(tmp_path / "errors.npy"), model.reconstruction_error(x))


def test_saving_twice_gives_the_same_bytes(model: Autoencoder) -> None:
    assert model.to_bytes(training_state=True) == model.to_bytes(training_state=True)


# ---- hostile files --------------------------------------------------------------------------------------------------


@pytest.fixture
def small() -> bytes:
    x = np.random.default_rng(0).random((4, 2)).astype(np.float32)
    return Autoencoder((1,), epochs=1, random_state=0).fit(x).to_bytes(training_state=True)


def test_every_truncation_is_refused(small: bytes) -> None:
    for length in counted("truncated files in Python", range(len(small))):
        with pytest.raises(ModelFormatError):
            Autoencoder.from_bytes(small[:length])
    for tail in (b"\0", b" ", small):
        with pytest.raises(ModelFormatError):
            Autoencoder.from_bytes(small + tail)
    Autoencoder.from_bytes(small)


def test_every_bit_flip_is_refused(small: bytes) -> None:
    accepted = []
    for bit in counted("single bit flips in Python", range(8 * len(small))):
        changed = bytearray(small)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            Autoencoder.from_bytes(bytes(changed))
        except ModelFormatError:
            continue
        accepted.append(bit)
    assert not accepted, f"{len(accepted)} of {8 * len(small)} flips were accepted, the first at bit {accepted[0]}"


def seal(data: bytes, digest: bytes) -> bytes:
    """The data with a digest that is right again: what an attacker would send."""
    zeroed = data.replace(digest, b"0" * 64)
    return zeroed.replace(b"0" * 64, hashlib.sha256(zeroed).hexdigest().encode())


def digest_of(data: bytes) -> bytes:
    """The one that is over the whole file with its own digits zeroed."""
    (digest,) = (d for d in re.findall(rb"[0-9a-f]{64}", data)
                 if hashlib.sha256(data.replace(d, b"0" * 64)).hexdigest().encode() == d)
    return digest


def resealed(data: bytes, old: bytes, new: bytes) -> bytes:
    """The first `old` in the header replaced, sizes and digest set right."""
    (size,) = struct.unpack("<Q", data[:8])
    header, payload = data[8 : 8 + size].rstrip(b" "), data[8 + size :]
    assert old in header, f"{old!r} is not in the header"
    header = header.replace(old, new, 1)
    header += b" " * (-(8 + len(header)) % 64)
    return seal(struct.pack("<Q", len(header)) + header + payload, digest_of(data))


def test_resealing_nothing_gives_the_same_file(small: bytes) -> None:
    """The tool of the attacks below is right: otherwise they would only ever test the digest."""
    assert resealed(small, b"encoder.0.weight", b"encoder.0.weight") == small


@pytest.mark.parametrize(("old", "new"), [
    (b'"encoder.0.weight"', b'"encoder.0.waight"'), (b'"encoder.0.weight"', b'"encoder.0.bias"'), (b'"F32"', b'"F16"'),
    (b'"F32"', b'"I32"'), (b'"__metadata__"', b'"__metadate__"'), (b"[0,8]", b"[8,16]"), (b"[0,8]", b"[-0,8]"),
    (b"[0,8]", b"[0e0,8]"), (b"[0,8]", b"[0,18446744073709551624]"), (b"[0,8]", b"[0,8,8]"), (b"[1,2]", b"[2,1]"),
    (b"[1,2]", b"[1,2,1]"), (b"[1,2]", b"[4294967297,4294967298]"), (b'"history.loss"', b'"history.lost"'),
    (b"relu", b"rela"), (b"adam", b"adaw"), (b"autoencoder", b"autoencodes"), (b"batch_size", b"batch_sise"),
    (b":0.001", b":1e9999"), (b":0.001", b":-1.00"), (b":0.001", b":nan"), (b":0.001", b":true"), (b"mse", b"bse"),
    (b'n_features\\":2', b'n_features\\":3'), (b'n_features\\":2', b'n_features\\":9223372036854775807'),
    (b'encoder_layers\\":[1]', b'encoder_layers\\":[9223372036854775807]'), (b'epoch\\":1', b'epoch\\":2'),
    (b'step\\":1', b'step\\":-1'), (b'format_version":"1"', b'format_version":"2"'),
    (b'numerics_version":"1"', b'numerics_version":"2"'), (b'{"__', b'{ "__'), (b"}}", b"} }"), (b"}}", b"},}"),
    (b'"shape":[1,2]', b'"shape":[1,2],"shape":[1,2]'), (b'"dtype"', b'"dtyp\\u0065"'),
    (b'"verbose\\":0', b'"verbose\\":0,\\"verbose\\":0'), (b"verbose", b"verbose\xff"),
])
def test_a_wrong_header_is_refused_although_its_digest_is_right(small: bytes, old: bytes, new: bytes) -> None:
    with pytest.raises(ModelFormatError) as caught:
        Autoencoder.from_bytes(resealed(small, old, new))
    assert "the digest is" not in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("tensor", ["encoder.0.weight", "decoder.0.bias", "training.m.decoder.0.weight"])
def test_weights_that_are_not_finite_are_refused(small: bytes, tensor: str, value: float) -> None:
    start, header = read_header(small)
    offset = start + header[tensor]["data_offsets"][1] - 4  # the last element
    changed = small[:offset] + struct.pack("<f", value) + small[offset + 4 :]
    with pytest.raises(ModelFormatError, match=rf"{tensor}.*(nan|inf).*finite"):
        Autoencoder.from_bytes(seal(changed, digest_of(small)))


@pytest.mark.parametrize("data", [
    b"", b"\0" * 7, b"\0" * 8, b"\xff" * 8, b"\xff" * 1000, struct.pack("<Q", 2) + b"{}",
    struct.pack("<Q", 2**63) + b"{}", struct.pack("<Q", 2**20 + 1) + b" " * (2**20 + 1),
    struct.pack("<Q", 40) + b"[" * 40, pickle.dumps({"a": 1}),
], ids=range(10))
def test_what_is_no_model_file_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError):
        Autoencoder.from_bytes(data)
    path = tmp_path / "bad.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelFormatError, match=r"bad\.safetensors"):
        Autoencoder.load(path)
    assert issubclass(ModelFormatError, ValueError)


def test_a_file_of_another_tool_is_refused(tmp_path: Path) -> None:
    safetensors = package("safetensors.numpy")
    safetensors.save_file({"encoder.0.weight": np.zeros((1, 2), np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelFormatError, match=r"other\.safetensors"):
        Autoencoder.load(tmp_path / "other.safetensors")


# ---- files and paths ------------------------------------------------------------------------------------------------


def test_a_failed_save_leaves_the_old_file_and_nothing_else(model: Autoencoder, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no_folder"):
        model.save(tmp_path / "no_folder" / "model.safetensors")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        model.save(tmp_path / "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"] and not list((tmp_path / "folder").iterdir())
    with pytest.raises(FileNotFoundError):
        Autoencoder.load(tmp_path / "missing.safetensors")
    with pytest.raises(OSError):
        Autoencoder.load(tmp_path)
    for path in (None, 3, [], b"a\0b"):
        with pytest.raises((TypeError, ValueError)):
            model.save(path)
    with pytest.raises(TypeError):
        Autoencoder.from_bytes("text")


def test_a_full_disk_leaves_the_old_file(model: Autoencoder, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "model.safetensors"
    model.save(path)
    old = path.read_bytes()
    code = f"""
import resource, signal, sys
from pathlib import Path
from isthmus import Autoencoder
path = Path(sys.argv[1])
model = Autoencoder.load(path).set_params(learning_rate=0.5)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, {resource.RLIM_INFINITY}))
try:
    model.save(path)
except OSError as error:
    assert error.errno and str(path.name) in str(error), error
else:
    sys.exit("saved")
"""
    run_python(code, str(path))
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def test_saving_over_the_file_that_was_loaded(model: Autoencoder, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model.save(path)
    for _ in range(3):
        loaded = Autoencoder.load(path)
        loaded.save(path)
    assert bits(Autoencoder.load(path)) == bits(model)
    assert os.listdir(tmp_path) == ["model.safetensors"]


# ---- pickle, copy, joblib: the same validator -----------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(model: Autoencoder, x: F32, protocol: int) -> None:
    restored = pickle.loads(pickle.dumps(model, protocol))
    assert bits(restored) == bits(model) and restored.get_params() == model.get_params()
    assert_same_bits(restored.encode(x), model.encode(x))
    unfitted = pickle.loads(pickle.dumps(Autoencoder((3,), loss="bce"), protocol))
    assert unfitted.get_params() == Autoencoder((3,), loss="bce").get_params()
    assert not hasattr(unfitted, "n_features_in_")


def test_copies_are_independent(model: Autoencoder, x: F32) -> None:
    before = bits(model)
    for duplicate in (copy.copy(model), copy.deepcopy(model)):
        assert bits(duplicate) == before
        duplicate.set_params(warm_start=True).fit(x)
        assert bits(duplicate) != before and bits(model) == before


def test_joblib(model: Autoencoder) -> None:
    joblib = package("joblib")
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    buffer.seek(0)
    assert bits(joblib.load(buffer)) == bits(model)


def test_a_corrupt_pickle_is_refused(model: Autoencoder) -> None:
    data = pickle.dumps(model)
    payload = model.get_weights()[0].tobytes()
    at = data.index(payload)
    with pytest.raises(ModelFormatError):
        pickle.loads(data[:at] + struct.pack("<f", 1.0) + data[at + 4 :])
