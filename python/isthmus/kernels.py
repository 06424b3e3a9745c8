# SPDX-License-Identifier: Apache-2.0
"""Single pieces of the computation, for people who measure or embed them.

Letters: x (n, in), weight (out, in), bias (out,); z = x @ weight.T + bias and y = activation(z), both (n, out); a
gradient is ``d`` + name. Everything is float32, but for the operands of the dense products where ``precision`` is
``"tf32"`` or ``"bfloat16"``: those are rounded to it, and summed in float32. Other input is converted as everywhere in
the package, but NaN and infinities go through.

All functions take ``device`` (None: the CPU; for a GPU the arrays go there and back), ``precision``, ``n_threads``
(None: what the machine allows; it never changes a bit) and, where they return an array, ``out``: a float32 array of the
result's shape with contiguous rows that overlaps no input. They raise ValueError, TypeError or RuntimeError that names
the argument.
"""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from isthmus import _coercion, _core
from isthmus._device import place

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Float32 = NDArray[np.float32]
    Options = tuple[str | None, str, int | None]

T = TypeVar("T")

__all__ = [
    "activation_backward",
    "activation_forward",
    "adam_step",
    "bce_loss",
    "dense_backward_input",
    "dense_backward_weight",
    "dense_forward",
    "mse_loss",
]


def dense_forward(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    activation: str = "linear",
    *,
    device: str | None = None,
    precision: str = "float32",
    n_threads: int | None = None,
    out: Float32 | None = None,
) -> Float32:
    """``activation(x @ weight.T + bias)``.

    Parameters
    ----------
    x : array-like of shape (n, in)
    weight : array-like of shape (out, in)
    bias : array-like of shape (out,) or None
    activation : str
        ``linear relu leaky_relu elu gelu silu softplus sigmoid tanh``; gelu is exact, with erf (Hendrycks and Gimpel,
        2016), leaky_relu has slope 0.01 below 0, elu alpha 1.

    Returns
    -------
    ndarray of shape (n, out)
    """
    y = _core.dense_forward(x, weight, bias, activation, out, device, precision, n_threads)
    if y is not None:
        return y
    options = _options(device, precision, n_threads)
    x, weight = _matrix(x, "x"), _matrix(weight, "weight")
    if weight.shape[1] != x.shape[1]:
        raise ValueError(f"weight must have shape (out, {x.shape[1]}) for x of shape {x.shape}; got {weight.shape}")
    bias = None if bias is None else _vector(bias, "bias", len(weight))
    out = _result(out, (len(x), len(weight)), x=x, weight=weight, bias=bias)
    _done(_core.dense_forward(x, weight, bias, activation, np.asarray(out), *options))
    return out


def dense_backward_input(
    dz: ArrayLike,
    weight: ArrayLike,
    *,
    device: str | None = None,
    precision: str = "float32",
    n_threads: int | None = None,
    out: Float32 | None = None,
) -> Float32:
    """The gradient by x: ``dz @ weight``.

    Parameters
    ----------
    dz : array-like of shape (n, out)
    weight : array-like of shape (out, in)

    Returns
    -------
    ndarray of shape (n, in)
    """
    dx = _core.dense_backward_input(dz, weight, out, device, precision, n_threads)
    if dx is not None:
        return dx
    options = _options(device, precision, n_threads)
    dz, weight = _matrix(dz, "dz"), _matrix(weight, "weight")
    if len(weight) != dz.shape[1]:
        raise ValueError(f"weight must have shape ({dz.shape[1]}, in) for dz of shape {dz.shape}; got {weight.shape}")
    out = _result(out, (len(dz), weight.shape[1]), dz=dz, weight=weight)
    _done(_core.dense_backward_input(dz, weight, np.asarray(out), *options))
    return out


def dense_backward_weight(
    x: ArrayLike,
    dz: ArrayLike,
    *,
    device: str | None = None,
    precision: str = "float32",
    n_threads: int | None = None,
    out: tuple[Float32, Float32] | None = None,
) -> tuple[Float32, Float32]:
    """The gradients by weight, ``dz.T @ x``, and by bias, ``dz.sum(axis=0)``.

    Parameters
    ----------
    x : array-like of shape (n, in)
    dz : array-like of shape (n, out)
    out : pair of ndarray, optional
        For both results.

    Returns
    -------
    dweight : ndarray of shape (out, in)
    dbias : ndarray of shape (out,)
    """
    both = _core.dense_backward_weight(x, dz, out, device, precision, n_threads)
    if both is not None:
        return both
    options = _options(device, precision, n_threads)
    x, dz = _matrix(x, "x"), _matrix(dz, "dz")
    if len(dz) != len(x):
        raise ValueError(f"dz must have {len(x)} rows, as x; got shape {dz.shape}")
    if out is not None and (not isinstance(out, tuple) or len(out) != 2):
        raise TypeError(f"out must be a pair (dweight, dbias); got {type(out).__name__}")
    given_weight, given_bias = out or (None, None)
    dweight = _result(given_weight, (dz.shape[1], x.shape[1]), "out[0]", x=x, dz=dz)
    dbias = _result(given_bias, (dz.shape[1],), "out[1]", x=x, dz=dz, dweight=dweight)
    _done(_core.dense_backward_weight(x, dz, (np.asarray(dweight), np.asarray(dbias)), *options))
    return dweight, dbias


