# SPDX-License-Identifier: Apache-2.0
"""Arrays on a GPU go in and come out without a copy, with the bits of the same call on NumPy's arrays. The other
library is gpu_arrays.py, on the emulated device; PyTorch's and JAX's own tests are in test_array_libraries.py.
"""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import DEVICE, assert_same_bits, run_python
from gpu_arrays import GPU, Array, DlpackArray, InterfaceArray, OldDlpackArray, done, values_of
from isthmus import AnomalyDetector, Autoencoder, kernels
from numpy.typing import NDArray

pytestmark = [pytest.mark.every_device, pytest.mark.skipif(GPU is None, reason="ISTHMUS_CUDA_LIBRARY is not emulated")]
KINDS = [DlpackArray, OldDlpackArray, InterfaceArray]


@pytest.fixture(autouse=True)
def streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing happens before somebody waits for it: who reads too early reads NaN."""
    monkeypatch.setenv("ISTHMUS_EMULATOR_STREAMS", "late")


@pytest.fixture
def x(rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.random((40, 8)).astype(np.float32)


def fitted(x: Any, **parameters: Any) -> Autoencoder:
    options: dict[str, Any] = {"epochs": 2, "batch_size": 16, "random_state": 0, "device": DEVICE}
    return Autoencoder((5, 3), **(options | parameters)).fit(x)


# Layouts that are read in place, and those that are not: a view and whether the GPU needs a copy of it.
def layouts(x: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    n, d = x.shape
    wide = np.full((n + 2, d + 12), np.nan, np.float32)
    wide[2:, 4 : d + 4] = x
    shifted = np.full((n, d + 3), np.nan, np.float32)
    shifted[:, 1 : d + 1] = x
    twice = np.full((2 * n, d), np.nan, np.float32)
    twice[::2] = x
    return {"whole": x.copy(), "columns": wide[2:, 4 : d + 4], "unaligned": shifted[:, 1 : d + 1],
            "rows": twice[::2], "transposed": np.ascontiguousarray(x.T).T, "backwards": x[::-1].copy()[::-1]}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", layouts(np.zeros((1, 1), np.float32)))
def test_every_method_has_the_bits_of_numpy(kind: type[Array], layout: str, x: NDArray) -> None:
    rows = kind(layouts(x)[layout])
    model, expected = fitted(rows), fitted(x)
    assert model.device_ == "cuda:0"
    for mine, theirs in zip(model.get_weights(), expected.get_weights(), strict=True):
        assert_same_bits(mine, theirs)
    assert model.history_["loss"] == expected.history_["loss"]
    codes = expected.encode(x)
    assert_same_bits(values_of(model.encode(rows)), codes)
    assert_same_bits(values_of(model.reconstruct(rows), versioned=False), expected.reconstruct(x))
    assert_same_bits(values_of(model.decode(kind(codes))), expected.decode(codes))
    errors, elements = model.reconstruction_error(rows), model.reconstruction_error(rows, per_feature=True)
    assert_same_bits(values_of(errors), expected.reconstruction_error(x))
    assert_same_bits(values_of(elements), expected.reconstruction_error(x, per_feature=True))
    assert_same_bits(values_of(model.score_samples(rows)), expected.score_samples(x))
    assert model.score(rows) == expected.score(x)
    for mine, theirs in zip(model.gradients(rows), expected.gradients(x), strict=True):
        assert_same_bits(mine, theirs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [1, 3, 4, 5, 33])
def test_every_width(kind: type[Array], width: int, rng: np.random.Generator) -> None:
    x = rng.random((7, width)).astype(np.float32)
    model = fitted(x, batch_size=3)
    rows = kind(x)
    assert_same_bits(values_of(fitted(rows, batch_size=3).encode(rows)), model.encode(x))
    assert_same_bits(values_of(model.encode(kind(x[:1].copy()))), model.encode(x[:1]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float64", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16",
                                   "uint32", "uint64", "bool"])
def test_other_dtypes_are_converted_as_numpy_does(kind: type[Array], dtype: str, rng: np.random.Generator) -> None:
    x = (rng.random((20, 5)) * (1 if dtype == "bool" else 100)).astype(dtype)
    model = fitted(x)
    assert_same_bits(values_of(model.encode(kind(x))), model.encode(x))


@pytest.mark.parametrize("kind", KINDS)
def test_what_holds_no_real_numbers_is_refused(kind: type[Array], x: NDArray) -> None:
    model = fitted(x)
    with pytest.raises(TypeError, match=r"X has dtype (complex64|<c8); it must hold real numbers"):
        model.encode(kind(x.astype(np.complex64)))
    for wrong, words in ((x[0].copy(), "got a 1-D array of shape"), (x[None].copy(), "got 3-D of shape"),
                         (x[:0].copy(), "0 sample"), (x[:, :3].copy(), "X has 3 features")):
        with pytest.raises(ValueError, match=words):
            model.encode(kind(wrong))


@pytest.mark.parametrize("dtype,value", [("float32", np.nan), ("float64", np.inf), ("float16", -np.inf)])
def test_what_is_not_finite_is_named(dtype: str, value: float, x: NDArray) -> None:
    kind = DlpackArray
    model = fitted(x)
    bad = x.astype(dtype)
    bad[17, 6] = bad[30, 0] = value
    for call in (model.encode, model.reconstruct, model.reconstruction_error, model.score, model.partial_fit, fitted):
        with pytest.raises(ValueError, match=rf"X\[17, 6\] is {value}; X must be finite"):
            call(kind(bad))
    codes = model.encode(x).astype(dtype)
    codes[3, 2] = value
    with pytest.raises(ValueError, match=rf"Z\[3, 2\] is {value}; Z must be finite"):
        model.decode(kind(codes))


def test_values_beyond_float32_and_beyond_bce_are_named(x: NDArray) -> None:
    large = x.astype(np.float64)
    large[5, 1] = 1e300
    with pytest.raises(ValueError, match=r"X\[5, 1\] is 1e\+300, beyond the largest float32"):
        fitted(DlpackArray(large))
    outside = x.copy()
    outside[2, 7] = 1.5
    with pytest.raises(ValueError, match=r'X\[2, 7\] is 1.5; loss="bce" needs values in \[0, 1\]'):
        fitted(DlpackArray(outside), loss="bce")


@pytest.mark.parametrize("kind", KINDS)
def test_weights_validation_and_partial_fit(kind: type[Array], x: NDArray, rng: np.random.Generator) -> None:
    weights = rng.random(40).astype(np.float32)
    other, targets = x[:16].copy(), rng.random((16, 8)).astype(np.float32)
    options: dict[str, Any] = {"epochs": 3, "batch_size": 16, "random_state": 0, "device": DEVICE}
    expected = Autoencoder((5, 3), **options).fit(x, sample_weight=weights, validation_data=(other, targets))
    for rows in ((kind(x), kind(weights), kind(other), kind(targets)), (kind(x), weights, other, kind(targets)),
                 (kind(x), weights, kind(other), targets)):
        model = Autoencoder((5, 3), **options).fit(rows[0], sample_weight=rows[1], validation_data=rows[2:])
        assert model.history_["val_loss"] == expected.history_["val_loss"]
        assert model.score(kind(x), sample_weight=kind(weights)) == expected.score(x, sample_weight=weights)
    for wrong in (kind(weights[:5].copy()), kind(x), kind(weights.reshape(1, 40))):
        with pytest.raises(ValueError, match=r"sample_weight must have shape \(40,\)"):
            model.score(kind(x), sample_weight=wrong)
    held_back: dict[str, Any] = {"validation_fraction": 0.25, "patience": 2}
    assert fitted(kind(x), **held_back).history_["val_loss"] == fitted(x, **held_back).history_["val_loss"]
    model, expected = (Autoencoder((5, 3), **options).partial_fit(rows).partial_fit(rows) for rows in (kind(x), x))
    assert_same_bits(model.encode(x), expected.encode(x))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64"])
def test_scaling_is_computed_on_the_host_and_answers_are_on_the_gpu(
    kind: type[Array], dtype: str, rng: np.random.Generator
) -> None:
    x = (1e6 * rng.random((40, 5))).astype(dtype) if dtype != "float16" else rng.random((40, 5)).astype(dtype)
    rows = kind(x)
    model, expected = fitted(rows, scaling="standard"), fitted(x, scaling="standard")
    codes = expected.encode(x)
    assert_same_bits(values_of(model.encode(rows)), codes)
    assert_same_bits(values_of(model.reconstruct(rows)), expected.reconstruct(x))
    assert_same_bits(values_of(model.decode(kind(codes))), expected.decode(codes))
    for options in ({}, {"per_feature": True}, {"units": "input"}):
        assert_same_bits(values_of(model.reconstruction_error(rows, **options)),
                         expected.reconstruction_error(x, **options))
    assert model.score(rows) == expected.score(x)
    assert model.partial_fit(rows).score(rows) == expected.partial_fit(x).score(x)
    both = {"validation_data": (rows, x)}, {"validation_data": (x, x)}
    assert len({tuple(Autoencoder((3,), scaling="standard", epochs=2, random_state=0, device=DEVICE).fit(
        x, **options).history_["val_loss"]) for options in both}) == 1


def test_a_detector_takes_rows_on_the_gpu(x: NDArray) -> None:
    rows = DlpackArray(x)
    options: dict[str, Any] = {"calibration_fraction": 0.3, "random_state": 0, "device": DEVICE}
    detector, expected = (AnomalyDetector((3,), **options).fit(r) for r in (rows, x))
    for mine, theirs in (
        (detector.score_samples(rows), expected.score_samples(x)),
        (detector.decision_function(rows), expected.decision_function(x)),
        (detector.predict(rows), expected.predict(x)), (detector.p_values(rows), expected.p_values(x)),
        *zip(detector.explain(rows), expected.explain(x), strict=True),
    ):
        assert_same_bits(values_of(mine), theirs)
        assert mine.dtype == theirs.dtype


def test_a_report_is_made_on_the_host(x: NDArray) -> None:
    model = fitted(x)
    assert str(model.report(DlpackArray(x))) == str(model.report(x))


def test_a_fit_is_resumed_on_rows_on_the_gpu(x: NDArray, tmp_path: Path) -> None:
    rows = DlpackArray(x)
    options: dict[str, Any] = {"random_state": 0, "batch_size": 16, "device": DEVICE}
    Autoencoder((3,), epochs=2, **options).fit(rows, checkpoint=tmp_path)
    model = Autoencoder((3,), epochs=4, **options).resume(tmp_path, rows)
    for mine, theirs in zip(
        model.get_weights(), Autoencoder((3,), epochs=4, **options).fit(x).get_weights(), strict=True
    ):
        assert_same_bits(mine, theirs)
    with pytest.raises(ValueError, match="X has other values"):
        Autoencoder((3,), epochs=6, **options).resume(tmp_path, DlpackArray(x + 1))


# ---- memory and streams ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [DlpackArray, OldDlpackArray])
def test_a_deleter_is_called_once(kind: type[Array], x: NDArray) -> None:
    rows = kind(x)
    model = fitted(rows)
    model.encode(rows)
    bad = kind(np.full_like(x, np.nan))
    with pytest.raises(ValueError, match="finite"):
        model.encode(bad)
    with pytest.raises(TypeError, match="dtype"):
        model.encode(refused := kind(x.astype(np.complex64)))
    gc.collect()
    for array in (rows, bad, refused):
        assert array.deleted == len(array.handed_out) >= 1


def test_the_producer_is_asked_as_the_protocol_says(x: NDArray) -> None:
    new, old = DlpackArray(x), OldDlpackArray(x)
    model = fitted(x)
    model.encode(new)
    model.encode(old)
    assert [sorted(asked) for asked in new.asked] == [["max_version", "stream"]]
    assert [sorted(asked) for asked in old.asked] == [["stream"]]
    assert new.asked[0]["max_version"] == (1, 0) and new.asked[0]["stream"] > 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("when", ["early", "late", "3"])
def test_what_the_caller_queued_comes_first(
    kind: type[Array], when: str, x: NDArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New contents are on their way on the caller's stream when each call is made."""
    monkeypatch.setenv("ISTHMUS_EMULATOR_STREAMS", when)
    model = fitted(x)
    rows = kind(x.copy())
    for call in (model.encode, model.reconstruct, model.reconstruction_error):
        rows._base[...] += 1.0
        rows.write()
        assert_same_bits(values_of(call(rows)), call(rows.values))
    rows._base[...] -= 2.0
    rows.write()
    assert model.score(rows) == model.score(rows.values)


