"""What tables of every kind share: which columns are what, how cells become numbers, how a bad cell is named."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from schuss.data.arrays import from_arrays
from schuss.data.dataset import Dataset
from schuss.errors import DataError

__all__ = [
    "INTEGER",
    "MISSING",
    "Layout",
    "Table",
    "Target",
    "Wanted",
    "check_finite_features",
    "is_number",
    "lay_out",
    "target_names",
    "text_targets",
]

#: A column by name or index, several, or several names written with commas between them.
Target = str | int | Sequence[str | int]

MISSING = {"", "na", "n/a", "nan", "null", "none", "?"}
INTEGER = re.compile(r"[+-]?\d+", re.ASCII)

_SHOWN = 10  # columns that a message names


@dataclass(frozen=True)
class Wanted:
    """What a table is read for.

    Parameters
    ----------
    target : str or int, or sequence of these, default=None
        Target columns; None: the last that is no feature.
    features : tuple of str, default=None
        Feature columns by name, in this order, where the table names its columns; None: all that are nothing else.
    weights : str or int, default=None
        Column that weighs the examples.
    weights_name : str, default="weights"
        What messages call that column.
    labelled : bool, default=True
        Whether there must be a target; else only what `target` names is one.
    n_features : int, default=None
        Where there need not be a target: a column more than so many, in a table without names or where none are
        asked for, is one.
    """

    target: Target | None = None
    features: tuple[str, ...] | None = None
    weights: str | int | None = None
    weights_name: str = "weights"
    labelled: bool = True
    n_features: int | None = None

    def target_by_place(self, width: int) -> Target | None:
        """The targets of a table of `width` columns whose features are not picked by name."""
        if self.target is None and (self.labelled or width - 1 == self.n_features):
            return -1
        return self.target

    def names(self, header: Sequence[str]) -> list[str]:
        """All names of columns that are asked for; of a table with this header."""
        asked = [] if self.target is None else target_names(self.target, header)
        return [*(name for name in (*asked, self.weights) if isinstance(name, str)), *(self.features or ())]


@dataclass(frozen=True)
class Layout:
    """Which column is what, and what a message needs to name a cell.

    Parameters
    ----------
    path : Path
    header : list of str or None
    features, targets : tuple of int
        Numbers of these columns, in the order asked for.
    weights : int or None
        Number of the column that weighs the examples.
    places : sequence of int
        Where in the file each row of the table is found.
    unit : str
        What `places` counts: "line" or "row".
    """

    path: Path
    header: list[str] | None
    features: tuple[int, ...]
    targets: tuple[int, ...]
    weights: int | None
    places: Sequence[int]
    unit: str

    @property
    def names(self) -> tuple[str, ...] | None:
        """The features' names, if there are any and they tell the features apart."""
        if self.header is None:
            return None
        names = tuple(self.header[column] for column in self.features)
        return names if len(set(names)) == len(names) else None

    def fail(self, row: int, column: int, rule: str, value: object) -> NoReturn:
        """Refuse the cell in this row of the table."""
        self.fail_at(self.places[row], column, rule, value)

    def fail_at(self, place: int, column: int, rule: str, value: object) -> NoReturn:
        """Refuse the cell in this place of the file."""
        name = f" ({self.header[column]!r})" if self.header else ""
        raise DataError(f"{self.path}, {self.unit} {place}, column {column}{name}: {rule}, got {value!r}")


@dataclass(frozen=True, eq=False)
class Table:
    """What was read of a table.

    Parameters
    ----------
    layout : Layout
    features : ndarray of float32, (n_examples, n_features)
    targets : ndarray, (n_examples,) or (n_examples, n_targets), or None
    weights : ndarray of float64, (n_examples,), or None
    """

    layout: Layout
    features: NDArray[np.float32]
    targets: NDArray[Any] | None
    weights: NDArray[np.float64] | None

    def dataset(self) -> Dataset:
        """The examples of a table that was read with its targets."""
        path = self.layout.path
        assert self.targets is not None
        return from_arrays(
            self.features,
            self.targets,
            names=(str(path), f"{path}: target"),
            feature_names=self.layout.names,
        )


