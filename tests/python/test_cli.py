# SPDX-License-Identifier: Apache-2.0
"""The shell: its files, options, exit statuses and one-line messages; it computes what the estimator computes."""

from __future__ import annotations

import gzip
import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from checks import package
from isthmus import Autoencoder, _principal
from isthmus._cli import demo, main, options, tables

RNG = np.random.default_rng(5)
X = RNG.standard_normal((60, 6)).astype(np.float32)
FIT = ["--encoder-layers", "5,2", "--epochs", "3", "--batch-size", "16", "--random-state", "0", "--verbose", "0"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    np.save(tmp_path / "X.npy", X)
    return tmp_path / "X.npy"


@pytest.fixture
def model(data: Path) -> Path:
    path = data.with_name("m.safetensors")
    assert main(["fit", str(data), "-o", str(path), *FIT]) == 0
    return path


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str], status: int = 2) -> str:
    """Runs a command that must fail; returns its one line."""
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == status
    captured = capsys.readouterr()
    assert captured.err.endswith("\n")
    assert captured.err.count("\n") == 1, captured.err
    assert "Traceback" not in captured.err
    return captured.err


# ---- files ------------------------------------------------------------------------------------------------------


def idx_bytes(values: np.ndarray) -> bytes:
    kind = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}[values.dtype.str[1:]]
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, kind, values.ndim, *values.shape)
    return header + values.astype(values.dtype.newbyteorder(">")).tobytes()


def test_npy_npz_and_csv_give_the_same_table(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", X)
    np.savez(tmp_path / "named.npz", other=X * 2, X=X)
    np.savez_compressed(tmp_path / "only.npz", anything=X)
    np.savetxt(tmp_path / "plain.csv", X, delimiter=",", fmt="%.9g")
    rows = "\n".join(",".join(f"{v:.9g}" for v in row) for row in X)
    header = 'a,"b, with a comma",c,d,e,f'
    (tmp_path / "header.csv").write_text(f"\ufeff{header}\r\n" + rows.replace("\n", "\r\n") + "\r\n", encoding="utf-8")
    (tmp_path / "german.csv").write_text("a;b;c;d;e;f\n" + rows.replace(",", ";") + "\n\n")
    (tmp_path / "packed.csv.gz").write_bytes(gzip.compress((tmp_path / "plain.csv").read_bytes()))
    (tmp_path / "packed.npy.gz").write_bytes(gzip.compress((tmp_path / "a.npy").read_bytes()))
    for name in (
        "a.npy",
        "named.npz",
        "only.npz",
        "plain.csv",
        "header.csv",
        "german.csv",
        "packed.csv.gz",
        "packed.npy.gz",
    ):
        table = tables.read(str(tmp_path / name))
        np.testing.assert_array_equal(np.asarray(table, dtype=np.float32), X, err_msg=name)
    np.testing.assert_array_equal(tables.read(f"{tmp_path}/named.npz:other").values, X * 2)
    assert tables.read(str(tmp_path / "header.csv")).columns == ("a", "b, with a comma", "c", "d", "e", "f")
    assert tables.read(str(tmp_path / "plain.csv")).columns is None


@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "i4", "f4", "f8"])
def test_idx(tmp_path: Path, kind: str) -> None:
    values = RNG.integers(0, 100, (7, 3, 2)).astype(kind)
    (tmp_path / "v-idx3").write_bytes(idx_bytes(values))
    (tmp_path / "v-idx3.gz").write_bytes(gzip.compress(idx_bytes(values)))
    expected = values.reshape(7, 6)
    images = expected.astype(np.float32) / np.float32(255)
    for name in ("v-idx3", "v-idx3.gz"):
        path = str(tmp_path / name)
        np.testing.assert_array_equal(tables.read(path).values, images if kind == "u1" else expected)
        np.testing.assert_array_equal(tables.read(path, scale_255=False).values, expected)
        np.testing.assert_array_equal(tables.read(path, scale_255=True).values, images)


