"""The kernels of plan `cuda`, each alone, at ragged sizes, on the emulated GPU: against NumPy in float64."""

from pathlib import Path

import numpy as np
import pytest
from cuda_host import build
from cuda_host.bench import needs_compiler
from cuda_host.desk import ROUNDOFF, Desk, close, cut, exact, product, stored

from schuss import _reference
from schuss.activations import ACTIVATIONS
from schuss.cuda import arguments as args
from schuss.cuda.layout import stride

pytestmark = needs_compiler

PRECISIONS = tuple(args.NUMBERS)
SIZES = ("small", "medium", "large")
LOG_LOSS = 1  # formulas/names.hpp
F, F_PRIME = _reference.F, _reference.F_PRIME


@pytest.fixture(params=PRECISIONS)
def precision(request):
    return request.param


@pytest.fixture
def desk(precision):
    return Desk(precision)


def padding_is_zero(matrix, rows, columns):
    """Beyond the last column 0, where nothing was to be computed still NaN."""
    assert (matrix[:rows, columns:] == 0).all()
    assert np.isnan(matrix[rows:]).all()


# --- Products ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("ragged", [True, False])
def test_forward(desk, precision, rng, size, ragged):
    kernel = desk.module.kernel(f"forward_{size}")
    shape = (
        {"examples": kernel.rows + 5, "columns": kernel.columns + 3, "depth": 203}
        if ragged
        else {"examples": 1, "columns": 1, "depth": 1}
    )
    parts = cut(precision) if ragged else 1
    z, bound, results, _, _ = product(
        desk, f"forward_{size}", **shape, parts=parts, rng=rng, slope=True, activation=ACTIVATIONS["gelu"]
    )
    rows, columns = z.shape
    a, slope = results["out"][:rows, :columns], results["slope"][:rows, :columns]
    bound = 2 * bound + 1e-5 * (precision != "float64")
    close(a, F["gelu"](z), bound + stored(a, precision))
    close(slope, F_PRIME["gelu"](z), bound + 8 * ROUNDOFF[precision])
    padding_is_zero(results["out"], rows, columns)
    padding_is_zero(results["slope"], rows, columns)


@pytest.mark.parametrize("size", SIZES)
def test_forward_of_a_wide_output_layer(desk, rng, size):
    z, bound, results, _, _ = product(
        desk, f"forward_{size}", examples=9, columns=33, depth=65, rng=rng, plain=1
    )
    close(results["out"][:9, :33], z, bound)
    assert np.isnan(results["out"][9:]).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("keeps_slope", [True, False])
def test_delta(desk, precision, rng, size, keeps_slope):
    kernel = desk.module.kernel(f"delta_{size}")
    sums, bound, results, activated, slope = product(
        desk, f"delta_{size}", examples=kernel.rows + 3, columns=kernel.columns + 7, depth=133, parts=cut(precision),
        rng=rng, slope=keeps_slope, activation=ACTIVATIONS["tanh"],
    )  # fmt: skip
    wanted = sums * (slope if keeps_slope else 1 - activated**2)
    rows, columns = sums.shape
    close(results["out"][:rows, :columns], wanted, 2 * bound + stored(wanted, precision))
    padding_is_zero(results["out"], rows, columns)


def test_dropout_leaves_units_out_and_scales_the_others(desk, rng):
    z, bound, results, _, _ = product(
        desk, "forward_small", examples=40, columns=50, depth=20, rng=rng, slope=True,
        activation=ACTIVATIONS["identity"], seed=7, threshold=2**30, keep_scale=4 / 3,
    )  # fmt: skip
    a, slope = results["out"][:40, :50], results["slope"][:40, :50]
    kept = slope != 0
    assert 0.65 < kept.mean() < 0.85
    np.testing.assert_array_equal(a[~kept], 0)
    close(slope[kept], 4 / 3, 1e-6)
    close(a[kept], 4 / 3 * z[kept], 2 * bound[kept] + stored(2 * z, desk.precision)[kept])


# --- Outputs ----------------------------------------------------------------------------------------


