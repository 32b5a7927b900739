"""The network: its flat vector and views, its start, what it computes, how it is copied, what it refuses."""

import copy
import pickle

import numpy as np
import pytest
from conftest import MANY, TOLERANCE, UNIT, distance, make_problem, softmax_tolerance

from schuss import Network
from schuss.network import start
from schuss.plan import flops_per_example

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
Y = np.array([0, 1, 1, 0])


def small(**options):
    return Network((3, 4, 2), **({"seed": 0} | options))


# --- parameters -----------------------------------------------------------------------------------


def test_layout_of_the_flat_vector():
    """W_1 row by row, b_1, W_2, ...: W_l has shape (n_{l-1}, n_l)."""
    network = small()
    assert network.n_parameters == 3 * 4 + 4 + 4 * 2 + 2
    network.parameters = np.arange(26)
    assert [W.shape for W in network.weights] == [(3, 4), (4, 2)]
    assert [b.shape for b in network.biases] == [(4,), (2,)]
    assert network.weights[0][1].tolist() == [4, 5, 6, 7]
    assert network.biases[0].tolist() == [12, 13, 14, 15]
    assert network.weights[1][:, 0].tolist() == [16, 18, 20, 22]
    assert network.biases[1].tolist() == [24, 25]


def test_views_share_the_vector_and_are_read_only():
    network = small()
    flat = network.parameters
    for part in (flat, *network.weights, *network.biases):
        assert np.shares_memory(part, network.parameters)
        assert part.dtype == network.dtype
        with pytest.raises(ValueError, match="read-only"):
            part[...] = 0


def test_split_of_ones_own_vector_can_be_written():
    network = small()
    flat = np.zeros(network.n_parameters)
    weights, biases = network.split(flat)
    weights[1][0, 1] = 3
    biases[0][2] = 4
    assert np.flatnonzero(flat).tolist() == [14, 17]


def test_assignment_takes_a_copy():
    network = small()
    given = np.ones(26)
    network.parameters = given
    given[:] = 5
    assert (network.parameters == 1).all()
    assert network.parameters.dtype == np.float32
    network.parameters = [2] * 26
    assert (network.parameters == 2).all()


def test_assignment_reaches_the_engine():
    network, other = small(), small(seed=1)
    before = network.forward(X)
    network.step(X, Y)
    network.parameters = other.parameters
    assert np.array_equal(network.forward(X), other.forward(X))
    assert not np.array_equal(network.forward(X), before)


@pytest.mark.parametrize("shape", [(25,), (27,), (26, 1), (1, 26), ()])
def test_assignment_of_another_shape(shape):
    network = small()
    before = network.parameters.copy()
    with pytest.raises(ValueError, match=r"parameters must have shape \(26,\), got \("):
        network.parameters = np.zeros(shape)
    assert np.array_equal(network.parameters, before)


def test_a_vector_handed_out_keeps_what_it_showed():
    network = small()
    first = network.parameters
    shown = first.copy()
    network.parameters = np.full(26, 0.5)
    network.step(X, Y)
    second = network.parameters
    shown_next = second.copy()
    network.step(X, Y)
    assert not np.array_equal(network.parameters, shown_next)
    assert np.array_equal(first, shown)
    assert np.array_equal(second, shown_next)


# --- the start ------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["logistic", "tanh", "identity", "relu"])
def test_glorot_and_he(activation):
    sizes = (200, 300, 100)
    network = Network(sizes, activation=activation, seed=3)
    assert all((b == 0).all() for b in network.biases)
    for i, W in enumerate(network.weights):
        n_in, n_out = sizes[i : i + 2]
        bound = np.sqrt(6 / (n_in + n_out))
        he = activation == "relu" and i == 0
        spread = np.sqrt(2 / n_in) if he else bound / np.sqrt(3)
        count = W.size
        assert (np.abs(W).max() > bound) == he
        assert np.abs(W).max() <= (6 * spread if he else bound * (1 + UNIT["float32"]))
        # standard errors of the mean, and of the deviation (a normal's is the larger), times 5
        assert abs(W.mean()) < 5 * spread / np.sqrt(count)
        assert abs(W.std() - spread) < 5 * spread / np.sqrt(2 * count)


