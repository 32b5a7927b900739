"""The oracle: Algorithms 1-4 of the 2016 study in NumPy float64, as printed, never optimised.

A layer computes z_l = W_l^T a_{l-1} + b_l and a_l = f(z_l). One example at a time; a minibatch's gradient is the
mean over its examples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["forward", "gradient", "loss"]

Array = NDArray[Any]

F: dict[str, Callable[[Array], Array]] = {
    "identity": lambda z: z,
    "logistic": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "softmax": lambda z: np.exp(z - z.max()) / np.exp(z - z.max()).sum(),
}
F_PRIME: dict[str, Callable[[Array], Array]] = {
    "identity": np.ones_like,
    "logistic": lambda z: F["logistic"](z) * (1 - F["logistic"](z)),
    "tanh": lambda z: 1 - np.tanh(z) ** 2,
    "relu": lambda z: (z > 0).astype(float),
}


def forward(
    weights: Sequence[Array], biases: Sequence[Array], activations: Sequence[str], x: Array
) -> tuple[list[Array], list[Array]]:
    """Algorithm 3: the z and a of every layer for one example; z[0] and a[0] are the example."""
    z, a = [np.asarray(x, np.float64)], [np.asarray(x, np.float64)]
    for W, b, f in zip(weights, biases, activations, strict=True):
        z.append(W.T @ a[-1] + b)
        a.append(F[f](z[-1]))
    return z, a


def loss(name: str, output_activation: str, a: Array, y: Array) -> float:
    """One example's loss: 1/2 sum (a - y)^2, or the negative log-likelihood of y."""
    if name == "squared_error":
        return float(0.5 * np.sum((a - y) ** 2))
    if output_activation == "softmax":
        return float(-np.sum(y[y > 0] * np.log(a[y > 0])))
    return float(-np.sum(y * np.log(a) + (1 - y) * np.log(1 - a)))


def gradient(
    weights: Sequence[Array],
    biases: Sequence[Array],
    activations: Sequence[str],
    loss_name: str,
    X: Array,
    Y: Array,
) -> tuple[float, list[Array], list[Array]]:
    """Algorithms 2 and 4: mean loss, and mean gradients dW_l, db_l, of the minibatch (X, Y)."""
    dW, db, total = [np.zeros_like(W) for W in weights], [np.zeros_like(b) for b in biases], 0.0
    for x, y in zip(X, Y, strict=True):
        z, a = forward(weights, biases, activations, x)
        total += loss(loss_name, activations[-1], a[-1], y)
        delta = a[-1] - y  # log loss with softmax or logistic: f' cancels
        if loss_name == "squared_error":
            delta = delta * F_PRIME[activations[-1]](z[-1])
        for i in reversed(range(len(weights))):
            dW[i] += np.outer(a[i], delta)
            db[i] += delta
            if i > 0:
                delta = (weights[i] @ delta) * F_PRIME[activations[i - 1]](z[i])
    n = len(X)
    return total / n, [g / n for g in dW], [g / n for g in db]
