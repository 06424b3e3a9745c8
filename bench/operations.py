# SPDX-License-Identifier: Apache-2.0
"""The operations of ``isthmus.kernels`` on shapes taken from the cases, each with its NumPy twin and float64 reference.

The NumPy side is written as one writes it for speed: results go to arrays made beforehand. NumPy has no erf, so gelu
has no rival. Flops are counted for the products alone; bytes are each array read or written once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from cases import F32, Case, by_name
from isthmus import kernels
from numpy.typing import NDArray

DENSE_CASES = ("a", "b", "c", "d", "e", "odd widths")
ELEMENTWISE_CASES = ("b", "d")
ACTIVATIONS = ("linear", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "sigmoid", "tanh")
ADAM_STEP = 3
Outputs = tuple[Any, ...]
Array = NDArray[Any]


@dataclass(frozen=True)
class Operation:
    """One operation on one shape; ``ours`` and ``rival`` return what they computed, ``expected`` it in float64."""

    name: str
    shape: str
    flops: int
    bytes: int
    ours: Callable[[], Outputs]
    rival: Callable[[], Outputs] | None
    expected: Callable[[], Outputs]


def sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


erf: Callable[[Array], Array] = np.vectorize(math.erf, otypes=[np.float64])


def softplus(z: Array) -> Array:
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def normal(z: Array) -> Array:
    """Cumulative distribution of the normal."""
    return 0.5 * (1 + erf(z / math.sqrt(2)))


# Value and derivative at z, in z's dtype.
FORMULAS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "linear": (lambda z: z.copy(), np.ones_like),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(z.dtype)),
    "leaky_relu": (
        lambda z: np.maximum(z, z.dtype.type(0.01) * z),
        lambda z: (z > 0) * z.dtype.type(0.99) + z.dtype.type(0.01),  # four times as fast as np.where
    ),
    "elu": (
        lambda z: np.maximum(z, 0) + np.expm1(np.minimum(z, 0)),
        lambda z: np.exp(np.minimum(z, 0)),
    ),
    "gelu": (lambda z: z * normal(z), lambda z: normal(z) + z * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)),
    "silu": (lambda z: z * sigmoid(z), lambda z: (s := sigmoid(z)) * (1 + z * (1 - s))),
    "softplus": (softplus, sigmoid),
    "sigmoid": (sigmoid, lambda z: (s := sigmoid(z)) * (1 - s)),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
}


def random(rng: np.random.Generator, *shape: int) -> F32:
    return rng.standard_normal(shape, dtype=np.float32)


def dense(case: Case, threads: int) -> list[Operation]:
    """The first layer of a case, with its batch."""
    rng = np.random.default_rng(2)
    n, fan_in, fan_out = case.batch, case.widths[0], case.widths[1]
    x, w, b, dz = random(rng, n, fan_in), random(rng, fan_out, fan_in), random(rng, fan_out), random(rng, n, fan_out)
    y, dx, dw, db = np.empty_like(dz), np.empty_like(x), np.empty_like(w), np.empty_like(b)
    ones = np.ones(n, np.float32)
    shape, flops = f"({n}, {fan_in}) -> {fan_out}", 2 * n * fan_in * fan_out
    size = x.nbytes + w.nbytes + dz.nbytes
    wide = [a.astype(np.float64) for a in (x, w, dz)]

    def numpy_forward() -> Outputs:
        np.dot(x, w.T, out=y)
        np.add(y, b, out=y)
        return (np.maximum(y, 0, out=y),)

    return [
        Operation(
            "dense_forward, relu",
            shape,
            flops,
            size + b.nbytes,
            lambda: (kernels.dense_forward(x, w, b, "relu", out=y, n_threads=threads),),
            numpy_forward,
            lambda: (np.maximum(wide[0] @ wide[1].T + b, 0),),
        ),
        Operation(
            "dense_backward_input",
            shape,
            flops,
            size,
            lambda: (kernels.dense_backward_input(dz, w, out=dx, n_threads=threads),),
            lambda: (np.dot(dz, w, out=dx),),
            lambda: (wide[2] @ wide[1],),
        ),
        Operation(
            "dense_backward_weight",
            shape,
            flops,
            size + b.nbytes,
            lambda: kernels.dense_backward_weight(x, dz, out=(dw, db), n_threads=threads),
            lambda: (np.dot(dz.T, x, out=dw), np.dot(ones, dz, out=db)),
            lambda: (wide[2].T @ wide[0], wide[2].sum(axis=0)),
        ),
    ]


def numpy_activation(name: str, z: F32, y: F32) -> Callable[[], Outputs] | None:
    """The value, into y."""

    def divided(numerator: Any) -> Outputs:
        """numerator / (1 + exp(-z))"""
        np.negative(z, out=y)
        np.exp(y, out=y)
        np.add(y, 1, out=y)
        return (np.divide(numerator, y, out=y),)

    def elu() -> Outputs:
        np.minimum(z, 0, out=y)
        np.exp(y, out=y)  # twenty times as fast as expm1, and near enough
        np.subtract(y, 1, out=y)
        return (np.add(y, np.maximum(z, 0), out=y),)

    def softplus() -> Outputs:
        np.abs(z, out=y)
        np.negative(y, out=y)
        np.exp(y, out=y)
        np.add(y, 1, out=y)
        np.log(y, out=y)  # likewise, than log1p
        return (np.add(y, np.maximum(z, 0), out=y),)

    def linear() -> Outputs:
        np.copyto(y, z)
        return (y,)

    known: dict[str, Callable[[], Outputs]] = {
        "linear": linear,
        "relu": lambda: (np.maximum(z, 0, out=y),),
        "leaky_relu": lambda: (np.maximum(z, np.multiply(z, np.float32(0.01), out=y), out=y),),
        "elu": elu,
        "silu": lambda: divided(z),
        "softplus": softplus,
        "sigmoid": lambda: divided(np.float32(1)),
        "tanh": lambda: (np.tanh(z, out=y),),
    }
    return known.get(name)


def numpy_derivative(name: str, z: F32, dy: F32, dz: F32) -> Callable[[], Outputs] | None:
    """dy times the derivative at z, into dz."""
    if name == "gelu":
        return None
    derivative = FORMULAS[name][1]
    return lambda: (np.multiply(dy, derivative(z), out=dz),)


def activation(name: str, case: Case, threads: int) -> list[Operation]:
    """On the output of a case."""
    rng = np.random.default_rng(3)
    n, width = case.batch, case.widths[-1]
    z, dy = random(rng, n, width), random(rng, n, width)
    y, dz = np.empty_like(z), np.empty_like(z)
    value, derivative = FORMULAS[name]
    shape = f"({n}, {width})"
    return [
        Operation(
            f"activation_forward, {name}",
            shape,
            0,
            2 * z.nbytes,
            lambda: (kernels.activation_forward(z, name, out=y, n_threads=threads),),
            numpy_activation(name, z, y),
            lambda: (value(z.astype(np.float64)),),
        ),
        Operation(
            f"activation_backward, {name}",
            shape,
            0,
            3 * z.nbytes,
            lambda: (kernels.activation_backward(z, dy, name, out=dz, n_threads=threads),),
            numpy_derivative(name, z, dy, dz),
            lambda: (dy * derivative(z.astype(np.float64)),),
        ),
    ]


def losses(case: Case, threads: int) -> list[Operation]:
    """On the output of a case."""
    rng = np.random.default_rng(4)
    n, width = case.batch, case.widths[-1]
    z, t = random(rng, n, width), rng.random((n, width), dtype=np.float32)
    dz, q = np.empty_like(z), np.empty_like(z)
    shape, size = f"({n}, {width})", 3 * z.nbytes
    wide = z.astype(np.float64)

    def numpy_mse() -> Outputs:
        np.subtract(z, t, out=dz)
        loss = float(np.vdot(dz, dz)) / dz.size
        return loss, np.multiply(dz, np.float32(2 / dz.size), out=dz)

    def numpy_bce() -> Outputs:
        """With q = 1 + exp(-z), the loss is log q + (1 - t) z and its derivative 1 / q - t."""
        loss = float(z.sum()) - float(np.vdot(z, t))
        np.negative(z, out=q)
        np.exp(q, out=q)
        np.add(q, 1, out=q)
        np.log(q, out=dz)
        loss += float(dz.sum())
        np.reciprocal(q, out=q)
        np.subtract(q, t, out=dz)
        return loss / dz.size, np.multiply(dz, np.float32(1 / dz.size), out=dz)

    return [
        Operation(
            "mse_loss",
            shape,
            0,
            size,
            lambda: kernels.mse_loss(z, t, out=dz, n_threads=threads),
            numpy_mse,
            lambda: (np.mean((wide - t) ** 2), 2 * (wide - t) / z.size),
        ),
        Operation(
            "bce_loss",
            shape,
            0,
            size,
            lambda: kernels.bce_loss(z, t, out=dz, n_threads=threads),
            numpy_bce,
            lambda: (np.mean(softplus(wide) - wide * t), (sigmoid(wide) - t) / z.size),
        ),
    ]


def adam(case: Case, threads: int) -> Operation:
    """On the weight of the first layer of a case. Works in place: the first call of each side is the one to check."""
    rng = np.random.default_rng(5)
    size = case.widths[0] * case.widths[1]
    first = [random(rng, size), random(rng, size), random(rng, size), random(rng, size) ** 2]
    ours, rival = [a.copy() for a in first], [a.copy() for a in first]
    a, b = np.empty(size, np.float32), np.empty(size, np.float32)

    def our_step() -> Outputs:
        param, grad, m, v = ours
        kernels.adam_step(param, grad, m, v, ADAM_STEP, n_threads=threads)
        return param, m, v

    def numpy_step() -> Outputs:
        param, grad, m, v = rival
        np.multiply(m, np.float32(0.9), out=m)
        np.add(m, np.multiply(grad, np.float32(0.1), out=a), out=m)
        np.multiply(v, np.float32(0.999), out=v)
        np.multiply(grad, grad, out=a)
        np.add(v, np.multiply(a, np.float32(0.001), out=a), out=v)
        np.multiply(v, np.float32(1 / (1 - 0.999**ADAM_STEP)), out=a)
        np.add(np.sqrt(a, out=a), np.float32(1e-8), out=a)
        np.multiply(m, np.float32(1e-3 / (1 - 0.9**ADAM_STEP)), out=b)
        np.subtract(param, np.divide(b, a, out=b), out=param)
        return param, m, v

    def expected() -> Outputs:
        param, grad, m, v = (array.astype(np.float64) for array in first)
        m, v = 0.9 * m + 0.1 * grad, 0.999 * v + 0.001 * grad * grad
        step = 1e-3 * (m / (1 - 0.9**ADAM_STEP)) / (np.sqrt(v / (1 - 0.999**ADAM_STEP)) + 1e-8)
        return param - step, m, v

    return Operation("adam_step", f"({size},)", 0, 7 * 4 * size, our_step, numpy_step, expected)


def operations(threads: int) -> Iterator[Operation]:
    """One after another, so that the arrays of one are gone before those of the next are made."""
    for name in DENSE_CASES:
        yield from dense(by_name(name), threads)
    for name in ACTIVATIONS:
        yield from activation(name, by_name(ELEMENTWISE_CASES[0]), threads)
    for name in ELEMENTWISE_CASES:
        yield from losses(by_name(name), threads)
    for name in ("a", *ELEMENTWISE_CASES):
        yield adam(by_name(name), threads)
