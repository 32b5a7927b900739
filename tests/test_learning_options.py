"""What learning can be told besides its formulas: weights, dropout, clipping, smoothing, sparse input, reports."""

import numpy as np
import pytest
import scipy.sparse
from conftest import (
    DTYPES,
    HIDDEN,
    ISAS,
    OUTPUTS,
    SAME_BITS,
    TOLERANCE,
    dense,
    distance,
    make_problem,
    oracle,
)
from hypothesis import given
from hypothesis import strategies as st

from schuss import Network, _core
from schuss.engine import CpuEngine
from schuss.losses import Loss
from schuss.optimizers import Optimizer
from schuss.plan import Plan, allowed_threads

ALL_KERNELS = (
    "naive:2x1",
    "naive:1x2",
    "gemv:2x1",
    "gemm:1x1",
    "gemm:2x1",
    "native:1x1",
    "native:2x1",
    "native:1x2",
)


def engine_for(problem, plan="native:1x1", optimizer=None, **training):
    network = problem.network(plan)
    engine = network.new_engine(Plan.parse(plan, 8), optimizer, **training)
    engine.load(network.parameters)
    X, y = network.pair(problem.X, problem.y)
    return network, engine, X, y


def gradient(problem, plan="native:1x1", weights=None, **training):
    network, engine, X, y = engine_for(problem, plan, **training)
    flat = np.empty(network.n_parameters, network.dtype)
    engine.gradient(X, y, flat, sample_weight=weights)
    return flat


