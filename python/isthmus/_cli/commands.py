# SPDX-License-Identifier: Apache-2.0
"""fit, encode, decode, score and info."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import numpy as np

import isthmus
from isthmus import Autoencoder, _core
from isthmus._cli import options, tables


def fit(arguments: argparse.Namespace) -> None:
    """Trains and saves; after Ctrl-C what was learned so far is saved, too."""
    output = tables.check_output(arguments.output, suffixes=(".safetensors",))
    if arguments.resume and arguments.checkpoint is None:
        raise ValueError("--resume needs --checkpoint FOLDER")
    model = Autoencoder(**options.given_parameters(arguments))
    table = tables.read(arguments.X, scale_255=arguments.scale_255)
    keywords: dict[str, Any] = {"checkpoint_every": arguments.checkpoint_every}
    if arguments.validation is not None:
        keywords["validation_data"] = tables.read(arguments.validation, scale_255=arguments.scale_255)
    if arguments.sample_weight is not None:
        weights = tables.read(arguments.sample_weight).values
        if weights.shape[1:] not in ((), (1,)):
            raise ValueError(f"{arguments.sample_weight} must have one column; it has the shape {weights.shape}")
        keywords["sample_weight"] = weights.reshape(-1)

    interrupted: KeyboardInterrupt | None = None
    try:
        _fit_or_resume(model, table, arguments, keywords)
    except KeyboardInterrupt as stop:
        if not hasattr(model, "n_iter_"):
            raise
        interrupted = stop
    model.save(output, training_state=arguments.training_state)
    state = "interrupted after" if interrupted else "trained"
    print(f"{state} {model.n_iter_} epochs, loss {model.loss_:.6g}; wrote {output}")
    if interrupted:
        raise interrupted


def _fit_or_resume(model: Autoencoder, table: Any, arguments: argparse.Namespace, keywords: dict[str, Any]) -> None:
    if arguments.resume:
        try:
            model.resume(arguments.checkpoint, table, **keywords)
            return
        except FileNotFoundError:
            pass  # the first run of a command that is run until it is done
    model.fit(table, checkpoint=arguments.checkpoint, **keywords)


def encode(arguments: argparse.Namespace) -> None:
    output = tables.check_output(arguments.output)
    model = _load(arguments)
    codes = model.encode(tables.read(arguments.X, scale_255=arguments.scale_255))
    tables.write(output, codes, list(model.get_feature_names_out()))
    print(f"wrote {output}: {codes.shape[0]} rows x {codes.shape[1]}")


def decode(arguments: argparse.Namespace) -> None:
    output = tables.check_output(arguments.output)
    model = _load(arguments)
    rows = model.decode(tables.read(arguments.codes).values)
    names = getattr(model, "feature_names_in_", [f"x{i}" for i in range(rows.shape[1])])
    tables.write(output, rows, list(names))
    print(f"wrote {output}: {rows.shape[0]} rows x {rows.shape[1]}")


def score(arguments: argparse.Namespace) -> None:
    output = None if arguments.output is None else tables.check_output(arguments.output)
    model = _load(arguments)
    errors = model.reconstruction_error(tables.read(arguments.X, scale_255=arguments.scale_255))
    print(f"mean reconstruction error ({model.loss}) of {len(errors)} rows: {np.mean(errors):.6g}")
    if output is not None:
        tables.write(output, errors, ["reconstruction_error"])
        print(f"wrote {output}")


def info(arguments: argparse.Namespace) -> None:
    """Loading is what checks the digest: a file that is not whole is refused."""
    facts = describe(Autoencoder.load(arguments.model, device="cpu"))
    if arguments.json:
        json.dump(facts, sys.stdout, indent=2)
        print()
        return
    for name, value in facts.items():
        print(f"{name.replace('_', ' '):18} {_text(value)}")


def describe(model: Autoencoder) -> dict[str, Any]:
    """What ``info`` says of a loaded model."""
    weights = model.get_weights()
    widths = [model.n_features_in_, *(bias.shape[0] for bias in weights[1::2])]
    parameters = model.get_params()
    history = model.history_
    facts: dict[str, Any] = {
        "kind": type(model).__name__,
        "widths": widths,
        "code_size": model.code_size_,
        "activation": parameters["activation"],
        "code_activation": parameters["code_activation"],
        "output_activation": parameters["output_activation"] or ("sigmoid" if model.loss == "bce" else "linear"),
        "loss": parameters["loss"],
        "n_parameters": sum(array.size for array in weights),
        "optimizer": parameters["optimizer"],
        "epochs_done": model.n_iter_,
        "last_loss": history["loss"][-1] if history["loss"] else None,
        "last_val_loss": history["val_loss"][-1] if history.get("val_loss") else None,
        "feature_names": [str(name) for name in getattr(model, "feature_names_in_", [])] or None,
        # the file's, too: one of another version is refused
        "format_version": _core.format_version,
        "numerics_version": _core.numerics_version,
        "isthmus": isthmus.__version__,
        "digest": "ok",
    }
    return facts


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ("-" if all(isinstance(v, int) for v in value) else ", ").join(map(str, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _load(arguments: argparse.Namespace) -> Autoencoder:
    return Autoencoder.load(arguments.model, device=arguments.device).set_params(n_threads=arguments.n_threads)
