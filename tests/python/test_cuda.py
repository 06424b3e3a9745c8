# SPDX-License-Identifier: Apache-2.0
"""device= : who is taken, who is refused and with which words, and how a model moves. What a GPU computes is tested by
the modules marked ``every_device``; the tests here that need one run where ISTHMUS_TEST_DEVICE names it.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import DEVICE, assert_close, assert_same_bits, bits, random_weights, run_python, start_from
from isthmus import Autoencoder, _core, kernels
from numpy.typing import NDArray

pytestmark = pytest.mark.every_device
on_a_gpu = pytest.mark.skipif(DEVICE == "cpu", reason="ISTHMUS_TEST_DEVICE names no GPU")
without_a_gpu = pytest.mark.cpu_only

TRY = """
import numpy as np, sys
from isthmus import Autoencoder, kernels
x = np.random.default_rng(0).random((20, 6)).astype(np.float32)
data = Autoencoder((2,), epochs=1, device="cpu", random_state=0).fit(x).to_bytes()
for call in (lambda: Autoencoder((2,), device=sys.argv[1]).fit(x),
             lambda: Autoencoder((2,), device=sys.argv[1]).initialize(6),
             lambda: Autoencoder.from_bytes(data, device=sys.argv[1]),
             lambda: kernels.activation_forward(x, "relu", device=sys.argv[1]),
             lambda: Autoencoder.from_bytes(data, device="cpu").set_params(device=sys.argv[1]).encode(x)):
    try:
        print("done", getattr(call(), "device_", ""))
    except RuntimeError as error:
        print("RuntimeError", error)
"""


@pytest.fixture
def x(rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.random((90, 8)).astype(np.float32)


# ---- without a GPU --------------------------------------------------------------------------------------------------

# What ISTHMUS_CUDA_LIBRARY is, and what the messages then say.
MISSING = {
    "turned off": ("", "turns CUDA off"),
    "no file": ("/no/such/library.so", "ISTHMUS_CUDA_LIBRARY names /no/such/library.so, which does not exist"),
    "no library": (__file__, f"{__file__} cannot be opened"),
    "another library": (_core.__file__, "no isthmus_cuda_device"),
}


@without_a_gpu
@pytest.mark.parametrize("library,words", MISSING.values(), ids=MISSING)
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_cuda_is_refused_with_what_was_found(device: str, library: str, words: str) -> None:
    lines = run_python(TRY, device, env={"ISTHMUS_CUDA_LIBRARY": library}).splitlines()
    assert len(lines) == 5
    for line in lines:
        assert line.startswith('RuntimeError device="cuda:' + ("1" if device == "cuda:1" else "0"))
        assert words in line and "; found " in line


@without_a_gpu
@pytest.mark.parametrize("library,words", MISSING.values(), ids=MISSING)
def test_auto_falls_back(library: str, words: str) -> None:
    output = run_python(TRY, "auto", env={"ISTHMUS_CUDA_LIBRARY": library})
    assert output.split() == ["done", "cpu"] * 3 + ["done"] * 2


@without_a_gpu
def test_a_build_that_finds_no_gpu() -> None:
    """As it was installed: auto takes the CPU and cuda is refused, where there is no CUDA part, driver or GPU."""
    code = """
import os
del os.environ["ISTHMUS_CUDA_LIBRARY"]
from isthmus import Autoencoder, _core
taken = Autoencoder().initialize(3).device_
assert taken == _core.cuda()["auto"]
try:
    print(taken, Autoencoder(device="cuda").initialize(3).device_)
except RuntimeError as error:
    print(taken, error)
