# SPDX-License-Identifier: Apache-2.0
"""What the site has beside its Markdown files: `parts` of README and of the root's files, and the gallery."""
