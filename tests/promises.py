# SPDX-License-Identifier: Apache-2.0
"""What docs/promises.md claims, measured: runs the tests of each promise, counts what they tried, writes dated JSON,
and writes the page's table from it.

    python tests/promises.py --build build                 # the short forms, with isthmus installed and build/ built
    python tests/promises.py --stages fuzzing --minutes 60
    python tests/promises.py --long                        # the long forms; .ci/long has the whole of it
    python tests/promises.py --page                        # docs/promises.md anew from tests/results

The tests count by themselves where ISTHMUS_COUNTS names a file (checks.counted, counts.hpp).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import promises_page

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "tests" / "results"
LIGHT = ["-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 -g1", "-DISTHMUS_CUDA=OFF"]
FILE_TESTS = ["attacks", "file", "forged_model_file", "json", "model_file", "model_file_memory"]
TEAM_TESTS = ["autoencoder", "small_network", "team", "wide_layers"]  # where threads meet


class NotRunError(Exception):
    """Something that a stage needs is not on this machine."""


@dataclass
class Run:
    """One run of this program."""

    long: bool
    build: Path
    builds: Path
    seconds: int  # of each fuzz target
    counts: Path

    def length(self) -> dict[str, str]:
        """What tells a test that it has time."""
        return {"ISTHMUS_TEST_LONG": "1"} if self.long else {}

    def call(self, command: list[str], **environment: str) -> str:
        """Output; raises when the command fails."""
        print("+", " ".join(command), flush=True)
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, "ISTHMUS_COUNTS": str(self.counts), **environment},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                              check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout[-6000:]}")
        return done.stdout

    def count(self, what: str, n: int) -> None:
        with open(self.counts, "a", encoding="utf-8") as file:
            file.write(f"{n} {what}\n")

    def pytest(self, *arguments: str, **environment: str) -> None:
        output = self.call([sys.executable, "-m", "pytest", "-q", *arguments], **environment)
        self.count("Python tests", int(re.findall(r"(\d+) passed", output)[-1]))

    def cpp(self, folder: Path, names: list[str], **environment: str) -> None:
        for name in names:
            (program,) = folder.glob(f"tests/c*/test_{name}")
            output = self.call([str(program)], **environment)
            self.count("C++ tests", int(re.findall(r"(\d+) passed, 0 failed", output)[-1]))

    def replay(self, folder: Path) -> None:
        for target in ("json", "model_file"):
            output = self.call([str(folder / "tests" / "fuzz" / f"replay_{target}"), f"tests/fuzz/corpus/{target}"])
            self.count("files of the fuzzers' corpus", int(re.findall(r"(\d+) files", output)[-1]))

    def cmake(self, name: str, targets: list[str], *options: str) -> Path:
        folder = self.builds / f"build-{name}"
        self.call(["cmake", "-S", ".", "-B", str(folder), *LIGHT, *options])
        self.call(["cmake", "--build", str(folder), "--parallel", str(os.cpu_count()), "--target", *targets])
        return folder


def clang() -> str:
    found = shutil.which("clang++")
    if found is None:
        raise NotRunError("there is no clang++")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "openmp.cpp"
        source.write_text("#include <omp.h>\nint main() { return omp_get_max_threads() < 1; }\n", encoding="utf-8")
        tried = subprocess.run([found, "-fopenmp", str(source), "-o", f"{folder}/openmp"], capture_output=True,
                               check=False)
    if tried.returncode != 0:
        raise NotRunError("clang++ has no OpenMP (Debian: libomp-14-dev)")
    return found


# ---- the stages -----------------------------------------------------------------------------------------------------


def saving(run: Run) -> None:
    run.cpp(run.build, ["file"])
    run.pytest("tests/python/test_saving_faults.py")


def loading(run: Run) -> None:
    run.cpp(run.build, FILE_TESTS, **run.length())
    run.replay(run.build)
    run.pytest("tests/python/test_attacks.py", "tests/python/test_model_file.py")


def memory(run: Run) -> None:
    run.cpp(run.build, ["allocation_failures", "c_memory", "model_file_memory"])


def processes(run: Run) -> None:
    run.cpp(run.build, ["cgroup", "few_threads", "floating_point", "team"])
    run.pytest("tests/python/test_process.py", "tests/python/test_processes.py", "tests/python/test_large_indices.py",
               "tests/python/test_estimator.py", **run.length())


def bits(run: Run) -> None:
    run.pytest("tests/python/test_bits.py", "tests/python/test_views.py", "tests/python/test_blocks.py")


def fuzzing(run: Run) -> None:
    folder = run.cmake("fuzz", ["all"], f"-DCMAKE_CXX_COMPILER={clang()}", "-DISTHMUS_FUZZ=ON")
    for target in ("model_file", "json"):
        found = run.builds / f"found-{target}"
        found.mkdir(exist_ok=True)
        output = run.call([
            str(folder / "tests" / "fuzz" / f"fuzz_{target}"), f"-max_total_time={run.seconds}", "-max_len=8192",
            "-timeout=60", "-rss_limit_mb=2048", "-malloc_limit_mb=16", "-print_final_stats=1",
            f"-artifact_prefix={found}/crash-", str(found), f"tests/fuzz/corpus/{target}"], OMP_NUM_THREADS="1")
        done, seconds = re.findall(r"Done (\d+) runs in (\d+) second", output)[-1]
        run.count(f"inputs made up for {target}", int(done))
        run.count("seconds of fuzzing", int(seconds))


def address(run: Run) -> None:
    """AddressSanitizer with UndefinedBehaviorSanitizer: the C++ tests; in the long form all of them, and pytest."""
    options = ["-DISTHMUS_SANITIZE=address,undefined"] + ([] if run.long else ["-DISTHMUS_BASELINE_ONLY=ON"])
    strict = {"ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1", "UBSAN_OPTIONS": "halt_on_error=1"}
    # Changing every byte of a header takes a minute under the sanitizer: in the long form.
    short = [name for name in FILE_TESTS if name != "forged_model_file"] + ["team"]
    targets = ["all"] if run.long else [f"test_{name}" for name in short] + ["replay_json", "replay_model_file"]
    folder = run.cmake("asan", targets, *options)
    run.replay(folder)
    if not run.long:
        return run.cpp(folder, short, **strict)
    output = run.call(["ctest", "--test-dir", str(folder), "--output-on-failure"], **strict)
    run.count("C++ test programs", int(re.findall(r"tests passed.*out of (\d+)", output)[-1]))
    return python_under_address_sanitizer(run)


def python_under_address_sanitizer(run: Run) -> None:
    """Preloads both libraries into the real interpreter; leaks are looked for in the C++ tests, Python has its own."""
    site = run.builds / "asan-site"
    defines = {"ISTHMUS_SANITIZE": "address,undefined", "ISTHMUS_CUDA": "OFF", "ISTHMUS_BASELINE_ONLY": "ON",
               "CMAKE_CXX_FLAGS_RELWITHDEBINFO": "-O1 -g1"}
    run.call([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--upgrade",
              "--target", str(site), "-Ccmake.build-type=RelWithDebInfo", f"-Cbuild-dir={run.builds / 'build-asan-py'}",
              *(f"-Ccmake.define.{name}={value}" for name, value in defines.items()), "."])
    gcc = os.environ.get("CXX", "c++")
    libraries = [run.call([gcc, f"-print-file-name={name}"]).strip() for name in ("libasan.so", "libstdc++.so")]
    run.pytest("-p", "no:cacheprovider", *NOT_UNDER_ADDRESS_SANITIZER, LD_PRELOAD=":".join(libraries),
               PYTHONMALLOC="malloc", PYTHONPATH=str(site), UBSAN_OPTIONS="halt_on_error=1",
               ASAN_OPTIONS="detect_leaks=0:detect_stack_use_after_return=1:allocator_may_return_null=1")


# What measures or limits the very thing that the sanitizer changes: address space, system calls, imports and packages
# whose own libraries it stops.
NOT_UNDER_ADDRESS_SANITIZER = [f"--ignore=tests/python/test_{name}.py" for name in (
    "bench", "bench_anomaly", "bench_gpu", "bench_measuring", "bench_report", "cli_bench", "examples", "gpu_command",
    "import", "onnx", "sass", "saving_faults", "stubs", "torch")] + [
    "--deselect=tests/python/test_bad_input.py::test_absurd_widths_name_the_bytes",
    "--deselect=tests/python/test_blocks.py", "-k", "not torch"]


def thread(run: Run) -> None:
    """ThreadSanitizer, by LLVM's OpenMP runtime, whose joins libarcher tells it of."""
    archer = next(iter(sorted(Path("/usr/lib").glob("llvm-*/lib/libarcher.so"))), None)
    if archer is None:
        raise NotRunError("there is no libarcher.so (Debian: libomp-14-dev)")
    tests = TEAM_TESTS if not run.long else [*TEAM_TESTS, "kernels", "trainer", "reducer", "divergence", "passes"]
    options = [f"-DCMAKE_CXX_COMPILER={clang()}", "-DISTHMUS_SANITIZE=thread", "-DISTHMUS_BASELINE_ONLY=ON"]
    folder = run.cmake("tsan", [f"test_{name}" for name in tests] + ["planted_race"], *options)
    settings = {"OMP_TOOL_LIBRARIES": str(archer), "TSAN_OPTIONS": "ignore_noninstrumented_modules=1"}
    planted = run.call(["ctest", "--test-dir", str(folder), "-R", "planted_race", "--output-on-failure"], **settings)
    run.count("planted races found", len(re.findall(r"planted_race_is_found .*Passed", planted)))
    run.cpp(folder, tests, **settings)  # a report is an exit status of 66
    if run.long:  # kernels as fibers, by the compiler that builds the emulator elsewhere
        folder = run.cmake("tsan-emulator", ["all"], "-DISTHMUS_SANITIZE=thread", "-DISTHMUS_BASELINE_ONLY=ON")
        output = run.call(["ctest", "--test-dir", str(folder), "-R", "^emulator", "--output-on-failure"])
        run.count("test programs of the emulated CUDA device",
                  int(re.findall(r"tests passed.*out of (\d+)", output)[-1]))


