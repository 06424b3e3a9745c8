# SPDX-License-Identifier: Apache-2.0
"""The malicious files of tests/attacks, by every way into the package: each is refused for what it attacks, the error
names where it came from, and what was loaded before still works.
"""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import bits, counted, package
from isthmus import Autoencoder, ModelFormatError

FOLDER = Path(__file__).parents[1] / "attacks"
ATTACKS: dict[str, dict[str, str]] = json.loads((FOLDER / "attacks.json").read_text(encoding="utf-8"))
X = np.random.default_rng(0).random((5, 2)).astype(np.float32)


class Forged:
    """Pickles as an Autoencoder that has these bytes in it."""

    def __init__(self, data: bytes) -> None:
        self.state = {**Autoencoder((1,)).initialize(2).__getstate__(), "_model": data}

    def __reduce__(self) -> tuple[Any, ...]:
        return Autoencoder, (), self.state


def through_joblib(path: Path) -> Any:
    joblib = package("joblib")
    buffer = io.BytesIO()
    joblib.dump(Forged(path.read_bytes()), buffer)
    buffer.seek(0)
    return joblib.load(buffer)


WAYS: dict[str, Callable[[Path], Any]] = {
    "load": Autoencoder.load,
    "from_bytes": lambda path: Autoencoder.from_bytes(path.read_bytes()),
    "pickle": lambda path: pickle.loads(pickle.dumps(Forged(path.read_bytes()))),
    "joblib": through_joblib,
}


def test_the_files_are_those_of_the_list() -> None:
    assert {path.stem for path in FOLDER.glob("*.safetensors")} == set(ATTACKS)
    assert sum(attack["said"] == "accepted" for attack in ATTACKS.values()) == 2


@pytest.mark.parametrize("way", WAYS)
def test_attacks_are_refused(way: str) -> None:
    before = Autoencoder((1,), random_state=0).initialize(2)
    expected = bits(before), before.encode(X).tobytes()
    for name, attack in ATTACKS.items():
        path = FOLDER / f"{name}.safetensors"
        if attack["said"] == "accepted":
            assert WAYS[way](path).n_features_in_ == 2, f"{name}: is python tests/attacks/make.py to be run again?"
            continue
        with pytest.raises(ModelFormatError) as caught:
            WAYS[way](path)
        said = str(caught.value)
        assert said.startswith(f"{path}: " if way == "load" else "bytes: "), f"{name}: {said}"
        assert attack["said"] in said, f"{name}: expected {attack['said']!r}, got {said}"
        counted("malicious files in Python", [name])
    assert (bits(before), before.encode(X).tobytes()) == expected
