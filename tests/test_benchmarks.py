"""Benchmarks: the work, checks before a clock starts, tables and files; without other libraries but scikit-learn."""

import json
import sys
from contextlib import nullcontext
from math import inf
from pathlib import Path

import numpy as np
import pytest
from conftest import TOLERANCE

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import busy
import common
import mnist98
import single_worker
import steps
import suite
from common import same_losses

from schuss.study import measure, peers, worker
from schuss.study.measure import Peak, StudyError
from schuss.study.work import EXAMPLES, NAMED, Work, named

SMALL = Work((12, 16, 16, 3), batch=8, rows=64, activation="relu")


def test_flops_of_the_networks_that_tables_speak_of():
    assert NAMED["net-2h"].flops_per_example == 2 * (2 * 784 * 1024 + 3 * 1024 * 1024 + 3 * 1024 * 10)
    assert NAMED["net-1h"].flops_per_example == 2 * (2 * 784 * 1024 + 3 * 1024 * 10)


def test_data_are_of_mnists_shape_and_density():
    X, y = named("net-2h", rows=1280).data()
    assert X.shape == (1280, 784)
    assert X.dtype == np.float32
    assert 0.19 < np.mean(X > 0) < 0.21
    assert set(y) == set(range(10))
    assert np.array_equal(X, named("net-2h", rows=1280).data()[0])


def test_an_epoch_is_whole_minibatches():
    assert named("tiny-45").rows == EXAMPLES // 128 * 128
    assert named("net-2h", batch=4096, rows=100).rows == 4096
    assert SMALL.with_steps(3).rows == 24


def test_orders_are_permutations_and_the_same_for_all():
    mine, yours = SMALL.orders(), SMALL.orders()
    for _ in range(2):
        order = next(mine)
        assert np.array_equal(np.sort(order), np.arange(SMALL.rows))
        assert np.array_equal(order, next(yours))


def test_the_papers_formula():
    work = named("mid", paper=True, batch=50)
    assert (work.activation, work.output, work.loss) == ("logistic", "logistic", "squared_error")
    assert work.start().activations == ("logistic", "logistic")


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("other", ["native:1x1", "naive:1x1", "gemm:1x1", "sklearn"])
def test_implementations_reach_the_same_losses(other, optimizer):
    work = Work(SMALL.layers, SMALL.batch, SMALL.rows, "relu", optimizer=optimizer)
    found = {name: worker.check(name, work)["losses"] for name in ("schuss", other)}
    assert found["schuss"][0] != found["schuss"][1]
    same_losses(found, TOLERANCE["training", "float32"])
    if other.startswith("native"):
        assert found["schuss"] == found[other]


def test_losses_that_differ_are_refused_with_the_losses():
    with pytest.raises(StudyError, match=r"differ by 1\.0e-03.*a 2, 1; b 2, 1\.001"):
        same_losses({"a": [2, 1], "b": [2, 1.001]}, 1e-4)
    with pytest.raises(StudyError):
        same_losses({"a": [1.0], "b": [float("nan")]}, 1e-4)
    same_losses({"a": [2, 1], "b": [2, 1.001]}, 1e-2)


def test_a_process_checks_trains_and_says_who_it_is():
    with measure.start("native:1x1", SMALL) as process:
        about = process.ask("check")
        assert about["losses"] == worker.check("native:1x1", SMALL)["losses"]
        assert (about["plan"], about["threads"]) == ("native:1x1", 1)
        assert "schuss" in about["versions"]
        process.ask("prepare")
        turn = process.ask("epoch", seconds=0.01)
    assert turn["seconds"] > 0
    assert turn["seconds"] * turn["epochs"] >= 0.01
    assert process.process.returncode is not None


def test_a_plan_that_is_none_is_one_line():
    with measure.start("nonsense", SMALL) as process, pytest.raises(StudyError) as caught:
        process.ask("check")
    assert "nonsense: PlanError: plan must be" in str(caught.value)
    assert "\n" not in str(caught.value)


class InProcess:
    """Answers as a worker does, with another library's name for Schuss, and an error in its loss if wished."""

    def __init__(self, name, work, off=0.0):
        self.name, self.work, self.off = name, work, off

    def ask(self, request, **_):
        if request == "check":
            about = worker.check("native:1x1", self.work)
            return about | {"losses": [loss * (1 + self.off) for loss in about["losses"]]}
        return {"seconds": 0.25 if self.name == "schuss" else 0.5}


def in_process(monkeypatch, **off):
    monkeypatch.setattr(
        measure, "start", lambda name, work: nullcontext(InProcess(name, work, off.get(name, 0.0)))
    )
    monkeypatch.setattr(measure, "pause", lambda: None)
    monkeypatch.setattr(Peak, "measure", lambda self: [r.append(100.0) for r in self.gflops.values()])


