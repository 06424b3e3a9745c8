# SPDX-License-Identifier: Apache-2.0
"""A page may hold a section of another Markdown file of the repository: a line ``[include](../README.md#speed)``.

That line is a link where the page is read as it is; on the site the section stands there, without its heading, or the
whole file where no section is named. So nothing is told twice. Links are made to hold where the text then stands: those
to what a page holds lead to that page, those to folders become text. Pages that no list names come into the front
page's list by themselves, and sections of README that no page includes to where `OTHER_SECTIONS` stands.
"""

from __future__ import annotations

import re
from functools import cache
from os.path import relpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parents[1]
INCLUDE = re.compile(r"^\[include\]\(([^)#]+)(?:#([^)]+))?\)$", re.MULTILINE)
# Code, or a link within the repository: (image mark, words, path, anchor).
LINK = re.compile(r"```.*?```|`[^`\n]*`|(!?)\[([^\]]*)\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)", re.DOTALL)
OTHER_PAGES = "OTHER_PAGES"  # a line of the front page's list
OTHER_SECTIONS = "<!-- README's other sections -->"


def slug(heading: str) -> str:
    """The anchor that GitHub, and MyST after it, makes of a heading."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def headings(text: str) -> list[tuple[int, int, str]]:
    """(number of its line, level, slug) of each heading; a ``#`` in a code block is none."""
    found, fenced = [], False
    for i, line in enumerate(text.splitlines()):
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced and (match := re.match(r"(#+) +(.+)", line)):
            found.append((i, len(match[1]), slug(match[2])))
    return found


def section(text: str, name: str | None) -> str:
    """What is below the heading of this slug, up to the next of its level, or of the second for a title's; the whole
    text for None. KeyError where there is no such heading.
    """
    if name is None:
        return text
    lines, places = text.splitlines(), headings(text)
    for k, (i, level, found) in enumerate(places):
        if found == name:
            ends = (j for j, other, _ in places[k + 1 :] if other <= max(level, 2))
            return "\n".join(lines[i + 1 : next(ends, len(lines))]).strip()
    raise KeyError(name)


def raised(text: str) -> str:
    """With each heading one level up: that of a section below a page's title."""
    lines = text.splitlines()
    for i, _, _ in headings(text):
        lines[i] = lines[i][1:]
    return "\n".join(lines)


def pages() -> list[Path]:
    return sorted(DOCS.glob("*.md"))


@cache
def text_of(page: Path) -> str:
    """Of a page, with its includes not yet followed."""
    text = page.read_text(encoding="utf-8")
    if OTHER_SECTIONS not in text:
        return text
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    named = {match[2] for other in pages() for match in INCLUDE.finditer(other.read_text(encoding="utf-8"))
             if match[1] == "../README.md"}
    lines = readme.splitlines()
    others = [f"{lines[i]}\n\n[include](../README.md#{name})" for i, level, name in headings(readme)
              if level == 2 and name not in named]
    return text.replace(OTHER_SECTIONS, "\n\n".join(others))


@cache
def homes() -> dict[tuple[Path, str | None], str]:
    """Which page holds a file, or a section of it: the target of a link to (file, slug or None)."""
    found: dict[tuple[Path, str | None], str] = {}
    for page in pages():
        text = text_of(page)
        found[page, None] = page.name
        for _, level, name in headings(text):
            found[page, name] = page.name if level == 1 else f"{page.name}#{name}"
        for match in INCLUDE.finditer(text):
            source, name = (DOCS / match[1]).resolve(), match[2]
            above = [place for place in headings(text) if place[0] < text.count("\n", 0, match.start())]
            found[source, name] = page.name if not above or above[-1][1] == 1 else f"{page.name}#{above[-1][2]}"
            for _, level, inner in headings(section(source.read_text(encoding="utf-8"), name)):
                found[source, inner] = page.name if level == 1 else f"{page.name}#{inner}"
    return found


def moved(text: str, source: Path) -> str:
    """Text of a file with links that hold in a page of the site."""

    def target(match: re.Match[str]) -> str:
        image, words, path, name = match.groups()
        if words is None:
            return match[0]
        file = (source.parent / path).resolve() if path else source
        if image:
            return f"![{words}]({relpath(file, DOCS)})"
        if (file, name) in homes():
            return f"[{words}]({homes()[file, name]})"
        if file.is_dir() or file.suffix == ".md":
            return words
        return f"[{words}]({relpath(file, DOCS)})"

    return LINK.sub(target, text)


def read(app: Sphinx, name: str, source: list[str]) -> None:
    """Sphinx's event: the text of a page before it is parsed."""
    page = DOCS / f"{name}.md"
    if page not in pages():
        return
    text, done, here = text_of(page), [], 0
    for match in INCLUDE.finditer(text):
        other = (DOCS / match[1]).resolve()
        part, above = section(other.read_text("utf-8"), match[2]), headings(text[: match.start()])
        part = raised(part) if above and above[-1][1] == 1 else part
        done += [moved(text[here : match.start()], page), moved(part, other)]
        here = match.end()
    done.append(moved(text[here:], page))
    named = {line.strip() for line in text.splitlines()} | {name}
    source[0] = "".join(done).replace(OTHER_PAGES, "\n".join(p.stem for p in pages() if p.stem not in named))


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", read)
    return {"parallel_read_safe": True}
