"""`schuss train`: what it prints where, what it refuses, and what survives Ctrl-C."""

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import schuss
from schuss import data
from schuss.cli import app
from schuss.cli._progress import epoch_line
from schuss.errors import TrainingDiverged

QUICK = ("--hidden", "16", "--epochs", "2")


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments):
    return CliRunner().invoke(app, ["train", *(str(argument) for argument in arguments)])


def refused(result, *texts):
    """A usage error that says all this, before anything was read or written."""
    assert (result.exit_code, result.stdout) == (2, "")
    message = result.stderr.splitlines()[-1]
    assert message.startswith("Error: ")
    for text in texts:
        assert text in message


@pytest.fixture
def no_loading(monkeypatch):
    def load(*_arguments, **_options):
        raise AssertionError("data were loaded before the options were checked")

    monkeypatch.setattr(data, "load", load)


def test_results_on_stdout_progress_on_stderr():
    result = run("digits", *QUICK)
    assert result.exit_code == 0
    names = [line.split("  ")[0] for line in result.stdout.splitlines()]
    assert names == ["test accuracy", "time per epoch", "speed", "model"]
    lines = result.stderr.splitlines()
    assert lines[0].startswith(
        "data     digits: 1,297 training, 250 validation, 250 test examples of 64 features"
    )
    assert lines[1].startswith("network  64-16-10, relu, softmax, log_loss: 1,210 parameters")
    assert lines[2].startswith("plan     native:")
    assert re.search(r", float32, \d+\.\d MB of memory$", lines[2])
    assert [line.split("  ")[0] for line in lines[3:]] == ["epoch 1/2", "epoch 2/2"]
    for word in ("loss", "validation accuracy", "examples/s", "GFLOP/s", "native:"):
        assert word in lines[3]
    assert "\x1b" not in result.stderr
    assert len(schuss.load("schuss-model.safetensors").history["loss"]) == 2


def test_defaults_learn():
    result = run("digits", "--hidden", "32", "--json", "--quiet")
    assert json.loads(result.stdout)["test"]["accuracy"] > 0.9


def test_json_is_one_document():
    result = run("digits", *QUICK, "--json", "--seed", 3, "--threads", 1, "--out", "m")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["data"]["examples"] == {"train": 1297, "validation": 250, "test": 250}
    assert document["data"]["classes"] == list(range(10))
    assert document["network"] == {"layer_sizes": [64, 16, 10], "parameters": 1210}
    assert document["settings"]["seed"] == 3
    assert document["settings"]["batch_size"] == 128
    assert document["settings"]["output_activation"] == "softmax"
    assert document["plan"] == "native:1x1"
    assert document["model"] == "m"
    assert document["machine"]["cores"]["used"] >= 1
    assert len(document["history"]["validation_accuracy"]) == 2
    assert document["seconds_per_epoch"] == pytest.approx(np.median(document["history"]["epoch_seconds"]))
    assert 0 <= document["test"]["accuracy"] <= 1


