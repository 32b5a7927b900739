"""The oracle itself: its gradients are the central differences of its loss, and it computes what it says."""

import numpy as np
import pytest
from conftest import DIFFERENCE, HIDDEN, KINKS, OUTPUTS, TOLERANCE, dense, distance, make_problem

from schuss import _reference

pytestmark = pytest.mark.parametrize(("loss", "output"), OUTPUTS)


def mean_loss(weights, biases, activations, loss, X, Y):
    """Only the forward half of the oracle: independent of its gradients."""
    outputs = [_reference.forward(weights, biases, activations, x)[1][-1] for x in X]
    return np.mean([_reference.loss(loss, activations[-1], a, y) for a, y in zip(outputs, Y, strict=True)])


@pytest.mark.parametrize("activation", HIDDEN)
def test_gradient_is_the_central_difference(loss, output, activation):
    problem = make_problem((4, 5, 3, 2), 6, activation, output, loss, "float64")
    network = problem.network()
    flat = problem.parameters.copy()
    weights, biases = network.split(flat)
    Y = dense(problem.y, 2)

    differences = np.empty_like(flat)
    for i, value in enumerate(problem.parameters):
        ends = []
        for sign in (1, -1):
            flat[i] = value + sign * DIFFERENCE
            assert_same_side_of_the_kink(problem, network, flat)
            ends.append(
                mean_loss(weights, biases, network.activations, problem.options["loss"], problem.X, Y)
            )
        flat[i] = value
        differences[i] = (ends[0] - ends[1]) / (2 * DIFFERENCE)
    assert distance(differences, problem.gradient) <= TOLERANCE["differences", "float64"]


def assert_same_side_of_the_kink(problem, network, flat):
    for x in problem.X:
        z, _ = _reference.forward(*network.split(flat), network.activations, x)
        z_before, _ = _reference.forward(*network.split(problem.parameters), network.activations, x)
        for layer, f in enumerate(network.activations, 1):
            for kink in KINKS.get(f, ()):
                assert np.array_equal(z[layer] > kink, z_before[layer] > kink)


def test_of_a_minibatch_is_the_mean_over_its_examples(loss, output):
    problem = make_problem((4, 5, 3), 7, "tanh", output, loss, "float64")
    network, Y = problem.network(), dense(problem.y, 3)
    args = (*network.split(problem.parameters), network.activations, problem.options["loss"])
    each = [_reference.gradient(*args, x[None], y[None]) for x, y in zip(problem.X, Y, strict=True)]
    whole = _reference.gradient(*args, problem.X, Y)
    assert whole[0] == pytest.approx(np.mean([one[0] for one in each]), rel=1e-14)
    for layer in range(2):
        assert distance(whole[1][layer], np.mean([one[1][layer] for one in each], axis=0)) < 1e-14
        assert distance(whole[2][layer], np.mean([one[2][layer] for one in each], axis=0)) < 1e-14
