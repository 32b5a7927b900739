"""A study's GPU rows: Schuss's trainer on a GPU or an emulated one, checked as every implementation is."""

import dataclasses
import json
import os
import sys

import pytest
from study_results import a_study

from schuss.cuda import peak
from schuss.study import figures, findings, oracle, peers, worker
from schuss.study.implementations import NAMES
from schuss.study.work import PAPER, Work
from schuss.study.worker import Serving

WORK = Work((12, 16, 20, 3), batch=16, rows=64, **PAPER)


@pytest.fixture
def serving(gpu, monkeypatch):
    monkeypatch.setattr(peak, "_FIRST", 2)

    def make(name):
        return Serving(NAMES[name].plan, WORK.as_dict())

    return make


@pytest.mark.parametrize("name", ["gpu", "gpu-optimized"])
def test_a_row_reaches_the_oracles_losses(serving, gpu, name):
    found = serving(name).check()
    difference, tolerance = oracle.compare(WORK, found["losses"], oracle.losses(WORK))
    assert difference <= tolerance
    assert (found["plan"], found["threads"]) == (NAMES[name].plan, 1)
    assert found["versions"]["gpu"] == gpu.name


def test_a_row_is_timed_beside_the_gpus_own_peak(serving):
    own = serving("gpu-optimized")
    own.prepare()
    assert own.epoch(0.0)["plan"] == "cuda"
    assert own.peak(1e-6)["flops"] > 0
    assert len(own.curve(2, 0.0)["loss"]) >= 1


@pytest.mark.parametrize(("name", "hidden"), [("sklearn", "-1"), ("jax@1", "-1"), ("cuda", "0")])
def test_libraries_leave_the_gpu_alone(monkeypatch, name, hidden):
    for variable in peers.ON_CPU:
        monkeypatch.setenv(variable, "0")
    monkeypatch.setattr(sys, "argv", ["worker", json.dumps({"name": name})])
    monkeypatch.setattr(worker, "serve", lambda requests: None)
    worker.main()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == hidden


def test_what_the_cores_can_do_says_nothing_of_a_gpu():
    study = a_study()
    of_gpu = {
        n: dataclasses.replace(f, family="cuda") for n, f in study.implementations.items() if n == "hybrid"
    }
    study = dataclasses.replace(study, implementations=study.implementations | of_gpu)
    assert "Hybrid" not in findings.highest_share(study)[0]
    assert "Hybrid" in findings.highest_share(a_study())[0]
    only = dataclasses.replace(study, runs=tuple(r for r in study.runs if r.implementation == "hybrid"))
    assert findings.highest_share(only) == []
    assert figures.time_per_epoch(study, "Net-2h") is not None
