# SPDX-License-Identifier: Apache-2.0
"""The parameters that say where and how a model runs, and that no file stores: device, threads, random state."""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np

from isthmus import _core


def check_device(device: object) -> str:
    """The name itself. Raises RuntimeError for a device that is not here, ValueError or TypeError for what is none."""
    if not isinstance(device, str):
        allowed = "'auto', 'cpu', 'cuda' or 'cuda:N'"
        raise TypeError(f"device must be {allowed}; got {device!r} ({type(device).__name__})")
    _core.device_name(device)
    return device


def place(device: object, n_threads: object) -> tuple[str, int]:
    """Where the core shall put a model: the device, which is here, and the number of threads."""
    return check_device(device), thread_count(n_threads)


def thread_count(n_threads: object) -> int:
    """The core's number of threads, where 0 stands for what the machine and the environment allow."""
    if n_threads is None:
        return 0
    wanted = f"n_threads must be None or an integer of at least 1; got {n_threads!r}"
    if isinstance(n_threads, (bool, np.bool_)):
        raise TypeError(wanted)
    try:
        count = index(n_threads)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{wanted} ({type(n_threads).__name__})") from None
    if not 1 <= count < 1 << 31:  # a C int; the core takes no more threads than it can use
        raise ValueError(wanted)
    return count


def stored_random_state(random_state: Any) -> Any:
    """``random_state`` as the configuration keeps it: a generator object is not kept."""
    if _is_plain(random_state) or not isinstance(random_state, (np.random.RandomState, np.random.Generator)):
        return random_state
    return None


def draw_seed(random_state: Any) -> int:
    """The seed of a new model; what the configuration refuses must not come here.

    None draws fresh entropy from the operating system; a RandomState or Generator gives one integer.
    """
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
    if _is_plain(random_state):
        return index(random_state)
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(0, 1 << 64, dtype=np.uint64))
    return int(random_state.integers(0, 1 << 64, dtype=np.uint64))


def checked_seed(random_state: Any) -> int:
    """The seed of something that is drawn once. Raises ValueError or TypeError as the constructor's parameter does."""
    _core.check_parameters({"random_state": stored_random_state(random_state)})
    return draw_seed(random_state)


def _is_plain(random_state: object) -> bool:  # spares the import of numpy.random
    return random_state is None or hasattr(random_state, "__index__")
