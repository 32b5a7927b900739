"""The engine at its edges: compressed rows, many rows, extremes, a training's engine, the limit of threads."""

import numpy as np
import pytest
import scipy.sparse
from conftest import (
    DTYPES,
    ISAS,
    OUTPUTS,
    TOLERANCE,
    distance,
    engine_for,
    make_problem,
    trained,
)
from hypothesis import given
from hypothesis import strategies as st

from schuss import Network, _core
from schuss.engine import CpuEngine
from schuss.losses import Loss
from schuss.optimizers import Optimizer
from schuss.plan import Plan, allowed_threads

# --- sparse input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("plan", ["naive:1x1", "gemm:1x1", "native:2x1"])
def test_sparse_rows_have_the_bits_of_dense_ones(plan, index, dtype):
    problem = make_problem((31, 11, 3), 13, dtype=dtype)
    X = problem.X * (np.random.default_rng(0).random(problem.X.shape) < 0.2)
    sparse = scipy.sparse.csr_array(X)
    sparse.indices, sparse.indptr = sparse.indices.astype(index), sparse.indptr.astype(index)
    assert trained(problem, plan, X=sparse)[0].tobytes() == trained(problem, plan, X=X)[0].tobytes()
    network = problem.network(plan)
    np.testing.assert_array_equal(network.forward(sparse), network.forward(X))
    assert network.loss(sparse, problem.y) == network.loss(X, problem.y)
    np.testing.assert_array_equal(network.gradient(sparse, problem.y), network.gradient(X, problem.y))


@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(1, 20),
    columns=st.integers(1, 40),
    density=st.floats(0, 1),
    form=st.sampled_from(["csr", "csc", "coo", "lil", "dok", "bsr"]),
    dtype=st.sampled_from([*DTYPES, "int64", "bool"]),
)
def test_any_sparse_matrix_is_read(seed, rows, columns, density, form, dtype):
    rng = np.random.default_rng(seed)
    X = (rng.integers(-3, 4, (rows, columns)) * (rng.random((rows, columns)) < density)).astype(dtype)
    network = Network((columns, 5, 2), seed=0, dtype="float64")
    np.testing.assert_array_equal(
        network.forward(scipy.sparse.csr_array(X).asformat(form)), network.forward(X.astype(np.float64))
    )


def test_values_of_one_place_add_up():
    sparse = scipy.sparse.csr_array(
        (np.array([1.0, 2.0, 4.0]), np.array([1, 1, 0]), np.array([0, 3])), shape=(1, 2)
    )
    network = Network((2, 3), dtype="float64", seed=0)
    np.testing.assert_allclose(network.forward(sparse), network.forward([[4.0, 3.0]]), rtol=1e-14)


def test_damaged_sparse_matrices_are_refused():
    network = Network((4, 2), seed=0)
    engine = network.new_engine(Plan("native", 1, 1))
    out = np.empty((2, 2), np.float32)
    values = np.ones(3, np.float32)

    def read(columns, offsets, dtype=np.int32):
        engine._core.forward((values, np.array(columns, dtype), np.array(offsets, dtype)), None, out)

    read([0, 1, 3], [0, 1, 3])
    with pytest.raises(ValueError, match="columns of a sparse X must be below 4, got 4"):
        read([0, 1, 4], [0, 1, 3])
    with pytest.raises(ValueError, match="columns of a sparse X must be below 4, got -1"):
        read([0, -1, 2], [0, 1, 3])
    for offsets in ([0, 3, 1], [0, 1, 4], [1, 2, 3]):
        with pytest.raises(ValueError, match="offsets must ascend from 0 to the number of values"):
            read([0, 1, 2], offsets)
    with pytest.raises(ValueError, match="columns of a sparse X must ascend in each row"):
        read([1, 0, 2], [0, 2, 3])
    with pytest.raises(TypeError, match="must both be int32 or both int64"):
        read([0, 1, 2], [0, 1, 3], np.int16)
    with pytest.raises(ValueError, match="X must be finite, got nan"):
        network.forward(scipy.sparse.csr_array(np.array([[0, np.nan, 0, 0]])))
    with pytest.raises(ValueError, match="X must have 4 features, got 3"):
        network.forward(scipy.sparse.csr_array(np.eye(3)))


# --- the engine of a training, and the limit of threads ------------------------------------------------


