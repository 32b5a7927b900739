"""Weights of examples: what users hand over, and those that make up for classes of unequal size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .cuda.arrays import to_host
from .errors import DataError

__all__ = ["ClassWeight", "class_weights", "example_weights"]

Array = NDArray[Any]
ClassWeight = Mapping[Any, float] | str | None


def example_weights(sample_weight: ArrayLike | None, rows: int, name: str = "sample_weight") -> Array | None:
    """Checked float64 weights (rows,), one an example; None stays None, a number counts for all.

    Raises
    ------
    DataError
        If the weights are not numbers >= 0 of which one at least is above 0, or not one for each example.
    """
    if sample_weight is None:
        return None
    sample_weight = to_host(sample_weight, name)
    try:
        given = np.asarray(sample_weight, np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{name} must hold numbers, got {type(sample_weight).__name__}") from None
    weights = np.full(rows, float(given)) if given.ndim == 0 else np.ascontiguousarray(given)
    if weights.shape != (rows,):
        raise DataError(f"{name} must have {rows} entries, one an example, got shape {given.shape}")
    lowest, total = weights.min(initial=0.0), weights.sum()
    if not (lowest >= 0 and total < np.inf):
        bad = weights[~((weights >= 0) & (weights < np.inf))]
        raise DataError(f"{name} must be >= 0 and finite, got {bad[0] if len(bad) else total}")
    if total == 0:
        raise DataError(f"{name} must not be zero for every example, got only zero weights")
    return weights


def class_weights(
    given: ClassWeight, classes: Array, numbers: Array, sample_weight: Array | None = None
) -> Array:
    """Weight (n_classes,) of each class.

    Parameters
    ----------
    given : dict of label to weight, "balanced" or None
        A label that the dict does not name weighs 1. "balanced": in inverse proportion to the weight that the
        examples of a class have together, so that the total stays as it is.
    classes : ndarray, (n_classes,)
        Labels, sorted.
    numbers : ndarray of int, (n_examples,)
        Class number of each example.
    sample_weight : ndarray, (n_examples,), or None

    Raises
    ------
    ValueError
        If `given` is none of these, or names labels that there are not while others are left out.
    """
    if given is None:
        return np.ones(len(classes))
    if isinstance(given, str):
        if given != "balanced":
            raise ValueError(f"class_weight must be 'balanced', a dict or None, got {given!r}")
        sums = np.bincount(numbers, sample_weight, minlength=len(classes)).astype(np.float64)
        present = sums > 0
        balanced: Array = np.ones(len(classes))
        np.divide(sums.sum(), present.sum() * sums, out=balanced, where=present)
        return balanced
    if not isinstance(given, Mapping):
        raise ValueError(f"class_weight must be 'balanced', a dict or None, got {given!r}")
    labels = classes.tolist()
    weights: Array = np.array([given.get(label, 1.0) for label in labels], np.float64)
    unknown = [label for label in given if label not in labels]
    # where all are named, those beyond may be for other data
    if unknown and any(label not in given for label in labels):
        raise ValueError(f"class_weight must name labels among {labels}, got {unknown[0]!r}")
    if not np.all((weights >= 0) & (weights < np.inf)):
        raise ValueError(f"class_weight must hold weights >= 0 and finite, got {weights.tolist()}")
    return weights