def test_start_named():
    sizes, activations = (50, 40, 30), ("relu", "softmax")
    auto = start(sizes, activations, "auto", 0)
    he = start(sizes, activations, "he_normal", 0)
    glorot = start(sizes, activations, "glorot_uniform", 0)
    first = 50 * 40
    assert np.array_equal(auto[:first], he[:first])
    assert np.abs(glorot[:first]).max() <= np.sqrt(6 / 90)
    assert np.abs(he[first + 40 :]).max() > np.abs(auto[first + 40 :]).max()
    assert np.array_equal(Network(sizes, init="glorot_uniform", seed=0, dtype="float64").parameters, glorot)


def test_seeds():
    assert np.array_equal(small(seed=7).parameters, small(seed=7).parameters)
    assert not np.array_equal(small(seed=7).parameters, small(seed=8).parameters)
    assert not np.array_equal(small(seed=None).parameters, small(seed=None).parameters)
    generator = np.random.default_rng(7)
    assert np.array_equal(small(seed=7).parameters, small(seed=generator).parameters)
    assert not np.array_equal(small(seed=7).parameters, small(seed=generator).parameters)


def test_float32_starts_as_float64_does():
    wide = small(dtype="float64").parameters
    assert wide.dtype == np.float64
    assert np.array_equal(small().parameters, wide.astype(np.float32))


# --- what it computes -----------------------------------------------------------------------------


def test_defaults():
    assert small().output_activation == "softmax"
    assert Network((3, 1)).output_activation == "logistic"
    assert Network((3, 2), loss="squared_error").output_activation == "identity"
    assert Network((3, 2), loss="squared_error", classes=[0, 1]).output_activation == "logistic"
    assert small().activations == ("relu", "softmax")
    assert Network((3, 2)).activations == ("softmax",)
    assert (small().history, small().trained_plan, small().dtype) == ({}, "", np.dtype(np.float32))
    assert repr(small()) == "Network(3-4-2, relu, softmax, log_loss, float32)"


def test_flops():
    """2 n_{l-1} n_l for forward, delta and weight gradient; no delta of the input (3.27 and 9.56 MFLOP)."""
    assert flops_per_example((784, 1024, 10)) == 4 * 784 * 1024 + 6 * 1024 * 10 == 3_272_704
    assert flops_per_example((784, 1024, 1024, 10)) == 9_564_160
    assert small().flops_per_example == 4 * 12 + 6 * 8


@pytest.mark.parametrize("outputs", [2, 3, 10, 129, 1000])
def test_softmax_rows_sum_to_one(kernels, dtype, outputs, rng):
    network = Network((5, outputs), seed=0, dtype=dtype, plan=f"{kernels}:1x1")
    network.parameters = 20 * rng.standard_normal(network.n_parameters)  # nearly saturated too
    a = network.forward(rng.standard_normal((50, 5)).astype(dtype))
    assert a.dtype == dtype
    assert (a >= 0).all()
    assert np.abs(a.sum(1, dtype=np.float64) - 1).max() <= softmax_tolerance(outputs, dtype)


def test_outputs_far_out_stay_finite(kernels, dtype):
    network = Network((1, 3), seed=0, dtype=dtype, plan=f"{kernels}:1x1")
    network.parameters = [500, 0, -500, 0, 0, 0]
    inputs = np.array([[1], [-1], [0]], dtype)
    np.testing.assert_allclose(network.forward(inputs), [[1, 0, 0], [0, 0, 1], [1 / 3] * 3], atol=1e-7)
    assert network.loss(inputs, np.array([2, 2, 2])) == pytest.approx((1000 + 0 + np.log(3)) / 3, rel=1e-6)
    one = Network((1, 1), seed=0, dtype=dtype, plan=f"{kernels}:1x1")
    one.parameters = [500, 0]
    assert one.forward(inputs).ravel().tolist() == pytest.approx([1, 0, 0.5], abs=1e-7)
    assert one.loss(inputs, np.array([0, 1, 1])) == pytest.approx((500 + 500 + np.log(2)) / 3, rel=1e-6)