def test_an_adopted_engine_computes_outputs_and_hands_over_parameters():
    problem = make_problem((7, 11, 3), 13)
    network, engine, X, y = engine_for(problem, optimizer=Optimizer("adam"), loss_scale=7.0)
    engine.run(X, y, np.arange(13), 13, np.array([0.1]))
    network.adopt(engine)
    assert network._engine is engine
    outputs = network.forward(X)
    assert not np.array_equal(outputs, problem.network().forward(X))
    assert network._engine is engine
    fresh = problem.network()
    fresh.parameters = network.parameters
    assert network.loss(X, problem.y) == fresh.loss(X, problem.y)  # not in the training's scale
    before = network.version
    network.parameters = problem.parameters
    assert network.version == before + 1
    np.testing.assert_array_equal(network.forward(X), problem.network().forward(X))


def test_optimizer_state_goes_in_and_out(dtype):
    problem = make_problem((7, 11, 3), 13, dtype=dtype)
    optimizer = Optimizer("adam")
    network, first, X, y = engine_for(problem, optimizer=optimizer)
    order, rates = np.arange(13), np.full(4, 0.1)
    first.run(X, y, order, 4, rates)
    second = CpuEngine(
        network.layer_sizes, network.activations, network.loss_function, network.dtype, first.plan, optimizer
    )
    assert first.slots == 3
    for slot in range(3):
        flat = np.empty(network.n_parameters, dtype)
        first.store_slot(slot, flat)
        second.load_slot(slot, flat)
    second.steps_taken = first.steps_taken
    for engine in (first, second):
        engine.run(X, y, order, 4, rates)
    ends = [np.empty(network.n_parameters, dtype) for _ in range(2)]
    for engine, end in zip((first, second), ends, strict=True):
        engine.store(end)
    assert ends[0].tobytes() == ends[1].tobytes()


def test_limit_of_threads():
    import ctypes

    library = ctypes.CDLL(_core.__file__)
    cores = _core.allowed_cores()
    assert (_core.thread_limit(), library.schuss_get_num_threads()) == (0, cores)
    try:
        library.schuss_set_num_threads(1)
        assert (_core.thread_limit(), library.schuss_get_num_threads()) == (1, 1)
        assert allowed_threads(8) == allowed_threads(None) == 1
    finally:
        library.schuss_set_num_threads(0)
    assert _core.thread_limit() == 0
    assert allowed_threads(8) == 8


# --- gradients of many rows ---------------------------------------------------------------------------


@pytest.mark.parametrize("plan", ["naive:1x1", "gemm:2x1", "native:1x1", "native:2x1", "native:1x2"])
@pytest.mark.parametrize("sizes", [(5, 70, 3), (70, 3), (5, 3, 70)])
@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_gradient_of_more_rows_than_are_held_at_a_time(plan, sizes, form):
    """The mean over parts of 8,192 rows, by weight; for native the chain of one part, whatever its length."""
    rng = np.random.default_rng(2)
    rows = 2 * 8192 + 100
    X, y = rng.normal(size=(rows, sizes[0])), rng.integers(0, sizes[-1], rows)
    weights = rng.uniform(0.5, 2, rows)
    network = Network(sizes, dtype="float64", seed=0, plan=plan, n_jobs=8)
    engine = network.new_engine(Plan.parse(plan, 8))
    engine.load(network.parameters)
    read = scipy.sparse.csr_array(X) if form == "sparse" else X
    whole, part = np.empty(network.n_parameters), np.empty(network.n_parameters)
    losses = engine.gradient(read, y.astype(np.int32), whole, sample_weight=weights)
    wanted = 0.0
    for some in np.array_split(np.arange(rows), 3):
        few = engine.gradient(X[some], y[some].astype(np.int32), part, sample_weight=weights[some])
        np.testing.assert_allclose(losses[some], few, rtol=1e-12)
        wanted = wanted + part * weights[some].sum() / weights.sum()
    assert distance(whole, wanted) <= 1e-12
    if plan.startswith("native"):
        alone = network.new_engine(Plan("native", 1, 1))
        alone.load(network.parameters)
        alone.gradient(read, y.astype(np.int32), part, sample_weight=weights)
        assert whole.tobytes() == part.tobytes()


# --- extremes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", ["naive:2x1", "gemm:1x1", "gemm:2x1", "native:1x1", "native:2x1"])
@pytest.mark.parametrize("size", [1e-46, 1e-40, 1e-30, 1e30, 1e39])
def test_only_the_ratio_of_weights_counts(plan, size):
    """Also where float32 cannot hold them."""
    problem = make_problem((7, 40, 3), 23)
    weights = np.random.default_rng(0).uniform(0.5, 2, 23)
    plain, scaled = (trained(problem, plan, weights=weights * factor) for factor in (1, size))
    assert distance(scaled[0], plain[0]) < 1e-5
    np.testing.assert_allclose(scaled[1], plain[1], rtol=1e-5)


