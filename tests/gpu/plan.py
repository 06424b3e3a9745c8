# SPDX-License-Identifier: Apache-2.0
"""What the command for a real GPU runs: see CONTRIBUTING. With ``emulated`` what of it can run without one."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stages import SECONDS, Command, Stage

ROOT = Path(__file__).resolve().parents[2]
# Tests that between them launch every kind of kernel, small enough for a tool that slows them a hundredfold.
UNDER_SANITIZERS = {
    "test_cuda": ("products_are_exact_on_integers", "single_kernels_are_those_of_the_cpu",
                  "two_runs_give_the_same_bits"),
    "test_cuda_memory": ("every_type_of_element_is_converted", "values_outside_are_found_wherever_they_are",
                         "rows_are_gathered_and_widened"),
    "test_cuda_few_rows": ("a_value_that_is_not_finite_is_seen",),
    "test_cuda_graphs": ("graphs_have_the_bits_of_single_steps",),
    "test_cuda_one_block": ("noise_weights_and_targets_in_every_combination", "the_first_step_that_diverges_is_named"),
    "test_cuda_sparse": ("the_gradient_of_sparse_rows",),
    "test_cuda_tensor_cores": ("products_round_their_operands_alone",
                               "weights_that_are_kept_and_brought_back_are_those_that_products_read"),
    "test_cuda_two_kernels": ("noise_weights_and_targets_in_every_combination",),
    "test_cuda_wide_layers": ("products_of_wide_layers_are_exact_on_integers",),
}  # fmt: skip
# What each tool of compute-sanitizer, or the emulator in its place, says of the bug in planted.cu.
FINDS = {
    "memcheck": ("Invalid __global__ write", "was written to by a kernel"),
    "racecheck": ("Race reported", "wrong at"),
    "synccheck": ("Barrier error", "divergent barrier"),
}
RIGHT = "right"  # of stages side by side
# Programs of the wrappers: of all GPUs, and of compute capability 9.0.
CONFORMANCE = ("test_conformance", "test_conformance_hopper")
CORES = str(len(os.sched_getaffinity(0)))
# Of compute-sanitizer when it has found something.
FOUND = 86


@dataclass(frozen=True)
class Settings:
    work: Path  # what is built and installed
    output: Path  # what is found
    build: Path | None = None  # a build that is there
    emulated: bool = False
    quick: bool = False

    @property
    def site(self) -> Path:
        return self.work / "site"

    @property
    def built(self) -> Path:
        return self.build or self.work / "build"

    def seconds(self, on_a_gpu: float) -> float:
        """Limit of a stage. Machines without a GPU have fewer cores, and the emulator does on them what a GPU does."""
        return 5 * on_a_gpu if self.emulated else on_a_gpu


def plan(settings: Settings, find: Mapping[str, str | None]) -> list[Stage]:
    """The stages in their order. ``find`` says where programs are, or that they are not.

    What asks whether results are right runs side by side, the longest first; the bench has the GPU, and the rest of the
    time, to itself."""
    stages = [] if settings.build else [build(settings)]
    return [*stages, install(settings), conformance(settings), python(settings),
            *sanitizers(settings, find.get("compute-sanitizer")), *cpp(settings), bench(settings)]  # fmt: skip


def programs() -> dict[str, str | None]:
    """Where compute-sanitizer is: on the PATH, or with CUDA."""
    places = [os.environ.get("PATH", "")]
    for home in (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"):
        places += [f"{home}/bin", f"{home}/compute-sanitizer"] if home else []
    return {name: shutil.which(name, path=os.pathsep.join(places)) for name in ("compute-sanitizer", "nvcc")}


def every_device() -> list[str]:
    """The C++ tests of every device: those to which tests/cpp/CMakeLists.txt gives the emulated library."""
    lines = (ROOT / "tests" / "cpp" / "CMakeLists.txt").read_text()
    found = re.search(r"foreach\(name ([\w\s]+)\)\n +add_dependencies\(test_\$\{name\} isthmus_cuda_emulated\)", lines)
    assert found, "tests/cpp/CMakeLists.txt names no tests of every device"
    return found[1].split()


# ---- where things are -----------------------------------------------------------------------------------------------


def library(settings: Settings) -> str:
    emulated, real = "tests/cuda_emulator/libisthmus_cuda_emulated.so", "csrc/cuda/libisthmus_cuda.so"
    return str(settings.built / (emulated if settings.emulated else real))


def program(settings: Settings, name: str) -> str:
    """Of tests/gpu: built by nvcc, or for the emulator."""
    folder, prefix = ("cuda_emulator", "emulated") if settings.emulated else ("gpu", "gpu")
    return str(settings.built / "tests" / folder / f"{prefix}_{name}")


def kernel_bench(settings: Settings) -> str:
    return str(settings.built / "bench" / f"isthmus_bench_gpu_kernels{'_emulated' if settings.emulated else ''}")


def python_environment(settings: Settings) -> dict[str, str]:
    """For programs in Python: the package that was installed, with the library beside it, or the emulated one."""
    path = os.pathsep.join(filter(None, [str(settings.site), os.environ.get("PYTHONPATH", "")]))
    return {"PYTHONPATH": path} | ({"ISTHMUS_CUDA_LIBRARY": library(settings)} if settings.emulated else {})


def cuda(settings: Settings) -> str:
    """ISTHMUS_CUDA: for the GPU of this machine where nvidia-smi can say which, else for all."""
    return "OFF" if settings.emulated else "AUTO" if shutil.which("nvidia-smi") else "ON"


# ---- stages -------------------------------------------------------------------------------------------------------


def build(settings: Settings) -> Stage:
    """The C++ programs and the CUDA library. Named one by one: one that is not built for want of CUDA fails here."""
    tests = [f"test_{name}" for name in every_device()]
    targets = [*tests, "emulated_test_conformance", "emulated_test_conformance_hopper", "emulated_planted",
               "isthmus_bench_gpu_kernels_emulated"]  # fmt: skip
    if not settings.emulated:
        targets = [*tests, "isthmus_cuda", "gpu_test_conformance", "gpu_test_conformance_hopper", "gpu_planted",
                   "isthmus_bench_gpu_kernels"]  # fmt: skip
    folder, generator = str(settings.built), ["-G", "Ninja"] if shutil.which("ninja") else []
    configure = ["cmake", "-S", str(ROOT), "-B", folder, *generator, f"-DISTHMUS_CUDA={cuda(settings)}"]
    make = ["cmake", "--build", folder, "--parallel", CORES, "--target", *targets]
    return Stage("build", [Command(configure), Command(make)], settings.seconds(240))


# That what is imported is what was installed, and has a device. Its first argument is the folder.
CHECK = """
import sys, pathlib, isthmus
from isthmus import _core
assert pathlib.Path(isthmus.__file__).is_relative_to(sys.argv[1]), isthmus.__file__
cuda = _core.cuda()
print(cuda)
assert cuda["auto"] == "cuda:0", cuda["auto_because"]
"""


def install(settings: Settings) -> Stage:
    """The package, as users install it, without a network; into a folder of its own, which no environment sees."""
    define = f"cmake.define.ISTHMUS_CUDA={cuda(settings)}"
    pip = [sys.executable, "-m", "pip", "install", "--no-build-isolation", "--no-deps", "--no-index", "--upgrade",
           "--disable-pip-version-check", "--target", str(settings.site), "-C", define, str(ROOT)]  # fmt: skip
    environment = python_environment(settings) | {"CMAKE_BUILD_PARALLEL_LEVEL": CORES}
    commands = [Command(pip), Command([sys.executable, "-c", CHECK, str(settings.site)])]
    return Stage("install", commands, settings.seconds(180), environment, ["build"] if settings.emulated else [])


def conformance(settings: Settings) -> Stage:
    commands = [Command([program(settings, name)]) for name in CONFORMANCE]
    return Stage("conformance", commands, settings.seconds(30), after=["build"])


def cpp(settings: Settings) -> list[Stage]:
    folder, environment = settings.built / "tests" / "cpp", {"ISTHMUS_CUDA_LIBRARY": library(settings)}
    return [
        Stage(f"cpp {name}", [Command([str(folder / f"test_{name}")])], settings.seconds(90), environment, ["build"],
              beside=RIGHT)
        for name in every_device()
    ]


def python(settings: Settings) -> Stage:
    # Plugins of other packages have no part in these tests, and warnings of theirs would be errors.
    environment = python_environment(settings) | {"ISTHMUS_TEST_DEVICE": "cuda", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(ROOT / "tests" / "python")]
    return Stage("python", [Command(words)], settings.seconds(180), environment, ["install"], beside=RIGHT)


def sanitizers(settings: Settings, tool: str | None) -> list[Stage]:
    """Each is first shown to find its planted bug, and none in the same program without it."""
    environment = {"ISTHMUS_CUDA_LIBRARY": library(settings)}
    folder = settings.built / "tests" / "cpp"
    tests = [[str(folder / name), *chosen] for name, chosen in UNDER_SANITIZERS.items()]
    stages = []
    for check, (words_of_tool, words_of_emulator) in FINDS.items():
        under = [] if settings.emulated else [tool or "", "--tool", check, "--error-exitcode", str(FOUND)]
        planted, words = program(settings, "planted"), words_of_emulator if settings.emulated else words_of_tool
        commands = [
            Command([*under, planted, check, "planted"], finds=words),
            Command([*under, planted, check, "clean"]),
            *(Command([*under, program(settings, name)]) for name in CONFORMANCE),
        ]
        if not settings.quick and not settings.emulated:
            commands += [Command([*under, *test]) for test in tests]
        missing = "" if settings.emulated or tool else "compute-sanitizer was not found"
        stages.append(Stage(check, commands, settings.seconds(150), environment, ["build"], missing, RIGHT))
    return stages


def bench(settings: Settings) -> Stage:
    """Last, with the time that is left: what it does not reach it names."""
    words = [sys.executable, str(ROOT / "bench" / "gpu.py"), "--quick", "--program", kernel_bench(settings)]
    words += ["--output", str(settings.output / "gpu.json"), "--budget", SECONDS]
    if settings.quick or settings.emulated:
        words += ["--cases", "a", *(["b"] if not settings.emulated else [])]
    if settings.emulated:
        words += ["--emulated", "--rounds", "2", "--seconds", "0.02", "--contestants", "isthmus_cuda"]
    return Stage("bench", [Command(words)], settings.seconds(240), python_environment(settings), ["install", "build"])
