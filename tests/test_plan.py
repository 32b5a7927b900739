"""Plans: text and back, names, errors that say what is missing, the rule of `auto`, threads allowed."""

import json
import os
import subprocess
import sys

import joblib
import numpy as np
import pytest
from conftest import KERNELS, PLANS, clean_environment, make_problem, one_line
from hypothesis import given
from hypothesis import strategies as st

import schuss
from schuss import Network, Plan, PlanError, blas
from schuss.plan import ALIASES, allowed_threads
from schuss.planner.choice import choose

COUNTS = st.integers(1, 500)


@given(kernels=st.sampled_from(KERNELS), examples=COUNTS, matrix=COUNTS)
def test_text_and_back(kernels, examples, matrix):
    plan = Plan(kernels, examples, matrix)
    assert Plan.parse(str(plan)) == plan
    assert str(Plan.parse(f"{kernels}:{examples}x{matrix}")) == f"{kernels}:{examples}x{matrix}"
    assert plan.threads == examples * matrix


@pytest.mark.parametrize(
    ("name", "threads", "plan"),
    [
        ("serial", 4, "naive:1x1"),
        ("multicore", 4, "naive:4x1"),
        ("multicore", None, "naive:1x1"),
        ("fast-serial", 4, "gemv:1x1"),
        ("fast-parallel", 4, "gemv:1x4"),
        ("naive:TxT", 1, "naive:1x1"),
        ("native:1xT", 3, "native:1x3"),
    ],
)
def test_names_of_the_study(name, threads, plan):
    assert str(Plan.parse(name, threads)) == plan


@pytest.mark.parametrize("name", ["auto", "predict", "native", "hybrid"])
def test_left_open(name):
    assert Plan.parse(name) is None
    assert Plan.parse(name, 2) is None
    assert choose(name, threads=2, layer_sizes=(784, 1024, 10), batch_size=128).kernels == "native"


def test_every_name_is_a_plan():
    for name in ALIASES:
        assert choose(name, threads=1, layer_sizes=(4, 3), batch_size=16).asked == name


NO_PLANS = [
    "",
    "fast",
    "naive",
    "naive:",
    "naive:2",
    "naive:2x",
    "naive:x2",
    "naive:2X1",
    "naive:2x1x1",
    "naive:-1x1",
]
NO_PLANS += [
    "gemm:1.5x1",
    "blas:1x1",
    "Native:1x1",
    " native:1x1",
    "native:1x1 ",
    "native:1x1\n",
    "native 1x1",
]


@pytest.mark.parametrize("text", NO_PLANS)
def test_no_plan(text):
    with pytest.raises(PlanError) as caught:
        Plan.parse(text)
    one_line(caught, "plan must be KERNELS:EXAMPLESxMATRIX", repr(text))


@pytest.mark.parametrize("text", [None, 2, Plan("native", 1, 1), b"auto"])
def test_no_text(text):
    with pytest.raises(PlanError) as caught:
        Plan.parse(text)
    one_line(caught, "plan must be a str", type(text).__name__)


@pytest.mark.parametrize("text", ["native:0x1", "naive:1x0", "gemm:0x0"])
def test_no_threads(text):
    with pytest.raises(PlanError) as caught:
        Plan.parse(text)
    one_line(caught, "at least 1", repr(text))


@pytest.mark.parametrize(
    ("text", "threads"), [("native:3x1", 2), ("naive:2x2", 3), ("gemm:1x9", 8), ("native:TxT", 2)]
)
def test_more_threads_than_allowed(text, threads):
    needed = {"native:TxT": 4, "native:3x1": 3, "naive:2x2": 4, "gemm:1x9": 9}[text]
    with pytest.raises(PlanError) as caught:
        Plan.parse(text, threads)
    one_line(caught, f"needs {needed} threads", f"{threads} allowed", "n_jobs")


@pytest.mark.parametrize("kernels", ["gemv", "gemm"])
def test_callers_with_threads_of_their_own(kernels):
    with pytest.raises(PlanError) as caught:
        Plan.parse(f"{kernels}:2x2", 4)
    one_line(caught, f"{kernels}:2x2", "several callers", blas.describe()["name"])


