"""The BLAS that SciPy brought: its signatures are checked, its threads set while it works and put back."""

import ctypes
import threading

import pytest
import threadpoolctl
from conftest import make_problem
from scipy.linalg import cython_blas

import schuss
from schuss import PlanError, blas
from schuss.optimizers import Optimizer
from schuss.plan import Plan
from schuss.trainer import Trainer

controlled = pytest.mark.skipif(blas._controller() is None, reason="threadpoolctl does not know SciPy's BLAS")


@pytest.fixture
def three_threads():
    """SciPy's BLAS set to 3 threads, which nothing here asks for."""
    library = blas._controller()
    before = library.num_threads
    library.set_num_threads(3)
    yield library
    library.set_num_threads(before)


def threads():
    """Threads of each BLAS in the process, by file, as threadpoolctl reads them afresh."""
    return {
        found["filepath"]: found["num_threads"]
        for found in threadpoolctl.threadpool_info()
        if found["user_api"] == "blas"
    }


def test_addresses_are_the_routines(dtype):
    addresses = blas.addresses(dtype)
    assert len(set(addresses)) == 3
    assert all(addresses)


def capsule(signature):
    """A capsule with this name, and the text that it points to."""
    make = ctypes.pythonapi.PyCapsule_New
    make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    held = ctypes.create_string_buffer(signature)
    return make(ctypes.addressof(held), held, None), held


def signature_of(name):
    get_name = ctypes.pythonapi.PyCapsule_GetName
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    return get_name(cython_blas.__pyx_capi__[name])


@pytest.mark.parametrize(
    ("letter", "name"),
    [("s", "gemm"), ("d", "gemm"), ("s", "gemv"), ("d", "gemv"), ("s", "ger"), ("d", "ger")],
)
def test_signatures(letter, name):
    right = signature_of(letter + name)
    made, _held = capsule(right)
    assert blas._address(made, letter, name) > 0

    wrong = [
        right.replace(b"int *", b"int64_t *", 1),
        right.replace(b"int *", b"long *"),
        right[: right.rindex(b",")] + b")",
        right.replace(b"void (", b"int ("),
        right.replace(b"_s *", b"_d *") if letter == "s" else right.replace(b"_d *", b"_s *"),
        b"void *",
        b"",
    ]
    for signature in wrong:
        if signature == right:
            continue
        made, _held = capsule(signature)
        with pytest.raises(PlanError) as caught:
            blas._address(made, letter, name)
        assert "32-bit integers" in str(caught.value)
        assert f"{letter}{name}" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_wrong_signature_stops_the_plan(monkeypatch):
    made, _held = capsule(b"void (char *, char *)")
    monkeypatch.setattr(cython_blas, "__pyx_capi__", dict(cython_blas.__pyx_capi__) | {"sgemm": made})
    blas.addresses.cache_clear()
    try:
        problem = make_problem()
        with pytest.raises(PlanError, match="sgemm"):
            problem.network("gemm:1x1").forward(problem.X)
        problem.network("native:1x1").forward(problem.X)
    finally:
        blas.addresses.cache_clear()


def test_describe():
    known = blas.describe()
    assert known["name"]
    assert "threads" in known


def test_unknown_library_is_an_error_only_where_its_threads_are_needed(monkeypatch):
    monkeypatch.setattr(blas, "_controller", lambda: None)
    blas.check_threads(1, 1, "gemm:1x1")
    with pytest.raises(PlanError, match="gemm:1x2 needs a BLAS whose threads threadpoolctl can set"):
        blas.check_threads(1, 2, "gemm:1x2")
    with blas.limit_threads(1):
        pass
    assert blas.describe() == {"name": "unknown", "threads": None}


class Watch:
    """Stands before the native engine: notes the threads of every BLAS at each call, and may fail."""

    def __init__(self, core, error=None):
        self.core, self.error, self.seen = core, error, []

    def __getattr__(self, name):
        def call(*arguments):
            self.seen.append(threads())
            if self.error:
                raise self.error
            return getattr(self.core, name)(*arguments)

        return call


def watched(plan, error=None):
    problem = make_problem()
    trainer = Trainer(problem.network(plan), Optimizer(), 0.1, 4, Plan.parse(plan))
    trainer.engine._core = watch = Watch(trainer.engine._core, error)
    return trainer, watch, problem


@controlled
@pytest.mark.parametrize(
    ("plan", "wanted"), [("gemm:1x1", 1), ("gemm:1x2", 2), ("gemv:1x2", 2), ("gemm:2x1", 1), ("gemv:2x1", 1)]
)
def test_threads_while_training_and_afterwards(three_threads, plan, wanted):
    before = threads()
    own = three_threads.filepath
    trainer, watch, problem = watched(plan)
    trainer.epoch(problem.X, problem.y)
    trainer.validate(problem.X, problem.y)
    during = [seen for seen in watch.seen if seen[own] != 3]
    assert during
    assert all(
        seen == before | {own: wanted} for seen in during
    )  # the library that owns the pointer, no other
    assert threads() == before


@controlled
@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()])
def test_threads_after_an_exception(three_threads, error):
    before = threads()
    trainer, watch, problem = watched("gemm:1x2", error)
    for work in (trainer.epoch, trainer.validate):
        trainer.engine._core.error = error
        with pytest.raises(type(error)):
            work(problem.X, problem.y)
        assert watch.seen[0][three_threads.filepath] == 2
        assert threads() == before


@controlled
def test_threads_after_divergence_and_passes(three_threads):
    before = threads()
    problem = make_problem(loss="squared_error", output="identity", activation="identity")
    with pytest.raises(schuss.TrainingDiverged):
        schuss.train(
            problem.X,
            problem.y,
            network=problem.network(),
            learning_rate=1e9,
            batch_size=4,
            epochs=50,
            plan="gemm:1x1",
        )
    network = problem.network("gemm:1x2")
    network.loss(problem.X, problem.y)
    network.gradient(problem.X, problem.y)
    network.step(problem.X, problem.y)
    assert threads() == before


@controlled
def test_native_leaves_blas_alone(three_threads):
    trainer, watch, problem = watched("native:1x1")
    trainer.epoch(problem.X, problem.y)
    assert all(seen[three_threads.filepath] == 3 for seen in watch.seen)


@controlled
@pytest.mark.parametrize("plan", ["gemm:1x1", "gemm:1x2"])
def test_threads_away_from_the_thread_that_set_them_first(three_threads, plan):
    """The main thread has set them (to 3); a training elsewhere still gets its own number."""
    trainer, watch, problem = watched(plan)
    thread = threading.Thread(target=trainer.epoch, args=(problem.X, problem.y))
    thread.start()
    thread.join()
    assert Plan.parse(plan).matrix in [seen[three_threads.filepath] for seen in watch.seen]
    assert three_threads.num_threads == 3


@controlled
def test_trainings_at_the_same_time(three_threads):
    """Whichever ends last, the number before comes back; blocks overlap without nesting."""
    first, second = blas.limit_threads(1), blas.limit_threads(1)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert three_threads.num_threads == 1  # the second still works
    second.__exit__(None, None, None)
    assert three_threads.num_threads == 3
