# SPDX-License-Identifier: Apache-2.0
"""Shared fixtures. All data comes from fixed seeds.

The tests are run for one device at a time: the CPU, or the one that ISTHMUS_TEST_DEVICE names (see checks.py). On
another device than the CPU the modules marked ``every_device`` run, the same bodies, without what is marked
``cpu_only``.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest
from checks import DEVICE, compared, note
from isthmus import _core


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes more than a few seconds; runs by default")
    config.addinivalue_line("markers", "every_device: runs on the device that ISTHMUS_TEST_DEVICE names")
    config.addinivalue_line("markers", "cpu_only: about threads, instruction sets or sizes for the CPU alone")
    # A shell starts what it runs in the background with Ctrl-C ignored, and programs inherit that: the tests that press
    # it would wait for ever.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    library = os.environ.get("ISTHMUS_CUDA_LIBRARY") or "none" if DEVICE == "cpu" else _core.cuda()["library"]
    return f"device: {DEVICE} (CUDA library: {library})"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if DEVICE == "cpu":
        return
    kept = [i for i in items if i.get_closest_marker("every_device") and not i.get_closest_marker("cpu_only")]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def pytest_sessionfinish() -> None:
    for what, n in compared.items():
        note(what, n)


@pytest.fixture(params=_core.instruction_sets() if DEVICE == "cpu" else [_core.instruction_set()])
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set of this machine in turn; another device than the CPU has none of its own."""
    before = _core.instruction_set()
    _core.use_instruction_set(request.param)
    yield str(request.param)
    _core.use_instruction_set(before)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20_240_229)
