# SPDX-License-Identifier: Apache-2.0
"""Rows in batches: the bits of the same fit on all of them as one array, bounded memory, and what happens when a stream
is not what it was, raises, or is none.
"""

from __future__ import annotations

import array
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import DEVICE, bits, package, run_python
from isthmus import AnomalyDetector, Autoencoder, VariationalAutoencoder
from isthmus._streams import is_stream
from numpy.typing import NDArray

pytestmark = pytest.mark.every_device

N = 150


class Batches:
    """A stream of pieces of some size, with an empty one first; counts how often it is read and how often closed."""

    def __init__(self, x: Any, size: int, weights: Any = None, form: Callable[[Any], Any] = np.asarray) -> None:
        self.x, self.size, self.weights, self.form = x, size, weights, form
        self.begun = self.closed = 0

    def __iter__(self) -> Iterator[Any]:
        self.begun += 1
        try:
            if self.weights is None:
                yield self.form(self.x[:0])
            for first in range(0, len(self.x), self.size):
                rows = slice(first, first + self.size)
                piece = self.form(self.x[rows])
                yield piece if self.weights is None else (piece, None, self.weights[rows])
        finally:
            self.closed += 1


@pytest.fixture
def x(rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.random((N, 6)).astype(np.float32)


@pytest.fixture
def weights(rng: np.random.Generator) -> NDArray[np.float32]:
    return (rng.random(N) * 1e-3).astype(np.float32)


def make(kind: Any = Autoencoder, **parameters: Any) -> Any:
    defaults = {"epochs": 3, "batch_size": 16, "shuffle": False, "random_state": 0}
    return kind((5, 2), **(defaults | parameters))


def assert_same_fit(a: Any, b: Any) -> None:
    assert bits(a) == bits(b)
    assert a.n_iter_ == b.n_iter_
    assert {**a.history_, "seconds": None} == {**b.history_, "seconds": None}


# ---- the bits of an array --------------------------------------------------------------------------------------------

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "bce": {"loss": "bce"},
    "huber, sgd": {"loss": "huber", "optimizer": "sgd", "momentum": 0.9},
    "mae, adamw, cosine": {"loss": "mae", "optimizer": "adamw", "learning_rate_schedule": "cosine"},
    "noise": {"input_noise": 0.2},
    "mask, standard": {"input_noise": 0.2, "input_noise_kind": "mask", "scaling": "standard"},
    "minmax, bce": {"scaling": "minmax", "loss": "bce"},
    "tied, clipped": {"tied_weights": True, "clip_norm": 0.1},
    "variational": {"kind": VariationalAutoencoder, "loss": "bce", "learning_rate_schedule": "linear"},
    "sparse code, plateau": {"code_topk": 1, "learning_rate_schedule": "plateau"},
    "batch of all": {"batch_size": 1000},
    "shuffle says nothing": {"shuffle": True},
}


@pytest.mark.parametrize("size", [1, 7, 16, 1000])
@pytest.mark.parametrize("case", CASES)
def test_bits_are_those_of_an_array(case: str, size: int, x: NDArray[np.float32]) -> None:
    options = CASES[case]
    expected = make(**(options | {"shuffle": False})).fit(x, validation_data=x[:40])
    stream = Batches(x, size)
    for threads in (1, 2, 3) if DEVICE == "cpu" and size == 7 else (None,):
        mine = make(**options, n_threads=threads).fit(stream, validation_data=Batches(x[:40], size))
        assert_same_fit(mine, expected)
        np.testing.assert_array_equal(mine.reconstruct(x), expected.reconstruct(x))  # scaling, too
    assert stream.begun == stream.closed == (12 if DEVICE == "cpu" and size == 7 else 4)


