"""What learning can be told besides its formulas: weights, dropout, clipping, smoothing, sparse input, reports."""

import numpy as np
import pytest
from conftest import (
    GPU_PLANS,
    HIDDEN,
    ISAS,
    OUTPUTS,
    SAME_BITS,
    TOLERANCE,
    dense,
    distance,
    engine_for,
    gradient,
    make_problem,
    oracle,
    trained,
)

from schuss import Network
from schuss.losses import Loss
from schuss.optimizers import Optimizer
from schuss.plan import Plan

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


# --- weights ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [*ALL_KERNELS, *GPU_PLANS])
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


@pytest.mark.parametrize("plan", [*ALL_KERNELS, *GPU_PLANS])
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


@pytest.mark.parametrize("plan", [*ALL_KERNELS, *GPU_PLANS])
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


# --- clipping ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [*ALL_KERNELS, *GPU_PLANS])
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


def test_clipping_has_the_same_bits_however_the_work_is_divided(gpu, dtype):
    problem = make_problem((7, 70, 33, 3), 29, dtype=dtype)
    optimizer = Optimizer("adam", clip_norm=0.05)
    assert (
        len({trained(problem, plan, optimizer, batch=13)[0].tobytes() for plan in (*SAME_BITS, *GPU_PLANS)})
        == 1
    )


@pytest.mark.parametrize("wrong", [0, -1, np.inf, np.nan])
def test_clip_norm_is_checked(wrong):
    with pytest.raises(ValueError, match="clip_norm must be positive and finite, or None, got"):
        Optimizer(clip_norm=wrong)


# --- losses' numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [*ALL_KERNELS, *GPU_PLANS])
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