def test_a_peer_with_a_wrong_loss_is_refused_before_a_clock_starts(monkeypatch):
    in_process(monkeypatch, jax=0.01)
    with pytest.raises(StudyError, match=r"losses of the same training differ by 1\.0e-02"):
        steps.run(SMALL, ["schuss", "jax"], rounds=1, epochs=1, seconds=0)


def test_table_and_file(monkeypatch, capsys, tmp_path):
    in_process(monkeypatch)
    found = steps.run(SMALL, ["schuss", "torch", "jax@1"], rounds=2, epochs=2, seconds=0)
    lines = capsys.readouterr().out.splitlines()
    scaled = 0.25 * EXAMPLES / SMALL.rows
    ours = found["result"]["schuss"]
    assert ours["seconds"] == ours["min"] == ours["max"] == scaled
    assert ours["us_per_step"] == pytest.approx(scaled / (EXAMPLES / SMALL.batch) * 1e6)
    assert ours["gflops"] == pytest.approx(SMALL.flops_per_example * EXAMPLES / scaled / 1e9)
    assert ours["share_of_peak"] == pytest.approx(ours["gflops"] / 100)
    assert found["epoch_seconds"]["torch"] == [[2 * scaled] * 2] * 2
    assert len(found["peak_gflops"][1]) == 4
    assert lines[2].startswith("schuss (native:1x1)")
    assert lines[-1] == "best peer torch: schuss is 2.00 x as fast"
    common.write(str(tmp_path / "new" / "a.json"), found)
    again = json.loads((tmp_path / "new" / "a.json").read_text())
    assert again["work"]["layers"] == list(SMALL.layers)
    assert again["best_peer"] == "torch"
    assert {"machine", "commit", "command", "environment"} <= set(again)
    assert suite.summary_row("small", again)[-2:] == ["torch", "2.00"]


def test_slow_plans_train_on_a_share_of_the_rows():
    work = named("net-2h")
    assert steps.share("naive:1x1", work).rows < steps.share("gemv:1x1", work).rows < work.rows
    assert steps.share("gemm:1x1", work) == steps.share("schuss", work) == work


def run_steps(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["steps.py", *arguments])
    with pytest.raises(SystemExit) as caught:
        steps.main()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_peer_is_left_out_or_where_named_an_error(monkeypatch, capsys):
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    said = run_steps(monkeypatch, "tiny-45", "--rounds", "1", "schuss", "torch@1")
    assert said == "steps.py: torch@1: not installed: pip install torch"
    capsys.readouterr()
    assert common.usable(["schuss", "keras-jax"], SMALL, named=False) == ["schuss"]
    assert capsys.readouterr().out == "keras-jax is left out: not installed: pip install keras jax\n"


def test_a_peer_that_cannot_train_the_work_says_why(monkeypatch):
    assert "log_loss" in run_steps(monkeypatch, "mid", "sklearn", "--formula", "paper")
    assert "two classes" in run_steps(monkeypatch, "small", "sklearn")


def test_threads_of_a_peer_are_limited_by_its_environment(monkeypatch):
    monkeypatch.delenv("NPROC", raising=False)
    assert peers.split("jax@1") == ("jax", 1)
    assert measure.environment(1)["OMP_NUM_THREADS"] == measure.environment(1)["NPROC"] == "1"
    assert "NPROC" not in measure.environment(None)
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert "OPENBLAS_CORETYPE=Haswell" in common.header("work")


def test_table_columns():
    assert common.table(["", "b"], [["one", 2], ["x", "10.5"]]) == "        b\none     2\nx    10.5"


def test_one_example_at_a_time():
    work = Work((12, 8, 3), batch=1, rows=30)
    found = {name: single_worker.Caller(name, work).check()["losses"] for name in ("schuss", "sklearn")}
    same_losses(found, TOLERANCE["training", "float32"])
    assert len(single_worker.Caller("schuss", work).calls(40, 1.0)["nanoseconds"]) == 40
    assert len(single_worker.Caller("schuss", work).calls(40, 0.0)["nanoseconds"]) == 1


def test_busy_loops_end():
    with busy.busy_loops(1) as loops:
        assert loops[0].poll() is None
    assert loops[0].returncode is not None
    with pytest.raises(KeyError), busy.busy_loops(1) as loops:
        raise KeyError
    assert loops[0].returncode is not None


def test_rows_of_the_suite_have_files_of_their_own():
    names = [row.name for row in suite.ROWS]
    assert len(set(names)) == len(names)
    assert "net-2h-batch-128-avx2" in names


def test_a_goal_not_reached_is_infinite_and_said(tmp_path):
    def one(seconds):
        return {"seed": 0, "seconds": seconds, "epochs": 3, "accuracies": [0.97]}

    text = mnist98.report({"schuss": [one(1.0), one(2.0), one(1.5)], "torch": [one(inf), one(inf), one(3.0)]})
    assert text.splitlines()[1].split() == ["schuss", "1.50", "1.00", "2.00", "3", "3", "of", "3", "1.00"]
    assert text.splitlines()[2].split() == ["torch", "inf", "3.00", "inf", "3", "1", "of", "3", "inf"]
