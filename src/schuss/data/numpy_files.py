"""The user's data in NumPy files: .npz, or a pair of .npy files. Pickled objects are never loaded."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schuss.data.arrays import as_features, file_scale, flat, from_arrays
from schuss.data.dataset import Dataset, Splits
from schuss.errors import DataError

__all__ = ["npy_features", "npz_features", "read_npy_pair", "read_npz"]

Arrays = dict[str, NDArray[Any]]

_PARTS = ("train", "validation", "test")
_NAMES = ("X", "y", *(f"{kind}_{part}" for part in _PARTS for kind in "Xy"))
_FAULTS = (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error)


def read_npz(path: Path) -> Dataset | Splits:
    """Read X and y, or X_train and y_train with X_validation, y_validation, X_test, y_test where present."""
    arrays = _read_npz_arrays(path)
    if "X" in arrays:
        return _dataset(arrays, "X", "y", path)
    train = _dataset(arrays, "X_train", "y_train", path)
    validation, test = (
        _dataset(arrays, f"X_{part}", f"y_{part}", path, train.classes)
        if f"X_{part}" in arrays or f"y_{part}" in arrays
        else None
        for part in ("validation", "test")
    )
    return Splits(train, validation, test, path.name)


def npz_features(path: Path) -> NDArray[Any]:
    """Read X, or X_test if the file has parts; targets need not be there."""
    arrays = _read_npz_arrays(path)
    name = "X" if "X" in arrays else "X_test"
    return as_features(flat(_get(arrays, name, path)), f"{path}: {name}")


def read_npy_pair(X_path: Path, y_path: Path) -> Dataset:
    """Read features and targets from one .npy file each."""
    X, y = flat(_read_npy(X_path)), _as_numbers(_read_npy(y_path))
    return from_arrays(X, y, scale=file_scale(X), names=(str(X_path), str(y_path)))


def npy_features(path: Path) -> NDArray[Any]:
    """Read the features in a .npy file."""
    return as_features(flat(_read_npy(path)), str(path))


def _dataset(
    arrays: Arrays, X_name: str, y_name: str, path: Path, classes: NDArray[Any] | None = None
) -> Dataset:
    X, y = flat(_get(arrays, X_name, path)), _as_numbers(_get(arrays, y_name, path))
    names = (f"{path}: {X_name}", f"{path}: {y_name}")
    return from_arrays(X, y, classes=classes, scale=file_scale(X), names=names)


def _as_numbers(y: NDArray[Any]) -> NDArray[Any]:
    """Several columns of whole numbers are several targets, as in a table; one is left alone."""
    return y.astype(np.float64) if y.ndim == 2 and y.shape[1] > 1 and y.dtype.kind in "biu" else y


def _get(arrays: Arrays, name: str, path: Path) -> NDArray[Any]:
    if name not in arrays:
        raise DataError(f"{path}: must hold the array {name}, holds {', '.join(arrays) or 'none of use'}")
    return arrays[name]


def _read_npz_arrays(path: Path) -> Arrays:
    """Read the arrays with our names, in upper or lower case; other names are left alone."""
    ours = {name.lower(): name for name in _NAMES}
    arrays: Arrays = {}
    try:
        with open(path, "rb") as file:
            stored = np.load(file, allow_pickle=False)
            if isinstance(stored, np.ndarray):
                raise DataError(f"{path}: must be a .npz file, got a single .npy array")
            for key in stored.files:
                name = ours.get(key.lower())
                if name is None and key.lower().startswith(("x_", "y_")):
                    raise DataError(f"{path}: arrays must be named {', '.join(_NAMES)}, got {key}")
                if name in arrays:
                    raise DataError(f"{path}: must hold one array {name}, got {key} as well")
                if name is not None:
                    arrays[name] = stored[key]
    except DataError:
        raise
    except _FAULTS as error:
        raise _unreadable(path, error) from None
    if ("X" in arrays or "y" in arrays) and len(arrays.keys() - {"X", "y"}):
        raise DataError(f"{path}: must hold either X and y or parts such as X_train, got {', '.join(arrays)}")
    return arrays


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        with open(path, "rb") as file:
            stored = np.load(file, allow_pickle=False)
    except _FAULTS as error:
        raise _unreadable(path, error) from None
    if not isinstance(stored, np.ndarray):
        raise DataError(f"{path}: must be a .npy file, got a .npz archive")
    if stored.ndim == 0:
        raise DataError(f"{path}: must hold one row per example, got a single value")
    return stored


def _unreadable(path: Path, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: no such file")
    if "allow_pickle" in str(error) or "pickle" in str(error):
        return DataError(f"{path}: must hold numbers or strings, got Python objects (loading them runs code)")
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{path}: must be a whole NumPy file, got: {reason}")