"""
    taken, _, outcome = run_python(code).strip().partition(" ")
    if taken == "cpu":
        assert "found" in outcome or "CUDA" in outcome
    else:
        assert taken == outcome == "cuda:0"


@without_a_gpu
@pytest.mark.parametrize("device", ["gpu", "", "cuda:", "cuda:-1", "cuda:x", "cuda:1 ", "cuda: 1", "CUDA", "cpu:0",
                                    "cuda:99999999999999999999", "cuda:\N{SUPERSCRIPT TWO}"])
def test_what_is_no_device_is_a_value_error(device: str) -> None:
    for call in (lambda: Autoencoder(device=device).initialize(3), lambda: Autoencoder.from_bytes(b"", device=device),
                 lambda: kernels.activation_forward(np.ones((1, 1), np.float32), "relu", device=device)):
        with pytest.raises(ValueError, match='device must be "auto", "cpu", "cuda" or "cuda:N"; got "'):
            call()


@without_a_gpu
def test_the_choice_of_auto_is_made_once() -> None:
    """A missing library is looked for once, and importing looks for nothing."""
    if subprocess.run(["strace", "-V"], capture_output=True, check=False).returncode != 0:
        pytest.skip("strace is not installed")
    code = "import isthmus; isthmus.Autoencoder().initialize(3); isthmus.Autoencoder().initialize(3)"
    for script, looks in ((code, 1), ("import isthmus", 0)):
        environment = {"ISTHMUS_CUDA_LIBRARY": "/no/such/isthmus.so", "PATH": "/usr/bin:/bin"}
        done = subprocess.run(["strace", "-f", "-e", "trace=file", sys.executable, "-c", script], capture_output=True,
                              text=True, check=False, env=environment)
        if "PTRACE" in done.stderr:
            pytest.skip("strace may not trace here")
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("/no/such/isthmus.so") == looks
        assert "libcuda" not in done.stderr


@without_a_gpu
def test_a_pickled_model_of_a_gpu_is_refused_elsewhere(x: NDArray) -> None:
    model = Autoencoder((3,), epochs=1, device="cpu").fit(x)
    model.device = "cuda"  # as it would be after a fit there
    data = pickle.dumps(model)
    with pytest.raises(RuntimeError, match='device="cuda:0"'):
        pickle.loads(data)


# ---- doctor ---------------------------------------------------------------------------------------------------------


def doctor(**environment: str) -> dict[str, Any]:
    text = run_python("from isthmus._cli import main; main(['doctor', '--json'])", env=environment)
    found: dict[str, Any] = json.loads(text)["gpu"]
    return found


@without_a_gpu
@pytest.mark.parametrize("library,words", MISSING.values(), ids=MISSING)
def test_doctor_says_why_there_is_none(library: str, words: str) -> None:
    found = doctor(ISTHMUS_CUDA_LIBRARY=library)
    assert found["library"].startswith("none: ") and words in found["library"]
    assert found["auto_takes"] == "cpu" and "no library" in found["because"]
    assert found["ISTHMUS_CUDA_LIBRARY"] == library
    assert found["driver"].startswith("none: ") or "CUDA" in found["driver"]
    assert found["devices"] == "none" or found["devices"][0].startswith("cuda:0: ")


@without_a_gpu
def test_doctor_names_the_driver_that_the_build_needs() -> None:
    found, cuda = doctor(), _core.cuda()
    if cuda["built_with"] is None:
        assert found["built_with"] == "without CUDA" and found["driver_needed"].startswith("none")
    else:
        assert found["built_with"] == f"CUDA {cuda['built_with']}"
        assert found["driver_needed"].endswith("or newer")


@on_a_gpu
def test_doctor_says_which_gpu_auto_takes() -> None:
    found = doctor()
    assert found["auto_takes"] == "cuda:0" and found["library"] == _core.cuda()["library"]


# ---- with a GPU, or its emulation -----------------------------------------------------------------------------------


@on_a_gpu
def test_device_tells_what_was_taken(x: NDArray) -> None:
    for device, taken in (("cuda", "cuda:0"), ("cuda:0", "cuda:0"), ("auto", "cuda:0"), ("cpu", "cpu")):
        assert Autoencoder((3,), device=device).initialize(8).device_ == taken
        assert Autoencoder((3,), epochs=1, device=device).fit(x).device_ == taken
    with pytest.raises(RuntimeError, match="cuda:77"):
        Autoencoder((3,), device="cuda:77").fit(x)


@on_a_gpu
def test_the_tests_of_every_device_run_on_it(x: NDArray) -> None:
    """The defaults that checks.py sets, without which these runs would be the CPU's once more."""
    model = Autoencoder((3,), epochs=1).fit(x)
    assert model.device_ == "cuda:0" == Autoencoder.from_bytes(model.to_bytes()).device_
    for name in kernels.__all__:
        assert getattr(kernels, name).__kwdefaults__["device"] == DEVICE
    assert run_python("import checks, isthmus; print(isthmus.Autoencoder().initialize(2).device_)") == "cuda:0\n"


