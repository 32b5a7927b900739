"""`schuss predict` and `schuss evaluate`."""

import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import schuss
from schuss import data
from schuss.cli import app

IRIS_LIKE = "a,b,kind\n" + "".join(f"{i},{i % 3 * 10},{'xyz'[i % 3]}\n" for i in range(30))


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def failed(result, *texts):
    """A failure that says all this in one line."""
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("schuss: error: ")
    assert result.stderr.count("\n") == 1
    for text in texts:
        assert text in result.stderr


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def digits(tmp_path):
    network = schuss.train(data.load("digits").train, hidden_layer_sizes=(16,), epochs=2, momentum=0.9)
    network.save(tmp_path / "digits.model")
    return network


@pytest.fixture
def kinds(tmp_path):
    """A network for IRIS_LIKE, whose classes are text."""
    (tmp_path / "kinds.csv").write_text(IRIS_LIKE)
    network = schuss.train(data.load_table("kinds.csv"), hidden_layer_sizes=(8,), epochs=2, batch_size=10)
    network.save(tmp_path / "kinds.model")
    return network


@pytest.fixture
def line(tmp_path):
    """A network for numbers: two outputs."""
    X = np.linspace(0, 1, 20, dtype=np.float32)[:, None]
    y = np.hstack([X, 2 * X])
    np.savez(tmp_path / "line.npz", X=X, y=y)
    network = schuss.train(X, y, hidden_layer_sizes=(4,), epochs=2, batch_size=5)
    network.save(tmp_path / "line.model")
    return network


def test_predicts_one_label_a_line(digits):
    result = run("predict", "digits.model", "digits")
    assert (result.exit_code, result.stderr) == (0, "")
    labels = np.array(result.stdout.split(), dtype=int)
    assert np.array_equal(labels, digits.predict(data.load("digits").test.X))


def test_predicts_text_with_and_without_the_target(tmp_path, kinds):
    table = data.load_table("kinds.csv")
    rows = [line.split(",") for line in IRIS_LIKE.splitlines()]
    (tmp_path / "bare.csv").write_text("".join(f"{a},{b}\n" for a, b, _ in rows))
    (tmp_path / "first.csv").write_text("".join(f"{kind},{a},{b}\n" for a, b, kind in rows))
    expected = kinds.predict(table.X).tolist()
    for options in (["kinds.csv"], ["bare.csv"], ["first.csv", "--target", "kind"]):
        assert run("predict", "kinds.model", *options).stdout.splitlines() == expected


def test_predicts_numbers_that_read_back(line):
    result = run("predict", "line.model", "line.npz")
    values = np.array([row.split(",") for row in result.stdout.splitlines()], dtype=np.float32)
    assert np.array_equal(values, line.predict(data.load_features("line.npz")))


def test_proba(kinds):
    result = run("predict", "kinds.model", "kinds.csv", "--proba")
    header, *rows = (row.split(",") for row in result.stdout.splitlines())
    assert header == ["x", "y", "z"]
    assert np.array_equal(np.array(rows, dtype=np.float32), kinds.forward(data.load_table("kinds.csv").X))


def test_proba_of_one_output():
    X = np.linspace(-1, 1, 20, dtype=np.float32)[:, None]
    network = schuss.Network((1, 1), classes=["no", "yes"])
    network.save("binary.model")
    np.save("X.npy", X)
    document = json.loads(run("predict", "binary.model", "X.npy", "--proba", "--json").stdout)
    assert document["classes"] == ["no", "yes"]
    outputs = np.array(document["outputs"])
    assert np.allclose(outputs[:, 1], network.forward(X)[:, 0], rtol=1e-6)
    assert np.allclose(outputs.sum(axis=1), 1, rtol=1e-6)


def test_labels_are_quoted_as_csv_asks():
    network = schuss.Network((1, 2), classes=['a "b", c', "d"])
    network.parameters = np.array([0, 0, 1, 0])
    network.save("m")
    np.save("X.npy", np.zeros((2, 1), np.float32))
    assert run("predict", "m", "X.npy").stdout == '"a ""b"", c"\n' * 2


def test_predict_json(digits):
    document = json.loads(run("predict", "digits.model", "digits", "--json").stdout)
    assert document == {"predictions": digits.predict(data.load("digits").test.X).tolist()}


