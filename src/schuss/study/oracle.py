"""What the check's losses must be: the oracle in NumPy float64 takes the same steps from the same weights."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schuss import _reference
from schuss.study.work import CHECK_EPOCHS, TOLERANCE, Work

__all__ = ["compare", "losses"]

Array = NDArray[Any]


def losses(work: Work) -> list[float]:
    """Mean loss of each epoch of `work`'s check."""
    short, X, y = work.check()
    start, Y = work.start(), np.asarray(_rows_of_targets(work, y), np.float64)
    parameters = [array.astype(np.float64) for array in (*start.weights, *start.biases)]
    update, found = _Update(work, parameters), []
    for order in islice(short.orders(), CHECK_EPOCHS):
        epoch = []
        for rows in order.reshape(-1, work.batch):
            loss, gradients = _minibatch(start.activations, work.loss, parameters, X[rows], Y[rows])
            epoch.append(loss)
            update(gradients)
        found.append(float(np.mean(epoch)))
    return found


def compare(work: Work, found: list[float], expected: list[float]) -> tuple[float, float]:
    """The largest relative difference of an epoch's loss, NaN if one is not finite, and what is allowed."""
    mine, theirs = np.array(found), np.array(expected)
    return float(np.max(np.abs(mine - theirs) / np.abs(theirs))), TOLERANCE[work.optimizer]


def _rows_of_targets(work: Work, y: Array) -> Array:
    return y if work.numbers else np.eye(work.layers[-1])[y]


def _minibatch(
    activations: tuple[str, ...], loss: str, parameters: list[Array], X: Array, Y: Array
) -> tuple[float, list[Array]]:
    """Mean loss and gradients; an example that comes several times is computed once, and counts so often."""
    layers = len(activations)
    total, sums = 0.0, [np.zeros_like(p) for p in parameters]
    _, first, times = np.unique(np.hstack([X, Y]), axis=0, return_index=True, return_counts=True)
    for row, count in zip(first, times, strict=True):
        one = slice(row, row + 1)
        value, dW, db = _reference.gradient(
            parameters[:layers], parameters[layers:], activations, loss, X[one], Y[one]
        )
        total += count * value
        for sum_, gradient in zip(sums, (*dW, *db), strict=True):
            sum_ += count * gradient
    return total / len(X), [sum_ / len(X) for sum_ in sums]


class _Update:
    """The step of a solver, on the parameters in place; equations in schuss.optimizers."""

    def __init__(self, work: Work, parameters: list[Array]) -> None:
        self.work, self.parameters, self.t = work, parameters, 0
        self.first = [np.zeros_like(p) for p in parameters]
        self.second = [np.zeros_like(p) for p in parameters]

    def __call__(self, gradients: list[Array]) -> None:
        self.t += 1
        rate, adam = self.work.rate, self.work.optimizer == "adam"
        size = rate * np.sqrt(1 - 0.999**self.t) / (1 - 0.9**self.t)
        for p, v, s, g in zip(self.parameters, self.first, self.second, gradients, strict=True):
            if adam:
                v += 0.1 * (g - v)
                s += 0.001 * (g * g - s)
                p -= size * v / (np.sqrt(s) + 1e-8)
            else:
                v *= self.work.momentum
                v -= rate * g
                p += v
