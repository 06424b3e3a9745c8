# SPDX-License-Identifier: Apache-2.0
"""Options of the shell. Those of ``fit`` are the constructor's parameters: names, defaults and help are read from
``Autoencoder`` itself, so that a new parameter is an option at once.

A value is read as None, a truth value, an integer, a number or a text, in this order; what is allowed, the estimator
says.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Callable
from typing import Any

from isthmus import Autoencoder

Command = Callable[[argparse.Namespace], None]

# The shell shows progress unless told otherwise; the estimator is silent.
SHELL_DEFAULTS: dict[str, Any] = {"verbose": 1}
_PREFIX = "parameter_"


def parse_value(text: str) -> object:
    """``none`` -> None, ``true`` -> True, ``3`` -> 3, ``1e-3`` -> 0.001, anything else is a text."""
    word = text.strip()
    constants: dict[str, object] = {"none": None, "true": True, "false": False}
    if word.lower() in constants:
        return constants[word.lower()]
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def parse_layers(text: str) -> object:
    """``128,32`` -> (128, 32), ``none`` -> None, an empty text -> ()."""
    if text.strip().lower() == "none":
        return None
    return tuple(parse_value(word) for word in text.split(",")) if text.strip() else ()


def constructor_parameters() -> list[inspect.Parameter]:
    """Of ``Autoencoder``, in order, without self."""
    return list(inspect.signature(Autoencoder).parameters.values())


def parameter_help() -> dict[str, str]:
    """Name -> type and first sentence of its entry in the class's docstring (numpydoc; ``a, b : int`` serves both)."""
    section = re.search(
        r"^Parameters\n-+\n(.*?)^\w+\n-+\n", inspect.getdoc(Autoencoder) or "", re.MULTILINE | re.DOTALL
    )
    found: dict[str, str] = {}
    if section:
        entries = re.findall(r"^(\w[\w, ]*?) : ([^\n]*)\n((?:[ \t]+[^\n]*\n|\n)*)", section[1], re.MULTILINE)
        for names, kind, body in entries:
            sentence = re.split(r"(?<=\.) ", " ".join(body.split()), maxsplit=1)[0].rstrip(".;")
            found.update((name.strip(), f"{kind}: {sentence}" if sentence else kind) for name in names.split(","))
    return found


def add_constructor_parameters(parser: argparse.ArgumentParser) -> None:
    """One option for every parameter; what is not given is left to the constructor."""
    group = parser.add_argument_group("model and training, as Autoencoder's parameters")
    descriptions = parameter_help()
    for parameter in constructor_parameters():
        flag = "--" + parameter.name.replace("_", "-")
        default = SHELL_DEFAULTS.get(parameter.name, parameter.default)
        text = f"{descriptions.get(parameter.name, '')} (default {default})".replace("``", "").replace("%", "%%")
        keywords: dict[str, Any] = {"dest": _PREFIX + parameter.name, "default": argparse.SUPPRESS, "help": text}
        if isinstance(parameter.default, bool):
            group.add_argument(flag, action=argparse.BooleanOptionalAction, **keywords)
        elif parameter.name.endswith("_layers"):
            group.add_argument(flag, type=parse_layers, metavar="WIDTH,...", **keywords)
        else:
            group.add_argument(flag, type=parse_value, metavar="VALUE", **keywords)


def given_parameters(arguments: argparse.Namespace) -> dict[str, Any]:
    """The constructor's keyword arguments: those given, over the shell's own defaults."""
    given = {k.removeprefix(_PREFIX): v for k, v in vars(arguments).items() if k.startswith(_PREFIX)}
    return SHELL_DEFAULTS | given


def add_scaling(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scale-255",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="divide every value by 255; without this option uint8 images of an IDX file are divided, nothing else is",
    )


def add_output(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument("-o", "--output", required=required, metavar="FILE", help="FILE.npy, FILE.npz or FILE.csv")


def add_inference(parser: argparse.ArgumentParser, *, scaling: bool = True) -> None:
    if scaling:
        add_scaling(parser)
    parser.add_argument("--device", default="auto", help="auto, cpu, ... (%(default)s)")
    add_n_threads(parser)


def add_n_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--n-threads",
        "--threads",
        dest="n_threads",
        type=parse_value,
        default=None,
        help="threads; none: what the machine allows",
    )
