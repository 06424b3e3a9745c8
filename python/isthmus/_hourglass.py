# SPDX-License-Identifier: Apache-2.0
"""The network drawn as the hourglass that it is: an inline SVG of the layers' widths.

Everything is drawn in ``currentColor`` with different opacities, so that the picture follows the page, light or dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isthmus import _core

_WIDTH, _HEIGHT, _LEAST, _MARGIN = 84, 110, 6, 26  # pixels: between layers, of the widest, of the narrowest, for labels


def fitted_widths(core: _core.Model) -> tuple[list[int], int]:
    """Widths from features to features, and which of them is the code's."""
    shapes = [shape for shape in core.shapes if len(shape) == 2]
    given = core.parameters["encoder_layers"]
    return [shapes[0][1], *(shape[0] for shape in shapes)], 2 if given is None else len(given)


def wanted_widths(encoder: Any, decoder: Any) -> tuple[list[int], int] | None:
    """Hidden widths and the code's place among them, from a constructor's arguments; None where they do not say."""
    if encoder is None or not isinstance(encoder, Sequence) or isinstance(encoder, str):
        return None
    inside = encoder[-2::-1] if decoder is None else decoder
    widths = [*encoder, *inside] if isinstance(inside, Sequence) else []
    if not widths or any(not isinstance(width, int) or width < 1 for width in widths):
        return None
    return widths, len(encoder) - 1


def hourglass(widths: Sequence[int], code: int, labels: Sequence[str] | None = None) -> str:
    """An ``<svg>``: a bar for each layer, as high as the square root of its width, the code's the darkest."""
    labels = [f"{width:,}" for width in widths] if labels is None else labels
    widest = max(widths)
    heights = [_LEAST + (_HEIGHT - _LEAST) * (width / widest) ** 0.5 for width in widths]
    at = [_MARGIN + i * _WIDTH for i in range(len(widths))]
    middle = 6 + _HEIGHT / 2
    parts = []
    for (x, h), (right, end) in pairwise(zip(at, heights, strict=True)):
        corners = [(x, middle - h / 2), (right, middle - end / 2), (right, middle + end / 2), (x, middle + h / 2)]
        points = " ".join(f"{px},{py:.1f}" for px, py in corners)
        parts.append(f'<polygon points="{points}" fill="currentColor" fill-opacity="0.12"/>')
    for i, (x, h, label) in enumerate(zip(at, heights, labels, strict=True)):
        opacity = 0.9 if i == code else 0.45
        parts.append(f'<rect x="{x - 3}" y="{middle - h / 2:.1f}" width="6" height="{h:.1f}" rx="2" '
                     f'fill="currentColor" fill-opacity="{opacity}"/>')
        parts.append(f'<text x="{x}" y="{_HEIGHT + 24}" text-anchor="middle" font-size="12" fill="currentColor">'
                     f"{escape(label)}</text>")
    width, height = at[-1] + _MARGIN, _HEIGHT + 32
    title = escape(" to ".join(labels))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" style="max-width:100%;height:auto" role="img"><title>{title}</title>'
            f'{"".join(parts)}</svg>')


def page(description: str, svg: str, facts: str) -> str:
    """The HTML of an estimator: its text, its picture, a line of facts."""
    line = f"<div>{escape(facts)}</div>" if facts else ""
    return (f'<div class="isthmus" style="font-family:sans-serif;font-size:13px">'
            f'<pre style="white-space:pre-wrap;margin:0 0 6px">{escape(description)}</pre>{svg}{line}</div>')
