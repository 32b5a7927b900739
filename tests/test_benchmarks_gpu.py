"""benchmarks/gpu.py up to the GPU: its processes' answers, check, sections and table; without PyTorch and JAX."""

import json
import sys
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import gpu
import gpu_check
import gpu_nodes
import gpu_sections
import gpu_tables
import gpu_worker
from gpu_processes import NAIVE, OURS, REFERENCE, SERIAL, Deadline, Run

from schuss import cuda
from schuss.plan import flops_per_example
from schuss.study.measure import StudyError
from schuss.study.work import Work


@pytest.fixture
def gpu_device(request):
    """The fixture `gpu` by another name: here that is the script."""
    return request.getfixturevalue("gpu")


LAYERS = (12, 16, 20, 3)
WORK = Work(LAYERS, batch=8, rows=96)


# --- The processes' answers ------------------------------------------------------------------------


def test_ours_and_the_cpus_losses_are_the_same(gpu_device):
    ours, cpus = (gpu_worker.Plan(name, False) for name in (OURS, REFERENCE))
    answers = [plan.prepare(WORK.as_dict(), "float32") for plan in (ours, cpus)]
    assert answers[0]["loss"] == answers[1]["loss"]
    assert answers[0]["warm_seconds"] > 0
    turn = ours.turn(0.0)
    assert len(turn["us"]) == 1
    assert turn["us"][0] > 0
    assert turn["loss"] != answers[0]["loss"]


def test_other_requests(gpu_device):
    plan = gpu_worker.Plan(OURS, False)
    assert plan.about()["device"] == gpu_device.name
    assert plan.first(WORK.with_steps(1).as_dict(), "tf32")["engine"] > 0
    requests = plan.requests()
    assert requests["train"](WORK.as_dict())["row_seconds"] > 0
    assert requests["epoch"]()["seconds"] > 0
    assert {"case", "nodes", "prepare", "turn"} <= set(requests)


def test_a_pass_has_many_steps_and_whole_minibatches(gpu_device):
    plan = gpu_worker.Plan(REFERENCE, False)
    plan.prepare(Work(LAYERS, batch=40, rows=80).as_dict(), "float32")
    assert plan.steps == gpu_worker.STEPS
    assert all(len(next(plan.orders)) == gpu_worker.STEPS * 40 for _ in range(4))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_nodes_count_what_a_step_computes(gpu_device, precision):
    many = Work(LAYERS, batch=1024, rows=1024)
    step, tall = (gpu_nodes.Step(work, *work.data(), OURS, precision) for work in (WORK, many))
    for work, of in ((WORK, step), (many, tall)):
        assert sum(node.flops for node in of.accounts) == flops_per_example(LAYERS) * work.batch
    assert {node.name.split()[0] for node in tall.accounts} >= {"head_tall"}
    forward = step.accounts[1]
    narrow = 2 if precision == "bfloat16" else 4
    assert forward.name.endswith("12-16")
    assert forward.bytes == narrow * (8 * 12 + 12 * 16 + 8 * 16)
    weights = step.accounts[-2]
    parameters = sum((a + 1) * b for a, b in pairwise(LAYERS))
    read = sum(8 * narrow * (a + b) for a, b in pairwise(LAYERS))
    assert weights.bytes == read + parameters * (8 + narrow * (precision == "bfloat16"))


def test_the_table_of_the_documentation_is_what_is_counted(gpu_device):
    text = (Path(__file__).parents[1] / "docs" / "cuda.md").read_text()
    for line in gpu_nodes.table().splitlines():
        assert line.rpartition("| not yet |")[0] in text


def test_nodes_are_timed_one_by_one(gpu_device):
    work = WORK.with_steps(gpu_nodes.STEPS)
    found = gpu_worker.Plan(OURS, False).nodes(work.as_dict(), "tf32", 1e-4)["nodes"]
    assert [node["name"].split("_")[0].split()[0] for node in found] == [
        *("gather", "forward", "forward", "head", "losses", "delta", "weights")
    ]
    assert all(node["us"] > 0 and node["blocks"] > 0 for node in found)


# --- The check --------------------------------------------------------------------------------------


def case(**changed):
    return {"kernels": "cuda", "precision": "float32", "layers": (5, 7, 3), **changed}


@pytest.mark.parametrize("precision", ["float32", "float64", "tf32", "bfloat16"])
def test_a_right_case(gpu_device, precision):
    found = gpu_check.run(case(precision=precision, optimizer={"solver": "adam"}, weights=True))
    assert found["right"], found["what"]
    assert (found["far"] is None) == (precision in ("float32", "float64"))


