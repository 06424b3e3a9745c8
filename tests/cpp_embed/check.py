# SPDX-License-Identifier: Apache-2.0
"""round_trip and Python, bit by bit: the same weights and codes from the same rows, and each reads the other's file.

    python check.py path/to/round_trip
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from isthmus import Autoencoder

ROWS, FEATURES = 200, 12


def main(program: str) -> None:
    r, c = np.mgrid[:ROWS, :FEATURES]
    x = (((r * 7 + c * c * 13) % 64) / 64).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        model_file, bits = Path(folder) / "model.safetensors", Path(folder) / "bits"
        subprocess.run([program, "train", model_file, bits], check=True)
        theirs = Autoencoder.load(model_file, device="cpu")
        ours = Autoencoder(
            (9, 4), scaling="standard", epochs=5, batch_size=32, random_state=7, device="cpu"
        ).fit(x)
        assert theirs.get_params() | {"encoder_layers": None} == ours.get_params() | {"encoder_layers": None}
        assert theirs.history_["loss"] == ours.history_["loss"]
        for a, b in zip(theirs.get_weights(), ours.get_weights(), strict=True):
            assert a.tobytes() == b.tobytes()
        assert bits.read_bytes() == ours.encode(x).tobytes()

        ours.partial_fit(x).save(model_file)
        subprocess.run([program, "read", model_file, bits], check=True)
        assert bits.read_bytes() == ours.reconstruct(x).tobytes()
        assert bits.read_bytes() != theirs.reconstruct(x).tobytes()


if __name__ == "__main__":
    main(sys.argv[1])