def test_idx_labels_are_one_column_and_not_scaled(tmp_path: Path) -> None:
    labels = np.arange(10, dtype=np.uint8)
    (tmp_path / "labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    np.testing.assert_array_equal(tables.read(str(tmp_path / "labels-idx1-ubyte")).values, labels.reshape(-1, 1))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"1,2\n3,x\n", ["a.csv, line 2, column 2", "'x'", "must be a number"]),
        ("a.csv", b"age,size\n1,2\n\n3,\n", ["line 4, column 2", '"size"', "''"]),
        ("a.csv", b"1,2\n3,4,5\n", ["line 2 has 3 columns", "first line has 2"]),
        ("a.csv", b"a,b,c\n3,4\n5,6\n", ["line 2 has 2 columns", "first line has 3"]),
        ("a.csv", b"1,2\n3_0,2\n", ["line 2, column 1", "3_0"]),
        ("a.csv", b"1,2,x\n3,4,5\n", ["line 1, column 3", "'x'"]),
        ("a.csv", b"", ["a.csv is empty"]),
        ("a.csv", b"\n\n", ["a.csv is empty"]),
        ("a.csv", b"a,b\n", ["a header and no rows"]),
        ("a.bin", b"1,2\n\xff\xfe\n", ["a.bin is none of NPY, NPZ, IDX and CSV", "byte 4"]),
        ("a.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\3abc", ["a.gz is a damaged gzip file"]),
        ("a.npy", b"\x93NUMPY\x01\0", ["a.npy cannot be read"]),
        ("a.npz", b"PK\3\4abc", ["a.npz cannot be read"]),
        ("idx", b"\0\0\x08\x03\0\0", ["damaged IDX", "3 dimensions"]),
        ("idx", b"\0\0\x08\x01\0\0\0\x05abcd", ["damaged IDX", "13 bytes", "12"]),
        ("idx", b"\0\0\x08\x01\0\0\0\x03abcd", ["damaged IDX", "11 bytes", "12"]),
        ("idx", b"\0\0\x0e\x03" + b"\xff" * 12, ["damaged IDX", "bytes"]),
    ],
)
def test_a_bad_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, words: list[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    line = refused(capsys, ["fit", tmp_path / name, "-o", tmp_path / "m.safetensors", *FIT])
    for word in words:
        assert word in line
    assert not (tmp_path / "m.safetensors").exists()


def test_object_arrays_are_not_unpickled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "o.npy", np.array([[1, None]], dtype=object), allow_pickle=True)
    assert "o.npy cannot be read" in refused(capsys, ["fit", tmp_path / "o.npy", "-o", tmp_path / "m.safetensors"])


def test_npz_keys_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "two.npz", a=X, b=X)
    line = refused(capsys, ["fit", tmp_path / "two.npz", "-o", tmp_path / "m.safetensors"])
    assert "several arrays and none is called X" in line
    assert "among a, b" in line
    assert "no array 'c'" in refused(capsys, ["fit", f"{tmp_path}/two.npz:c", "-o", tmp_path / "m.safetensors"])
    np.save(tmp_path / "a.npy", X)
    assert "not an NPZ file" in refused(capsys, ["fit", f"{tmp_path}/a.npy:X", "-o", tmp_path / "m.safetensors"])


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_written_tables_read_back_to_the_same_bits(tmp_path: Path, suffix: str, dtype: type) -> None:
    values = (RNG.standard_normal((9, 3)) * 10.0 ** RNG.integers(-30, 30, (9, 3))).astype(dtype)
    path = tmp_path / f"out{suffix}"
    tables.write(path, values, ["a", "b", "c"])
    np.testing.assert_array_equal(tables.read(str(path)).values.astype(dtype), values)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.npy"
    path.write_bytes(b"old")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        tables.write(path, X, [])
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.npy"]


# ---- options ----------------------------------------------------------------------------------------------------