def test_a_wrong_case_says_where(gpu_device, monkeypatch):
    whole = gpu_check.Problem.results

    def results(self, kernels, precision, trained=True):
        found = whole(self, kernels, precision, trained)
        if kernels == "cuda":
            found["gradient"][3] += 1
        return found

    monkeypatch.setattr(gpu_check.Problem, "results", results)
    exact = gpu_check.run(case())
    assert not exact["right"]
    assert exact["what"].startswith("gradient: 1 of 66 differ, first [3]")
    near = gpu_check.run(case(precision="tf32"))
    assert not near["right"]
    assert "gradient is" in near["what"]


def test_what_is_not_the_same_twice_is_wrong(gpu_device, monkeypatch):
    whole, calls = gpu_check.Problem.results, []

    def results(self, kernels, precision, trained=True):
        found = whole(self, kernels, precision, trained)
        calls.append(kernels)
        if kernels == "cuda" and calls.count("cuda") == 2:
            found["means"][0] *= 1 + 1e-12
        return found

    monkeypatch.setattr(gpu_check.Problem, "results", results)
    found = gpu_check.run(case(precision="bfloat16"))
    assert not found["right"]
    assert "a second time: means: 1 of" in found["what"]


def test_the_grid_has_everything_and_keeps_from_jumps():
    cases = gpu_check.cases(False)
    exact = [c for c in cases if gpu_check.exact(c)]
    for name in ("activation", "loss", "output", "optimizer", "dropout", "weights", "layers"):
        assert any(name in c for c in exact)
    assert {(c["kernels"], c["precision"]) for c in cases} == {
        *((OURS, p) for p in ("float32", "float64", "tf32", "bfloat16")),
        *((NAIVE, p) for p in ("float32", "float64")),
    }
    assert not any(gpu_check.jumps(c) for c in cases if not gpu_check.exact(c))
    assert len(gpu_check.cases(True)) < len(cases)


# --- Sections ---------------------------------------------------------------------------------------


class InProcess:
    """Answers as gpu_worker does: microseconds by implementation, and what goes wrong if wished."""

    us = MappingProxyType(
        {"cuda": 10.0, "torch": 60.0, "torch-graph": 30.0, "torch-compiled": 50.0, "jax": 40.0}
    )

    def __init__(self, name, wrong):
        self.name, self.wrong = name, wrong

    def ask(self, request, limit=None, **arguments):
        wrong = self.wrong.get((self.name, request))
        if isinstance(wrong, str):
            raise StudyError(f"{self.name}: {wrong}")
        answers = {
            "about": {"versions": {self.name: "1.0"}, "device": "a GPU"},
            "prepare": {"loss": 0.5 * (wrong or 1.0), "warm_seconds": 1.0},
            "turn": {"us": [self.us.get(self.name, 1.0)] * 3, "loss": 0.25},
            "rate": {"flops": 1e12},
            "copy": {"bytes": 1e12},
            "case": {"right": True, "what": "", "far": None},
            "nodes": {"nodes": [{"name": "forward", "blocks": 4, "flops": 2e6, "bytes": 1e6, "us": 4.0}]},
            "train": {"row_seconds": 1e-6},
            "epoch": {"seconds": {SERIAL: 1.0, REFERENCE: 0.1, NAIVE: 0.05, OURS: 0.01}.get(self.name)},
            "first": {"engine": 0.5},
        }
        return dict(answers[request])

    def __exit__(self, *_):
        pass

    def __enter__(self):
        return self


@pytest.fixture
def run(monkeypatch):
    """A run with processes in this one; (name, request) -> what goes wrong there."""

    def make(**wrong):
        wrong = {tuple(key.split("__")): value for key, value in wrong.items()}
        wrong = {(name.replace("_", "-"), request): value for (name, request), value in wrong.items()}
        monkeypatch.setattr(Run, "worker", lambda self, name: InProcess(name, wrong))
        made = Run(emulated=True)
        made.find()
        return made

    return make


def report(run, **sections):
    return gpu_tables.report(
        {"about": run.about, "absent": run.absent, "commit": "abc", "emulated": True, "sections": sections}
    )


def test_every_section_and_the_table(run, monkeypatch):
    monkeypatch.delenv("SCHUSS_DATA_DIR", raising=False)
    made = run()
    found = {name: measure(made, Deadline(60)) for name, (measure, _) in gpu_sections.SECTIONS.items()}
    text = report(made, **json.loads(json.dumps(found)))
    cells = len(found["steps"]["cells"])
    assert cells == 2 * 2 * 3
    lines = {" ".join(line.split()[:3]): line.split() for line in text.splitlines()}
    assert lines["net-2h tf32 8"][3:5] == ["10.0", "0.12"]
    assert lines["net-2h tf32 8"][-3:] == ["3.00", "the", "CPU's"]
    assert "check  cuda float32: " in text
    assert "until warm, s (most): cuda 1.00 (1.0)" in text
    assert lines["float32 8 forward"][3:] == ["4", "4.00", "2.0", "1.00", "2.00", "1.00", "2.0"]
    # the same time for 14 and 18 units: so many more operations
    more = flops_per_example((12, 18, 18, 3)) / flops_per_example((12, 14, 14, 3))
    widths = next(
        line for line in text.splitlines() if line.startswith("widths 14 to 18, float32 8: 10.0 to 10.0 us")
    )
    assert widths.endswith(f"at the least {more:.2f} (to 18)")
    serial = next(line.split() for line in text.splitlines() if line.startswith("net-2h 8 "))
    assert serial[2:6] == [f"{1e3 * 96 / 8:,.4g}", "100", "50", "10"]
    assert "first step  cuda-naive float32: empty cache" in text
    assert "mnist is left out" in text
    assert text.endswith("emulated: times mean nothing")
    assert len(text) < 12_000


