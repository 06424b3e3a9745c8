# SPDX-License-Identifier: Apache-2.0
"""On one instruction set the same bits, whatever the threads, the partition of the rows, the memory layout, the plan,
and wherever training was interrupted. Everything here compares bytes, nothing is close enough.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import assert_same_bits, bits, layouts, run_python
from isthmus import Autoencoder, VariationalAutoencoder, _core
from numpy.typing import NDArray

pytestmark = pytest.mark.every_device

F32 = NDArray[np.float32]

# (features, encoder, batch): smaller than any tile; one vector; widths that cross vectors and tiles.
NETWORKS: dict[str, dict[str, Any]] = {
    "tiny": {"d": 3, "encoder_layers": (2,), "batch_size": 7},
    "code of one": {"d": 16, "encoder_layers": (8, 1), "batch_size": 64},
    "crossing": {"d": 123, "encoder_layers": (77, 9), "batch_size": 64},
    "crossing, batch 1": {"d": 123, "encoder_layers": (77, 9), "batch_size": 1},
    "crossing, batch 7": {"d": 123, "encoder_layers": (77, 9), "batch_size": 7},
    "wide": {"d": 300, "encoder_layers": (257, 33), "batch_size": 100},
    "tied": {"d": 123, "encoder_layers": (77, 9), "batch_size": 64, "tied_weights": True},
    "sparse": {"d": 123, "encoder_layers": (77, 9), "batch_size": 64, "code_l1": 0.1, "code_topk": 3},
    "all of it": {"d": 300, "encoder_layers": (257, 33), "batch_size": 100, "code_topk": 5, "tied_weights": True},
    "drawn": {"d": 123, "encoder_layers": (77, 9), "batch_size": 64, "kl_weight": 0.5},
    "drawn, small": {"d": 30, "encoder_layers": (16, 8), "batch_size": 128, "kl_weight": 0.5},
}


def data(d: int, n: int = 150, seed: int = 1) -> F32:
    return np.random.default_rng(seed).random((n, d)).astype(np.float32)


def build(network: str, **parameters: Any) -> tuple[Autoencoder, F32]:
    settings = {"epochs": 2, "random_state": 0, "activation": "gelu", **NETWORKS[network], **parameters}
    d = settings.pop("d")
    kind = VariationalAutoencoder if "kl_weight" in settings else Autoencoder
    return kind(**settings), data(d, 40 if settings["batch_size"] == 1 else 150)


# ---- training -------------------------------------------------------------------------------------------------------


@pytest.mark.cpu_only
@pytest.mark.parametrize("network", NETWORKS)
def test_threads(isa: str, network: str) -> None:
    fitted = []
    for n_threads in (1, 2, 3, 4, 7):
        model, x = build(network, n_threads=n_threads, input_noise=0.1)
        fitted.append(model.fit(x))
    for other in fitted[1:]:
        assert bits(other) == bits(fitted[0])
        assert other.history_["loss"] == fitted[0].history_["loss"]
        assert_same_bits(other.encode(x), fitted[0].encode(x))
        assert_same_bits(other.reconstruction_error(x), fitted[0].reconstruction_error(x))
        for a, b in zip(other.gradients(x), fitted[0].gradients(x), strict=True):
            assert_same_bits(a, b)


@pytest.mark.cpu_only
@pytest.mark.parametrize("loss", _core.losses())
@pytest.mark.parametrize("optimizer", _core.optimizers())
def test_threads_for_every_loss_and_optimizer(loss: str, optimizer: str) -> None:
    weights = set()
    for n_threads in (1, 2, 3):
        model, x = build("crossing", loss=loss, optimizer=optimizer, momentum=0.5, n_threads=n_threads)
        weights.add(bits(model.fit(x)))
    assert len(weights) == 1


@pytest.mark.parametrize("optimizer", _core.optimizers())
@pytest.mark.parametrize("network", NETWORKS)
def test_split_plan_equals_fused_plan(isa: str, network: str, optimizer: str) -> None:
    # A bound that no gradient reaches never clips, but needs the norm of the whole gradient before any update.
    fused, x = build(network, optimizer=optimizer, momentum=0.5, weight_decay=0.01)
    split, _ = build(network, optimizer=optimizer, momentum=0.5, weight_decay=0.01, clip_norm=1e30)
    assert bits(fused.fit(x)) == bits(split.fit(x))
    assert fused.history_["loss"] == split.history_["loss"]
    clipped, _ = build(network, optimizer=optimizer, momentum=0.5, weight_decay=0.01, clip_norm=1e-3)
    assert bits(clipped.fit(x)) != bits(fused)  # the bound is not ignored


def test_two_runs_and_two_processes(isa: str) -> None:
    code = """
