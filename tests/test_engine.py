"""The engine's own promises: instruction sets by argument, layers handed on, memory foretold, sharing a network."""

import copy
import json
import os
import pickle
import signal
import sys
import threading
import time

import numpy as np
import pytest
from conftest import FUSED_ISAS, ISAS, KERNELS, MANY, make_problem, run

import schuss
from schuss import Network, _core
from schuss.engine import CpuEngine
from schuss.errors import PlanError
from schuss.optimizers import Optimizer
from schuss.plan import Plan
from schuss.planner import probe
from schuss.planner.choice import choose
from schuss.trainer import training_memory

# --- instruction sets -----------------------------------------------------------------------------


def test_isa_by_argument(monkeypatch):
    """The argument counts before SCHUSS_ISA."""
    problem = make_problem((7, 19, 3), 8)
    monkeypatch.setenv("SCHUSS_ISA", "mmx")
    for isa in ISAS:
        assert np.isfinite(problem.network(isa=isa).loss(problem.X, problem.y))
    with pytest.raises(PlanError, match=r"SCHUSS_ISA: isa must be auto or one of .*, got 'mmx'"):
        problem.network().loss(problem.X, problem.y)


def test_unknown_isa_is_an_error():
    problem = make_problem((7, 19, 3), 8)
    with pytest.raises(PlanError, match=r"^isa must be auto or one of .*, got 'mmx'"):
        problem.network(isa="mmx").loss(problem.X, problem.y)
    with pytest.raises(PlanError, match=r"^isa must be auto or one of .*, got 'mmx'"):
        schuss.train(problem.X, problem.y, isa="mmx")
    with pytest.raises(PlanError, match=r"isa must be portable for plan naive:1x1.*, got 'avx2'"):
        problem.network("naive:1x1", isa="avx2").loss(problem.X, problem.y)
    assert np.isfinite(problem.network("naive:1x1", isa="portable").loss(problem.X, problem.y))


def test_isa_reaches_the_training():
    """Every fused instruction set by argument: the same parameters."""
    problem = make_problem((7, 19, 3), 8)
    results = {
        schuss.train(problem.X, problem.y, hidden_layer_sizes=(19,), epochs=3, isa=isa).parameters.tobytes()
        for isa in (None, *FUSED_ISAS)
    }
    assert len(results) == 1
    network = schuss.train(problem.X, problem.y, hidden_layer_sizes=(5,), epochs=1, isa="portable")
    assert network.isa == "portable"


# --- the flat gradient, a layer at a time ---------------------------------------------------------


def engine_for(problem, plan):
    network = problem.network(plan)
    engine = network.new_engine(Plan.parse(plan, MANY))
    engine.load(network.parameters)
    return network, engine, *network.pair(problem.X, problem.y)


@pytest.mark.parametrize("plan", [f"{kernels}:{cut}" for kernels in KERNELS for cut in ("1x1", "3x1")])
def test_layers_are_handed_on_from_the_last(plan, dtype):
    problem = make_problem((7, 90, 70, 3), 13, dtype=dtype)
    network, engine, X, y = engine_for(problem, plan)
    expected = np.empty(network.n_parameters, dtype)
    engine.gradient(X, y, expected)
    out, heard = np.full_like(expected, np.nan), []

    def ready(layer):
        whole = [part[layer - 1] for part in network.split(out)]
        assert all(
            np.array_equal(a, b[layer - 1]) for a, b in zip(whole, network.split(expected), strict=True)
        )
        assert threading.current_thread() is threading.main_thread()
        heard.append(layer)

    engine.gradient(X, y, out, ready)
    assert heard == [3, 2, 1]
    assert np.array_equal(out, expected)


@pytest.mark.parametrize("plan", ["native:1x1", "native:2x2"])
def test_an_error_of_the_listener_is_the_users(plan):
    problem = make_problem((7, 19, 3), 8)
    _network, engine, X, y = engine_for(problem, plan)
    out = np.empty(len(problem.parameters), np.float32)

    def ready(layer):
        raise RuntimeError(f"no room for layer {layer}")

    with pytest.raises(RuntimeError, match="no room for layer 2"):
        engine.gradient(X, y, out, ready)
    engine.gradient(X, y, out)  # and the team goes on
    assert np.isfinite(out).all()


def test_a_listener_cannot_use_the_engine_that_called_it():
    problem = make_problem((7, 19, 3), 8)
    _network, engine, X, y = engine_for(problem, "native:2x1")
    out = np.empty(len(problem.parameters), np.float32)
    with pytest.raises(RuntimeError, match="at work in this very thread"):
        engine.gradient(X, y, out, lambda layer: engine.forward(X))
    engine.gradient(X, y, out)
    assert np.isfinite(out).all()


