"""`schuss train`: how it learns, by which loss, what the targets are, and weights of examples."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import schuss
from schuss import data
from schuss.cli import app
from schuss.losses import Loss
from schuss.schedules import Cosine, InverseScaling, OneCycle, Step, WarmUp

QUICK = ("--hidden", "16", "--epochs", "3", "-q")


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments, verb="train"):
    return CliRunner().invoke(app, [verb, *(str(argument) for argument in arguments)])


def document(*arguments, verb="train"):
    result = run(*arguments, "--json", verb=verb)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(result, *texts, code=2):
    assert (result.exit_code, result.stdout) == (code, "")
    message = result.stderr.splitlines()[-1]
    assert message.startswith("Error: " if code == 2 else "schuss: error: ")
    for text in texts:
        assert text in message


def write(name, header, columns):
    rows = [",".join(map(str, row)) for row in zip(*columns, strict=True)]
    with open(name, "w") as file:
        file.write("\n".join([header, *rows]) + "\n")


@pytest.fixture
def table(rng):
    """X1, X2, price (numbers), count (whole), kind (text), w (weights): 100 rows."""
    X = rng.normal(size=(100, 2)).round(3)
    price = (X[:, 0] - X[:, 1] + 3).round(3)
    count = rng.poisson(np.exp(X[:, 0] / 2))
    kind = np.where(X[:, 0] > 0.8, "rare", "usual")
    w = rng.integers(0, 4, 100)
    write("price.csv", "x1,x2,price", [*X.T, price])
    write("count.csv", "x1,x2,count", [*X.T, count])
    write("kind.csv", "x1,w,x2,kind", [X[:, 0], w, X[:, 1], kind])
    write("two.csv", "x1,price,x2,other", [X[:, 0], price, X[:, 1], -price])
    return {"X": X.astype(np.float32), "price": price, "count": count, "kind": kind, "w": w}


# --- What reaches the training -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        (("--schedule", "cosine"), {"schedule": Cosine()}),
        (("--schedule", "one_cycle", "--warm-up", 1), {"schedule": WarmUp(1, OneCycle())}),
        (("--schedule", "invscaling", "--power-t", 0.1), {"schedule": InverseScaling(0.1)}),
        (("--schedule", "step", "--step-every", 1, "--step-factor", 0.5), {"schedule": Step(1, 0.5)}),
        (("--clip-norm", 0.05), {"clip_norm": 0.05}),
        (("--dropout", 0.3), {"dropout": 0.3}),
        (("--class-weight", "balanced"), {"class_weight": "balanced"}),
        (("--init", "glorot_uniform"), {"init": "glorot_uniform"}),
        (("--loss", "hinge"), {"loss": "hinge"}),
        (("--loss", "focal", "--focal-gamma", 1), {"loss": Loss("focal", focal_gamma=1.0)}),
        (("--label-smoothing", 0.2), {"loss": Loss("log_loss", label_smoothing=0.2)}),
    ],
)
def test_is_what_train_in_python_gives(options, arguments):
    run("digits", *QUICK, "--momentum", 0.9, *options)
    found = schuss.load("schuss-model.safetensors").parameters
    plain = {"hidden_layer_sizes": (16,), "epochs": 3, "momentum": 0.9}
    train = data.load("digits").train
    assert np.array_equal(found, schuss.train(train, **plain, **arguments).parameters)
    assert not np.array_equal(found, schuss.train(train, **plain).parameters)


def test_one_value_a_layer():
    found = document("digits", *QUICK, "--hidden", "8,6", "--activation", "gelu,tanh", "--dropout", "0.1,0")
    assert found["settings"]["activation"] == ["gelu", "tanh"]
    assert found["settings"]["dropout"] == [0.1, 0.0]
    network = schuss.load("schuss-model.safetensors")
    assert network.activations == ("gelu", "tanh", "softmax")


def test_patience_keeps_the_best():
    found = document("digits", "--hidden", 16, "--epochs", 200, "--learning-rate", 0.5, "--patience", 2, "-q")
    losses = found["history"]["validation_loss"]
    assert len(losses) < 200
    assert losses[found["kept_epoch"] - 1] == min(losses)
    assert found["kept_epoch"] == len(losses) - 2
    validation = data.load("digits").validation
    kept = schuss.load("schuss-model.safetensors").loss(validation.X, validation.labels)
    assert kept == pytest.approx(min(losses))
    text = run(
        "digits", "--hidden", 16, "--epochs", 200, "--learning-rate", 0.5, "--patience", 2, "-q"
    ).stdout
    assert f"{len(losses)} of 200, epoch {found['kept_epoch']} kept" in text


# --- Losses of numbers -------------------------------------------------------------------------------


@pytest.mark.usefixtures("table")
def test_quantiles_with_their_coverage():
    found = document(
        "price.csv", *QUICK, "--loss", "quantile", "--quantiles", "0.1,0.9", "--learning-rate", 0.05
    )
    network = schuss.load("schuss-model.safetensors")
    assert network.layer_sizes == (2, 16, 2)
    assert network.loss_function == Loss("quantile", quantiles=(0.1, 0.9))
    test = data.load("price.csv").test
    below = (test.y[:, None] <= network.predict(test.X)).mean(axis=0)
    assert list(found["test"]["coverage"].values()) == pytest.approx(below)
    assert list(found["test"]["coverage"]) == ["0.1", "0.9"]
    text = run("schuss-model.safetensors", "price.csv", verb="evaluate").stdout
    assert "coverage 0.9" in text
    assert "R^2" not in text
    rows = run("schuss-model.safetensors", "price.csv", verb="predict").stdout.splitlines()
    assert len(rows) == 100
    assert all(len(row.split(",")) == 2 for row in rows)


@pytest.mark.usefixtures("table")
def test_huber_delta_is_stored():
    document("price.csv", *QUICK, "--loss", "huber", "--huber-delta", 0.25)
    assert schuss.load("schuss-model.safetensors").loss_function == Loss("huber", huber_delta=0.25)


def test_r2_beside_the_loss(table):
    found = document("price.csv", *QUICK)["test"]
    test = data.load("price.csv").test
    errors = test.y - schuss.load("schuss-model.safetensors").predict(test.X)[:, 0]
    assert found["r2"] == pytest.approx(1 - (errors**2).sum() / ((test.y - test.y.mean()) ** 2).sum())
    assert "test R^2" in run("price.csv", *QUICK).stdout
    whole = document("schuss-model.safetensors", "price.csv", verb="evaluate")
    assert whole["examples"] == len(table["price"])
    assert "r2" in whole


@pytest.mark.usefixtures("table")
def test_several_targets():
    found = document("two.csv", *QUICK, "--target", "price,other")
    assert found["network"]["layer_sizes"] == [2, 16, 2]
    assert "r2" in found["test"]


# --- Classes or numbers ------------------------------------------------------------------------------


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("options", "task", "loss"),
    [
        ((), "classes", "log_loss"),
        (("--loss", "squared_error"), "classes", "squared_error"),
        (("--loss", "poisson"), "numbers", "poisson"),
        (("--task", "numbers"), "numbers", "squared_error"),
        (("--task", "classes", "--loss", "hinge"), "classes", "hinge"),
    ],
)
def test_whole_numbers_are_classes_unless_the_loss_is_for_numbers(options, task, loss):
    result = run("count.csv", "--hidden", 4, "--epochs", 1, "--learning-rate", 0.001, *options)
    assert (" numbers, " in result.stderr.splitlines()[0]) == (task == "numbers")
    settings = document("count.csv", *QUICK, "--learning-rate", 0.001, *options)["settings"]
    assert (settings["task"], settings["loss"]) == (task, loss)


def test_many_whole_numbers_are_not_guessed_at(rng):
    write("year.csv", "x,year", [rng.normal(size=150).round(2), np.arange(1900, 2050)])
    refused(run("year.csv", *QUICK), "150 different whole numbers", "--task classes", "--task numbers")
    for task in ("classes", "numbers"):
        found = document("year.csv", *QUICK, "--task", task, "--learning-rate", 1e-9)
        assert (found["data"]["classes"] is None) == (task == "numbers")


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("options", "texts"),
    [
        (("kind.csv", "--loss", "huber"), ("--loss huber", "numbers", "'rare'")),
        (("kind.csv", "--task", "numbers"), ("--task numbers", "'rare'")),
        (("price.csv", "--task", "classes"), ("'--task'", "neither text nor whole numbers")),
        (("price.csv", "--loss", "hinge"), ("'--loss'", "hinge", "numbers")),
        (("price.csv", "--class-weight", "balanced"), ("--class-weight", "classes")),
        (("price.csv", "--label-smoothing", "0.1"), ("--label-smoothing", "classes")),
        (("digits", "--hidden", "8", "--batch-size", "2000"), ("'--batch-size'", "1297", "2000")),
    ],
)
def test_refused_once_the_data_are_known(options, texts):
    refused(run(*options), *texts)


# --- Weights of examples -----------------------------------------------------------------------------


def test_weights_of_a_column(table):
    document("kind.csv", *QUICK, "--weights", "w", "--batch-size", 20)
    whole = schuss.data.from_arrays(table["X"], table["kind"])
    rows = np.arange(100.0)[:, None]
    train = data.split(data.from_arrays(rows, rows[:, 0]), name="").train.X[:, 0].astype(int)
    weights = table["w"][train].astype(float)
    network = schuss.train(
        whole.take(train), sample_weight=weights, hidden_layer_sizes=16, epochs=3, momentum=0.9, batch_size=20
    )
    assert np.array_equal(schuss.load("schuss-model.safetensors").parameters, network.parameters)


def test_weights_in_a_parquet_file(table):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"w": table["w"], "x1": table["X"][:, 0], "x2": table["X"][:, 1], "kind": table["kind"]}
    parquet.write_table(pyarrow.table(columns), "kind.parquet")
    document("kind.parquet", *QUICK, "--weights", "w", "--out", "a")
    document("kind.csv", *QUICK, "--weights", "w", "--out", "b")
    assert np.array_equal(schuss.load("a").parameters, schuss.load("b").parameters)


def test_evaluate_by_weight(table):
    run("kind.csv", *QUICK, "--weights", "w")
    found = document("schuss-model.safetensors", "kind.csv", "--weights", "w", verb="evaluate")
    network = schuss.load("schuss-model.safetensors")
    right = network.predict(table["X"]) == table["kind"]
    assert found["accuracy"] == pytest.approx(np.average(right, weights=table["w"]))
    losses = [network.loss(table["X"][[row]], table["kind"][[row]]) for row in range(100)]
    assert found["loss"] == pytest.approx(np.average(losses, weights=table["w"]), rel=1e-5)
    part = document(
        "schuss-model.safetensors", "kind.csv", "--weights", "w", "--part", "test", verb="evaluate"
    )
    assert part["examples"] == 10
    labels = run("schuss-model.safetensors", "kind.csv", "--target", "kind,w", verb="predict")
    assert labels.stdout.split() == network.predict(table["X"]).tolist()


@pytest.mark.usefixtures("table")
def test_weights_that_cannot_be_had():
    refused(run("digits", *QUICK, "--weights", "w"), "'--weights'", "digits", ".csv")
    refused(run("m", "digits", "--weights", "w", verb="evaluate"), "'--weights'", "digits")
    unknown = "kind.csv: --weights v must be a column of the file (x1, w, x2, kind), got 'v'"
    refused(run("kind.csv", *QUICK, "--weights", "v"), unknown, code=1)
    for options in ((), ("--target", "kind")):
        target = "kind.csv: --weights kind must name another column than the target, got 'kind'"
        refused(run("kind.csv", *QUICK, "--weights", "kind", *options), target, code=1)
    refused(run("kind.csv", *QUICK, "--weights", "x1"), "--weights x1", ">= 0", code=1)
    text = "line 2, column 3 ('kind'): weight must be a number"
    refused(run("kind.csv", *QUICK, "--weights", "kind", "--target", "w"), text, code=1)
    run("kind.csv", *QUICK, "--weights", "w")
    feature = "--weights x1 must be none of the features, got 'x1'"
    refused(run("schuss-model.safetensors", "kind.csv", "--weights", "x1", verb="evaluate"), feature, code=1)


# --- What does not go together -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        (("--activation", "relu,magic"), ("'--activation'", "'magic'", "leaky_relu")),
        (("--activation", "relu,tanh"), ("'--activation'", "1 hidden layers", "got 2")),
        (("--dropout", "0.1,0.2"), ("'--dropout'", "1 hidden layers", "got 2")),
        (("--dropout", "1"), ("'--dropout'", "1.0", "x < 1")),
        (("--dropout", "some"), ("'--dropout'", "'some'")),
        (("--huber-delta", "2"), ("--huber-delta", "--loss huber", "no --loss")),
        (("--loss", "huber", "--huber-delta", "0"), ("'--huber-delta'", "x>0")),
        (("--quantiles", "0.5", "--loss", "huber"), ("--quantiles", "--loss quantile", "--loss huber")),
        (("--loss", "quantile", "--quantiles", "0.5,1"), ("'--quantiles'", "1.0")),
        (("--loss", "quantile", "--quantiles", "0.5,0.5"), ("'--quantiles'", "each level once")),
        (("--focal-gamma", "1"), ("--focal-gamma", "--loss focal")),
        (("--label-smoothing", "0.1", "--loss", "hinge"), ("--label-smoothing", "log_loss or focal")),
        (("--loss", "poisson", "--task", "classes"), ("'--loss'", "classes", "poisson")),
        (("--loss", "hinge", "--task", "numbers"), ("'--loss'", "numbers", "hinge")),
        (("--loss", "huber", "--class-weight", "balanced"), ("--class-weight", "huber")),
        (("--loss", "poisson", "--output-activation", "identity"), ("'--output-activation'", "exp")),
        (("--schedule", "sine"), ("'--schedule'", "'sine'", "cosine")),
        (("--schedule", "step"), ("--step-every", "10 epochs", "30")),
        (("--schedule", "step", "--step-every", "4", "--warm-up", "6"), ("--step-every", "4 epochs")),
        (("--power-t", "1"), ("--power-t", "invscaling", "constant")),
        (("--schedule", "adaptive"), ("adaptive", "--patience")),
        (("--warm-up", "10"), ("'--warm-up'", "10 --epochs")),
        (("--clip-norm", "0"), ("'--clip-norm'", "x>0")),
        (("--patience", "0"), ("'--patience'", "x>=1")),
        (("--patience", "2", "--cv", "3"), ("--patience", "--cv")),
        (("--cv", "1"), ("'--cv'", "x>=2")),
        (("--class-weight", "heavy"), ("'--class-weight'", "balanced")),
    ],
)
def test_refused_before_any_data(monkeypatch, options, texts):
    monkeypatch.setattr(data, "load", None)
    monkeypatch.setattr(data, "load_table", None)
    refused(run("digits", *options), *texts)


def test_patience_needs_validation_examples():
    write("tiny.csv", "x,kind", [range(6), "ababab"])
    refused(run("tiny.csv", *QUICK, "--patience", 2), "--patience", "tiny.csv", "validation")


# --- Models that estimators saved --------------------------------------------------------------------


def test_model_files_of_estimators(table):
    model = schuss.MLPClassifier((4,), max_iter=200, early_stopping=True, tol=1, random_state=0)
    model.fit(table["X"], table["kind"]).save("model")
    write("plain.csv", "x1,x2,kind", [*table["X"].T, table["kind"]])
    assert run("model", "plain.csv", verb="predict").stdout.split() == model.predict(table["X"]).tolist()
    found = document("model", "plain.csv", verb="evaluate")
    assert found["accuracy"] == pytest.approx(model.score(table["X"], table["kind"]))
    proba = document("model", "plain.csv", "--proba", verb="predict")
    assert np.allclose(proba["outputs"], model.predict_proba(table["X"]))


def test_margins_of_hinge():
    network = schuss.Network((1, 1), loss="hinge", classes=["no", "yes"], seed=0)
    network.save("model")
    np.save("X.npy", np.array([[1.0], [-2.0]], np.float32))
    outputs = np.array(document("model", "X.npy", "--proba", verb="predict")["outputs"])
    margin = network.forward(np.load("X.npy"))
    assert np.array_equal(outputs, np.hstack([-margin, margin]))


def test_every_schedule_can_be_named():
    from schuss.cli._options import SCHEDULES
    from schuss.schedules import SCHEDULES as KNOWN

    assert tuple(KNOWN) == SCHEDULES


def test_tables_are_known_by_the_same_endings_as_their_readers():
    from schuss.cli._common import TABLES
    from schuss.data import sources

    assert tuple(sources._TABLES) == TABLES
