"""Measuring a study: the oracle, shares of rows, what fails, going on, and what becomes of the measurements."""

import json
from contextlib import contextmanager
from itertools import product

import numpy as np
import pytest

from schuss import cuda
from schuss.study import assemble, oracle, peers, run, worker
from schuss.study.implementations import NAMES, absence, checked, spec
from schuss.study.journal import Cell, Journal
from schuss.study.measure import StudyError
from schuss.study.run import Measuring
from schuss.study.settings import Curve, Scaling, Settings
from schuss.study.work import CHECK_EXAMPLES, PAPER, TOLERANCE, Work

FORMULAS = {
    "paper": PAPER,
    "log_loss": {"activation": "relu"},
    "adam": {"activation": "tanh", "optimizer": "adam"},
    "momentum": {
        "activation": "logistic",
        "loss": "squared_error",
        "output_activation": "identity",
        "momentum": 0.9,
        "numbers": True,
    },
}


@pytest.fixture
def source(tmp_path, rng):
    """A folder with 100 examples of 12 features."""
    folder = tmp_path / "data"
    folder.mkdir()
    np.save(folder / "X.npy", rng.random((100, 12), np.float32))
    np.save(folder / "y.npy", rng.integers(0, 3, 100))
    return folder


@pytest.mark.parametrize(
    ("plan", "formula"),
    [
        *product(["native:1x1", "gemm:1x1"], FORMULAS),
        ("sklearn", "log_loss"),
        ("sklearn", "adam"),
    ],
)
def test_losses_of_the_check_are_the_oracles(plan, formula, source, rng):
    options = FORMULAS[formula]
    if options.get("numbers"):
        np.save(source / "y.npy", rng.random((100, 3), np.float32))
    work = Work((12, 16, 16, 3), batch=32, rows=96, source=str(source), **options)
    found = worker.check(plan, work)["losses"]
    expected = oracle.losses(work)
    difference, allowed = oracle.compare(work, found, expected)
    assert allowed == TOLERANCE[work.optimizer]
    assert difference <= allowed
    assert found[0] != found[1]  # it has learnt
    assert oracle.compare(work, [loss * 1.01 for loss in found], expected)[0] > 9e-3
    assert np.isnan(oracle.compare(work, [float("nan")] * 2, expected)[0])


@pytest.mark.parametrize("batch", [2, 48, 128, 300])
def test_the_check_is_short_and_repeats_few_examples(batch, source):
    short, X, y = Work((12, 4, 3), batch=batch, rows=4000, source=str(source)).check()
    assert short.rows == len(X) == len(y) <= max(512, batch)
    assert len(np.unique(X, axis=0)) <= CHECK_EXAMPLES
    assert short.batch == batch


def test_fewer_examples_than_an_epoch_are_repeated(source):
    X, y = Work((12, 4, 3), batch=50, rows=250, source=str(source)).data()
    assert X.shape == (250, 12)
    assert np.array_equal(X[100:200], X[:100])
    assert np.array_equal(y[200:], y[:50])


def test_names():
    assert checked(["hybrid", "torch@1", "serial", "torch", "hybrid"]) == [
        "serial",
        "hybrid",
        "torch",
        "torch@1",
    ]
    for wrong, message in (
        ("nope", "no implementation 'nope'"),
        ("torch@", "torch@"),
        ("serial@2", "in its plans|plans"),
    ):
        with pytest.raises(StudyError, match=message):
            checked([wrong])
    assert spec("hybrid", NAMES).serial == "native-serial"
    assert spec("hybrid", ["hybrid"]).serial is None
    assert spec("torch", ["torch", "torch@1"]).serial == "torch@1"
    assert (spec("torch@1").parallel, spec("torch@1").label) == ("-", "PyTorch on 1 thread")
    assert spec("torch@4").parallel == "both"