def test_quiet_prints_no_progress():
    result = run("digits", *QUICK, "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "test accuracy" in result.stdout


def test_options_reach_the_network_and_the_training():
    result = run(
        *("digits", "--hidden", "8,7", "--epochs", 1, "--activation", "tanh", "--loss", "squared_error"),
        *("--solver", "adam", "--learning-rate", 0.01, "--batch-size", 50, "--precision", "float64"),
        *("--plan", "serial", "--json"),
    )
    document = json.loads(result.stdout)
    assert document["settings"]["learning_rate"] == 0.01
    assert document["settings"]["momentum"] == 0
    assert document["settings"]["batch_size"] == 50
    assert document["plan"] == "naive:1x1"
    network = schuss.load("schuss-model.safetensors")
    assert network.layer_sizes == (64, 8, 7, 10)
    assert (network.activation, network.output_activation) == ("tanh", "logistic")
    assert (network.loss_name, network.dtype) == ("squared_error", np.float64)


@pytest.mark.parametrize(
    ("options", "momentum"),
    [
        ((), 0.9),
        (("--loss", "squared_error"), 0),
        (("--loss", "squared_error", "--nesterov"), 0.9),
        (("--loss", "squared_error", "--momentum", "0.5"), 0.5),
        (("--solver", "adam"), 0),
    ],
)
def test_default_momentum(options, momentum):
    assert json.loads(run("digits", *QUICK, *options, "--json").stdout)["settings"]["momentum"] == momentum


def test_same_seed_same_network():
    for out in ("a", "b"):
        run("digits", *QUICK, "--seed", 5, "--out", out)
    run("digits", *QUICK, "--seed", 6, "--out", "c")
    a, b, c = (schuss.load(name).parameters for name in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ((), {"learning_rate": 0.1, "momentum": 0.9}),
        (("--alpha", "0.5", "--isa", "portable"), {"momentum": 0.9, "alpha": 0.5, "isa": "portable"}),
        (("--solver", "adamw"), {"solver": "adamw", "learning_rate": 0.001}),
        (("--momentum", "0", "--weight-decay", "0.1"), {"weight_decay": 0.1}),
    ],
)
def test_is_what_train_in_python_gives(options, arguments):
    run("digits", *QUICK, "--seed", 5, *options)
    splits = data.load("digits")
    network = schuss.train(splits.train, hidden_layer_sizes=(16,), epochs=2, seed=5, **arguments)
    assert np.array_equal(schuss.load("schuss-model.safetensors").parameters, network.parameters)


def write_csv(path, rows, header):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")


def test_small_file_of_numbers(tmp_path):
    x = np.linspace(0, 1, 40)
    write_csv(tmp_path / "line.csv", zip(2 * x + 0.5, x, strict=True), "y,x")
    result = run("line.csv", "--target", "y", *QUICK, "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["settings"]["loss"] == "squared_error"
    assert document["settings"]["output_activation"] == "identity"
    assert document["settings"]["batch_size"] == 32
    assert document["data"]["classes"] is None
    assert "accuracy" not in document["test"]
    text = run("line.csv", "--target", "y", *QUICK)
    assert text.stdout.startswith("test loss")
    assert "validation loss" in text.stderr


def test_log_loss_is_not_for_numbers(tmp_path):
    write_csv(tmp_path / "line.csv", [(x, x + 0.5) for x in range(12)], "x,y")
    refused(run("line.csv", *QUICK, "--loss", "log_loss"), "'--loss'", "line.csv", "numbers")


def test_one_class_is_not_enough(tmp_path):
    write_csv(tmp_path / "one.csv", [(x, "a") for x in range(12)], "x,y")
    result = run("one.csv", *QUICK)
    assert result.exit_code == 1
    assert result.stderr == "schuss: error: one.csv: targets must be of at least 2 classes, got ['a']\n"


def test_file_too_small_to_split(tmp_path):
    write_csv(tmp_path / "tiny.csv", [(0, "a"), (1, "b"), (2, "a")], "x,kind")
    result = run("tiny.csv", *QUICK)
    assert result.exit_code == 0
    assert result.stdout.startswith("time per epoch")
    assert "validation" not in result.stderr


@pytest.mark.usefixtures("no_loading")
@pytest.mark.parametrize(
    ("options", "texts"),
    [
        (("--net", "net-3h"), ("'--net'", "'net-3h'", "net-1h")),
        (("--net", "net-1h", "--hidden", "16"), ("--net", "--hidden")),
        (("--hidden", "16,x"), ("'--hidden'", "'16,x'", "whole numbers")),
        (("--hidden", ""), ("'--hidden'", "whole numbers")),
        (("--hidden", "16,0"), ("'--hidden'", "'16,0'", "at least 1 unit")),
        (("--hidden", "-3"), ("'--hidden'", "'-3'", "at least 1 unit")),
        (("--activation", "softmax"), ("'--activation'", "'softmax'", "relu")),
        (("--output-activation", "magic"), ("'--output-activation'", "'magic'", "softmax")),
        (("--loss", "hinged"), ("'--loss'", "'hinged'", "log_loss")),
        (
            ("--output-activation", "softmax", "--loss", "squared_error"),
            ("'--output-activation'", "'softmax'"),
        ),
        (("--solver", "lbfgs"), ("'--solver'", "'lbfgs'", "sgd")),
        (("--learning-rate", "0"), ("'--learning-rate'", "0", "x>0")),
        (("--learning-rate", "nan"), ("'--learning-rate'", "nan", "finite")),
        (("--learning-rate", "inf"), ("'--learning-rate'", "inf", "finite")),
        (("--momentum", "1"), ("'--momentum'", "1", "x<1")),
        (("--momentum", "nan"), ("'--momentum'", "nan", "finite")),
        (("--momentum", "0.5", "--solver", "adam"), ("--momentum", "sgd", "adam")),
        (("--nesterov", "--solver", "adam"), ("--nesterov", "sgd", "adam")),
        (("--nesterov", "--momentum", "0"), ("--nesterov", "--momentum", "0")),
        (("--batch-size", "0"), ("'--batch-size'", "0", "x>=1")),
        (("--epochs", "0"), ("'--epochs'", "0", "x>=1")),
        (("--seed", "-1"), ("'--seed'", "-1", "x>=0")),
        (("--threads", "0"), ("'--threads'", "0", "x>=1")),
        (("--precision", "float16"), ("'--precision'", "'float16'", "float32")),
        (("--isa", "mmx"), ("'--isa'", "'mmx'", "portable")),
        (("--weight-decay", "-1"), ("'--weight-decay'", "-1", "x>=0")),
        (("--alpha", "nan"), ("'--alpha'", "nan", "finite")),
        (("--plan", "fast"), ("'--plan'", "'fast'", "KERNELS:EXAMPLESxMATRIX")),
        (("--plan", "native:2x2", "--threads", "3"), ("'--plan'", "native:2x2", "4 threads", "3 allowed")),
        (("--out", "none/model"), ("'--out'", "'none/model'", "no folder 'none'")),
        (("--out", "."), ("'--out'", "'.'", "a folder")),
        (("--out", "/dev/null"), ("'--out'", "'/dev/null'", "a regular file")),
    ],
)
def test_refused_before_any_work(options, texts):
    refused(run("digits", *options), *texts)
    assert os.listdir() == []


@pytest.mark.usefixtures("no_loading")
def test_refuses_threads_of_the_environment(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    result = run("digits")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "schuss: error: OMP_NUM_THREADS must be a positive integer, got 'many'\n"


@pytest.mark.usefixtures("no_loading")
def test_refuses_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "locked").mkdir()
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)  # root may write everywhere
    refused(run("--out", "locked/model"), "'--out'", "cannot be written")


