"""Scores of held-out examples after every epoch: scikit-learn's values without its checks.

Each function returns a `scorer(prediction) -> float`, so that what the targets alone decide is computed once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Scorer", "accuracy", "d2_pinball", "r2"]

Array = NDArray[Any]
Scorer = Callable[[Array], float]


def accuracy(y: Array, weight: Array | None) -> Scorer:
    """Weighted share of rows that are right; of a matrix, those that are right in every column."""

    def scorer(predicted: Array) -> float:
        right = predicted == y
        return float(np.average(right if right.ndim == 1 else right.all(axis=1), weights=weight))

    return scorer


def r2(y: Array, weight: Array | None) -> Scorer:
    """Coefficient of determination, mean over the columns; NaN for predictions that are not finite."""
    y = y.astype(np.float64)
    spread = np.average((y - np.average(y, axis=0, weights=weight)) ** 2, axis=0, weights=weight)

    def scorer(predicted: Array) -> float:
        if not np.isfinite(predicted).all():
            return float("nan")
        return _explained(np.average((y - predicted) ** 2, axis=0, weights=weight), spread)

    return scorer


def d2_pinball(y: Array, quantiles: tuple[float, ...], weight: Array | None) -> Scorer:
    """Share of the pinball loss that is less than that of the quantiles of `y`, mean over columns and levels.

    Column t * len(quantiles) + q of what is predicted, and of `y`, is target t at level q.
    """
    levels = np.tile(quantiles, y.shape[1] // len(quantiles))
    y = y.astype(np.float64)

    def loss(predicted: Array) -> Array:
        over = y - predicted
        return np.asarray(np.average(np.maximum(levels * over, (levels - 1) * over), axis=0, weights=weight))

    constant = loss(
        np.array([_quantile(column, weight, level) for column, level in zip(y.T, levels, strict=True)])
    )

    def scorer(predicted: Array) -> float:
        return _explained(loss(predicted), constant) if np.isfinite(predicted).all() else float("nan")

    return scorer


def _explained(left: Array, total: Array) -> float:
    """1 - left / total, mean over the columns; without anything to explain 1 where nothing is left, else 0."""
    shares = np.divide(left, total, out=np.where(left == 0, 0.0, 1.0), where=total != 0)
    return float(np.mean(1 - shares))


def _quantile(values: Array, weight: Array | None, level: float) -> Any:
    if weight is None:
        return np.quantile(values, level)
    return np.quantile(values, level, weights=weight, method="inverted_cdf")