def trained(problem, plan="native:1x1", optimizer=None, weights=None, X=None, epochs=3, batch=4, **training):
    """Parameters and losses after some epochs in minibatches, the last of them short."""
    network, engine, own, y = engine_for(problem, plan, optimizer, **training)
    X = own if X is None else X
    rng = np.random.default_rng(5)
    losses = []
    for _ in range(epochs):
        order = rng.permutation(X.shape[0])
        rates = np.full(-(-len(order) // batch), 0.1)
        losses.append(engine.run(X, y, order, batch, rates, weights)[0])
    flat = np.empty(network.n_parameters, network.dtype)
    engine.store(flat)
    return flat, np.concatenate(losses)


# --- weights ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", ALL_KERNELS)
@pytest.mark.parametrize(("loss", "output"), OUTPUTS)
def test_weighted_gradient_is_the_oracles(plan, loss, output, dtype):
    problem = make_problem((7, 11, 3), 13, "tanh", output, loss, dtype)
    weights = np.random.default_rng(1).uniform(0, 3, 13)
    network = problem.network()
    parts = [
        oracle(
            network.split, network.activations, problem.options["loss"], problem.parameters, x[None], y[None]
        )
        for x, y in zip(problem.X, dense(problem.y, 3), strict=True)
    ]
    wanted = np.average([part[1] for part in parts], axis=0, weights=weights)
    size = np.average([part[2] for part in parts], axis=0, weights=weights)
    assert distance(gradient(problem, plan, weights), wanted, size) <= TOLERANCE["gradient", dtype]


@pytest.mark.parametrize("plan", ALL_KERNELS)
def test_unit_weights_change_no_bit(plan, dtype):
    problem = make_problem((7, 40, 3), 23, dtype=dtype)
    for optimizer in (Optimizer("adam", alpha=0.1), Optimizer("sgd", momentum=0.9), Optimizer(clip_norm=0.1)):
        without, with_ones = trained(problem, plan, optimizer), trained(problem, plan, optimizer, np.ones(23))
        assert without[0].tobytes() == with_ones[0].tobytes()
        assert without[1].tobytes() == with_ones[1].tobytes()


def test_whole_weights_are_repeated_rows(dtype):
    problem = make_problem((7, 40, 3), 11, dtype=dtype)
    weights = np.array([0, 1, 2, 3, 1, 0, 2, 1, 1, 4, 0])
    network, engine, X, y = engine_for(problem)
    rows = np.repeat(np.arange(11), weights)
    repeated = np.empty(network.n_parameters, network.dtype)
    engine.gradient(X[rows], y[rows], repeated)
    assert (
        distance(gradient(problem, weights=weights.astype(float)), repeated) <= TOLERANCE["gradient", dtype]
    )


def test_loss_is_the_mean_by_weight():
    problem = make_problem((7, 5, 3), 8, dtype="float64")
    weights = np.array([0.5, 0, 2, 1, 0, 0, 0, 0])
    network, engine, X, y = engine_for(problem, optimizer=Optimizer(alpha=0.2))
    each = engine.forward(X, y)[1]
    penalty = 0.1 * sum(np.sum(W**2) for W in network.weights)
    losses, finite = engine.run(X, y, np.arange(8), 4, np.zeros(2), weights)
    assert finite
    assert losses[0] == pytest.approx((each[:4] @ weights[:4] + penalty) / 3.5, rel=1e-14)
    assert losses[1] == 0  # no weight: passed over


def test_a_minibatch_without_weight_is_passed_over():
    problem = make_problem((7, 5, 3), 8, dtype="float64")
    for plan in ("native:1x1", "native:2x1", "gemm:1x1"):
        network, engine, X, y = engine_for(problem, plan, Optimizer("adam", alpha=0.1, weight_decay=0.1))
        weights = np.repeat([0.0, 1.0], 4)
        engine.run(X, y, np.arange(4), 2, np.full(2, 0.1), weights)
        after = np.empty(network.n_parameters)
        engine.store(after)
        np.testing.assert_array_equal(after, problem.parameters)
        engine.run(X, y, np.array([0, 1, 4, 5, 2, 3]), 2, np.full(3, 0.1), weights)  # the first, too
        engine.store(after)
        assert not np.array_equal(after, problem.parameters)


def test_weights_are_checked():
    problem = make_problem((7, 5, 3), 8)
    _network, engine, X, y = engine_for(problem)
    flat = np.empty_like(problem.parameters)
    with pytest.raises(ValueError, match="sample_weight must have 8 elements, got 7"):
        engine.gradient(X, y, flat, sample_weight=np.ones(7))
    with pytest.raises(ValueError, match="sample_weight must be a float64 vector"):
        engine.gradient(X, y, flat, sample_weight=np.ones(8, np.float32))


# --- dropout ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", ALL_KERNELS)
@pytest.mark.parametrize("activation", HIDDEN)
def test_dropout_is_a_network_without_the_units(plan, activation):
    """The mask is read off dW_2 = a_1 delta^T; with W_2's rows masked likewise, the gradient is the plain one."""
    rate = 0.4
    problem = make_problem((5, 40, 3), 1, activation, dtype="float64")
    network = problem.network()
    dW, db = network.split(gradient(problem, plan, dropout=(rate,), seed=3))
    W = network.split(network.parameters.copy())[0]
    kept = np.abs(dW[1]).max(1) > 0
    live = np.abs(network.split(problem.gradient)[0][1]).max(1) > 0  # relu is off for some units anyway
    assert 0.2 < np.mean(kept[live]) < 0.95
    mask = np.where(kept, 1 / (1 - rate), 0)
    thin = problem.network()
    flat = network.parameters.copy()
    thin.split(flat)[0][1][:] = mask[:, None] * W[1]
    thin.parameters = flat
    plain_W, plain_b = network.split(thin.gradient(problem.X, problem.y))
    close = {"rtol": 1e-10, "atol": 1e-13}
    np.testing.assert_allclose(dW[0], plain_W[0], **close)
    np.testing.assert_allclose(db[0], plain_b[0], **close)
    np.testing.assert_allclose(dW[1], mask[:, None] * plain_W[1], **close)
    np.testing.assert_allclose(db[1], plain_b[1], **close)


@pytest.mark.parametrize("isa", ISAS)
def test_dropout_has_the_same_bits_however_the_work_is_divided(isa, dtype, monkeypatch):
    monkeypatch.setenv("SCHUSS_ISA", isa)
    problem = make_problem((7, 70, 33, 3), 29, "gelu", dtype=dtype)
    options = {"dropout": (0.5, 0.2), "seed": 11, "batch": 13}
    results = {plan: trained(problem, plan, Optimizer("adam"), **options) for plan in SAME_BITS}
    assert len({result[0].tobytes() + result[1].tobytes() for result in results.values()}) == 1


def test_dropout_is_the_same_with_every_fused_instruction_set(monkeypatch):
    problem = make_problem((7, 70, 33, 3), 29, "relu")
    masks = []
    for (
        isa
    ) in ISAS:  # portable code without fused multiply-add rounds otherwise, but leaves out the same units
        monkeypatch.setenv("SCHUSS_ISA", isa)
        masks.append(gradient(problem, dropout=(0.5, 0.2), seed=11) != 0)
    assert all(np.array_equal(mask, masks[0]) for mask in masks)


def ones_network(width):
    """One hidden layer of units that are all 1 for any input; dW_2 of one example is their mask times delta."""
    network = Network(
        (1, width, 1),
        activation="identity",
        output_activation="identity",
        loss="squared_error",
        dtype="float64",
    )
    flat = np.zeros(network.n_parameters)
    network.split(flat)[1][0][:] = 1  # b_1
    network.parameters = flat
    return network


def masks(rate, width, steps, seed=0):
    """Which units were kept, step by step: each step's gradient is a mean over two examples, one a million times."""
    network = ones_network(width)
    engine = network.new_engine(Plan("native", 1, 1), dropout=(rate,), seed=seed)
    engine.load(network.parameters)
    flat, rows = np.empty(network.n_parameters), []
    for step in range(steps):
        engine.steps_taken = step
        engine.gradient(np.zeros((2, 1)), np.array([[-2.0], [-2e6]]), flat)
        both = network.split(flat)[0][1][:, 0] * (1 - rate)
        second = np.round(both / 1e6)
        rows.append(np.stack([np.round(both - 1e6 * second), second]))
    return np.array(rows)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_masks_are_independent_draws(rate):
    """Share kept, and correlations between units, examples, steps and seeds, within five standard deviations."""
    drawn = masks(rate, 500, 60)
    assert set(np.unique(drawn)) == {0, 1}
    n = drawn.size
    spread = np.sqrt(rate * (1 - rate))
    assert abs(drawn.mean() - (1 - rate)) < 5 * spread / np.sqrt(n)
    centred = (drawn - (1 - rate)) / spread
    pairs = {
        "units": (centred[:, :, 1:], centred[:, :, :-1]),
        "units 16 apart": (centred[:, :, 16:], centred[:, :, :-16]),
        "examples": (centred[:, 1], centred[:, 0]),
        "steps": (centred[1:], centred[:-1]),
        "seeds": (centred, (masks(rate, 500, 60, seed=1) - (1 - rate)) / spread),
        "step and example": (centred[1:, 0], centred[:-1, 1]),
    }
    for name, (a, b) in pairs.items():
        assert abs(np.mean(a * b)) < 5 / np.sqrt(a.size), name


def test_dropout_is_for_learning_only():
    problem = make_problem((7, 40, 3), 13)
    network, engine, X, y = engine_for(problem, dropout=(0.5,))
    np.testing.assert_array_equal(engine.forward(X, y)[0], network.forward(X))
    network.adopt(engine)
    np.testing.assert_array_equal(network.gradient(X, problem.y), gradient(problem))


# --- clipping ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", ALL_KERNELS)
def test_clipped_step_has_the_norm(plan, dtype):
    problem = make_problem((7, 40, 3), 13, dtype=dtype)
    plain = gradient(problem, plan).astype(np.float64)
    norm = np.linalg.norm(plain)
    for limit in (norm / 5, 2 * norm):
        network, engine, X, y = engine_for(problem, plan, Optimizer(clip_norm=limit))
        engine.run(X, y, np.arange(13), 13, np.array([0.5]))
        after = np.empty(network.n_parameters, dtype)
        engine.store(after)
        wanted = problem.parameters - 0.5 * plain * min(1, limit / norm)
        assert distance(after, wanted) <= TOLERANCE["gradient", dtype]


def test_clipping_leaves_out_the_penalty():
    problem = make_problem((7, 40, 3), 13, dtype="float64")
    plain, alpha = gradient(problem), 50.0
    limit = np.linalg.norm(plain) / 3
    network, engine, X, y = engine_for(problem, optimizer=Optimizer(alpha=alpha, clip_norm=limit))
    engine.run(X, y, np.arange(13), 13, np.array([0.5]))
    after = np.empty(network.n_parameters)
    engine.store(after)
    penalty = problem.parameters.copy()
    for b in network.split(penalty)[1]:
        b[:] = 0
    np.testing.assert_allclose(
        after, problem.parameters - 0.5 * (plain / 3 + alpha / 13 * penalty), rtol=1e-12
    )


def test_clipping_has_the_same_bits_however_the_work_is_divided(dtype):
    problem = make_problem((7, 70, 33, 3), 29, dtype=dtype)
    optimizer = Optimizer("adam", clip_norm=0.05)
    assert len({trained(problem, plan, optimizer, batch=13)[0].tobytes() for plan in SAME_BITS}) == 1


@pytest.mark.parametrize("wrong", [0, -1, np.inf, np.nan])
def test_clip_norm_is_checked(wrong):
    with pytest.raises(ValueError, match="clip_norm must be positive and finite, or None, got"):
        Optimizer(clip_norm=wrong)


# --- losses' numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", ALL_KERNELS)
@pytest.mark.parametrize(("loss", "output"), [pair for pair in OUTPUTS if pair[0] in ("log_loss", "focal")])
@pytest.mark.parametrize("targets", ["labels", "dense"])
def test_label_smoothing(plan, loss, output, targets, dtype):
    problem = make_problem((7, 11, 5), 13, "tanh", output, loss, dtype, targets=targets, smoothing=0.2)
    scale = problem.magnitude
    assert distance(gradient(problem, plan), problem.gradient, scale) <= TOLERANCE["gradient", dtype]
    assert problem.network(plan).loss(problem.X, problem.y) == pytest.approx(
        problem.loss, rel=TOLERANCE["gradient", dtype]
    )


def test_focal_without_gamma_is_log_loss():
    for output in ("softmax", "logistic"):
        problem = make_problem((7, 11, 5), 13, output=output, dtype="float64")
        focal = problem.network(loss=Loss("focal", focal_gamma=0))
        np.testing.assert_allclose(
            focal.gradient(problem.X, problem.y),
            problem.network().gradient(problem.X, problem.y),
            rtol=1e-9,
            atol=1e-14,
        )


@pytest.mark.parametrize("columns", [2, 30])
def test_quantiles_beside_each_other(columns, dtype):
    """Each output has its own level, in rows taken across and along vectors."""
    levels = tuple(np.linspace(0.1, 0.9, 3))
    rng = np.random.default_rng(0)
    network = Network(
        (4, 3 * columns), activation="relu", loss=Loss("quantile", quantiles=levels), dtype=dtype, seed=1
    )
    X, y = rng.normal(size=(9, 4)).astype(dtype), rng.normal(size=(9, columns))
    outputs = network.forward(X).astype(np.float64)
    e = np.repeat(y, 3, axis=1).astype(dtype) - outputs
    q = np.tile(levels, columns)
    assert network.loss(X, y) == pytest.approx(
        np.mean(np.sum(np.maximum(q * e, (q - 1) * e), axis=1)), rel=TOLERANCE["gradient", dtype]
    )
    db = network.split(network.gradient(X, y))[1][0]
    np.testing.assert_allclose(db, np.mean(np.where(e > 0, -q, 1 - q), axis=0), rtol=1e-5)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"huber_delta": 0}, "huber_delta must be positive and finite, got 0"),
        ({"quantiles": ()}, r"quantiles must be one or more numbers in \(0, 1\), got \(\)"),
        ({"quantiles": (0.5, 1.0)}, r"quantiles must be one or more numbers in \(0, 1\), got \(0.5, 1.0\)"),
        ({"focal_gamma": -1}, "focal_gamma must be >= 0 and finite, got -1"),
        ({"label_smoothing": 1}, r"label_smoothing must be in \[0, 1\), got 1"),
        (
            {"label_smoothing": 0.1},
            "label_smoothing must be 0 with huber, it is for log_loss and focal, got 0.1",
        ),
    ],
)
def test_loss_numbers_are_checked(numbers, message):
    with pytest.raises(ValueError, match=message):
        Loss("huber", **numbers)