import hashlib, sys
from checks import bits
from test_bits import build
model, x = build("crossing", input_noise=0.1, n_threads=2)
print(hashlib.sha256(bits(model.fit(x))).hexdigest())
"""
    a, b = (run_python(code, env={"ISTHMUS_ISA": isa}) for _ in range(2))
    model, x = build("crossing", input_noise=0.1, n_threads=1)
    import hashlib

    assert a == b == hashlib.sha256(bits(model.fit(x))).hexdigest() + "\n"


@pytest.mark.cpu_only
def test_the_environment_variable_chooses_the_instruction_set(isa: str) -> None:
    code = "from isthmus import _core; print(_core.instruction_set())"
    assert run_python(code, env={"ISTHMUS_ISA": isa}).strip() == isa


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layouts_in_training(dtype: str) -> None:
    model, x = build("crossing")
    expected = bits(model.fit(x))
    for name, same in layouts(x.astype(dtype)).items():
        before = same.copy()
        assert bits(build("crossing")[0].fit(same)) == expected, name
        np.testing.assert_array_equal(same, before, name)


# ---- inference ------------------------------------------------------------------------------------------------------


def outputs(model: Autoencoder) -> dict[str, Callable[[F32], F32]]:
    return {
        "encode": model.encode,
        "decode of encode": lambda x: model.decode(model.encode(x)),
        "reconstruct": model.reconstruct,
        "reconstruction_error": model.reconstruction_error,
        "per feature": lambda x: model.reconstruction_error(x, per_feature=True),
        "score_samples": model.score_samples,
    }


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_partitions_of_the_rows(isa: str, network: str, activation: str) -> None:
    model, x = build(network, epochs=1, activation=activation, loss="bce")
    model.fit(x)
    for name, output in outputs(model).items():
        whole = output(x)
        for size in (1, 2, 3, 5, 8, 13, 16, 31, 64):
            chunks = [output(x[i : i + size]) for i in range(0, len(x), size)]
            assert_same_bits(np.concatenate(chunks), whole, f"{name} in chunks of {size}")
        order = np.random.default_rng(0).permutation(len(x))
        assert_same_bits(output(x[order]), whole[order], f"{name} of shuffled rows")
        assert_same_bits(output(np.repeat(x[:1], 70, axis=0)), np.repeat(whole[:1], 70, axis=0), f"{name}, one row")


@pytest.mark.parametrize("network", ["tiny", "crossing"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layouts_in_inference(isa: str, network: str, dtype: str) -> None:
    model, x = build(network, epochs=1)
    model.fit(x)
    for name, output in outputs(model).items():
        expected = output(x)
        for layout, same in layouts(x.astype(dtype)).items():
            assert_same_bits(output(same), expected, f"{name}, {layout}")
    row = np.broadcast_to(x[0], (50, x.shape[1]))  # stride 0
    assert_same_bits(model.encode(row), np.repeat(model.encode(x[:1]), 50, axis=0))


def test_memory_map(tmp_path: Path) -> None:
    model, x = build("crossing")
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert bits(model.fit(mapped)) == bits(build("crossing")[0].fit(x))
    assert_same_bits(model.encode(mapped), model.encode(x))


# ---- interruption ---------------------------------------------------------------------------------------------------


def through_a_file(model: Autoencoder, folder: Path) -> Autoencoder:
    path = folder / "model.safetensors"
    model.save(path, training_state=True)
    return Autoencoder.load(path)


RESUME: dict[str, Callable[[Autoencoder, Path], Autoencoder]] = {
    "file": through_a_file,
    "bytes": lambda model, _: Autoencoder.from_bytes(model.to_bytes(training_state=True)),
    "pickle": lambda model, _: pickle.loads(pickle.dumps(model)),
    "deepcopy": lambda model, _: copy.deepcopy(model),
}


@pytest.mark.parametrize("way", RESUME)
@pytest.mark.parametrize("parameters", [
    {}, {"optimizer": "sgd", "momentum": 0.9}, {"optimizer": "adamw", "clip_norm": 0.1},
    {"input_noise": 0.2, "input_noise_kind": "mask"}, {"learning_rate_schedule": "plateau", "learning_rate": 1e-9},
    {"validation_fraction": 0.3, "patience": 2, "learning_rate": 0.05, "epochs": 3},
    {"tied_weights": True}, {"code_l1": 0.1, "code_topk": 3}, {"kl_weight": 0.5},
], ids=str)
def test_resumed_equals_uninterrupted(way: str, parameters: dict[str, Any], tmp_path: Path) -> None:
    parameters = {"warm_start": True, "epochs": 3, **parameters}
    straight, x = build("crossing", **parameters)
    straight.fit(x).fit(x)
    resumed, _ = build("crossing", **parameters)
    resumed = RESUME[way](resumed.fit(x), tmp_path).fit(x)
    assert bits(resumed) == bits(straight)
    assert resumed.n_iter_ == straight.n_iter_
    for key in set(straight.history_) - {"seconds"}:
        assert resumed.history_[key] == straight.history_[key], key
    assert_same_bits(resumed.encode(x), straight.encode(x))


def test_resumed_partial_fit_after_every_call(tmp_path: Path) -> None:
    straight, x = build("crossing")
    resumed, _ = build("crossing")
    for i in range(6):
        rows = x[25 * i : 25 * (i + 1)]
        straight.partial_fit(rows)
        resumed = through_a_file(resumed.partial_fit(rows), tmp_path)
        assert bits(resumed) == bits(straight)


def test_without_training_state_the_moments_are_gone(tmp_path: Path) -> None:
    """Negative control: it is the stored state that makes the resumed run equal."""
    straight, x = build("crossing", warm_start=True)
    resumed = Autoencoder.from_bytes(straight.fit(x).to_bytes()).fit(x)
    assert bits(resumed) != bits(straight.fit(x))
