# SPDX-License-Identifier: Apache-2.0
"""Data frames and tables: what is taken, with which bits, and what is refused by column or place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from checks import assert_same_bits, package
from isthmus import Autoencoder
from numpy.typing import NDArray

NAMES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def x() -> NDArray[np.float64]:
    return np.random.default_rng(0).integers(0, 100, (30, 3)).astype(np.float64) / 4


class StreamOnly:
    """What speaks Arrow's C stream and nothing else, as many a database's result does."""

    def __init__(self, table: Any) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.table.__arrow_c_stream__(requested_schema)


def columns(x: NDArray[Any]) -> dict[str, NDArray[Any]]:
    return dict(zip(NAMES, x.T, strict=True))


def pandas_frame(x: NDArray[Any], dtype: str | None = None) -> Any:
    frame = package("pandas").DataFrame(columns(x))
    return frame if dtype is None else frame.astype(dtype)


TAKEN: dict[str, Callable[[NDArray[Any]], Any]] = {
    "pandas": pandas_frame,
    "pandas float32": lambda x: pandas_frame(x, "float32"),
    "pandas Float64": lambda x: pandas_frame(x, "Float64"),
    "pandas Float32": lambda x: pandas_frame(x, "Float32"),
    "pandas on arrow": lambda x: (package("pyarrow"), pandas_frame(x, "double[pyarrow]"))[1],
    "pandas objects": lambda x: pandas_frame(x, "object"),
    "pandas mixed": lambda x: pandas_frame(x).astype({"a": "Float64", "b": "float32"}),
    "pandas sparse": lambda x: pandas_frame(x).astype(package("pandas").SparseDtype("float64", 0.0)),
    "polars": lambda x: package("polars").DataFrame(columns(x)),
    "polars Float32": lambda x: package("polars").DataFrame(columns(x.astype(np.float32))),
    "arrow": lambda x: package("pyarrow").table(columns(x)),
    "arrow in chunks": lambda x: package("pyarrow").concat_tables(
        [package("pyarrow").table(columns(x[:7])), package("pyarrow").table(columns(x[7:]))]),
    "arrow batch": lambda x: package("pyarrow").record_batch(columns(x)),
    "arrow stream": lambda x: StreamOnly(package("pyarrow").table(columns(x))),
}


@pytest.mark.parametrize("kind", TAKEN)
@pytest.mark.parametrize("scaling", [None, "standard"])
def test_tables_are_taken(kind: str, scaling: str | None, x: NDArray[np.float64]) -> None:
    model = Autoencoder((2,), epochs=2, random_state=0, scaling=scaling).fit(x)
    table = TAKEN[kind](x)
    same = Autoencoder((2,), epochs=2, random_state=0, scaling=scaling).fit(table, validation_data=table)
    if kind != "arrow stream":
        assert same.feature_names_in_.tolist() == NAMES
    assert_same_bits(np.asarray(same.transform(table)), model.transform(x))
    assert_same_bits(same.score_samples(table), model.score_samples(x))
    assert_same_bits(same.partial_fit(table).reconstruct(table), model.partial_fit(x).reconstruct(x))


@pytest.mark.parametrize("dtype", ["Int64", "UInt8", "boolean", "int64[pyarrow]", "bool[pyarrow]"])
def test_nullable_integers(dtype: str) -> None:
    package("pyarrow")
    x = np.random.default_rng(0).integers(0, 2, (20, 3))
    expected = Autoencoder((2,), epochs=1, random_state=0).fit(x).transform(x)
    frame = pandas_frame(x, dtype)
    assert_same_bits(Autoencoder((2,), epochs=1, random_state=0).fit(frame).transform(frame), expected)


def with_column(frame: str, values: Any) -> Any:
    """Numbers in column a, `values` in column b."""
    if frame == "arrow":
        return package("pyarrow").table({"a": list(range(len(values))), "b": values})
    return package(frame).DataFrame({"a": range(len(values)), "b": values})


def dates(frame: str) -> Any:
    days = np.arange(4).astype("datetime64[D]").astype("datetime64[ms]")
    return package("pyarrow").array(days) if frame == "arrow" else days


@pytest.mark.parametrize("frame", ["pandas", "polars", "arrow"])
def test_columns_without_numbers_are_named(frame: str) -> None:
    model = Autoencoder((1,), epochs=1)
    for values in (dates(frame), ["x", "y", "x", "y"], [b"x"] * 4):
        with pytest.raises((TypeError, ValueError), match=r"X\[(:|0), 1\]"):
            model.fit(with_column(frame, values))
    with pytest.raises(TypeError, match=r"validation_data\[:, 1\], column 'b', has dtype"):
        model.fit(np.ones((4, 2)), validation_data=with_column(frame, dates(frame)))


def test_categories_are_refused() -> None:
    pandas, polars, pyarrow = package("pandas"), package("polars"), package("pyarrow")
    for table in (with_column("pandas", pandas.Categorical([1, 2, 1, 2])),
                  with_column("polars", polars.Series(["x", "y", "x", "y"], dtype=polars.Categorical)),
                  with_column("arrow", pyarrow.array(["x", "y", "x", "y"]).dictionary_encode())):
        with pytest.raises(TypeError, match=r"X\[:, 1\], column 'b', has dtype"):
            Autoencoder((1,)).fit(table)


@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize("frame", ["pandas", "polars", "arrow", "Int64", "object", "double[pyarrow]"])
@pytest.mark.parametrize("value", [None, float("nan")])
def test_missing_values_are_refused_by_place(frame: str, value: Any) -> None:
    values = [1.0, 2.0, value, 4.0]
    if frame in ("pandas", "polars", "arrow"):
        table = with_column(frame, values)
    else:
        package("pyarrow")
        table = with_column("pandas", package("pandas").Series(values).astype(frame))
    model = Autoencoder((1,), epochs=1, random_state=0).fit(np.ones((4, 2)))
    for call in (model.fit, model.partial_fit, model.encode, model.score_samples, model.score, model.reconstruct):
        with pytest.raises((ValueError, TypeError), match=r"X\[2, 1\] is"):
            call(table)


def test_a_lazy_frame_is_to_be_collected() -> None:
    lazy = package("polars").LazyFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    with pytest.raises(TypeError, match=r"X is a polars LazyFrame; pass X.collect\(\)"):
        Autoencoder((1,)).fit(lazy)


@pytest.mark.parametrize("container", ["pandas", "polars", "default"])
def test_set_output(container: str, x: NDArray[np.float64]) -> None:
    model = Autoencoder((2,), epochs=1, random_state=0).set_output(transform=container)
    plain = Autoencoder((2,), epochs=1, random_state=0).fit_transform(x)
    for table in (x, pandas_frame(x), package("polars").DataFrame(columns(x)), package("pyarrow").table(columns(x))):
        out = model.fit_transform(table)
        if container == "default":
            assert type(out) is np.ndarray
        else:
            assert isinstance(out, package(container).DataFrame)
            assert list(out.columns) == ["autoencoder0", "autoencoder1"]
        assert_same_bits(np.ascontiguousarray(out), plain)
