# SPDX-License-Identifier: Apache-2.0
"""precision="tf32" and "bfloat16" on the device that is tested, against the twin in float64: what they cost, what stays
the same. What the CPU's families of instructions do on their own is in test_precision.
"""

from __future__ import annotations

import numpy as np
import pytest
from checks import DEVICE, TOLERANCE_IN, assert_close, assert_same_bits, random_weights, relative_error, start_from
from isthmus import Autoencoder, DivergenceError, _core, kernels
from isthmus._cli.demo import load_digits
from numpy.typing import NDArray
from twin import Network, dense, dense_backward_input, dense_backward_weight

PRECISIONS = ["tf32", "bfloat16"] if DEVICE != "cpu" else ["bfloat16"] if _core.bfloat16_families() else []
pytestmark = [pytest.mark.every_device,
              pytest.mark.skipif(not PRECISIONS, reason="this machine computes in float32 alone")]
every_precision = pytest.mark.parametrize("precision", PRECISIONS or ["bfloat16"])

F32 = NDArray[np.float32]


@every_precision
@pytest.mark.parametrize("n,n_in,n_out", [(1, 1, 1), (7, 33, 65), (64, 64, 64), (200, 77, 123), (1100, 40, 9)])
def test_kernels_are_within_the_precision(precision: str, n: int, n_in: int, n_out: int,
                                          rng: np.random.Generator) -> None:
    x, w, b, dz = (rng.standard_normal(shape).astype(np.float32)
                   for shape in ((n, n_in), (n_out, n_in), (n_out,), (n, n_out)))
    xd, wd, bd, dzd = (a.astype(np.float64) for a in (x, w, b, dz))
    tolerance = TOLERANCE_IN[precision]
    dw, db = kernels.dense_backward_weight(x, dz, precision=precision)
    dwd, dbd = dense_backward_weight(xd, dzd)
    assert_close(kernels.dense_forward(x, w, b, precision=precision), dense(xd, wd, bd), tolerance=tolerance)
    assert_close(kernels.dense_backward_input(dz, w, precision=precision), dense_backward_input(dzd, wd),
                 tolerance=tolerance)
    assert_close(dw, dwd, tolerance=tolerance)
    assert_close(db, dbd, scale=abs(dzd).sum(axis=0), tolerance=tolerance)


@every_precision
@pytest.mark.parametrize("activation", ["gelu", "silu", "tanh", "elu"])  # with a derivative that does not jump
def test_gradients_are_within_the_precision(precision: str, activation: str, rng: np.random.Generator) -> None:
    weights = random_weights(rng, (21, 16, 5, 16, 21))
    x = rng.standard_normal((50, 21)).astype(np.float32)
    twin = Network(weights, [activation, activation, activation, "linear"], "mse").gradients(x)
    model, exact = (start_from(Autoencoder((16, 5), activation=activation, code_activation=activation, precision=p),
                               weights).gradients(x) for p in (precision, "float32"))
    flat, flat_twin, flat_exact = (np.concatenate([g.ravel() for g in gs]) for gs in (model, twin, exact))
    assert_close(flat, flat_twin, tolerance=TOLERANCE_IN[precision])
    assert relative_error(flat, flat_exact) > 1e-5  # something was rounded


@every_precision
def test_digits_train_as_in_float32(precision: str) -> None:
    x, x_test, _ = load_digits()

    def fit(p: str) -> Autoencoder:
        return Autoencoder((16,), loss="bce", epochs=3, batch_size=64, random_state=0, precision=p).fit(x[:640])

    exact, model = fit("float32"), fit(precision)
    assert model.loss_ != exact.loss_
    assert model.loss_ == pytest.approx(exact.loss_, rel=5e-3)
    loaded = Autoencoder.from_bytes(model.to_bytes())
    assert loaded.precision == precision
    assert_same_bits(model.reconstruct(x_test[:50]), loaded.reconstruct(x_test[:50]), "a loaded model")
    assert_same_bits(model.reconstruct(x_test[:50])[7:8], model.reconstruct(x_test[7:8]), "one row")
    errors = model.reconstruction_error(x_test[:50])
    assert_same_bits(errors[7:8], model.reconstruction_error(x_test[7:8]), "one row's error")
    for a, b in zip(model.get_weights(), fit(precision).get_weights(), strict=True):
        assert_same_bits(a, b, "two runs")


@every_precision
def test_divergence_is_seen(precision: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal((40, 6)).astype(np.float32)
    x[30] = 3e38
    model = Autoencoder((3,), epochs=1, batch_size=8, shuffle=False, precision=precision)
    with pytest.raises(DivergenceError):
        model.fit(x)
    assert all(np.isfinite(w).all() for w in model.get_weights())
