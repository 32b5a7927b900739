"""`schuss export`: an ONNX file from a model file, and one line where there can be none."""

import json
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from schuss import Network
from schuss.cli import app

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

X = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)


def run(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def failed(result, code, *texts):
    assert (result.exit_code, result.stdout) == (code, "")
    for text in texts:
        assert text in result.stderr
    if code == 1:
        assert result.stderr.startswith("schuss: error: ")
        assert result.stderr.count("\n") == 1


@pytest.fixture(autouse=True)
def kinds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = Network((5, 4, 3), classes=["ham", "jam", "spam"], seed=0)
    network.save("kinds.model")
    return network


def test_writes_what_the_model_predicts(kinds):
    result = run("kinds.model", "--onnx", "kinds.onnx")
    assert (result.exit_code, result.stderr) == (0, "")
    for text in ("kinds.onnx", "X: float (n, 5)", "label: string (n)", "probabilities: float (n, 3)"):
        assert text in result.stdout
    session = onnxruntime.InferenceSession("kinds.onnx", providers=["CPUExecutionProvider"])
    assert session.run(["label"], {"X": X})[0].tolist() == kinds.predict(X).tolist()


def test_json(tmp_path):
    result = run("kinds.model", "--onnx", "kinds.onnx", "--input", "uint8", "--json")
    document = json.loads(result.stdout)
    assert document["onnx"] == "kinds.onnx"
    assert document["bytes"] == (tmp_path / "kinds.onnx").stat().st_size
    assert document["inputs"] == [{"name": "X", "type": "uint8", "shape": ["n", 5]}]
    assert [output["name"] for output in document["outputs"]] == ["label", "probabilities"]


def test_no_model_file(tmp_path):
    failed(run("none", "--onnx", "kinds.onnx"), 1, "none: no such file")
    (tmp_path / "text").write_text("important")
    failed(run("text", "--onnx", "kinds.onnx"), 1, "text: damaged, cut short or no safetensors file")
    assert not (tmp_path / "kinds.onnx").exists()


def test_targets_that_cannot_be_written(tmp_path):
    failed(run("kinds.model", "--onnx", tmp_path), 2, "'--onnx'", "this is a folder")
    failed(run("kinds.model", "--onnx", "none/kinds.onnx"), 2, "'--onnx'", "there is no folder 'none'")
    failed(run("kinds.model", "--onnx", "kinds.model"), 2, "'--onnx'", "this is the input")
    failed(run("kinds.model"), 2, "--onnx")


def test_without_the_package(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    failed(run("kinds.model", "--onnx", "kinds.onnx"), 1, "pip install 'schuss[onnx]'")
    assert not (tmp_path / "kinds.onnx").exists()
