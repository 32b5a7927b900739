"""`schuss train --cv`: folds, their table, and whether a model is written."""

import json
import os

import numpy as np
import pytest
from click.testing import CliRunner

import schuss
from schuss import data
from schuss.cli import app
from schuss.errors import TrainingDiverged

QUICK = ("--hidden", "8", "--epochs", "2", "-q")


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments):
    return CliRunner().invoke(app, ["train", *(str(argument) for argument in arguments)])


def document(*arguments):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def kinds(rng):
    """100 rows in 4 classes of 40, 30, 20 and 10."""
    numbers = rng.permutation(np.repeat(np.arange(4), [40, 30, 20, 10]))
    x = numbers + rng.normal(size=100) / 4
    rows = [f"{a:.4f},{'abcd'[b]}" for a, b in zip(x, numbers, strict=True)]
    with open("kinds.csv", "w") as file:
        file.write("\n".join(["x,kind", *rows]) + "\n")


@pytest.mark.usefixtures("kinds")
def test_table_of_folds():
    result = run("kinds.csv", *QUICK, "--cv", 5)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["fold", "train", "test", "accuracy", "loss", "seconds"]
    assert [line.split()[0] for line in lines[1:8]] == ["1", "2", "3", "4", "5", "mean", "standard"]
    assert lines[1].split()[1:3] == ["80", "20"]
    assert lines[-1].startswith("model  none written")
    assert "--out" in lines[-1]
    assert os.listdir() == ["kinds.csv"]


@pytest.mark.usefixtures("kinds")
def test_json_and_the_statistics():
    found = document("kinds.csv", *QUICK, "--cv", 4)
    folds, cv = found["cross_validation"]["folds"], found["cross_validation"]
    for name in ("accuracy", "loss"):
        values = [fold[name] for fold in folds]
        assert cv["mean"][name] == pytest.approx(np.mean(values))
        assert cv["standard_deviation"][name] == pytest.approx(np.std(values, ddof=1))
    assert (found["model"], found["settings"]["cv"], found["settings"]["batch_size"]) == (None, 4, 75)
    assert found["data"]["examples"] == {"train": 100}


@pytest.mark.usefixtures("kinds")
def test_every_example_judges_once_and_classes_are_spread():
    from schuss.cli._cross_validation import cut
    from schuss.cli._examples import Part, Parts

    whole = data.load_table("kinds.csv")
    pool = Parts(Part(whole), None, None, "kinds")
    cuts = cut(pool, 5, 0)
    assert sorted(np.concatenate([judge for _, judge in cuts])) == list(range(100))
    for train, judge in cuts:
        assert not set(train) & set(judge)
        assert np.bincount(whole.y[judge]).tolist() == [8, 6, 4, 2]
    for seed, same in ((0, True), (1, False), (2**40, False)):
        again = cut(pool, 5, seed)
        assert np.array_equal(again[0][1], cuts[0][1]) == same


def test_fold_is_a_training_without_its_examples(kinds):
    from sklearn.model_selection import StratifiedKFold

    whole = data.load_table("kinds.csv")
    random = np.random.RandomState(np.random.MT19937(3))
    train, judge = next(StratifiedKFold(5, shuffle=True, random_state=random).split(whole.X, whole.y))
    network = schuss.train(
        whole.take(train), hidden_layer_sizes=8, epochs=2, momentum=0.9, batch_size=80, seed=3
    )
    fold = document("kinds.csv", *QUICK, "--cv", 5, "--seed", 3)["cross_validation"]["folds"][0]
    held_out = whole.take(judge)
    assert fold["accuracy"] == network.score(held_out.X, held_out.labels)
    assert fold["loss"] == pytest.approx(network.loss(held_out.X, held_out.labels))


