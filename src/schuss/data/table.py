"""The user's data in a .csv file."""

import csv
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from schuss.data.arrays import from_arrays
from schuss.data.dataset import Dataset
from schuss.errors import DataError

__all__ = ["csv_features", "read_csv"]

_DELIMITERS = "\t;,"
_MISSING = {"", "na", "n/a", "nan", "null", "none", "?"}
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)


def read_csv(path: Path, *, target: str | int | None = None) -> Dataset:
    """Read a CSV file as examples with targets.

    Parameters
    ----------
    path : Path
        UTF-8 text separated by tabs, semicolons or commas: the first of these that its first line contains.
        The first line is a header if it contains no number, if it contains the name `target`, or if the
        target column has text there and a number in the next line.
    target : str or int, default=None
        Target column by name or index; negative indices count from the end. None is the last column.

    Returns
    -------
    Dataset
        Features are float32. Targets that are all integers are labels, and so are texts (then all labels are
        strings); other numbers are float64 targets of a regression.
    """
    table = _read(path, -1 if target is None else target)
    return from_arrays(table.features, _targets(table), names=(str(path), f"{path}: target"))


def csv_features(
    path: Path, *, target: str | int | None = None, n_features: int | None = None
) -> NDArray[np.float32]:
    """Read the features of a CSV file, which need not have a target column.

    Parameters
    ----------
    path : Path
        As in `read_csv`.
    target : str or int, default=None
        Column to leave out.
    n_features : int, default=None
        The number expected. If the file has one column more and no `target` is named, its last column is
        left out.
    """
    if target is None and n_features is not None:
        first = next(_rows(path), None)
        target = -1 if first is not None and len(first[1]) == n_features + 1 else None
    return _read(path, target).features


@dataclass(frozen=True)
class _Layout:
    """What a message needs to name a cell."""

    path: Path
    header: list[str] | None
    target_column: int | None

    def fail(self, line: int, column: int, rule: str, value: object) -> NoReturn:
        name = f" ({self.header[column]!r})" if self.header else ""
        raise DataError(f"{self.path}, line {line}, column {column}{name}: {rule}, got {value!r}")

    def feature_column(self, feature: int) -> int:
        skipped = self.target_column is not None and feature >= self.target_column
        return feature + skipped


@dataclass(frozen=True)
class _Table:
    layout: _Layout
    lines: Sequence[int]  # where each row ends in the file
    features: NDArray[np.float32]
    target: list[str]


def _read(path: Path, target: str | int | None) -> _Table:
    rows = _rows(path)
    start = list(islice(rows, 2))
    if not start:
        raise DataError(f"{path}: must have at least one row of data, got an empty file")
    width = len(start[0][1])
    has_header = _is_header([cells for _, cells in start], target)
    header = start[0][1] if has_header else None
    if has_header and len(start) == 1:
        raise DataError(
            f"{path}: must have at least one row of data, got only the header {','.join(start[0][1])}"
        )
    column = None if target is None else _column(path, target, width, header)
    if width - (column is not None) == 0:
        raise DataError(f"{path}: must have a feature column beside the target, got one column in all")
    layout = _Layout(path, header, column)
    lines, numbers, labels = array("q"), array("f"), list[str]()
    for line, cells in chain(start[has_header:], rows):
        if len(cells) != width:
            raise DataError(
                f"{path}, line {line}: must have {width} cells like the first line, got {len(cells)}"
            )
        if column is not None:
            labels.append(cells.pop(column))
        try:
            numbers.extend(map(float, cells))
        except ValueError:
            _fail_on_text(layout, line, cells)
        lines.append(line)
    features = np.frombuffer(numbers, np.float32).reshape(len(lines), -1)
    finite = np.isfinite(features)
    if not finite.all():
        row, feature = (int(i) for i in np.argwhere(~finite)[0])
        value = float(features[row, feature])
        layout.fail(lines[row], layout.feature_column(feature), "must be finite as float32", value)
    return _Table(layout, lines, features, labels)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the stripped cells of each row that is not blank."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            opening = next((line for line in file if line.strip()), "")
            delimiter = next((mark for mark in _DELIMITERS if mark in opening), ",")
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True, strict=True)
            try:
                for cells in reader:
                    if cells and cells != [""]:
                        yield reader.line_num, [cell.strip() for cell in cells]
            except csv.Error as error:
                raise DataError(
                    f"{path}, line {reader.line_num}: must be well-formed CSV, got: {error}"
                ) from None
    except OSError as error:
        raise DataError(f"{path}: must be a readable file, got: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: must be UTF-8 text, got byte {error.object[error.start]:#04x}") from None


def _is_header(start: list[list[str]], target: str | int | None) -> bool:
    first = start[0]
    if isinstance(target, str) and not _INTEGER.fullmatch(target):
        return target in first or _without_numbers(first)
    if _without_numbers(first):
        return True
    if target is None or len(start) < 2 or not -len(first) <= int(target) < len(first) <= len(start[1]):
        return False
    above, below = first[int(target)], start[1][int(target)]
    return not _is_number(above) and above.lower() not in _MISSING and _is_number(below)


def _without_numbers(cells: list[str]) -> bool:
    return not any(cell and (_is_number(cell) or cell.lower() in _MISSING) for cell in cells)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _column(path: Path, target: str | int, width: int, header: list[str] | None) -> int:
    """Return the number of the target column."""
    if header and target in header:
        if header.count(str(target)) > 1:
            raise DataError(f"{path}: target must name one column, got {target!r}, which names several")
        return header.index(str(target))
    if isinstance(target, str) and not _INTEGER.fullmatch(target):
        known = ", ".join(header) if header else f"no header, so an index from {-width} to {width - 1}"
        raise DataError(f"{path}: target must be a column of the file ({known}), got {target!r}")
    if not -width <= int(target) < width:
        raise DataError(f"{path}: target must be an index from {-width} to {width - 1}, got {target}")
    return int(target) % width


def _fail_on_text(layout: _Layout, line: int, cells: list[str]) -> NoReturn:
    feature = next(i for i, cell in enumerate(cells) if not _is_number(cell))
    missing = cells[feature].lower() in _MISSING
    rule = "value missing, must be a number" if missing else "must be a number"
    layout.fail(line, layout.feature_column(feature), rule, cells[feature])


def _targets(table: _Table) -> NDArray[Any]:
    """Return the target column as integers, floats or strings."""
    cells, column = table.target, table.layout.target_column
    assert column is not None

    def fail(row: int, rule: str) -> NoReturn:
        table.layout.fail(table.lines[row], column, rule, cells[row])

    text = [row for row, cell in enumerate(cells) if not _is_number(cell)]
    missing = [row for row in text if cells[row].lower() in _MISSING]
    if missing and (len(missing) == len(text) or not all(cells[row] for row in missing)):
        fail(missing[0], "target missing")
    if text:
        return np.array(cells, np.str_)
    if all(_INTEGER.fullmatch(cell) for cell in cells):
        large = [row for row, cell in enumerate(cells) if abs(int(cell)) >= 2**63]
        if large:
            fail(large[0], "integer label must fit into 64 bits")
        return np.array([int(cell) for cell in cells], np.int64)
    values = np.array([float(cell) for cell in cells])
    if not np.isfinite(values).all():
        fail(int(np.argmin(np.isfinite(values))), "target must be finite")
    return values
