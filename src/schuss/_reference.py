"""The oracle: Algorithms 1-4 of the 2016 study in NumPy float64, as printed, never optimised.

A layer computes z_l = W_l^T a_{l-1} + b_l and a_l = f(z_l). One example at a time; a minibatch's gradient is the
mean over its examples. The first delta is the chain rule, written out: the loss by a, then a by z.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .losses import Loss, as_loss

__all__ = ["forward", "gradient", "loss"]

Array = NDArray[Any]

LAMBDA, ALPHA = 1.0507009873554805, 1.6732632423543772
INNER, CUBIC = np.sqrt(2 / np.pi), 0.044715  # of gelu


def _gelu_prime(z: Array) -> Any:
    t = np.tanh(INNER * (z + CUBIC * z**3))
    return (1 + t) / 2 + z / 2 * (1 - t**2) * INNER * (1 + 3 * CUBIC * z**2)


F: dict[str, Callable[[Array], Array]] = {
    "identity": lambda z: z,
    "logistic": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "softmax": lambda z: np.exp(z - z.max()) / np.exp(z - z.max()).sum(),
    "exp": np.exp,
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "elu": lambda z: np.where(z > 0, z, np.expm1(z)),
    "selu": lambda z: LAMBDA * np.where(z > 0, z, ALPHA * np.expm1(z)),
    "gelu": lambda z: z / 2 * (1 + np.tanh(INNER * (z + CUBIC * z**3))),
    "silu": lambda z: z / (1 + np.exp(-z)),
    "softplus": lambda z: np.log1p(np.exp(z)),
    "hardtanh": lambda z: np.clip(z, -1, 1),
}
F_PRIME: dict[str, Callable[[Array], Array]] = {
    "identity": np.ones_like,
    "logistic": lambda z: F["logistic"](z) * (1 - F["logistic"](z)),
    "tanh": lambda z: 1 - np.tanh(z) ** 2,
    "relu": lambda z: (z > 0).astype(float),
    "exp": np.exp,
    "leaky_relu": lambda z: np.where(z > 0, 1, 0.01),
    "elu": lambda z: np.where(z > 0, 1, np.exp(z)),
    "selu": lambda z: LAMBDA * np.where(z > 0, 1, ALPHA * np.exp(z)),
    "gelu": _gelu_prime,
    "silu": lambda z: F["logistic"](z) * (1 + z * (1 - F["logistic"](z))),
    "softplus": F["logistic"],
    "hardtanh": lambda z: (np.abs(z) < 1).astype(float),
}


def _xlogy(x: Array, y: Array) -> Array:
    return np.where(x > 0, x * np.log(np.where(x > 0, y, 1)), 0)


def _entropy(a: Array, y: Array, gamma: float, shared: bool) -> tuple[Array, Array]:
    """Terms of -(1-p)^gamma log p, of the classes of softmax (`shared`) or the two of each logistic; slopes by a."""

    def one(p: Array) -> tuple[Array, Array]:
        rest = (1 - p) ** gamma
        turn = gamma * (1 - p) ** (gamma - 1) * np.log(p) if gamma else 0
        return -rest * np.log(p), turn - rest / p

    (term, slope), (other, other_slope) = one(a), one(1 - a)
    if shared:
        return y * term, y * slope
    return y * term + (1 - y) * other, y * slope - (1 - y) * other_slope


def terms(loss: Loss, shared: bool, a: Array, y: Array) -> tuple[Array, Array]:
    """What each output adds to one example's loss, and its slope by a."""
    e, t, d = a - y, 2 * y - 1, loss.huber_delta
    q = np.resize(loss.quantiles, a.shape)
    if loss.name in ("log_loss", "focal"):
        return _entropy(a, y, loss.focal_gamma if loss.name == "focal" else 0.0, shared)
    formulas: dict[str, Callable[[], tuple[Array, Array]]] = {
        "squared_error": lambda: (e**2 / 2, e),
        "poisson": lambda: (_xlogy(y, y / a) - y + a, 1 - y / a),
        "gamma": lambda: (y / a - np.log(y / a) - 1, 1 / a - y / a**2),
        "absolute_error": lambda: (np.abs(e), np.sign(e)),
        "huber": lambda: (np.where(np.abs(e) > d, d * (np.abs(e) - d / 2), e**2 / 2), np.clip(e, -d, d)),
        "quantile": lambda: (np.maximum(-q * e, (1 - q) * e), np.where(e < 0, -q, 1 - q)),
        "hinge": lambda: (np.maximum(1 - t * a, 0), np.where(t * a < 1, -t, 0)),
    }
    return formulas[loss.name]()


def forward(
    weights: Sequence[Array], biases: Sequence[Array], activations: Sequence[str], x: Array
) -> tuple[list[Array], list[Array]]:
    """Algorithm 3: the z and a of every layer for one example; z[0] and a[0] are the example."""
    z, a = [np.asarray(x, np.float64)], [np.asarray(x, np.float64)]
    for W, b, f in zip(weights, biases, activations, strict=True):
        z.append(W.T @ a[-1] + b)
        a.append(F[f](z[-1]))
    return z, a


def smoothed(loss: Loss, shared: bool, y: Array) -> Array:
    """Targets with the loss's share of each spread evenly: over the outputs of softmax, or the two classes of each."""
    return (1 - loss.label_smoothing) * y + loss.label_smoothing / (len(y) if shared else 2)


def loss(loss: str | Loss, output_activation: str, a: Array, y: Array) -> float:
    """One example's loss."""
    shared, formula = output_activation == "softmax", as_loss(loss)
    return float(np.sum(terms(formula, shared, a, smoothed(formula, shared, y))[0]))


def gradient(
    weights: Sequence[Array],
    biases: Sequence[Array],
    activations: Sequence[str],
    loss_function: str | Loss,
    X: Array,
    Y: Array,
) -> tuple[float, list[Array], list[Array]]:
    """Algorithms 2 and 4: mean loss, and mean gradients dW_l, db_l, of the minibatch (X, Y)."""
    dW, db, total = [np.zeros_like(W) for W in weights], [np.zeros_like(b) for b in biases], 0.0
    shared, formula = activations[-1] == "softmax", as_loss(loss_function)
    for x, y in zip(X, Y, strict=True):
        z, a = forward(weights, biases, activations, x)
        total += loss(formula, activations[-1], a[-1], y)
        slope = terms(formula, shared, a[-1], smoothed(formula, shared, y))[1]
        delta = a[-1] * (slope - slope @ a[-1]) if shared else slope * F_PRIME[activations[-1]](z[-1])
        for i in reversed(range(len(weights))):
            dW[i] += np.outer(a[i], delta)
            db[i] += delta
            if i > 0:
                delta = (weights[i] @ delta) * F_PRIME[activations[i - 1]](z[i])
    n = len(X)
    return total / n, [g / n for g in dW], [g / n for g in db]