@on_a_gpu
def test_a_model_moves_with_its_parameter_and_its_file(x: NDArray, tmp_path: Path) -> None:
    model = Autoencoder((3,), epochs=2, random_state=0, device=DEVICE, warm_start=True).fit(x)
    code = model.encode(x)
    model.save(tmp_path / "model.safetensors", training_state=True)
    loaded = Autoencoder.load(tmp_path / "model.safetensors", device="cpu")
    assert loaded.device_ == "cpu" and bits(loaded) == bits(model)
    assert_close(loaded.encode(x), code)
    loaded.set_params(device=DEVICE)
    assert_same_bits(loaded.encode(x), code)
    assert loaded.device_ == "cuda:0"
    # The training state moves, too: the moments and counters of a fit that goes on.
    assert bits(loaded.fit(x)) == bits(model.fit(x))
    assert pickle.loads(pickle.dumps(model)).device_ == "cuda:0"


@on_a_gpu
@pytest.mark.parametrize("loss", _core.losses())
@pytest.mark.parametrize("optimizer", _core.optimizers())
def test_training_follows_the_cpu(loss: str, optimizer: str, x: NDArray, rng: np.random.Generator) -> None:
    weights = random_weights(rng, (8, 7, 3, 7, 8))
    on_cpu, on_gpu = (
        start_from(Autoencoder((7, 3), activation="tanh", code_activation="tanh", loss=loss, optimizer=optimizer,
                               epsilon=1e-4, momentum=0.9, batch_size=18, epochs=10, warm_start=True, random_state=0,
                               input_noise=0.1, device=device), weights).fit(x) for device in ("cpu", DEVICE))
    # 50 steps; mae's derivative jumps, so that a rounding error may take the other side.
    tolerance = 1e-4 if loss == "mae" else 1e-5
    for i, (a, b) in enumerate(zip(on_gpu.get_weights(), on_cpu.get_weights(), strict=True)):
        assert_close(a, b, tolerance=tolerance, what=f"parameter {i}")
    np.testing.assert_allclose(on_gpu.history_["loss"], on_cpu.history_["loss"], rtol=tolerance)


@on_a_gpu
def test_a_fork_is_told() -> None:
    run_python("""
import os, signal, sys, time
import numpy as np
import checks  # the device
from isthmus import Autoencoder
x = np.random.default_rng(0).random((30, 6)).astype(np.float32)
model = Autoencoder((3,), epochs=1).fit(x)
assert model.device_ == "cuda:0"

def refused(work):
    try:
        work()
    except RuntimeError as error:
        return "forked" in str(error)
    return False

child = os.fork()
if child == 0:
    told = refused(lambda: model.encode(x)) and refused(lambda: model.fit(x)) and refused(lambda: Autoencoder().fit(x))
    fine = Autoencoder((3,), device="cpu", epochs=1).fit(x).device_ == "cpu"
    back = Autoencoder((3,), device="auto", epochs=1).fit(x).device_ == "cpu"
    os._exit(0 if told and fine and back else 3)
for _ in range(600):
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
        break
    time.sleep(0.1)
else:
    os.kill(child, signal.SIGKILL)
    sys.exit("hangs in a forked child")
assert os.waitstatus_to_exitcode(status) == 0, status
model.encode(x)  # the parent goes on
""")
