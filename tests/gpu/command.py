# SPDX-License-Identifier: Apache-2.0
"""Everything that needs a real GPU, in one command that ends within eight minutes on 16 cores, with no network.

    tests/gpu/run                              all of it
    tests/gpu/run --quick                      the sanitizers on small programs alone, the bench on two cases
    tests/gpu/run --stages memcheck racecheck --build build --output found
    tests/gpu/run --emulated                   what of it runs without a GPU, to try the command itself

Builds, installs the package, runs the conformance tests of the PTX wrappers, the C++ and Python tests on the GPU,
compute-sanitizer, each of its tools first shown to find a planted bug, and the bench. Writes results.json, after every
stage anew, the bench's gpu.json, and log.txt.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from plan import ROOT, Settings, plan, programs
from stages import PASSED, Result, chosen, run_stages, table

sys.path.insert(0, str(ROOT / "bench"))
import machine

SECONDS = 460.0  # and some for the rest


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", nargs="+", default=[], help="build, install, ...: default: all")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--emulated", action="store_true", help="on the emulated CUDA device; no GPU is needed")
    parser.add_argument("--seconds", type=float, help=f"for all stages; default: {SECONDS:.0f}; emulated: 3600")
    parser.add_argument("--output", type=Path, default=Path("gpu-results"), help="a folder; default: gpu-results")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="for what is built; default: one that goes away")
    parser.add_argument("--build", type=Path, metavar="FOLDER", help="a CMake build with the programs; builds none")
    return parser.parse_args()


def said(*words: str) -> str | None:
    """The last line but blank ones that a program prints, or None."""
    try:
        output = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else None


def versions(find: dict[str, str | None]) -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version(), "c++": None}
    if compiler := said("c++", "-dumpfullversion"):
        found["c++"] = compiler
    for name in ("numpy", "torch", "jax", "pybind11", "scikit-build-core", "cmake", "ninja", "pytest"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    for name, path in find.items():
        found[name] = said(path, "--version") if path else None
    return found


def report(results: list[Result], facts: dict[str, Any], to_come: list[str]) -> dict[str, Any]:
    """What results.json holds. ``passed`` is true when every stage ran and passed; ``to_come`` are those that have not
    ended, in a run that was killed."""
    passed = not to_come and all(r.result == PASSED for r in results)
    return facts | {"passed": passed, "stages": [r.as_json() for r in results], "to_come": to_come}


def main() -> int:
    arguments = parse()
    # CMake and Ninja may be packages of this Python.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    os.environ.pop("ISTHMUS_CUDA_LIBRARY", None)  # the one that was installed, or the emulated one
    output: Path = arguments.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    with tempfile.TemporaryDirectory(prefix="isthmus-gpu-") as temporary:
        work = (arguments.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        build = arguments.build.resolve() if arguments.build else None
        settings = Settings(work, output, build, arguments.emulated, arguments.quick)
        find = programs()
        stages = chosen(plan(settings, find), arguments.stages)
        gpu = machine.gpu()
        facts = {
            "started": started,
            "emulated": arguments.emulated,
            "quick": arguments.quick,
            "device": gpu["name"] if gpu else None,
            "driver": gpu["driver"] if gpu else None,
            "gpu": gpu,
            "machine": machine.describe(),
            "versions": versions(find),
        }
        print(f"{facts['device'] or 'no GPU'}, driver {facts['driver'] or 'none'}", flush=True)
        (output / "log.txt").unlink(missing_ok=True)
        ended: list[Result] = []

        def write(results: list[Result], to_come: list[str]) -> None:
            (output / "results.json").write_text(json.dumps(report(results, facts, to_come), indent=1) + "\n")

        def tell(result: Result) -> None:
            ended.append(result)
            print(f"{result.stage}: {result.result}, {result.seconds:.0f} s {result.why}".rstrip(), flush=True)
            done = {r.stage for r in ended}
            write(ended, [stage.name for stage in stages if stage.name not in done])

        write([], [stage.name for stage in stages])
        with open(output / "log.txt", "a") as log:  # the programs write to it, too
            results = run_stages(
                stages,
                arguments.seconds or (3600.0 if arguments.emulated else SECONDS),
                work,
                log,
                tell,
            )
    write(results, [])
    print(f"\n{table(results)} in {time.monotonic() - began:.0f} s")
    print(f"wrote {output / 'results.json'} and log.txt beside it")
    print_tails(results, output / "log.txt")
    return 0 if all(result.result == PASSED for result in results) else 1


def print_tails(results: list[Result], log: Path) -> None:
    """The end of what each stage that did not pass has printed."""
    parts = dict(part.split("\n", 1) for part in log.read_text(errors="replace").split("\n==== ")[1:])
    for result in results:
        if result.result != PASSED and result.stage in parts:
            print(f"\n---- {result.stage}\n" + "\n".join(parts[result.stage].splitlines()[-25:]))