def test_reasons_for_an_absence(monkeypatch):
    work = Work((12, 4, 3), **PAPER)
    monkeypatch.setattr(cuda, "why_not", lambda number=0: "no driver")
    assert absence("gpu", work, None) == "plan cuda-naive on cuda:0: no driver"
    assert absence("gpu-optimized", work, None) == "plan cuda on cuda:0: no driver"
    monkeypatch.setattr(cuda, "why_not", lambda number=0: "")
    assert absence("gpu", work, None) is None
    assert "--theano-python" in absence("keras2-theano", work, None)
    assert absence("keras2-theano", work, "python3.7") is None
    assert "log_loss" in absence("sklearn", work, None)
    assert absence("sklearn", Work((12, 4, 3)), None) is None
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    assert absence("torch@1", work, None) == "not installed: pip install torch"
    assert "not for hinge" in peers.cannot(
        "jax", Work((12, 4, 3), loss="hinge", output_activation="identity")
    )
    assert "not for gelu" in peers.cannot("jax", Work((12, 4, 3), activation="gelu"))


class Told:
    """A reporter that remembers."""

    def __init__(self):
        self.lines, self.moves = [], []

    def line(self, text):
        self.lines.append(text)

    def at(self, what, done, left):
        self.moves.append((what, done, left))


class InProcess:
    """Answers as a worker; an epoch takes a microsecond an example, times the implementation's factor."""

    def __init__(self, cell, factor=1.0, off=0.0, fails=None):
        self.name, self.cell, self.factor, self.off, self.fails = (
            cell.implementation,
            cell,
            factor,
            off,
            fails,
        )
        self.asked = []

    def ask(self, request, limit=None, **arguments):
        work = Work(**arguments["work"]) if "work" in arguments else None
        self.asked.append(request)
        if self.fails == (request, work and work.batch) or self.fails == request:
            raise StudyError(f"{self.name}: broken")
        if request == "check":
            found = worker.check("native:1x1", work)
            return found | {"losses": [loss * (1 + self.off) for loss in found["losses"]], "threads": 1}
        if request == "prepare":
            self.rows = work.rows
            return {"row_seconds": self.factor * 1e-6}
        if request == "peak":
            return {"flops": 5e12}
        if request == "curve":
            return {"seconds": [0.0, 1.0], "loss": [2.0, float(arguments["steps"])]}
        return {"seconds": self.factor * 1e-6 * self.rows, "epochs": 1, "loss": 0.5}


SETTINGS = Settings(
    preset="quick",
    networks={"net": (12, 8, 3)},
    batches=(32, 64),
    implementations=("serial", "multicore", "gpu", "hybrid"),
    rounds=2,
    seconds=1e-3,
    data={"name": "test"},
    examples=10_000,
    scaling=Scaling(64, (1,)),
    curve=Curve(32, 1.0, None),
)


@pytest.fixture
def begin(source, tmp_path, monkeypatch):
    """A study of SETTINGS, with workers in this process of these traits; the workers that there were."""
    monkeypatch.setattr(run, "pause", lambda: None)
    monkeypatch.setattr(cuda, "why_not", lambda number=0: "no driver")
    monkeypatch.setattr(run._core, "measure_peak", lambda *_: 2e9)
    workers = []

    def make(settings=SETTINGS, **traits):
        @contextmanager
        def start(self, cell):
            workers.append(InProcess(cell, **traits.get(cell.implementation, {})))
            yield workers[-1]

        monkeypatch.setattr(Measuring, "_worker", start)
        journal = Journal(tmp_path / "out")
        journal.begin(settings.as_dict(), "now")
        workers.clear()
        return Measuring(settings, journal, source, Told()), workers

    return make


def finished(measuring):
    return assemble.study(SETTINGS, measuring.journal, measuring.absent, ["schuss", "bench"])


