# SPDX-License-Identifier: Apache-2.0
"""to_torch and from_torch: the same bits of weights, the same function, and clear words for what no model is."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import assert_same_bits, bits, random_weights, relative_error, run_python
from isthmus import AnomalyDetector, Autoencoder, NotFittedError, _core
from numpy.typing import NDArray

TOLERANCE = 1e-5  # relative Frobenius, float32
WIDTHS = (7, 6, 3, 6, 7)


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture
def x() -> NDArray[np.float32]:
    return np.random.default_rng(5).random((200, WIDTHS[0])).astype(np.float32)


def model_of(x: NDArray[Any], **parameters: Any) -> Autoencoder:
    model = Autoencoder(WIDTHS[1:3], epochs=1, random_state=0, **parameters).fit(x)
    return model.set_weights([2 * w for w in random_weights(np.random.default_rng(6), WIDTHS)])


def output_of(torch: Any, module: Any, x: NDArray[Any]) -> NDArray[Any]:
    with torch.no_grad():
        return np.asarray(module(torch.from_numpy(x)).numpy())


@pytest.mark.parametrize("scaling", [None, "standard", "minmax"])
@pytest.mark.parametrize("activation", _core.activations())
def test_there_and_back(torch: Any, x: NDArray[np.float32], activation: str, scaling: str | None) -> None:
    model = model_of(x, activation=activation, code_activation=activation, output_activation=activation,
                     scaling=scaling)
    module = model.to_torch()
    weights = [w.detach().numpy() for w in module.parameters()]
    assert [w.tobytes() for w in weights] == [w.tobytes() for w in model.get_weights()]
    assert not module.training and isinstance(module, torch.nn.Sequential)
    z = model.encode(x)
    for part, rows, expected in ((module.encoder, x, z), (module.decoder, z, model.decode(z)),
                                 (module, x, model.reconstruct(x))):
        found = output_of(torch, part, rows)
        assert found.dtype == np.float32 and relative_error(found, expected) < TOLERANCE
    again = Autoencoder.from_torch(module, loss="huber", random_state=0)
    assert again.get_params() == {**model.get_params(), "loss": "huber", "epochs": 100, "decoder_layers": (6,)}
    assert bits(again) == bits(model)
    assert_same_bits(again.reconstruct(x), model.reconstruct(x))


def test_scaling_is_in_buffers_of_float64(torch: Any) -> None:
    x = 1e9 + np.random.default_rng(5).random((200, WIDTHS[0]))
    model = model_of(x, scaling="standard")
    module = model.to_torch()
    assert relative_error(output_of(torch, module.encoder, x), model.encode(x)) < TOLERANCE
    assert {name for name, _ in module.named_buffers()} == {f"{part}.{value}" for part in ("encoder.0", "decoder.3")
                                                            for value in ("shift", "scale")}
    again = Autoencoder.from_torch(module)
    assert_same_bits(again.encode(x), model.encode(x))
    assert Autoencoder.from_bytes(again.to_bytes()).scaling == "standard"
    more = again.set_params(epochs=1, warm_start=True).fit(x + 5)  # a scaling that is there is kept
    assert relative_error(output_of(torch, more.to_torch().encoder, x), more.encode(x)) < TOLERANCE


def test_modules_are_pickled_and_their_weights_are_copies(torch: Any, x: NDArray[np.float32], tmp_path: Path) -> None:
    model = model_of(x, scaling="minmax")
    module = model.to_torch()
    torch.save(module, tmp_path / "module.pt")
    run_python("""
