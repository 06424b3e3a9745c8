# SPDX-License-Identifier: Apache-2.0
"""Shared fixtures. All data comes from fixed seeds."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import numpy as np
import pytest
from isthmus import _core


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes more than a few seconds; runs by default")
    # A shell starts what it runs in the background with Ctrl-C ignored, and programs inherit that: the tests that press
    # it would wait for ever.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=_core.instruction_sets())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set of this machine in turn."""
    before = _core.instruction_set()
    _core.use_instruction_set(request.param)
    yield str(request.param)
    _core.use_instruction_set(before)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20_240_229)