@pytest.mark.parametrize("scaling", [None, "standard", "minmax"])
@pytest.mark.parametrize("missing", ["error", "mask"])
@pytest.mark.parametrize("weighted", [False, True])
def test_weights_missing_values_and_scaling(scaling: str | None, missing: str, weighted: bool,
                                            x: NDArray[np.float32], weights: NDArray[np.float32]) -> None:
    x = 1e3 + x.astype(np.float64)
    if missing == "mask":
        x[::7, 2] = x[40:60, 4] = np.nan
        x[33] = np.nan
    given = weights if weighted else None
    expected = make(scaling=scaling, missing=missing).fit(x, sample_weight=given, validation_data=x[:30])
    for size in (7, 64):
        mine = make(scaling=scaling, missing=missing).fit(Batches(x, size, given), validation_data=Batches(x[:30], 4))
        assert_same_fit(mine, expected)
        np.testing.assert_array_equal(mine.reconstruct(x), expected.reconstruct(x))


def test_many_rows_have_the_statistics_of_one_table(rng: np.random.Generator) -> None:
    x = 1e6 + rng.random((1500, 40))  # several blocks of statistics
    for size in (1, 300, 1499):
        mine = make(scaling="standard", epochs=1).fit(Batches(x, size))
        np.testing.assert_array_equal(mine.decode(np.zeros((1, 2), np.float32)),
                                      make(scaling="standard", epochs=1).fit(x).decode(np.zeros((1, 2), np.float32)))


def test_early_stopping_restores_the_best(x: NDArray[np.float32]) -> None:
    options = {"patience": 1, "min_delta": 0.01, "epochs": 50}
    expected = make(**options).fit(x, validation_data=x[:20])
    assert 1 < expected.n_iter_ < 50
    assert_same_fit(make(**options).fit(Batches(x, 16), validation_data=Batches(x[:20], 3)), expected)
    assert_same_fit(make(**options).fit(x, validation_data=Batches(x[:20], 3)), expected)


def test_a_stream_may_be_validated_on_arrays_with_targets(x: NDArray[np.float32]) -> None:
    pair = (x[:20], x[20:40])
    for scaling in (None, "standard"):
        assert_same_fit(make(scaling=scaling).fit(Batches(x, 16), validation_data=pair),
                        make(scaling=scaling).fit(x, validation_data=pair))


def test_warm_start_goes_on(x: NDArray[np.float32]) -> None:
    mine, theirs = make(warm_start=True, scaling="minmax"), make(warm_start=True, scaling="minmax")
    for part in (x, x[:90], x * 2):
        assert_same_fit(mine.fit(Batches(part, 7)), theirs.fit(part))


# ---- what a batch may be -------------------------------------------------------------------------------------------

def test_forms_of_a_batch(x: NDArray[np.float32], weights: NDArray[np.float32]) -> None:
    expected = bits(make().fit(x))
    forms: list[Callable[[Any], Any]] = [
        lambda p: p.tolist() or p, np.asfortranarray, lambda p: p.astype(np.float64), lambda p: (p,), lambda p: [p],
        lambda p: (p, np.zeros(len(p))), lambda p: [p, "ignored"], lambda p: (p.tolist() or p, None),
        lambda p: list(p) or p, lambda p: (p, None, None),
    ]
    for form in forms:
        assert bits(make().fit(Batches(x, 16, form=form))) == expected
    wide = Batches(x, 16, weights.astype(np.float64))
    assert bits(make().fit(wide)) == bits(make().fit(x, sample_weight=weights))


def test_functions_make_streams(x: NDArray[np.float32]) -> None:
    expected = bits(make().fit(x))

    def generate() -> Iterator[Any]:
        yield from np.array_split(x, 9)

    for source in (generate, lambda: iter([x]), lambda: [x], Batches(x, 4).__iter__):
        assert is_stream(source)
        assert bits(make().fit(source)) == expected


def test_tables(x: NDArray[np.float32]) -> None:
    expected = make().fit(x)
    pandas, pyarrow = package("pandas"), package("pyarrow")
    names = list("abcdef")
    frames = Batches(x, 7, form=lambda p: pandas.DataFrame(p, columns=names))
    mine = make().fit(frames, validation_data=frames)
    assert bits(mine) == bits(expected)
    assert list(mine.feature_names_in_) == names
    records = Batches(x, 7, form=lambda p: pyarrow.table(dict(zip(names, p.T, strict=True))).to_batches()[0])
    records.weights = np.ones(N)  # no empty table, which has no batch
    assert bits(make().fit(records)) == bits(expected)

    def renamed() -> Iterator[Any]:
        yield pandas.DataFrame(x, columns=names)
        yield pandas.DataFrame(x, columns=names[::-1])

    with pytest.raises(ValueError, match=r"batch 1 of X has the feature names \['f', .*but the first batch has \['a'"):
        make().fit(renamed)


