# SPDX-License-Identifier: Apache-2.0
"""The docs site: ``python -m sphinx -W --keep-going docs site``, with isthmus and the extra ``docs`` installed.

Pages are the Markdown files of this folder, which read well on their own, too. `extension` makes the rest: sections of
README and whole files of the root by include, the gallery by running it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import isthmus

sys.path.insert(0, str(Path(__file__).parent))

project = "isthmus"
author = "the isthmus developers"
version = release = isthmus.__version__
copyright = author

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "extension.parts",
              "extension.gallery"]
exclude_patterns = ["_gallery/README.md"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3  # those that GitHub makes, so that links serve both

# A name in single backticks is one of the package where there is such a one, code elsewhere.
default_role = "py:obj"
autodoc_typehints = "none"  # numpydoc's parameters say them in words
autodoc_member_order = "bysource"
maximum_signature_line_length = 100
numpydoc_show_class_members = False  # `automethod` by autodoc lists them all, with those of the bases
numpydoc_class_members_toctree = False

html_theme = "pydata_sphinx_theme"
html_title = f"isthmus {version}"
html_theme_options = {"show_prev_next": True, "secondary_sidebar_items": ["page-toc"], "navigation_with_keys": False}
html_show_sourcelink = False
