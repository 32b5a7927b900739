"""Dataset and Splits: what every source of data returns."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schuss.errors import DataError

__all__ = ["Dataset", "Splits", "check_finite"]

_FEATURE_DTYPES = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.uint8))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples with their targets.

    Parameters
    ----------
    X : ndarray of shape (n_examples, n_features)
        Features, C-contiguous, float32, float64 or uint8.
    y : ndarray of shape (n_examples,) or (n_examples, n_outputs)
        int32 class numbers (one dimension) if `classes` is given, else floating targets.
    classes : ndarray of shape (n_classes,), default=None
        The label of each class number, sorted.
    scale, shift : float, default=1.0, 0.0
        The network sees X * scale + shift.
    names : tuple of str, default=None
        The name of each feature, all different, where the source names its columns.
    """

    X: NDArray[Any]
    y: NDArray[Any]
    classes: NDArray[Any] | None = None
    scale: float = 1.0
    shift: float = 0.0
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        X, y = self.X, self.y
        if not isinstance(X, np.ndarray) or X.ndim != 2:
            raise DataError(f"X must be an array of shape (n_examples, n_features), got {_describe(X)}")
        if X.dtype not in _FEATURE_DTYPES or not X.flags.c_contiguous:
            order = "C-contiguous" if X.flags.c_contiguous else "not C-contiguous"
            raise DataError(f"X must be C-contiguous float32, float64 or uint8, got {order} {X.dtype}")
        if 0 in X.shape:
            raise DataError(f"X must have at least one example and one feature, got shape {X.shape}")
        if not isinstance(y, np.ndarray) or y.ndim not in (1, 2) or 0 in y.shape:
            raise DataError(f"y must be an array with one target per example, got {_describe(y)}")
        if len(y) != len(X):
            raise DataError(f"X and y must have as many rows as each other, got {len(X)} and {len(y)}")
        if not (np.isfinite(self.scale) and self.scale != 0 and np.isfinite(self.shift)):
            raise DataError(f"scale and shift must be finite, scale not 0, got {self.scale} and {self.shift}")
        check_finite(X, "X")
        if self.names is not None and (
            len(self.names) != X.shape[1] or len(set(self.names)) < len(self.names)
        ):
            raise DataError(
                f"names must be {X.shape[1]} names that differ from each other, got {self.names!r:.100}"
            )
        if self.classes is None:
            if y.dtype not in _FEATURE_DTYPES[:2]:
                raise DataError(f"y without classes must be float32 or float64, got {y.dtype}")
            check_finite(y, "y")
        else:
            self._check_class_numbers(self.classes)

    def _check_class_numbers(self, classes: NDArray[Any]) -> None:
        if classes.ndim != 1 or not np.array_equal(np.unique(classes), classes):
            raise DataError(f"classes must be sorted and different from each other, got {classes!r}")
        y = self.y
        if y.dtype != np.int32 or y.ndim != 1:
            raise DataError(f"y must be int32 class numbers of shape (n_examples,), got {_describe(y)}")
        low, high = int(y.min()), int(y.max())
        if low < 0 or high >= len(classes):
            bad = low if low < 0 else high
            raise DataError(f"y must hold class numbers from 0 to {len(classes) - 1}, got {bad}")

    @property
    def n_examples(self) -> int:
        """Number of examples."""
        return len(self.X)

    @property
    def n_features(self) -> int:
        """Number of features of an example."""
        return int(self.X.shape[1])

    @property
    def labels(self) -> NDArray[Any]:
        """The label of each example; the targets themselves where there are no classes."""
        return self.y if self.classes is None else self.classes[self.y]

    def __len__(self) -> int:
        return self.n_examples

    def __repr__(self) -> str:
        kind = "targets" if self.classes is None else f"{len(self.classes)} classes"
        return f"Dataset({self.n_examples} examples, {self.n_features} features {self.X.dtype}, {kind})"

    def take(self, rows: NDArray[np.intp] | slice) -> "Dataset":
        """Return the examples with these row numbers, with all of this set's classes; a slice makes no copy."""
        return replace(self, X=self.X[rows], y=self.y[rows])


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set in its parts; a part that the source does not have is None."""

    train: Dataset
    validation: Dataset | None
    test: Dataset | None
    name: str

    def __post_init__(self) -> None:
        first = self.train
        for part, other in (("validation", self.validation), ("test", self.test)):
            if other is None:
                continue
            pairs = {
                "number of features": (first.n_features, other.n_features),
                "scale": (first.scale, other.scale),
                "shift": (first.shift, other.shift),
                "shape of a target": (first.y.shape[1:], other.y.shape[1:]),
                "classes": (_classes(first), _classes(other)),
                "names": (first.names, other.names),
            }
            for what, (expected, found) in pairs.items():
                if expected != found:
                    raise DataError(f"{self.name}: {what} must be train's {expected} in {part}, got {found}")

    def __repr__(self) -> str:
        parts = (("train", self.train), ("validation", self.validation), ("test", self.test))
        sizes = ", ".join(f"{part} {0 if data is None else len(data)}" for part, data in parts)
        return f"Splits({self.name!r}: {sizes})"


def check_finite(values: NDArray[Any], name: str) -> None:
    """Raise DataError if a number is NaN or infinite, and say where the first one is."""
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return
    place = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
    where = ", ".join(f"{axis} {i}" for axis, i in zip(("row", "column"), place, strict=False))
    raise DataError(f"{name} must hold finite numbers, got {values[place]} in {where} (counted from 0)")


def _classes(data: Dataset) -> list[Any] | None:
    return None if data.classes is None else data.classes.tolist()


def _describe(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    return type(value).__name__
