"""What tables of every kind share: which columns are targets, how cells become numbers, how a bad cell is named."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from schuss.errors import DataError

__all__ = [
    "INTEGER",
    "MISSING",
    "Layout",
    "Target",
    "check_finite_features",
    "is_number",
    "target_columns",
    "target_names",
    "text_targets",
]

#: A column by name or index, several, or several names written with commas between them.
Target = str | int | Sequence[str | int]

MISSING = {"", "na", "n/a", "nan", "null", "none", "?"}
INTEGER = re.compile(r"[+-]?\d+", re.ASCII)


@dataclass(frozen=True)
class Layout:
    """What a message needs to name a cell.

    Parameters
    ----------
    path : Path
    header : list of str or None
    targets : tuple of int
        Numbers of the target columns.
    places : sequence of int
        Where in the file each row of the table is found.
    unit : str
        What `places` counts: "line" or "row".
    """

    path: Path
    header: list[str] | None
    targets: tuple[int, ...]
    places: Sequence[int]
    unit: str

    def fail(self, row: int, column: int, rule: str, value: object) -> NoReturn:
        """Refuse the cell in this row of the table."""
        self.fail_at(self.places[row], column, rule, value)

    def fail_at(self, place: int, column: int, rule: str, value: object) -> NoReturn:
        """Refuse the cell in this place of the file."""
        name = f" ({self.header[column]!r})" if self.header else ""
        raise DataError(f"{self.path}, {self.unit} {place}, column {column}{name}: {rule}, got {value!r}")

    def feature_column(self, feature: int) -> int:
        """Return the column of this feature."""
        for target in sorted(self.targets):
            feature += feature >= target
        return feature


def is_number(cell: str) -> bool:
    """Whether the text can be read as a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def target_names(target: Target, header: Sequence[str] = ()) -> list[str | int]:
    """Return the targets one by one; a text with commas names several unless a column has that very name."""
    if isinstance(target, str):
        several = "," in target and target not in header
        return [part.strip() for part in target.split(",")] if several else [target]
    return [target] if isinstance(target, int | np.integer) else list(target)


def target_columns(path: Path, target: Target, width: int, header: list[str] | None) -> tuple[int, ...]:
    """Return the numbers of the target columns, in the order asked for."""
    columns = tuple(_column(path, name, width, header) for name in target_names(target, header or ()))
    if not columns or len(set(columns)) < len(columns):
        raise DataError(f"{path}: target must name columns that differ from each other, got {target!r}")
    if len(columns) == width:
        count = "one column" if width == 1 else f"{width} columns"
        raise DataError(f"{path}: must have a feature column beside the target, got {count} in all")
    return columns


def _column(path: Path, target: str | int, width: int, header: list[str] | None) -> int:
    if header and target in header:
        if header.count(str(target)) > 1:
            raise DataError(f"{path}: target must name one column, got {target!r}, which names several")
        return header.index(str(target))
    if isinstance(target, str) and not INTEGER.fullmatch(target):
        known = ", ".join(header) if header else f"no header, so an index from {-width} to {width - 1}"
        raise DataError(f"{path}: target must be a column of the file ({known}), got {target!r}")
    if not -width <= int(target) < width:
        raise DataError(f"{path}: target must be an index from {-width} to {width - 1}, got {target}")
    return int(target) % width


def check_finite_features(features: NDArray[np.float32], layout: Layout) -> None:
    """Refuse the first feature that is not finite."""
    finite = np.isfinite(features)
    if not finite.all():
        row, feature = (int(i) for i in np.argwhere(~finite)[0])
        value = float(features[row, feature])
        layout.fail(row, layout.feature_column(feature), "must be finite as float32", value)


def text_targets(cells: Sequence[str], column: int, layout: Layout, *, numeric: bool) -> NDArray[Any]:
    """Return a target column as integers, floats or strings.

    Parameters
    ----------
    cells : sequence of str
        The column, a cell a row.
    column : int
        Its number.
    layout : Layout
        What a message is made of.
    numeric : bool
        Whether it must be numbers, which come as floats: one of several targets.
    """

    def fail(row: int, rule: str) -> NoReturn:
        layout.fail(row, column, rule, cells[row])

    text = [row for row, cell in enumerate(cells) if not is_number(cell)]
    missing = [row for row in text if cells[row].lower() in MISSING]
    if missing and (numeric or len(missing) == len(text) or not all(cells[row] for row in missing)):
        fail(missing[0], "target missing")
    if text:
        if numeric:
            fail(text[0], "must be a number, as one of several targets")
        return np.array(cells, np.str_)
    if not numeric and all(INTEGER.fullmatch(cell) for cell in cells):
        large = [row for row, cell in enumerate(cells) if abs(int(cell)) >= 2**63]
        if large:
            fail(large[0], "integer label must fit into 64 bits")
        return np.array([int(cell) for cell in cells], np.int64)
    values = np.array([float(cell) for cell in cells])
    if not np.isfinite(values).all():
        fail(int(np.argmin(np.isfinite(values))), "target must be finite")
    return values
