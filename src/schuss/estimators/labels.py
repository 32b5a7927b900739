"""Labels of a classifier: from what users hand over to what the engine reads, and back from its outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels
from sklearn.utils.validation import check_array, check_consistent_length, column_or_1d

from .. import validation
from ..cuda.arrays import to_host
from ..errors import DataError

__all__ = ["Labels", "checked_labels"]

Array = NDArray[Any]


def checked_labels(estimator: Any, X: Any, y: Any, name: str = "y") -> Array:
    """y (n_examples,), or (n_examples, n_labels) for several labels at once, of the length of X.

    Raises
    ------
    ValueError
        If y holds numbers that are no labels, NaN, or is not as long as X.
    """
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires {name} to be passed, but the target {name} is None"
        )
    labels: Array = check_array(
        to_host(y, name),
        accept_sparse="csr",
        ensure_2d=False,
        dtype=None,
        input_name=name,
        estimator=estimator,
    )
    if labels.ndim == 2 and labels.shape[1] == 1 and not scipy.sparse.issparse(labels):
        labels = column_or_1d(labels, warn=True)
    check_consistent_length(X, labels)
    check_classification_targets(labels)
    return labels


@dataclass(frozen=True)
class Labels:
    """What a classifier tells apart.

    Parameters
    ----------
    classes : ndarray, (n_classes,)
        Labels, sorted; the numbers of the columns for several labels at once.
    multilabel : bool, default False
        Whether an example has any number of labels.
    sparse : bool, default False
        Whether several labels came as a sparse matrix, and are predicted so.
    """

    classes: Array
    multilabel: bool = False
    sparse: bool = False

    @classmethod
    def of(cls, y: Array) -> Labels:
        """Those that y, from :func:`checked_labels`, holds."""
        kind = type_of_target(y)
        if kind == "multilabel-indicator":
            return cls(np.arange(y.shape[1]), True, scipy.sparse.issparse(y))
        if kind not in ("binary", "multiclass"):
            raise ValueError(
                f"y must be labels, or a matrix of 0 and 1 with a column for each label, got {kind}"
            )
        return cls(np.unique(y))

    @classmethod
    def named(cls, classes: ArrayLike) -> Labels:
        """Those of a list."""
        return cls(unique_labels(classes))

    @property
    def outputs(self) -> int:
        """Outputs of the network: one for two classes."""
        return 1 if len(self.classes) <= 2 and not self.multilabel else len(self.classes)

    @property
    def exclusive(self) -> bool:
        """Whether an example has one of three classes or more."""
        return not self.multilabel and len(self.classes) > 2

    def encode(self, y: Any, rows: int, dtype: Any, name: str = "y") -> Array:
        """Class numbers (n_examples,) int32, or a (n_examples, n_labels) matrix of 0 and 1 of `dtype`.

        Raises
        ------
        DataError
            If y holds other labels.
        """
        y = to_host(y, name)
        if not self.multilabel:
            array = np.asarray(y)
            if array.shape == (rows, 1):
                array = column_or_1d(array, warn=True)
            if array.shape != (rows,):
                raise DataError(f"{name} must have {rows} entries, one an example, got shape {array.shape}")
            return validation.class_numbers(array, self.classes, name)
        dense = y.toarray() if scipy.sparse.issparse(y) else np.asarray(y)
        if dense.shape != (rows, len(self.classes)):
            raise DataError(f"{name} must have shape {(rows, len(self.classes))}, got {dense.shape}")
        if not np.isin(dense, (0, 1)).all():
            raise DataError(f"{name} must hold 0 and 1, got {dense[~np.isin(dense, (0, 1))][0]}")
        return np.ascontiguousarray(dense, dtype)

    def numbers(self, outputs: Array, threshold: float) -> Array:
        """Class number (n_examples,) of the network's outputs, or 0 and 1 (n_examples, n_labels).

        An output counts as yes above the threshold.
        """
        if self.exclusive:
            return np.asarray(np.argmax(outputs, axis=1))
        if self.multilabel:
            return np.asarray(outputs > threshold, np.int64)
        if len(self.classes) == 1:
            return np.zeros(len(outputs), np.int64)
        return (outputs[:, 0] > threshold).view(np.int8)

    def decode(self, outputs: Array, threshold: float) -> Any:
        """The labels that the network's outputs stand for."""
        numbers = self.numbers(outputs, threshold)
        if not self.multilabel:
            return self.classes[numbers]
        return scipy.sparse.csr_matrix(numbers) if self.sparse else numbers
