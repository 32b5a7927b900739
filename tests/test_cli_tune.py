"""`schuss tune`: what is searched, how trials are judged, and the command that repeats the best."""

import json
import os
import shlex
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import schuss
from schuss import data
from schuss.cli import app
from schuss.cli._search import command
from schuss.cli._trials import Hopeless, LogUniform, RandomSampler, Trial, axes, values

SEARCHED = ["learning_rate", "batch_size", "hidden", "activation", "alpha", "dropout"]
FIXED = ("--hidden", "16", "--activation", "relu", "--batch-size", "64")
QUICK = (*FIXED, "--epochs", "3", "--trials", "4")
NOTHING = dict.fromkeys(["net", *SEARCHED, "weight_decay"])


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments, verb="tune"):
    return CliRunner().invoke(app, [verb, *(str(argument) for argument in arguments)])


def document(*arguments, verb="tune"):
    result = run(*arguments, "--json", verb=verb)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(result, *texts, code=2):
    assert (result.exit_code, result.stdout) == (code, "")
    message = result.stderr.splitlines()[-1]
    assert message.startswith("Error: " if code == 2 else "schuss: error: ")
    for text in texts:
        assert text in message


@pytest.fixture
def line(rng):
    """A regression of 120 examples."""
    X = rng.normal(size=(120, 3)).astype(np.float32)
    np.savez("line.npz", X=X, y=X @ [1.0, -2.0, 0.5])


def test_table_is_sorted_and_ends_in_a_command():
    result = run("digits", *QUICK)
    assert (result.exit_code, result.stderr) == (0, "")  # progress is for terminals
    *table, empty, last = result.stdout.splitlines()
    assert table[0].split()[:5] == ["trial", "accuracy", "loss", "epochs", "seconds"]
    assert table[0].endswith("learning rate  alpha  dropout") or "learning rate" in table[0]
    scores = [float(row.split()[1]) for row in table[1:]]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 4
    assert empty == ""
    assert last.startswith("schuss train digits ")
    assert os.listdir() == []


@pytest.mark.parametrize("judged", [(), ("--cv", 2), ("--patience", 1)])
def test_command_repeats_the_best(judged):
    found = document("digits", *QUICK, "--seed", 3, "--solver", "adam", "--clip-norm", 5, *judged)
    best = next(trial for trial in found["trials"] if trial["trial"] == found["best"]["trial"])
    assert found["trials"][0] == best
    program, verb, *words = shlex.split(found["best"]["command"])
    assert (program, verb) == ("schuss", "train")
    again = document(*words, "-q", verb=verb)
    if "--cv" in judged:
        assert again["cross_validation"]["mean"]["accuracy"] == best["accuracy"]
        assert again["cross_validation"]["mean"]["loss"] == best["loss"]
        assert len(best["folds"]) == 2
    else:
        kept = again["kept_epoch"] - 1
        assert again["history"]["validation_accuracy"][kept] == best["accuracy"]
        assert again["history"]["validation_loss"][kept] == pytest.approx(best["loss"])
    settings = again["settings"] | {"out": None}
    assert settings == found["best"]["settings"]


def test_command_spells_options_as_train_reads_them():
    options = {
        "data": "my data.csv",
        "hidden": (8, 4),
        "nesterov": True,
        "epochs": 10,
        "dropout": None,
        "seed": 7,
    }
    texts = {"learning_rate": "0.01", "dropout": "0.1"}
    expected = (
        "schuss train 'my data.csv' --hidden 8,4 --learning-rate 0.01 --nesterov --dropout 0.1 --seed 7"
    )
    assert command(options, texts) == expected


def test_same_seed_same_search():
    runs = [document("digits", *QUICK, "--seed", seed) for seed in (1, 1, 2)]
    options = [[trial["options"] for trial in found["trials"]] for found in runs]
    assert options[0] == options[1] != options[2]
    assert runs[0]["trials"][0]["loss"] == runs[1]["trials"][0]["loss"]


def test_out_writes_the_best():
    found = document("digits", *QUICK, "--out", "best", "--keep-all", "-q")
    network = schuss.load("best")
    validation = data.load("digits").validation
    assert network.score(validation.X, validation.labels) == found["trials"][0]["accuracy"]
    assert found["training"]["model"] == "best"
    assert found["training"]["test"]["accuracy"] > 0
    text = run("digits", *QUICK, "--out", "best", "-q").stdout
    assert text.splitlines()[-1].split() == ["model", "best"]
    assert "test accuracy" in text


@pytest.mark.usefixtures("line")
def test_numbers_are_judged_by_the_loss():
    found = document("line.npz", "--trials", 6, "--epochs", 4, "--keep-all", "--hidden", 8)
    losses = [trial["loss"] for trial in found["trials"] if trial["status"] == "done"]
    assert losses == sorted(losses)
    assert all("r2" in trial for trial in found["trials"] if trial["status"] == "done")