@pytest.mark.usefixtures("no_loading")
def test_foreign_file_is_not_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    refused(run("digits", *QUICK, "--out", "thesis.txt"), "'--out'", "'thesis.txt'", "no Schuss model")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_own_model_and_empty_file_are_replaced(tmp_path):
    (tmp_path / "m").touch()
    for epochs in (1, 2):
        assert run("digits", "--hidden", "8", "--epochs", epochs, "--out", "m").exit_code == 0
        assert len(schuss.load("m").history["loss"]) == epochs


def test_refused_once_the_data_are_known():
    refused(run("digits", *QUICK, "--batch-size", "2000"), "'--batch-size'", "1297 examples", "2000")
    refused(
        run("digits", *QUICK, "--output-activation", "tanh"), "'--output-activation'", "'tanh'", "log_loss"
    )
    assert os.listdir() == []


@pytest.mark.parametrize("source", ["nonsense", "none.csv", "digits"])
def test_data_that_cannot_be_had_are_one_line(source):
    options = ("--target", "x") if source == "digits" else ()
    result = run(source, *QUICK, *options)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("schuss: error: ")
    assert result.stderr.count("\n") == 1
    assert os.listdir() == []


def interrupt_after(monkeypatch, epochs, error=KeyboardInterrupt):
    """Let the training raise once it has done this many epochs."""
    train = schuss.train

    def interrupted(*arguments, on_epoch, **options):
        def after_epoch(network, history):
            if len(history["loss"]) > epochs:
                for values in history.values():
                    values.pop()
                raise error
            on_epoch(network, history)

        return train(*arguments, on_epoch=after_epoch, **options)

    monkeypatch.setattr(schuss, "train", interrupted)