import sys, torch
module = torch.load(sys.argv[1], weights_only=False)
assert type(module.encoder[0]).__name__ == "Scale" and module(torch.zeros(2, 7)).shape == (2, 7)
""", str(tmp_path / "module.pt"))
    fresh = model.to_torch()
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    buffer.seek(0)
    fresh.load_state_dict(torch.load(buffer, weights_only=True))
    with torch.no_grad():
        module.encoder[1].weight.zero_()
        module.encoder[0].shift.zero_()
    assert model.get_weights()[0].any()
    assert relative_error(output_of(torch, fresh, x), model.reconstruct(x)) < TOLERANCE


def test_modules_of_others(torch: Any, x: NDArray[np.float32]) -> None:
    nn = torch.nn
    relu = nn.ReLU()  # one that stands twice
    encoder = nn.Sequential(nn.Sequential(nn.Linear(7, 6), relu), nn.Linear(6, 5), relu, nn.Linear(5, 3), nn.Identity())
    decoder = nn.Sequential(nn.Linear(3, 6, bias=False), nn.ReLU(), nn.Linear(6, 7), nn.Sigmoid())

    class Own(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.decoder, self.encoder = decoder, encoder

        def forward(self, x: Any) -> Any:
            return self.decoder(self.encoder(x))

    for module in (nn.Sequential(encoder, decoder), Own()):
        model = Autoencoder.from_torch(module, loss="bce", epochs=2, warm_start=True)
        assert (model.encoder_layers, model.decoder_layers, model.output_activation) == ((6, 5, 3), (6,), "sigmoid")
        assert (model.code_activation, model.activation, model.scaling) == ("linear", "relu", None)
        assert relative_error(output_of(torch, module, x), model.reconstruct(x)) < TOLERANCE
        assert relative_error(output_of(torch, encoder, x), model.encode(x)) < TOLERANCE
    assert model.fit(x).n_iter_ == 2
    shallow = nn.Sequential(nn.Sequential(nn.Linear(7, 2), nn.Tanh()), nn.Sequential(nn.Linear(2, 7)))
    model = Autoencoder.from_torch(shallow, activation="elu")  # there is no hidden layer to say it
    assert model.decoder_layers == () and relative_error(output_of(torch, shallow, x), model.reconstruct(x)) < TOLERANCE


def test_the_detector(torch: Any, x: NDArray[np.float32]) -> None:
    detector = AnomalyDetector((3,), epochs=2, random_state=0).fit(x)
    again = AnomalyDetector.from_torch(detector.to_torch(), contamination=0.2)
    assert_same_bits(again.reconstruct(x), detector.reconstruct(x))
    with pytest.raises(RuntimeError, match="not calibrated"):
        again.score_samples(x)
    again.set_params(warm_start=True, epochs=1, learning_rate=1e-9, contamination=0.1).fit(x)  # as the docstring says
    np.testing.assert_allclose(again.score_samples(x), detector.score_samples(x), rtol=1e-4)


def wrong(nn: Any) -> dict[str, tuple[Any, type[Exception], str]]:
    def both(*encoder: Any, decoder: Any = None) -> Any:
        return nn.Sequential(nn.Sequential(*encoder), decoder or nn.Sequential(nn.Linear(3, 7)))

    to_code = nn.Linear(7, 3)
    return {
        "no module": ([1, 2], TypeError, "torch.nn.Module; got list"),
        "flat": (nn.Sequential(to_code, nn.ReLU(), nn.Linear(3, 7)), TypeError, "two children.*'Linear', 'ReLU'"),
        "other layer": (both(to_code, nn.Dropout()), TypeError, r"encoder\.1 is Dropout; .*Linear layers"),
        "convolution": (both(nn.Conv1d(1, 1, 1)), TypeError, r"encoder\.0 is Conv1d"),
        "other slope": (both(to_code, nn.LeakyReLU(0.2)), ValueError, r"encoder\.1 is LeakyReLU\(.*=0\.2\)"),
        "other gelu": (both(to_code, nn.GELU("tanh")), ValueError, "GELU"),
        "two in a row": (both(to_code, nn.ReLU(), nn.Tanh()), ValueError, r"encoder\.2 is Tanh and follows no"),
        "activation first": (both(nn.ReLU(), to_code), ValueError, r"encoder\.0 is ReLU and"),
        "no layer": (both(nn.Identity()), ValueError, "the encoder has no Linear"),
        "mixed": (both(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)), ValueError,
                  r"share one activation; got \['relu', 'tanh'\]"),
        "other width": (both(to_code, decoder=nn.Sequential(nn.Linear(3, 8))), ValueError, "takes 7 .* gives 8"),
        "gap": (both(nn.Linear(7, 5), nn.ReLU(), nn.Linear(4, 3)), ValueError, r"encoder\.2 takes 4 .* 5 come in"),
        "float64": (both(nn.Linear(7, 3).double()), TypeError, r"encoder\.0\.weight is float64.*module\.float\(\)"),
    }


@pytest.mark.parametrize("what", [
    "no module", "flat", "other layer", "convolution", "other slope", "other gelu", "two in a row", "activation first",
    "no layer", "mixed", "other width", "gap", "float64",
])
def test_what_no_model_is_gets_clear_words(torch: Any, what: str) -> None:
    module, error, words = wrong(torch.nn)[what]
    with pytest.raises(error, match=words):
        Autoencoder.from_torch(module)


def test_parameters(torch: Any, x: NDArray[np.float32]) -> None:
    module = model_of(x).to_torch()
    with pytest.raises(ValueError, match=r"encoder_layers is what the module says, \(6, 3\); got \(5,\)"):
        Autoencoder.from_torch(module, encoder_layers=(5,))
    with pytest.raises(ValueError, match="output_activation"):
        Autoencoder.from_torch(module, loss="bce")
    with pytest.raises(NotFittedError):
        Autoencoder().to_torch()
    plain = model_of(x)._fitted()
    with pytest.raises(RuntimeError, match="scaling=None takes no scaling"):
        plain.set_scaling([0.0] * 7, [1.0] * 7)
    with pytest.raises(ValueError, match="shift has 6 values; 7 are needed"):
        model_of(x, scaling="minmax")._fitted().set_scaling([0.0] * 6, [1.0] * 7)
    scaled = model_of(x, scaling="standard").to_torch()
    scaled.decoder[-1].shift += 1
    with pytest.raises(ValueError, match="unscales in another"):
        Autoencoder.from_torch(scaled)
    scaled.encoder[0].shift.copy_(scaled.decoder[-1].shift)
    for part in (scaled.encoder[0], scaled.decoder[-1]):
        part.scale[2] = 0
    with pytest.raises(ValueError, match=r"scale\[2\] is 0\.0; it must be finite and above 0"):
        Autoencoder.from_torch(scaled)
    del scaled.decoder[-1]
    with pytest.raises(ValueError, match="both are needed"):
        Autoencoder.from_torch(scaled)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for call in (Autoencoder((2,)).initialize(4).to_torch, lambda: Autoencoder.from_torch(None)):
        with pytest.raises(ImportError, match=r'torch.*pip install "isthmus\[torch\]"'):
            call()
