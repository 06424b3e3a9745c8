# SPDX-License-Identifier: Apache-2.0
"""Bad input: a ValueError or TypeError that names the argument, the value and what is allowed, and where; the model's
weights bit-identical before and after; the input untouched; and the next valid call works.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from checks import DEVICE, assert_same_bits, bits, run_python
from isthmus import Autoencoder
from numpy.typing import NDArray

NAN, INF = float("nan"), float("inf")
BAD = (ValueError, TypeError)


def good(n: int = 40, d: int = 37) -> NDArray[np.float32]:
    return np.random.default_rng(0).random((n, d)).astype(np.float32)


@pytest.fixture
def model() -> Iterator[Autoencoder]:
    """A fitted model, which after the test still does what it did."""
    fitted = Autoencoder((4,), epochs=1, random_state=0).fit(good())
    parameters = fitted.get_params()
    yield fitted
    assert fitted.set_params(**parameters).fit(good()).encode(good()).shape == (40, 4)


def refuses(model: Autoencoder, call: Callable[[], Any], *words: str, errors: Any = BAD) -> str:
    """`call` raises an error whose message has all words, and leaves the model as it was."""
    weights, history = bits(model), repr(model.history_)
    with pytest.raises(errors) as caught:
        call()
    message = str(caught.value)
    for word in words:
        assert re.search(word, message), f"no {word!r} in: {message}"
    assert bits(model) == weights and repr(model.history_) == history
    return message


# ---- constructor parameters -----------------------------------------------------------------------------------------

# For each parameter values that are refused, next to those of its family.
NOT_A_NUMBER = ["3", "", [1], {}, object(), 1j, NAN, INF, -INF]
NOT_AN_INTEGER = [*NOT_A_NUMBER, True, False, 1.5, 2**63, 2**64, -(2**63) - 1, -1, np.float64(2.0), np.bool_(True)]
NOT_A_BOOL = [0, 1, 1.0, "True", None, [], NAN]
NOT_A_NAME = ["", "Relu", "relu ", "nope", 1, True, 1.5, ["relu"], NAN]
WIDTHS = [3, "32", True, (0,), (-1,), (1.5,), ("3",), (True,), (None,), ((3,),), (NAN,), (2**63,), {4: 1},
          np.ones((2, 2))]

PARAMETERS: dict[str, list[Any]] = {
    "encoder_layers": [*WIDTHS, (), []],  # there must be a code
    "decoder_layers": WIDTHS,
    "activation": [*NOT_A_NAME, None],
    "code_activation": [*NOT_A_NAME, None],
    "output_activation": NOT_A_NAME,
    "loss": [*NOT_A_NAME, None, "relu"],
    "optimizer": [*NOT_A_NAME, None, "SGD"],
    "learning_rate": [*NOT_A_NUMBER, None, True, 0, 0.0, -1e-3, 2**2000],
    "beta_1": [*NOT_A_NUMBER, None, True, -0.1, 1.0, 1.5],
    "beta_2": [*NOT_A_NUMBER, None, True, -0.1, 1.0, 1.5],
    "epsilon": [*NOT_A_NUMBER, None, True, 0, 0.0, -1e-8],
    "momentum": [*NOT_A_NUMBER, None, True, -0.1, 1.0],
    "weight_decay": [*NOT_A_NUMBER, True, -0.01],
    "learning_rate_schedule": [*NOT_A_NAME, "step"],
    "clip_norm": [*NOT_A_NUMBER, True, 0, -1.0],
    "input_noise": [*NOT_A_NUMBER, None, True, -0.1],
    "input_noise_kind": [*NOT_A_NAME, None],
    "code_l1": [*NOT_A_NUMBER, None, True, -0.1],
    "code_topk": [*NOT_AN_INTEGER, 0],
    "tied_weights": NOT_A_BOOL,
    "scaling": [*NOT_A_NAME, "robust"],
    "missing": [*NOT_A_NAME, None, "ignore"],
    "batch_size": [*NOT_AN_INTEGER, None, 0],
    "epochs": [*NOT_AN_INTEGER, None, 0],
    "shuffle": NOT_A_BOOL,
    "validation_fraction": [*NOT_A_NUMBER, None, True, -0.1, 1.0, 2],
    "patience": [*NOT_AN_INTEGER, 0],
    "min_delta": [*NOT_A_NUMBER, None, True, -0.1],
    "restore_best": NOT_A_BOOL,
    "max_seconds": [*NOT_A_NUMBER, True, False, 0, 0.0, -1],
    "max_memory": ["", "GB", "2XB", "-2GB", "1e9", "2 GB 3", "0GB", {}, 1j, NAN, INF, True, 1.5, 0, -1, 2**63],
    "device": ["gpu", "", "cuda:", "cuda:-1", "cuda:x", 0, None, True],
    "precision": ["float64", "", None, 32, *(["tf32"] if DEVICE == "cpu" else [])],  # a GPU computes in it
    "n_threads": [*NOT_AN_INTEGER, 0],
    "random_state": [*NOT_A_NUMBER, True, False, 1.5, -1, 2**64, np.float64(2.0), np.bool_(True)],
    "warm_start": NOT_A_BOOL,
    "verbose": [*NOT_A_NUMBER, None, True, -1, 1.5, 3],
}


def bad_parameters() -> Iterator[Any]:
    for name, values in PARAMETERS.items():
        for value in values:
            text = "object" if type(value) is object else repr(value)
            yield pytest.param(name, value, id=f"{name}={text[:20]}")


def test_every_parameter_is_listed() -> None:
    assert set(PARAMETERS) == set(Autoencoder().get_params())


@pytest.mark.parametrize("name,value", list(bad_parameters()))
def test_bad_parameters(model: Autoencoder, name: str, value: Any) -> None:
    kept, before, history = model.get_params(), bits(model), repr(model.history_)
    # What the device cannot do is a RuntimeError, whatever is no device or precision at all is not.
    errors = (*BAD, RuntimeError) if name in ("device", "precision") else BAD
    for call in (model.fit, model.partial_fit, lambda x: model.set_params(warm_start=True).fit(x)):
        model.set_params(**{**kept, name: value})  # stored as it is; fit looks at it
        with pytest.raises(errors, match=name) as caught:
            call(good())
        if type(value) in (str, bool, int, float) and len(repr(value)) < 30:
            assert repr(value).strip("'") in str(caught.value)
        assert "must be" in str(caught.value) or errors is not BAD
        model.set_params(**kept)
        assert bits(model) == before
        assert repr(model.history_) == history
        if name == "warm_start":
            break
    assert np.isfinite(model.fit(good()).loss_)


@pytest.mark.parametrize("parameters,words", [
    ({"loss": "bce", "output_activation": "linear"}, ["output_activation", "bce", "linear"]),
    ({"loss": "bce", "output_activation": "tanh"}, ["output_activation", "bce", "tanh"]),
    ({"input_noise": 1.5, "input_noise_kind": "mask"}, ["input_noise", "1.5", "mask"]),
], ids=str)
def test_parameters_that_do_not_go_together(model: Autoencoder, parameters: dict[str, Any], words: list[str]) -> None:
    model.set_params(**parameters)
    refuses(model, lambda: model.fit(good()), *words)


ABSURD = """
import resource, sys
import numpy as np
from checks import bits
from isthmus import Autoencoder