@pytest.mark.parametrize(("loss", "value"), [("poisson", -1.0), ("gamma", 0.0)])
def test_targets_of_deviances_are_checked(loss, value):
    network = Network((2, 1), loss=loss)
    with pytest.raises(ValueError, match=f"y must be .* for {loss}, got {value}"):
        network.loss([[1.0, 2]], [value])


# --- reports ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "output"), OUTPUTS)
def test_loss_scale_is_reported_only(loss, output):
    problem = make_problem((7, 11, 4), 12, output=output, loss=loss, dtype="float64")
    plain, scaled = trained(problem), trained(problem, loss_scale=0.25)
    assert plain[0].tobytes() == scaled[0].tobytes()
    np.testing.assert_allclose(scaled[1], plain[1] / 4, rtol=1e-14)


@pytest.mark.parametrize("outputs", [1, 3, 40])
def test_loss_cap(outputs):
    """A class that the network thinks impossible counts for the cap; infinity stays what it is."""
    cap = -np.log(np.finfo(np.float64).eps)
    network = Network((1, outputs), loss="log_loss", dtype="float64")
    network.parameters = np.concatenate([np.arange(outputs) + 1.0, np.zeros(outputs)])
    engine = network.new_engine(Plan("native", 1, 1), loss_cap=cap)
    engine.load(network.parameters)
    y = np.zeros(3, np.int32)
    mild, wild = engine.forward(np.array([[0.5], [100.0], [1e308]]), y)[1][[0, 1]]
    assert mild == pytest.approx(network.loss([[0.5]], y[:1]), rel=1e-14)
    assert wild == pytest.approx(cap, rel=1e-12)
    assert network.loss([[100.0]], y[:1]) > cap


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


def test_parts_of_a_gradient_draw_their_own_masks():
    network = ones_network(50)
    engine = network.new_engine(Plan("native", 1, 1), dropout=(0.5,))
    engine.load(network.parameters)
    flat = np.empty(network.n_parameters)
    targets = np.zeros((2 * 8192, 1))
    counts = []
    for row in (0, 8192):
        targets[:] = 0
        targets[row] = -1e12
        engine.gradient(np.zeros((2 * 8192, 1)), targets, flat)
        counts.append(np.round(network.split(flat)[0][1][:, 0] * 8192 / 1e12))
    assert not np.array_equal(*counts)


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