STAGES: dict[str, Callable[[Run], None]] = {
    "saving": saving, "loading": loading, "memory": memory, "processes": processes, "bits": bits, "fuzzing": fuzzing,
    "address": address, "thread": thread}


def read_counts(path: Path) -> dict[str, int]:
    total: Counter[str] = Counter()
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            n, what = line.split(" ", 1)
            total[what] += int(n)
    return dict(total)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true", help="the long forms")
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="a build of the C++ tests")
    parser.add_argument("--builds", type=Path, default=ROOT, help="where the builds with sanitizers go")
    parser.add_argument("--minutes", type=float, default=0.25, help="of each fuzz target")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--page", action="store_true", help="write docs/promises.md from tests/results, run nothing")
    arguments = parser.parse_args()
    if arguments.page:
        promises_page.write(ROOT / "docs" / "promises.md", RESULTS)
        return 0
    arguments.output.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    report: dict[str, Any] = {"date": f"{now:%Y-%m-%d}", "form": "long" if arguments.long else "short",
                              "machine": platform.machine(), "processors": os.cpu_count(), "stages": {}}
    output = arguments.output / f"{now:%Y-%m-%d-%H%M}-{report['form']}.json"
    for name in arguments.stages:
        counts = output.with_suffix(".counts")
        counts.unlink(missing_ok=True)
        run = Run(arguments.long, arguments.build.absolute(), arguments.builds.absolute(), int(60 * arguments.minutes),
                  counts.absolute())
        began, verdict = time.monotonic(), "passed"
        try:
            STAGES[name](run)
        except NotRunError as reason:
            verdict = f"not run: {reason}"
        except RuntimeError as error:
            verdict = "failed"
            print(error, file=sys.stderr)
        report["stages"][name] = {"verdict": verdict, "seconds": round(time.monotonic() - began),
                                  "counts": read_counts(counts)}
        counts.unlink(missing_ok=True)
        print(f"{name}: {verdict}, {report['stages'][name]['counts']}", flush=True)
        output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return int(any(stage["verdict"] == "failed" for stage in report["stages"].values()))


if __name__ == "__main__":
    sys.exit(main())
