"""Arrays in memory as Datasets: the types that networks compute with, and labels as class numbers."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from schuss.data.dataset import Dataset, check_finite
from schuss.errors import DataError
from schuss.validation import class_numbers

__all__ = ["as_features", "encode_labels", "file_scale", "flat", "from_arrays"]


def from_arrays(
    X: ArrayLike,
    y: ArrayLike,
    *,
    classes: NDArray[Any] | None = None,
    scale: float = 1.0,
    shift: float = 0.0,
    names: tuple[str, str] = ("X", "y"),
    feature_names: tuple[str, ...] | None = None,
) -> Dataset:
    """Make a Dataset of arrays.

    Parameters
    ----------
    X : array-like of shape (n_examples, n_features)
        Features; converted by `as_features`.
    y : array-like of shape (n_examples,), (n_examples, 1) or (n_examples, n_outputs)
        Integers, booleans and strings are labels. Floating numbers are targets of a regression, even where
        they are whole; float32 stays, other kinds become float64.
    classes : ndarray, default=None
        The labels allowed, sorted, as in another Dataset; without it those in `y`.
    scale, shift : float, default=1.0, 0.0
        The network sees X * scale + shift.
    names : tuple of str, default=("X", "y")
        What error messages call the arrays.
    feature_names : tuple of str, default=None
        The Dataset's `names`.

    Returns
    -------
    Dataset
    """
    features = as_features(X, names[0])
    targets = _as_array(y, names[1])
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if targets.ndim not in (1, 2) or len(targets) != len(features):
        raise DataError(
            f"{names[1]} must have one row for each of the {len(features)} examples in {names[0]}, "
            f"got shape {targets.shape}"
        )
    if targets.dtype.kind == "f" and classes is None:
        targets = np.ascontiguousarray(targets, np.float32 if targets.dtype == np.float32 else np.float64)
        check_finite(targets, names[1])
        return Dataset(features, targets, None, scale, shift, feature_names)
    numbers, found = encode_labels(targets, classes, names[1])
    return Dataset(features, numbers, found, scale, shift, feature_names)


def as_features(X: ArrayLike, name: str = "X") -> NDArray[Any]:
    """Return X as a C-contiguous array that a network can read.

    float64, float32 and uint8 stay as they are; other integers, booleans and float16 become float32;
    longer floats become float64.
    """
    array = _as_array(X, name)
    if array.ndim != 2 or 0 in array.shape:
        raise DataError(
            f"{name} must have shape (n_examples, n_features), at least one of each, got shape {array.shape}"
        )
    dtype: type[np.generic]
    if array.dtype.kind in "biu":
        dtype = np.uint8 if array.dtype == np.uint8 else np.float32
    elif array.dtype.kind == "f":
        dtype = np.float32 if array.dtype.itemsize <= 4 else np.float64
    else:
        raise DataError(f"{name} must hold real numbers, got dtype {array.dtype}")
    features = np.ascontiguousarray(array, dtype)
    check_finite(features, name)
    return features


def encode_labels(
    labels: ArrayLike, classes: NDArray[Any] | None = None, name: str = "y"
) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Number the labels.

    Parameters
    ----------
    labels : array-like of shape (n_examples,)
        Integers, booleans or strings.
    classes : ndarray, default=None
        The sorted labels to number by; without it those in `labels`.
    name : str, default="y"
        What error messages call the labels.

    Returns
    -------
    numbers : ndarray of int32
    classes : ndarray
        `classes[numbers]` are the labels.
    """
    array = _as_array(labels, name)
    if array.dtype.kind not in "biuU" or array.ndim != 1:
        raise DataError(
            f"{name} must be one column of integer, boolean or string labels, "
            f"got {array.dtype} of shape {array.shape}"
        )
    if classes is None:
        found, numbers = np.unique(array, return_inverse=True)
        return numbers.astype(np.int32), found
    return class_numbers(array, classes, name), classes


def flat(X: NDArray[Any]) -> NDArray[Any]:
    """Return images (n, height, width, ...) as rows (n, n_features); other shapes stay."""
    return X.reshape(len(X), math.prod(X.shape[1:])) if X.ndim > 2 else X


def file_scale(X: NDArray[Any]) -> float:
    """Return the scale of features read from a file: 8-bit numbers are grey levels from 0 to 255."""
    return 1 / 255 if X.dtype == np.uint8 else 1.0


def _as_array(values: ArrayLike, name: str) -> NDArray[Any]:
    """Return values as an array; strings in object or byte arrays become strings of NumPy."""
    try:
        array = np.asarray(values)
        if array.dtype.kind == "S" or (
            array.dtype.kind == "O" and all(isinstance(value, str) for value in array.ravel())
        ):
            array = array.astype(np.str_)
    except (ValueError, TypeError) as error:
        raise DataError(f"{name} must be an array of numbers or strings: {error}") from None
    if array.dtype.kind not in "biufUc":
        raise DataError(f"{name} must be an array of numbers or strings, got dtype {array.dtype}")
    return array
