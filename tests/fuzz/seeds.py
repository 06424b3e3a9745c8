# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of the fuzz targets: model files of every kind, as small as they come, and the JSON in them.

    python tests/fuzz/seeds.py    # with isthmus installed; corpus/*/seed-*, and what libFuzzer has found stays
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from isthmus import AnomalyDetector, Autoencoder

CORPUS = Path(__file__).parent / "corpus"
X = np.random.default_rng(0).random((40, 2)).astype(np.float32)
JSON = {"empty": b"", "numbers": b"[0,-0,1.5e-300,18446744073709551615,-9223372036854775808,1e308]",
        "strings": '["","\\u00e9\\ud83d\\ude00","\\"\\\\\\/\\b\\f\\n\\r\\t","文"]'.encode(),
        "nested": b"[" * 32 + b"]" * 32,
        "words": b'{"a":true,"b":false,"c":null,"d":{"e":[]}}'}


def models() -> Iterator[tuple[str, bytes]]:
    once = {"epochs": 1, "random_state": 0, "n_threads": 1}
    yield "plain", Autoencoder((1,), **once).fit(X).to_bytes()
    yield "initial", Autoencoder((2, 1), decoder_layers=()).initialize(1).to_bytes()
    yield "training", Autoencoder((1,), patience=1, validation_fraction=0.2, **once).fit(X).to_bytes(True)
    yield "scaled", Autoencoder((1,), scaling="minmax", loss="bce", optimizer="sgd", **once).fit(X).to_bytes()
    yield "adamw", Autoencoder((3, 1), activation="gelu", loss="huber", optimizer="adamw", clip_norm=1.0,
                               learning_rate_schedule="plateau", **once).fit(X).to_bytes(True)
    yield "detector", AnomalyDetector((1,), calibration_fraction=0.2, **once).fit(X).to_bytes()


def main() -> None:
    for name, data in models():
        (CORPUS / "model_file" / f"seed-{name}").write_bytes(data)
        (size,) = struct.unpack("<Q", data[:8])
        description = json.loads(data[8 : 8 + size])["__metadata__"]["isthmus"]
        (CORPUS / "json" / f"seed-description-{name}").write_text(description, encoding="utf-8")
        configuration = json.dumps(json.loads(description)["configuration"])
        (CORPUS / "json" / f"seed-configuration-{name}").write_text(configuration, encoding="utf-8")
    for name, data in JSON.items():
        (CORPUS / "json" / f"seed-{name}").write_bytes(data)


if __name__ == "__main__":
    main()
