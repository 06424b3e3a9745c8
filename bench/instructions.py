# SPDX-License-Identifier: Apache-2.0
"""Instructions of a training step, counted by valgrind: a slowdown is seen without a clock, on any machine.

    python bench/instructions.py --program build/bench/isthmus_bench_steps            compare with what is kept
    python bench/instructions.py --program build/bench/isthmus_bench_steps --write    keep these counts

A step's count is that of 2 N epochs less that of N, over the steps between: start-up and output cancel. One thread, and
an instruction set that valgrind knows (it has no AVX-512) and that is forced, so that every machine runs the same code.
Counts are the compiler's, too: with another one than kept, a difference is only told.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from cases import Case, by_name

KEPT = Path(__file__).resolve().parent / "instructions.json"
CASES = ("a", "e")
INSTRUCTION_SETS = ("avx2", "baseline")
STEPS = 100  # at least; the difference is taken between once and twice as many
# Two runs of one program differ by less than 1e-4; a library of another version (memcpy) by some 1e-3.
TOLERANCE = 0.01


@dataclass(frozen=True)
class Count:
    """What one program executes for one training step."""

    case: str
    isa: str
    compiler: str
    instructions_per_step: int

    @property
    def key(self) -> tuple[str, str]:
        return self.case, self.isa


def collected(output: str) -> int:
    """The number of instructions in what callgrind says at its end."""
    found = re.search(r"Collected : (\d+)", output)
    if not found:
        raise SystemExit(f"valgrind counted nothing:\n{output}")
    return int(found[1])


def run(program: Path, case: Case, isa: str, epochs: int) -> tuple[int, str]:
    """Instructions of a whole training, and the compiler that made the program."""
    widths = ",".join(map(str, case.widths))
    arguments = [widths, case.code, case.activation, case.output_activation, case.loss, case.batch, case.rows, epochs]
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", str(program), *map(str, arguments)]
    environment = os.environ | {"ISTHMUS_ISA": isa, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return collected(done.stderr), done.stdout.strip()


def count(program: Path, case: Case, isa: str) -> Count:
    epochs = -(-STEPS // case.steps_per_epoch)
    once, compiler = run(program, case, isa, epochs)
    twice, _ = run(program, case, isa, 2 * epochs)
    return Count(case.name, isa, compiler, round((twice - once) / (epochs * case.steps_per_epoch)))


def compare(found: Count, kept: Count | None) -> tuple[bool, str]:
    """Whether a count passes, and what there is to say about it."""
    about = f"case {found.case}, {found.isa}: {found.instructions_per_step:,} instructions a step"
    if kept is None:
        return False, f"{about}; none is kept: run again with --write"
    change = found.instructions_per_step / kept.instructions_per_step - 1
    about += f", kept {kept.instructions_per_step:,} ({change:+.2%})"
    if found.compiler != kept.compiler:
        return True, f"{about}; only a note, since this is {found.compiler} and the kept count {kept.compiler}'s"
    if change > TOLERANCE:
        return False, f"{about}: more than {TOLERANCE:.0%} above; find out why, or keep it with --write and say why"
    if change < -TOLERANCE:
        return True, f"{about}: fewer; keep them with --write, or the gain can be lost unseen"
    return True, about


def load(path: Path) -> dict[tuple[str, str], Count]:
    if not path.exists():
        return {}
    return {c.key: c for c in (Count(**fields) for fields in json.loads(path.read_text()))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, required=True, help="isthmus_bench_steps, built with the C++ tests")
    parser.add_argument("--write", action="store_true", help="keep the counts instead of comparing them")
    parser.add_argument("--kept", type=Path, default=KEPT)
    arguments = parser.parse_args()
    if platform.machine() not in ("x86_64", "AMD64"):
        print(f"not counted: the kept counts are those of x86-64, this is {platform.machine()}")
        return
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is not installed")

    counts = [count(arguments.program, by_name(name), isa) for name in CASES for isa in INSTRUCTION_SETS]
    if arguments.write:
        arguments.kept.write_text(json.dumps([asdict(c) for c in counts], indent=1) + "\n")
        print(f"wrote {arguments.kept}")
    kept = load(arguments.kept)
    verdicts = [compare(c, kept.get(c.key)) for c in counts]
    for _, words in verdicts:
        print(words)
    if not all(passes for passes, _ in verdicts):
        raise SystemExit("the instruction counts have grown")


if __name__ == "__main__":
    main()
