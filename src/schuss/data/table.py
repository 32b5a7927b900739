"""The user's data in a .csv file."""

import csv
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from schuss.data.arrays import from_arrays
from schuss.data.columns import (
    INTEGER,
    MISSING,
    Layout,
    Target,
    check_finite_features,
    is_number,
    target_columns,
    target_names,
    text_targets,
)
from schuss.data.dataset import Dataset
from schuss.errors import DataError

__all__ = ["csv_features", "read_csv"]

_DELIMITERS = "\t;,"


def read_csv(path: Path, *, target: Target | None = None) -> Dataset:
    """Read a CSV file as examples with targets.

    Parameters
    ----------
    path : Path
        UTF-8 text separated by tabs, semicolons or commas: the first of these that its first line contains.
        The first line is a header if it contains no number, if it contains the name `target`, or if the
        target column has text there and a number in the next line.
    target : str or int, or sequence of these, default=None
        Target column by name or index; negative indices count from the end. None is the last column. Several
        columns, in a sequence or in one text with commas between them, are the targets of a regression.

    Returns
    -------
    Dataset
        Features are float32. Targets that are all integers are labels, and so are texts (then all labels are
        strings); other numbers, and several columns, are float64 targets of a regression.
    """
    table = _read(path, -1 if target is None else target)
    several = len(table.targets) > 1
    columns = [
        text_targets(cells, column, table.layout, numeric=several)
        for column, cells in zip(table.layout.targets, table.targets, strict=True)
    ]
    y = np.column_stack(columns) if several else columns[0]
    return from_arrays(table.features, y, names=(str(path), f"{path}: target"))


def csv_features(
    path: Path, *, target: Target | None = None, n_features: int | None = None
) -> NDArray[np.float32]:
    """Read the features of a CSV file, which need not have a target column.

    Parameters
    ----------
    path : Path
        As in `read_csv`.
    target : str or int, or sequence of these, default=None
        Columns to leave out.
    n_features : int, default=None
        The number expected. If the file has one column more and no `target` is named, its last column is
        left out.
    """
    if target is None and n_features is not None:
        first = next(_rows(path), None)
        target = -1 if first is not None and len(first[1]) == n_features + 1 else None
    return _read(path, target).features


@dataclass(frozen=True)
class _Table:
    layout: Layout
    features: NDArray[np.float32]
    targets: tuple[list[str], ...]


def _read(path: Path, target: Target | None) -> _Table:
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
    columns = () if target is None else target_columns(path, target, width, header)
    lines, numbers = array("q"), array("f")
    layout = Layout(path, header, columns, lines, "line")
    targets: tuple[list[str], ...] = tuple([] for _ in columns)
    from_the_right = sorted(zip(columns, targets, strict=True), key=lambda pair: -pair[0])
    for line, cells in chain(start[has_header:], rows):
        if len(cells) != width:
            raise DataError(
                f"{path}, line {line}: must have {width} cells like the first line, got {len(cells)}"
            )
        for column, labels in from_the_right:
            labels.append(cells.pop(column))
        try:
            numbers.extend(map(float, cells))
        except ValueError:
            _fail_on_text(layout, line, cells)
        lines.append(line)
    features = np.frombuffer(numbers, np.float32).reshape(len(lines), -1)
    check_finite_features(features, layout)
    return _Table(layout, features, targets)


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


def _is_header(start: list[list[str]], target: Target | None) -> bool:
    first = start[0]
    targets = [] if target is None else target_names(target, first)
    named = [name for name in targets if isinstance(name, str) and not INTEGER.fullmatch(name)]
    if named:
        return any(name in first for name in named) or _without_numbers(first)
    if _without_numbers(first):
        return True
    if len(start) < 2 or len(first) > len(start[1]):
        return False
    return any(_heads(start, int(index)) for index in targets if -len(first) <= int(index) < len(first))


def _heads(start: list[list[str]], column: int) -> bool:
    """Whether a text stands above a number."""
    above, below = start[0][column], start[1][column]
    return not is_number(above) and above.lower() not in MISSING and is_number(below)


def _without_numbers(cells: list[str]) -> bool:
    return not any(cell and (is_number(cell) or cell.lower() in MISSING) for cell in cells)


def _fail_on_text(layout: Layout, line: int, cells: list[str]) -> NoReturn:
    feature = next(i for i, cell in enumerate(cells) if not is_number(cell))
    missing = cells[feature].lower() in MISSING
    rule = "value missing, must be a number" if missing else "must be a number"
    layout.fail_at(line, layout.feature_column(feature), rule, cells[feature])
