"""Solvers against their formulas in NumPy and against scikit-learn's, with gradients from the oracle."""

import numpy as np
import pytest
from conftest import MANY, TOLERANCE, dense, distance, make_problem, oracle
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

import schuss
from schuss.optimizers import Optimizer

RATE = 0.05
SOLVERS = {
    "sgd": {},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.7, "nesterov": True},
    "adam": {"solver": "adam"},
    "adamw": {"solver": "adamw", "weight_decay": 0.4},
    "sgd with decay": {"weight_decay": 0.3},
}
PLANS = ("naive:1x1", "naive:2x2", "gemv:2x1", "gemm:1x1", "gemm:2x1", "gemm:1x2", "native:1x1", "native:2x2")


def change(solver, state, g, t):
    """What one update adds to the parameters; `state` is kept between steps."""
    if solver.startswith("sgd"):
        return -RATE * g
    if solver in ("momentum", "nesterov"):
        mu = SOLVERS[solver]["momentum"]
        v = state["v"] = mu * state.get("v", 0.0) - RATE * g
        return mu * v - RATE * g if solver == "nesterov" else v
    b1, b2, epsilon = 0.9, 0.999, 1e-8
    m = state["m"] = b1 * state.get("m", 0.0) + (1 - b1) * g
    s = state["s"] = b2 * state.get("s", 0.0) + (1 - b2) * g**2
    return -RATE * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(s) + epsilon)


def is_weight(network):
    """1 where the flat vector holds a weight, 0 where a bias: alpha is for weights."""
    flat = np.zeros(network.n_parameters)
    for W in network.split(flat)[0]:
        W[:] = 1
    return flat


def by_formula(problem, solver, alpha, batch, epochs, update=change):
    """Parameters and the loss of each epoch, rows in order."""
    network, w, state, losses, t = problem.network(), problem.parameters.astype(np.float64), {}, [], 0
    weight, Y = is_weight(network), dense(problem.y, problem.outputs.shape[1])
    for _ in range(epochs):
        sums = 0.0
        for first in range(0, len(Y), batch):
            rows = slice(first, min(first + batch, len(Y)))
            count, t = rows.stop - rows.start, t + 1
            loss, g, _ = oracle(
                network.split, network.activations, network.loss_name, w, problem.X[rows], Y[rows]
            )
            sums += count * loss + alpha / 2 * np.sum((weight * w) ** 2)
            g = g + alpha / count * weight * w
            w = w - RATE * SOLVERS[solver].get("weight_decay", 0.0) * weight * w
            w = w + update(solver, state, g, t)
        losses.append(sums / len(Y))
    return w, losses


def trained(problem, plan, solver, alpha, batch, epochs):
    network = problem.network(plan)
    return train_further(problem, network, solver, batch, epochs, alpha=alpha, plan=plan)


def train_further(problem, network, solver, batch, epochs, **options):
    options |= {
        "network": network,
        "learning_rate": RATE,
        "batch_size": batch,
        "epochs": epochs,
        "n_jobs": MANY,
    }
    return schuss.train(problem.X, problem.y, shuffle=False, **options, **SOLVERS[solver])


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_formulas(plan, solver, alpha, dtype):
    """Ten steps, every fifth over a last minibatch of 3."""
    problem = make_problem((7, 19, 5, 3), 19, "tanh", dtype=dtype)
    w, losses = by_formula(problem, solver, alpha, 4, 2)
    network = trained(problem, plan, solver, alpha, 4, 2)
    assert distance(network.parameters, w) <= TOLERANCE["training", dtype]
    np.testing.assert_allclose(network.history["loss"], losses, rtol=TOLERANCE["training", dtype])


@pytest.mark.parametrize("solver", SOLVERS)
def test_one_output_and_no_hidden_layer(kernels, solver):
    problem = make_problem((5, 1), 12, output="logistic", dtype="float64")
    w, losses = by_formula(problem, solver, 0.2, 5, 3)
    network = trained(problem, f"{kernels}:1x1", solver, 0.2, 5, 3)
    assert distance(network.parameters, w) <= TOLERANCE["training", "float64"]
    np.testing.assert_allclose(network.history["loss"], losses, rtol=TOLERANCE["training", "float64"])


