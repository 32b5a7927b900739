"""X as an estimator takes it, as the engine reads it: checked, named columns remembered, copied only where needed."""

from __future__ import annotations

import math
import reprlib
from typing import Any, NoReturn

import narwhals as nw
import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from sklearn import __version__ as sklearn_version
from sklearn import get_config
from sklearn.utils.validation import check_array, validate_data

from ..cuda.arrays import device_array
from ..errors import DataError
from . import frames

__all__ = ["examples"]

Array = NDArray[Any]

_READ = frozenset(np.dtype(name) for name in ("float32", "float64", "uint8"))
_SMALL = 4096  # elements up to which one product with itself shows fastest that all are finite
_BLOCK = 2**18  # elements of a block that is searched for NaN and infinity
_NAMES_BY_PROTOCOL = tuple(map(int, sklearn_version.split(".")[:2])) < (1, 9)


def examples(estimator: Any, X: Any, *, reset: bool, name: str = "X") -> Any:
    """Check X and return it as the engine reads it.

    Parameters
    ----------
    estimator : BaseEstimator
        Gets `n_features_in_` and, where X has columns named by strings, `feature_names_in_`; or is asked for
        them, see `reset`.
    X : array-like, scipy.sparse matrix or array, or data frame, of shape (n_examples, n_features)
        Arrays and lists of numbers; every format of scipy.sparse, with indices of 32 or 64 bits; eager frames
        that narwhals reads (pandas, polars, Arrow tables and others) and Arrow record batches; arrays of float32,
        float64 and uint8 on a GPU, which are not searched for NaN.
    reset : bool
        True to remember number and names of the features, as for the first training; False to compare X with
        those remembered.
    name : str, default "X"
        What messages call X.

    Returns
    -------
    ndarray, CSR or DeviceArray
        float32, float64 and uint8 stay; everything else becomes float64, as scikit-learn computes it. An
        array's rows are contiguous. A sparse X stays sparse: CSR of float32 (also for uint8, which is computed
        in float32 when dense) or float64, columns ascending, with repeated entries where it came so; those add up.
        Neither is a copy where X already is such.

    Raises
    ------
    DataError
        A ValueError: X holds NaN, infinity, text, categories, dates or missing values. The message names the
        columns of a frame, and scikit-learn's transformer that helps.
    ValueError, TypeError
        scikit-learn's own, for other shapes, complex numbers, features that differ from those remembered, and
        objects that are no numbers.

    Notes
    -----
    `sklearn.config_context(assume_finite=True)` lets NaN and infinity pass, as in scikit-learn.
    """
    if not reset and _is_ready(estimator, X):
        return X
    on_gpu = device_array(X, name)
    if on_gpu is not None:
        _check_features(estimator, np.broadcast_to(np.float32(0), on_gpu.shape), reset, name)
        return on_gpu
    frame = None
    if not isinstance(X, np.ndarray | list | tuple) and not scipy.sparse.issparse(X):
        frame = frames.as_frame(X, name)
    if frame is not None:
        # Names first: a frame with other columns than those trained on should hear that before all else.
        by_protocol = _NAMES_BY_PROTOCOL and not frame.implementation.is_pandas()
        _check_features(estimator, _Header(frame) if by_protocol else frame.to_native(), reset, name)
        X = frames.as_matrix(frame, name)
    if isinstance(X, np.ma.MaskedArray) and (count := int(np.sum(X.mask))):
        raise DataError(f"{name} must have no masked values, got {count}; {frames.FILL}")
    checked = check_array(
        X, accept_sparse="csr", dtype=None, ensure_all_finite=False, estimator=estimator, input_name=name
    )
    if frame is None:
        _check_features(estimator, checked, reset, name)
    if scipy.sparse.issparse(checked):
        return _sparse(checked, name)
    array = _contiguous_rows(_numeric(np.asarray(checked), name))
    if not _all_finite(array) and not get_config()["assume_finite"]:
        if frame is not None:
            frames.refuse(frame, name)
        _refuse_non_finite(array, np.argwhere, name)
    return array


def _is_ready(estimator: Any, X: Any) -> bool:
    """Whether X needs nothing; said fast, for predictions and training on a few examples at a time."""
    if type(X) is not np.ndarray or X.ndim != 2 or X.dtype not in _READ or X.size == 0:
        return False
    flags, fitted = X.flags, vars(estimator)
    return (
        flags.c_contiguous
        and flags.aligned
        and X.shape[1] == fitted.get("n_features_in_")
        and "feature_names_in_" not in fitted
        and _all_finite(X)
    )


