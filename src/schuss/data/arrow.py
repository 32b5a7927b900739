"""The user's data in typed tables: .parquet files, and Arrow's own .arrow and .feather; read by pyarrow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from schuss.data.columns import (
    Layout,
    Table,
    Target,
    Wanted,
    check_finite_features,
    is_number,
    lay_out,
    text_targets,
)
from schuss.data.dataset import Dataset
from schuss.errors import DataError

if TYPE_CHECKING:
    import pyarrow

__all__ = ["arrow_table", "read_arrow"]


def read_arrow(
    path: Path, *, target: Target | None = None, features: tuple[str, ...] | None = None
) -> Dataset:
    """Read a Parquet or Arrow file as examples with targets.

    Parameters
    ----------
    path : Path
        Ends in .parquet, .arrow or .feather. Columns that pandas stored as an index are left out unless they
        are asked for.
    target, features
        As in `read_csv`.

    Returns
    -------
    Dataset
        Features are float32, as of a CSV file; texts that can be read as numbers count as such. A target of
        integers, booleans or texts is labels; other numbers, and several columns, are float64 targets of a
        regression.
    """
    return arrow_table(path, Wanted(target, features)).dataset()


def arrow_table(path: Path, wanted: Wanted) -> Table:
    """Read those columns of a Parquet or Arrow file that are wanted; what is in others does not matter."""
    table = _read(path, wanted)
    names = table.column_names
    layout = lay_out(path, len(names), names, wanted, range(table.num_rows), "row")
    several = len(layout.targets) > 1
    columns = [_target(table.column(column), column, layout, numeric=several) for column in layout.targets]
    targets = None
    if columns:
        targets = np.column_stack(columns) if several else columns[0]
    weights = None
    if layout.weights is not None:
        found = _numbers(table.column(layout.weights), layout.weights, layout)
        weights = found.astype(np.float64)
    return Table(layout, _features(table, layout), targets, weights)


def _read(path: Path, wanted: Wanted) -> pyarrow.Table:
    try:
        import pyarrow
        from pyarrow import ipc, parquet
    except ImportError:
        raise DataError(f"{path}: pyarrow is needed to read it: pip install 'schuss[parquet]'") from None
    kind = "Parquet" if path.suffix.lower() == ".parquet" else "Arrow"
    try:
        if kind == "Parquet":
            with parquet.ParquetFile(path) as file:
                table = file.read()
        else:
            table = ipc.open_file(pyarrow.memory_map(str(path))).read_all()
    except (OSError, pyarrow.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: must be a whole {kind} file, got: {reason}") from None
    asked = wanted.names(table.column_names)
    index = (table.schema.pandas_metadata or {}).get("index_columns", [])
    table = table.drop_columns([name for name in index if isinstance(name, str) and name not in asked])
    if table.num_rows == 0 or table.num_columns == 0:
        raise DataError(f"{path}: must have at least one row of data, got an empty table")
    return table


def _features(table: pyarrow.Table, layout: Layout) -> NDArray[np.float32]:
    features = np.empty((table.num_rows, len(layout.features)), np.float32)
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused below
        for feature, column in enumerate(layout.features):
            features[:, feature] = _numbers(table.column(column), column, layout)
    check_finite_features(features, layout)
    return features


def _numbers(values: pyarrow.ChunkedArray, column: int, layout: Layout) -> NDArray[Any]:
    """A column of features, or of weights, as numbers."""
    values = _plain(values)
    if values.null_count:
        layout.fail(_first_null(values), column, "value missing, must be a number", None)
    if _is_text(values):
        cells = values.to_pylist()
        bad = next((row for row, cell in enumerate(cells) if not is_number(cell)), None)
        if bad is not None:
            layout.fail(bad, column, "must be a number", cells[bad])
        return np.array([float(cell) for cell in cells])
    found: NDArray[Any] = values.to_numpy()
    if found.dtype.kind not in "biuf":
        layout.fail(0, column, "must be a number", str(values.type))
    return found


def _target(values: pyarrow.ChunkedArray, column: int, layout: Layout, *, numeric: bool) -> NDArray[Any]:
    """A target column as labels (integers, booleans or strings) or floats; only floats if `numeric`."""
    values = _plain(values)
    if values.null_count:
        layout.fail(_first_null(values), column, "target missing", None)
    if _is_text(values):
        cells = values.to_pylist()
        return text_targets(cells, column, layout, numeric=True) if numeric else np.array(cells, np.str_)
    found: NDArray[Any] = values.to_numpy()
    if found.dtype.kind not in "biuf":
        layout.fail(0, column, "target must be numbers or text", str(values.type))
    if found.dtype.kind != "f" and not numeric:
        if found.dtype.kind == "b":
            return found
        if found.max() >= 2**63:
            layout.fail(
                int(np.argmax(found)), column, "integer label must fit into 64 bits", int(found.max())
            )
        return found.astype(np.int64)
    found = found.astype(np.float64)
    if not np.isfinite(found).all():
        row = int(np.argmin(np.isfinite(found)))
        layout.fail(row, column, "target must be finite", float(found[row]))
    return found


def _plain(values: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """The column in a type that NumPy has: categories as what they stand for, decimals as floats."""
    from pyarrow import float64, types

    if types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values.cast(float64()) if types.is_decimal(values.type) else values


def _is_text(values: pyarrow.ChunkedArray) -> bool:
    from pyarrow import types

    return any(
        is_kind(values.type) for is_kind in (types.is_string, types.is_large_string, types.is_string_view)
    )


def _first_null(values: pyarrow.ChunkedArray) -> int:
    return int(np.argmax(values.is_null().to_numpy()))
