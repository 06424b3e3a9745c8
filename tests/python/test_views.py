# SPDX-License-Identifier: Apache-2.0
"""Plots return Axes that hold the model's numbers; the report's numbers are those of NumPy and scikit-learn; what a
notebook shows is well-formed and keeps to scikit-learn's configuration.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from checks import package, run_python
from isthmus import AnomalyDetector, Autoencoder, NotFittedError
from numpy.typing import NDArray

F32 = NDArray[np.float32]


@pytest.fixture
def pyplot() -> Iterator[Any]:
    package("matplotlib").use("Agg")
    pyplot = package("matplotlib.pyplot")
    yield pyplot
    pyplot.close("all")


@pytest.fixture
def x() -> F32:
    return np.random.default_rng(3).random((90, 64)).astype(np.float32)


@pytest.fixture
def model(x: F32) -> Autoencoder:
    return Autoencoder((8, 3), epochs=4, random_state=0).fit(x, validation_data=x[:20])


# ---- plots ----------------------------------------------------------------------------------------------------------


def test_plot_history(pyplot: Any, model: Autoencoder, x: F32) -> None:
    ax = model.plot_history()
    for line, name in zip(ax.get_lines(), ("loss", "val_loss"), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4])
        np.testing.assert_array_equal(line.get_ydata(), model.history_[name])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["training", "validation"]
    assert ax.get_yscale() == "log" and ax.get_xlabel() == "epoch"
    own = pyplot.figure().subplots()
    assert Autoencoder((2,), epochs=1).fit(x).plot_history(ax=own) is own and len(own.get_lines()) == 1
    with pytest.raises(ValueError, match="no epoch"):
        Autoencoder((2,)).initialize(4).plot_history()
    with pytest.raises(NotFittedError):
        Autoencoder().plot_history()


def test_plot_reconstructions_as_images(pyplot: Any, model: Autoencoder, x: F32) -> None:
    ax = model.plot_reconstructions(x, n=5)
    drawn = np.asarray(ax.get_images()[0].get_array())
    assert drawn.shape == (8 + 1 + 8, 5 * 8 + 4)
    np.testing.assert_array_equal(drawn[:8, 9:17], x[1].reshape(8, 8))
    np.testing.assert_array_equal(drawn[9:, 9:17], model.reconstruct(x)[1].reshape(8, 8))
    own = pyplot.figure().subplots()
    assert model.plot_reconstructions(x, shape=(4, 16), ax=own) is own
    assert np.asarray(own.get_images()[0].get_array()).shape == (9, 8 * 16 + 7)
    assert np.asarray(model.plot_reconstructions(x, 2, (8, 8, 1)).get_images()[0].get_array()).ndim == 2
    coloured = model.plot_reconstructions(x * 3, 2, (4, 4, 4)).get_images()[0].get_array()
    assert coloured.shape == (9, 9, 4) and coloured.min() >= 0 and coloured.max() <= 1
    for shape, words in (((8, 9), "has 72 values, but the model has 64"), ((64,), "shape must be"),
                         ((4, 8, 2), "shape must be")):
        with pytest.raises(ValueError, match=words):
            model.plot_reconstructions(x, shape=shape)
    with pytest.raises(ValueError, match="n must be at least 1; got 0"):
        model.plot_reconstructions(x, n=0)
    with pytest.raises(ValueError, match="X has 3 features"):
        model.plot_reconstructions(x[:, :3])


def test_plot_reconstructions_as_curves(pyplot: Any, x: F32) -> None:
    pandas = package("pandas")
    frame = pandas.DataFrame(1000 * x[:, :10], columns=[f"c{i}" for i in range(10)])
    model = Autoencoder((3,), epochs=1, scaling="standard").fit(frame)
    lines = model.plot_reconstructions(frame, n=3).get_lines()
    assert len(lines) == 6
    np.testing.assert_array_equal(lines[0].get_ydata(), frame.to_numpy(np.float64)[0])
    np.testing.assert_allclose(lines[1].get_ydata(), model.reconstruct(frame)[0])
    assert len(model.plot_reconstructions(frame[:2]).get_lines()) == 4


def test_plot_code(pyplot: Any, model: Autoencoder, x: F32) -> None:
    ax = model.plot_code(x)
    points = np.asarray(ax.collections[0].get_offsets())
    codes = model.encode(x).astype(np.float64)
    components = np.linalg.svd(codes - codes.mean(axis=0), full_matrices=False)
    expected = np.abs(components[0][:, :2] * components[1][:2])
    np.testing.assert_allclose(np.abs(points), expected, atol=1e-6 * expected.max())
    share = components[1][0] ** 2 / np.sum(components[1] ** 2)
    assert f"({share:.0%})" in ax.get_xlabel()
    labels = np.arange(90) % 3
    ax = model.plot_code(x, labels)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["0", "1", "2"]
    assert [len(c.get_offsets()) for c in ax.collections] == [30, 30, 30]
    legend = model.plot_code(x, np.array(["b", "a"], object)[labels % 2]).get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
    graded = model.plot_code(x, x[:, 0])
    assert graded.get_legend() is None and len(graded.figure.axes) == 2  # a colour bar
    two = Autoencoder((2,), epochs=1, random_state=0).fit(x)
    np.testing.assert_allclose(np.asarray(two.plot_code(x).collections[0].get_offsets()), two.encode(x))
    one = Autoencoder((1,), epochs=1, random_state=0).fit(x)
    for given in (None, labels):
        assert sum(patch.get_height() for patch in one.plot_code(x, given).patches) == 90
    own = pyplot.figure().subplots()
    assert model.plot_code(x, ax=own) is own
    with pytest.raises(ValueError, match=r"labels must have shape \(90,\)"):
        model.plot_code(x, labels[:5])


def test_without_matplotlib(model: Autoencoder, x: F32, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, name, None)
    for call in (model.plot_history, lambda: model.plot_code(x), lambda: model.plot_reconstructions(x)):
        with pytest.raises(ImportError, match=r'plot_\w+ needs the package matplotlib.*"isthmus\[plot\]"'):
            call()


# ---- report ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scaling", [None, "standard", "minmax"])
@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "bce"])
def test_the_report_beside_scikit_learns_pca(x: F32, loss: str, scaling: str | None) -> None:
    decomposition = package("sklearn.decomposition")
    if (loss, scaling) == ("bce", "standard"):
        scaling = "minmax"
    model = Autoencoder((8, 3), epochs=2, loss=loss, scaling=scaling, random_state=0).fit(x)
    report = model.report(x)
    scaled = x.astype(np.float64)
    if scaling == "standard":
        scaled = (scaled - scaled.mean(axis=0)) / scaled.std(axis=0)
    elif scaling == "minmax":
        scaled = (scaled - scaled.min(axis=0)) / np.ptp(scaled, axis=0)
    pca = decomposition.PCA(3, svd_solver="full").fit(scaled)
    d = np.abs(pca.inverse_transform(pca.transform(scaled)) - scaled)
    element = {"mse": d**2, "bce": d**2, "mae": d, "huber": np.where(d < 1, d**2 / 2, d - 0.5)}[loss]
    assert report.pca_error == pytest.approx(element.mean(), rel=1e-5)
    assert report.loss == pytest.approx(-model.score(x), rel=1e-6)
    assert report.measure == ("mse" if loss == "bce" else loss)
    if loss != "bce":
        assert report.error == pytest.approx(report.loss, rel=1e-6)
    elif scaling is None:
        assert report.error == pytest.approx(np.mean((model.reconstruct(x) - x) ** 2), rel=1e-5)
    errors = model.reconstruction_error(x, per_feature=True)
    assert [name for name, _ in report.worst_features] == [str(i) for i in np.argsort(-errors.mean(axis=0))[:5]]
    assert report.worst_rows[0] == (int(model.score_samples(x).argmin()), model.score_samples(x).min())
    assert (report.n_rows, report.n_sampled, report.widths) == (90, 90, (64, 8, 3, 8, 64))
    assert report.n_parameters == sum(w.size for w in model.get_weights())


def test_the_report_of_large_numbers_keeps_their_digits(x: F32) -> None:
    small = Autoencoder((8, 3), epochs=2, scaling="standard", random_state=0).fit(x.astype(np.float64))
    large = Autoencoder((8, 3), epochs=2, scaling="standard", random_state=0).fit(1e9 + x.astype(np.float64))
    reports = small.report(x), large.report(1e9 + x.astype(np.float64))
    assert reports[1].error == pytest.approx(reports[0].error, rel=1e-4)
    assert reports[1].pca_error == pytest.approx(reports[0].pca_error, rel=1e-4)


def test_dead_units_and_names_and_samples(x: F32) -> None:
    pandas = package("pandas")
    model = Autoencoder((4,), code_activation="relu", epochs=1, random_state=0, device="cpu").fit(x)
    weights = model.get_weights()
    weights[1][[0, 2]] = -100  # never above 0
    frame = pandas.DataFrame(x, columns=[f"<c{i}>" for i in range(64)])
    named = Autoencoder((4,), code_activation="relu", epochs=1, random_state=0, device="cpu").fit(frame)
    named.set_weights(weights)
    report = named.report(frame)
    assert report.dead_units == (0, 2)
    text, html = str(report), report._repr_html_()
    assert "2 of 4: 0, 2" in text and re.search(rf"worst features +{report.worst_features[0][0]} ", text)
    assert "64-4-64" in text and "&lt;c" in html and "<c" not in html.replace("<circle", "")
    ElementTree.fromstring(html)
    many = np.tile(x, (60, 1))
    sampled = model.report(many)
    assert (sampled.n_rows, sampled.n_sampled) == (5400, 2048) and "2,048 at equal distances" in str(sampled)
    with pytest.raises(ValueError, match="at least 2 rows for a report; got 1"):
        model.report(x[:1])
    collapsed = Autoencoder((2,), epochs=1).fit(x)
    collapsed.set_weights([0 * w for w in collapsed.get_weights()])
    assert collapsed.report(x).dead_units == (0, 1)


def test_the_report_of_a_detector_ranks_by_its_score(x: F32) -> None:
    detector = AnomalyDetector((3,), epochs=2, random_state=0).fit(x)
    odd = x.copy()
    odd[17] += 5
    report = detector.report(odd)
    assert report.worst_rows[0] == (17, detector.score_samples(odd).min()) and str(report).startswith("AnomalyDetector")


# ---- notebooks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", [
    Autoencoder(), Autoencoder((9, 2)), Autoencoder([4], ()), Autoencoder("no widths"), Autoencoder((0, "a")),
    Autoencoder((5, 3), (7, 7), loss="a<b"), AnomalyDetector(np.array([3, 2])),
], ids=str)
def test_html_of_unfitted_estimators(estimator: Autoencoder) -> None:
    html = estimator._repr_html_()
    ElementTree.fromstring(html)
    assert "features" in html and type(estimator).__name__ in html and "parameters" not in html
    assert "currentColor" in html and not re.search(r"#[0-9a-f]{3}|rgb", html)  # it takes the page's colour


def test_html_of_a_fitted_estimator(model: Autoencoder) -> None:
    html = model._repr_html_()
    svg = ElementTree.fromstring(html).find("{http://www.w3.org/2000/svg}svg")
    assert svg is not None
    texts = [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["64", "8", "3", "8", "64"]
    opacities = [r.get("fill-opacity") for r in svg.iter("{http://www.w3.org/2000/svg}rect")]
    assert opacities.index(max(opacities, key=lambda o: float(o or 0))) == 2  # the code
    heights = [float(r.get("height") or 0) for r in svg.iter("{http://www.w3.org/2000/svg}rect")]
    assert heights[0] > heights[1] > heights[2] < heights[3] < heights[4]
    assert "4 epochs" in html and "parameters" in html
    model.set_params(encoder_layers=(1, 1, 1, 1))  # what is drawn is what was fitted
    assert "<title>64 to 8 to 3 to 8 to 64</title>" in model._repr_html_()


def test_html_keeps_to_scikit_learns_configuration(model: Autoencoder) -> None:
    sklearn = package("sklearn")
    pipeline = package("sklearn.pipeline").make_pipeline(Autoencoder((2,)))
    with sklearn.config_context(display="text"):
        assert not hasattr(model, "_repr_html_")
    with sklearn.config_context(display="diagram"):
        assert "<svg" in model._repr_html_()
        assert "Autoencoder" in pipeline._repr_html_()


def test_nothing_is_imported_for_html_and_reports() -> None:
    run_python("""
import sys
import numpy as np
from isthmus import Autoencoder
x = np.random.default_rng(0).random((20, 6))
model = Autoencoder((2,), epochs=1).fit(x)
print(model.report(x))
assert "<svg" in model._repr_html_()
assert not {"matplotlib", "sklearn", "torch", "onnx"} & set(sys.modules)
""")