def test_predict_gives_labels():
    labels = np.array(["ham", "jam", "spam"])
    network = Network((2, 3), classes=labels)
    network.parameters = [1, 0, -1, 0, 1, 0, 0, 0, 0]
    assert network.predict([[1, 0], [0, 1], [-1, -1]]).tolist() == ["ham", "jam", "spam"]
    assert network.score([[1, 0], [0, 1], [-1, -1]], ["ham", "jam", "ham"]) == pytest.approx(2 / 3)


def test_one_output_has_two_classes():
    network = Network((1, 1), classes=["no", "yes"])
    network.parameters = [1, 0]
    assert network.predict([[-2.0], [2.0]]).tolist() == ["no", "yes"]
    assert network.forward([[0.0]]).shape == (1, 1)
    assert network.loss([[2.0]], ["yes"]) == pytest.approx(np.log1p(np.exp(-2)), rel=1e-6)
    assert network.loss([[2.0]], ["no"]) == pytest.approx(2 + np.log1p(np.exp(-2)), rel=1e-6)


def test_predict_without_classes_gives_the_outputs():
    network = small(loss="squared_error")
    assert np.array_equal(network.predict(X), network.forward(X))
    with pytest.raises(ValueError, match="score needs a network with classes"):
        network.score(X, Y)


@pytest.mark.parametrize("y", [["ham"], [["ham"]] * 4, ["ham"] * 3])
def test_score_wants_a_label_an_example(y):
    with pytest.raises(ValueError, match="y must have 4 entries"):
        small(classes=["ham", "jam"]).score(X, y)


def test_labels_numbers_and_dense_targets_agree(kernels):
    plan = f"{kernels}:1x1"
    named, numbered = small(classes=["ham", "jam"], plan=plan), small(plan=plan)
    names, onehot = np.array(["ham", "jam"])[Y], np.eye(2)[Y]
    for y in (Y, Y.astype(np.uint8), Y.tolist(), onehot, onehot.astype(np.float32), onehot.astype(int)):
        assert numbered.loss(X, y) == named.loss(X, names)
        assert np.array_equal(numbered.gradient(X, y), named.gradient(X, names))


def test_step_is_one_update(kernels, dtype):
    problem = make_problem(dtype=dtype)
    network = problem.network(f"{kernels}:1x1")
    assert network.step(problem.X, problem.y, 0.5) == pytest.approx(
        problem.loss, rel=TOLERANCE["gradient", dtype]
    )
    wanted = problem.parameters - 0.5 * problem.gradient
    assert distance(network.parameters, wanted) <= TOLERANCE["gradient", dtype]


def test_steps_with_batches_of_any_size():
    """The engine made for one row serves many, and more threads when the rows ask for them."""
    wide = Network((64, 256, 256, 10), seed=0, n_jobs=4)
    rng = np.random.default_rng(0)
    inputs, y = rng.random((300, 64), np.float32), rng.integers(0, 10, 300)
    for rows in (1, 300, 2, 128):
        wide.step(inputs[:rows], y[:rows])
    assert wide.loss(inputs, y) < Network((64, 256, 256, 10), seed=0).loss(inputs, y)


def test_a_step_that_diverges_changes_nothing(kernels):
    """Neither the parameters nor the steps before it, also where nobody looked at them in between."""
    stepped = [small(loss="squared_error", plan=f"{kernels}:1x1") for _ in range(2)]
    targets = np.ones((4, 2))
    for network in stepped:
        for _ in range(3):
            network.step(X, targets, 0.01)
    with pytest.raises(FloatingPointError, match=r"loss is (nan|inf): the step was not taken"):
        stepped[0].step(np.full((4, 3), 1e30), targets, 0.5)
    assert np.array_equal(stepped[0].parameters, stepped[1].parameters)
    assert stepped[0].step(X, targets, 0.01) == stepped[1].step(X, targets, 0.01)


