# SPDX-License-Identifier: Apache-2.0
"""model.gradients against the twin and against central finite differences, for every activation x loss.

The two references are independent: the twin's gradient is derived by hand, the differences only need its loss. A test
at the end plants errors in the gradient and requires that each is caught.
"""

from __future__ import annotations

import numpy as np
import pytest
from checks import assert_close, random_weights, relative_error, start_from
from isthmus import Autoencoder, _core
from numpy.typing import NDArray
from twin import ACTIVATIONS, LOSSES, Activation, Network, default_output, finite_differences

pytestmark = pytest.mark.every_device

# Float32 gradients against float64 ones; central differences are good to about 1e-9 here, so that the same bound holds.
TOLERANCE = 1e-5

WIDTHS = (7, 9, 3, 9, 7)
PAIRS = [(a, loss) for a in _core.activations() for loss in _core.losses()]


def case(activation: str, loss: str, rng: np.random.Generator, n: int = 13) -> tuple[Autoencoder, Network, NDArray]:
    weights = random_weights(rng, WIDTHS)
    output = default_output(loss)
    model = start_from(
        Autoencoder(WIDTHS[1:3], activation=activation, code_activation=activation, loss=loss, n_threads=2), weights
    )
    network = Network(weights, [activation, activation, activation, output], loss)
    # Targets of bce are probabilities; for the others some errors lie beyond huber's delta.
    x = rng.random((n, WIDTHS[0])) if loss == "bce" else 1.5 * rng.standard_normal((n, WIDTHS[0]))
    return model, network, x.astype(np.float32)


@pytest.mark.parametrize("activation,loss", PAIRS)
def test_gradients(activation: str, loss: str, rng: np.random.Generator) -> None:
    model, network, x = case(activation, loss, rng)
    gradients = model.gradients(x)
    twin = network.gradients(x)
    differences = finite_differences(network, x)
    assert len(gradients) == len(network.weights)
    for i, gradient in enumerate(gradients):
        assert gradient.dtype == np.float32
        assert_close(gradient, twin[i], tolerance=TOLERANCE, what=f"parameter {i} against the twin")
        assert_close(gradient, differences[i], tolerance=TOLERANCE, what=f"parameter {i} against differences")


@pytest.mark.parametrize("output", [a for a in sorted(ACTIVATIONS) if a != "linear"])
@pytest.mark.parametrize("loss", [loss for loss in sorted(LOSSES) if loss != "bce"])
def test_gradients_through_the_output_activation(output: str, loss: str, rng: np.random.Generator) -> None:
    weights = random_weights(rng, (5, 4, 5))
    model = start_from(Autoencoder((4,), code_activation="tanh", output_activation=output, loss=loss), weights)
    network = Network(weights, ["tanh", output], loss)
    x = rng.standard_normal((11, 5)).astype(np.float32)
    for i, (gradient, twin) in enumerate(zip(model.gradients(x), network.gradients(x), strict=True)):
        assert_close(gradient, twin, tolerance=TOLERANCE, what=f"parameter {i}")


@pytest.mark.parametrize("loss", _core.losses())
def test_gradients_with_sample_weights(loss: str, rng: np.random.Generator) -> None:
    model, network, x = case("silu", loss, rng)
    w = rng.random(len(x)).astype(np.float32)
    w[::4] = 0.0
    gradients = model.gradients(x, sample_weight=w)
    for i, (gradient, twin) in enumerate(zip(gradients, network.gradients(x, sample_weight=w), strict=True)):
        assert_close(gradient, twin, tolerance=TOLERANCE, what=f"parameter {i}")
    # The scale of the weights does not matter, over what float32 can hold.
    for factor in (1e-25, 1e25):
        for gradient, other in zip(gradients, model.gradients(x, sample_weight=w * np.float32(factor)), strict=True):
            assert_close(other, gradient, tolerance=TOLERANCE, what=f"weights times {factor}")
    # Rows of weight 0 count for nothing, in the numerator as in the denominator.
    kept = model.gradients(x[w > 0], sample_weight=w[w > 0])
    for gradient, other in zip(gradients, kept, strict=True):
        assert_close(gradient, other, tolerance=TOLERANCE)


def test_gradients_of_many_rows(rng: np.random.Generator) -> None:
    """More rows than are worked on at a time."""
    model, network, x = case("tanh", "mse", rng, n=10_007)
    for i, (gradient, twin) in enumerate(zip(model.gradients(x), network.gradients(x), strict=True)):
        assert_close(gradient, twin, tolerance=TOLERANCE, what=f"parameter {i}")


def test_gradients_leave_the_model_as_it_was(rng: np.random.Generator) -> None:
    model, _, x = case("relu", "mse", rng)
    before = [w.copy() for w in model.get_weights()]
    model.gradients(x)
    for a, b in zip(before, model.get_weights(), strict=True):
        assert a.tobytes() == b.tobytes()


# ---- negative controls: these tests must be able to fail -------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"linear"}))
def test_a_sign_error_in_one_derivative_is_caught(name: str, rng: np.random.Generator,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    model, network, x = case(name, "mse", rng)
    forward, derivative, smooth = ACTIVATIONS[name]
    monkeypatch.setitem(ACTIVATIONS, name, Activation(forward, lambda z: -derivative(z), smooth))
    wrong = network.gradients(x)
    differences = finite_differences(network, x)
    # Both comparisons notice: the package with the wrong gradient, and the wrong gradient with the differences.
    assert relative_error(model.gradients(x)[0], wrong[0]) > 1000 * TOLERANCE
    assert relative_error(wrong[0], differences[0]) > 1000 * TOLERANCE


def test_a_sign_error_in_a_single_element_is_caught(rng: np.random.Generator) -> None:
    model, network, x = case("tanh", "mse", rng)
    expected = network.gradients(x)[2]
    smallest = np.unravel_index(np.argmin(np.abs(expected) + (np.abs(expected) < 1e-4)), expected.shape)
    wrong = model.gradients(x)[2].astype(np.float64)
    wrong[smallest] *= -1
    assert relative_error(wrong, expected) > TOLERANCE