def test_recorded_loss_includes_the_penalty(kernels, dtype):
    problem = make_problem((7, 19, 5, 3), 8, dtype=dtype)
    network = trained(problem, f"{kernels}:1x1", "sgd", 0.7, 8, 1)
    squares = np.sum((is_weight(network) * problem.parameters.astype(np.float64)) ** 2)
    assert network.history["loss"][0] == pytest.approx(
        problem.loss + 0.7 / (2 * 8) * squares, rel=TOLERANCE["gradient", dtype]
    )
    assert problem.network().loss(problem.X, problem.y) == pytest.approx(
        problem.loss, rel=TOLERANCE["gradient", dtype]
    )  # and Network.loss does not


@pytest.mark.parametrize("solver", ["sgd", "momentum", "nesterov", "adam"])
def test_the_same_as_scikit_learn(solver):
    problem = make_problem((7, 9, 3), 16, "tanh", dtype="float64")
    held = [problem.parameters.copy()]
    if solver == "adam":
        theirs = AdamOptimizer(held, learning_rate_init=RATE)
    else:
        theirs = SGDOptimizer(
            held,
            learning_rate_init=RATE,
            momentum=SOLVERS[solver].get("momentum", 0.0),
            nesterov=solver == "nesterov",
        )

    def update(_solver, _state, g, _t):
        before = held[0].copy()
        theirs.update_params(held, [g])
        return held[0] - before

    w, _ = by_formula(problem, solver, 0.1, 4, 2, update)
    assert (
        distance(trained(problem, "native:1x1", solver, 0.1, 4, 2).parameters, w)
        <= TOLERANCE["training", "float64"]
    )


def test_default_weight_decay():
    """AdamW's is PyTorch's, 0.01; without it adamw is adam."""
    problem = make_problem((7, 9, 3), 16, dtype="float64")

    def after(**options):
        network = problem.network()
        schuss.train(problem.X, problem.y, network=network, epochs=2, batch_size=4, **options)
        return network.parameters

    assert np.array_equal(after(solver="adamw"), after(solver="adam", weight_decay=0.01))
    assert np.array_equal(after(solver="adamw", weight_decay=0), after(solver="adam"))
    assert not np.array_equal(after(solver="adamw"), after(solver="adam"))


def test_state_carries_on_over_epochs(kernels):
    """Two epochs of one training are not two trainings of one epoch, where the solver has a memory."""
    problem = make_problem((7, 9, 3), 16, dtype="float64")
    plan = f"{kernels}:1x1"
    for solver in SOLVERS:
        whole = trained(problem, plan, solver, 0.0, 4, 2)
        half = trained(problem, plan, solver, 0.0, 4, 1)
        train_further(problem, half, solver, 4, 1, plan=plan)
        assert np.array_equal(whole.parameters, half.parameters) == solver.startswith("sgd")


BAD = [
    ({"solver": "lbfgs"}, "solver must be one of sgd, adam, adamw, got 'lbfgs'"),
    ({"momentum": 1.5}, r"momentum must be in \[0, 1\], got 1.5"),
    ({"momentum": -0.1}, r"momentum must be in \[0, 1\], got -0.1"),
    ({"momentum": float("nan")}, r"momentum must be in \[0, 1\], got nan"),
    ({"beta_1": 1}, r"beta_1 must be in \[0, 1\), got 1"),
    ({"beta_2": -1}, r"beta_2 must be in \[0, 1\), got -1"),
    ({"epsilon": 0.0}, "epsilon must be > 0, got 0.0"),
    ({"epsilon": float("nan")}, "epsilon must be > 0, got nan"),
    ({"alpha": -1e-3}, "alpha must be >= 0 and finite, got -0.001"),
    ({"alpha": float("inf")}, "alpha must be >= 0 and finite, got inf"),
    ({"alpha": float("nan")}, "alpha must be >= 0 and finite, got nan"),
    ({"weight_decay": -1}, "weight_decay must be >= 0 and finite, got -1"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_settings(arguments, message):
    with pytest.raises(ValueError, match=message):
        Optimizer(**arguments)


@pytest.mark.parametrize("arguments", [{"solver": "lbfgs"}, {"momentum": 1.5}, {"alpha": -1.0}])
def test_bad_settings_reach_the_user(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        schuss.train(np.ones((2, 1)), [0, 1], **arguments)
