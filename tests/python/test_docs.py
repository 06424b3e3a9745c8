# SPDX-License-Identifier: Apache-2.0
"""The documentation holds: each link leads somewhere, and the Python of README and docs runs and does what it says.

A page's code blocks are run in order: those before its first section for every section, each section by itself. A block
after ``<!-- needs: NAME -->`` wants a package that the tests do not bring: without it the section skips.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from checks import package, run_python

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs"))

from extension import parts  # noqa: E402

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *parts.pages(),
         ROOT / "python" / "isthmus" / "data" / "README.md"]
BLOCK = re.compile(r"^(?:<!-- needs: (\w+) -->\n)?```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


# ---- links ----------------------------------------------------------------------------------------------------------


def broken_links(page: Path, text: str) -> list[str]:
    broken = []
    for link in parts.LINK.finditer(text):
        _, words, path, name = link.groups()
        if words is None:
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or ROOT not in (target, *target.parents):
            broken.append(f"{path}: no such file")
        elif name and target.suffix == ".md":
            other = text if target == page else target.read_text(encoding="utf-8")
            if name not in [found for _, _, found in parts.headings(other)]:
                broken.append(f"{path}#{name}: no such heading")
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    assert broken_links(page, page.read_text(encoding="utf-8")) == []


def test_a_broken_link_is_seen() -> None:
    text = "# A title, `x`\n[a](#a-title-x) [b](#b) [c](docs/anomaly.md) [d](docs/none.md) [e](README.md#gpus)\n"
    assert broken_links(ROOT / "CHANGELOG.md", text) == ["#b: no such heading", "docs/none.md: no such file"]
    assert broken_links(ROOT / "CHANGELOG.md", "[a](README.md#none)") == ["README.md#none: no such heading"]
    assert broken_links(ROOT / "CHANGELOG.md", "```\n[a](none)\n```\n`[a](none)` [`a`](README.md)\n") == []


# ---- what the site includes -----------------------------------------------------------------------------------------


def test_sections() -> None:
    text = "# T\nfirst\n## A `b`!\nx\n```\n# no heading\n```\n### In\ny\n## C\nz\n"
    assert parts.headings(text) == [(0, 1, "t"), (2, 2, "a-b"), (7, 3, "in"), (9, 2, "c")]
    assert parts.section(text, "t") == "first"
    assert parts.section(text, "a-b") == "x\n```\n# no heading\n```\n### In\ny"
    assert parts.section(text, "c") == "z" and parts.section(text, None) == text
    with pytest.raises(KeyError):
        parts.section(text, "none")


def test_every_section_of_the_readme_is_on_the_site() -> None:
    readme = ROOT / "README.md"
    names = [name for _, level, name in parts.headings(readme.read_text(encoding="utf-8"))]
    assert [name for name in names if (readme, name) not in parts.homes()] == []


def test_what_no_page_names_is_on_the_site_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (tmp_path / "README.md").write_text("# T\n## A\na\n### In\n## B c\n[x](#a)\n", encoding="utf-8")
    (docs / "page.md").write_text(f"# P\n[include](../README.md#a)\n\n{parts.OTHER_SECTIONS}\n", encoding="utf-8")
    (docs / "index.md").write_text(f"# T\n\n{parts.OTHER_PAGES}\n", encoding="utf-8")
    monkeypatch.setattr(parts, "DOCS", docs)
    for cached in (parts.text_of, parts.homes):
        cached.cache_clear()
    try:
        read = {}
        for name in ("page", "index"):
            source = [""]
            parts.read(None, name, source)
            read[name] = source[0]
        assert read == {"page": "# P\na\n## In\n\n## B c\n\n[x](page.md)\n", "index": "# T\n\npage\n"}
    finally:
        for cached in (parts.text_of, parts.homes):
            cached.cache_clear()


def test_links_move_with_the_text() -> None:
    readme = ROOT / "README.md"
    assert parts.moved("[a](#gpus) [b](docs/gpu.md) [c](CONTRIBUTING.md#bench)", readme) == (
        "[a](gpus.md) [b](gpu.md) [c](contributing.md#bench)")
    assert parts.moved("![a](docs/demo.png) [b](tests/python) [c](LICENSE) `[d](#gpus)`", readme) == (
        "![a](demo.png) b [c](../LICENSE) `[d](#gpus)`")
    assert parts.moved("[a](https://x.org/#b) [c](../README.md#speed)", ROOT / "docs" / "sizes.md") == (
        "[a](https://x.org/#b) [c](bench.md)")


# ---- code -----------------------------------------------------------------------------------------------------------

# What a section's code must have brought about. The losses of two trainings that differ in the seed are not equal.
CLAIMS = {
    "Keras": """
        theirs = np.square(autoencoder.predict(X_test, verbose=0) - X_test).mean()
        assert np.allclose(model.reconstruct(X_test), autoencoder.predict(X_test, verbose=0), atol=1e-5)
        ours = model.history_["val_loss"][-1]
        assert 0.9 < ours / history.history["val_loss"][-1] < 1.1 and theirs < 0.05
        """,
    "PyTorch": """
        assert np.allclose(model.reconstruct(X_test), network(torch.from_numpy(X_test)).detach().numpy(), atol=1e-5)
        assert np.allclose(module(torch.from_numpy(X_test)).detach().numpy(), model.reconstruct(X_test), atol=1e-5)
        [layer.reset_parameters() for part in network for layer in part if isinstance(layer, nn.Linear)]
        same = Autoencoder.from_torch(network, batch_size=64, epochs=30, random_state=0, warm_start=True).fit(X)
        assert 0.9 < same.score(X_test) / model.score(X_test) < 1.1
        """,
    "scikit-learn": """
        model.set_weights([a for W, b in zip(regressor.coefs_, regressor.intercepts_) for a in (W.T, b)])
        assert np.allclose(model.reconstruct(X_test), regressor.predict(X_test), atol=1e-5)
        """,
    "PyOD": """
        theirs, ours = other.decision_function(X_test), -detector.score_samples(X_test)
        assert np.corrcoef(np.argsort(np.argsort(theirs)), np.argsort(np.argsort(ours)))[0, 1] > 0.3
        assert (odd == (ours > -detector.offset_)).all() and 0.01 < odd.mean() < 0.15
        """,
    "A first model": """
        assert Z.shape == (450, 8) and R.shape == (450, 64) and E.shape == (450,)
        assert model.report(X_test).error < model.report(X_test).pca_error
        """,
    "When to stop": "assert model.n_iter_ < 1000",
    "Keep it": "assert (same.encode(X_test) == model.encode(X_test)).all()",
    "In a pipeline": "assert search.best_params_ == {'autoencoder__encoder_layers': (64, 16)}",
}
# What README and docs/kernels.md take as given.
GIVEN = """
    import numpy as np
    rng = np.random.default_rng(0)
    X, X_test = rng.random((500, 20), np.float32), rng.random((100, 20), np.float32)
    x, weight, bias, dz = (rng.random(s, np.float32) for s in ((7, 5), (3, 5), (3,), (7, 3)))
    z, dy, target, param = (rng.random((7, 3), np.float32) for _ in range(4))
    grad, m, v, step = np.ones_like(param), np.zeros_like(param), np.zeros_like(param), 1
    """


def dedented(code: str) -> str:
    return "\n".join(line.strip() for line in code.splitlines())


def sections(page: Path) -> Iterator[tuple[str, str, set[str]]]:
    """Title, code and needed packages of each section with code; in start.md sections build on those before."""
    common, needs_common = [], set()
    for part in re.split(r"^(?=## )", page.read_text(encoding="utf-8"), flags=re.MULTILINE):
        blocks = BLOCK.findall(part)
        title = part.splitlines()[0][3:] if part.startswith("## ") else ""
        code, needs = [code for _, code in blocks], {name for name, _ in blocks if name}
        if blocks and title:
            yield title, "\n".join([*common, *code]), needs_common | needs
        if page.name == "start.md" or not title:
            common, needs_common = common + code, needs_common | needs
    if page.name == "README.md" and common:
        yield "first screen", "\n".join(common), needs_common


CODE = [(page, *section) for page in PAGES for section in sections(page) if page.name != "CONTRIBUTING.md"]


@pytest.mark.parametrize("page,title,code,needs", CODE, ids=[f"{page.name}: {title}" for page, title, *_ in CODE])
def test_code(page: Path, title: str, code: str, needs: set[str], tmp_path: Path) -> None:
    package("sklearn")
    if 'device="cuda"' in code:
        pytest.skip("needs PyTorch's CUDA; test_gpu_arrays.py does the same with arrays of its own")
    missing = sorted(name for name in needs if not find_spec(name))
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    given = dedented(GIVEN) if page.name in ("README.md", "kernels.md") else ""
    where = f"import os; os.chdir({str(tmp_path)!r})"
    run_python("\n".join([where, given, code, dedented(CLAIMS.get(title, ""))]),
               env={"KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"}, timeout=1200)


def test_claims_are_those_of_sections() -> None:
    assert set(CLAIMS) <= {title for _, title, _, _ in CODE}


# ---- the table of capabilities --------------------------------------------------------------------------------------

SHOWN_BY = re.compile(r"\[(test_\w+\.py)::(test_\w+)\]\(\.\./tests/python/(test_\w+\.py)\)")


def capabilities(text: str) -> dict[str, tuple[str, list[str]]]:
    """Capability to what isthmus is said to have of it, and the tests named for it."""
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in text.splitlines() if line[:1] == "|"]
    assert rows[0][1] == "isthmus" and rows[0][-1] == "shown by" and {len(row) for row in rows} == {len(rows[0])}
    found = {}
    for name, own, *_, shown in rows[2:]:
        tests = SHOWN_BY.findall(shown)
        assert all(words == target for words, _, target in tests), f"{name}: a link to another file than it names"
        found[name] = own.strip("*"), [f"{file}::{test}" for file, test, _ in tests]
    return found


def test_each_capability_is_shown_by_tests_that_are_run() -> None:
    found = capabilities((ROOT / "docs" / "capabilities.md").read_text(encoding="utf-8"))
    assert [name for name, (own, tests) in found.items() if own == "y" and not tests] == []
    assert {own for name, (own, _) in found.items() if name != "wheel, MB"} <= {"y", "p", "n"}
    named = {test for _, tests in found.values() for test in tests}
    files = sorted({test.partition("::")[0] for test in named})
    code = f"import pytest; pytest.main(['--collect-only', '-q', *{[str(ROOT / 'tests/python' / f) for f in files]!r}])"
    printed = run_python(code, env={"ISTHMUS_TEST_DEVICE": "cpu"})
    collected = {line.split("/")[-1].partition("[")[0] for line in printed.splitlines() if "::" in line}
    assert named - collected == set()


def test_a_capability_that_nothing_shows_is_seen() -> None:
    row = "| x | **y** | n | [test_a.py::test_b](../tests/python/test_a.py) |"
    head = "| capability | isthmus | KE | shown by |\n|---|---|---|---|\n"
    assert capabilities(head + row) == {"x": ("y", ["test_a.py::test_b"])}
    assert capabilities(head + "| x | **y** | n | none |") == {"x": ("y", [])}
    with pytest.raises(AssertionError, match="another file"):
        capabilities(head + row.replace("test_a.py)", "test_c.py)"))
