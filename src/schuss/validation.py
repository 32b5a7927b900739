"""Checks of what the user hands over; each error names the argument, the rule and the value received."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .cuda.arrays import device_array, is_on_device, to_host
from .errors import DataError
from .plan import PRECISIONS

__all__ = [
    "arithmetic",
    "class_numbers",
    "classes",
    "dropout",
    "dtype",
    "examples",
    "finite",
    "hidden_sizes",
    "layer_sizes",
    "parameters_dtype",
    "positive",
    "positive_integer",
    "precision",
    "probabilities",
    "targets",
]

Array = NDArray[Any]

_LABELS_SHOWN = 10


def positive_integer(name: str, value: Any) -> int:
    """`value` as an int of at least 1."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
    return int(value)


def finite(name: str, value: Any) -> float:
    """`value` as a finite float."""
    if not np.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value!r}")
    return float(value)


def layer_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """Widths (n_0, ..., n_L), all at least 1, L at least 1."""
    checked = tuple(positive_integer("layer_sizes", size) for size in sizes)
    if len(checked) < 2:
        raise ValueError(f"layer_sizes needs at least an input and an output, got {checked}")
    return checked


def hidden_sizes(sizes: Sequence[int] | int) -> tuple[int, ...]:
    """Units of the hidden layers, each at least 1; one number is one layer."""
    return tuple(positive_integer("hidden_layer_sizes", size) for size in np.atleast_1d(sizes).tolist())


def precision(name: str, X: Any) -> str:
    """Arithmetic of a training on X: "auto" is float64 for float64 X and float32 for everything else."""
    _check_precision(name)
    return name if name != "auto" else "float64" if X.dtype == np.float64 else "float32"


def arithmetic(name: str, dtype: np.dtype[Any]) -> str:
    """That of parameters of this dtype: "auto" is its own; what rounds more than float32 needs that."""
    _check_precision(name)
    if name == "auto":
        return dtype.name
    if parameters_dtype(name) != dtype:
        raise ValueError(f"precision {name} is for parameters of {parameters_dtype(name)}, these are {dtype}")
    return name


def parameters_dtype(precision: str) -> np.dtype[Any]:
    """Of the parameters that are computed with in this precision."""
    return np.dtype(np.float64 if precision == "float64" else np.float32)


def _check_precision(name: str) -> None:
    if name not in ("auto", *PRECISIONS):
        raise ValueError(f"precision must be one of auto, {', '.join(PRECISIONS)}, got {name!r}")


def classes(labels: ArrayLike | None, outputs: int) -> Array | None:
    """Labels (n_classes,) for `outputs` outputs: one each, or two for one output; sorted, none twice."""
    if labels is None:
        return None
    array = np.asarray(labels)
    expected = 2 if outputs == 1 else outputs
    if array.shape != (expected,):
        raise ValueError(f"classes must be {expected} labels for {outputs} outputs, got shape {array.shape}")
    if not np.array_equal(array, np.unique(array)):
        raise ValueError(f"classes must be sorted and all different, got {array.tolist()}")
    return array


def dtype(name: Any) -> np.dtype[Any]:
    """float32 or float64."""
    try:
        found: np.dtype[Any] = np.dtype(name)
    except TypeError:
        found = np.dtype(object)
    if found not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"dtype must be float32 or float64, got {name!r}")
    return found


def dropout(rates: float | Sequence[float], hidden_layers: int) -> tuple[float, ...]:
    """Share left out of each hidden layer, in [0, 1); one number is for all, () for a network without any."""
    each = (rates,) * hidden_layers if isinstance(rates, int | float) else tuple(rates)
    if len(each) != hidden_layers or not all(0 <= rate < 1 for rate in each):
        raise ValueError(
            f"dropout must be in [0, 1), one number or one for each of the {hidden_layers} hidden layers, got {rates!r}"
        )
    return tuple(map(float, each)) if any(each) else ()


def examples(X: Any, features: int | None, dtype: np.dtype[Any], name: str = "X") -> Any:
    """X as a (n_examples, features) matrix for the core: rows contiguous, float32, float64 or uint8; a scipy.sparse one
    with compressed rows (CSR) of float32 or float64; a DeviceArray where it is on a GPU.

    Other integers and booleans become `dtype`. No copy is made where none is needed.
    """
    if type(X) is not np.ndarray:
        if hasattr(X, "tocsr"):  # of scipy.sparse
            return _sparse_examples(X, features, dtype, name)
        found = device_array(X, name)
        if found is not None:
            _check_features(found, features, name)
            return found
    array = _as_array(X)
    if array.dtype.kind not in "fiub":
        raise DataError(f"{name} must hold real numbers, got dtype {array.dtype}")
    if array.ndim != 2:
        hint = f"; one example is {name}.reshape(1, -1)" if array.ndim == 1 else ""
        raise DataError(f"{name} must have 2 dimensions (examples, features), got shape {array.shape}{hint}")
    if array.shape[0] == 0:
        raise DataError(f"{name} must hold at least one example, got shape {array.shape}")
    _check_features(array, features, name)
    if array.dtype not in (np.float32, np.float64, np.uint8):
        array = array.astype(dtype)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row, column = np.argwhere(~np.isfinite(array))[0]
        raise DataError(f"{name} must be finite, got {array[row, column]} in row {row}, column {column}")
    if not array.dtype.isnative or not array.flags.aligned:
        array = array.astype(array.dtype.newbyteorder("="))
    contiguous = array.shape[1] == 1 or array.strides[1] == array.itemsize
    if not contiguous or array.strides[0] % array.itemsize or array.strides[0] < 0:
        array = np.ascontiguousarray(array)
    return array


