"""The table of a report: what ran has its row, on a GPU that no driver tells of too."""

import math

import numpy as np
import pytest

import schuss
from schuss.plan import Plan
from schuss.planner.account import Workload
from schuss.planner.files import load_machine
from schuss.planner.gpu_cost import GpuStep
from schuss.planner.report import PlanReport
from schuss.planner.units import duration

H200 = load_machine("h200").gpu


def rows_of(report):
    """The cells of the report's table, by plan."""
    lines = str(report).splitlines()
    table = lines[1 + next(i for i, line in enumerate(lines) if line.startswith("plan ")) :]
    return {line.split(maxsplit=1)[0]: line[14:].split() for line in table}


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_the_report_of_a_training_on_a_gpu_has_what_ran(gpu, monkeypatch, precision):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 5)).astype(np.float32), rng.integers(0, 3, 40)
    options = {"hidden_layer_sizes": 8, "batch_size": 10, "epochs": 3, "n_jobs": 2, "precision": precision}
    for found, why in ((H200, f"gpu: {H200.name}, from data sheets"), ("gone", "gpu: no prediction: gone")):
        monkeypatch.setattr("schuss.planner.report.present", lambda number=0, found=found: found)
        report = schuss.train(X, y, device="cuda", **options).plan_report
        assert report.sentence == "cuda on cuda:0, as asked for"
        assert why in str(report)
        rows = rows_of(report)
        (name, ran), *others = rows.items()
        step = GpuStep(report.work, H200, Plan("cuda", 1, 1, precision=precision)).prediction()
        own = duration(step.seconds).split() if found is H200 else []
        assert (name, ran) == ("cuda", [*own, "12"])
        assert {name.partition(":")[0] for name, _ in others} == {"native"}
        assert all(cells[-2:] == ["not", "tried"] for _, cells in others)
        assert report.as_dict()["steps"] == {"cuda": 12}
        assert ("cuda" in report.as_dict()["predicted_seconds"]) == (found is H200)


def test_the_report_has_what_ran_however_slow():
    """Of many plans the table has the fastest, and those that took steps."""
    plan = Plan("native", 1, 1, asked="native:1x1", allowed=8)
    report = PlanReport(plan, plan, Workload((784, 4096, 10), 4096), (("native:1x1", 7, math.inf),))
    vars(report)["profile"] = load_machine("ryzen-5800x-8")
    assert rows_of(report)["native:1x1"][-1] == "7"
    assert len(rows_of(report)) == 9