def test_results_own_their_memory(x: NDArray) -> None:
    assert GPU is not None
    model = fitted(x)
    rows = DlpackArray(x)
    expected = model.encode(x)
    model.encode(rows)
    gc.collect()
    before = GPU.producer_free_bytes()
    codes = model.encode(rows)
    assert GPU.producer_free_bytes() < before
    never_taken, taken = codes.__dlpack__(max_version=(1, 0)), codes.__dlpack__()
    values = values_of(codes)
    del codes
    gc.collect()
    assert GPU.producer_free_bytes() < before  # the capsules hold it
    del never_taken
    thread = threading.Thread(target=lambda held: held.clear(), args=([taken],))
    del taken
    thread.start()
    thread.join()
    gc.collect()
    assert GPU.producer_free_bytes() == before
    assert_same_bits(values, expected)


def test_results_say_what_they_are(x: NDArray) -> None:
    model = fitted(x)
    codes, errors = model.encode(DlpackArray(x)), model.reconstruction_error(DlpackArray(x))
    assert (codes.shape, codes.dtype, codes.device, len(codes)) == ((40, 3), "float32", "cuda:0", 40)
    assert (errors.shape, errors.dtype) == ((40,), "float64")
    facts = codes.__cuda_array_interface__
    assert (facts["shape"], facts["typestr"], facts["strides"], facts["version"]) == ((40, 3), "<f4", None, 3)
    assert facts["stream"] is None and facts["data"][0] % 256 == 0 and not facts["data"][1]
    assert errors.__cuda_array_interface__["typestr"] == "<f8"
    # In again: what came out is an array like any other.
    assert_same_bits(values_of(model.decode(codes)), model.decode(model.encode(x)))
    for wrong in ({"dl_device": (1, 0)}, {"copy": True}):
        with pytest.raises(BufferError, match="a result of isthmus"):
            codes.__dlpack__(**wrong)
    codes.__dlpack__(stream=2, dl_device=(2, 0), copy=False, max_version=(1, 1))


