# SPDX-License-Identifier: Apache-2.0
"""The process around a model: forks, other OpenMP users, the floating-point mode, signals, environment variables."""

from __future__ import annotations

import pytest
from checks import run_python
from isthmus import _core

BEGIN = """
import os, signal, sys, threading, time
import numpy as np
from isthmus import Autoencoder
from checks import bits
x = np.random.default_rng(0).random((3000, 64)).astype(np.float32)
parameters = dict(encoder_layers=(96, 8), epochs=2, random_state=0, n_threads=2)
"""


def test_a_forked_child_finishes() -> None:
    run_python(BEGIN + """
model = Autoencoder(**parameters).fit(x)
works = {"encode": lambda: model.encode(x).tobytes() == code, "fit": lambda: bits(model.fit(x)) == weights}
for name, work in works.items():
    code, weights = model.encode(x).tobytes(), bits(model)
    child = os.fork()
    if child == 0:
        os._exit(0 if work() else 3)
    for _ in range(600):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.1)
    else:
        os.kill(child, signal.SIGKILL)
        sys.exit(f"{name} hangs in a forked child")
    assert os.waitstatus_to_exitcode(status) == 0, (name, status)
    assert model.encode(x).tobytes() == code  # the parent goes on
""")


def test_the_floating_point_mode_is_left_alone() -> None:
    run_python(BEGIN + """
def denormals():
    tiny = np.array([1e-40, 3e-39], np.float32)
    return (tiny * np.float32(0.5)).tobytes(), float(5e-324) * 1.0

before = denormals()
assert before[0] != b"\\0" * 8
with np.errstate(all="raise"):
    Autoencoder(**parameters).fit(x).encode(x)
assert denormals() == before
""")


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "OMP_DYNAMIC", "OMP_WAIT_POLICY"])
def test_environment_variables_do_not_change_a_bit(name: str) -> None:
    values = {"OMP_NUM_THREADS": "3", "OMP_THREAD_LIMIT": "1", "OMP_DYNAMIC": "true", "OMP_WAIT_POLICY": "active"}
    code = BEGIN + "print(hash(bits(Autoencoder(**parameters).set_params(n_threads=None).fit(x))))"
    reference = run_python(code, env={"PYTHONHASHSEED": "0"})
    assert run_python(code, env={"PYTHONHASHSEED": "0", name: values[name]}) == reference


def test_an_unknown_instruction_set_is_named() -> None:
    output = run_python("""
from isthmus import Autoencoder
try:
    Autoencoder().initialize(3)
except ValueError as error:
    print(error)
""", env={"ISTHMUS_ISA": "no_such_set"})
    assert "ISTHMUS_ISA" in output
    assert "no_such_set" in output
    assert all(name in output for name in _core.instruction_sets())


@pytest.mark.parametrize("first", [True, False], ids=["torch first", "torch second"])
def test_beside_pytorch(first: bool) -> None:
    """Both bring an OpenMP runtime of their own."""
    pytest.importorskip("torch")
    torch = "import torch; torch.set_num_threads(2); a = torch.rand(512, 512); a @ a\n"
    train = BEGIN + "print(hash(bits(Autoencoder(**parameters).fit(x))))\n"
    alone = run_python(train, env={"PYTHONHASHSEED": "0"})
    together = run_python(torch + train if first else train + torch, env={"PYTHONHASHSEED": "0"})
    assert together == alone


INTERRUPT = BEGIN + """
x = np.tile(x, (10, 1))  # an epoch takes much longer than the way from one to the next
parameters |= dict(batch_size=16, warm_start=True)
model = Autoencoder(**{**parameters, "epochs": 100_000})
pressed, seen = [], []

def press(_, info):
    seen.append(info["epoch"])
    # From the second epoch on a timer runs: Ctrl-C falls into the middle of a later one.
    if info["epoch"] == 2:
        threading.Timer(0.05, lambda: (pressed.append(time.monotonic()), os.kill(os.getpid(), signal.SIGINT))).start()

try:
    model.fit(x, callbacks=[press])
except KeyboardInterrupt:
    print("interrupted after", time.monotonic() - pressed[0])
else:
    sys.exit("no KeyboardInterrupt")
assert model.transform(x).shape == (30000, 8)
done = model.n_iter_
# Nothing that was done is lost; the signal may come between the end of an epoch and its callback.
assert done - seen[-1] in (0, 1) and done >= 2, (done, seen[-1])
assert len(model.history_["loss"]) == done
# The epoch that was interrupted is finished first: the same weights as without the interruption.
model.set_params(epochs=3).fit(x)
assert model.n_iter_ == done + 3
whole = Autoencoder(**{**parameters, "epochs": done + 3}).fit(x)
assert bits(model) == bits(whole), "another result after an interruption"
assert model.history_["loss"] == whole.history_["loss"]
"""


def test_ctrl_c_leaves_a_fitted_model_that_goes_on_with_the_same_bits() -> None:
    assert "interrupted after" in run_python(INTERRUPT)


def test_ctrl_c_in_the_first_epoch() -> None:
    """A single epoch that takes seconds is left within it, not at its end."""
    run_python(BEGIN + """
x = np.tile(x, (200, 1))
model = Autoencoder(**{**parameters, "epochs": 1000, "batch_size": 32})
threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    model.fit(x)
except KeyboardInterrupt:
    pass
else:
    sys.exit("no KeyboardInterrupt")
assert model.n_iter_ < 50
assert np.isfinite(model.encode(x[:10])).all()
""")