@pytest.mark.parametrize("scaling", [None, "standard", "minmax"])
def test_sparse_batches(scaling: str | None, x: NDArray[np.float32]) -> None:
    sparse = package("scipy.sparse")
    x = np.where(x < 0.7, 0, x)
    mine = make(scaling=scaling).fit(Batches(x, 7, form=sparse.csr_matrix))
    assert_same_fit(mine, make(scaling=scaling).fit(sparse.csr_matrix(x)))


def test_data_loader(x: NDArray[np.float32]) -> None:
    torch = package("torch")
    data = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.zeros(N))
    loader = torch.utils.data.DataLoader(data, batch_size=32)
    assert is_stream(loader)
    assert bits(make().fit(loader, validation_data=loader)) == bits(make().fit(x))
    again = torch.utils.data.DataLoader(data, batch_size=32, num_workers=1, persistent_workers=True)
    assert bits(make().fit(again)) == bits(make().fit(x))  # the same iterator each time, set back
    shuffled = torch.utils.data.DataLoader(data, batch_size=32, shuffle=True)
    assert make().fit(shuffled).n_iter_ == 3  # an order of its own each time


# ---- checkpoints -----------------------------------------------------------------------------------------------------

class LeftError(Exception):
    """What a callback or a stream raises."""


@pytest.mark.parametrize("scaling", [None, "standard"])
def test_resume_from_every_epoch(scaling: str | None, x: NDArray[np.float32], tmp_path: Path) -> None:
    options = {"scaling": scaling, "input_noise": 0.1, "learning_rate_schedule": "cosine"}
    expected = make(**options).fit(x, validation_data=x[:20])
    for epoch in (1, 2):
        folder = tmp_path / f"epoch {epoch}"

        def leave(_: Any, info: dict[str, Any], last: int = epoch) -> None:
            if info["epoch"] == last:
                raise LeftError

        with pytest.raises(LeftError):
            make(**options).fit(Batches(x, 7), validation_data=Batches(x[:20], 3), callbacks=[leave], checkpoint=folder)
        other = Batches(x + np.float32(1), 7)
        with pytest.raises(ValueError, match="X has other values"):
            make(**options).resume(folder, other, validation_data=Batches(x[:20], 3))
        mine = make(**options).resume(folder, Batches(x, 11), validation_data=Batches(x[:20], 4))
        assert_same_fit(mine, expected)


@pytest.mark.parametrize(("reading", "rows", "steps"), [
    (2, 1000, 75 + 43),
    *(pytest.param(*case, marks=pytest.mark.cpu_only) for case in ((1, 100, 0), (1, 1000, 43), (2, 100, 75))),
])
def test_resume_within_an_epoch(reading: int, rows: int, steps: int, x: NDArray[np.float32], tmp_path: Path) -> None:
    """What is raised while a piece is awaited leaves the steps of the rows that were in memory together: 43 of 75."""
    wide = np.tile(x, (8, 1000))
    options = {"input_noise": 0.1, "epochs": 2}
    expected = make(**options).fit(wide)
    readings = [0]

    def failing() -> Iterator[Any]:
        readings[0] += 1
        seen = 0
        for piece in np.array_split(wide, 40):
            seen += len(piece)
            if readings[0] == reading + 1 and seen > rows:
                raise LeftError
            yield piece

    mine = make(**options)
    with pytest.raises(LeftError):
        mine.fit(failing, checkpoint=tmp_path / "run")
    assert mine._model is not None
    assert mine._model.step == steps
    assert_same_fit(make(**options).resume(tmp_path / "run", Batches(wide, 64)), expected)
    assert_same_fit(mine.resume(None, Batches(wide, 64)), expected)


