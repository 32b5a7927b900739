"""`schuss evaluate` and `schuss predict`: a model finds its columns in a table by their names."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

import schuss
from schuss import data
from schuss.cli import app
from schuss.estimators import MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RANDOM = np.random.default_rng(0)
COLUMNS = dict(zip("abc", RANDOM.normal(size=(3, 40)).astype(np.float32), strict=True))
COLUMNS["cost"] = COLUMNS["a"] - 2 * COLUMNS["b"] + 4 * COLUMNS["c"]
COLUMNS["w"] = RANDOM.integers(1, 4, 40)
COLUMNS["note"] = np.array(["fine, so far", ""] * 20)

ORDERS = [
    ("a", "b", "c", "cost"),
    ("c", "b", "a", "cost"),
    ("cost", "a", "b", "c"),
    ("b", "cost", "c", "a"),
    ("note", "b", "w", "c", "a", "cost"),
]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def document(*arguments):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def failed(result, message):
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"schuss: error: {message}\n"


def write(name, columns, header=True):
    if name.endswith(".parquet"):
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.table({column: COLUMNS[column] for column in columns}), name)
        return
    with open(name, "w", newline="") as file:
        rows = [columns] * header + list(zip(*(COLUMNS[column].tolist() for column in columns), strict=True))
        csv.writer(file).writerows(rows)


@pytest.fixture(params=["train", "estimator"], autouse=True)
def network(request, tmp_path, monkeypatch):
    """The network in the file "m", of `schuss train` or of an estimator fitted on a frame."""
    monkeypatch.chdir(tmp_path)
    write("t.csv", ORDERS[0])
    if request.param == "train":
        run("train", "t.csv", "--hidden", 4, "--epochs", 2, "--out", "m", "-q")
        return schuss.load("m")
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({name: COLUMNS[name] for name in "abc"})
    MLPRegressor(hidden_layer_sizes=(4,), max_iter=3, random_state=0).fit(frame, COLUMNS["cost"]).save("m")
    return schuss.load("m").network_


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("columns", ORDERS, ids=" ".join)
def test_in_any_order_beside_any_others(network, columns, kind):
    write(f"other.{kind}", columns)
    X = np.column_stack([COLUMNS[name] for name in "abc"])
    expected = document("evaluate", "m", "t.csv")
    found = document("evaluate", "m", f"other.{kind}")
    for name in ("examples", "loss", "r2"):
        assert found[name] == expected[name]
    assert found["loss"] == pytest.approx(network.loss(X, COLUMNS["cost"]), rel=1e-5)
    predicted = np.array(document("predict", "m", f"other.{kind}")["predictions"])
    assert np.array_equal(predicted.astype(np.float32), network.predict(X).astype(np.float32))
    for part in ("train", "test"):
        assert document("evaluate", "m", f"other.{kind}", "--part", part)["loss"] == pytest.approx(
            document("evaluate", "m", "t.csv", "--part", part)["loss"], rel=1e-12
        )


def test_weights_and_target_beside_them():
    write("w.csv", ("w", "c", "cost", "b", "a", "note"))
    write("plain.csv", ("a", "b", "c", "w", "cost"))
    options = ("--weights", "w", "--target", "cost")
    found = document("evaluate", "m", "w.csv", *options)
    assert found["loss"] == document("evaluate", "m", "plain.csv", *options)["loss"]
    assert found["loss"] != document("evaluate", "m", "w.csv", "--target", "cost")["loss"]
    assert document("predict", "m", "w.csv", *options[2:]) == document("predict", "m", "t.csv")


def test_a_table_without_targets():
    write("new.csv", ("c", "note", "a", "b"))
    assert document("predict", "m", "new.csv") == document("predict", "m", "t.csv")
    write("bare.csv", ("c", "a", "b"))
    assert document("predict", "m", "bare.csv") == document("predict", "m", "t.csv")
    failed(run("evaluate", "m", "bare.csv"), "bare.csv: must have a target column beside the 3 features")


@pytest.mark.parametrize("verb", ["evaluate", "predict"])
def test_missing_columns_are_named(verb):
    write("lack.csv", ("cost", "b", "w", "note"))
    has = "it has columns 'cost', 'b', 'w', 'note'"
    failed(run(verb, "m", "lack.csv"), f"lack.csv: lacks the feature columns 'a', 'c'; {has}")
    write("lack.parquet", ("b", "c", "cost"))
    has = "it has columns 'b', 'c', 'cost'"
    failed(run(verb, "m", "lack.parquet"), f"lack.parquet: lacks the feature column 'a'; {has}")


@pytest.mark.parametrize("verb", ["evaluate", "predict"])
def test_a_feature_is_no_target(verb):
    failed(run(verb, "m", "t.csv", "--target", "a"), "t.csv: target must be none of the features, got 'a'")


def test_sources_without_names_go_by_place(network):
    write("bare.csv", ("a", "b", "c", "cost"), header=False)
    X = np.column_stack([COLUMNS[name] for name in "abc"])
    np.savez("bare.npz", X=X, y=COLUMNS["cost"].astype(np.float64))
    expected = document("evaluate", "m", "t.csv")
    for source in ("bare.csv", "bare.npz"):
        assert document("evaluate", "m", source)["loss"] == pytest.approx(expected["loss"], rel=1e-12)
        assert document("predict", "m", source) == document("predict", "m", "t.csv")


def test_a_model_without_names_goes_by_place():
    table = data.load_table("t.csv")
    network = schuss.train(table.X, table.y, hidden_layer_sizes=(4,), epochs=1)
    network.save("n")
    assert network.feature_names is None
    write("renamed.csv", ("b", "c", "a", "cost"))
    renamed = data.load_table("renamed.csv")
    assert document("evaluate", "n", "renamed.csv")["loss"] == pytest.approx(
        network.loss(renamed.X, renamed.y), rel=1e-6
    )
