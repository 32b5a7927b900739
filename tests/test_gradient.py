"""Gradients, losses and outputs of every kernels x partition against the oracle and central differences."""

from math import prod

import numpy as np
import pytest
from conftest import (
    DIFFERENCE,
    DTYPES,
    FORMULAS,
    GPU_PLANS,
    HIDDEN,
    OUTPUTS,
    PLANS,
    TOLERANCE,
    distance,
    make_problem,
)
from hypothesis import given
from hypothesis import strategies as st


def agrees(problem, plan):
    """Gradient, loss and outputs of the problem, computed as `plan` says, are the oracle's."""
    network = problem.network(plan)
    allowed = TOLERANCE["gradient", str(network.dtype)]
    gradient = network.gradient(problem.X, problem.y)
    assert gradient.dtype == network.dtype
    assert np.isfinite(gradient).all()
    # the norm of the gradient itself where its examples do not cancel
    scale = (
        problem.gradient
        if 2 * np.linalg.norm(problem.gradient) > np.linalg.norm(problem.magnitude)
        else problem.magnitude
    )
    assert distance(gradient, problem.gradient, scale) <= allowed
    assert network.loss(problem.X, problem.y) == pytest.approx(problem.loss, rel=allowed)
    assert distance(network.forward(problem.X), problem.outputs) <= allowed


@pytest.mark.parametrize("plan", [*PLANS, *GPU_PLANS])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("activation", "loss", "output"), FORMULAS)
def test_every_loss_and_activation(plan, dtype, activation, loss, output):
    agrees(make_problem((13, 11, 7, 5), 17, activation, output, loss, dtype), plan)


SHAPES = {
    "one example": ((7, 5, 3), 1),
    "one of everything": ((1, 1, 1), 1),
    "one output": ((7, 5, 1), 11),
    "no hidden layer": ((13, 3), 7),
    "no hidden layer, one output": ((13, 1), 7),
    "primes": ((31, 37, 29, 23), 19),
    "fewer examples than threads": ((7, 11, 3), 2),
    "many layers": ((5, 7, 3, 11, 2, 13, 4), 9),
    "narrow and wide": ((2, 131, 1, 67, 2), 13),
    "a vector and one more": ((17, 65, 33, 129), 16),
}


@pytest.mark.parametrize("plan", [*PLANS, *GPU_PLANS])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_odd_sizes(plan, dtype, shape):
    sizes, rows = SHAPES[shape]
    output = "logistic" if sizes[-1] == 1 else "softmax"
    agrees(make_problem(sizes, rows, "relu", output, "log_loss", dtype), plan)
    agrees(make_problem(sizes, rows, "logistic", "identity", "squared_error", dtype), plan)


@pytest.mark.parametrize("plan", [*PLANS, *GPU_PLANS])
@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_longer_than_a_block(plan, dtype):
    """Layers wider, and a minibatch larger, than the 1024 terms that a product takes at a time."""
    agrees(make_problem((1031, 1049, 5), 13, "relu", "softmax", "log_loss", dtype), plan)
    agrees(make_problem((3, 7, 2), 1031, "tanh", "logistic", "squared_error", dtype), plan)


@pytest.mark.parametrize("plan", [*PLANS, *GPU_PLANS])
@pytest.mark.parametrize("output", ["softmax", "logistic"])
def test_log_loss_of_dense_targets(plan, dtype, output):
    """Rows that sum to 1 for softmax, several labels at once for logistic."""
    agrees(make_problem((7, 11, 5), 13, "relu", output, "log_loss", dtype, targets="dense"), plan)


@pytest.mark.parametrize("plan", [*PLANS, *GPU_PLANS])
@pytest.mark.parametrize("inputs", ["uint8", "float32", "float64"])
def test_inputs_of_another_dtype(plan, dtype, inputs):
    agrees(make_problem((23, 11, 5), 13, "logistic", "softmax", "log_loss", dtype, inputs=inputs), plan)


def test_every_instruction_set(isa, dtype):
    for plan in ("native:1x1", "native:2x2", "gemm:1x1", "gemv:1x1"):
        for loss, output in OUTPUTS:
            agrees(make_problem((31, 37, 29, 5), 19, "tanh", output, loss, dtype), plan)


@given(
    sizes=st.lists(st.integers(1, 70), min_size=2, max_size=5).map(tuple).filter(lambda s: prod(s) < 10**6),
    rows=st.integers(1, 40),
    activation=st.sampled_from(HIDDEN),
    loss_and_output=st.sampled_from(OUTPUTS),
    plan=st.sampled_from(PLANS),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 99),
)
def test_drawn_problems(sizes, rows, activation, loss_and_output, plan, dtype, seed):
    loss, output = loss_and_output
    if output == "softmax" and sizes[-1] == 1:
        output = "logistic"
    agrees(make_problem(sizes, rows, activation, output, loss, dtype, seed=seed), plan)


@pytest.mark.parametrize("plan", ["naive:2x1", "gemv:1x1", "gemm:1x1", "native:2x1"])
@pytest.mark.parametrize(("loss", "output"), OUTPUTS)
def test_central_differences_of_the_loss(plan, loss, output):
    problem = make_problem((4, 5, 3, 2), 6, "relu", output, loss, "float64")
    network = problem.network(plan)
    differences = np.empty_like(problem.parameters)
    for i in range(len(differences)):
        ends = []
        for sign in (1, -1):
            moved = problem.parameters.copy()
            moved[i] += sign * DIFFERENCE
            network.parameters = moved
            ends.append(network.loss(problem.X, problem.y))
        differences[i] = (ends[0] - ends[1]) / (2 * DIFFERENCE)
    network.parameters = problem.parameters
    assert (
        distance(network.gradient(problem.X, problem.y), differences) <= TOLERANCE["differences", "float64"]
    )


def test_a_wrong_gradient_is_seen():
    """The comparison fails for a relative error just above what it allows."""
    problem = make_problem()
    wrong = problem.gradient.copy()
    wrong[0] += 1.01 * TOLERANCE["gradient", "float32"] * np.linalg.norm(wrong)
    assert distance(wrong, problem.gradient) > TOLERANCE["gradient", "float32"]