def _as_array(X: Any) -> Array:
    """An array of the host, also of what offers DLPack alone."""
    if not hasattr(X, "__array__") and hasattr(X, "__dlpack__"):
        return np.from_dlpack(X)
    return np.asarray(X)


def _check_features(X: Any, features: int | None, name: str) -> None:
    if features is not None and X.shape[1] != features:
        raise DataError(f"{name} must have {features} features, got {X.shape[1]}")


def _sparse_examples(X: Any, features: int | None, dtype: np.dtype[Any], name: str) -> Any:
    if X.ndim != 2 or X.shape[0] == 0:
        raise DataError(f"{name} must hold at least one example of 2 dimensions, got shape {X.shape}")
    _check_features(X, features, name)
    if is_on_device(getattr(X, "data", None)):
        raise DataError(f"{name} on a GPU must be dense, got {type(X).__name__}; X.get() may be sparse")
    if X.dtype.kind not in "fiub":
        raise DataError(f"{name} must hold real numbers, got dtype {X.dtype}")
    rows = X.tocsr()
    if rows.dtype not in (np.float32, np.float64) or not rows.dtype.isnative:
        rows = rows.astype(np.float64 if rows.dtype == np.dtype(">f8") else dtype)
    if not rows.has_sorted_indices:
        rows = rows.sorted_indices()
    if not all(part.flags.c_contiguous for part in (rows.data, rows.indices, rows.indptr)):
        rows = rows.copy()
    if rows.indices.dtype != rows.indptr.dtype:
        rows = rows.copy()
        rows.indices, rows.indptr = rows.indices.astype(np.int64), rows.indptr.astype(np.int64)
    if not np.isfinite(rows.data).all():
        raise DataError(f"{name} must be finite, got {rows.data[~np.isfinite(rows.data)][0]}")
    return rows


def class_numbers(y: Array, labels: Array, name: str = "y") -> Array:
    """Class number (n_examples,) int32 of each label in y; `labels` are those known, sorted."""
    text = [array.dtype.kind == "U" for array in (y, labels)]
    if "O" in (y.dtype.kind, labels.dtype.kind) or text[0] == text[1]:  # text is no number
        try:
            numbers = np.minimum(np.searchsorted(labels, y), len(labels) - 1)
            if np.all(labels[numbers] == y):
                return numbers.astype(np.int32)
        except TypeError:
            pass  # values that cannot be compared with the labels are not among them
    known = labels.tolist()
    unknown = next(label for label in y.tolist() if label not in known)
    raise DataError(f"{name} must hold labels known from training ({_listed(labels)}), got {unknown!r}")


def _listed(labels: Array) -> str:
    more = f" and {len(labels) - _LABELS_SHOWN} more" if len(labels) > _LABELS_SHOWN else ""
    return ", ".join(repr(label) for label in labels[:_LABELS_SHOWN].tolist()) + more


def targets(
    y: ArrayLike, rows: int, outputs: int, labels: Array | None, dtype: np.dtype[Any], name: str = "y"
) -> Array:
    """y as the core reads it: int32 class numbers (rows,), or a (rows, outputs) matrix of `dtype`."""
    array = np.asarray(to_host(y, name))
    if array.ndim == 0 or len(array) != rows:
        raise DataError(f"{name} must have {rows} entries, one an example, got shape {array.shape}")
    if array.ndim == 1 and labels is not None:
        return class_numbers(array, labels, name)
    if array.dtype.kind not in "fiub":
        raise DataError(f"{name} must hold class numbers or numbers, got dtype {array.dtype}")
    if array.ndim == 1 and array.dtype.kind in "iu":
        count = 2 if outputs == 1 else outputs
        if array.min() < 0 or array.max() >= count:
            bad = array[(array < 0) | (array >= count)][0]
            raise DataError(f"{name} must hold class numbers below {count}, got {bad}")
        return np.ascontiguousarray(array, np.int32)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] != outputs:
        raise DataError(f"{name} must have {outputs} columns, one an output, got shape {array.shape}")
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is refused below
        dense = np.ascontiguousarray(array, dtype)
    if not np.isfinite(dense).all():
        raise DataError(f"{name} must be finite, got {dense[~np.isfinite(dense)][0]}")
    return dense


def positive(y: Array, loss: str, name: str = "y") -> None:
    """Check targets of poisson, which may be 0, and of gamma, which may not."""
    least = y.min()
    if least < 0 or (least == 0 and loss == "gamma"):
        raise DataError(f"{name} must be {'>= 0' if loss == 'poisson' else '> 0'} for {loss}, got {least}")


def probabilities(y: Array, sum_to_one: bool, loss: str = "log_loss", name: str = "y") -> None:
    """Check targets (n_examples, n_outputs) of classes: in [0, 1], each row adding up to 1 for softmax."""
    if y.min() < 0 or y.max() > 1:
        raise DataError(f"{name} must be in [0, 1] for {loss}, got {y.min() if y.min() < 0 else y.max()}")
    if sum_to_one:
        sums = y.sum(axis=1, dtype=np.float64)
        worst = int(np.argmax(np.abs(sums - 1)))
        if abs(sums[worst] - 1) > 1e-4:
            raise DataError(
                f"{name} must have rows that add up to 1 for softmax, got {sums[worst]:g} in row {worst}"
            )
