"""The kernels of plan `cuda` beside products and outputs: gathering, losses, weights, updates; as test_cuda_kernels."""

from itertools import pairwise

import numpy as np
import pytest
from cuda_host.bench import needs_compiler
from cuda_host.desk import ROUNDOFF, Desk, Layers, close, cut, exact, stored

from schuss.cuda import arguments as args
from schuss.cuda.layout import stride

pytestmark = needs_compiler

PRECISIONS = tuple(args.NUMBERS)
SIZES = ("small", "medium", "large")


@pytest.fixture(params=PRECISIONS)
def precision(request):
    return request.param


@pytest.fixture
def desk(precision):
    return Desk(precision)


# --- Weights ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("keep", [None, "write", "add"])
def test_weights(desk, precision, rng, size, keep):
    kernel, parts = desk.module.kernel(f"weights_{size}"), cut(precision)
    layers = Layers(desk, kernel, rng, 71, (kernel.rows + 5, 19, kernel.columns + 3), parts)
    at = desk.moment(count=71, total=71.0, rate=0.5, penalty=0.125, keep=0.75)
    if keep == "add":
        for W, entry in zip(layers.W, layers.table, strict=True):
            entry.gradient = desk.rows(W, wide=True)
        layers.address = desk.put(np.frombuffer(bytes(layers.table), np.uint8))
    arguments = layers.arguments(at, keep_gradient=int(keep is not None), go_on=int(keep == "add"))
    desk.launch(f"weights_{size}", arguments, grid=(layers.blocks, 1))
    gradients, bounds = layers.gradients()
    written = layers.read([entry.gradient for entry in layers.table])
    after = layers.read([slots[0] for slots in layers.slots])
    for W, g, bound, got, now, entry in zip(
        layers.W, gradients, bounds, written, after, layers.table, strict=True
    ):
        bound = bound + 8 * ROUNDOFF[precision] * (1 + np.abs(W))
        if keep:
            close(got, g + (W if keep == "add" else 0), bound)
            np.testing.assert_array_equal(now, W)
            continue
        wanted = np.where(
            np.arange(len(W))[:, None] < len(W) - 1, 0.75 * W - 0.5 * (g + 0.125 * W), W - 0.5 * g
        )
        close(now, wanted, bound)
        assert not got.any()
        if entry.copy:
            copied = desk.get(entry.copy, (entry.inputs, entry.stride))[:, : entry.outputs]
            np.testing.assert_array_equal(copied, exact(now[:-1], precision))


@pytest.mark.parametrize(("formula", "slots"), [(1, 2), (2, 2), (3, 3)])
def test_weights_with_state(desk, precision, rng, formula, slots):
    """Momentum, Nesterov, Adam: their first step from zero."""
    layers = Layers(desk, desk.module.kernel("weights_small"), rng, 9, (33, 5, 35), slots=slots)
    at = desk.moment(count=9, total=9.0, rate=0.5)
    arguments = layers.arguments(at, optimizer=formula, momentum=0.9, beta2=0.99, epsilon=1e-3)
    desk.launch("weights_small", arguments, grid=(layers.blocks, 1))
    gradients, bounds = layers.gradients()
    kept = [layers.read([slots[slot] for slots in layers.slots]) for slot in range(slots)]
    for layer, (W, g, bound) in enumerate(zip(layers.W, gradients, bounds, strict=True)):
        now, first = kept[0][layer], kept[1][layer]
        bound = 4 * bound + 16 * ROUNDOFF[precision] * (1 + np.abs(W) + np.abs(g))
        state = (1 - 0.9) * g if formula == 3 else -0.5 * g
        moved = {1: -0.5 * g, 2: -(0.9 * 0.5 + 0.5) * g}.get(formula)
        if formula == 3:
            moved = -0.5 * state / (np.sqrt((1 - 0.99) * g**2) + 1e-3)
            close(kept[2][layer], (1 - 0.99) * g**2, bound * (1 + 2 * np.abs(g)))
            bound = bound + 16 * bound / (0.1 * np.abs(g) + 1e-3)  # relative to g, which may be small
        close(first, state, bound)
        close(now, W + moved, bound)