def _check_features(estimator: Any, X: Any, reset: bool, name: str) -> None:
    """Remember or compare number and names of the features, by scikit-learn's own rules and words."""
    try:
        validate_data(estimator, X, reset=reset, skip_check_array=True)
    except ValueError as error:
        if name == "X":
            raise
        raise DataError(f"{name}: {error}") from None


class _Header:
    """A frame's columns in the form in which scikit-learn before 1.9 asks for them."""

    def __init__(self, frame: nw.DataFrame[Any]) -> None:
        self.shape = frame.shape
        self._names = frame.columns

    def __dataframe__(self) -> _Header:
        return self

    def column_names(self) -> list[str]:
        return self._names


def _numeric(array: Array, name: str) -> Array:
    """The array in float32, float64 or uint8 of this machine's byte order."""
    native = array.dtype.newbyteorder("=")
    if native in _READ:
        return array.astype(native, copy=False)
    if array.dtype.kind in "mMV":
        raise DataError(f"{name} must hold numbers, got dtype {array.dtype}")
    try:
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as such
            return array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        _refuse_objects(array, name, error)


def _refuse_objects(array: Array, name: str, error: Exception) -> NoReturn:
    """Say where the first value is that is no number."""
    for (row, column), value in np.ndenumerate(array):
        try:
            float(value)
        except (TypeError, ValueError, OverflowError) as fault:
            where = f"in row {row}, column {column}"
            if isinstance(value, str | bytes):
                text = reprlib.repr(value.item() if isinstance(value, np.generic) else value)
                raise DataError(f"{name} must hold numbers, got {text} {where}; {frames.ENCODE}") from None
            kind = TypeError if isinstance(fault, TypeError) else DataError
            raise kind(f"{name} must hold numbers: {fault} {where}") from None
    raise error


def _contiguous_rows(array: Array) -> Array:
    """The array itself where the engine can step from row to row of it, else a copy."""
    step = array.strides[0]
    within = array.shape[1] == 1 or array.strides[1] == array.itemsize
    if within and array.flags.aligned and step >= 0 and step % array.itemsize == 0:
        return array
    return np.ascontiguousarray(array) if array.flags.aligned else array.copy(order="C")


def _sparse(X: Any, name: str) -> Any:
    """CSR as the engine reads it; that its indices stay inside is checked there."""
    native = X.dtype.newbyteorder("=")
    if native not in _READ:
        X = X.astype(np.float64)
    elif X.dtype not in (np.float32, np.float64):
        X = X.astype(np.float32 if native == np.uint8 else native)
    values = X.data[: X.indptr[-1]]  # what follows belongs to no row
    if not _all_finite(values) and not get_config()["assume_finite"]:

        def places(bad: Array) -> Array:
            entry = np.flatnonzero(bad)
            return np.column_stack([np.searchsorted(X.indptr, entry, side="right") - 1, X.indices[entry]])

        _refuse_non_finite(values, places, name)
    if not X.has_sorted_indices:
        X = X.sorted_indices()
    parts = (X.data, X.indices, X.indptr)
    if X.indices.dtype == X.indptr.dtype and all(p.flags.c_contiguous and p.flags.aligned for p in parts):
        return X
    return type(X)(tuple(part.copy() for part in parts), shape=X.shape)


def _all_finite(values: Array) -> bool:
    """Whether there is neither NaN nor infinity."""
    if values.dtype.kind != "f":
        return True
    if values.size <= _SMALL and math.isfinite(np.vdot(values, values)):
        return True  # squares cannot cancel; where they overflow, a closer look follows
    rows = max(1, _BLOCK // math.prod(values.shape[1:]))
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(values), rows):
            block = values[start : start + rows]
            if not math.isfinite(block.sum()) and not np.isfinite(block).all():
                return False
    return True


def _refuse_non_finite(values: Array, places: Any, name: str) -> NoReturn:
    """Say how many values are NaN or infinite, and where the first is; `places` finds rows and columns."""
    bad, what = np.isnan(values), "NaN"
    if not bad.any():
        bad, what = np.isinf(values), f"infinity or a value too large for {values.dtype}"
    row, column = places(bad)[0]
    count = int(bad.sum())
    hint = f"; {frames.FILL}" if what == "NaN" else ""
    raise DataError(
        f"Input {name} contains {what}: {count} value{'s' * (count > 1)}, "
        f"the first in row {row}, column {column}{hint}"
    )
