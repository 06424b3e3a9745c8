# SPDX-License-Identifier: Apache-2.0
"""Makes the gallery's pages by running each script of examples/gallery: what its docstring says, its code, what it
prints and the pictures that it writes. ``-D gallery_runs=0`` leaves out the running, for those who write pages.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "examples" / "gallery"
PAGES = ROOT / "docs" / "_gallery"  # ignored by git


def scripts() -> list[Path]:
    """Those that are programs; ``_``, as in ``_images.py``, marks what they import."""
    return sorted(path for path in SCRIPTS.glob("*.py") if not path.name.startswith("_"))


def page(script: Path, printed: str, pictures: list[Path]) -> str:
    """Markdown. The docstring's first line is the title."""
    text = script.read_text("utf-8")
    program = ast.parse(text)
    title, _, prose = (ast.get_docstring(program) or "").partition("\n")
    code = "\n".join(text.splitlines()[program.body[0].end_lineno or 0 :])
    parts = [f"# {title.rstrip('.')}", prose.strip()]
    parts += [f"![{picture.stem}]({picture.relative_to(PAGES)})" for picture in pictures]
    parts += [f"```text\n{printed.strip()}\n```"] if printed.strip() else []
    parts += [f"```python\n{code.strip()}\n```", f"`{script.relative_to(ROOT)}`"]
    return "\n\n".join(part for part in parts if part) + "\n"


def make(app: Sphinx) -> None:
    PAGES.mkdir(exist_ok=True)
    wanted = set()
    for script in scripts():
        folder = PAGES / script.stem
        folder.mkdir(exist_ok=True)
        printed = ""
        if app.config.gallery_runs:
            for old in folder.iterdir():
                old.unlink()
            done = subprocess.run([sys.executable, script, folder], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise RuntimeError(f"{script} ended with {done.returncode}:\n{done.stderr}")
            printed = done.stdout
        wanted.add(PAGES / f"{script.stem}.md")
        (PAGES / f"{script.stem}.md").write_text(page(script, printed, sorted(folder.glob("*.png"))), "utf-8")
    for old in set(PAGES.glob("*.md")) - wanted:
        old.unlink()


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_config_value("gallery_runs", True, "")
    app.connect("builder-inited", make)
    return {"parallel_read_safe": True}