def lay_out(
    path: Path, width: int, header: list[str] | None, wanted: Wanted, places: Sequence[int], unit: str
) -> Layout:
    """Find the columns wanted in a table of `width` columns.

    Raises
    ------
    DataError
        If one is missing, or is asked to be two things at once.
    """
    by_name = header is not None and wanted.features is not None
    features = _by_name(path, wanted.features or (), header or []) if by_name else ()
    target = wanted.target if by_name else wanted.target_by_place(width)
    if target is not None:
        targets = _targets(path, target, width, header)
    elif wanted.labelled:
        others = [column for column in range(width) if column not in features]
        if not others:
            raise DataError(f"{path}: must have a target column beside the {len(features)} features")
        targets = (others[-1],)
    else:
        targets = ()
    _check_apart(path, "target", targets, features, header)
    weights = None
    if wanted.weights is not None:
        name = wanted.weights_name
        weights = _column(path, name, wanted.weights, width, header)
        if weights in targets:
            raise DataError(
                f"{path}: {name} must name another column than the target, got {wanted.weights!r}"
            )
        _check_apart(path, name, (weights,), features, header)
    if not by_name:
        features = tuple(column for column in range(width) if column not in (*targets, weights))
        if not features:
            count = "one column" if width == 1 else f"{width} columns"
            beside = "the target" if weights is None else "target and weights"
            raise DataError(f"{path}: must have a feature column beside {beside}, got {count} in all")
    read = targets if wanted.labelled else ()  # else they are only left out
    return Layout(path, header, features, read, weights, places, unit)


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


def _by_name(path: Path, names: Sequence[str], header: Sequence[str]) -> tuple[int, ...]:
    """The numbers of these columns, each of which must be there once."""
    place = {name: column for column, name in enumerate(header)}
    missing = [name for name in names if name not in place]
    if missing:
        raise DataError(f"{path}: lacks the feature {_listed(missing)}; it has {_listed(header)}")
    twice = [name for name in names if header.count(name) > 1]
    if twice:
        raise DataError(f"{path}: must have each feature once, got several times the {_listed(twice)}")
    return tuple(place[name] for name in names)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"column{'s' * (len(names) > 1)} {', '.join(map(repr, names[:_SHOWN]))}{more}"


def _check_apart(
    path: Path, role: str, columns: Iterable[int], features: tuple[int, ...], header: list[str] | None
) -> None:
    """Refuse a feature in another role."""
    for column in columns:
        if column in features:
            raise DataError(f"{path}: {role} must be none of the features, got {(header or [])[column]!r}")


def _targets(path: Path, target: Target, width: int, header: list[str] | None) -> tuple[int, ...]:
    """Return the numbers of the target columns, in the order asked for."""
    columns = tuple(
        _column(path, "target", name, width, header) for name in target_names(target, header or ())
    )
    if not columns or len(set(columns)) < len(columns):
        raise DataError(f"{path}: target must name columns that differ from each other, got {target!r}")
    return columns


def _column(path: Path, role: str, name: str | int, width: int, header: list[str] | None) -> int:
    if header and name in header:
        if header.count(str(name)) > 1:
            raise DataError(f"{path}: {role} must name one column, got {name!r}, which names several")
        return header.index(str(name))
    if isinstance(name, str) and not INTEGER.fullmatch(name):
        known = ", ".join(header) if header else f"no header, so an index from {-width} to {width - 1}"
        raise DataError(f"{path}: {role} must be a column of the file ({known}), got {name!r}")
    if not -width <= int(name) < width:
        raise DataError(f"{path}: {role} must be an index from {-width} to {width - 1}, got {name}")
    return int(name) % width


def check_finite_features(features: NDArray[np.float32], layout: Layout) -> None:
    """Refuse the first feature that is not finite."""
    finite = np.isfinite(features)
    if not finite.all():
        row, feature = (int(i) for i in np.argwhere(~finite)[0])
        value = float(features[row, feature])
        layout.fail(row, layout.features[feature], "must be finite as float32", value)


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
