"""The command line as a whole: help, version, exit codes, and `schuss info --memory`."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from schuss import machine
from schuss.cli import app
from schuss.cli._common import json_text
from schuss.errors import SchussError


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def python_m(*arguments):
    return subprocess.run([sys.executable, "-m", "schuss", *arguments], capture_output=True, text=True)


def test_help_shows_the_verbs_and_an_example():
    result = run("--help")
    assert result.exit_code == 0
    verbs = [line.split()[0] for line in result.stdout.split("Commands:")[1].splitlines()[1:9]]
    assert verbs == ["train", "plan", "tune", "predict", "evaluate", "export", "bench", "info"]
    assert "schuss train mnist" in result.stdout


@pytest.mark.parametrize("verb", ["train", "plan", "tune", "predict", "evaluate", "export", "bench", "info"])
def test_every_verb_has_help(verb):
    result = run(verb, "-h")
    assert result.exit_code == 0
    assert f"{verb} [OPTIONS]" in result.stdout


def test_python_m_is_the_same_program():
    result = python_m("--version")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("schuss ")
    assert python_m("--help").stdout.startswith("Usage: schuss ")


def test_help_loads_no_heavy_libraries():
    code = (
        "import sys, schuss.cli\n"
        "print(*sorted({'scipy', 'sklearn', 'rich', 'pooch', 'optuna', 'schuss.data'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


@pytest.mark.parametrize("arguments", [["fly"], ["train", "--fly"], ["train", "a", "b"], ["predict"]])
def test_wrong_usage_is_2(arguments):
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage: " in result.stderr


def test_wrong_usage_of_the_program_is_2():
    assert python_m("fly").returncode == 2


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (SchussError("no snow"), 1, "schuss: error: no snow"),
        (
            OSError(28, "No space left on device"),
            1,
            "schuss: error: cannot write the output: No space left on device",
        ),
        (FileNotFoundError(2, "No such file", "snow"), 1, "schuss: error: snow: No such file"),
        (OSError("no\nsnow"), 1, "schuss: error: no snow"),
        (MemoryError(), 1, "schuss: error: not enough memory"),
        (KeyboardInterrupt(), 130, "schuss: interrupted"),
    ],
)
def test_failure_is_one_line(monkeypatch, error, code, line):
    def fail():
        raise error

    monkeypatch.setattr(machine, "summary", fail)
    result = run("info")
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", line + "\n")


@pytest.mark.parametrize(
    ("bug", "kind"),
    [
        (lambda: {}["bug"], KeyError),
        (lambda: int("bug"), ValueError),
        (lambda: np.zeros(3) + np.zeros(4), ValueError),
    ],
)
def test_other_exceptions_keep_their_traceback(monkeypatch, bug, kind):
    monkeypatch.setattr(machine, "summary", bug)
    assert type(run("info").exception) is kind


def test_a_mistake_within_the_package_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr("schuss.cli.info.rows", lambda _facts: [("a",)])  # echo_table unpacks pairs
    assert type(run("info", "--memory", "4-3-2").exception) is ValueError


@pytest.mark.parametrize("verb", [["info"], ["info", "--memory", "4-3-2"]])
def test_threads_of_the_environment(monkeypatch, verb):
    monkeypatch.setenv("OMP_NUM_THREADS", "abc")
    result = run(*verb)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "schuss: error: OMP_NUM_THREADS must be a positive integer, got 'abc'\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize(
    "arguments", [["--help"], ["info", "--memory", "4-3-2"], ["info", "--memory", "4-3-2", "--json"]]
)
def test_a_full_disk_behind_stdout_is_one_line(arguments):
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "schuss", *arguments], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert result.returncode == 1
    assert result.stderr == "schuss: error: cannot write the output: No space left on device\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", ""],
        ["train", " "],
        ["tune", ""],
        ["predict", "", "x.csv"],
        ["predict", "m", ""],
        ["evaluate", "m", ""],
        ["export", "", "--onnx", "m.onnx"],
        ["train", "mnist", "--data-dir", ""],
    ],
)
def test_the_empty_text_is_no_path(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    np.save("X.npy", np.zeros((4, 2)))
    np.save("y.npy", np.arange(4))
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "a name or a path is wanted, got '" in result.stderr
    assert not (tmp_path / "schuss-model.safetensors").exists()


def test_json_holds_what_json_knows():
    document = {
        "a": [1.0, float("nan")],
        "b": np.array([[0.5, np.inf]]),
        "c": (np.int32(3), Path("p")),
        4: None,
    }
    assert json.loads(json_text(document)) == {"a": [1.0, None], "b": [[0.5, None]], "c": [3, "p"], "4": None}


# --- info --memory ----------------------------------------------------------------------------------


def test_memory_before_training():
    document = json.loads(run("info", "--memory", "784-1024-10", "--solver", "adam", "--json").stdout)
    small = json.loads(run("info", "--memory", "784-1024-10", "--json").stdout)
    assert document["parameters"] == small["parameters"] == 784 * 1024 + 1024 + 10240 + 10
    state = document["bytes_beside_the_data"] - small["bytes_beside_the_data"]
    assert state == pytest.approx(2 * 4 * document["parameters"], rel=0.01)  # Adam's m and s
    long = json.loads(run("info", "--memory", "784-1024-10", "--batch-size", "4096", "--json").stdout)
    assert long["bytes_beside_the_data"] > small["bytes_beside_the_data"] + (4096 - 128) * 4 * (
        784 + 2 * 1024
    )
    assert "bytes beside the data" in run("info", "--memory", "784-1024-10").stdout


@pytest.mark.parametrize("sizes", ["784", "784-", "784-0-10", "784,10", "784--10"])
def test_memory_of_no_network(sizes):
    result = run("info", "--memory", sizes)
    assert result.exit_code == 2
    assert repr(sizes) in result.stderr


def test_options_of_memory_need_it():
    result = run("info", "--solver", "adam")
    assert result.exit_code == 2
    assert "--solver belongs to --memory" in result.stderr


def test_memory_that_no_machine_has():
    result = run("info", "--memory", "10000000-100000000-10")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert "refuses" in result.stderr
