# SPDX-License-Identifier: Apache-2.0
"""The shell: ``isthmus demo | fit | encode | decode | score | info | bench | doctor``, also ``python -m isthmus``.

Each command is one function that takes the parsed arguments; here they get their options, and every exception that a
user can cause becomes one line on standard error and an exit status.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from isthmus import __version__, _embedding
from isthmus._cli import bench, commands, demo, doctor, options

USAGE_ERROR = 2  # bad arguments, files or values
FAILED = 1  # good input, but the work could not be done: divergence, memory
INTERRUPTED = 130

TABLE = (
    "FILE.npy, FILE.npz (its array X or its only array), FILE.npz:KEY, FILE.csv (numbers, with or without a header) or "
    "an IDX file, also as .gz; images become rows"
)


class _Print(argparse.Action):
    """Prints where something is and ends, like --version."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print(_embedding.PLACES[self.dest]())
        parser.exit()


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_ERROR, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="isthmus", description="Autoencoders on dense layers, fast.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"isthmus {__version__}")
    for place, find in _embedding.PLACES.items():
        summary = " ".join((find.__doc__ or "").replace("``", "").split())
        parser.add_argument(f"--{place}", action=_Print, nargs=0, help=f"print and exit: {summary}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, summary: str, run: options.Command) -> argparse.ArgumentParser:
        sub = subparsers.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        sub.set_defaults(run=run)
        return sub

    sub = command("demo", "train on 1,797 handwritten digits and compare with PCA", demo.run)
    sub.add_argument("-o", "--output", default="isthmus_demo.png", metavar="FILE.png", help="the picture (%(default)s)")

    sub = command("fit", "train a model on the rows of a table and save it", commands.fit)
    sub.add_argument("X", help=TABLE)
    sub.add_argument("-o", "--output", required=True, metavar="MODEL.safetensors", help="the model file to write")
    sub.add_argument("--validation", metavar="FILE", help="a table to validate on after every epoch")
    sub.add_argument("--sample-weight", metavar="FILE", help="a table of one column: the weight of each row of X")
    sub.add_argument("--checkpoint", metavar="FOLDER", help="leave checkpoints there, to resume from")
    sub.add_argument(
        "--checkpoint-every", type=options.parse_value, default=1, metavar="EPOCHS", help="how often (%(default)s)"
    )
    sub.add_argument("--resume", action="store_true", help="go on from the newest checkpoint, if there is one yet")
    sub.add_argument("--training-state", action="store_true", help="store what further training needs, too")
    options.add_scaling(sub)
    options.add_constructor_parameters(sub)

    sub = command("encode", "write the code of each row", commands.encode)
    sub.add_argument("model", help="a model file")
    sub.add_argument("X", help=TABLE)
    options.add_output(sub, required=True)
    options.add_inference(sub)

    sub = command("decode", "write the reconstruction of each code", commands.decode)
    sub.add_argument("model", help="a model file")
    sub.add_argument("codes", help="a table of codes, as written by encode")
    options.add_output(sub, required=True)
    options.add_inference(sub, scaling=False)

    sub = command("score", "print the mean reconstruction error; -o writes that of each row", commands.score)
    sub.add_argument("model", help="a model file")
    sub.add_argument("X", help=TABLE)
    options.add_output(sub, required=False)
    options.add_inference(sub)

    sub = command("info", "say what is in a model file, after checking its digest", commands.info)
    sub.add_argument("model", help="a model file")
    sub.add_argument("--json", action="store_true", help="as one JSON object")

    sub = command("bench", "measure training and reconstruction beside a NumPy loop, in twenty seconds", bench.run)
    sub.add_argument("--json", action="store_true", help="as one JSON object, with the time of every round")
    sub.add_argument("--quick", action="store_true", help="short turns: two seconds, rough numbers")
    options.add_n_threads(sub)

    sub = command("doctor", "say what this installation found on this machine, and why", doctor.run)
    sub.add_argument("--json", action="store_true", help="as one JSON object")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; ``sys.argv[1:]`` when None.

    Returns
    -------
    int
        0; 1 when the work could not be done (divergence, memory); 2 for bad usage or input; 130 after Ctrl-C.
    """
    parser = _parser()
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as stop:  # --help, --version, bad usage
        return int(stop.code or 0)

    def show_warning(message: Warning | str, *_: object, **__: object) -> None:
        print(f"isthmus {arguments.command}: warning: {message}", file=sys.stderr)

    try:
        with warnings.catch_warnings():
            warnings.showwarning = show_warning
            arguments.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # isthmus info m.safetensors | head -n 1; the interpreter must not flush into it again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (ArithmeticError, MemoryError, RuntimeError) as error:
        return _say(arguments.command, error, FAILED)
    except (ValueError, TypeError, OSError) as error:
        return _say(arguments.command, error, USAGE_ERROR)
    return 0


def _say(command: str, error: BaseException, status: int) -> int:
    message = " ".join(str(error).split()) or type(error).__name__
    print(f"isthmus {command}: {message}", file=sys.stderr)
    return status