@pytest.mark.parametrize(("loss", "output"), OUTPUTS)
def test_what_a_row_without_weight_holds_does_not_count(loss, output, dtype):
    """Not even where its outputs or losses overflow."""
    problem = make_problem((7, 11, 3), 13, "relu", output, loss, dtype)
    network, engine, X, y = engine_for(problem)
    weights = np.ones(13)
    weights[5] = 0
    flats = []
    for value in (0.0, 1e30, -1e30):
        X = X.copy()
        X[5] = value
        engine.load(problem.parameters)
        _losses, finite = engine.run(X, y, np.arange(13), 13, np.array([0.1]), weights)
        assert finite
        flats.append(np.empty(network.n_parameters, dtype))
        engine.store(flats[-1])
    assert flats[0].tobytes() == flats[1].tobytes() == flats[2].tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("plan", ["native:1x1", "native:2x1", "gemm:1x1"])
def test_clipping_shortens_gradients_whose_squares_overflow(plan, dtype):
    start = np.array([0, 0, {"float32": 60, "float64": 400}[dtype]], dtype)  # e^60, e^400: no squares
    network = Network((2, 1), loss="poisson", dtype=dtype, plan=plan, n_jobs=8)
    engine = network.new_engine(Plan.parse(plan, 8), Optimizer(clip_norm=1.0))
    engine.load(start)
    X, y = np.array([[0.6, 0.8]], dtype), np.array([[1]], dtype)
    engine.run(X, y, np.arange(1), 1, np.array([1.0]))
    flat = np.empty(3, dtype)
    engine.store(flat)
    np.testing.assert_allclose(flat - start, [-0.6 / 2**0.5, -0.8 / 2**0.5, -1 / 2**0.5], rtol=1e-5)


def test_steps_without_weight_do_not_age_adam():
    problem = make_problem((7, 11, 3), 8, dtype="float64")
    ends = []
    for order in (np.arange(4, 8), np.r_[np.zeros(40, int), np.arange(4, 8)]):
        network, engine, X, y = engine_for(problem, optimizer=Optimizer("adam"))
        weights = np.repeat([0.0, 1.0], 4)
        engine.run(X, y, order, 4, np.full(len(order) // 4, 0.1), weights)
        assert engine.steps_taken == 1
        ends.append(np.empty(network.n_parameters))
        engine.store(ends[-1])
    assert ends[0].tobytes() == ends[1].tobytes()


def test_whole_numbers_are_numbers_to_losses_of_numbers():
    X, y = np.eye(2, dtype=np.float32), np.array([0, 1])
    network = Network((2, 3), loss=Loss("quantile", quantiles=(0.1, 0.5, 0.9)), seed=0)
    assert network.loss(X, y) == network.loss(X, y.astype(float))
    with pytest.raises(ValueError, match="y must be > 0 for gamma, got 0"):
        Network((2, 1), loss="gamma").loss(X, y)


def test_results_go_into_the_array_that_was_given():
    problem = make_problem((7, 11, 3), 8)
    _network, engine, X, y = engine_for(problem)
    n = len(problem.parameters)
    for wrong in (np.empty(n), np.empty(2 * n, np.float32)[::2]):
        with pytest.raises(TypeError):
            engine.store(wrong)
        with pytest.raises(TypeError):
            engine.gradient(X, y, wrong)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("plan", ["naive:1x1", "native:1x1", "native:2x1", "native:1x2"])
@pytest.mark.parametrize("sizes", [(5, 3), (70, 10, 1), (130, 65, 7, 2)])
def test_penalty_is_of_the_weights_as_they_are_now(isa, plan, sizes, dtype, monkeypatch):
    """At the start, after steps, after a gradient was applied, and after others were loaded."""
    monkeypatch.setenv("SCHUSS_ISA", isa)
    problem = make_problem(sizes, 9, output="identity", loss="squared_error", dtype=dtype)
    network, engine, X, y = engine_for(problem, plan, Optimizer("adam", alpha=3.0))
    flat = np.empty(network.n_parameters, dtype)

    def checked():
        engine.store(flat)
        network.parameters = flat
        loss = engine.run(X, y, np.arange(9), 9, np.array([0.01]))[0][0]
        weights = np.concatenate([W.ravel() for W in network.weights]).astype(np.float64)
        wanted = network.loss(problem.X, problem.y) + 3.0 / 18 * np.sum(weights**2)
        assert loss == pytest.approx(wanted, rel=10 * TOLERANCE["gradient", dtype])

    checked()
    checked()
    engine.apply(np.ones_like(flat), 0.5, 9)
    checked()
    engine.load(np.full_like(flat, 0.25))
    checked()