def test_a_study(begin):
    measuring, workers = begin(serial={"factor": 50.0})
    measuring.run()
    study = finished(measuring)
    assert [absent.name for absent in study.absent] == ["gpu"]
    assert list(study.implementations) == ["serial", "multicore", "hybrid"]
    assert {run.key[1:3] for run in study.runs} == {(b, n) for b in (32, 64) for n in study.implementations}
    serial, hybrid = study.run("net", 32, "serial"), study.run("net", 32, "hybrid")
    # a whole epoch of the fast one takes 10 times `seconds`, of the slow one 500 times
    assert (hybrid.rows, serial.rows) == (992, 32)
    assert hybrid.share == pytest.approx(992 / 9984)
    assert hybrid.epoch_seconds == pytest.approx([1e-2, 1e-2])
    assert serial.seconds == pytest.approx(0.5)
    assert hybrid.gflops == pytest.approx(study.networks["net"].flops_per_example * 10_000 / 1e-2 / 1e9)
    assert hybrid.peak_gflops == 2.0
    assert hybrid.check.difference <= hybrid.check.tolerance
    assert study.implementations["multicore"].serial == "serial"
    assert study.implementations["hybrid"].serial is None  # native-serial takes no part
    # one process of each implementation a round, and one of hybrid on one thread; then the curves
    assert [w.cell.implementation for w in workers[:4]] == ["serial", "multicore", "hybrid", "hybrid"]
    assert len(workers) == 2 * 4 + 3
    assert {curve.implementation for curve in study.loss_curves} == set(study.implementations)
    assert type(study).from_dict(json.loads(json.dumps(study.as_dict()))) == study


def test_a_gpu_has_its_own_peak_and_no_fewer_threads(begin, monkeypatch):
    monkeypatch.setattr(cuda, "why_not", lambda number=0: "")
    measuring, workers = begin(gpu={"factor": 0.1})
    measuring.run()
    study = finished(measuring)
    gpu = study.run("net", 32, "gpu")
    assert (gpu.peak_gflops, study.run("net", 32, "hybrid").peak_gflops) == (5e3, 2.0)
    assert study.implementations["gpu"].serial == "serial"
    assert study.implementations["gpu"].plan == "cuda-naive"
    assert "gpu" not in {r.implementation for r in study.scaling}
    assert all(w.cell.limit is None for w in workers if w.cell.implementation == "gpu")
    assert not study.absent


def test_a_whole_epoch_where_there_is_time(begin):
    measuring, _ = begin(hybrid={"factor": 0.1})
    measuring.run()
    assert finished(measuring).run("net", 64, "hybrid").share == 1.0


def test_scaling_takes_the_serial_counterparts_run_for_one_thread(begin):
    measuring, _ = begin(serial={"factor": 50.0})
    measuring.run()
    study = finished(measuring)
    times = {(r.implementation, r.threads): r.seconds for r in study.scaling}
    serial = study.run("net", 64, "serial")
    assert next(r for r in study.scaling if r.implementation == "multicore").seconds == serial.seconds
    assert ("hybrid", 1) in times
    assert {r.batch for r in study.scaling} == {64}


def test_the_estimate_falls(begin):
    measuring, _ = begin()
    measuring.run()
    moves = measuring.reporter.moves
    assert [done for _, done, _ in moves] == sorted(done for _, done, _ in moves)
    assert moves[0][1] == 0.0
    assert moves[0][2] > moves[-1][2] > 0
    assert "round 1 of 2: net, serial, batch 32" in moves[0][0]


def test_a_wrong_loss_does_not_count(begin):
    measuring, _ = begin(multicore={"off": 0.01})
    measuring.run()
    study = finished(measuring)
    assert list(study.implementations) == ["serial", "hybrid"]
    several = [a for a in study.absent if a.name == "multicore"]
    assert all("not the oracle's" in a.reason and "1e-05 allowed" in a.reason for a in several)
    assert {a.batch for a in several} == {32, 64}


def test_what_is_broken_is_left_out_and_the_others_go_on(begin):
    measuring, workers = begin(hybrid={"fails": "check"}, serial={"fails": ("prepare", 64)})
    measuring.run()
    study = finished(measuring)
    assert [(a.name, a.reason, a.network, a.batch) for a in study.absent[1:]] == [
        ("serial", "broken", "net", 64),
        ("hybrid", "broken", None, None),
    ]
    assert list(study.implementations) == ["serial", "multicore"]
    assert [run.batch for run in study.runs if run.implementation == "serial"] == [32]
    hybrids = [w for w in workers if w.cell.implementation == "hybrid"]
    assert len(hybrids) == 2  # for either batch size; no second round, no other number of threads
    assert "net  hybrid, batch 32: broken" in measuring.reporter.lines


