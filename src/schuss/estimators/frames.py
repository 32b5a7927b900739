"""Data frames as matrices: which columns are numbers, and what to do about those that are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

__all__ = ["ENCODE", "FILL", "as_frame", "as_matrix", "refuse"]

Array = NDArray[Any]

ENCODE = "encode with sklearn.preprocessing.OneHotEncoder, OrdinalEncoder or TargetEncoder"
FILL = "fill with sklearn.impute.SimpleImputer or KNNImputer"
_DERIVE = "derive numbers with sklearn.preprocessing.FunctionTransformer"

_SHOWN = 10  # columns that a message names
_ROWS = 1024  # copied from every column in turn, so that what is written stays in the cache


def as_frame(X: Any, name: str) -> nw.DataFrame[Any] | None:
    """X as narwhals sees it; None if it is no frame. Lazy frames are refused: they hold no data yet."""
    found = nw.from_native(X, pass_through=True)
    if isinstance(found, nw.DataFrame):
        return found
    if isinstance(found, nw.LazyFrame):
        raise DataError(
            f"{name} must be a frame in memory, got a lazy one ({type(X).__name__}): collect it first"
        )
    if hasattr(X, "__arrow_c_stream__") and len(getattr(X, "shape", ())) == 2:  # a record batch
        return nw.from_arrow(X, backend="pyarrow")
    return None


def as_matrix(frame: nw.DataFrame[Any], name: str) -> Any:
    """Return the columns as a matrix of the type that NumPy finds for all of them together.

    Booleans are numbers here, 0 and 1. Missing values become NaN, for the caller to find. A pandas frame of
    sparse columns alone becomes a sparse matrix.
    """
    native = frame.to_native()
    if frame.implementation.is_pandas() and frame.shape[1]:
        if all(isinstance(dtype, np.dtype) and dtype.kind in "fiu" for dtype in set(native.dtypes)):
            return native.to_numpy()  # at once: column by column, a single row would take 0.7 ms
        if hasattr(native, "sparse"):
            return native.sparse.to_coo()
    columns = [values for column in frame.iter_columns() if (values := _numbers(column)) is not None]
    if len(columns) < frame.shape[1]:
        refuse(frame, name)
    dtype = np.result_type(*columns) if columns else np.dtype(np.float64)
    matrix = np.empty(frame.shape, dtype)
    for start in range(0, len(matrix), _ROWS):
        rows = slice(start, start + _ROWS)
        for column, values in enumerate(columns):
            matrix[rows, column] = values[rows]
    return matrix


def refuse(frame: nw.DataFrame[Any], name: str) -> NoReturn:
    """Say which columns are no numbers, lack values or hold infinity, and what helps; all in one line."""
    labels, dates, others, missing, infinite = list[str](), list[str](), list[str](), list[str](), list[str]()
    for label, column in zip(frame.columns, frame.iter_columns(), strict=True):
        values, kind = _numbers(column), _kind(column.dtype)
        empty = column.null_count() if values is None else int(np.isnan(values).sum())
        if empty:
            missing.append(f"{label!r} ({empty})")
        if values is not None:
            if np.isinf(values).any():
                infinite.append(f"{label!r} ({int(np.isinf(values).sum())})")
        elif kind in ("categorical", "text", "objects"):
            labels.append(f"{label!r} ({kind})")
        elif column.dtype.is_temporal():
            dates.append(f"{label!r} ({type(column.dtype).__name__.lower()})")
        else:
            others.append(f"{label!r} ({kind})")
    faults = (
        ("no numbers in", labels, f", {ENCODE}"),
        ("no numbers in", dates, f", {_DERIVE}"),
        ("no numbers in", others, ""),
        ("missing values (NaN) in", missing, f", {FILL}"),
        ("infinity in", infinite, ""),
    )
    found = "; ".join(f"{what} {_listed(columns)}{help}" for what, columns, help in faults if columns)
    raise DataError(f"{name} must hold a finite number in every column: {found}")


def _numbers(column: nw.Series[Any]) -> Array | None:
    """The column's values as numbers, NaN where one is missing; None if they are no numbers."""
    if _kind(column.dtype) not in ("numbers", "objects"):
        return None
    if column.dtype in (nw.Decimal, nw.Int128, nw.UInt128):
        column = column.cast(nw.Float64)  # NumPy has none of these
    values = column.to_numpy()
    if values.dtype.kind in "fiub":
        return values
    numbers = np.full(len(values), np.nan)  # objects: Python's numbers, or booleans of which some are missing
    present = ~column.is_null().to_numpy()
    try:
        numbers[present] = values[present].astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers


def _kind(dtype: Any) -> str:
    if dtype.is_numeric() or dtype == nw.Boolean:
        return "numbers"
    if dtype in (nw.Categorical, nw.Enum):
        return "categorical"
    if dtype == nw.String:
        return "text"
    return "objects" if dtype in (nw.Object, nw.Unknown) else str(dtype)


def _listed(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - _SHOWN} more" if len(columns) > _SHOWN else ""
    return f"column{'s' * (len(columns) > 1)} {', '.join(columns[:_SHOWN])}{more}"