def test_every_constructor_parameter_is_an_option_with_help() -> None:
    names = [p.name for p in options.constructor_parameters()]
    assert set(names) == set(Autoencoder().get_params())
    descriptions = options.parameter_help()
    assert [name for name in names if not descriptions.get(name)] == []


def test_help_names_every_parameter(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--help"]) == 0
    text = capsys.readouterr().out
    for parameter in options.constructor_parameters():
        assert "--" + parameter.name.replace("_", "-") in text


@pytest.mark.parametrize(
    ("text", "value"),
    [("none", None), ("True", True), ("3", 3), ("-3", -3), ("1e-3", 1e-3), ("tanh", "tanh"), ("cuda:0", "cuda:0")],
)
def test_values(text: str, value: object) -> None:
    parsed = options.parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(("text", "value"), [("128,32", (128, 32)), ("32", (32,)), ("none", None), ("", ())])
def test_layers(text: str, value: object) -> None:
    assert options.parse_layers(text) == value


def test_options_reach_the_model(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = data.with_name("m.safetensors")
    given = ["--decoder-layers=", "--activation", "tanh", "--loss", "huber", "--learning-rate", "0.01", "--no-shuffle"]
    assert main(["fit", str(data), "-o", str(path), *FIT, *given]) == 0
    parameters = Autoencoder.load(path).get_params()
    expected = {
        "encoder_layers": (5, 2),
        "decoder_layers": (),
        "activation": "tanh",
        "loss": "huber",
        "learning_rate": 0.01,
        "shuffle": False,
        "epochs": 3,
    }
    for name, value in expected.items():
        found = parameters[name]
        assert (tuple(found) if isinstance(found, list) else found) == value, name


# ---- commands ---------------------------------------------------------------------------------------------------


def test_checkpoint_and_resume(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, path = data.with_name("run"), data.with_name("m.safetensors")
    command = ["fit", str(data), "-o", str(path), *FIT, "--checkpoint", str(folder), "--checkpoint-every", "2"]
    assert main([*command, "--resume"]) == 0  # nothing there yet: it begins
    expected = path.read_bytes()
    assert [p.name[:12] for p in sorted(folder.iterdir())] == ["epoch-000000", "epoch-000002", "epoch-000003"]
    assert "has checkpoints of another fit" in refused(capsys, command)
    sorted(folder.iterdir())[-1].unlink()
    path.unlink()
    assert main([*command, "--resume"]) == 0
    found, straight = Autoencoder.load(path), Autoencoder.from_bytes(expected)
    for a, b in zip(found.get_weights(), straight.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert "epochs was 3 and now is 2" in refused(capsys, [*command, "--resume", "--epochs", "2"])
    assert "--checkpoint" in refused(capsys, ["fit", str(data), "-o", str(path), *FIT, "--resume"])


def test_the_shell_computes_what_the_estimator_computes(
    data: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = data.parent
    expected = Autoencoder((5, 2), epochs=3, batch_size=16, random_state=0).fit(X)
    assert main(["encode", str(model), str(data), "-o", str(folder / "Z.npy")]) == 0
    np.testing.assert_array_equal(np.load(folder / "Z.npy"), expected.encode(X))
    assert main(["decode", str(model), str(folder / "Z.npy"), "-o", str(folder / "R.csv")]) == 0
    np.testing.assert_array_equal(
        tables.read(str(folder / "R.csv")).values.astype(np.float32), expected.decode(expected.encode(X))
    )
    capsys.readouterr()
    assert main(["score", str(model), str(data), "-o", str(folder / "e.csv"), "--n-threads", "1"]) == 0
    errors = expected.reconstruction_error(X)
    assert f"{errors.mean():.6g}" in capsys.readouterr().out
    np.testing.assert_array_equal(tables.read(str(folder / "e.csv")).values[:, 0], errors)


def test_validation_and_sample_weight(data: Path) -> None:
    folder = data.parent
    weights = RNG.uniform(0.5, 2, len(X))
    np.save(folder / "w.npy", weights)
    np.save(folder / "V.npy", X[:20])
    path = folder / "m.safetensors"
    files = ["--validation", str(folder / "V.npy"), "--sample-weight", str(folder / "w.npy")]
    assert main(["fit", str(data), "-o", str(path), *FIT, *files]) == 0
    expected = Autoencoder((5, 2), epochs=3, batch_size=16, random_state=0)
    expected.fit(X, sample_weight=weights, validation_data=X[:20])
    found = Autoencoder.load(path)
    assert found.history_["val_loss"] == expected.history_["val_loss"]
    for a, b in zip(found.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_header_becomes_the_feature_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["a", "b", "c", "d", "e", "f"]
    tables.write(tmp_path / "X.csv", X, names)
    tables.write(tmp_path / "other.csv", X, names[::-1])
    model = tmp_path / "m.safetensors"
    assert main(["fit", str(tmp_path / "X.csv"), "-o", str(model), *FIT]) == 0
    assert list(Autoencoder.load(model).feature_names_in_) == names
    assert main(["encode", str(model), str(tmp_path / "X.csv"), "-o", str(tmp_path / "Z.csv")]) == 0
    assert main(["decode", str(model), str(tmp_path / "Z.csv"), "-o", str(tmp_path / "R.csv")]) == 0
    assert tables.read(str(tmp_path / "R.csv")).columns == tuple(names)
    assert "eature names" in refused(capsys, ["score", model, tmp_path / "other.csv"])


def test_info(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["info", str(model), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["kind"] == "Autoencoder"
    assert facts["widths"] == [6, 5, 2, 5, 6]
    assert facts["n_parameters"] == 6 * 5 + 5 + 5 * 2 + 2 + 2 * 5 + 5 + 5 * 6 + 6
    assert facts["epochs_done"] == 3
    assert facts["digest"] == "ok"
    assert main(["info", str(model)]) == 0
    assert "6-5-2-5-6" in capsys.readouterr().out


def test_info_refuses_a_changed_file(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    assert str(model) in refused(capsys, ["info", model])


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["instruction_set"]["in_use"] in facts["instruction_set"]["available"]
    assert 1 <= facts["threads"]["default"] <= facts["threads"]["affinity"]
    assert facts["import"]["seconds_after_numpy"] >= 0
    assert main(["doctor"]) == 0
    assert "instruction set" in capsys.readouterr().out


def test_doctor_sees_the_environment() -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ISTHMUS_ISA": "baseline"}
    output = subprocess.run(
        [sys.executable, "-m", "isthmus", "doctor", "--json"], env=environment, capture_output=True, check=True
    ).stdout
    facts = json.loads(output)
    assert facts["threads"]["default"] == 1
    assert facts["threads"]["OMP_NUM_THREADS"] == "1"
    assert facts["instruction_set"]["in_use"] == "baseline"


# ---- what goes wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--batch-size", "0"], ["batch_size", "0"]),
        (["--epochs", "many"], ["epochs", "many"]),
        (["--activation", "sine"], ["activation", "sine", "relu"]),
        (["--encoder-layers", "5,x"], ["encoder_layers", "x"]),
        (["--no-such-parameter", "1"], ["--no-such-parameter"]),
        (["--validation", "missing.npy"], ["missing.npy"]),
        (["--sample-weight", "X.npy"], ["must have one column", "(60, 6)"]),
    ],
)
def test_bad_options(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, extra: list[str], words: list[str]
) -> None:
    monkeypatch.chdir(data.parent)
    line = refused(capsys, ["fit", "X.npy", "-o", "m.safetensors", *FIT, *extra])
    for word in words:
        assert word in line
    assert not Path("m.safetensors").exists()


def test_bad_outputs_are_refused_before_any_work(data: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # the input does not exist either: the output is looked at first
    assert "must end in .npy, .npz, .csv" in refused(capsys, ["encode", model, "no.npy", "-o", "Z.txt"])
    assert "is not a folder" in refused(capsys, ["encode", model, "no.npy", "-o", data.parent / "no" / "Z.npy"])
    assert "must end in .safetensors" in refused(capsys, ["fit", "no.npy", "-o", "model.pkl"])
    (data.parent / "folder.npy").mkdir()
    assert "is a folder" in refused(capsys, ["encode", model, "no.npy", "-o", data.parent / "folder.npy"])


def test_bad_rows_are_named(data: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = X.copy()
    wrong[3, 4] = np.nan
    np.save(data.with_name("nan.npy"), wrong)
    np.save(data.with_name("narrow.npy"), X[:, :5])
    assert "[3, 4]" in refused(capsys, ["score", model, data.with_name("nan.npy")])
    assert "5" in refused(capsys, ["score", model, data.with_name("narrow.npy")])
    assert "no.npy" in refused(capsys, ["score", model, data.with_name("no.npy")])
    assert "X.npy" in refused(capsys, ["score", data, data])


@pytest.mark.parametrize("arguments", [[], ["dance"], ["encode"], ["fit", "X.npy"]])
def test_usage_errors(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "isthmus" in refused(capsys, arguments)


def test_divergence_is_a_failure_not_a_usage_error(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(data, X * 1e18)
    arguments = [
        "fit",
        data,
        "-o",
        data.with_name("m.safetensors"),
        *FIT,
        "--optimizer",
        "sgd",
        "--learning-rate",
        "1e30",
    ]
    refused(capsys, arguments, status=1)


def test_ctrl_c_saves_what_was_learned(data: Path) -> None:
    model = data.with_name("m.safetensors")
    command = [
        sys.executable,
        "-m",
        "isthmus",
        "fit",
        data,
        "-o",
        model,
        *FIT,
        "--epochs",
        "100000000",
        "--verbose",
        "1",
    ]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
    assert process.stdout is not None
    process.stdout.read(1)  # progress: training has begun
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 130, output
    assert b"Traceback" not in output
    assert b"interrupted after" in output
    assert Autoencoder.load(model).n_iter_ > 0


# ---- demo ---------------------------------------------------------------------------------------------------------


def test_the_demo_beats_pca_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "p.png"
    assert main(["demo", "-o", str(picture)]) == 0
    output = capsys.readouterr().out
    errors = {line.split()[0]: float(line.split()[1]) for line in output.splitlines() if line.startswith("    ")}
    assert errors["autoencoder"] < 0.6 * errors["PCA"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_demo_without_matplotlib_says_how_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setattr(demo, "make_model", lambda: Autoencoder((demo.CODE_SIZE,), epochs=1, random_state=0))
    assert main(["demo", "-o", str(tmp_path / "p.png")]) == 0
    assert "isthmus[demo]" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_the_digits_are_those_of_scikit_learn() -> None:
    digits = package("sklearn.datasets").load_digits()
    train, test, labels = demo.load_digits()
    assert (len(train), len(test)) == (1437, 360)
    np.testing.assert_array_equal(test, digits.data[::5].astype(np.float32) / 16)
    np.testing.assert_array_equal(train, np.delete(digits.data, np.s_[::5], axis=0).astype(np.float32) / 16)
    np.testing.assert_array_equal(labels, digits.target[::5])


def test_pca_leaves_what_the_dropped_components_hold() -> None:
    """On its own training rows, PCA's squared error is the sum of the singular values it dropped, squared."""
    train = demo.load_digits()[0]
    error = ((_principal.reconstruction(train, 8) - train) ** 2).sum(dtype=np.float64)
    values = np.linalg.svd((train - train.mean(axis=0)).astype(np.float64), compute_uv=False)
    assert error == pytest.approx((values[8:] ** 2).sum(), rel=1e-4)


def test_python_m_isthmus_is_the_shell() -> None:
    found = subprocess.run([sys.executable, "-m", "isthmus", "--version"], capture_output=True, text=True, check=True)
    assert found.stdout.startswith("isthmus ")
