"""The record of the last training: kept, read back, and never in the way."""

import json

import numpy as np
import pytest

import schuss
from schuss.planner import last


@pytest.fixture(autouse=True)
def kept_apart(monkeypatch, tmp_path):
    monkeypatch.setattr(last, "cache_dir", lambda: tmp_path / "cache")


@pytest.fixture
def network(rng):
    X, y = rng.normal(size=(40, 3)), np.arange(40) % 2
    return schuss.train(X, y, hidden_layer_sizes=4, epochs=3, n_jobs=1, plan="native:1x1")


def test_a_training_is_read_back_as_it_was(network):
    last.record(network, batch_size=8, rows=40, formula="sgd")
    found = last.load()
    assert (found.layer_sizes, found.batch_size, found.rows) == ((3, 4, 2), 8, 40)
    assert (found.formula, found.loss, found.dtype, found.plan) == (
        "sgd",
        "log_loss",
        "float64",
        "native:1x1",
    )
    assert found.gflops == np.median(network.history["gflops"])
    assert found.epoch_seconds == np.median(network.history["epoch_seconds"])
    assert [path.name for path in last.path().parent.iterdir()] == ["last-training.json"]


def test_the_last_one_counts(network):
    last.record(network, batch_size=8, rows=40, formula="sgd")
    last.record(network, batch_size=16, rows=40, formula="adam")
    assert (last.load().batch_size, last.load().formula) == (16, "adam")


def test_none_yet():
    assert last.load() is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:20],
        lambda _text: "[]",
        lambda text: json.dumps({**json.loads(text), "gflops": "many"}),
        lambda text: json.dumps({**json.loads(text), "layer_sizes": [3]}),
        lambda text: json.dumps({**json.loads(text), "layer_sizes": [3, "4"]}),
        lambda text: json.dumps({key: value for key, value in json.loads(text).items() if key != "plan"}),
    ],
)
def test_what_is_no_record_is_none(network, spoil):
    last.record(network, batch_size=8, rows=40, formula="sgd")
    last.path().write_text(spoil(last.path().read_text()))
    assert last.load() is None


def test_a_record_that_cannot_be_written_is_left_out(network, tmp_path):
    (tmp_path / "cache").write_text("no folder")
    last.record(network, batch_size=8, rows=40, formula="sgd")
    assert last.load() is None