def test_test_part_is_not_looked_at(monkeypatch):
    seen = []
    from schuss.cli import _search

    measure = _search.measure
    monkeypatch.setattr(
        _search, "measure", lambda n, parts, s: seen.append(len(parts[0])) or measure(n, parts, s)
    )
    splits = data.load("digits")
    monkeypatch.setattr(data, "load", lambda *_a, **_k: data.Splits(
        splits.train, splits.validation.take(slice(0, 99)), splits.test, "digits"))  # fmt: skip
    run("digits", *QUICK)
    assert seen == [99] * 4


# --- What is searched --------------------------------------------------------------------------------


def test_what_is_given_is_not_searched():
    assert list(axes(NOTHING | {"solver": "sgd"})) == SEARCHED
    adamw = ["weight_decay" if name == "alpha" else name for name in SEARCHED]
    assert list(axes(NOTHING | {"solver": "adamw"})) == adamw
    given = NOTHING | {"solver": "sgd", "net": "net-2h", "weight_decay": 0.1, "dropout": (0.0,)}
    assert list(axes(given)) == ["learning_rate", "batch_size", "activation"]


@pytest.mark.parametrize(("rows", "sizes"), [(50_000, 5), (1297, 3), (400, 1), (100, 1), (20, 1)])
def test_batches_leave_steps_to_take(rows, sizes):
    texts = axes(NOTHING | {"solver": "sgd"}, rows)["batch_size"].texts
    assert len(texts) == sizes
    assert max(map(int, texts)) <= rows


def test_values_are_read_as_on_the_command_line():
    texts = {
        "learning_rate": "0.0123",
        "batch_size": "64",
        "hidden": "64,32",
        "activation": "relu",
        "dropout": "0.1",
    }
    assert values(texts) == {
        "learning_rate": 0.0123,
        "batch_size": 64,
        "hidden": (64, 32),
        "activation": ("relu",),
        "dropout": (0.1,),
    }


def test_random_values_spread_over_their_range():
    space = axes(NOTHING | {"solver": "sgd"})
    drawn = list(RandomSampler(space, 300, 0))
    for name in ("batch_size", "hidden", "activation", "dropout"):
        assert {trial.texts[name] for trial in drawn} == set(space[name].texts)
    rates = np.log([float(trial.texts["learning_rate"]) for trial in drawn])
    low, high = np.log(space["learning_rate"].low), np.log(space["learning_rate"].high)
    assert low - 0.01 <= rates.min() < low + 0.1
    assert high - 0.1 < rates.max() <= high + 0.01
    assert np.mean(rates) == pytest.approx((low + high) / 2, abs=0.3)
    assert LogUniform.text(0.0123456) == "0.0123"


# --- Which trials are given up -----------------------------------------------------------------------


def test_the_worse_half_is_given_up():
    rule = Hopeless(active=True)
    assert [rule.says(value) for value in (0.1, 0.2, 0.3, 0.4)] == [False] * 4
    assert rule.says(0.2)
    assert not rule.says(0.25)
    assert not Hopeless(active=False).says(0.0)


@pytest.mark.usefixtures("line")
@pytest.mark.parametrize("judged", [(), ("--cv", 3)])
def test_discarded_trials_are_shorter_and_last(judged):
    options = ("line.npz", "--trials", 14, "--epochs", 6, "--hidden", 8, "--batch-size", 16, *judged)
    trials = document(*options)["trials"]
    kinds = [trial["status"] for trial in trials]
    assert "discarded" in kinds
    assert kinds == sorted(kinds, key=["done", "discarded", "diverged"].index)
    for trial in trials:
        if judged and trial["status"] != "diverged":
            assert len(trial["folds"]) == (3 if trial["status"] == "done" else 1)
        elif trial["status"] != "diverged":
            assert trial["epochs"] == (6 if trial["status"] == "done" else 2)
    kept = [trial["status"] for trial in document(*options, "--keep-all")["trials"]]
    assert "discarded" not in kept


def test_rank():
    trials = [
        Trial(1, {}, "discarded", {"accuracy": 1.0, "loss": 0.0}),
        Trial(2, {}, "done", {"accuracy": 0.5, "loss": 0.1}),
        Trial(3, {}, "done", {"accuracy": 0.6, "loss": 0.9}),
        Trial(4, {}, "done", {"accuracy": 0.6, "loss": 0.8}),
        Trial(5, {}, "diverged"),
    ]
    assert [trial.number for trial in sorted(trials, key=lambda trial: trial.rank)] == [4, 3, 2, 1, 5]


@pytest.mark.usefixtures("line")
def test_trials_that_diverge():
    options = ("line.npz", "--hidden", 8, "--epochs", 2, "--trials", 2, "--learning-rate", "1e25")
    result = run(*options)
    assert result.exit_code == 1
    assert result.stderr == "schuss: error: every trial diverged: a smaller --learning-rate may help\n"
    assert [line.split()[-1] for line in result.stdout.splitlines()[1:]] == ["diverged", "diverged"]


# --- Other ways of choosing --------------------------------------------------------------------------