def test_a_result_outlives_python() -> None:
    run_python("""
import atexit, sys
import checks, numpy as np
from gpu_arrays import DlpackArray
from isthmus import Autoencoder
x = np.random.default_rng(0).random((20, 8)).astype(np.float32)
rows = DlpackArray(x)
sys.modules["kept"] = codes = Autoencoder((3,), epochs=1).fit(rows).encode(rows)
kept = codes.__dlpack__(max_version=(1, 0))
atexit.register(lambda: codes.shape)
""")


# ---- devices --------------------------------------------------------------------------------------------------------

TWO = """
import checks, numpy as np, sys
from gpu_arrays import GPU, DlpackArray, InterfaceArray, done
from isthmus import Autoencoder
x = np.random.default_rng(0).random((20, 8)).astype(np.float32)
for kind in (DlpackArray, InterfaceArray):
    done(GPU.producer_set_device(1))
    there = kind(x, 1)
    done(GPU.producer_set_device(0))
    here = kind(x)
    for method in ("fit", "partial_fit"):
        model = getattr(Autoencoder((3,), epochs=1, device="auto", random_state=0), method)(there)
        assert model.device_ == "cuda:1", model.device_
        assert model.encode(there).device == "cuda:1"
        assert GPU.producer_current_device() == 0
        model.set_params(learning_rate=0.1, warm_start=True)
        model.partial_fit(there)
        assert model.device_ == "cuda:1"
        for call in (model.encode, model.score, model.partial_fit, model.fit):
            try:
                call(here)
                sys.exit("taken")
            except ValueError as error:
                assert "X is on cuda:0, but this model is on cuda:1" in str(error), error
    assert np.array_equal(model.encode(x), Autoencoder.from_bytes(model.to_bytes(), device="cuda:0").encode(x))
    assert Autoencoder((3,), epochs=1, device="auto").fit(here).device_ == "cuda:0"
    for device, name in (("cpu", "cpu"), ("cuda:0", "cuda:0")):
        try:
            Autoencoder((3,), epochs=1, device=device).fit(there)
            sys.exit("taken")
        except ValueError as error:
            assert f"X is on cuda:1, but this model is on {name}" in str(error), error
print("told")
"""