def head_case(desk, rng, examples, inputs, outputs, *, kernel="head", learn=True, weights=None):
    """Runs `head`, or `head_tall`, with the log loss of softmax; what it wrote, and what it ought to have."""
    capacity, precision = examples + 3, desk.precision
    A = exact(rng.uniform(-0.9, 0.9, (examples, inputs)), precision)
    W, b = (
        exact(rng.uniform(-0.5, 0.5, (inputs, outputs)), precision),
        exact(rng.standard_normal(outputs), precision),
    )
    Y = np.eye(outputs)[rng.integers(0, outputs, examples)]
    weights = np.ones(examples) if weights is None else weights
    rows = {
        "losses": desk.room(2 * capacity, 1, np.float64), "delta": desk.room(capacity, stride(outputs)),
        "below": desk.room(capacity, stride(inputs)), "out": desk.room(capacity, stride(outputs), wide=True),
    }  # fmt: skip
    both = np.full(2 * capacity, np.nan)
    both[capacity : capacity + examples] = weights
    written = ("losses", "delta", "below") if learn else ("losses", "out")
    arguments = args.HeadArguments(
        at=desk.moment(count=examples, total=weights.sum()), a=desk.rows(A, capacity), w=desk.rows(W, wide=True),
        bias=desk.rows(b, wide=True), y=desk.halves(Y, capacity, wide=True), example_weights=desk.put(both),
        levels=desk.rows(np.zeros(outputs), wide=True), cap=np.inf, loss=LOG_LOSS, output=ACTIVATIONS["softmax"],
        activation=ACTIVATIONS["tanh"], inputs=inputs, outputs=outputs, a_stride=stride(inputs),
        y_stride=stride(outputs), below_stride=stride(inputs), capacity=capacity,
        **{name: rows[name] for name in written},
    )  # fmt: skip
    desk.launch(kernel, arguments, grid=(-(-capacity // desk.module.kernel(kernel).rows), 1))
    probabilities = np.array([F["softmax"](z) for z in A @ W + b])
    D = (probabilities - Y) * (weights / weights.sum())[:, None]
    wanted = {
        "losses": -np.log((probabilities * Y).sum(1)), "out": probabilities, "delta": D,
        "below": (D @ W.T) * (1 - A**2),
    }  # fmt: skip
    got = {"losses": desk.get(rows["losses"], (2, capacity), np.float64)[1, :examples]}
    for name in written[1:]:
        width = inputs if name == "below" else outputs
        matrix = desk.get(rows[name], (capacity, stride(width)), wide=name == "out")
        got[name] = matrix[:examples, :width]
        assert np.isnan(matrix[examples:]).all()
    return got, wanted


@pytest.mark.parametrize("kernel", ["head", "head_tall"])
@pytest.mark.parametrize(
    ("examples", "inputs", "outputs"), [(1, 1, 2), (7, 37, 10), (4, 300, 16), (35, 129, 3)]
)
def test_head(desk, precision, rng, kernel, examples, inputs, outputs):
    weights = rng.uniform(0.5, 2, examples)
    got, wanted = head_case(desk, rng, examples, inputs, outputs, kernel=kernel, weights=weights)
    for name, values in got.items():
        bound = (inputs + 40) * ROUNDOFF[precision] * np.sqrt(inputs)
        close(values, wanted[name], 4 * bound + stored(wanted[name], precision))


def test_head_without_learning(desk, precision, rng):
    got, wanted = head_case(desk, rng, 5, 40, 3, learn=False)
    close(got["out"], wanted["out"], 100 * ROUNDOFF[precision])
    close(got["losses"], wanted["losses"], 200 * ROUNDOFF[precision])


@pytest.mark.parametrize(("examples", "outputs"), [(1, 17), (33, 45)])
def test_outputs_of_a_wide_layer(desk, precision, rng, examples, outputs):
    capacity = examples + 3
    Z = exact(rng.standard_normal((examples, outputs)), precision)
    Y = np.eye(outputs)[rng.integers(0, outputs, examples)]
    losses, delta = desk.room(2 * capacity, 1, np.float64), desk.room(capacity, stride(outputs))
    z, weights = desk.rows(Z, capacity, wide=True), desk.put(np.ones(2 * capacity))
    arguments = args.OutputArguments(
        at=desk.moment(count=examples, total=float(examples)), z=z, y=desk.halves(Y, capacity, wide=True),
        example_weights=weights, delta=delta, losses=losses, levels=desk.rows(np.zeros(outputs), wide=True),
        cap=np.inf, loss=LOG_LOSS, output=ACTIVATIONS["softmax"], outputs=outputs, y_stride=stride(outputs),
        capacity=capacity,
    )  # fmt: skip
    desk.launch("output", arguments, grid=(-(-capacity // desk.module.kernel("output").rows), 1))
    P = np.array([F["softmax"](row) for row in Z])
    bound = 4 * (outputs + 20) * ROUNDOFF[precision]
    close(desk.get(losses, (2, capacity), np.float64)[1, :examples], -np.log((P * Y).sum(1)), bound * 4)
    wanted = (P - Y) / examples
    got = desk.get(delta, (capacity, stride(outputs)))
    close(got[:examples, :outputs], wanted, bound + stored(wanted, precision))
    assert np.isnan(got[examples:]).all()


def test_every_kernel_of_the_program_is_tried():
    here = "".join(path.read_text() for path in Path(__file__).parent.glob("test_cuda_kernels*.py"))
    program = "".join((build.KERNELS / file).read_text() for file in ("step.cu", "common.cuh"))
    for line in program.splitlines():
        if line.startswith("SCHUSS_"):
            name = line.split("(")[1].split(",")[0]
            assert name in here or name.rsplit("_", 1)[0] + "_{size}" in here, name
