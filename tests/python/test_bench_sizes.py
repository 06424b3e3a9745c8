# SPDX-License-Identifier: Apache-2.0
"""The bench of sizes: it measures, and the tables in docs are those of the kept results."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import package

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    package("sklearn")
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    import sizes

    yield sizes
    del sys.modules["sizes"]


def test_the_page_is_that_of_the_results(sizes: Any) -> None:
    page = sizes.PAGE.read_text(encoding="utf-8")
    result = json.loads(sizes.RESULTS.read_text())
    tables = sizes.tables(result)
    assert len(tables) == 6
    for name, text in tables.items():
        assert f"<!-- {name}:begin -->\n\n{text}\n\n<!-- {name}:end -->" in page
    # What the page says in words.
    mnist, table = ({int(k): ours / pca for k, (ours, pca) in result[name]["code"].items()} for name in result)
    assert [k for k, ratio in mnist.items() if ratio > 1] == [64] and min(k for k, r in table.items() if r > 1) == 4
    assert all(found["epochs"]["100"] < found["epochs"]["30"] for found in result.values())


def test_it_measures(sizes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    line = np.linspace(-1, 1, 400)[:, None]
    rows = np.hstack([line, line**2, line**3]).astype(np.float32)
    monkeypatch.setattr(sizes, "load", lambda folder, name: (rows[::2], rows[1::2]))
    monkeypatch.setattr(sizes, "HIDDEN", {"table": (16,)})
    monkeypatch.setattr(sizes, "CODES", {"table": (1, 3)})
    monkeypatch.setattr(sizes, "LAYERS", {"table": ((), (16,))})
    monkeypatch.setattr(sizes, "MIDDLE", {"table": 1})
    monkeypatch.setattr(sizes, "ROUNDS", (2, 200))
    found = sizes.measure(Path())["table"]
    assert found["code"]["3"][1] < 1e-12 < 1e-3 < found["code"]["1"][1]  # PCA's
    assert found["epochs"]["200"] < 0.5 * found["epochs"]["2"]
    assert set(found["hidden"]) == {"none", "16"}
    assert "| 1 | " in sizes.tables({"table": found})["table-code"]