# ---- what goes wrong -------------------------------------------------------------------------------------------------

def test_the_first_reading_refuses_and_changes_nothing(x: NDArray[np.float32], weights: NDArray[np.float32]) -> None:
    nan, infinite, low, high = (x.copy() for _ in range(4))
    nan[45, 3], infinite[45, 3] = np.nan, -np.inf
    low[45, 3] = -0.5
    high = high.astype(np.float64)
    high[45, 3] = 1e39
    heavy = weights.copy()
    heavy[45] = -1
    wrong: list[tuple[Any, dict[str, Any], str]] = [
        (Batches(nan, 20), {}, r"batch 3 of X\[5, 3\] is nan; batch 3 of X must be finite"),
        (Batches(nan, 20), {"scaling": "standard"}, r"batch 3 of X\[5, 3\] is nan"),
        (Batches(infinite, 20), {"missing": "mask"}, r"batch 3 of X\[5, 3\] is -inf"),
        (Batches(infinite, 20, form=lambda p: p.astype(np.float16)), {}, r"batch 3 of X\[5, 3\] is -inf"),
        (Batches(high, 20), {}, r"batch 3 of X\[5, 3\] is 1e\+39, beyond the largest float32"),
        (Batches(low, 20), {"loss": "bce"}, r"batch 3 of X\[5, 3\] is -0.5; loss=\"bce\" needs values in \[0, 1\]"),
        (Batches(x, 20, heavy), {}, r"sample_weight of batch 2 of X\[5\] is -1; weights must be finite"),
        (Batches(x, 20, weights * 0), {}, r"sample_weight of X is zero for every row"),
        (Batches(x, 20, weights[:-1]), {}, r"sample_weight of batch 7 of X must have shape \(10,\).*got \(9,\)"),
        (lambda: [x[:9], x[:, :5]], {}, r"batch 1 of X has 5 features, but the batches before it have 6"),
        (lambda: [x[:9], x[0]], {}, r"batch 1 of X must be a 2-D array"),
        (lambda: [x[:9], (x[:9], None, np.ones(9))], {}, r"batch 1 of X has sample_weight, but .* none"),
        (lambda: [(x[:9], None, np.ones(9)), x[:9]], {}, r"batch 1 of X has no sample_weight, but .* one"),
        (lambda: [(x, 1, 2, 3)], {}, r"batch 0 of X has 4 parts"),
        (lambda: iter([]), {}, "X gave no batches"),
        (lambda: [x[:0], x[:0]], {}, "X gave no rows"),
    ]
    before = make().fit(x)
    kept = bits(before)
    for source, parameters, message in wrong:
        for model in (before, make()):
            model.set_params(**({"scaling": None, "loss": "mse", "missing": "error"} | parameters))
            with pytest.raises(ValueError, match=message):
                model.fit(source)
            if isinstance(source, Batches):
                assert source.begun == source.closed
        assert bits(before) == kept
        with pytest.raises(AttributeError, match=r"fitted"):
            _ = model.n_iter_


def test_validation_streams_are_refused_by_their_name(x: NDArray[np.float32], weights: NDArray[np.float32]) -> None:
    nan = x.copy()
    nan[45, 3] = np.nan
    for source, message in (
        (Batches(nan, 20), r"batch 3 of validation_data\[5, 3\] is nan"),
        (Batches(x[:, :5], 20), "validation_data has 5 features, but Autoencoder is expecting 6"),
        (Batches(x, 20, weights), "batch 0 of validation_data has sample_weight; validation_data takes none"),
    ):
        for X in (x, Batches(x, 7)):
            model = make()
            with pytest.raises(ValueError, match=message):
                model.fit(X, validation_data=source)
            assert model._model is None


