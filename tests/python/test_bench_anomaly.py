# SPDX-License-Identifier: Apache-2.0
"""The bench of anomaly detection: it runs on a small set, and the page in docs is that of the kept results."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import package

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def anomaly(monkeypatch: pytest.MonkeyPatch) -> Any:
    package("sklearn")
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    import anomaly

    yield anomaly
    del sys.modules["anomaly"]


def test_the_page_is_that_of_the_results(anomaly: Any) -> None:
    results = json.loads(anomaly.RESULTS.read_text())
    assert anomaly.PAGE.read_text() == anomaly.page(results)
    assert results["seeds"] == [0, 1, 2, 3, 4]
    assert all(list(sets) == list(anomaly.SETS) for sets in results["auroc"].values())
    detector, forest, norm = (anomaly.mean(results, title) for title in
                              ("isthmus AnomalyDetector", "isolation forest", "L1 norm"))
    assert detector > forest > norm and detector > 0.85  # what CHANGELOG says
    assert norm > anomaly.mean(results, anomaly.PYOD)
    assert anomaly.seconds(results, anomaly.DETECTOR) < 0.02 * anomaly.seconds(results, anomaly.PYOD)


def test_the_sentence_on_pyod(anomaly: Any) -> None:
    ours, theirs = {"a": [1.0, 1.0, 9.0], "b": [3.0, 3.0, 3.0]}, {"a": [10.0, 10.0, 10.0], "b": [10.0, 20.0, 10.0]}
    result = {"auroc": {anomaly.PYOD: {}}, "seconds": {anomaly.DETECTOR: ours, anomaly.PYOD: theirs}}
    sentence = anomaly.beside_pyod(result)
    assert "takes 0.286 of the time" in sentence and "ratios is 0.100 to 0.300," in sentence  # 20 of 70; 1/10, 3/10
    assert "not installed" in anomaly.beside_pyod({"auroc": {}, "seconds": {}})


def test_it_measures(
    anomaly: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anomaly, "find_spec", lambda name: None)  # as where PyOD is not installed
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 5))
    x[:20] += 4
    np.savez(tmp_path / "0_small.npz", X=x, y=np.arange(200) < 20)
    train, test, labels = anomaly.load(tmp_path, "0_small", 0)
    assert len(train) == 140 and len(test) == 60 and labels.sum() == 6
    assert np.abs(train.mean(axis=0)).max() < 1e-12
    result = anomaly.measure(tmp_path, ("0_small",), range(2))
    assert anomaly.mean(result, "isthmus AnomalyDetector") > 0.95 and anomaly.mean(result, "L1 norm") > 0.95
    assert "isolation forest" in capsys.readouterr().out
    assert "| isolation forest |" in anomaly.page(result) and "PyOD was not installed" in anomaly.page(result)
