"""`native` gives the same bits for every partition, instruction set and cut of the rows; plans repeat."""

import os

import numpy as np
import pytest
from conftest import DTYPES, FUSED_ISAS, GPU_PLANS, MANY, SAME_BITS, TOLERANCE, make_problem
from hypothesis import given, settings
from hypothesis import strategies as st

import schuss
from schuss import Network

SOLVERS = {
    "sgd": {},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.8, "nesterov": True, "alpha": 0.1},
    "adam": {"solver": "adam", "learning_rate": 0.01},
    "adamw": {"solver": "adamw", "learning_rate": 0.01, "alpha": 0.1},
    "alpha": {"alpha": 0.5},
}


def data(sizes, rows, dtype, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((rows, sizes[0])).astype(dtype)
    return X, rng.integers(0, max(2, sizes[-1]), rows)


def trained(plan, sizes, rows, batch, dtype="float32", solver="sgd", epochs=3, activation="relu", isa=None):
    """All that a training leaves: bits of parameters, losses and outputs."""
    X, y = data(sizes, rows, dtype)
    network = Network(sizes, activation=activation, seed=1, dtype=dtype, plan=plan, n_jobs=MANY)
    if isa:
        os.environ["SCHUSS_ISA"] = isa  # own_environment takes it away again
    try:
        options = {"learning_rate": 0.1} | SOLVERS[solver]
        schuss.train(
            X,
            y,
            network=network,
            batch_size=batch,
            epochs=epochs,
            plan=plan,
            n_jobs=MANY,
            validation=(X, y),
            **options,
        )
        assert np.isfinite(network.parameters).all()
        outputs = network.forward(X)
    finally:
        os.environ.pop("SCHUSS_ISA", None)
    losses = np.array(network.history["loss"] + network.history["validation_loss"])
    return network.parameters.tobytes() + losses.tobytes() + outputs.tobytes()


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("activation", ["relu", "logistic", "tanh"])
def test_every_partition(gpu, solver, activation, dtype):
    """Sizes that leave rests everywhere; a last short minibatch of 1; more threads than cores, than rows."""
    results = {
        plan: trained(plan, (37, 71, 130, 5), 43, 14, dtype, solver, activation=activation)
        for plan in (*SAME_BITS, *GPU_PLANS)
    }
    assert all(bits == results["native:1x1"] for bits in results.values())


@pytest.mark.parametrize(
    ("sizes", "rows", "batch"),
    [((1100, 1050, 3), 40, 20), ((5, 6, 1), 1100, 1100), ((130, 150, 3), 1300, 1300), ((9, 1), 50, 7)],
)
def test_every_partition_of_long_sums(sizes, rows, batch, dtype):
    """More terms than are summed at a time in forward, delta and weight gradient; one output; no hidden layer."""
    results = [trained(plan, sizes, rows, batch, dtype, epochs=2) for plan in SAME_BITS]
    assert len(set(results)) == 1


@pytest.mark.parametrize("plan", ["native:1x1", "native:2x1", "native:1x3"])
@pytest.mark.parametrize("isa", FUSED_ISAS or (None,))
def test_a_long_minibatch_is_the_mean_of_its_parts(plan, isa, monkeypatch):
    """Longer than what is summed at a time, several tiles each way; the parts are short enough to be summed at once."""
    if isa:
        monkeypatch.setenv("SCHUSS_ISA", isa)
    X, y = data((130, 150, 3), 1300, "float64")
    network = Network((130, 150, 3), activation="tanh", seed=1, dtype="float64", plan=plan, n_jobs=MANY)
    parts = [network.gradient(X[at : at + 100], y[at : at + 100]) for at in range(0, 1300, 100)]
    whole, mean = network.gradient(X, y), np.mean(parts, axis=0)
    assert np.linalg.norm(whole - mean) <= TOLERANCE["gradient", "float64"] * np.linalg.norm(mean)


@settings(max_examples=100)
@given(
    sizes=st.lists(st.integers(1, 150), min_size=2, max_size=5).map(tuple),
    rows=st.integers(1, 60),
    batch=st.integers(1, 60),
    dtype=st.sampled_from(DTYPES),
    solver=st.sampled_from(sorted(SOLVERS)),
    plans=st.lists(st.sampled_from(SAME_BITS), min_size=2, max_size=3, unique=True),
    isas=st.lists(st.sampled_from(FUSED_ISAS or (None,)), min_size=3, max_size=3),
)
def test_drawn_sizes(sizes, rows, batch, dtype, solver, plans, isas):
    batch = min(batch, rows)
    results = [
        trained(plan, sizes, rows, batch, dtype, solver, epochs=2, isa=isa)
        for plan, isa in zip(plans, isas, strict=False)
    ]
    assert len(set(results)) == 1


@pytest.mark.skipif(len(FUSED_ISAS) < 2, reason="one instruction set with fused multiply-add")
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_fused_instruction_set(solver, dtype):
    results = [trained("native:2x1", (37, 71, 130, 5), 43, 14, dtype, solver, isa=isa) for isa in FUSED_ISAS]
    assert len(set(results)) == 1


@pytest.mark.skipif(len(FUSED_ISAS) < 2, reason="one instruction set with fused multiply-add")
@pytest.mark.parametrize(
    ("loss", "output"), [("log_loss", "softmax"), ("log_loss", "logistic"), ("squared_error", "tanh")]
)
def test_gradients_of_every_fused_instruction_set(loss, output, dtype, monkeypatch):
    problem = make_problem((31, 70, 29, 19), 19, "logistic", output, loss, dtype)
    results = set()
    for isa in FUSED_ISAS:
        monkeypatch.setenv("SCHUSS_ISA", isa)
        results |= {problem.network(plan).gradient(problem.X, problem.y).tobytes() for plan in SAME_BITS}
    assert len(results) == 1


@pytest.mark.parametrize(
    "plan", ["native:3x2", "naive:1x1", "naive:3x1", "naive:2x2", "gemv:3x1", "gemm:1x1", "gemm:3x1"]
)
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_a_plan_repeats(plan, solver):
    results = {trained(plan, (37, 71, 5), 43, 14, solver=solver, epochs=2) for _ in range(4)}
    assert len(results) == 1


def test_one_training_of_more_epochs_equals_the_same_with_validation_between():
    """Passes without learning leave no trace."""
    X, y = data((7, 9, 3), 40, "float32")
    options = {"hidden_layer_sizes": (9,), "batch_size": 8, "epochs": 4, "plan": "native:2x1", "n_jobs": 2}
    alone = schuss.train(X, y, **options)
    watched = schuss.train(
        X, y, **options, validation=(X, y), on_epoch=lambda network, _: network.predict(X) is None
    )
    assert alone.parameters.tobytes() == watched.parameters.tobytes()
    assert alone.history["loss"] == watched.history["loss"]


@pytest.mark.parametrize("plan", SAME_BITS)
def test_outputs_do_not_depend_on_how_rows_are_cut(plan, dtype):
    problem = make_problem((37, 130, 11, 5), 211, "tanh", dtype=dtype)  # more rows than a block of 192
    whole = problem.network("native:1x1").forward(problem.X)
    network = problem.network(plan)
    assert network.forward(problem.X).tobytes() == whole.tobytes()
    for rows in (1, 7, 64, 200):
        parts = [network.forward(problem.X[i : i + rows]) for i in range(0, len(problem.X), rows)]
        assert np.concatenate(parts).tobytes() == whole.tobytes()


@pytest.mark.parametrize("plan", ["native:2x1", "native:4x1", "native:2x2", "gemm:2x1", "gemm:4x1"])
def test_groups_do_not_disturb_each_other_between_blocks_of_rows(plan):
    """The last block of rows is shorter than those before, and groups run at their own pace."""
    X = np.random.default_rng(0).random((1100, 784), np.float32)
    wanted = Network((784, 256, 10), seed=0, plan="native:1x1").forward(X)
    network = Network((784, 256, 10), seed=0, plan=plan, n_jobs=MANY)
    for _ in range(60):
        np.testing.assert_allclose(network.forward(X), wanted, rtol=TOLERANCE["gradient", "float32"])


@given(cuts=st.sets(st.integers(1, 210), max_size=6), plan=st.sampled_from(SAME_BITS))
def test_outputs_of_drawn_cuts(cuts, plan):
    problem = make_problem((37, 130, 11, 5), 211, "tanh")
    network = problem.network(plan)
    parts = [network.forward(part) for part in np.split(problem.X, sorted(cuts))]
    assert np.concatenate(parts).tobytes() == network.forward(problem.X).tobytes()


def test_rows_of_any_layout():
    """Strided, reversed, Fortran-ordered and repeated rows are read as they are meant."""
    problem = make_problem((7, 9, 3), 12)
    network, X = problem.network(), problem.X
    wanted = network.forward(X)
    wide = np.zeros((24, 9), np.float32)
    wide[::2, 1:8] = X
    for same in (wide[::2, 1:8], np.asfortranarray(X), X[::-1].copy()[::-1], X.astype(">f4"), X.tolist()):
        assert network.forward(same).tobytes() == wanted.tobytes()
    assert (network.forward(np.broadcast_to(X[3], X.shape)) == wanted[3]).all()


@pytest.mark.parametrize("plan", ["native:1x1", "native:2x2"])
def test_steps_equal_training_in_order(plan, dtype):
    X, y = data((7, 9, 3), 23, dtype)
    options = {"seed": 5, "dtype": dtype, "plan": plan, "n_jobs": MANY}
    stepped = Network((7, 9, 3), classes=[0, 1, 2], **options)
    losses = [[stepped.step(X[i : i + 4], y[i : i + 4], 0.25) for i in range(0, 23, 4)] for _ in range(2)]
    trained = Network((7, 9, 3), classes=[0, 1, 2], **options)
    schuss.train(
        *(X, y),
        network=trained,
        batch_size=4,
        learning_rate=0.25,
        epochs=2,
        shuffle=False,
        plan=plan,
        n_jobs=MANY,
    )
    assert stepped.parameters.tobytes() == trained.parameters.tobytes()
    weights = [4, 4, 4, 4, 4, 3]
    assert trained.history["loss"] == [float(np.average(epoch, weights=weights)) for epoch in losses]


@pytest.mark.parametrize("plan", ["native:2x1", "native:1x2", "native:3x1", "native:2x2"])
@pytest.mark.parametrize("rows", [1, 2, 7, 15, 16, 40])
def test_outputs_of_few_rows(plan, rows):
    """One thread alone, all threads on each product, groups of rows: which of them depends on rows and parameters."""
    X = np.random.default_rng(0).random((rows, 1500), np.float32)
    for hidden in (10, 100, 1500):
        alone = Network((1500, hidden, 3), seed=0, plan="native:1x1")
        shared = Network((1500, hidden, 3), seed=0, plan=plan, n_jobs=8)
        assert shared.forward(X).tobytes() == alone.forward(X).tobytes()