def test_an_epoch_must_give_what_the_first_reading_gave(x: NDArray[np.float32]) -> None:
    """Each reading after the first is another: the model keeps the steps of those that were as it was."""
    nan = x.copy()
    nan[149, 0] = np.nan
    for later, message in (
        (x[:140], "X gave 140 rows this time and 150 when it was first read"),
        (np.tile(x, (2, 1)), "X gave 300 rows this time and 150 when it was first read"),
        (x[:0], "X gave 0 rows this time and 150"),
        (x[:, :5], "batch 0 of X has 5 features, but the batches before it have 6"),
        (nan, r"batch 9 of X\[14, 0\] is nan"),
    ):
        for good in (1, 2):  # readings
            count = [0]

            def source(later: Any = later, good: int = good, count: list[int] = count) -> Any:
                count[0] += 1
                return np.array_split(x if count[0] <= good else later, 10)

            model = make()
            with pytest.raises(ValueError, match=message):
                model.fit(source)
            assert model.n_iter_ == good - 1
            if good == 2:
                assert bits(model) == bits(make(epochs=1).fit(x))
            assert np.isfinite(model.reconstruct(x)).all()


def test_a_validation_stream_that_changes_leaves_a_trained_model(x: NDArray[np.float32]) -> None:
    count = [0]

    def source() -> Any:
        count[0] += 1
        return [x[:20] if count[0] <= 2 else x[:10]]

    model = make()
    with pytest.raises(ValueError, match="validation_data gave 10 rows this time and 20 when it was first read"):
        model.fit(x, validation_data=source)
    assert model.n_iter_ == 1  # the second epoch's end is not reached
    assert model._model.step == 20


def test_what_a_stream_raises_comes_out(x: NDArray[np.float32]) -> None:
    for good, readings in ((0, 1), (1, 2), (2, 3)):
        stream = Batches(x, 7)

        def source(stream: Any = stream, good: int = good) -> Iterator[Any]:
            for i, piece in enumerate(stream):
                if stream.begun > good and i == 5:
                    raise LeftError("mine")
                yield piece

        model = make()
        with pytest.raises(LeftError, match="mine"):
            model.fit(source)
        assert stream.begun == stream.closed == readings
        assert (model._model is None) == (good == 0)
        if good == 2:
            assert bits(model) == bits(make(epochs=1).fit(x))


def test_a_fit_that_ends_early_closes_its_stream(x: NDArray[np.float32]) -> None:
    for arguments, parameters in (({"callbacks": [lambda *_: True]}, {}), ({}, {"max_seconds": 1e-9})):
        stream = Batches(x, 7)
        make(**parameters).fit(stream, **arguments)
        assert stream.begun == stream.closed <= 2
    stream = Batches(x, 7)
    with pytest.raises(ValueError, match="Autoencoder is expecting 6"):
        make().fit(stream, validation_data=x[:, :3])
    assert stream.begun == stream.closed == 1


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_while_a_piece_is_awaited(x: NDArray[np.float32]) -> None:
    stream = Batches(x, 7)
    never = threading.Event()

    def source() -> Iterator[Any]:
        for i, piece in enumerate(stream):
            if stream.begun == 3 and i == 4:
                os.kill(os.getpid(), signal.SIGINT)
                never.wait(60)
            yield piece

    model = make()
    with pytest.raises(KeyboardInterrupt):
        model.fit(source)
    assert bits(model) == bits(make(epochs=1).fit(x))
    assert stream.begun == stream.closed == 3


def test_divergence_goes_back_in_the_stream(x: NDArray[np.float32]) -> None:
    options = {"optimizer": "sgd", "learning_rate": 1e3, "epochs": 20, "learning_rate_schedule": "exponential"}
    expected, mine = make(**options), make(**options)
    messages = []
    for model, X in ((expected, x), (mine, Batches(x, 7))):
        with pytest.raises(ArithmeticError) as caught:
            model.fit(X)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert bits(mine) == bits(expected)


# ---- what is no stream, and who takes none ---------------------------------------------------------------------------