def test_preset_of_the_paper():
    found = document("digits", "--preset", "paper", "--hidden", 16, "--batch-size", 16, "--epochs", 1)
    rates = sorted(float(trial["options"]["learning_rate"]) for trial in found["trials"])
    assert rates == [0.001, 0.002, 0.01, 0.1, 0.5, 1.0]
    assert all(trial["status"] == "done" for trial in found["trials"])
    settings = found["best"]["settings"]
    assert (settings["activation"], settings["output_activation"]) == ("logistic", "logistic")
    assert (settings["loss"], settings["momentum"], settings["dropout"]) == ("squared_error", 0, [0])


def test_optuna():
    pytest.importorskip("optuna")
    runs = [document("digits", *QUICK, "--sampler", "optuna", "--seed", 2) for _ in range(2)]
    options = [[trial["options"] for trial in found["trials"]] for found in runs]
    assert options[0] == options[1]
    assert len(options[0]) == 4
    assert list(options[0][0]) == ["learning_rate", "alpha", "dropout"]


def test_optuna_is_told_of_every_ending():
    pytest.importorskip("optuna")
    from schuss.cli._trials import OptunaSampler

    sampler = OptunaSampler(axes(NOTHING | {"solver": "sgd"}), 3, 0)
    endings = [("done", {"loss": 0.5}), ("discarded", {"loss": 2.0}), ("diverged", {})]
    for trial, (status, result) in zip(sampler, endings, strict=True):
        trial.status, trial.result = status, result
        sampler.tell(trial)
    states = [(trial.state.name, trial.value) for trial in sampler._study.trials]
    assert states == [("COMPLETE", -0.5), ("PRUNED", -2.0), ("PRUNED", None)]


def test_optuna_that_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    refused(run("digits", *QUICK, "--sampler", "optuna"), "optuna", "pip install 'schuss[tune]'", code=1)


# --- What is refused, and Ctrl-C ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        (("--trials", "0"), ("'--trials'", "x>=1")),
        (("--sampler", "grid"), ("'--sampler'", "'grid'", "optuna")),
        (("--preset", "paper", "--activation", "relu"), ("--activation", "--preset paper")),
        (("--preset", "paper", "--learning-rate", "1"), ("--learning-rate", "--preset paper")),
        (("--preset", "paper", "--trials", "3"), ("--trials", "--preset paper")),
        (("--preset", "paper", "--sampler", "optuna"), ("--sampler", "--preset paper")),
        ((*FIXED, "--learning-rate", "1", "--alpha", "0", "--dropout", "0"), ("nothing is left to search",)),
        (("--activation", "relu,tanh"), ("--activation", "--hidden")),
        (("--dropout", "0.1,0.2"), ("--dropout", "--hidden")),
        (("--solver", "adam", "--momentum", "0.5"), ("--momentum", "adam")),
        (("--patience", "2", "--cv", "3"), ("--patience", "--cv")),
        (("--plan", "fast"), ("'--plan'", "'fast'")),
        (("--out", "none/m"), ("'--out'", "no folder 'none'")),
    ],
)
def test_refused_before_any_data(monkeypatch, options, texts):
    monkeypatch.setattr(data, "load", None)
    refused(run("digits", *options), *texts)


def test_refused_once_the_data_are_known():
    with open("tiny.csv", "w") as file:
        file.write("x,kind\n" + "1,a\n2,b\n" * 3)
    refused(run("tiny.csv", *FIXED), "tiny.csv", "validation", "--cv")
    refused(
        run("tiny.csv", "--cv", 3, "--trials", 1, "--batch-size", 5, "--hidden", 4),
        "'--batch-size'",
        "4 examples",
    )
    refused(run("none.csv"), "none.csv", "no such file", code=1)


@pytest.mark.parametrize("as_json", [False, True])
def test_interrupt_keeps_what_was_found(monkeypatch, as_json):
    train, done = schuss.train, []

    def interrupted(*arguments, **options):
        done.append(1)
        if len(done) == 3:
            raise KeyboardInterrupt
        return train(*arguments, **options)

    monkeypatch.setattr(schuss, "train", interrupted)
    result = run("digits", *QUICK, "--out", "best", *(["--json"] if as_json else []))
    assert result.exit_code == 130
    assert result.stderr == "schuss: interrupted after 2 of 4 trials\n"
    assert os.listdir() == []
    if as_json:
        found = json.loads(result.stdout)
        assert (len(found["trials"]), found["interrupted"], found["training"]) == (2, True, None)
    else:
        assert result.stdout.splitlines()[-1].startswith("schuss train digits ")
        assert len(result.stdout.splitlines()) == 5


def test_interrupt_before_the_first_trial(monkeypatch):
    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(schuss, "train", interrupted)
    result = run("digits", *QUICK)
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == "schuss: interrupted after 0 of 4 trials\n"


def test_interrupt_of_the_last_training_prints_the_search(monkeypatch):
    train, done = schuss.train, []

    def interrupted(*arguments, **options):
        done.append(1)
        if len(done) == 5:
            raise KeyboardInterrupt
        return train(*arguments, **options)

    monkeypatch.setattr(schuss, "train", interrupted)
    result = run("digits", *QUICK, "--keep-all", "--out", "best", "--json", "-q")
    assert result.exit_code == 130
    assert len(json.loads(result.stdout)["trials"]) == 4
