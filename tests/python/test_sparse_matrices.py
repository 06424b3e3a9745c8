# SPDX-License-Identifier: Apache-2.0
"""Sparse matrices: the bits of the same calls on X.toarray(), memory that is bounded, and refusals of what is malformed
before anything is read by it.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from checks import assert_same_bits, package, run_python
from isthmus import AnomalyDetector, Autoencoder, VariationalAutoencoder, kernels
from numpy.typing import NDArray

pytestmark = pytest.mark.every_device


@pytest.fixture
def x(rng: np.random.Generator) -> NDArray[np.float64]:
    values = rng.random((70, 19))
    values[rng.random(values.shape) < 0.8] = 0.0
    values[5] = 0.0
    return values


def csr(x: Any) -> Any:
    return package("scipy.sparse").csr_array(x)


def fitted(x: Any, *, model: Any = Autoencoder, **parameters: Any) -> Any:
    options: dict[str, Any] = {"epochs": 3, "batch_size": 16, "random_state": 0}
    fit = {name: parameters.pop(name) for name in ("sample_weight", "validation_data") if name in parameters}
    return model((7, 3), **(options | parameters)).fit(x, **fit)


def assert_same_model(mine: Any, theirs: Any) -> None:
    for a, b in zip(mine.get_weights(), theirs.get_weights(), strict=True):
        assert_same_bits(a, b)
    assert mine.history_["loss"] == theirs.history_["loss"]
    assert mine.history_["val_loss"] == theirs.history_["val_loss"]


@pytest.mark.parametrize("parameters", [
    {}, {"loss": "bce"}, {"scaling": "minmax"}, {"scaling": "minmax", "loss": "bce"}, {"input_noise": 0.1},
    {"input_noise": 0.3, "input_noise_kind": "mask"}, {"validation_fraction": 0.3, "patience": 2}, {"clip_norm": 0.1},
    {"batch_size": 70}, {"shuffle": False, "n_threads": 2},
], ids=str)  # fmt: skip
def test_training_has_the_bits_of_the_dense_matrix(parameters: dict[str, Any], x: NDArray) -> None:
    assert_same_model(fitted(csr(x), **parameters), fitted(x, **parameters))


def test_weights_validation_and_partial_fit(x: NDArray, rng: np.random.Generator) -> None:
    weights = rng.random(70)
    weights[::7] = 0.0
    other = rng.random((9, 19))
    for validation in (csr(x[:20]), (csr(x[:9]), other), (other, csr(x[:9]))):
        dense = tuple(np.asarray(v.toarray() if hasattr(v, "toarray") else v) for v in validation) if isinstance(
            validation, tuple) else validation.toarray()
        assert_same_model(fitted(csr(x), sample_weight=weights, validation_data=validation),
                          fitted(x, sample_weight=weights, validation_data=dense))
    for options in ({}, {"scaling": "minmax"}):
        models = [Autoencoder((3,), random_state=0, batch_size=16, **options).partial_fit(r) for r in (csr(x), x)]
        for model in models:
            model.partial_fit(csr(x[:30])).partial_fit(x[30:])
        assert_same_model(*models)


def test_inference_has_the_bits_of_the_dense_matrix(x: NDArray) -> None:
    for parameters in ({}, {"scaling": "standard"}, {"loss": "bce"}):
        model = fitted(x, **parameters)
        rows = csr(x)
        for method in (model.encode, model.reconstruct, model.reconstruction_error, model.score_samples):
            assert_same_bits(method(rows), method(x))
        assert_same_bits(model.reconstruction_error(rows, per_feature=True),
                         model.reconstruction_error(x, per_feature=True))
        assert model.score(rows) == model.score(x)
        for mine, theirs in zip(model.gradients(rows), model.gradients(x), strict=True):
            assert_same_bits(mine, theirs)
        codes = model.encode(x)
        assert_same_bits(model.decode(csr(codes)), model.decode(codes))
        assert str(model.report(rows)) == str(model.report(x))


def test_standard_scaling_only_divides(x: NDArray) -> None:
    x[:, 3] = 2.0
    mine = fitted(csr(x), scaling="standard")
    spread = x.std(axis=0)
    spread[3] = 1.0
    for a, b in zip(mine.get_weights(), fitted(x / spread).get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert_same_bits(mine.encode(x), mine.encode(csr(x)))  # what was fitted on sparse rows is not shifted on dense ones
    np.testing.assert_allclose(mine.reconstruct(x), fitted(x / spread).reconstruct(x / spread) * spread, rtol=1e-5,
                               atol=1e-6)


def test_a_detector(x: NDArray) -> None:
    options: dict[str, Any] = {"model": AnomalyDetector, "calibration_fraction": 0.3, "scaling": "minmax"}
    mine, theirs = fitted(csr(x), **options), fitted(x, **options)
    assert mine.offset_ == theirs.offset_
    for method in ("score_samples", "decision_function", "predict", "p_values"):
        assert_same_bits(getattr(mine, method)(csr(x)), getattr(theirs, method)(x))
    for a, b in zip(mine.explain(csr(x)), theirs.explain(x), strict=True):
        assert_same_bits(a, b)


@pytest.mark.parametrize("parameters", [
    {}, {"scaling": "minmax"}, {"loss": "bce"}, {"input_noise": 0.1}, {"validation_fraction": 0.3}, {"shuffle": False},
], ids=str)  # fmt: skip
def test_missing_entries(parameters: dict[str, Any], x: NDArray) -> None:
    """What is not stored is 0; a NaN that is stored is missing, wherever it is."""
    for missing in ([], [(3, 2), (3, 5), (40, 0), (69, 18)], [(5, column) for column in range(19)]):
        holes = x.copy()
        for at in missing:
            holes[at] = np.nan
        mine, theirs = (fitted(rows, missing="mask", **parameters) for rows in (csr(holes), holes))
        assert_same_model(mine, theirs)
        assert_same_bits(mine.impute(csr(holes)), theirs.impute(holes))
        assert_same_bits(mine.reconstruction_error(csr(holes)), theirs.reconstruction_error(holes))
        assert mine.score(csr(x)) == theirs.score(x)
    holes[3, 2] = np.inf
    with pytest.raises(ValueError, match=r"X\[3, 2\] is inf"):
        fitted(csr(holes), missing="mask", **parameters)


@pytest.mark.parametrize("parameters", [
    {"tied_weights": True}, {"code_topk": 2}, {"code_l1": 0.1}, {"model": VariationalAutoencoder}], ids=str)
def test_kinds(parameters: dict[str, Any], x: NDArray) -> None:
    mine, theirs = fitted(csr(x), **parameters), fitted(x, **parameters)
    assert_same_model(mine, theirs)
    if "model" in parameters:
        assert_same_bits(mine.encode(csr(x), sample=True, random_state=1), mine.encode(x, sample=True, random_state=1))


def test_a_checkpoint_knows_its_rows(x: NDArray, tmp_path: Path) -> None:
    rows = csr(x)
    whole = fitted(rows, scaling="minmax")
    model = Autoencoder((7, 3), random_state=0, batch_size=16, scaling="minmax", epochs=3)

    def interrupt(_: Any, info: Any) -> None:
        if info["epoch"] == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        model.fit(rows, checkpoint=tmp_path, callbacks=[interrupt])
    for same in (rows, x):
        assert_same_model(model.resume(tmp_path, same), whole)
    rows.data[0] += 1.0
    with pytest.raises(ValueError, match="X has other values"):
        model.resume(tmp_path, rows)


def test_a_budget_counts_what_is_stored() -> None:
    """Dense, these rows would take 400 MB, a stretch of them, with targets apart, 34; a stored NaN makes them dense."""
    rows = csr(np.eye(1, 1000))
    rows = package("scipy.sparse").vstack([rows] * 100_000, format="csr")
    options: dict[str, Any] = {"epochs": 1, "max_memory": "100 MB", "max_seconds": 0.1, "input_noise": 0.1}
    rows.data[5] = np.nan
    assert fitted(rows, missing="mask", **options).n_iter_ <= 1
    with pytest.raises(MemoryError, match="max_memory"):
        fitted(rows, missing="mask", **(options | {"max_memory": "20 MB"}))
    rows.data[5] = 1.0
    assert fitted(rows, **(options | {"max_memory": "20 MB"})).n_iter_ <= 1


@pytest.mark.parametrize("kind", ["csr_array", "csr_matrix", "csc_array", "coo_matrix", "lil_array", "dok_array",
                                  "bsr_array", "dia_array"])
def test_every_format(kind: str, x: NDArray) -> None:
    assert_same_model(fitted(getattr(package("scipy.sparse"), kind)(x)), fitted(x))


@pytest.mark.parametrize("dtype", ["float32", "float64", "longdouble", "bool", "int8", "int16", "int32", "int64",
                                   "uint8", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("wide", [np.int32, np.int64])
def test_every_type(dtype: str, wide: type, x: NDArray) -> None:
    rows = csr((100 * x).astype(dtype))
    rows.indptr, rows.indices = rows.indptr.astype(wide), rows.indices.astype(wide)
    assert_same_model(fitted(rows), fitted(rows.toarray().astype(np.float64)))


@pytest.mark.parametrize("dtype", ["float64", "float32", "int8", "bool"])
def test_order_duplicates_and_explicit_zeros(dtype: str, rng: np.random.Generator) -> None:
    n, d = 40, 9
    indptr = np.concatenate([[0], np.cumsum(rng.integers(0, 30, n))]).astype(np.int32)
    indices = rng.integers(0, d, indptr[-1]).astype(np.int32)
    data = (100 * rng.random(indptr[-1])).astype(dtype)
    data[::5] = 0
    rows = package("scipy.sparse").csr_array((data, indices, indptr), shape=(n, d))
    before = [part.copy() for part in (rows.data, rows.indices, rows.indptr)]
    assert_same_model(fitted(rows), fitted(rows.toarray()))
    for part, was in zip((rows.data, rows.indices, rows.indptr), before, strict=True):
        assert_same_bits(part, was)  # the caller's own


# ---- what is refused ------------------------------------------------------------------------------------------------


def raw(shape: tuple[int, ...], indptr: Any, indices: Any, data: Any) -> Any:
    """A matrix that nobody has looked at, as a forged or damaged file would make it."""
    matrix = SimpleNamespace(shape=shape, indptr=np.array(indptr), indices=np.array(indices), data=np.array(data))
    matrix.tocsr = lambda: matrix
    return matrix


ONE = [1.0, 2.0, 3.0]


@pytest.mark.parametrize(("matrix", "words"), [
    (raw((2, 3), [0, 2, 3], [0, 3, 1], ONE), r"X\.indices\[1\] is 3, in row 0; X has 3 columns"),
    (raw((2, 3), [0, 2, 3], [0, -1, 1], ONE), r"X\.indices\[1\] is -1, in row 0"),
    (raw((2, 3), [0, 2, 3], [0, 1 << 40, 1], ONE), r"X\.indices\[1\] is 1099511627776"),
    (raw((2, 3), [0, 2, 1], [0, 1, 2], ONE), r"X\.indptr\[2\] is 1, less than the 2 before it"),
    (raw((2, 3), [0, -1, 3], [0, 1, 2], ONE), r"X\.indptr\[1\] is -1, less than the 0 before it"),
    (raw((2, 3), [1, 2, 3], [0, 1, 2], ONE), r"X\.indptr\[0\] is 1; it must be 0"),
    (raw((2, 3), [0, 2, 4], [0, 1, 2], ONE), r"X\.indptr\[2\] is 4, but there are 3 indices and 3 values"),
    (raw((2, 3), [0, 2, 3], [0, 1, 2], ONE[:2]), r"X\.indptr\[2\] is 3, but there are 3 indices and 2 values"),
    (raw((2, 3), [0, 2, 3], [0, 1], ONE), r"X\.indptr\[2\] is 3, but there are 2 indices and 3 values"),
    (raw((2, 3), [0, 2, (1 << 63) - 1], [0, 1, 2], ONE), r"X\.indptr\[2\] is 9223372036854775807"),
    (raw((2, 3), [0, 3], [0, 1, 2], ONE), r"X\.indptr has 2 values; 3 are needed for 2 rows"),
    (raw((1 << 62, 3), [0, 3], [0, 1, 2], ONE), r"X\.indptr has 2 values"),
    (raw((2, 3), [[0, 2, 3]], [0, 1, 2], ONE), r"X\.indptr must be a contiguous 1-D array"),
    (raw((-1, 3), [0], np.array([], int), np.array([], float)), "X has a negative shape"),
    (raw((2, 3, 4), [0], [], []), "got 3-D of shape"),
    (raw((3,), [0], [], []), "got 1-D of shape"),
    (raw((0, 3), [0], np.array([], np.int64), np.array([], float)), "0 sample"),
    (raw((2, 0), [0, 0, 0], np.array([], np.int64), np.array([], float)), "0 feature"),
    (raw((2, 3), [0, 2, 3], [0, 1, 2], [1, 2, np.nan]), r"X\[1, 2\] is nan; X must be finite"),
    (raw((2, 3), [0, 2, 3], [0, 1, 2], [1, np.inf, 3]), r"X\[0, 1\] is inf; X must be finite"),
    (raw((2, 3), [0, 2, 3], [0, 1, 2], [1, 1e300, 3]), r"X\[0, 1\] is 1e\+300, beyond the largest float32"),
    (raw((2, 3), [0, 2, 3], [0, 1, 2], [1j, 2, 3]), "Complex data not supported"),
])
def test_malformed_matrices_are_refused(matrix: Any, words: str) -> None:
    for call in (Autoencoder((2,), epochs=1).fit, Autoencoder((2,)).partial_fit,
                 Autoencoder((2,), random_state=0).initialize(3).encode,
                 Autoencoder((2,), random_state=0).initialize(3).score):
        with pytest.raises(ValueError, match=words):
            call(matrix)


def test_types_that_are_refused(x: NDArray) -> None:
    with pytest.raises(TypeError, match="X has dtype object; it must hold numbers"):
        fitted(raw((1, 2), [0, 1], [0], np.array(["a"], object)))
    with pytest.raises(TypeError, match=r"X\.indptr has dtype float64; it must hold integers"):
        fitted(raw((1, 2), [0.0, 1.0], [0], [1.0]))
    with pytest.raises(TypeError, match="sparse"):
        fitted(x, sample_weight=csr(x))
    with pytest.raises(TypeError, match=r"x is sparse; isthmus\.kernels takes dense arrays"):
        kernels.dense_forward(csr(x), np.ones((2, 19), np.float32), np.ones(2, np.float32))


def test_values_outside_of_bce_are_named_as_they_were_given() -> None:
    matrix = raw((2, 3), [0, 2, 4], [2, 0, 1, 1], [0.5, 1.0, 0.75, 0.5])
    with pytest.raises(ValueError, match=r'X\[1, 1\] is 1.25; loss="bce" needs values in \[0, 1\]'):
        fitted(matrix, loss="bce")


def test_refused_rows_leave_the_model_as_it_was(x: NDArray) -> None:
    model = fitted(csr(x))
    before = model.to_bytes(True)
    with pytest.raises(ValueError, match="indices"):
        model.partial_fit(raw((1, 19), [0, 1], [19], [1.0]))
    assert model.to_bytes(True) == before


def test_memory_is_bounded() -> None:
    """100,000 x 20,000 are 8 GB as float32; the limit leaves 1 GB beyond what is there before."""
    package("scipy.sparse")
    out = run_python("""
import resource
import checks, numpy as np, scipy.sparse
from isthmus import Autoencoder
n, d, stored = 100_000, 20_000, 20
rng = np.random.default_rng(0)
indices = rng.integers(0, d, n * stored).astype(np.int32)
X = scipy.sparse.csr_array((rng.random(n * stored, dtype=np.float32), indices, np.arange(n + 1) * stored), shape=(n, d))
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 30),) * 2)
model = Autoencoder((4,), epochs=1, batch_size=256, random_state=0, n_threads=1, max_seconds=2.0).fit(X)
codes = model.encode(X[:3000])
assert codes.shape == (3000, 4) and np.isfinite(codes).all()
assert np.isfinite(model.reconstruction_error(X[:3000])).all()
print("done")
""")
    assert out == "done\n"