def test_what_is_read_once_is_refused(x: NDArray[np.float32]) -> None:
    for once in ((piece for piece in [x]), iter([x]), map(np.asarray, [x]), islice([x], 1)):
        with pytest.raises(TypeError, match=r"X is an iterator .*pass a function that makes a fresh one .*partial_fit"):
            make().fit(once)
    kept = iter(np.array_split(x, 3))
    with pytest.raises(ValueError, match=r"X\(\) gave the same iterator as before"):
        make().fit(lambda: kept)
    with pytest.raises(TypeError, match=r"X\(\) must give an iterator of batches; got int"):
        make().fit(lambda: 3)


def test_what_is_no_stream_is_what_it_was(x: NDArray[np.float32]) -> None:
    for X in (x.tolist(), tuple(x), deque(x.tolist()), range(3), "ab", b"ab", {"a": [1]}, {1, 2}, memoryview(x),
              array.array("f", [1.0]), np.float32(3), None, np.ma.masked_array(x), Autoencoder, 3):
        assert not is_stream(X), type(X)
    assert bits(make().fit(deque(x.tolist()))) == bits(make().fit(x))


def test_who_needs_rows_at_hand_says_so(x: NDArray[np.float32], weights: NDArray[np.float32]) -> None:
    for call, kind, message in (
        (lambda: AnomalyDetector((3,)).fit(Batches(x, 7)), ValueError, r"detector wants its rows at hand.*np\.memmap"),
        (lambda: make(validation_fraction=0.2).fit(Batches(x, 7)), ValueError, "pass validation_data"),
        (lambda: make().fit(Batches(x, 7), sample_weight=weights), ValueError, r"comes with its batches"),
        (lambda: make().fit_transform(Batches(x, 7)), TypeError, "encode batch by batch"),
        (lambda: make().partial_fit(Batches(x, 7)), ValueError, "fit and validation_data alone take rows in batches"),
        (lambda: make().fit(x).encode(Batches(x, 7)), ValueError, "fit and validation_data alone take rows in batches"),
        (lambda: make().fit(x, validation_data=(Batches(x, 7), x)), ValueError, r"validation_data\[0\] must be"),
    ):
        with pytest.raises(kind, match=message):
            call()
    make(validation_fraction=0.2).fit(Batches(x, 7), validation_data=x)


# ---- memory ----------------------------------------------------------------------------------------------------------

@pytest.mark.cpu_only
def test_max_memory_holds_for_streams(rng: np.random.Generator) -> None:
    piece = rng.random((500, 1000), dtype=np.float32)

    def stream() -> Iterator[Any]:
        for _ in range(20):  # 40 MB
            yield piece

    told = []
    for parameters in ({}, {"missing": "mask"}, {"batch_size": 20_000}):
        model = make(epochs=1, warm_start=True, n_threads=1, **parameters).initialize(1000)
        before = bits(model)
        with pytest.raises(MemoryError, match=r"max_memory is 1 bytes, but this fit takes \d+") as caught:
            model.set_params(max_memory=1).fit(stream)
        assert bits(model) == before
        told.append(int(str(caught.value).split("takes ")[1].split(":")[0]))
        model.set_params(max_memory=told[-1]).fit(stream)
    assert 4 * 4_194_304 < told[0] < 40_000_000
    assert told[1] > told[0] + 4 * 4_194_304
    assert told[2] > 80_000_000  # a batch has to be in memory


MEASURE = """
import resource
import numpy as np
from isthmus import Autoencoder

piece = np.random.default_rng(0).random((1000, 512))
def stream():
    for i in range(400):
        yield piece + i % 2          # 1.6 GB in all, of which 4 MB are there at a time
make = lambda: Autoencoder((2,), epochs=1, batch_size=4096, scaling="minmax", random_state=0, n_threads=1)
make().fit(piece[:10])
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = now + 500_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
try:
    np.ones(400 * 1000 * 512)
    raise SystemExit("the limit is none")
except MemoryError:
    pass
model = make().fit(stream, validation_data=stream)
print(model.n_iter_)
"""


@pytest.mark.slow
@pytest.mark.cpu_only
@pytest.mark.skipif(os.name != "posix", reason="sets RLIMIT_AS")
def test_a_stream_of_more_than_there_is() -> None:
    assert run_python(MEASURE).split() == ["1"]