def activation_forward(
    z: ArrayLike,
    activation: str,
    *,
    device: str | None = None,
    precision: str = "float32",
    n_threads: int | None = None,
    out: Float32 | None = None,
) -> Float32:
    """``activation(z)``, element by element; names as in `dense_forward`.

    Parameters
    ----------
    z : array-like of shape (n, out)
    activation : str

    Returns
    -------
    ndarray of shape (n, out)
    """
    y = _core.activation_forward(z, activation, out, device, precision, n_threads)
    if y is not None:
        return y
    options = _options(device, precision, n_threads)
    z = _matrix(z, "z")
    out = _result(out, z.shape, z=z)
    _done(_core.activation_forward(z, activation, np.asarray(out), *options))
    return out


def activation_backward(
    z: ArrayLike,
    dy: ArrayLike,
    activation: str,
    *,
    device: str | None = None,
    precision: str = "float32",
    n_threads: int | None = None,
    out: Float32 | None = None,
) -> Float32:
    """The gradient by z: ``dy * activation'(z)``; relu'(0) = 0.

    Parameters
    ----------
    z, dy : array-like of shape (n, out)
    activation : str

    Returns
    -------
    ndarray of shape (n, out)
    """
    dz = _core.activation_backward(z, dy, activation, out, device, precision, n_threads)
    if dz is not None:
        return dz
    options = _options(device, precision, n_threads)
    z, dy = _matrix(z, "z"), _matrix(dy, "dy")
    if dy.shape != z.shape:
        raise ValueError(f"dy must have the shape of z, {z.shape}; got {dy.shape}")
    out = _result(out, z.shape, z=z, dy=dy)
    _done(_core.activation_backward(z, dy, activation, np.asarray(out), *options))
    return out


def mse_loss(
    y: ArrayLike,
    target: ArrayLike,
    *,
    device: str | None = None,
    precision: str = "float32",
    n_threads: int | None = None,
    out: Float32 | None = None,
) -> tuple[float, Float32]:
    """The mean of ``(y - target)**2`` over all elements, and its gradient by y.

    Parameters
    ----------
    y, target : array-like of shape (n, features)

    Returns
    -------
    loss : float
    dy : ndarray of shape (n, features)
    """
    return _loss("mse", "y", y, target, (device, precision, n_threads), out)


def bce_loss(
    z: ArrayLike,
    target: ArrayLike,
    *,
    device: str | None = None,
    precision: str = "float32",
    n_threads: int | None = None,
    out: Float32 | None = None,
) -> tuple[float, Float32]:
    """The mean binary cross-entropy of sigmoid(z) over all elements, and its gradient by z.

    From the logits, as ``max(z, 0) - z * target + log1p(exp(-|z|))``, which overflows for no z; the gradient is
    ``(sigmoid(z) - target) / size``.

    Parameters
    ----------
    z, target : array-like of shape (n, features)
        The logits; what they should be, in [0, 1].

    Returns
    -------
    loss : float
    dz : ndarray of shape (n, features)
    """
    return _loss("bce", "z", z, target, (device, precision, n_threads), out)