# --- copies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))])
@pytest.mark.parametrize("plan", ["native:2x1", "gemm:1x1"])
def test_copies_are_equal_and_apart(again, plan):
    network = small(plan=plan, n_jobs=MANY, classes=["ham", "jam"], input_scale=0.5, input_shift=0.1)
    labels = np.array(["ham", "jam"])[Y]
    network.step(X, labels)  # so that there is an engine, and it is ahead of the vector
    other = again(network)
    assert np.array_equal(other.parameters, network.parameters)
    assert np.array_equal(other.forward(X), network.forward(X))
    assert np.array_equal(other.predict(X), network.predict(X))
    kept = other.parameters.copy()
    network.step(X, labels, 1.0)
    assert not np.array_equal(network.parameters, kept)
    assert np.array_equal(other.parameters, kept)
    other.step(X, labels, 1.0)
    assert np.array_equal(other.parameters, network.parameters)


# --- errors ---------------------------------------------------------------------------------------

REFUSED = {
    "one layer": ({"layer_sizes": (3,)}, r"layer_sizes needs at least an input and an output, got \(3,\)"),
    "zero units": ({"layer_sizes": (3, 0, 2)}, "layer_sizes must be an integer of at least 1, got 0"),
    "negative units": ({"layer_sizes": (3, -4, 2)}, "layer_sizes must be an integer of at least 1, got -4"),
    "half a unit": ({"layer_sizes": (3, 1.5, 2)}, "layer_sizes must be an integer of at least 1, got 1.5"),
    "true units": ({"layer_sizes": (3, True, 2)}, "layer_sizes must be an integer of at least 1, got True"),
    "activation": (
        {"activation": "swish"},
        "activation must be one of identity, logistic, tanh, relu, leaky_relu, elu, .*, got 'swish'",
    ),
    "hidden softmax": ({"activation": "softmax"}, "activation must be one of .*, got 'softmax'"),
    "loss": ({"loss": "entropy"}, "loss must be one of squared_error, log_loss, poisson, .*, got 'entropy'"),
    "output": ({"output_activation": "swish"}, "output_activation must be one of .*, got 'swish'"),
    "output of log loss": (
        {"output_activation": "tanh"},
        "output_activation with log_loss must be softmax or logistic, got 'tanh'",
    ),
    "softmax with squared error": (
        {"output_activation": "softmax", "loss": "squared_error"},
        "output_activation with squared_error must be .*, got 'softmax'",
    ),
    "softmax of one": (
        {"layer_sizes": (3, 1), "output_activation": "softmax"},
        "softmax needs at least 2 outputs, got 1",
    ),
    "classes": ({"classes": ["a", "b", "c"]}, r"classes must be 2 labels for 2 outputs, got shape \(3,\)"),
    "classes of one output": (
        {"layer_sizes": (3, 1), "classes": ["a"]},
        r"classes must be 2 labels for 1 outputs, got shape \(1,\)",
    ),
    "unsorted classes": ({"classes": ["spam", "ham"]}, "classes must be"),
    "classes twice": ({"classes": ["ham", "ham"]}, "classes must be"),
    "dtype": ({"dtype": "float16"}, "dtype must be float32 or float64, got 'float16'"),
    "no dtype": ({"dtype": "half-ish"}, "dtype must be float32 or float64, got 'half-ish'"),
    "init": ({"init": "zeros"}, "init must be one of auto, glorot_uniform, he_normal, got 'zeros'"),
    "scale": ({"input_scale": float("nan")}, "input_scale"),
    "shift": ({"input_shift": float("inf")}, "input_shift"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    options, message = REFUSED[case]
    with pytest.raises(ValueError, match=message) as caught:
        Network(**({"layer_sizes": (3, 4, 2)} | options))
    assert "\n" not in str(caught.value)
