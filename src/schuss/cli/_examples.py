"""Examples with their weights: what a training, a test or a cross-validation takes from a source."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray

from schuss import data
from schuss.data import Dataset
from schuss.losses import CLASS_LOSSES, NUMBER_LOSSES
from schuss.weighting import example_weights

if TYPE_CHECKING:
    from schuss.cli._train_settings import Settings

__all__ = ["Part", "Parts", "load_parts", "load_pool", "load_whole", "source_parts"]

Array = NDArray[Any]

#: More different whole numbers than this are not taken for classes unasked.
MOST_CLASSES = 100


@dataclass(frozen=True, eq=False)
class Part:
    """Examples, and how much each counts (None: all alike)."""

    data: Dataset
    weights: Array | None = None

    def __len__(self) -> int:
        return len(self.data)

    def take(self, rows: Array) -> Part:
        """The examples with these row numbers."""
        return Part(self.data.take(rows), None if self.weights is None else self.weights[rows])


@dataclass(frozen=True, eq=False)
class Parts:
    """What there is to train on, to judge a training by, and to judge the result by."""

    train: Part
    validation: Part | None
    test: Part | None
    name: str

    @property
    def present(self) -> dict[str, Part]:
        """The parts that there are, by name."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}


def load_parts(settings: Settings) -> Parts:
    """The source's own parts, or 80 : 10 : 10 of it."""
    name, parts = source_parts(settings.data, settings.target, settings.weights, settings.data_dir)
    train, validation, test = _for_task(parts, settings, name)
    assert train is not None
    return Parts(train, validation, test, name)


def source_parts(
    source: str,
    target: str | None,
    weights: str | None,
    data_dir: str | None,
    features: tuple[str, ...] | None = None,
) -> tuple[str, list[Part | None]]:
    """The source's name, and its training, validation and test parts; of a table the columns `features`."""
    if weights is not None:
        name = Path(source).name
        return name, _split(load_whole(source, target, weights, features=features), name)
    splits = data.load(source, data_dir=data_dir, target=target, features=features)
    parts = (splits.train, splits.validation, splits.test)
    return splits.name, [None if part is None else Part(part) for part in parts]


def load_pool(settings: Settings) -> Parts:
    """All examples of a source to train on; those of a source with parts of its own but for its test part."""
    if settings.weights is not None:
        found = [load_whole(settings.data, settings.target, settings.weights), None]
        name = Path(settings.data).name
    else:
        splits = data.load(settings.data, data_dir=settings.data_dir, target=settings.target)
        name, test = splits.name, splits.test
        whole = test and data.load_table(settings.data, data_dir=settings.data_dir, target=settings.target)
        if whole is not None and test is not None and len(whole) > len(test):
            found = [Part(whole), None]  # it has no parts of its own
        else:
            found = [Part(_joined(splits.train, splits.validation)), None if test is None else Part(test)]
    train, test_part = _for_task(found, settings, name)
    assert train is not None
    return Parts(train, None, test_part, name)


def load_whole(
    source: str,
    target: str | None,
    weights: str | None,
    data_dir: str | None = None,
    features: tuple[str, ...] | None = None,
) -> Part:
    """A file's examples, or those of a source's test part; of a table the columns `features`, by weight."""
    if weights is None:
        return Part(data.load_table(source, data_dir=data_dir, target=target, features=features))
    name = f"--weights {weights}"
    found, values = data.load_weighted(source, weights, target=target, features=features, weights_name=name)
    return Part(found, example_weights(values, len(found), f"{source}: {name}"))


def _split(whole: Part, name: str) -> list[Part | None]:
    """Cut a table with weights as one without is cut."""
    rows = np.arange(len(whole), dtype=np.float64)[:, None]
    cut = data.split(Dataset(rows, rows[:, 0]), name=name)
    parts = []
    for kind in ("train", "validation", "test"):
        numbers = getattr(cut, kind)
        part = None if numbers is None else whole.take(numbers.X[:, 0].astype(np.intp))
        if part is not None:
            example_weights(part.weights, len(part), f"{name}: weights of the {kind} part")
        parts.append(part)
    return parts


def _joined(train: Dataset, validation: Dataset | None) -> Dataset:
    if validation is None:
        return train
    X, y = np.concatenate([train.X, validation.X]), np.concatenate([train.y, validation.y])
    return replace(train, X=X, y=y)


def _for_task(parts: list[Part | None], settings: Settings, name: str) -> list[Part | None]:
    """The parts with targets of the kind that was asked for: whole numbers may be classes or numbers."""
    train = parts[0]
    assert train is not None
    classes, loss, task = train.data.classes, settings.loss, settings.task
    if classes is None:
        if task == "classes":
            rule = f"the targets of {name} are neither text nor whole numbers."
            raise click.BadParameter(rule, param_hint="'--task'")
        return parts
    numbers_only = loss in NUMBER_LOSSES and loss not in CLASS_LOSSES
    if task == "numbers" or numbers_only:
        if classes.dtype.kind not in "iu":
            asked = "--task numbers" if task else f"--loss {loss}"
            raise click.UsageError(
                f"{asked} needs numbers, the targets of {name} are {classes[0].item()!r} ..."
            )
        return [None if part is None else _as_numbers(part) for part in parts]
    if task is None and classes.dtype.kind in "iu" and len(classes) > MOST_CLASSES:
        raise click.UsageError(
            f"the targets of {name} are {len(classes)} different whole numbers: say --task classes or --task numbers."
        )
    return parts


def _as_numbers(part: Part) -> Part:
    found = part.data
    return Part(replace(found, y=found.labels.astype(np.float64), classes=None), part.weights)