HANDLER = """
import signal
import numpy as np, schuss

network = schuss.Network((512, 2048, 2048, 10), classes=range(10), seed=0)
X, y = np.random.default_rng(0).random((4096, 512), dtype=np.float32), np.zeros(4096, int)
network.step(X[:4], y[:4])
signal.signal(signal.SIGALRM, lambda *_: network.parameters)
signal.setitimer(signal.ITIMER_REAL, 0.05)
try:
    for _ in range(100):
        network.step(X, y, learning_rate=1e-4)
except RuntimeError as error:
    assert "at work in this very thread" in str(error)
    print("refused")
signal.setitimer(signal.ITIMER_REAL, 0)
assert np.isfinite(network.parameters).all()
"""


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="the system has no SIGALRM")
def test_a_signal_handler_does_not_wait_for_what_it_interrupted():
    assert run(HANDLER).strip() in ("refused", "")  # in the step, or between two steps


def test_an_engine_that_was_not_loaded_is_not_kept(monkeypatch):
    """More rows want an engine with more threads; Ctrl-C comes before it has the parameters."""
    problem = make_problem((100, 300, 5), 200)
    network = problem.network("auto")
    few = network.forward(problem.X[:2])

    def interrupted(engine, parameters):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CpuEngine, "load", interrupted)
        with pytest.raises(KeyboardInterrupt):
            network.forward(problem.X)
    assert np.array_equal(network.forward(problem.X[:2]), few)


def test_apply_needs_a_batch():
    problem = make_problem((7, 19, 3), 8)
    _network, engine, _X, _y = engine_for(problem, "native:1x1")
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        engine.apply(problem.parameters.astype(np.float32), 0.1, 0)


# --- memory ---------------------------------------------------------------------------------------

GROWTH = """
import json, resource, sys
import numpy as np, schuss
from schuss.optimizers import Optimizer
from schuss.planner.choice import choose
from schuss.trainer import training_memory

sizes, batch, solver, threads = json.loads(sys.argv[1])
rng = np.random.default_rng(0)
X = rng.random((2 * batch, sizes[0]), dtype=np.float32)
y = rng.integers(0, sizes[-1], len(X))
network = schuss.Network(sizes, classes=range(sizes[-1]), seed=0)
plan = choose("auto", threads=threads, layer_sizes=sizes, batch_size=batch)
said = training_memory(sizes, plan, Optimizer(solver=solver), batch)

import threading, time
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

most, done = 0, threading.Event()
def watch():
    global most
    while not done.is_set():
        most = max(most, resident())
        time.sleep(0.002)

before, watcher = resident(), threading.Thread(target=watch)
watcher.start()
schuss.train(X, y, network=network, solver=solver, batch_size=batch, epochs=2, learning_rate=1e-3, n_jobs=threads)
done.set()
watcher.join()
print(json.dumps([said, most - before]))
"""


@pytest.mark.skipif(
    not os.path.exists("/proc/self/statm"), reason="resident memory is read from Linux's /proc"
)
@pytest.mark.parametrize(
    ("sizes", "batch", "solver"),
    [((512, 4096, 4096, 10), 256, "adam"), ((784, 512, 512, 10), 16384, "sgd")],
    ids=["parameters", "activations"],
)
def test_memory_is_as_foretold(sizes, batch, solver):
    """The process grows by what was said before, whether parameters or activations are the larger part."""
    text = run(GROWTH, json.dumps([sizes, batch, solver, 2]))
    said, grew = json.loads(text)
    assert grew < 1.15 * said + 40e6
    assert grew > 0.8 * said


def test_memory_does_not_grow_with_threads_times_parameters():
    sizes = (512, 4096, 10)
    one, many = (
        training_memory(sizes, Plan("native", threads, 1), Optimizer(solver="adam"), 256)
        for threads in (1, 8)
    )
    assert many - one <= 7 * 1.2e6 < 7 * 512 * 4096 * 4 / 5


# --- a plan that may change -----------------------------------------------------------------------


def test_only_a_chosen_plan_may_change(monkeypatch):
    monkeypatch.setattr(probe, "processors", lambda: (2, 2))
    sizes = (64, 64, 10)
    options = {"threads": 2, "layer_sizes": sizes, "batch_size": 256}
    assert choose("auto", **options).others
    assert choose("native", **options).others
    assert not choose("native:2x1", **options).others
    assert choose("auto", **options) == choose("native:2x1", **options)


def test_a_chosen_plan_tries_the_caller_alone_and_a_named_one_never():
    problem = make_problem((13, 40, 5), 64)
    order, rates = np.tile(np.arange(64), 50), np.full(50, 1e-3)
    alone = {}
    for plan in (Plan("native", 2, 1, others=((1, 1),)), Plan("native", 2, 1)):
        network = problem.network()
        engine = network.new_engine(plan)
        engine.load(network.parameters)
        X, y = network.pair(problem.X, problem.y)
        end = time.monotonic() + (10 if plan.others else 0.1)
        while time.monotonic() < end and engine.records()[-1][1] in (0, engine.steps_taken):
            engine.run(X, y, order, 64, rates)
        alone[bool(plan.others)] = {str(cut): steps for cut, steps, _ in engine.records()}
    assert 0 < alone[True]["native:1x1"] < alone[True]["native:2x1"]
    assert list(alone[False]) == ["native:2x1"]


# --- sharing a network between threads --------------------------------------------------------------


