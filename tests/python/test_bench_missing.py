# SPDX-License-Identifier: Apache-2.0
"""The bench of missing values: it runs on a small set, and the page in docs is that of the kept results."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import package, run_python

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> Any:
    package("sklearn")
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    import missing

    yield missing
    del sys.modules["missing"]


def test_the_page_is_that_of_the_results(missing: Any) -> None:
    results = json.loads(missing.RESULTS.read_text())
    assert missing.PAGE.read_text() == missing.page(results)
    assert results["seeds"] == [0, 1, 2]
    for share in missing.SHARES:
        ours, means = (missing.mean(results, share, title) for title in ("isthmus Autoencoder", "column means"))
        assert ours < 0.8 * means
        assert all(list(sets) == list(missing.SETS) for sets in results["error"][str(share)].values())


def test_the_page_s_example_runs(missing: Any) -> None:
    example = re.search(r"```python\n(.*?)```", missing.PAGE.read_text(), re.DOTALL)
    assert example is not None
    run_python(example[1] + "\nassert np.isfinite(whole).all() and np.isfinite(errors).all()\n")


def test_it_measures(missing: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                     monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 2)) @ rng.standard_normal((2, 6))
    np.savez(tmp_path / "0_small.npz", X=np.column_stack([x, np.ones(300)]), y=np.zeros(300))
    train, test, truth = missing.load(tmp_path, "0_small", 0, 0.2)
    assert train.shape == (210, 6) and test.shape == truth.shape == (90, 6)
    assert np.isnan(test).mean() == pytest.approx(0.2, abs=0.05)
    np.testing.assert_array_equal(test[~np.isnan(test)], truth[~np.isnan(test)])
    monkeypatch.setitem(missing.RECIPE, "epochs", 60)
    result = missing.measure(tmp_path, ("0_small",), range(1), (0.2,))
    assert missing.mean(result, 0.2, "isthmus Autoencoder") < 0.6 * missing.mean(result, 0.2, "column means")
    assert "KNNImputer" in capsys.readouterr().out
    assert "| column means |" in missing.page(result) and "20% hidden" in missing.page(result)
