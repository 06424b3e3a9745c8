# SPDX-License-Identifier: Apache-2.0
"""Where the package keeps what programs in C and C++ build with: headers, library, CMake package."""

from __future__ import annotations

import shlex
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def cmakedir() -> str:
    """The folder of isthmusConfig.cmake: ``cmake -Disthmus_DIR=...``."""
    return str(_PACKAGE / "lib" / "cmake" / "isthmus")


def pkgconfigdir() -> str:
    """The folder of isthmus.pc: ``PKG_CONFIG_PATH=...``."""
    return str(_PACKAGE / "lib" / "pkgconfig")


def includes() -> str:
    """The flag that a compiler needs to find ``isthmus/isthmus.h`` and ``isthmus/autoencoder.hpp``."""
    return shlex.quote(f"-I{_PACKAGE / 'include'}")


def library() -> str:
    """libisthmus.so, for ctypes and its like."""
    return str(_PACKAGE / "libisthmus.so")


# What `python -m isthmus --NAME` prints.
PLACES = {"cmakedir": cmakedir, "includes": includes, "library": library, "pkgconfigdir": pkgconfigdir}
