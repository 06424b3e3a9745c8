# SPDX-License-Identifier: Apache-2.0
"""``python -m isthmus`` is the shell command ``isthmus``."""

import sys

from isthmus._cli import main

if __name__ == "__main__":
    sys.exit(main())