def test_predict_onto_a_full_disk(tmp_path, digits, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    failed(
        run("predict", "digits.model", "digits", "--out", "labels.txt"),
        "labels.txt: cannot be written: No space",
    )
    assert not (tmp_path / "labels.txt").exists()


def test_predict_into_a_file(tmp_path, digits):
    printed = run("predict", "digits.model", "digits").stdout
    result = run("predict", "digits.model", "digits", "--out", "labels.txt", "--threads", 1)
    assert (result.exit_code, result.stdout) == (0, "")
    assert (tmp_path / "labels.txt").read_text() == printed


@pytest.mark.parametrize(
    ("out", "text"),
    [
        ("none/labels", "no folder 'none'"),
        (".", "a folder"),
        ("/dev/full", "a regular file"),
        ("digits.model", "the input"),
        ("./digits.csv", "the input"),
    ],
)
def test_predict_refuses_an_output(tmp_path, digits, out, text):
    (tmp_path / "digits.csv").write_text("kept")
    before = (tmp_path / "digits.model").read_bytes()
    result = run("predict", "digits.model", "digits.csv", "--out", out)
    assert result.exit_code == 2
    assert "'--out'" in result.stderr
    assert text in result.stderr
    assert (tmp_path / "digits.model").read_bytes() == before
    assert (tmp_path / "digits.csv").read_text() == "kept"


def test_proba_needs_classes(line):
    failed(run("predict", "line.model", "line.npz", "--proba"), "--proba", "line.model", "numbers")


@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_number_of_features_must_fit(tmp_path, digits, verb):
    (tmp_path / "narrow.csv").write_text("1,2,3\n4,5,6\n")
    failed(run(verb, "digits.model", "narrow.csv"), "narrow.csv", "64", "3" if verb == "predict" else "2")


@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_missing_and_damaged_files(tmp_path, digits, verb):
    failed(run(verb, "none.model", "digits"), "none.model", "no such file")
    failed(run(verb, "digits.model", "none.csv"), "none.csv", "no such file")
    (tmp_path / "damaged.model").write_bytes((tmp_path / "digits.model").read_bytes()[:-1])
    failed(run(verb, "damaged.model", "digits"), "damaged.model", "damaged")


def test_a_reader_that_stops_early(digits):
    command = f"{sys.executable} -m schuss predict digits.model digits | head -n 1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert len(result.stdout.splitlines()) == 1


def test_evaluate_takes_the_test_part(digits):
    test = data.load("digits").test
    result = run("evaluate", "digits.model", "digits")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert list(lines) == ["examples", "loss", "accuracy", "seconds"]
    assert lines["examples"] == "250"
    assert float(lines["loss"]) == pytest.approx(digits.loss(test.X, test.labels), rel=1e-3)
    assert lines["accuracy"] == f"{100 * digits.score(test.X, test.labels):.2f} %"


@pytest.mark.parametrize(
    ("part", "examples"), [("train", 1297), ("validation", 250), ("test", 250), ("all", 1797)]
)
def test_evaluate_part(digits, part, examples):
    document = json.loads(run("evaluate", "digits.model", "digits", "--part", part, "--json").stdout)
    assert (document["part"], document["examples"]) == (part, examples)
    splits = data.load("digits")
    parts = [splits.train, splits.validation, splits.test] if part == "all" else [getattr(splits, part)]
    X, y = np.vstack([p.X for p in parts]), np.hstack([p.labels for p in parts])
    assert document["accuracy"] == pytest.approx(digits.score(X, y), rel=1e-12)
    assert document["loss"] == pytest.approx(digits.loss(X, y), rel=1e-6)


def test_evaluate_file_is_taken_whole(kinds):
    document = json.loads(run("evaluate", "kinds.model", "kinds.csv", "--json").stdout)
    assert document["examples"] == 30
    assert (
        json.loads(run("evaluate", "kinds.model", "kinds.csv", "--json", "--part", "test").stdout)["examples"]
        == 3
    )


def test_evaluate_numbers(line):
    document = json.loads(run("evaluate", "line.model", "line.npz", "--json").stdout)
    table = data.load_table("line.npz")
    assert "accuracy" not in document
    assert document["loss"] == pytest.approx(line.loss(table.X, table.y))


def test_evaluate_numbers_that_are_whole(tmp_path):
    (tmp_path / "train.csv").write_text("0.5,0.5\n1,1\n")
    network = schuss.train(data.load_table("train.csv"), hidden_layer_sizes=(4,), epochs=1, batch_size=2)
    network.save("m")
    (tmp_path / "whole.csv").write_text("0.5,2\n1,3\n")
    document = json.loads(run("evaluate", "m", "whole.csv", "--json").stdout)
    assert document["loss"] == pytest.approx(network.loss(np.array([[0.5], [1]]), np.array([2.0, 3])))


def test_evaluate_text_labels_that_look_like_numbers(tmp_path):
    schuss.Network((1, 3), classes=["1", "2", "none"]).save("m")
    (tmp_path / "part.csv").write_text("0.5,2\n1,1\n")
    assert run("evaluate", "m", "part.csv").exit_code == 0


def test_evaluate_some_of_the_classes_is_enough(tmp_path, kinds):
    (tmp_path / "one.csv").write_text("a,b,kind\n1,2,z\n")
    document = json.loads(run("evaluate", "kinds.model", "one.csv", "--json").stdout)
    assert document["accuracy"] == float(kinds.predict(np.array([[1.0, 2.0]]))[0] == "z")


def test_evaluate_unknown_label(tmp_path, kinds):
    (tmp_path / "other.csv").write_text("a,b,kind\n1,2,w\n")
    failed(run("evaluate", "kinds.model", "other.csv"), "other.csv", "'x', 'y', 'z'", "'w'")


def test_evaluate_numbers_where_labels_belong(tmp_path, kinds):
    (tmp_path / "numbers.csv").write_text("a,b,kind\n1,2,0.5\n")
    failed(run("evaluate", "kinds.model", "numbers.csv"), "numbers.csv", "must be labels", "0.5")


def test_evaluate_labels_where_numbers_belong(tmp_path, line):
    (tmp_path / "labels.csv").write_text("x,y\n1,good\n")
    failed(run("evaluate", "line.model", "labels.csv"), "labels.csv", "must be numbers", "'good'")


def test_evaluate_wrong_number_of_targets(tmp_path, line):
    (tmp_path / "single.csv").write_text("x,y\n1,0.5\n")
    failed(run("evaluate", "line.model", "single.csv"), "single.csv", "2 targets", "got 1")


def test_evaluate_part_that_is_not_there(tmp_path, kinds):
    (tmp_path / "short.csv").write_text("a,b,kind\n1,2,x\n")
    failed(run("evaluate", "kinds.model", "short.csv", "--part", "test"), "short.csv", "has no test part")