def test_who_is_missing_is_said_in_one_line(run, capsys):
    made = run(jax__about="No module named 'jax'")
    assert capsys.readouterr().out == "jax is left out: No module named 'jax'\n"
    assert made.peers == ("torch", "torch-graph", "torch-compiled")
    assert "jax is left out: No module named 'jax'" in report(made)


def test_a_peer_with_another_loss_is_not_timed(run):
    made = run(torch_graph__prepare=1.01, torch_compiled__turn="out of memory")
    part = gpu_sections.steps(made, Deadline(60))
    cell = part["cells"][0]
    assert set(cell["found"]) == {OURS, "torch", "jax"}
    assert "off by 1.0e-02" in cell["failed"]["torch-graph"]
    text = gpu_tables.steps(part)
    assert "torch-compiled failed (" in text
    assert "out of memory" in text
    assert gpu_tables.best(cell) == ("jax", 40.0)


def test_a_wrong_loss_of_ours_is_not_timed_either(run):
    part = gpu_sections.steps(run(cuda__prepare=1.0001), Deadline(60))
    float32 = next(cell for cell in part["cells"] if cell["precision"] == "float32")
    assert OURS in float32["failed"]
    assert "nan" in gpu_tables.steps(part)


def test_what_there_is_no_time_for_is_said(run):
    made = run()
    part = gpu_sections.steps(made, Deadline(0))
    assert part["cells"] == []
    assert gpu_tables.steps(part).splitlines()[-1].startswith("no time for net-2h 8 tf32; net-2h 32 bfloat16")
    part = gpu_sections.check(made, Deadline(0))
    assert gpu_tables.check(part) == f"no time for {len(gpu_check.cases(True))} cases"


def test_goals_are_judged_where_they_were_measured():
    def cell(batch, precision, us, peer, rate):
        return {
            "network": "net-2h", "batch": batch, "precision": precision, "flops_of_a_step": 9_564_160 * batch,
            "steps_of_an_epoch": 1, "rate": rate, "failed": {},
            "found": {OURS: {"us": [us]}, "jax": {"us": [peer]}, "torch": {"us": [2 * peer]}},
        }  # fmt: skip

    part = {"cells": [cell(128, "tf32", 20.0, 50.0, None), cell(4096, "bfloat16", 100.0, 110.0, 800e12)]}
    first, second = gpu_tables.goals(part)
    assert first == "goal  net-2h tf32 128: 20.0 us, at most 22: met; 2.50 x jax, at least 2: met"
    assert "1.10 x jax, at least 1.2: NOT MET" in second
    assert "49% of the rate, at least 60%: NOT MET" in second
    assert gpu_tables.goals({"cells": [cell(256, "tf32", 1.0, 1.0, None)]}) == []


# --- The command ------------------------------------------------------------------------------------


def command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["gpu.py", *arguments])
    with pytest.raises(SystemExit) as caught:
        gpu.main()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_a_gpu_it_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(cuda, "why_not", lambda number=0: "no NVIDIA driver")
    assert command(monkeypatch) == "gpu.py: no NVIDIA driver"


def test_unknown_names(monkeypatch):
    assert "no section 'nope'; there are check, steps" in command(monkeypatch, "--sections", "check,nope")
    assert "no peer 'keras'" in command(monkeypatch, "--peers", "keras")


def test_a_section_that_breaks_leaves_the_others_their_time(run, monkeypatch, tmp_path, capsys):
    run()
    monkeypatch.setitem(gpu.SECTIONS, "nodes", (lambda run, deadline: 1 / 0, 1.0))
    arguments = ["--emulate", "--sections", "nodes,check", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["gpu.py", *arguments])
    gpu.main()
    said = capsys.readouterr()
    assert "nodes: failed: ZeroDivisionError" in said.out
    assert "check  cuda float32: " in said.out
    assert "ZeroDivisionError" in said.err
    kept = json.loads((tmp_path / "out" / "gpu.json").read_text())
    assert set(kept["sections"]) == {"nodes", "check"}
    assert kept["emulated"]
    assert kept["sections"]["check"]["took"] >= 0