def test_steps_of_several_threads_all_count():
    """Each step adds a known amount to the output's bias, all that X = 0 can train; none is lost, whatever the
    others do."""
    network = Network(
        (256, 512, 1), loss="squared_error", output_activation="identity", dtype="float64", seed=0
    )
    X, y, errors = np.zeros((1, 256)), np.ones((1, 1)), []
    wide = np.zeros((500, 256))

    def work(i):
        try:
            for round in range(200):
                network.step(X, y, learning_rate=1e-6)  # b <- b + 1e-6 (1 - b)
                if i == 0:
                    network.n_jobs = 1 + round % 3  # a new engine takes over what was learnt
                if i == 1 and round % 10 == 0:
                    network.forward(wide)
                if i == 2:
                    network.parameters  # noqa: B018
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert network.biases[1][0] == pytest.approx(1 - (1 - 1e-6) ** 800, rel=1e-9)


def test_fits_and_predictions_side_by_side():
    """Trainings in several threads at once give what they give one after the other."""
    problem = make_problem((13, 40, 5), 64)

    def train(seed):
        network = schuss.train(
            problem.X, problem.y, hidden_layer_sizes=(40,), epochs=20, seed=seed, batch_size=16
        )
        return network.parameters.tobytes(), network.forward(problem.X).tobytes()

    expected, found = [train(seed) for seed in range(4)], [None] * 4
    threads = [
        threading.Thread(target=lambda i=i: found.__setitem__(i, train(i))) for i in range(len(expected))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


@pytest.mark.parametrize("again", [copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))])
def test_copies_have_a_lock_of_their_own(again):
    problem = make_problem((7, 19, 3), 8)
    network = problem.network()
    other = again(network)
    with network._lock:
        thread = threading.Thread(target=lambda: other.step(problem.X, problem.y))
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
    assert not np.array_equal(network.parameters, other.parameters)


# --- pinning --------------------------------------------------------------------------------------


def test_pinning(monkeypatch):
    problem = make_problem((7, 19, 3), 8)
    expected = problem.network("native:2x1").gradient(problem.X, problem.y)
    monkeypatch.setenv("SCHUSS_PIN", "1")
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    assert np.array_equal(problem.network("native:2x1").gradient(problem.X, problem.y), expected)
    if before is not None:
        assert os.sched_getaffinity(0) == before
        seen = []
        _network, engine, X, y = engine_for(problem, "native:2x1")
        engine.gradient(
            X, y, np.empty_like(expected), lambda _layer: seen.append(len(os.sched_getaffinity(0)))
        )
        assert seen == [1, 1]  # the calling thread, while the team works
    monkeypatch.setenv("SCHUSS_PIN", "yes")
    with pytest.raises(PlanError, match="SCHUSS_PIN must be 0 or 1, got 'yes'"):
        problem.network("native:2x1").gradient(problem.X, problem.y)


# --- measures -------------------------------------------------------------------------------------


def test_measures_are_of_the_right_size():
    """Rates below the peak and above nothing; no timing is asserted beyond that."""
    for isa in ISAS:
        for kind in ("forward", "gradient"):
            assert 1e6 < _core.measure_product(isa, kind, 70, 50, 33, 0.02, False) < 1e13
        for rows, vectors in ((1, 1), (2, 2)):
            assert 1e-10 < _core.measure_tile(isa, rows, vectors, 16, 0.005) < 1e-3
        for kind in ("read", "update"):
            assert 1e6 < _core.measure_stream(isa, kind, 2, 100_000, 0.005) < 1e13
        assert 1e-10 < _core.measure_activation(isa, 3, 0.005) < 1e-3
        assert 1e-10 < _core.measure_gather(isa, 20, 100_000, 0.005) < 1e-3
    assert 0 < _core.measure_barrier(2, 0.02) < 1
    with pytest.raises(ValueError, match="kind must be read or update, got 'write'"):
        _core.measure_stream("auto", "write", 1, 1000, 0.01)
    with pytest.raises(ValueError, match="a tile has at least 1 row, vector and depth"):
        _core.measure_tile("auto", 100, 1, 16, 0.01)
    with pytest.raises(ValueError, match="kind must be forward or gradient, got 'sideways'"):
        _core.measure_product("auto", "sideways", 1, 1, 1, 0.01, False)
    grown = "import resource; from schuss import _core; _core.measure_stream('auto', 'read', 2, 200_000_000, 0.01)\n"
    grown += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    assert int(run(grown)) * (1024 if sys.platform == "linux" else 1) > 400e6  # memory that is there
    assert 1 <= _core.physical_cores() <= _core.allowed_cores()


def test_engine_is_not_for_other_optimizers():
    """A step of Network is plain gradient descent whatever trained the network before."""
    problem = make_problem((7, 19, 3), 8, dtype="float64")
    network = problem.network()
    schuss.train(problem.X, problem.y, network=network, solver="adam", epochs=1)
    before = network.parameters.copy()
    gradient = network.gradient(problem.X, problem.y)
    network.step(problem.X, problem.y, learning_rate=0.01)
    np.testing.assert_allclose(network.parameters, before - 0.01 * gradient, rtol=1e-12, atol=1e-15)
    assert isinstance(network._engine, CpuEngine)