def test_two_devices(x: NDArray) -> None:
    assert run_python(TWO, env={"ISTHMUS_EMULATOR_DEVICES": "2"}) == "told\n"


def test_a_gpu_that_is_not_there(x: NDArray) -> None:
    rows = DlpackArray(x)
    rows.device = 5
    with pytest.raises(RuntimeError, match="there is no device cuda:5"):
        fitted(rows)
    assert not rows.asked

    class Elsewhere(InterfaceArray):
        @property
        def __cuda_array_interface__(self) -> dict[str, Any]:
            return {**super().__cuda_array_interface__, "data": (x.ctypes.data, False)}

    with pytest.raises(ValueError, match="X has a __cuda_array_interface__ whose data is not in a GPU's memory"):
        fitted(Elsewhere(x))


def test_single_kernels_take_arrays_of_the_host(x: NDArray) -> None:
    with pytest.raises(TypeError, match=r"z is on cuda:0; isthmus\.kernels takes arrays of the host"):
        kernels.activation_forward(DlpackArray(x), "relu")


def test_masks_and_other_versions_are_refused(x: NDArray) -> None:
    class Masked(InterfaceArray):
        @property
        def __cuda_array_interface__(self) -> dict[str, Any]:
            return {**super().__cuda_array_interface__, "mask": self}

    with pytest.raises(TypeError, match="X is masked"):
        fitted(Masked(x))

    class Later(DlpackArray):
        def __dlpack__(self, **asked: Any) -> Any:
            capsule = super().__dlpack__(**asked)
            self.handed_out[-1][0].major = 2
            return capsule

    rows = Later(x)
    with pytest.raises(TypeError, match="DLPack 2"):
        fitted(rows)
    gc.collect()
    assert rows.deleted == len(rows.handed_out) == 1


def test_a_stream_that_works_is_not_disturbed(x: NDArray) -> None:
    """What the caller queues after a call is left to the caller."""
    assert GPU is not None
    rows = DlpackArray(x)
    model = fitted(rows)
    rows.write()
    model.encode(rows)
    done(GPU.producer_synchronize(rows.stream))