def test_norm_clipping_and_update_from_a_gradient(desk, precision, rng):
    layers = Layers(desk, desk.module.kernel("weights_small"), rng, 3, (37, 5, 21))
    G = [exact(rng.standard_normal(W.shape), precision) for W in layers.W]
    for entry, g in zip(layers.table, G, strict=True):
        entry.gradient = desk.rows(g, wide=True)
    squares = desk.room(layers.rows, 1, np.float64)
    for entry in layers.table:
        entry.squares = squares + entry.first_row * 8
    layers.address = desk.put(np.frombuffer(bytes(layers.table), np.uint8))
    norm, at = desk.room(1, 1, np.float64), desk.moment(count=3, total=3.0, rate=0.5, keep=1.0)
    arguments = layers.arguments(at, squares=squares, norm=norm)
    blocks = -(-layers.rows // desk.module.kernel("row_squares").rows)
    desk.launch("row_squares", arguments, grid=(blocks, 1))
    rows = np.concatenate([(g**2).sum(1) for g in G])
    close(desk.get(squares, layers.rows, np.float64), rows, 30 * ROUNDOFF[precision] * rows)
    desk.launch("clip_norm", arguments, grid=(1, 1))
    wanted = np.sqrt(rows.sum())
    close(desk.get(norm, 1, np.float64), wanted, 30 * ROUNDOFF[precision] * wanted)
    desk.launch("apply", arguments, grid=(blocks, 1))
    for W, g, now in zip(layers.W, G, layers.read([slots[0] for slots in layers.slots]), strict=True):
        close(now, W - 0.5 * g / wanted, 30 * ROUNDOFF[precision] * (1 + np.abs(W)))


def test_the_norm_of_a_gradient_whose_squares_overflow(desk, precision):
    layers = Layers(desk, desk.module.kernel("weights_small"), np.random.default_rng(0), 3, (17, 5, 3))
    large = 1e200 if precision == "float64" else 2.0**100
    for entry, W in zip(layers.table, layers.W, strict=True):
        entry.gradient = desk.rows(np.full(W.shape, large), wide=True)
    layers.address = desk.put(np.frombuffer(bytes(layers.table), np.uint8))
    norm = desk.room(1, 1, np.float64)
    infinite = desk.put(np.full(layers.rows, np.inf))
    arguments = layers.arguments(desk.moment(count=3, total=3.0), squares=infinite, norm=norm)
    desk.launch("clip_norm", arguments, grid=(1, 1))
    wanted = large * np.sqrt(sum(W.size for W in layers.W))
    close(desk.get(norm, 1, np.float64), wanted, 1e-12 * wanted)


def test_parts_of_the_penalty(desk, precision, rng):
    layers = Layers(desk, desk.module.kernel("weights_small"), rng, 3, (70, 9, 261))
    kernel = desk.module.kernel("penalties")
    blocks = sum(-(-n // kernel.rows) * -(-m // kernel.columns) for n, m in pairwise(layers.sizes))
    desk.launch("penalties", layers.arguments(desk.moment(count=3, total=3.0)), grid=(blocks, 1))
    for W, entry in zip(layers.W, layers.table, strict=True):
        tall, wide = -(-entry.inputs // 64), -(-entry.outputs // 8)
        squares = np.zeros((tall * 64, wide * 8))
        squares[: entry.inputs, : entry.outputs] = W[:-1] ** 2
        wanted = squares.reshape(tall, 64, wide, 8).sum((1, 3))
        close(desk.get(entry.penalties, (tall, wide), np.float64), wanted, 70 * ROUNDOFF[precision] * wanted)


# --- Beside the products ----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 128, 300])
def test_losses_add_up_in_their_order(desk, rng, n):
    losses, weights, squares = rng.uniform(0, 3, n), rng.uniform(0, 2, n), rng.uniform(0, 1, 5)
    losses[0], weights[0] = (
        (np.inf, 0.0) if n > 1 else (losses[0], weights[0])
    )  # what has no weight does not count
    both = np.full((2, 2, n), np.nan)
    both[0, 1], both[1, 1] = losses, weights
    out = desk.room(2, 1, np.float64)
    arguments = args.LossesArguments(
        at=desk.moment(count=n, total=weights.sum()), losses=desk.put(both[0]), example_weights=desk.put(both[1]),
        squares=desk.put(squares), out=out, scale=0.5, alpha=0.25, n_squares=5, capacity=n,
    )  # fmt: skip
    desk.launch("losses", arguments, grid=(1, 1))
    counted = np.where(weights > 0, weights * np.where(weights > 0, losses, 0), 0)
    wanted = (0.5 * np.cumsum(counted)[-1] + 0.5 * 0.25 * np.cumsum(squares)[-1]) / weights.sum()
    assert desk.get(out, 2, np.float64)[1] == wanted
    assert desk.stopped() == 0


def test_a_loss_that_is_not_finite_stops_the_run(desk):
    ones = desk.put(np.ones((2, 3)))
    arguments = args.LossesArguments(
        at=desk.moment(count=3, total=3.0), losses=desk.put(np.full((2, 3), np.inf)), example_weights=ones,
        out=desk.room(2, 1, np.float64), scale=1.0, capacity=3, decides=1,
    )  # fmt: skip
    desk.launch("losses", arguments, grid=(1, 1))
    assert desk.stopped() == 2  # 1 + the step


@pytest.mark.parametrize("element", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("targets", ["labels", "one label", "matrix"])
@pytest.mark.parametrize("ordered", [True, False])
def test_gather(desk, precision, rng, element, targets, ordered):
    rows, features, count, capacity = 11, 133, 4, 5
    outputs = 1 if targets == "one label" else 3
    X = (
        rng.integers(0, 200, (rows, features))
        if element == "uint8"
        else rng.standard_normal((rows, features))
    )
    X = X.astype(element)
    weights = rng.uniform(0.5, 2, rows)
    order = rng.permutation(rows)
    chosen = order[3 : 3 + count] if ordered else np.arange(3, 3 + count) - 2
    if element != "uint8":
        weights[chosen[1]], X[chosen[1]] = 0, np.nan
    labels, T = rng.integers(0, max(outputs, 2), rows), exact(rng.standard_normal((rows, outputs)), precision)
    source = args.Source(
        x=desk.put(X), order=desk.put(order) if ordered else None, weights=desk.put(weights), x_stride=features,
        base=2, element=args.ELEMENTS[element], scale=0.25, shift=-1.0,
        labels=None if targets == "matrix" else desk.put(labels.astype(np.int32)),
        targets=desk.put(T.astype(desk.wide)) if targets == "matrix" else None,
    )  # fmt: skip
    a, y = desk.room(2 * capacity, stride(features)), desk.room(2 * capacity, stride(outputs), wide=True)
    kept = desk.room(2 * capacity, 1, np.float64)
    arguments = args.GatherArguments(
        at=desk.moment(first=3, count=count), source=desk.put(np.frombuffer(bytes(source), np.uint8)), a=a, y=y,
        example_weights=kept, on=1.0, off=0.0, features=features, a_stride=stride(features), outputs=outputs,
        y_stride=stride(outputs), capacity=capacity,
    )  # fmt: skip
    desk.launch("gather", arguments, grid=(capacity, 1))
    got = desk.get(a, (2, capacity, stride(features)))
    wanted = np.where(weights[chosen, None] > 0, X[chosen].astype(float) * 0.25 - 1, 0)
    close(got[1, :count, :features], wanted, stored(1 + np.abs(wanted), precision))
    assert np.isnan(got[0]).all()
    assert np.isnan(got[1, count:]).all()
    np.testing.assert_array_equal(desk.get(kept, (2, capacity), np.float64)[1, :count], weights[chosen])
    hot = labels[chosen, None] != 0 if outputs == 1 else labels[chosen, None] == np.arange(outputs)
    found = desk.get(y, (2, capacity, stride(outputs)), wide=True)[1, :count, :outputs]
    np.testing.assert_array_equal(found, T[chosen] if targets == "matrix" else hot)


@pytest.mark.parametrize(("stopped", "n_steps"), [(0, 1), (1, 2)])
def test_steps_beyond_the_data_or_after_a_stop_do_nothing(desk, rng, stopped, n_steps):
    layers = Layers(desk, desk.module.kernel("weights_small"), rng, 3, (5, 4, 3))
    at, ones, out = (
        desk.moment(count=3, total=3.0, rate=1.0),
        desk.put(np.ones((2, 3))),
        desk.room(2, 1, np.float64),
    )
    desk.device.write(desk.state, np.array([1, stopped, n_steps]))
    desk.launch("weights_small", layers.arguments(at), grid=(layers.blocks, 1))
    losses = args.LossesArguments(at=at, losses=ones, example_weights=ones, out=out, scale=1.0, capacity=3)
    desk.launch("losses", losses, grid=(1, 1))
    for W, now in zip(layers.W, layers.read([slots[0] for slots in layers.slots]), strict=True):
        np.testing.assert_array_equal(now, W)
    assert np.isnan(desk.get(out, 2, np.float64)).all()


@pytest.mark.parametrize("wrong", [0, 1, 9])
def test_parameters_that_are_not_finite_are_found(desk, rng, wrong):
    layers = Layers(desk, desk.module.kernel("weights_small"), rng, 3, (37, 5, 21))
    W = layers.W[1].copy()
    W.flat[rng.permutation(W.size)[:wrong]] = np.inf
    layers.table[1].w[0] = desk.rows(W, wide=True)
    layers.address = desk.put(np.frombuffer(bytes(layers.table), np.uint8))
    found = desk.put(np.zeros(1))
    blocks = -(-layers.rows // desk.module.kernel("find_infinite").rows)
    desk.launch("find_infinite", layers.arguments(desk.moment(), norm=found), grid=(blocks, 1))
    assert desk.get(found, 1, np.float64) == (wrong > 0)


def test_the_count_of_steps_moves_on(desk):
    desk.moment()
    desk.launch("advance", args.AdvanceArguments(desk.state, 5), grid=(1, 1))
    assert desk.get(desk.state, 3, np.int64)[0] == 6
