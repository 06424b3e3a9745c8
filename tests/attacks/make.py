# SPDX-License-Identifier: Apache-2.0
"""Writes the malicious model files of this folder, and attacks.json: what each attacks, and what must be said about it.

    python tests/attacks/make.py    # with isthmus installed; after any change of the model file's text

Each begins as a file that isthmus wrote (the two controls, which must load), is changed in one thing, and gets a header
length and a digest that are right again, so that it is refused for that one thing and not for its digest.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from isthmus import AnomalyDetector, Autoencoder
from isthmus._fitted import Fitted

FOLDER = Path(__file__).parent
Attack = tuple[str, bytes, str, str]  # name, file, what it attacks, what must be said
DIGEST_AT = 8 + len(b'{"__metadata__":{"digest":"sha256:')


def sealed(data: bytes) -> bytes:
    zeroed = data[:DIGEST_AT] + b"0" * 64 + data[DIGEST_AT + 64 :]
    return data[:DIGEST_AT] + hashlib.sha256(zeroed).hexdigest().encode() + data[DIGEST_AT + 64 :]


def assembled(header: bytes, payload: bytes) -> bytes:
    header += b" " * (-(8 + len(header)) % 64)
    return sealed(struct.pack("<Q", len(header)) + header + payload)


class Genuine:
    """A model file of isthmus, taken apart."""

    def __init__(self, model: Fitted) -> None:
        data = model.to_bytes(training_state=True)
        (size,) = struct.unpack("<Q", data[:8])
        self.header = data[8 : 8 + size].rstrip(b" ")
        self.payload = data[8 + size :]
        self.entries: dict[str, Any] = json.loads(self.header)
        first, last = self.entries["history.seconds"]["data_offsets"]  # not the same in two runs
        self.payload = self.payload[:first] + bytes(last - first) + self.payload[last:]
        self.file = assembled(self.header, self.payload)

    def replaced(self, old: str, new: str | bytes) -> bytes:
        found = old.encode()
        assert found in self.header, old
        return assembled(self.header.replace(found, new if isinstance(new, bytes) else new.encode(), 1), self.payload)

    def described(self, old: str, new: str) -> bytes:
        """Of the description, which is JSON in a string."""
        return self.replaced(old.replace('"', '\\"'), new.replace('"', '\\"'))

    def entry(self, name: str, **fields: Any) -> bytes:
        def text(entry: dict[str, Any]) -> str:
            return f'"{name}":' + json.dumps(entry, separators=(",", ":"))

        return self.replaced(text(self.entries[name]), text({**self.entries[name], **fields}))

    def value(self, name: str, value: float, index: int = 0) -> bytes:
        code = {"F32": "<f", "F64": "<d"}[self.entries[name]["dtype"]]
        at = self.entries[name]["data_offsets"][0] + index * struct.calcsize(code)
        packed = struct.pack(code, value)
        return assembled(self.header, self.payload[:at] + packed + self.payload[at + len(packed) :])


def container(model: Genuine) -> Iterator[Attack]:
    file = model.file
    yield "empty", b"", "no bytes at all", "no digest"
    yield "seven_bytes", b"\0" * 7, "a read of the header's length beyond the end", "no digest"
    yield "pickle", pickle.dumps({"weights": [1.0]}), "code in a pickle", "no digest"
    yield "not_sealed", file[:-1] + bytes([file[-1] ^ 1]), "one bit of the last weight", "the digest is"
    yield "no_digest", model.replaced('"digest":"sha256', '"digets":"sha256'), "a reader that takes files without", \
        "no digest"
    yield "another_hash", model.replaced('"sha256:', '"sha512:'), "a choice of the hash by the file", "no digest"
    for name, length in (("zero", 0), ("beyond_the_file", len(file) - 7), ("sign_bit", 2**63), ("all_bits", 2**64 - 1),
                         ("wraps_to_small", 2**64 - 8)):
        yield f"header_length_{name}", sealed(struct.pack("<Q", length) + file[8:]), \
            f"a header's length of {length}", "header"
    yield "cut_in_the_header", sealed(file[:400]), "a parser that reads beyond the end", "header's length"
    yield "cut_in_the_data", sealed(file[:-4]), "a tensor that ends behind the file", "bytes"
    yield "bytes_behind", sealed(file + b"\0" * 8), "data that no tensor owns", "bytes after the last tensor"
    yield "twice", sealed(file + file), "a second file behind the first", "bytes after the last tensor"


def json_text(model: Genuine) -> Iterator[Attack]:
    name = '"history.loss"'
    yield "duplicate_tensor", model.replaced(name, '"history.loss":0,"history.loss"'), \
        "readers that take the first, or the last, of two members", 'duplicate key "history.loss"'
    yield "duplicate_metadata", model.replaced('"isthmus":', '"isthmus":"{}","isthmus":'), \
        "two descriptions", 'duplicate key "isthmus"'
    yield "duplicate_field", model.replaced('"dtype"', '"dtype":"F64","dtype"'), "two types of one tensor", \
        'duplicate key "dtype"'
    yield "duplicate_parameter", model.described('"verbose":0', '"verbose":0,"verbose":0'), \
        "two values of one parameter", 'duplicate key "verbose"'
    yield "escaped_duplicate", model.replaced(name, '"history.los\\u0073":0,"history.loss"'), \
        "a comparison of keys before their escapes", 'duplicate key "history.loss"'
    for shape, depth in (("arrays", 40), ("arrays", 20000)):
        yield f"deep_{shape}_{depth}", model.replaced(name, '"deep":' + "[" * depth + ',"x"'), \
            f"the stack: {depth} {shape} in one another", "nested deeper than 32"
    yield "deep_objects_5000", model.replaced(name, '"deep":' + '{"a":' * 5000 + '1,"x"'), \
        "the stack: 5000 objects in one another", "nested deeper than 32"
    yield "many_keys", model.replaced(name, "".join(f'"{i}":0,' for i in range(5000)) + name), \
        "time that grows with the square of the number of keys", "dtype must be"
    for which, text in (("ff", b'"\xff"'), ("overlong", b'"\xc0\xaf"'), ("surrogate", b'"\xed\xa0\x80"'),
                        ("cut_off", b'"\xf0\x9f"')):
        yield f"utf8_{which}", model.replaced(name, text), f"a decoder of UTF-8: {text!r}", "invalid UTF-8"
    yield "lone_surrogate", model.replaced(name, '"\\ud800"'), "half a character in an escape", "lone surrogate"
    yield "null_character", model.replaced(name, b'"history\0loss"'), "names that C strings cut off", \
        "control character"
    yield "escaped_null", model.replaced(name, '"history\\u0000loss"'), "the same, escaped", "missing"
    yield "comment", model.replaced(name, "/**/" + name), "a lenient parser", "expected a string as key"
    yield "trailing_comma", model.replaced("}}", "},}"), "a lenient parser", "expected"
    yield "not_a_number", model.replaced('"shape":[', '"shape":[NaN,'), "numbers that JSON does not have", "expected"
    yield "number_beyond_double", model.replaced('"shape":[', '"shape":[1e9999,'), "infinity in a size", "range"
    yield "byte_order_mark", assembled(header_with_mark(model), model.payload), "a parser that skips it", "no digest"
    yield "path_as_name", model.replaced(name, '"../../etc/passwd"'), "a reader that makes files of names", "missing"


def header_with_mark(model: Genuine) -> bytes:
    return b"\xef\xbb\xbf" + model.header


def sizes(model: Genuine) -> Iterator[Attack]:
    weight, (first, last) = "encoder.0.weight", model.entries["encoder.0.weight"]["data_offsets"]
    for name, shape in (("wraps_to_0", [2**32, 2**32]), ("wraps_to_16", [2**62 + 1, 4]), ("one_too_many_bits", [2**61]),
                        ("times_0", [2**63 - 1, 0]), ("three", [2**21, 2**21, 2**21]), ("negative", [-1, -2]),
                        ("64_bits", [2**64 - 1]), ("transposed", [2, 1]), ("flat", [2]), ("fraction", [1.0, 2])):
        yield f"shape_{name}", model.entry(weight, shape=shape), f"the product of a shape: {shape}", "shape"
    for name, offsets in (("reversed", [last, first]), ("overlapping", [first - 4, last - 4]),
                          ("with_a_gap", [first + 4, last + 4]), ("beyond_the_file", [first, 2**40]),
                          ("negative", [-8, 0]), ("64_bits", [first, 2**64 - 1]), ("one", [first]), ("none", [])):
        yield f"offsets_{name}", model.entry(weight, data_offsets=offsets), f"the place of a tensor: {offsets}", \
            "data_offsets must be"
    yield "shape_huge_with_offsets", model.entry(weight, shape=[2**30, 2**30], data_offsets=[first, first + 2**62]), \
        "4 EiB asked for before the file's size is looked at", "but the file has"
    for dtype in ("F16", "I32", "BOOL", "f32", "F64"):
        yield f"dtype_{dtype}", model.entry(weight, dtype=dtype), f"a tensor read as {dtype}", \
            "data_offsets" if dtype == "F64" else "dtype must be"
    yield "features_2_63", model.described('"n_features":2', '"n_features":9223372036854775807'), \
        "a network of 2^63 inputs", "takes 1.11e+20 bytes"
    yield "features_10_9", model.described('"n_features":2', '"n_features":1000000000'), "4 GB before the tensors", \
        "shape must be"
    yield "layer_10_12", model.described('"encoder_layers":[1]', '"encoder_layers":[1000000000000]'), \
        "8 TB before the tensors", "shape must be"
    yield "layers_2_32", model.described('"encoder_layers":[1]', '"encoder_layers":[4294967296,4294967296]'), \
        "a product of widths that wraps to 0", "takes 1.48e+20 bytes"
    yield "layers_many", model.described('"encoder_layers":[1]', f'"encoder_layers":[{"1," * 20000}1]'), \
        "20000 layers that the file has no tensors of", "the network has 40002 layers"


def meaning(model: Genuine) -> Iterator[Attack]:
    for field in ("format_version", "numerics_version"):
        for version in ("2", "0", "-1", "01", ""):
            yield f"{field}_{version or 'empty'}", model.replaced(f'"{field}":"1"', f'"{field}":"{version}"'), \
                f"a reader that guesses what {field} {version!r} means", f"{field} is"
    for name, old, new, said, what in (
        ("class_name", '"kind":"autoencoder"', '"kind":"os.system"', "kind must be", "a class named by the file"),
        ("activation", '"relu"', '"rela"', "activation must be", "an activation that is none"),
        ("learning_rate", '"learning_rate":0.001', '"learning_rate":-0.001', "learning_rate", "a rate below 0"),
        ("batch_size_0", '"batch_size":256', '"batch_size":0', "batch_size must be", "a division by the batch size"),
        ("batch_size_flag", '"batch_size":256', '"batch_size":true', "batch_size must be", "a flag as a number"),
        ("device", '"batch_size":256', '"batch_size":256,"device":"cuda"', "unknown parameter", "where a model runs"),
        ("missing_parameter", '"batch_size":256,', "", "not written as", "a parameter that is missing"),
        ("epoch_2_32", '"epoch":1', '"epoch":4294967295', "history.loss has", "a history of 2^32 epochs"),
        ("epoch_negative", '"epoch":1', '"epoch":-1', "epoch must be", "an epoch below 0"),
        ("step_2_63", '"step":1', '"step":9223372036854775807', "step must be", "a step that the next one overflows"),
        ("seed_negative", '"seed":0', '"seed":-1', "seed must be", "a seed below 0"),
        ("step_in_epoch", '"step_in_epoch":0', '"step_in_epoch":-1', "step_in_epoch must", "a place before the epoch"),
        ("names_too_few", '"feature_names":null', '"feature_names":["a"]', "feature_names must", "a name too few"),
        ("names_numbers", '"feature_names":null', '"feature_names":[1,2]', "feature_names must", "numbers as names"),
    ):
        yield name, model.described(old, new), what, said
    for tensor in ("encoder.0.weight", "decoder.0.bias", "training.m.encoder.0.weight", "scaling.shift"):
        for name, value in (("nan", np.nan), ("inf", np.inf)):
            yield f"{name}_in_{tensor}", model.value(tensor, value), f"{name} in {tensor}", "it must be"
    yield "negative_second_moment", model.value("training.v.encoder.0.bias", -1.0), "the root of a negative number", \
        "it must be at least 0"
    yield "scale_0", model.value("scaling.scale", 0.0), "a division by the scale of a column", "above 0"


def masked(model: Genuine) -> Iterator[Attack]:
    yield "nan_in_missing.mean", model.value("missing.mean", np.nan), "a NaN that takes a missing value's place", \
        "it must be finite"
    yield "means_without_mask", model.described('"missing":"mask"', '"missing":"error"'), \
        "means that nothing asks for", "does not belong to a model with missing"


def detector(model: Genuine) -> Iterator[Attack]:
    yield "spread_0", model.value("detector.spread", 0.0), "a division by a feature's spread", "above 0"
    yield "spread_negative", model.value("detector.spread", -1.0), "scores of the wrong sign", "above 0"
    yield "held_back_unsorted", model.value("detector.held_back", 1e300), "a binary search", "must ascend"
    yield "detector_as_autoencoder", model.described('"kind":"anomaly_detector"', '"kind":"autoencoder"'), \
        "calibration that its class does not know", "does not belong to an autoencoder"


def main() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((8, 2)).astype(np.float32)
    plain = Genuine(Autoencoder((1,), scaling="standard", epochs=1, random_state=0, n_threads=1).fit(x))
    detector_of = AnomalyDetector((1,), calibration_fraction=0.3, epochs=1, random_state=0, n_threads=1)
    holes = Genuine(Autoencoder((1,), missing="mask", epochs=1, random_state=0, n_threads=1).fit(x))
    scoring = Genuine(detector_of.fit(rng.random((40, 2))))
    lines: dict[str, dict[str, str]] = {}
    for old in FOLDER.glob("*.safetensors"):
        old.unlink()
    kinds: list[tuple[Callable[[Genuine], Iterator[Attack]], Genuine]] = [
        (container, plain), (json_text, plain), (sizes, plain), (meaning, plain), (masked, holes),
        (detector, scoring)]
    controls = [("control_autoencoder", plain.file, "nothing", "accepted"),
                ("control_detector", scoring.file, "nothing", "accepted")]
    for name, data, attacks, said in [*controls, *(attack for make, model in kinds for attack in make(model))]:
        assert name not in lines, name
        lines[name] = {"attacks": attacks, "said": said}
        (FOLDER / f"{name}.safetensors").write_bytes(data)
    (FOLDER / "attacks.json").write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")
    print(f"{len(lines)} files")


if __name__ == "__main__":
    main()