def test_interrupt_keeps_the_model(monkeypatch):
    interrupt_after(monkeypatch, 1)
    result = run("digits", "--hidden", "16")
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr.splitlines()[-1] == (
        "schuss: interrupted after 1 of 10 epochs: the model trained so far is in schuss-model.safetensors"
    )
    assert len(schuss.load("schuss-model.safetensors").history["loss"]) == 1


def test_interrupt_in_the_first_epoch_leaves_an_earlier_model(monkeypatch):
    run("digits", *QUICK)
    interrupt_after(monkeypatch, 0)
    result = run("digits", "--hidden", "16")
    assert result.exit_code == 130
    assert result.stderr.endswith("interrupted after 0 of 10 epochs: no model was written\n")
    assert len(schuss.load("schuss-model.safetensors").history["loss"]) == 2


def test_interrupt_in_the_first_epoch_keeps_what_there_is(monkeypatch):
    interrupt_after(monkeypatch, 0)
    assert run("digits", "--hidden", "16").exit_code == 130
    assert schuss.load("schuss-model.safetensors").history["loss"] == []


def test_divergence_keeps_the_last_good_model(monkeypatch):
    interrupt_after(monkeypatch, 1, TrainingDiverged("loss is nan in epoch 2, step 7", epoch=2, step=7))
    result = run("digits", "--hidden", "16")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1] == (
        "schuss: error: loss is nan in epoch 2, step 7; stopped after 1 of 10 epochs: "
        "the model trained so far is in schuss-model.safetensors"
    )
    assert np.isfinite(schuss.load("schuss-model.safetensors").parameters).all()


def test_real_divergence_is_one_line():
    result = run("digits", "--hidden", "16", "--learning-rate", "1e30", "--loss", "squared_error",
                 "--output-activation", "identity")  # fmt: skip
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("schuss: error: ")
    assert "no model was written" in result.stderr
    assert os.listdir() == []


def program(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "schuss", *arguments], stdout=subprocess.PIPE, text=True, **options
    )


def test_ctrl_c_in_a_real_process():
    with program(
        "train", "digits", "--hidden", "16", "--epochs", "1000000", stderr=subprocess.PIPE
    ) as process:
        for line in process.stderr:
            if line.startswith("epoch"):
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1].startswith("schuss: interrupted after ")
    assert schuss.load("schuss-model.safetensors").history["loss"]


def test_training_outlives_its_audience():
    with program("train", "digits", *QUICK, "--epochs", "20", stderr=subprocess.PIPE) as process:
        process.stderr.readline()
        process.stderr.close()
        out = process.stdout.read()
    assert process.returncode == 0
    assert "test accuracy" in out
    assert len(schuss.load("schuss-model.safetensors").history["loss"]) == 20


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(
    ("variable", "bar"), [({}, True), ({"NO_COLOR": "1"}, True), ({"TERM": "dumb"}, False)]
)
def test_on_a_terminal(variable, bar):
    import pty

    ours, theirs = pty.openpty()
    environment = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")
    }
    environment |= {"TERM": "xterm-256color", "COLUMNS": "200"} | variable
    with program("train", "digits", *QUICK, stderr=theirs, env=environment):
        os.close(theirs)
        seen = b""
        try:
            while chunk := os.read(ours, 65536):
                seen += chunk
        except OSError:  # the other end is closed
            pass
        os.close(ours)
    assert b"epoch 2/2" in seen
    assert (b"\x1b[?25l" in seen) == bar  # the bar hides the cursor while it moves
    assert bar or b"\r\n\r\n" not in seen  # nor what is left of one
    if variable:
        assert b"\x1b[3" not in seen  # no colour


def test_epoch_line():
    history = {"loss": [1.0, 0.5], "examples_per_second": [1, 54321.6], "gflops": [1, 178.93]}
    line = "epoch  2/10  loss 0.5000        54,322 examples/s   178.9 GFLOP/s  native:2x1"
    assert epoch_line(history, 10, "native:2x1") == line
    history |= {"validation_loss": [1, 0.25], "validation_accuracy": [0.5, 0.98765]}
    assert "loss 0.5000     validation accuracy 98.77 %  " in epoch_line(history, 10, "native:2x1")
