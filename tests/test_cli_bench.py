"""`schuss bench`: from the command line to a folder, going on, comparing, and what is refused."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from schuss import cuda, data
from schuss.cli import _bench_accuracy, _bench_run, _bench_settings, app
from schuss.cli._bench_settings import Wanted, settle_study
from schuss.errors import DataError
from schuss.study.measure import LIMITS
from schuss.study.results import Study
from schuss.study.run import Measuring

NOTHING = Wanted(None, None, None, None, None, None)
SHORT = ("--hidden", "8", "--rounds", "1", "--seconds", "0.01", "--batches", "64", "--implementations")


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SCHUSS_DATA_DIR", raising=False)
    for name in LIMITS:  # what a verb sets is taken back, also where nothing was set before
        monkeypatch.setenv(name, "1")
        monkeypatch.delenv(name)


def run(*arguments):
    return CliRunner().invoke(app, ["bench", *(str(argument) for argument in arguments)])


def refused(result, *texts, code=2):
    assert (result.exit_code, result.stdout) == (code, "")
    message = result.stderr.splitlines()[-1]
    for text in texts:
        assert text in message


def test_a_study_of_ones_own(tmp_path, monkeypatch):
    asked = ("digits", *SHORT, "serial,hybrid", "--out", "here", "--threads", "1")
    result = run(*asked)
    assert result.exit_code == 0, result.output
    study = Study.load(tmp_path / "here")
    assert study.preset == "mine"
    assert study.networks["mine"].layers == (64, 8, 10)
    assert study.settings["data"] == {"name": "digits", "wanted": "digits", "rows": 1297, "features": 64}
    assert study.settings["formula"]["learning_rate"] == 0.1
    assert [(r.implementation, r.batch, r.plan) for r in study.runs] == [
        ("serial", 64, "naive:1x1"),
        ("hybrid", 64, "native:1x1"),
    ]
    assert {curve.implementation for curve in study.loss_curves} == {"serial", "hybrid"}
    assert "mine (64-8-10), seconds an epoch of 1,297 examples" in result.stdout
    assert result.stdout.rstrip().splitlines()[-1] == "here/report.html"
    assert (tmp_path / "here" / "report.html").stat().st_size > 0
    # once more: nothing is measured again
    monkeypatch.setattr(Measuring, "_worker", None)
    again = run(*asked, "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["runs"] == json.loads(json.dumps(study.as_dict()))["runs"]
    assert "here: goes on where it stopped" in again.stderr
    refused(run(*asked, "--rounds", "2"), "here: holds a study with other settings, rounds 1, not 2", code=1)
    compared = run("--compare", "here", "here", "--out", "page.html")
    assert compared.exit_code == 0
    assert "None of" in compared.stdout
    assert (tmp_path / "page.html").exists()
    assert json.loads(run("--compare", "here", "here", "--json").stdout)["only_a"] == []


def test_ctrl_c_keeps_what_there_is(monkeypatch):
    def stop(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Measuring, "run", stop)
    result = run("digits", *SHORT, "serial", "--out", "here")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "schuss: interrupted: the same command goes on where it stopped"


def test_without_matplotlib_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(_bench_run, "find_spec", lambda name: None)
    assert [file.name for file in _bench_run.reported(tmp_path)] == ["results.json", "results.csv"]
    assert capsys.readouterr().err == (
        "schuss: figures and report need matplotlib: pip install 'schuss[plot]', then the same command again\n"
    )


@pytest.fixture
def digits(monkeypatch):
    """Sources of data by name: digits28 of a few examples, and no MNIST."""
    rng = np.random.default_rng(0)
    small = data.Dataset(
        rng.integers(0, 256, (30, 784)).astype(np.uint8),
        np.arange(30, dtype=np.int32) % 10,
        np.arange(10),
        scale=1 / 255,
    )

    def load(source, **_):
        if source == "mnist":
            raise DataError("mnist: no whole file in a folder; put them there")
        return data.Splits(small, small, small, source)

    monkeypatch.setattr(data, "load", load)
    return small


def test_without_mnist_the_built_in_digits_and_a_line(digits):
    asked = settle_study("paper", NOTHING, {"data_dir": None})
    assert asked.notes == (
        "MNIST is absent, the built-in digits28 are used: mnist: no whole file in a folder",
    )
    assert asked.settings.data["name"] == "digits28"
    assert asked.settings.networks["net-2h"] == (784, 1024, 1024, 10)
    assert asked.settings.batches == (128, 256, 512, 1024, 2048, 4096)
    assert asked.settings.formula == {"activation": "logistic", "loss": "squared_error"}
    assert asked.settings.examples == 50_000
    assert asked.examples.X.dtype == np.float32
    assert asked.examples.X.max() <= 1


def test_a_folder_of_mnist_that_was_named_is_no_wish(digits, monkeypatch):
    with pytest.raises(DataError, match="no whole file"):
        settle_study("quick", NOTHING, {"data_dir": "there"})
    monkeypatch.setenv("SCHUSS_DATA_DIR", "there")
    with pytest.raises(DataError, match="no whole file"):
        settle_study("quick", NOTHING, {"data_dir": None})


def test_data_for_the_processes(digits, tmp_path):
    wanted = Wanted(("784-20-10",), (64, 32), ("serial",), 1, 0.1, None)
    asked = settle_study("quick", wanted, {"data_dir": None})
    asked.save_data(tmp_path)
    assert asked.settings.networks == {"784-20-10": (784, 20, 10)}
    assert asked.settings.batches == (32, 64)
    assert asked.settings.curve.batch == 32
    X, y = asked.settings.work("784-20-10", 32, str(tmp_path)).data()
    assert X.shape == (49_984, 784)
    assert np.array_equal(y[:30], digits.y)
    np.testing.assert_allclose(X[:30], digits.X / np.float32(255), rtol=1e-6)


def test_numbers_to_predict_in_standard_deviations(tmp_path, rng):
    X = rng.normal(50, 10, (60, 3)).astype(np.float32)
    np.savez(tmp_path / "own.npz", X=X, y=X @ [1.0, 2.0, 3.0])
    options = {"data": str(tmp_path / "own.npz"), "hidden": (4,), "standardize": True}
    asked = settle_study("mine", NOTHING, options)
    assert asked.examples.y.shape == (len(asked.examples.X), 1)
    assert abs(asked.examples.X.mean()) < 1e-5
    formula = asked.settings.formula
    assert (formula["loss"], formula["output_activation"], formula["numbers"]) == (
        "squared_error",
        "identity",
        True,
    )
    assert asked.settings.batches == (32,)


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (("--preset", "quick", "--hidden", "5"), ["--hidden belongs to --preset mine, got --preset quick"]),
        (("digits", "--preset", "paper"), ["DATA digits belongs to --preset mine"]),
        (("digits", "--accuracy"), ["--accuracy"]),
        (("digits", "--networks", "net-1h"), ["--networks"]),
        (("digits", "--batches", "2000"), ["at most the 1,297 examples", "got 2,000"]),
        (("digits", "--batches", "0"), ["'--batches'", "above 0"]),
        (("digits", "--batches", "a"), ["'--batches'"]),
        (("digits", "--implementations", "serial,,"), ["names with commas"]),
        (("digits", "--implementations", "nope"), ["no implementation 'nope'"]),
        (("digits", "--solver", "adamw"), ["'--solver'", "adamw"]),
        (("digits", "--hidden", "5,5", "--activation", "relu,tanh"), ["--activation"]),
        (("digits", "--theano-python", "no-such-python"), ["'--theano-python'", "no-such-python"]),
        (("--compare", "a", "b", "--rounds", "2"), ["'--rounds'", "--compare"]),
    ],
)
def test_usage(arguments, texts):
    refused(run(*arguments), *texts)


def test_networks_that_do_not_fit_the_data(digits):
    refused(run("--networks", "net-9h"), "'--networks'", "'net-9h'")
    refused(run("--accuracy", "--implementations", "serial"), "--accuracy", "hybrid")
    refused(run("--networks", "10-5-2"), "784 features and 10 classes, got 10-5-2")


def test_what_is_named_and_absent_is_an_error(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(cuda, "why_not", lambda number=0: "no NVIDIA driver")
    refused(run("--implementations", "serial,gpu"), "gpu: ", "no NVIDIA driver", code=1)
    refused(run("--implementations", "keras2-theano"), "--theano-python PATH", code=1)
    assert not (tmp_path / "schuss-bench-quick").exists()
    refused(run("--compare", "nowhere", "there"), "nowhere", code=1)


def test_accuracy_of_the_best_rate(digits, monkeypatch):
    monkeypatch.setattr(_bench_accuracy, "EPOCHS", 1)
    monkeypatch.setattr(_bench_accuracy, "BATCH_SIZE", 10)
    told = []

    class Progress(_bench_run.StudyProgress):
        def line(self, text):
            told.append(text)

    options = _bench_settings.train_options({"data": "digits28"})
    found = _bench_accuracy.reached("net", (784, 4, 10), options, Progress(quiet=True))
    assert (found.network, found.batch, found.epochs, found.implementation) == ("net", 10, 1, "hybrid")
    assert found.learning_rate in (0.001, 0.002, 0.01, 0.1, 0.5, 1.0)
    # the same examples are its validation and its test part
    assert found.validation_accuracy == found.test_accuracy