# Whoever tries is stopped here, and not by a machine without memory.
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
x = np.random.default_rng(0).random((40, 37)).astype(np.float32)
model = Autoencoder((4,), epochs=1, random_state=0, n_threads=2).fit(x)
before = bits(model)
for widths in [(2**40, 3), (3, 2**40, 2), (2**31, 2**31), (2**62, 2**62), (1, 2**63 - 1), (10**9,), (10**5, 10**5)]:
    for decoder in (None, ()):
        model.set_params(encoder_layers=widths, decoder_layers=decoder)
        try:
            model.fit(x)
        except (MemoryError, ValueError) as error:
            assert "bytes" in str(error) and "encoder_layers" in str(error), (widths, str(error))
        else:
            sys.exit(f"{widths} was trained")
        model.set_params(encoder_layers=(4,), decoder_layers=None)
        assert bits(model) == before
assert bits(model.fit(x)) == before
"""


def test_absurd_widths_name_the_bytes() -> None:
    pytest.importorskip("resource")
    run_python(ABSURD, timeout=30)


@pytest.mark.parametrize("name", ["n_epochs", "hidden", "tied_weight", "lr", "Loss"])
def test_unknown_parameters(name: str, model: Autoencoder) -> None:
    with pytest.raises(TypeError, match=re.escape(name)):
        Autoencoder(**{name: 1})
    refuses(model, lambda: model.set_params(**{name: 1}), re.escape(name))


@pytest.mark.parametrize("value", [1, np.int64(3), np.uint8(3), np.int32(3), 10**6], ids=repr)
def test_integers_of_any_type_are_integers(value: Any) -> None:
    Autoencoder((np.int16(3),), epochs=np.int64(1), batch_size=value, random_state=np.uint64(2**63)).fit(good())
    Autoencoder(np.array([3, 2]), epochs=1).fit(good())
    Autoencoder([3, 2], learning_rate=np.float32(1e-3), epochs=1).fit(good())


# ---- arrays ---------------------------------------------------------------------------------------------------------


def with_value(value: float, row: int, column: int, dtype: str = "float32") -> NDArray[Any]:
    x = good().astype(dtype)
    x[row, column] = value
    return x


def methods(model: Autoencoder) -> dict[str, Callable[[Any], Any]]:
    return {
        "fit": model.fit, "warm fit": lambda x: model.set_params(warm_start=True).fit(x),
        "partial_fit": model.partial_fit, "encode": model.encode, "transform": model.transform,
        "reconstruct": model.reconstruct, "reconstruction_error": model.reconstruction_error,
        "score": model.score, "score_samples": model.score_samples,
        "gradients": model.gradients, "validation_data": lambda x: model.fit(good(), validation_data=x),
    }


# NaN or infinity anywhere, the tail behind the last whole vector included; a float64 that is too large for float32.
@pytest.mark.parametrize("value", [NAN, INF, -INF, 1e39, -1e300])
@pytest.mark.parametrize("row,column", [(0, 0), (3, 17), (39, 36), (0, 36), (39, 0), (38, 35)])
def test_values_that_are_not_finite(model: Autoencoder, value: float, row: int, column: int) -> None:
    dtype = "float64" if abs(value) in (1e39, 1e300) else "float32"
    x = with_value(value, row, column, dtype)
    before = x.copy()
    for name, call in methods(model).items():
        message = refuses(model, lambda call=call: call(x), rf"\[{row}, {column}\]", "finite|float32")
        if name == "validation_data":
            assert "validation_data" in message
    np.testing.assert_array_equal(x, before)


def test_the_first_of_several_is_named(model: Autoencoder) -> None:
    x = with_value(NAN, 5, 30)
    x[5, 33] = x[7, 2] = INF
    refuses(model, lambda: model.fit(x), r"X\[5, 30\]", "nan")
    refuses(model, lambda: model.decode(np.array([[0, 0, INF, 0]])), r"\[0, 2\]", "inf")


MASKED = np.ma.masked_array(good(), mask=good() > 0.9)
SHAPES: dict[str, tuple[Any, list[str]]] = {
    "no rows": (np.empty((0, 37), np.float32), ["X", "row|sample", "0"]),
    "no columns": (np.empty((40, 0), np.float32), ["X", "column|feature|width|0"]),
    "empty list": ([], ["X"]),
    "1-D": (np.ones(37, np.float32), ["X", "2"]),
    "3-D": (np.ones((2, 4, 37), np.float32), ["X", "2", "3"]),
    "0-D": (np.float32(1), ["X", "2"]),
    "a number": (3.0, ["X"]),
    "None": (None, ["X", "None"]),
    "a string": ("text", ["X"]),
    "strings": (np.full((40, 37), "a"), ["X"]),
    "number strings": ([["1.5"] * 37] * 3, ["X"]),
    "ragged": ([[1.0] * 37, [1.0] * 36], ["X"]),
    "objects": (np.array([[None] * 37] * 3, dtype=object), ["X"]),
    "objects of strings": (np.array([["a"] * 37] * 3, dtype=object), ["X"]),
    "complex": (good().astype(complex), ["X", "complex"]),
    "datetime": (np.zeros((40, 37), dtype="datetime64[s]"), ["X", "datetime"]),
    "timedelta": (np.zeros((40, 37), dtype="timedelta64[s]"), ["X", "timedelta"]),
    "bytes": (np.zeros((40, 37), dtype="S3"), ["X"]),
    "structured": (np.zeros((40, 37), dtype=[("a", "f4")]), ["X"]),
    "masked array": (MASKED, ["X", "[Mm]asked"]),
    "a dictionary": ({"a": [1.0]}, ["X"]),
}


@pytest.mark.parametrize("what", SHAPES)
def test_arrays_of_the_wrong_kind(model: Autoencoder, what: str) -> None:
    x, words = SHAPES[what]
    for name, call in methods(model).items():
        expected = ["validation_data" if w == "X" and name == "validation_data" else w for w in words]
        if x is None and name == "validation_data":
            continue
        refuses(model, lambda call=call: call(x), *expected)


@pytest.mark.parametrize("width", [1, 36, 38, 370])
def test_the_wrong_width(model: Autoencoder, width: int) -> None:
    x = np.ones((3, width), np.float32)
    for name, call in methods(model).items():
        if name != "fit":  # a fit from scratch takes any width
            refuses(model, lambda call=call: call(x), str(width), "37", "feature|column|width")
    code = np.ones((3, 5), np.float32)
    refuses(model, lambda: model.decode(code), "5", "4", "Z|code")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "longdouble", "int8", "int16", "int32", "int64",
                                   "uint8", "uint16", "uint32", "uint64", "bool", "object"])
def test_number_types_are_converted(model: Autoencoder, dtype: str) -> None:
    values = np.random.default_rng(0).integers(0, 2, (9, 37))
    assert_same_bits(model.encode(values.astype(dtype)), model.encode(values.astype(np.float32)))
    assert_same_bits(model.encode(values.tolist()), model.encode(values.astype(np.float32)))


# ---- other arguments ------------------------------------------------------------------------------------------------


ONES = np.ones(40)
WEIGHTS: dict[str, tuple[Any, list[str]]] = {
    "too few": (ONES[:39], ["39", "40"]), "2-D": (ONES[:, None], ["shape"]), "negative": (-ONES, ["-1", r"\[0\]"]),
    "nan": (np.where(np.arange(40) == 7, NAN, 1.0), [r"\[7\]", "nan"]), "zeros": (0 * ONES, ["0"]),
    "inf": (np.where(np.arange(40) == 7, INF, 1.0), [r"\[7\]", "inf"]), "text": (["a"] * 40, ["string"]),
    "a number": (3.0, []), "beyond float32": (1e39 * ONES, [r"\[0\]", "float32"]),
}


@pytest.mark.parametrize("what", WEIGHTS)
def test_sample_weights(model: Autoencoder, what: str) -> None:
    weight, words = WEIGHTS[what]
    refuses(model, lambda: model.fit(good(), sample_weight=weight), "sample_weight", *words)
    refuses(model, lambda: model.gradients(good(), sample_weight=weight), "sample_weight", *words)


@pytest.mark.parametrize("value", [-0.01, 1.01, 5.0, -3e38])
def test_bce_targets_outside_0_and_1(value: float) -> None:
    model = Autoencoder((4,), loss="bce", epochs=1, random_state=0).fit(good())
    x = with_value(value, 11, 36)
    for call in (model.fit, model.partial_fit, model.reconstruction_error, model.score, model.gradients):
        refuses(model, lambda call=call: call(x), r"X\[11, 36\]", r"\[0, 1\]|0 and 1", "bce")
    model.encode(x)  # no target, no bound
    model.fit(with_value(1.0 + 5e-7, 11, 36))  # rounding


@pytest.mark.parametrize("change,words", [
    (lambda w: w[:-1], ["4", "3"]), (lambda w: [*w, w[0]], ["4", "5"]), (lambda w: [w[0].T, *w[1:]], ["37"]),
    (lambda w: [w[0] * NAN, *w[1:]], ["nan"]), (lambda w: [*w[:3], w[3] * INF], ["inf|nan"]),
    (lambda w: [w[0].astype(complex), *w[1:]], []), (lambda w: None, []), (lambda w: "abcd", []),
    (lambda w: [None] * 4, []),
])
def test_set_weights(model: Autoencoder, change: Callable[[list], Any], words: list[str]) -> None:
    refuses(model, lambda: model.set_weights(change(model.get_weights())), "weight", *words)


def test_other_arguments(model: Autoencoder) -> None:
    x = good()
    refuses(model, lambda: model.fit(x, callbacks=3), "callbacks")
    refuses(model, lambda: model.fit(x, callbacks=[3]), "callbacks")
    refuses(model, lambda: model.fit(x, validation_data=(x, x, x)), "validation_data")
    refuses(model, lambda: model.fit(x, validation_data=(x, x[:3])), "validation_data")
    for n in (0, -1, 1.5, "3", True, None, 2**63):
        refuses(model, lambda n=n: model.initialize(n), "n_features")
    tiny = Autoencoder((4,), validation_fraction=0.5)
    with pytest.raises(ValueError, match="validation_fraction"):
        tiny.fit(x[:1])


@pytest.mark.parametrize("change", [
    {"encoder_layers": (5,)}, {"encoder_layers": (6, 4)}, {"decoder_layers": (6,)}, {"activation": "tanh"},
    {"code_activation": "tanh"}, {"output_activation": "tanh"}, {"loss": "mae"}, {"encoder_layers": None},
], ids=str)
def test_warm_start_with_another_network(model: Autoencoder, change: dict[str, Any]) -> None:
    ((name, value),) = change.items()
    model.set_params(warm_start=True, **change)
    for call in (model.fit, model.partial_fit):
        message = refuses(model, lambda call=call: call(good()), name)
        shown = str(value).strip("(,)").replace(", ", r",\s*")
        assert value is None or re.search(shown, message), message


def test_a_view_that_claims_16_gib(model: Autoencoder) -> None:
    """One row, repeated 2^27 times with stride 0: nothing is copied, and a bad value is found at once."""
    row = good(1)[0].copy()
    huge = np.broadcast_to(row, (2**27, 37))
    assert huge.nbytes > 16 * 2**30
    refuses(model, lambda: model.encode(huge[:, :36]), "36", "37")
    row[20] = NAN
    refuses(model, lambda: model.encode(huge), r"\[0, 20\]", "nan")
