# SPDX-License-Identifier: Apache-2.0
"""isthmus.kernels against the twin: edge sizes, poisoned memory, exact integers, layouts, every instruction set.

Sizes run over the edges of vectors and tiles: 1 to two tiles + 1. Every pair of sizes of two dimensions occurs; the
third follows from a Latin square, so that 169 cases stand for 2,197.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import TOLERANCE, assert_close, assert_same_bits, layouts
from isthmus import _core, kernels
from numpy.typing import NDArray
from twin import ACTIVATIONS, LOSSES, Rule, dense, dense_backward_input, dense_backward_weight

pytestmark = pytest.mark.every_device

F32 = NDArray[np.float32]
SIZES = (1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65)
LARGE = [
    (3, 129, 131), (128, 784, 128), (257, 129, 127), (65, 1025, 33), (1100, 33, 65), (2500, 70, 200), (2, 2049, 515),
]
KERNELS = {
    "dense_forward", "dense_backward_input", "dense_backward_weight", "activation_forward", "activation_backward",
    "mse_loss", "bce_loss", "adam_step",
}


def latin(first: int) -> Iterator[tuple[int, int, int]]:
    i = SIZES.index(first)
    for j, second in enumerate(SIZES):
        yield first, second, SIZES[(i + j) % len(SIZES)]


def poisoned(shape: tuple[int, ...]) -> tuple[F32, F32]:
    """(array, its surroundings): all NaN, the array in the middle of memory that nobody may touch."""
    guard = 64
    buffer = np.full(2 * guard + math.prod(shape), np.nan, dtype=np.float32)
    inside = buffer[guard : guard + math.prod(shape)].reshape(shape)
    return inside, buffer


def untouched_around(inside: F32, buffer: F32) -> bool:
    return bool(np.isnan(buffer[:64]).all() and np.isnan(buffer[64 + inside.size :]).all())


def surrounded(a: NDArray[Any]) -> F32:
    """A contiguous float32 copy between NaNs: a kernel that uses what lies beyond an edge gives NaN."""
    inside, _ = poisoned(a.shape)
    inside[...] = a
    return inside


def integers(rng: np.random.Generator, *shape: int) -> F32:
    return rng.integers(-8, 9, shape).astype(np.float32)


def test_every_kernel_is_tested_here() -> None:
    assert set(kernels.__all__) == KERNELS


# ---- dense: float data to tolerance, integer data exactly -----------------------------------------------------------


@pytest.mark.parametrize("n", SIZES)
def test_dense_forward(isa: str, n: int, rng: np.random.Generator) -> None:
    for n_rows, n_in, n_out in latin(n):
        what = f"({n_rows}, {n_in}) -> {n_out}"
        x, w, b = (rng.standard_normal(s).astype(np.float32) for s in ((n_rows, n_in), (n_out, n_in), (n_out,)))
        out, around = poisoned((n_rows, n_out))
        y = kernels.dense_forward(surrounded(x), surrounded(w), surrounded(b), out=out)
        assert y is out and untouched_around(out, around), what
        # Cancellation is the data's, not the kernel's: errors are relative to the sum of absolute products.
        scale = dense(abs(x.astype(float)), abs(w.astype(float)), abs(b.astype(float)))
        assert_close(y, dense(x.astype(float), w.astype(float), b.astype(float)), scale, tolerance=1e-6, what=what)

        x, w, b = integers(rng, n_rows, n_in), integers(rng, n_out, n_in), integers(rng, n_out)
        expected = dense(x.astype(float), w.astype(float), b.astype(float))
        np.testing.assert_array_equal(kernels.dense_forward(x, w, b), expected, what)


@pytest.mark.parametrize("n", SIZES)
def test_dense_backward_input(isa: str, n: int, rng: np.random.Generator) -> None:
    for n_rows, n_in, n_out in latin(n):
        what = f"({n_rows}, {n_out}) -> {n_in}"
        dz, w = rng.standard_normal((n_rows, n_out)), rng.standard_normal((n_out, n_in))
        dz, w = dz.astype(np.float32), w.astype(np.float32)
        out, around = poisoned((n_rows, n_in))
        dx = kernels.dense_backward_input(surrounded(dz), surrounded(w), out=out)
        assert dx is out and untouched_around(out, around), what
        scale = dense_backward_input(abs(dz.astype(float)), abs(w.astype(float)))
        assert_close(dx, dense_backward_input(dz.astype(float), w.astype(float)), scale, tolerance=1e-6, what=what)

        dz, w = integers(rng, n_rows, n_out), integers(rng, n_out, n_in)
        np.testing.assert_array_equal(kernels.dense_backward_input(dz, w), dz.astype(float) @ w.astype(float), what)


@pytest.mark.parametrize("n", SIZES)
def test_dense_backward_weight(isa: str, n: int, rng: np.random.Generator) -> None:
    for n_rows, n_in, n_out in latin(n):
        what = f"({n_rows}, {n_in}), ({n_rows}, {n_out})"
        x, dz = rng.standard_normal((n_rows, n_in)), rng.standard_normal((n_rows, n_out))
        x, dz = x.astype(np.float32), dz.astype(np.float32)
        dweight, around_weight = poisoned((n_out, n_in))
        dbias, around_bias = poisoned((n_out,))
        result = kernels.dense_backward_weight(surrounded(x), surrounded(dz), out=(dweight, dbias))
        assert result[0] is dweight and result[1] is dbias, what
        assert untouched_around(dweight, around_weight) and untouched_around(dbias, around_bias), what
        expected = dense_backward_weight(x.astype(float), dz.astype(float))
        scale = dense_backward_weight(abs(x.astype(float)), abs(dz.astype(float)))
        for actual, reference, size in zip(result, expected, scale, strict=True):
            assert_close(actual, reference, size, tolerance=1e-6, what=what)

        x, dz = integers(rng, n_rows, n_in), integers(rng, n_rows, n_out)
        for actual, reference in zip(kernels.dense_backward_weight(x, dz),
                                     dense_backward_weight(x.astype(float), dz.astype(float)), strict=True):
            np.testing.assert_array_equal(actual, reference, what)


@pytest.mark.parametrize("n,n_in,n_out", LARGE)
@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_dense_large(isa: str, n: int, n_in: int, n_out: int, n_threads: int, rng: np.random.Generator) -> None:
    # With integers the products are exact, so one wrong or missing term out of millions shows.
    x, w, b, dz = integers(rng, n, n_in), integers(rng, n_out, n_in), integers(rng, n_out), integers(rng, n, n_out)
    xd, wd, dzd = x.astype(float), w.astype(float), dz.astype(float)
    np.testing.assert_array_equal(kernels.dense_forward(x, w, b, n_threads=n_threads), dense(xd, wd, b.astype(float)))
    np.testing.assert_array_equal(kernels.dense_backward_input(dz, w, n_threads=n_threads), dzd @ wd)
    dweight, dbias = kernels.dense_backward_weight(x, dz, n_threads=n_threads)
    np.testing.assert_array_equal(dweight, dzd.T @ xd)
    np.testing.assert_array_equal(dbias, dzd.sum(axis=0))


@pytest.mark.parametrize("activation", _core.activations())
def test_dense_forward_with_activation(isa: str, activation: str, rng: np.random.Generator) -> None:
    for n, n_in, n_out in [(1, 1, 1), (5, 17, 33), (64, 31, 65), (33, 100, 7)]:
        x = rng.standard_normal((n, n_in)).astype(np.float32)
        w = (rng.standard_normal((n_out, n_in)) / math.sqrt(n_in)).astype(np.float32)
        b = rng.standard_normal(n_out).astype(np.float32)
        z = dense(x.astype(float), w.astype(float), b.astype(float))
        y = kernels.dense_forward(x, w, b, activation)
        assert_close(y, ACTIVATIONS[activation].forward(z), what=f"({n}, {n_in}) -> {n_out}")


def test_dense_forward_without_bias(isa: str, rng: np.random.Generator) -> None:
    x, w = integers(rng, 9, 21), integers(rng, 35, 21)
    np.testing.assert_array_equal(kernels.dense_forward(x, w, None), x @ w.T)


# ---- activations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", _core.activations())
def test_activations(isa: str, activation: str, rng: np.random.Generator) -> None:
    forward, derivative, _ = ACTIVATIONS[activation]
    for shape in [(1, 1), (3, 5), (2, 16), (7, 17), (4, 31), (33, 65)]:
        z, dy = (4 * rng.standard_normal(shape)).astype(np.float32), rng.standard_normal(shape).astype(np.float32)
        y, around = poisoned(shape)
        assert kernels.activation_forward(surrounded(z), activation, out=y) is y and untouched_around(y, around)
        assert_close(y, forward(z.astype(float)), what=f"{shape}")
        dz, around = poisoned(shape)
        result = kernels.activation_backward(surrounded(z), surrounded(dy), activation, out=dz)
        assert result is dz and untouched_around(dz, around)
        assert_close(dz, dy.astype(float) * derivative(z.astype(float)), what=f"{shape}")


@pytest.mark.parametrize("activation", _core.activations())
def test_activations_at_the_edges(isa: str, activation: str) -> None:
    """From the smallest normal number to the ends of float32: within float32 of float64, never NaN or infinite."""
    forward, derivative, _ = ACTIVATIONS[activation]
    sizes = [0, 2e-38, 1e-30, 1e-8, 1e-3, 0.5, 1, 3, 5, 8, 16, 30, 87, 88, 89, 103, 104, 1e4, 1e20, 3e38]
    z = np.concatenate([sizes, np.negative(sizes)]).astype(np.float32)[None, :]
    y = kernels.activation_forward(z, activation)
    np.testing.assert_allclose(y, forward(z.astype(float)), rtol=1e-5, atol=1e-14)
    dz = kernels.activation_backward(z, np.ones_like(z), activation)
    np.testing.assert_allclose(dz, derivative(z.astype(float)), rtol=2e-6, atol=3e-7)


@pytest.mark.parametrize("activation", _core.activations())
def test_activations_of_what_is_not_finite(isa: str, activation: str) -> None:
    """NaN goes through, in every lane; infinities have the limits of the formula."""
    for lane in range(17):
        z = np.zeros((1, 17), np.float32)
        z[0, lane] = np.nan
        y = kernels.activation_forward(z, activation)
        assert np.flatnonzero(np.isnan(y)).tolist() == [lane]
    z = np.array([[np.inf, -np.inf]], np.float32)
    limits = {"linear": -np.inf, "leaky_relu": -np.inf, "elu": -1.0, "tanh": -1.0}
    y = kernels.activation_forward(z, activation)
    assert y.tolist() == [[1.0 if activation in ("sigmoid", "tanh") else np.inf, limits.get(activation, 0.0)]]


def test_relu_is_flat_at_zero(isa: str) -> None:
    zero = np.array([[0.0, -0.0]], dtype=np.float32)
    np.testing.assert_array_equal(kernels.activation_backward(zero, np.ones_like(zero), "relu"), 0.0)


# ---- losses and Adam ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name,function", [("mse", kernels.mse_loss), ("bce", kernels.bce_loss)])
def test_losses(isa: str, name: str, function: Any, rng: np.random.Generator) -> None:
    for shape in [(1, 1), (1, 7), (3, 16), (5, 17), (33, 31), (64, 65), (300, 129)]:
        y = (3 * rng.standard_normal(shape)).astype(np.float32)
        t = rng.random(shape).astype(np.float32)
        dy, around = poisoned(shape)
        loss, result = function(surrounded(y), surrounded(t), out=dy)
        assert result is dy and untouched_around(dy, around)
        yd, td = y.astype(float), t.astype(float)
        assert isinstance(loss, float)
        assert loss == pytest.approx(LOSSES[name].value(yd, td).mean(), rel=TOLERANCE[y.dtype])
        assert_close(dy, LOSSES[name].derivative(yd, td) / y.size, what=f"{shape}")


def test_bce_of_extreme_logits(isa: str) -> None:
    z = np.array([[-1e4, -200.0, -0.0, 0.0, 200.0, 1e4]], dtype=np.float32)
    for t in (0.0, 0.25, 1.0):
        target = np.full_like(z, t)
        loss, dz = kernels.bce_loss(z, target)
        assert loss == pytest.approx(LOSSES["bce"].value(z.astype(float), target.astype(float)).mean(), rel=1e-6)
        assert_close(dz, LOSSES["bce"].derivative(z.astype(float), target.astype(float)) / z.size)


@pytest.mark.parametrize("shape", [(1,), (7,), (16,), (33,), (5, 13), (64, 65)])
@pytest.mark.parametrize("parameters", [{}, {"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-7}, {"beta_1": 0.0}], ids=str)
@pytest.mark.parametrize("size", [1.0, 1e-8])  # 1e-8: as large as the default epsilon
def test_adam_step(isa: str, shape: tuple[int, ...], parameters: dict[str, float], size: float,
                   rng: np.random.Generator) -> None:
    rule = Rule("adam", **parameters)
    param, around = poisoned(shape)
    param[...] = rng.standard_normal(shape)
    m, v = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    twin_param, twin_m, twin_v = param.astype(float), m.astype(float), v.astype(float)
    for step in range(1, 21):
        gradient = (size * rng.standard_normal(shape)).astype(np.float32)
        kernels.adam_step(param, gradient, m, v, step, learning_rate=0.01, **parameters)
        rule.update(twin_param, gradient.astype(float), twin_m, twin_v, step, 0.01)
    assert untouched_around(param, around)
    for actual, expected in ((param, twin_param), (m, twin_m), (v, twin_v)):
        assert_close(actual, expected)


# ---- any layout, any number of threads: the same bits ---------------------------------------------------------------


def test_layouts_give_the_same_bits(isa: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal((37, 45)).astype(np.float32)
    w = rng.standard_normal((29, 45)).astype(np.float32)
    b = rng.standard_normal(29).astype(np.float32)
    dz = rng.standard_normal((37, 29)).astype(np.float32)
    y = kernels.dense_forward(x, w, b, "tanh")
    dx = kernels.dense_backward_input(dz, w)
    dweight, dbias = kernels.dense_backward_weight(x, dz)
    for name in layouts(x):
        xs, ws, dzs = layouts(x)[name], layouts(w)[name], layouts(dz)[name]
        assert_same_bits(kernels.dense_forward(xs, ws, b, "tanh"), y, name)
        assert_same_bits(kernels.dense_backward_input(dzs, ws), dx, name)
        for actual, expected in zip(kernels.dense_backward_weight(xs, dzs), (dweight, dbias), strict=True):
            assert_same_bits(actual, expected, name)
        assert_same_bits(kernels.activation_backward(dzs, dzs, "gelu"), kernels.activation_backward(dz, dz, "gelu"))


@pytest.mark.cpu_only
@pytest.mark.parametrize("n_threads", [2, 3, 4, 7])
def test_threads_give_the_same_bits(isa: str, n_threads: int, rng: np.random.Generator) -> None:
    x, w = rng.standard_normal((200, 77)).astype(np.float32), rng.standard_normal((123, 77)).astype(np.float32)
    b, dz = rng.standard_normal(123).astype(np.float32), rng.standard_normal((200, 123)).astype(np.float32)

    def everything(n: int) -> list[F32]:
        loss, dy = kernels.mse_loss(dz, np.zeros_like(dz), n_threads=n)
        return [
            kernels.dense_forward(x, w, b, "gelu", n_threads=n), kernels.dense_backward_input(dz, w, n_threads=n),
            *kernels.dense_backward_weight(x, dz, n_threads=n), dy, np.asarray(loss),
        ]

    for i, (one, many) in enumerate(zip(everything(1), everything(n_threads), strict=True)):
        assert_same_bits(one, many, f"result {i}")


# ---- what the core does not take as it is ---------------------------------------------------------------------------


class Subclass(np.ndarray[Any, Any]):
    pass


def test_what_is_converted_first_gives_the_same_bits(rng: np.random.Generator) -> None:
    x, w, dz = integers(rng, 9, 6), integers(rng, 5, 6), integers(rng, 9, 5)
    b, expected = integers(rng, 5), kernels.dense_forward(x, w, None, "tanh")
    for kind in (np.float64, np.float16, np.int32, np.dtype(">f4")):
        assert_same_bits(kernels.dense_forward(x.astype(kind), w, None, "tanh"), expected)
        assert_same_bits(kernels.dense_forward(x, w.astype(kind), None, "tanh", n_threads=np.int64(2)), expected)
    for other in (x.tolist(), x.view(Subclass), np.asfortranarray(x), x[::-1][::-1]):
        assert_same_bits(kernels.dense_forward(other, w, None, "tanh"), expected)
    first, second = kernels.dense_backward_weight(x, dz)
    out = (np.empty_like(first), np.empty_like(second))
    both = kernels.dense_backward_weight(x.astype(float), dz, out=out)
    assert both[0] is out[0] and both[1] is out[1]
    assert_same_bits(both[0], first)
    assert_same_bits(both[1], second)
    assert_same_bits(kernels.dense_forward(x, w, b.tolist()), kernels.dense_forward(x, w, b))

    param, m, v = (integers(rng, 4, 3) for _ in range(3))
    v = abs(v)
    for gradient, step in ((param * 2, 3), ((param * 2).tolist(), np.int64(3))):
        p, pm, pv = param.copy(), m.copy(), v.copy()
        kernels.adam_step(p, gradient, pm, pv, step)
        if isinstance(step, int):
            updated = p, pm, pv
    for actual, reference in zip((p, pm, pv), updated, strict=True):
        assert_same_bits(actual, reference)


def test_results_go_to_a_memory_map(tmp_path: Path, rng: np.random.Generator) -> None:
    """Which is a subclass of ndarray, as others are."""
    def mapped(*shape: int) -> Any:
        return np.memmap(tmp_path / str(len(list(tmp_path.iterdir()))), np.float32, "w+", shape=shape)

    x, w, dz = integers(rng, 9, 6), integers(rng, 5, 6), integers(rng, 9, 5)
    for function, arguments, shape in (
        (kernels.dense_forward, (x, w, None), (9, 5)), (kernels.dense_backward_input, (dz, w), (9, 6)),
        (kernels.activation_forward, (x, "tanh"), (9, 6)), (kernels.activation_backward, (x, x, "tanh"), (9, 6)),
    ):
        out = mapped(*shape)
        assert function(*arguments, out=out) is out
        assert_same_bits(np.asarray(out), function(*arguments))
    both = mapped(5, 6), mapped(5)
    result = kernels.dense_backward_weight(x, dz, out=both)
    assert result[0] is both[0] and result[1] is both[1]
    assert_same_bits(np.asarray(both[0]), kernels.dense_backward_weight(x, dz)[0])
    out = mapped(9, 6)
    loss, dy = kernels.mse_loss(x, 2 * x, out=out)
    assert dy is out and loss == kernels.mse_loss(x, 2 * x)[0]
    state, plain = [mapped(5) for _ in range(3)], [np.zeros(5, np.float32) for _ in range(3)]
    for param, m, v in (state, plain):
        kernels.adam_step(param, dz[0], m, v, 1)
    for actual, reference in zip(state, plain, strict=True):
        assert_same_bits(np.asarray(actual), reference)


def test_out_may_lie_between_the_rows_of_an_input_but_not_on_them(rng: np.random.Generator) -> None:
    both = integers(rng, 9, 12)
    x, out, w = both[:, :6], both[:, 6:], integers(rng, 6, 6)
    expected = kernels.dense_forward(x.copy(), w, None)
    assert kernels.dense_forward(x, w, None, out=out) is out
    assert_same_bits(out, expected)
    for overlapping in (both[:, 5:11], both[:, :6], x[::-1]):
        before = both.copy()
        with pytest.raises(ValueError, match="out must not overlap x"):
            kernels.dense_forward(x, w, None, out=overlapping)
        assert_same_bits(both, before)
    with pytest.raises(ValueError, match="m must not overlap v"):
        kernels.adam_step(x[0].copy(), x[0], both[1, :6], both[1, 3:9], 1)
    with pytest.raises(ValueError, match="out repeats one row"):
        kernels.dense_forward(x, w, None, out=np.lib.stride_tricks.as_strided(np.empty(6, np.float32), (9, 6), (0, 4)))


# ---- what is refused ------------------------------------------------------------------------------------------------

X, W, B = np.ones((3, 4), np.float32), np.ones((5, 4), np.float32), np.ones(5, np.float32)


@pytest.mark.parametrize("call,words", [
    (lambda: kernels.dense_forward(X, W[:, :3], B), "weight"),
    (lambda: kernels.dense_forward(X, W, B[:4]), "bias"),
    (lambda: kernels.dense_forward(X[0], W, B), "x"),
    (lambda: kernels.dense_forward(X, W, B, "swish"), "activation.*swish"),
    (lambda: kernels.dense_forward(X, W, B, out=np.empty((3, 4), np.float32)), "out"),
    (lambda: kernels.dense_forward(X, W, B, out=np.empty((3, 5))), "out"),
    pytest.param(lambda: kernels.dense_forward(X, W, B, precision="tf32"), "precision", marks=pytest.mark.cpu_only),
    (lambda: kernels.dense_forward(X, W, B, precision="float16"), "precision"),
    (lambda: kernels.dense_forward(X, W, B, n_threads=0), "n_threads"),
    pytest.param(lambda: kernels.dense_forward(X, W, B, device="cuda"), "cuda", marks=pytest.mark.cpu_only),
    (lambda: kernels.dense_forward("text", W, B), "x"),
    (lambda: kernels.dense_backward_input(X, W), "weight|dz"),
    (lambda: kernels.dense_backward_weight(X, np.ones((4, 5), np.float32)), "dz"),
    (lambda: kernels.activation_backward(X, X[:2], "relu"), "dy"),
    (lambda: kernels.mse_loss(X, X[:, :2]), "target"),
    (lambda: kernels.adam_step(B.copy(), B[:3], B * 0, B * 0, 1), "grad"),
    (lambda: kernels.adam_step(B.copy(), B, B * 0, B * 0, 0), "step"),
    (lambda: kernels.adam_step([1.0], B[:1], B[:1] * 0, B[:1] * 0, 1), "param"),
])
def test_wrong_arguments_are_named(call: Any, words: str) -> None:
    with pytest.raises((ValueError, TypeError, RuntimeError), match=words):
        call()


def test_a_read_only_out_is_refused() -> None:
    out = np.zeros((3, 5), np.float32)
    out.setflags(write=False)
    with pytest.raises(ValueError, match="out"):
        kernels.dense_forward(X, W, B, out=out)
    assert not out.any()