def test_what_breaks_in_a_later_round_does_not_count(begin):
    measuring, _ = begin()
    measuring.run()
    measuring.journal.fail(Cell("net", 32, "hybrid"), "broken later")
    study = finished(measuring)
    assert study.run("net", 32, "hybrid") is None
    assert study.run("net", 64, "hybrid") is not None
    assert study.absent[-1].reason == "broken later"


def test_a_broken_curve_costs_no_run(begin):
    measuring, _ = begin(hybrid={"fails": "curve"})
    measuring.run()
    study = finished(measuring)
    assert study.run("net", 32, "hybrid") is not None
    assert {c.implementation for c in study.loss_curves} == {"serial", "multicore"}
    assert study.absent[-1].reason == "loss against time: broken"


def test_it_goes_on_where_it_stopped(begin, monkeypatch):
    measuring, workers = begin()

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(measuring.reporter, "line", stop)
    with pytest.raises(KeyboardInterrupt):
        measuring.run()
    partial = finished(measuring)
    assert [run.implementation for run in partial.runs] == ["serial", "serial"]
    with measuring.journal.file.open("a") as file:
        file.write('{"kind": "tur')  # the machine stopped while it wrote
    again, workers = begin()
    again.run()
    assert [w.cell.implementation for w in workers[:3]] == ["multicore", "hybrid", "hybrid"]
    assert "check" not in next(w for w in workers if w.cell.implementation == "serial").asked
    study = finished(again)
    assert all(len(run.epoch_seconds) == 2 for run in study.runs)
    third, workers = begin()
    third.run()
    assert not workers
    assert finished(third) == study


def test_what_failed_is_tried_again(begin):
    begin(hybrid={"fails": "check"})[0].run()
    measuring, workers = begin()
    measuring.run()
    assert {w.cell.implementation for w in workers} == {"hybrid"}
    assert "hybrid" in finished(measuring).implementations


def test_folders_that_are_not_for_it(tmp_path):
    Journal(tmp_path / "a").begin({"rounds": 2}, "now")
    assert Journal(tmp_path / "a").begin({"rounds": 2}, "later")
    with pytest.raises(StudyError, match="other settings, rounds 2, not 3"):
        Journal(tmp_path / "a").begin({"rounds": 3}, "now")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "letter.txt").write_text("dear")
    with pytest.raises(StudyError, match="holds other files"):
        Journal(tmp_path / "b").begin({}, "now")
    with pytest.raises(StudyError, match="a folder is wanted, this is a file"):
        Journal(tmp_path / "b" / "letter.txt").begin({}, "now")
    (tmp_path / "b" / "measurements.jsonl").write_text("dear\n")
    with pytest.raises(StudyError, match="no measurements of a study"):
        Journal(tmp_path / "b").begin({}, "now")


def test_cells_are_read_back_as_they_were(tmp_path):
    journal = Journal(tmp_path)
    journal.begin({}, "now")
    cell = Cell("net", 32, "torch", 1)
    journal.add("facts", {"rows": 5}, cell=cell)
    journal.add("turn", {"seconds": 1.0}, cell=cell, round=0)
    journal.add("oracle", [1.0], network="net", batch=32)
    journal.fail(cell._replace(batch=64), "broken")
    again = Journal(tmp_path)
    assert again.begin({}, "later")
    assert again.created == "now"
    assert again.facts == {cell: {"rows": 5}}
    assert again.turns == {cell: {0: {"seconds": 1.0}}}
    assert again.oracle == {("net", 32): [1.0]}
    assert not again.failed
    assert again.done(cell, 0)
    assert not again.done(cell, 1)