def adam_step(
    param: Float32,
    grad: ArrayLike,
    m: Float32,
    v: Float32,
    step: int,
    *,
    learning_rate: float = 1e-3,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
    device: str | None = None,
    precision: str = "float32",
    n_threads: int | None = None,
) -> None:
    """One update of Adam (Kingma and Ba, 2015, algorithm 1), in place.

    With g the gradient, weight_decay * param added::

        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g**2
        param -= learning_rate * (m / (1 - beta_1**step)) / (sqrt(v / (1 - beta_2**step)) + epsilon)

    Parameters
    ----------
    param, m, v : ndarray
        Float32, writeable and C-contiguous, of one shape; updated.
    grad : array-like
        Of the same shape.
    step : int
        Number of this update, from 1.
    """
    rule = {
        "learning_rate": learning_rate,
        "beta_1": beta_1,
        "beta_2": beta_2,
        "epsilon": epsilon,
        "weight_decay": weight_decay,
    }
    if _core.adam_step(param, grad, m, v, step, rule, device, precision, n_threads):
        return
    options = _options(device, precision, n_threads)
    state = {"param": param, "m": m, "v": v}
    for name, array in state.items():
        _check_in_place(array, name, param)
    gradient = np.asarray(grad)
    if gradient.shape != param.shape:
        raise ValueError(f"grad must have the shape of param, {param.shape}; got {gradient.shape}")
    flat = _vector(gradient.reshape(-1), "grad", param.size)
    named = {**state, "grad": flat}
    for first, second in (("param", "m"), ("param", "v"), ("m", "v"), ("grad", "param"), ("grad", "m"), ("grad", "v")):
        if np.shares_memory(named[first], named[second]):
            raise ValueError(f"{first} must not overlap {second}")
    if isinstance(step, (bool, np.bool_)) or not hasattr(step, "__index__"):
        raise TypeError(f"step must be an integer of at least 1; got {step!r}")
    if not 1 <= index(step) < 1 << 63:
        raise ValueError(f"step must be an integer of at least 1; got {step!r}")
    plain = [np.asarray(array).reshape(-1) for array in (param, m, v)]  # memory maps are subclasses
    _done(_core.adam_step(plain[0], flat, plain[1], plain[2], index(step), rule, *options) or None)


# ---- at the door ------------------------------------------------------------------------------------------------


# The core takes what it can use as it is, at once, and returns None for the rest, without having done anything. What is
# here then converts the arguments, or says what is wrong with them, which costs microseconds, where NumPy's whole
# product of a small layer takes one.


def _options(device: str | None, precision: str, n_threads: int | None) -> Options:
    name, threads = place("cpu" if device is None else device, n_threads)
    return name, precision, threads or None


def _done(result: T | None) -> T:
    assert result is not None, "arguments that were converted are not ready"
    return result


def _matrix(array: ArrayLike, name: str) -> Float32:
    matrix = _coercion.matrix(array, name)
    if not isinstance(matrix, np.ndarray):
        what = f"on {matrix.device}" if isinstance(matrix, _core.DeviceArray) else "sparse"
        raise TypeError(f"{name} is {what}; isthmus.kernels takes dense arrays of the host")
    return _coercion.float32(matrix, name)


def _vector(array: ArrayLike, name: str, size: int) -> Float32:
    vector = np.asarray(array)
    if vector.shape != (size,):
        raise ValueError(f"{name} must have shape ({size},); got {vector.shape}")
    return np.ascontiguousarray(_matrix(vector.reshape(-1, 1), name)[:, 0])


def _result(out: Any, shape: tuple[int, ...], name: str = "out", /, **inputs: Float32 | None) -> Float32:
    """``out`` where it was given and fits, else a new array."""
    if out is None:
        return np.empty(shape, np.float32)
    if not isinstance(out, np.ndarray) or out.dtype != np.float32:
        raise TypeError(f"{name} must be a float32 array; got {getattr(out, 'dtype', type(out).__name__)}")
    if out.shape != shape:
        raise ValueError(f"{name} must have shape {shape}; got {out.shape}")
    if not out.flags.writeable:
        raise ValueError(f"{name} is read-only")
    if not out.flags.aligned or (out.shape[-1] > 1 and out.strides[-1] != out.itemsize):
        raise ValueError(f"{name} must be aligned and contiguous along its rows; got strides {out.strides}")
    if out.strides[0] == 0 and len(out) > 1:
        raise ValueError(f"{name} repeats one row in memory")
    for what, array in inputs.items():
        if array is None or (out is not array and out.flags.owndata and array.flags.owndata):
            continue  # two arrays that own their memory cannot overlap
        if np.shares_memory(out, array):
            raise ValueError(f"{name} must not overlap {what}")
    return out


def _check_in_place(array: Any, name: str, param: Any) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != np.float32:
        raise TypeError(f"{name} must be a float32 array; got {getattr(array, 'dtype', type(array).__name__)}")
    if array.shape != param.shape:
        raise ValueError(f"{name} must have the shape of param, {param.shape}; got {array.shape}")
    if not (array.flags.writeable and array.flags.c_contiguous and array.flags.aligned):
        raise ValueError(f"{name} must be writeable, aligned and C-contiguous")


def _loss(
    loss: str, name: str, y: ArrayLike, target: ArrayLike, options: Options, out: Float32 | None
) -> tuple[float, Float32]:
    both = _core.loss(loss, y, target, out, *options)
    if both is not None:
        return both
    options = _options(*options)
    y, target = _matrix(y, name), _matrix(target, "target")
    if target.shape != y.shape:
        raise ValueError(f"target must have the shape of {name}, {y.shape}; got {target.shape}")
    gradient = _result(out, y.shape, output=y, target=target)
    value, _ = _done(_core.loss(loss, y, target, np.asarray(gradient), *options))
    return value, gradient