@pytest.mark.usefixtures("kinds")
def test_out_asks_for_a_model_of_all_examples():
    found = document("kinds.csv", *QUICK, "--cv", 3, "--out", "m")
    assert (found["model"], len(found["cross_validation"]["folds"])) == ("m", 3)
    network = schuss.train(
        data.load_table("kinds.csv"), hidden_layer_sizes=8, epochs=2, momentum=0.9, batch_size=66
    )
    assert np.array_equal(schuss.load("m").parameters, network.parameters)
    text = run("kinds.csv", *QUICK, "--cv", 3, "--out", "m").stdout
    assert text.splitlines()[-1].split() == ["model", "m"]


def test_test_part_of_a_source_stays_apart():
    found = document("digits", *QUICK, "--cv", 2, "--out", "m")
    assert found["data"]["examples"] == {"train": 1547, "test": 250}
    assert found["test"]["examples"] == 250


def test_numbers_are_scored_by_r2(rng):
    x = rng.normal(size=60)
    np.savez("line.npz", X=x[:, None].astype(np.float32), y=2 * x)
    result = run("line.npz", *QUICK, "--cv", 3)
    assert result.stdout.split()[:6] == ["fold", "train", "test", "R^2", "loss", "seconds"]
    folds = document("line.npz", *QUICK, "--cv", 3)["cross_validation"]["folds"]
    assert [fold["test"] for fold in folds] == [20, 20, 20]


@pytest.mark.usefixtures("kinds")
def test_too_many_folds_and_rare_classes():
    result = run("kinds.csv", *QUICK, "--cv", 41)
    assert result.exit_code == 2
    assert "'--cv'" in result.stderr
    assert "40 examples of a class at most, got 41" in result.stderr
    result = run("kinds.csv", "--hidden", "8", "--epochs", "1", "--cv", 12)
    assert result.exit_code == 0
    assert "classes with fewer examples than the 12 folds: 'd'" in result.stderr


def test_weights_count_in_folds(rng):
    x, w = rng.normal(size=(2, 80))
    rows = [f"{a:.4f},{int(abs(b) * 3)},{a > 0}" for a, b in zip(x, w, strict=True)]
    with open("w.csv", "w") as file:
        file.write("\n".join(["x,w,y", *rows]) + "\n")
    weighted = document("w.csv", *QUICK, "--cv", 2, "--weights", "w")
    assert weighted["data"]["features"] == 1
    plain = document("w.csv", *QUICK, "--cv", 2)
    assert plain["data"]["features"] == 2
    assert weighted["cross_validation"]["mean"] != plain["cross_validation"]["mean"]


def stop_in_fold(monkeypatch, number, error):
    """Let the training of this fold, from 1, raise."""
    train, done = schuss.train, []

    def interrupted(*arguments, **options):
        done.append(1)
        if len(done) == number:
            raise error
        return train(*arguments, **options)

    monkeypatch.setattr(schuss, "train", interrupted)


@pytest.mark.usefixtures("kinds")
@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (KeyboardInterrupt(), 130, "schuss: interrupted after 2 of 5 folds: no model was written\n"),
        (
            TrainingDiverged("loss became nan", 1, 2),
            1,
            "fold 3 of 5: loss became nan; no model was written\n",
        ),
    ],
)
def test_what_was_done_is_printed(monkeypatch, error, code, text):
    stop_in_fold(monkeypatch, 3, error)
    result = run("kinds.csv", *QUICK, "--cv", 5, "--out", "m")
    assert result.exit_code == code
    assert result.stderr.endswith(text)
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["fold", "1", "2", "mean", "standard"]
    assert os.listdir() == ["kinds.csv"]


@pytest.mark.usefixtures("kinds")
def test_interrupted_in_json(monkeypatch):
    stop_in_fold(monkeypatch, 2, KeyboardInterrupt())
    result = run("kinds.csv", *QUICK, "--cv", 5, "--json")
    assert result.exit_code == 130
    cv = json.loads(result.stdout)["cross_validation"]
    assert len(cv["folds"]) == 1
    assert "standard_deviation" not in cv


@pytest.mark.usefixtures("kinds")
def test_interrupted_before_any_fold(monkeypatch):
    stop_in_fold(monkeypatch, 1, KeyboardInterrupt())
    result = run("kinds.csv", *QUICK, "--cv", 5)
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr.count("\n") == 1
