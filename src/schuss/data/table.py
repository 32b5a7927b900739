"""The user's data in a .csv file."""

import csv
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from schuss.data.columns import (
    INTEGER,
    MISSING,
    Layout,
    Table,
    Target,
    Wanted,
    check_finite_features,
    is_number,
    lay_out,
    target_names,
    text_targets,
)
from schuss.data.dataset import Dataset
from schuss.errors import DataError

__all__ = ["csv_table", "read_csv"]

_DELIMITERS = "\t;,"


def read_csv(path: Path, *, target: Target | None = None, features: tuple[str, ...] | None = None) -> Dataset:
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
    features : tuple of str, default=None
        Feature columns by name, in this order, if there is a header; None is then the last of the other columns as
        the target. Without them, and without a header, all columns but the targets are features.

    Returns
    -------
    Dataset
        Features are float32, with the header's names. Targets that are all integers are labels, and so are texts
        (then all labels are strings); other numbers, and several columns, are float64 targets of a regression.
    """
    return csv_table(path, Wanted(target, features)).dataset()


def csv_table(path: Path, wanted: Wanted) -> Table:
    """Read those columns of a CSV file, as of `read_csv`, that are wanted; what is in others does not matter."""
    rows = _rows(path)
    start = list(islice(rows, 2))
    if not start:
        raise DataError(f"{path}: must have at least one row of data, got an empty file")
    width = len(start[0][1])
    header = start[0][1] if _is_header([cells for _, cells in start], wanted) else None
    if header is not None and len(start) == 1:
        raise DataError(f"{path}: must have at least one row of data, got only the header {','.join(header)}")
    lines, numbers = array("q"), array("f")
    layout = lay_out(path, width, header, wanted, lines, "line")
    features = _picker(layout.features)
    others: dict[int, list[str]] = {column: [] for column in layout.targets}
    if layout.weights is not None:
        others[layout.weights] = []
    for line, cells in chain(start[header is not None :], rows):
        if len(cells) != width:
            raise DataError(
                f"{path}, line {line}: must have {width} cells like the first line, got {len(cells)}"
            )
        for column, found in others.items():
            found.append(cells[column])
        try:
            numbers.extend(map(float, features(cells)))
        except ValueError:
            _fail_on_text(layout, line, features(cells))
        lines.append(line)
    X = np.frombuffer(numbers, np.float32).reshape(len(lines), -1)
    check_finite_features(X, layout)
    return Table(layout, X, _targets(others, layout), _weights(others, layout))


def _picker(columns: tuple[int, ...]) -> Callable[[list[str]], Sequence[str]]:
    """The cells of these columns of a row."""
    if len(columns) == 1:
        return itemgetter(slice(columns[0], columns[0] + 1))  # a row all the same
    return itemgetter(*columns)


def _targets(cells: dict[int, list[str]], layout: Layout) -> NDArray[Any] | None:
    several = len(layout.targets) > 1
    columns = [text_targets(cells[column], column, layout, numeric=several) for column in layout.targets]
    if not columns:
        return None
    return np.column_stack(columns) if several else columns[0]


def _weights(cells: dict[int, list[str]], layout: Layout) -> NDArray[np.float64] | None:
    column = layout.weights
    if column is None:
        return None
    bad = next((row for row, cell in enumerate(cells[column]) if not is_number(cell)), None)
    if bad is not None:
        layout.fail(bad, column, "weight must be a number", cells[column][bad])
    return np.array([float(cell) for cell in cells[column]])


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


def _is_header(start: list[list[str]], wanted: Wanted) -> bool:
    first = start[0]
    if wanted.features is not None and set(wanted.features) <= set(first):
        return True
    named = [name for name in wanted.names(first) if not INTEGER.fullmatch(name)]
    if any(name in first for name in named) or _without_numbers(first):
        return True
    if len(start) < 2 or len(first) > len(start[1]):
        return False
    target = wanted.target_by_place(len(first))
    asked = [] if target is None else target_names(target, first)
    places = [name for name in asked if not isinstance(name, str) or INTEGER.fullmatch(name)]
    return any(_heads(start, int(place)) for place in places if -len(first) <= int(place) < len(first))


def _heads(start: list[list[str]], column: int) -> bool:
    """Whether a text stands above a number."""
    above, below = start[0][column], start[1][column]
    return not is_number(above) and above.lower() not in MISSING and is_number(below)


def _without_numbers(cells: list[str]) -> bool:
    return not any(cell and (is_number(cell) or cell.lower() in MISSING) for cell in cells)


def _fail_on_text(layout: Layout, line: int, cells: Sequence[str]) -> NoReturn:
    feature = next(i for i, cell in enumerate(cells) if not is_number(cell))
    missing = cells[feature].lower() in MISSING
    rule = "value missing, must be a number" if missing else "must be a number"
    layout.fail_at(line, layout.features[feature], rule, cells[feature])
