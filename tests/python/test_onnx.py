# SPDX-License-Identifier: Apache-2.0
"""to_onnx: every activation, loss and scaling gives in onnxruntime what isthmus gives; what cannot be is refused."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import DEVICE, package, random_weights, relative_error, run_python
from isthmus import AnomalyDetector, Autoencoder, NotFittedError, _core
from numpy.typing import NDArray

TOLERANCE = 1e-5  # relative Frobenius, float32
WIDTHS = (7, 6, 3, 6, 7)


def rows(n: int = 300) -> NDArray[np.float32]:
    rng = np.random.default_rng(5)
    return rng.random((n, WIDTHS[0])).astype(np.float32)


def run(proto: Any, x: NDArray[Any], name: str = "X") -> dict[str, NDArray[Any]]:
    ort = package("onnxruntime")
    data = proto if isinstance(proto, bytes) else proto.SerializeToString()
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, {name: x}), strict=True))


def model_of(cls: type[Autoencoder], x: NDArray[Any], **parameters: Any) -> Autoencoder:
    """Trained for the scaling and the calibration; wide weights, so that every branch of an activation is taken."""
    model = cls(WIDTHS[1:3], epochs=1, random_state=0, batch_size=64, **parameters).fit(x)
    if cls is AnomalyDetector:
        return model
    wide = random_weights(np.random.default_rng(6), WIDTHS)
    return model.set_weights([2 * w for w in wide])


def check(model: Autoencoder, x: NDArray[Any], **arguments: Any) -> None:
    proto = model.to_onnx(**arguments)
    found = run(proto, x)
    assert found["code"].shape == (len(x), WIDTHS[2]) and found["reconstruction"].shape == x.shape
    expected = {"code": model.encode(x), "reconstruction": model.reconstruct(x), "error": model.reconstruction_error(x)}
    if isinstance(model, AnomalyDetector):
        expected |= {"score": model.score_samples(x), "decision": model.decision_function(x)}
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name].dtype == np.float32 and found[name].shape == values.shape
        assert relative_error(found[name], values) < TOLERANCE, (name, relative_error(found[name], values))


# bce has no targets outside [0, 1], where standard scaling takes them.
LOSSES = [(loss, scaling) for loss in _core.losses() for scaling in (None, "standard", "minmax")
          if (loss, scaling) != ("bce", "standard")]


@pytest.mark.parametrize("loss,scaling", LOSSES)
@pytest.mark.parametrize("activation", _core.activations())
def test_every_activation_loss_and_scaling(activation: str, loss: str, scaling: str | None) -> None:
    package("onnx")
    x = rows()
    output = {} if loss == "bce" else {"output_activation": activation}
    model = model_of(Autoencoder, x, activation=activation, code_activation=activation, loss=loss, scaling=scaling,
                     **output)
    beyond = 1.5 * x - 0.2 if scaling == "minmax" else x  # targets that bce clips
    check(model, beyond)


@pytest.mark.parametrize("scaling", [None, "standard", "minmax"])
@pytest.mark.parametrize("loss", ["mse", "huber", "mae"])
def test_the_detector_has_its_score_and_decision(loss: str, scaling: str | None) -> None:
    package("onnx")
    x = rows()
    check(model_of(AnomalyDetector, x, loss=loss, scaling=scaling), 2 * x - 0.5)


@pytest.mark.parametrize("scaling", [None, "standard", "minmax"])
@pytest.mark.parametrize("kind,loss", [(Autoencoder, "mse"), (Autoencoder, "huber"), (AnomalyDetector, "mae")])
def test_missing_values_are_missing_in_the_graph(kind: type[Autoencoder], loss: str, scaling: str | None) -> None:
    package("onnx")
    x = rows()
    x[np.random.default_rng(1).random(x.shape) < 0.3] = np.nan
    x[:, 0] = np.where(np.isnan(x).all(axis=1), 0.5, x[:, 0])
    model = model_of(kind, x, loss=loss, scaling=scaling, missing="mask")
    check(model, x)
    empty = np.full((1, x.shape[1]), np.nan, np.float32)
    found = run(model.to_onnx(), empty)
    assert np.isnan(found["error"]).all()
    assert relative_error(found["code"], model.encode(empty)) < TOLERANCE
    fresh = model_of(kind, rows(), loss=loss, scaling=scaling)
    assert "IsNaN" not in {node.op_type for node in fresh.to_onnx().graph.node}


def test_what_and_path_and_names(tmp_path: Path) -> None:
    onnx, pandas = package("onnx"), package("pandas")
    x = rows()
    names = [f"column {i}" for i in range(WIDTHS[0])]
    frame = pandas.DataFrame(x, columns=names)
    model = Autoencoder(WIDTHS[1:3], epochs=1, random_state=0, scaling="standard").fit(frame)
    proto = model.to_onnx(tmp_path / "model.onnx", what="code")
    assert (tmp_path / "model.onnx").read_bytes() == proto.SerializeToString()
    assert list(run((tmp_path / "model.onnx").read_bytes(), x)) == ["code"]
    assert "ReduceMean" not in {node.op_type for node in proto.graph.node}  # nothing that is not asked for
    assert len([node for node in proto.graph.node if node.op_type == "Gemm"]) == 2
    assert (proto.opset_import[0].version, proto.ir_version, proto.producer_name) == (18, 8, "isthmus")
    assert json.loads({p.key: p.value for p in proto.metadata_props}["feature_names"]) == names
    onnx.checker.check_model(str(tmp_path / "model.onnx"), full_check=True)
    assert list(run(model.to_onnx(what=["error", "code"]), x)) == ["code", "error"]
    z = model.encode(frame)
    decoded = run(model.to_onnx(what="decoder"), z, "Z")
    assert list(decoded) == ["reconstruction"]
    assert relative_error(decoded["reconstruction"], model.decode(z)) < TOLERANCE


def test_float64_input_keeps_what_float32_has_not() -> None:
    package("onnx")
    x = 1e9 + rows().astype(np.float64)
    model = model_of(Autoencoder, x, scaling="standard")
    check(model, x, dtype="float64")
    check(model, x.astype(np.float32))
    coarse = run(model.to_onnx(), x.astype(np.float32))["code"]
    assert relative_error(coarse, model.encode(x)) > 1e-2
    plain = model_of(Autoencoder, rows())
    check(plain, rows().astype(np.float64), dtype="float64")


def test_one_row_and_large_numbers() -> None:
    package("onnx")
    x = rows()
    model = model_of(Autoencoder, x, loss="bce")
    model.set_weights([100 * w for w in model.get_weights()])  # logits of thousands: a loss from p would be infinite
    check(model, x)
    one = run(model.to_onnx(), x[:1])
    assert one["error"].shape == (1,) and np.isfinite(one["error"]).all()


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    package("onnx")
    x = rows()
    with pytest.raises(NotFittedError):
        Autoencoder().to_onnx()
    model = model_of(Autoencoder, x)
    for what in ("score", ["code", "decoder"], [], "codes", ("decision",)):
        with pytest.raises(ValueError, match=r"what must be of .*'reconstruction'.*; got " + re.escape(repr(what))):
            model.to_onnx(what=what)
    with pytest.raises(ValueError, match=r"dtype must be 'float32' or 'float64'; got 'float16'"):
        model.to_onnx(dtype="float16")
    with pytest.raises(FileNotFoundError):
        model.to_onnx(tmp_path / "nowhere" / "model.onnx")
    detector = AnomalyDetector((3,)).initialize(WIDTHS[0])
    with pytest.raises(RuntimeError, match=r"not calibrated.*what="):
        detector.to_onnx()
    assert list(run(detector.to_onnx(what="reconstruction"), x)) == ["reconstruction"]


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'to_onnx needs the package onnx.*pip install "isthmus\[onnx\]"'):
        Autoencoder((2,)).initialize(4).to_onnx()


@pytest.mark.skipif(DEVICE != "cpu", reason="about imports")
def test_onnx_is_imported_when_it_is_used() -> None:
    package("onnx")
    run_python("""
import sys
from isthmus import Autoencoder
model = Autoencoder((2,)).initialize(4)
assert "onnx" not in sys.modules
model.to_onnx()
assert "onnx" in sys.modules
""")