@pytest.mark.skipif(blas._most_callers() is None, reason="SciPy's BLAS is no OpenBLAS")
@pytest.mark.parametrize("form", ["gemm:{}x1", "gemv:1x{}"])
def test_more_than_openblas_was_built_for(form):
    most = blas._most_callers()
    assert Plan.parse(form.format(most), most).threads == most
    with pytest.raises(PlanError) as caught:
        Plan.parse(form.format(most + 1), most + 1)
    one_line(caught, form.format(most + 1), f"exceeds the {most} threads", "OpenBLAS")


def test_errors_reach_the_user():
    problem = make_problem()
    for text in ("native:3x1", "fast", "cuda:1x1"):
        with pytest.raises(PlanError):
            problem.network(text, n_jobs=2).forward(problem.X)
        with pytest.raises(PlanError):
            schuss.train(problem.X, problem.y, plan=text, n_jobs=2)
    assert issubclass(PlanError, ValueError)
    assert issubclass(PlanError, schuss.SchussError)


@pytest.mark.parametrize("plan", PLANS)
def test_a_named_plan_is_kept(plan):
    assert str(choose(plan, threads=8, layer_sizes=(1, 1), batch_size=1)) == plan


def test_the_result_says_what_was_chosen():
    X, y = np.ones((8, 2), np.float32), np.arange(8) % 2
    assert schuss.train(X, y, hidden_layer_sizes=3, batch_size=4, epochs=1).trained_plan == "native:1x1"
    plan = schuss.train(
        X, y, hidden_layer_sizes=3, batch_size=4, epochs=1, plan="multicore", n_jobs=2
    ).trained_plan
    assert plan == "naive:2x1"


@pytest.mark.parametrize(("n_jobs", "threads"), [(1, 1), (3, 3), (1000, 1000), (np.int64(2), 2)])
def test_n_jobs_is_taken_as_it_is(n_jobs, threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert allowed_threads(n_jobs) == threads


def test_negative_n_jobs_counts_from_the_processors():
    cores = joblib.cpu_count()
    assert allowed_threads() == allowed_threads(-1) == cores
    assert allowed_threads(-2) == max(1, cores - 1)
    assert allowed_threads(-100000) == 1


@pytest.mark.parametrize("n_jobs", [0, True, False, 1.0, "2", [2]])
def test_no_number_of_threads(n_jobs):
    with pytest.raises(ValueError, match="n_jobs must be None or a non-zero integer") as caught:
        allowed_threads(n_jobs)
    one_line(caught, repr(n_jobs))


@pytest.mark.parametrize(("text", "threads"), [("3", 3), (" 5 ", 5), ("4,2", 4)])
def test_omp_num_threads(text, threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert allowed_threads() == threads


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_no_omp_num_threads(text, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    with pytest.raises(ValueError, match="OMP_NUM_THREADS must be a positive integer") as caught:
        allowed_threads()
    one_line(caught, repr(text))


AFFINITY = """
import json, os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
from schuss import _core
from schuss.plan import allowed_threads
from schuss.planner.choice import choose
plan = choose("auto", threads=allowed_threads(), layer_sizes=(784, 1024, 10), batch_size=128)
print(json.dumps([allowed_threads(), _core.allowed_cores(), str(plan)]))
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_affinity_counts():
    core = min(os.sched_getaffinity(0))
    command = [sys.executable, "-c", AFFINITY, str(core)]
    printed = subprocess.check_output(command, env=clean_environment(), timeout=60)
    assert json.loads(printed) == [1, 1, "native:1x1"]


def test_a_forced_instruction_set_that_is_none(monkeypatch):
    monkeypatch.setenv("SCHUSS_ISA", "mmx")
    with pytest.raises(PlanError, match=r"SCHUSS_ISA: isa must be auto or one of .*, got 'mmx'") as caught:
        Network((2, 2)).forward(np.ones((1, 2)))
    one_line(caught, "portable")
