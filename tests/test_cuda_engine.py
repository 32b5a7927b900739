"""The CUDA engine, on a GPU or on one emulated on the host: the CPU engine's bits, and what only a GPU has."""

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse
from conftest import (
    DTYPES,
    FORMULAS,
    GPU_PLANS,
    HIDDEN,
    OUTPUTS,
    TOLERANCE,
    distance,
    engine_for,
    make_problem,
    trained,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schuss.cuda import data, step, tiling
from schuss.cuda.control import Control
from schuss.cuda.layout import Layout, to_bfloat16
from schuss.cuda.settings import Settings
from schuss.losses import Loss
from schuss.network import start
from schuss.optimizers import Optimizer
from schuss.plan import Plan

SOLVERS = {
    "sgd": Optimizer(alpha=0.01),
    "momentum": Optimizer(momentum=0.9, weight_decay=0.01),
    "nesterov": Optimizer(momentum=0.9, nesterov=True, clip_norm=0.3),
    "adam": Optimizer("adam", alpha=0.01),
    "adamw": Optimizer("adamw", clip_norm=0.01),
}


def same_bits(problem, plan="cuda", **options):
    """Training on the GPU ends with the bits of training on the CPU, parameters and losses."""
    got, got_losses = trained(problem, plan, **options)
    wanted, losses = trained(problem, "native:1x1", **options)
    np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(got_losses, losses)


@pytest.fixture
def tiles_of(monkeypatch):
    """Have the products take tiles of one size, whatever their own."""

    def choose(size):
        monkeypatch.setattr(tiling, "_SIZES", (f"_{size}",))

    return choose


# --- The CPU's bits --------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_solver(gpu, solver, dtype):
    same_bits(make_problem((19, 37, 23, 5), 29, dtype=dtype), optimizer=SOLVERS[solver], batch=13)


@pytest.mark.parametrize(("activation", "loss", "output"), FORMULAS)
def test_every_formula(gpu, activation, loss, output):
    problem = make_problem((13, 17, 18), 11, activation, output, loss)
    same_bits(problem, optimizer=Optimizer("adam"), epochs=1, batch=7)


@pytest.mark.parametrize("activation", HIDDEN)
def test_dropout_leaves_out_the_same_units(gpu, activation):
    same_bits(
        make_problem((7, 33, 20, 3), 15, activation), dropout=(0.5, 0.2), seed=11, epochs=2, batch=8
    )  # fmt: skip


@pytest.mark.parametrize("size", ["large", "medium", "small"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_tile(gpu, tiles_of, size, dtype):
    tiles_of(size)
    emulated = getattr(gpu, "ran", None)  # what it ran, which a real one does not say
    before = len(emulated or [])
    same_bits(make_problem((37, 131, 70, 20), 70, "elu", dtype=dtype), epochs=1, batch=67)
    names = {name for name, _ in (emulated or [])[before:]}
    assert emulated is None or {f"forward_{size}", f"delta_{size}", f"weights_{size}"} <= names


@pytest.mark.parametrize("outputs", [1, 2, 15, 16, 17, 33])
def test_few_and_many_outputs(gpu, outputs):
    output = "logistic" if outputs == 1 else "softmax"
    same_bits(make_problem((9, 11, outputs), 13, "tanh", output), epochs=2, batch=5)
    same_bits(make_problem((9, outputs), 13, "tanh", output), epochs=2, batch=5)


def test_tall_minibatches(gpu):
    """From 1,024 examples a block of the head takes 16 rows."""
    problem = make_problem((3, 9, 5), 1100, "gelu")
    emulated, before = getattr(gpu, "ran", None), len(getattr(gpu, "ran", []))
    same_bits(problem, batch=1030, epochs=1)
    assert emulated is None or "head_tall" in {name for name, _ in emulated[before:]}


@pytest.mark.parametrize("inputs", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("targets", ["labels", "dense"])
def test_inputs_and_targets_of_every_kind(gpu, inputs, targets):
    problem = make_problem((23, 11, 5), 13, "logistic", inputs=inputs, targets=targets, smoothing=0.1)
    same_bits(problem, batch=6)


def test_weights_and_minibatches_without_any(gpu):
    problem = make_problem((7, 9, 3), 12)
    weights = np.repeat([0.0, 2.0, 0.5], 4)
    same_bits(problem, weights=weights, optimizer=Optimizer("adam", alpha=0.1), batch=2)


def test_sparse_rows(gpu):
    problem = make_problem((40, 9, 3), 20)
    X = scipy.sparse.random(20, 40, 0.1, "csr", np.float32, np.random.default_rng(0))
    same_bits(problem, X=X, batch=6)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(1, 90), min_size=2, max_size=4).map(tuple),
    rows=st.integers(1, 40),
    batch=st.integers(1, 40),
    solver=st.sampled_from(sorted(SOLVERS)),
    loss_and_output=st.sampled_from(OUTPUTS),
)
def test_drawn_networks(gpu, sizes, rows, batch, solver, loss_and_output):
    loss, output = loss_and_output
    if output == "softmax" and sizes[-1] == 1:
        output = "logistic"
    problem = make_problem(sizes, rows, "tanh", output, loss)
    same_bits(problem, optimizer=SOLVERS[solver], batch=min(batch, rows), epochs=1)


# --- Matrix units ----------------------------------------------------------------------------------

#: Of one product's rounded operands: half a unit in their last place each, 2^-11 and 2^-9; a few products deep.
ROUNDING = {"tf32": 4 * 2.0**-11, "bfloat16": 4 * 2.0**-9}


def reduced(problem, precision, weights=None, **training):
    """Gradient, losses and outputs of the problem in this precision."""
    network = problem.network("cuda", precision=precision)
    engine = network.new_engine(Plan("cuda", 1, 1, precision=precision), **training)
    engine.load(network.parameters)
    X, y = network.pair(problem.X, problem.y)
    flat = np.empty(network.n_parameters, network.dtype)
    losses = engine.gradient(X, y, flat, sample_weight=weights)
    return flat, losses, engine.forward(X)[0]


@pytest.mark.parametrize("precision", ROUNDING)
@pytest.mark.parametrize("size", ["large", "medium", "small"])
@pytest.mark.parametrize("sizes", [(37, 131, 70, 5), (16, 48, 32, 20), (5, 3, 1)])
def test_reduced_precision_is_near_the_oracle(gpu, tiles_of, precision, size, sizes):
    tiles_of(size)
    output = "logistic" if sizes[-1] == 1 else "softmax"
    problem = make_problem(sizes, 70, "tanh", output)
    gradient, losses, outputs = reduced(problem, precision)
    assert distance(gradient, problem.gradient, problem.magnitude) <= ROUNDING[precision]
    assert np.mean(losses) == pytest.approx(problem.loss, rel=ROUNDING[precision])
    assert distance(outputs, problem.outputs) <= ROUNDING[precision]
    # rounded indeed: float32 would be some thousand times nearer
    assert distance(gradient, problem.gradient) > 10 * TOLERANCE["gradient", "float32"]


@pytest.mark.parametrize("precision", ROUNDING)
@pytest.mark.parametrize("size", ["large", "medium", "small"])
def test_sums_in_parts(gpu, tiles_of, monkeypatch, precision, size):
    """Sums cut among blocks: right, and the same whichever block arrives last."""
    tiles_of(size)

    def in_parts(kernel, blocks, terms, cut):
        return max(1, min(8, terms // 16)) if cut else 1

    monkeypatch.setattr(step, "parts", in_parts)
    problem = make_problem((100, 70, 40, 5), 90, "tanh")
    results = [reduced(problem, precision)[0] for _ in range(3)]  # blocks run in another order each time
    assert distance(results[0], problem.gradient, problem.magnitude) <= ROUNDING[precision]
    assert len({result.tobytes() for result in results}) == 1


@pytest.mark.parametrize("precision", ROUNDING)
def test_reduced_outputs_do_not_depend_on_earlier_passes(gpu, monkeypatch, precision):
    """Five rows are cut into other parts than two hundred, also where memory for the many is still there."""
    monkeypatch.setattr(tiling, "FILL", 4)
    problem = make_problem((200, 40, 3), 200)
    network = problem.network("cuda", precision=precision)
    X, y = network.pair(problem.X, problem.y)
    results = []
    for rows_before in (5, 200):
        engine = network.new_engine(Plan("cuda", 1, 1, precision=precision))
        engine.load(network.parameters)
        flat = np.empty(network.n_parameters, np.float32)
        engine.gradient(X[:rows_before], y[:rows_before], flat)
        engine.gradient(X[:5], y[:5], flat)
        results.append(engine.forward(X[:5])[0].tobytes() + flat.tobytes())
    assert results[0] == results[1]


@pytest.mark.parametrize("precision", ROUNDING)
def test_reduced_training_learns(gpu, precision):
    problem = make_problem((20, 30, 3), 60)
    network = problem.network("cuda", precision=precision)
    engine = network.new_engine(Plan("cuda", 1, 1, precision=precision), Optimizer("adam"))
    engine.load(network.parameters)
    X, y = network.pair(problem.X, problem.y)
    losses = [engine.run(X, y, np.arange(60), 20, np.full(3, 0.02))[0].mean() for _ in range(8)]
    assert losses[-1] < 0.8 * losses[0]
    # the copy that products read follows the weights
    flat = np.empty(network.n_parameters, np.float32)
    engine.store(flat)
    again = network.new_engine(Plan("cuda", 1, 1, precision=precision))
    again.load(flat)
    np.testing.assert_array_equal(engine.forward(X)[0], again.forward(X)[0])


# --- Data ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("y_kind", ["labels", "dense"])
def test_data_larger_than_the_memory_is_streamed(gpu, monkeypatch, y_kind):
    problem = make_problem((23, 11, 5), 61, targets=y_kind)
    monkeypatch.setattr(data.Feed, "_whole", lambda *arrays: None)
    monkeypatch.setattr(data, "_CHUNK", 2 * 6 * 33 * 4)  # about two minibatches
    same_bits(problem, weights=np.linspace(0, 3, 61), optimizer=Optimizer("adam"), batch=6)


def test_chunks_fit_into_what_is_free(gpu, monkeypatch):
    problem = make_problem((23, 11, 5), 61)
    _, engine, X, y = engine_for(problem, "cuda")
    engine.step(X, y, 0.1)  # what a training takes beside its data
    free = 3000
    monkeypatch.setattr(gpu, "free_memory", lambda: free)
    engine.run(X, y, np.arange(61), 6, np.full(11, 0.1))
    assert 2 * engine._feed._slots[0].buffer.nbytes <= free + 2 * data._EDGES


def test_streamed_passes_are_those_of_data_at_hand(gpu, monkeypatch):
    problem = make_problem((23, 11, 5), 61)
    network, engine, X, y = engine_for(problem, "cuda")
    whole, losses = engine.forward(X, y)
    monkeypatch.setattr(data.Feed, "_whole", lambda *arrays: None)
    monkeypatch.setattr(data, "_CHUNK", 1)
    monkeypatch.setattr("schuss.cuda.engine._PASS_ROWS", 7)
    parts, part_losses = network.new_engine(engine.plan), None
    parts.load(network.parameters)
    out, part_losses = parts.forward(X, y)
    np.testing.assert_array_equal(out, whole)
    np.testing.assert_array_equal(part_losses, losses)


@pytest.mark.parametrize("plan", GPU_PLANS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_long_gradient_is_summed_in_blocks(monkeypatch, plan, dtype):
    problem = make_problem((23, 40, 5), 61, "gelu", dtype=dtype)
    network, engine, X, y = engine_for(problem, plan, dropout=(0.3,), seed=2)
    whole, parts = (np.empty(network.n_parameters, dtype) for _ in range(2))
    engine.gradient(X, y, whole)
    monkeypatch.setattr("schuss.cuda.engine._GRADIENT_ROWS", 16)
    losses = engine.gradient(X, y, parts)
    assert losses.shape == (61,)
    np.testing.assert_array_equal(parts, whole)  # each chain goes on where the block before stopped


def uploads(gpu, monkeypatch):
    """Bytes of each write to the device from now on."""
    sizes = []
    write = gpu.write
    monkeypatch.setattr(
        gpu, "write", lambda address, array: (sizes.append(array.nbytes), write(address, array))[1]
    )
    return sizes


def test_held_data_is_copied_once(gpu, monkeypatch):
    problem = make_problem((50, 5, 3), 400)
    _, engine, X, y = engine_for(problem, "cuda")
    rates, order = np.full(10, 0.1), np.arange(400)
    sizes = uploads(gpu, monkeypatch)
    with engine.hold(X, y):
        for _ in range(3):
            engine.run(X, y, order, 40, rates)
    assert sum(size == X.nbytes for size in sizes) == 1
    engine.run(X, y, order, 40, rates)  # not promised any more
    assert sum(size == X.nbytes for size in sizes) == 2


def test_data_that_is_not_held_may_change(gpu):
    problem = make_problem((7, 5, 3), 12)
    results = []
    for plan in ("cuda", "native:1x1"):
        network, engine, X, y = engine_for(problem, plan)
        X = X.copy()
        for _ in range(2):
            engine.run(X, y, np.arange(12), 4, np.full(3, 0.1))
            X *= 0.5
        flat = np.empty(network.n_parameters, np.float32)
        engine.store(flat)
        results.append(flat)
    np.testing.assert_array_equal(*results)


# --- Epochs ----------------------------------------------------------------------------------------


def test_more_steps_than_a_graph_has(gpu):
    same_bits(make_problem((5, 4, 3), 71), batch=2, epochs=2)


@pytest.mark.parametrize("solver", ["sgd", "nesterov", "adam"])
def test_a_step_whose_loss_is_not_finite_is_not_taken(gpu, solver):
    problem = make_problem((7, 5, 3), 20)
    ends = []
    for plan in ("cuda", "native:1x1"):
        network, engine, X, y = engine_for(problem, plan, SOLVERS[solver])
        X = X.copy()
        X[13] = np.nan
        losses, finite = engine.run(X, y, np.arange(20), 4, np.full(5, 0.1))
        flat = np.empty(network.n_parameters, np.float32)
        engine.store(flat)
        ends.append((flat, losses[:-1], engine.steps_taken))
        assert not finite
        assert len(losses) == 4
        assert not np.isfinite(losses[-1])
    np.testing.assert_array_equal(ends[0][0], ends[1][0])
    np.testing.assert_array_equal(ends[0][1], ends[1][1])
    assert ends[0][2] == ends[1][2] == 3


def test_a_row_without_weight_may_hold_anything(gpu):
    problem = make_problem((7, 5, 3), 12)
    _, engine, X, y = engine_for(problem, "cuda")
    X = X.copy()
    X[5] = np.inf
    weights = np.ones(12)
    weights[5] = 0
    losses, finite = engine.run(X, y, np.arange(12), 4, np.full(3, 0.1), weights)
    assert finite
    assert np.isfinite(losses).all()


def test_interrupted_training_is_that_of_the_steps_taken(gpu, monkeypatch):
    problem = make_problem((5, 4, 3), 70)
    network, engine, X, y = engine_for(problem, "cuda")
    mark, calls = gpu.mark, []

    def interrupted():
        calls.append(1)
        made = mark()
        if len(calls) != 14:
            return made

        def wait():
            raise KeyboardInterrupt

        return SimpleNamespace(wait=wait, done=made.done)

    monkeypatch.setattr("schuss.cuda.engine._STEPS", 3)
    monkeypatch.setattr(gpu, "mark", interrupted)
    with contextlib.suppress(KeyboardInterrupt):
        engine.run(X, y, np.arange(70), 1, np.full(70, 0.1))
        pytest.fail("not interrupted")
    taken = engine.steps_taken
    flat, wanted = (np.empty(network.n_parameters, np.float32) for _ in range(2))
    engine.store(flat)
    assert 0 < taken < 70
    _, reference, *_ = engine_for(problem)
    reference.run(X, y, np.arange(taken), 1, np.full(taken, 0.1))
    reference.store(wanted)
    np.testing.assert_array_equal(flat, wanted)


def test_interrupted_in_the_last_wait(gpu, monkeypatch):
    """All is queued, and all of it counts."""
    problem = make_problem((5, 4, 3), 20)
    network, engine, X, y = engine_for(problem, "cuda", Optimizer("adam"))
    engine.step(X, y, 0.1)
    end, calls = Control.end, []

    def interrupted(self, steps):
        calls.append(steps)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return end(self, steps)

    monkeypatch.setattr(Control, "end", interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine.run(X, y, np.arange(20), 4, np.full(5, 0.1))
    assert engine.steps_taken == 6
    assert engine._feed._present is None
    _, reference, *_ = engine_for(problem, optimizer=Optimizer("adam"))
    reference.step(X, y, 0.1)
    for one in (engine, reference):  # the next run too: Adam counts on
        one.run(X, y, np.arange(20), 4, np.full(5, 0.1))
    reference_flat = np.empty(network.n_parameters, np.float32)
    reference.run(X, y, np.arange(20), 4, np.full(5, 0.1))
    reference.store(reference_flat)
    np.testing.assert_array_equal(engine.fetch(), reference_flat)


def test_finite_losses_with_an_infinite_sum(gpu):
    """In float64 the update waits for the sum, whichever of the two could run first."""
    problem = make_problem((7, 5, 3), 20, "tanh", "identity", "squared_error", "float64")
    for _ in range(6):
        network, engine, X, y = engine_for(problem, "cuda")
        losses, finite = engine.run(X, np.full_like(y, 7e153), np.arange(20), 10, np.full(2, 1e-160))
        assert not finite
        assert losses.tolist() == [np.inf]
        assert engine.steps_taken == 0
        np.testing.assert_array_equal(engine.fetch(), network.parameters)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_infinite_penalty_stops_the_step_that_has_it(gpu, dtype):
    """As on the CPU: the step that makes a weight too large is taken, the next one is not."""
    problem = make_problem((7, 5, 3), 20, dtype=dtype)
    ends = []
    for plan in ("cuda", "native:1x1"):
        _, engine, X, y = engine_for(problem, plan, Optimizer(alpha=0.1))
        rates = np.full(5, 0.1)
        rates[2] = 1e30 if dtype == "float32" else 1e200
        losses, finite = engine.run(X, y, np.arange(20), 4, rates)
        again, _ = engine.run(X, y, np.arange(20), 4, np.full(5, 0.1))
        ends.append((engine.fetch(), losses, engine.steps_taken, len(again)))
        assert not finite
    np.testing.assert_array_equal(ends[0][0], ends[1][0])
    np.testing.assert_array_equal(ends[0][1], ends[1][1])
    assert ends[0][2:] == ends[1][2:] == (3, 1)


def test_state_goes_on_elsewhere(gpu):
    """Adam's state and count, handed from a GPU to a CPU and back."""
    problem = make_problem((7, 5, 3), 24)
    _, reference, X, y = engine_for(problem, optimizer=Optimizer("adam"))
    network, engine, *_ = engine_for(problem, "cuda", Optimizer("adam"))
    order, rates = np.arange(24), np.full(6, 0.1)
    for plan in ("native:1x1", "cuda", "native:1x1"):
        engine.run(X, y, order, 4, rates)
        reference.run(X, y, order, 4, rates)
        other = network.new_engine(Plan.parse(plan, 1), Optimizer("adam"))
        for slot in range(engine.slots):
            flat = np.empty(network.n_parameters, np.float32)
            engine.store_slot(slot, flat)
            other.load_slot(slot, flat)
        other.steps_taken = engine.steps_taken
        engine = other
    wanted = np.empty_like(flat)
    engine.store(flat)
    reference.store(wanted)
    np.testing.assert_array_equal(flat, wanted)


def test_apply_is_the_step_from_the_gradient(gpu):
    problem = make_problem((7, 5, 3), 12)
    for optimizer in (Optimizer(alpha=0.1), Optimizer("adam")):
        network, engine, X, y = engine_for(problem, "cuda", optimizer)
        _, stepped, *_ = engine_for(problem, "cuda", optimizer)
        flat, ends = np.empty(network.n_parameters, np.float32), []
        engine.gradient(X, y, flat)
        engine.apply(flat, 0.1, 12)
        stepped.step(X, y, 0.1)
        for one in (engine, stepped):
            one.store(flat)
            ends.append(flat.copy())
        np.testing.assert_array_equal(*ends)


# --- Parameters ------------------------------------------------------------------------------------


def test_remembered_parameters(gpu):
    problem = make_problem((7, 5, 3), 12)
    for precision in ("float32", "bfloat16"):
        network = problem.network("cuda", precision=precision)
        engine = network.new_engine(Plan("cuda", 1, 1, precision=precision))
        engine.load(network.parameters)
        X, y = network.pair(problem.X, problem.y)
        before = engine.forward(X)[0]
        engine.remember()
        engine.remember("best")
        engine.step(X, y, 0.5)
        assert (engine.fetch() != network.parameters).any()
        np.testing.assert_array_equal(engine.fetch("best"), network.parameters)
        engine.recall()
        np.testing.assert_array_equal(engine.fetch(), network.parameters)
        np.testing.assert_array_equal(engine.forward(X)[0], before)


@pytest.mark.parametrize("where", [0, 34, 35, 39, 40, 57])
@pytest.mark.parametrize("what", [np.nan, np.inf, -np.inf])
def test_parameters_that_are_not_finite_are_found(gpu, where, what):
    problem = make_problem((7, 5, 3), 12)
    network, engine, *_ = engine_for(problem, "cuda")
    assert engine.parameters_finite()
    flat = network.parameters.copy()
    flat[where] = what
    engine.load(flat)
    assert not engine.parameters_finite()


def test_layout_is_undone():
    sizes = (7, 33, 16, 1)
    flat = start(sizes, ("relu",) * 3, "auto", 0)
    layout = Layout(sizes)
    padded, back = layout.pad(flat), np.empty_like(flat)
    assert padded.size == layout.size == 8 * 48 + 34 * 16 + 17 * 16
    assert np.count_nonzero(padded) == np.count_nonzero(flat)
    layout.unpad(padded, back)
    np.testing.assert_array_equal(back, flat)


def test_bfloat16_is_the_nearest():
    bits = np.arange(0, 2**32, 9973, np.uint64).astype(np.uint32)
    x = bits.view(np.float32)
    x = x[np.isfinite(x) & (np.abs(x) < 3e38)]
    back = (to_bfloat16(x).astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    above = ((to_bfloat16(x).astype(np.uint32) + 1) << 16).view(np.float32).astype(np.float64)
    assert (np.abs(back - x) <= np.abs(above - back) / 2 * (1 + 1e-12)).all()
    assert to_bfloat16(np.array([1 + 2**-8, 1 + 3 * 2**-8], np.float32)).tolist() == [0x3F80, 0x3F82]  # ties
    assert np.isnan(
        (to_bfloat16(np.array([np.nan], np.float32)).astype(np.uint32) << 16).view(np.float32)
    ).all()


# --- What a step is made of ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "waiting"), [((784, 1024, 1024, 10), 5), ((784, 1024, 10), 3), ((20, 3), 2), ((20, 30, 100), 5)]
)
def test_nodes_that_wait_for_each_other(gpu, sizes, waiting):
    network = SimpleNamespace(layer_sizes=sizes, activations=("relu",) * (len(sizes) - 2) + ("softmax",))
    made = step.StepNodes(
        Settings(network.layer_sizes, network.activations, Loss("log_loss"), Optimizer(), "float32"),
        gpu.module("step.cu", step.args.defines("float32")),
        [0],
        None,
    )
    memory = step.Memory(128)
    at = step.args.Moment()
    chain = [
        *made.forward(memory, at, learn=True),
        *made.outputs(memory, at, known=True, learn=True),
        *made.deltas(memory, at),
        made.weights(memory, at),
    ]
    assert len(chain) == waiting


def test_memory_is_as_foretold(gpu):
    problem = make_problem((70, 60, 50, 3), 40)
    _, engine, X, y = engine_for(problem, "cuda", Optimizer("adam"))
    free, foretold = gpu.free_memory(), engine.memory(40)
    beside = (3 * engine._layout.size) * 4  # taken already
    with engine.hold(X, y):
        engine.run(X, y, np.arange(40), 40, np.full(1, 0.1))
        used = free - gpu.free_memory()
    assert used == pytest.approx(foretold - beside + X.nbytes + y.nbytes, rel=0.1, abs=1 << 14)
