# SPDX-License-Identifier: Apache-2.0
"""Models in other processes: pools that fork or spawn, joblib, fewer processors, another rounding mode, denormals."""

from __future__ import annotations

import hashlib
import multiprocessing
import os

import numpy as np
import pytest
from checks import bits, package, run_python
from isthmus import Autoencoder, _core, kernels

X = np.random.default_rng(0).random((600, 64)).astype(np.float32)


def trained(seed: int) -> str:
    """What a worker does: large enough for two threads."""
    model = Autoencoder((96, 8), epochs=2, random_state=seed, n_threads=2).fit(X)
    return hashlib.sha256(bits(model) + model.encode(X).tobytes()).hexdigest()


def encoded(model: Autoencoder) -> bytes:
    return model.encode(X).tobytes()


# In a fresh interpreter: this one may have threads of other packages, which a fork would leave behind.
POOLS = """
import multiprocessing, sys
import numpy as np
from checks import counted
from isthmus import Autoencoder
from test_processes import X, encoded, trained

expected = [trained(seed) for seed in range(4)]  # the parent had its team of threads
model = Autoencoder((96, 8), epochs=1, random_state=0, n_threads=2).fit(X)
with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
    assert pool.map(trained, range(4), chunksize=1) == expected
    assert pool.map(encoded, [model] * 3, chunksize=1) == [encoded(model)] * 3  # the model travels as a pickle
assert [trained(seed) for seed in range(4)] == expected  # the parent goes on
"""


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_pools(method: str) -> None:
    run_python("if True:" + POOLS.replace("\n", "\n    ") + "\n", method)


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_joblib(backend: str) -> None:
    package("joblib")
    run_python("""
import sys
from joblib import Parallel, delayed
from isthmus import Autoencoder
from test_processes import X, encoded, trained

expected = [trained(seed) for seed in range(4)]
model = Autoencoder((96, 8), epochs=1, random_state=0, n_threads=2).fit(X)
with Parallel(n_jobs=2, backend=sys.argv[1]) as parallel:
    assert parallel(delayed(trained)(seed) for seed in range(4)) == expected
    assert parallel(delayed(encoded)(model) for _ in range(3)) == [encoded(model)] * 3
""", backend)


def test_a_process_on_one_processor_has_one_thread() -> None:
    processors = os.sched_getaffinity(0)
    code = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
from test_processes import trained
from isthmus import _core
print(_core.default_threads(), trained(0))
"""
    threads, digest = run_python(code, str(min(processors))).split()
    assert threads == "1"
    assert digest == trained(0)
    assert _core.default_threads() <= len(processors)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="reads and sets x86-64's MXCSR")
@pytest.mark.parametrize("mode", [0x0000, 0x2000, 0x4000, 0x6000, 0x8000, 0x0040, 0x8040], ids=hex)
def test_rounding_mode_and_denormals_are_as_before_each_call(mode: int) -> None:
    """Rounding down, up or to zero, denormals flushed: the caller's mode stays, and the kernels do not see it."""
    output = run_python("""
import ctypes, os, struct, sys, tempfile
import numpy as np
import isthmus
from isthmus import Autoencoder, kernels
from test_processes import X
from checks import bits
import hashlib

libm = ctypes.CDLL("libm.so.6")
environment = ctypes.create_string_buffer(32)  # fenv_t; MXCSR is its last word

def mode():
    libm.fegetenv(environment)
    return struct.unpack("<I", environment.raw[28:])[0] & 0xFFC0

def use(new):
    libm.fegetenv(environment)
    libm.fesetenv(ctypes.create_string_buffer(environment.raw[:28] + struct.pack("<I", 0x1F80 | new), 32))

parameters = dict(encoder_layers=(96, 8), epochs=2, random_state=0, n_threads=2)
path = tempfile.mkdtemp() + "/model"
model = Autoencoder(**parameters).fit(X)
expected = bits(model), model.encode(X).tobytes()
weight, bias = model.get_weights()[:2]
code = model.encode(X)
wanted = int(sys.argv[1])
calls = {
    "fit": lambda: model.fit(X), "encode": lambda: model.encode(X), "decode": lambda: model.decode(code),
    "reconstruction_error": lambda: model.reconstruction_error(X), "score": lambda: model.score(X),
    "gradients": lambda: model.gradients(X), "save": lambda: model.save(path, training_state=True),
    "load": lambda: Autoencoder.load(path), "partial_fit": lambda: Autoencoder(**parameters).partial_fit(X),
    "dense_forward": lambda: kernels.dense_forward(X, weight, bias, "tanh"),
    "refused": lambda: model.encode(X[:, :3]),
}
for name, call in calls.items():
    use(wanted)
    before = mode()
    try:
        call()
    except ValueError:
        assert name == "refused", name
    after = mode()
    use(0)
    assert before == 0x1F80 | wanted, hex(before)
    assert after == before, (name, hex(before), hex(after))
use(wanted)
weights, found = bits(model), model.encode(X).tobytes()
use(0)
assert (weights, found) == expected
""", str(mode))
    assert output == ""


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("isa", _core.instruction_sets())
def test_denormals_take_no_longer(isa: str, n_threads: int) -> None:
    """Every thread's kernels take a denormal for 0 and give 0 for one: none waits the 150 cycles that the processor
    needs for each. So no time needs to be measured."""
    before = _core.instruction_set()
    _core.use_instruction_set(isa)
    try:
        shape = (2000, 64)  # 16 MFLOP: enough for both threads
        weight, bias = np.eye(64, dtype=np.float32), np.zeros(64, np.float32)
        small = np.float32(1e-30)
        for x, w in ((np.full(shape, 1e-40, np.float32), weight), (np.full(shape, 1e-10, np.float32), weight * small)):
            assert not kernels.dense_forward(x, w, bias, n_threads=n_threads).any()
        assert kernels.dense_forward(np.full(shape, 2e-38, np.float32), weight, bias, n_threads=n_threads).all()

        param, grad = np.zeros(1000, np.float32), np.zeros(1000, np.float32)
        m, v = np.full(1000, 1.5e-38, np.float32), np.full(1000, 1.176e-38, np.float32)
        for step in range(1, 4):  # the moments of a unit that died, on their way below 1.18e-38
            kernels.adam_step(param, grad, m, v, step)
            assert ((m == 0) | (m >= np.finfo(np.float32).tiny)).all()
        assert not m.any() and not v.any()
        x = (X * np.float32(1e-39)).astype(np.float32)
        assert x.any()
        model = Autoencoder((96, 8), random_state=0, n_threads=n_threads).initialize(64)
        assert model.encode(x).tobytes() == model.encode(np.zeros_like(x)).tobytes()
    finally:
        _core.use_instruction_set(before)
