"""Cross-validation: every example is judged once, by a network that was trained without it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from statistics import mean, stdev
from time import perf_counter
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from schuss.cli._common import echo_columns
from schuss.cli._examples import Part, Parts
from schuss.cli._train_settings import Settings, settle_by_data
from schuss.cli._training import fit, new_network
from schuss.cli.evaluate import SCORES, measure, score_text

__all__ = ["Folds", "cut", "echo_folds", "fold_results", "rare_classes", "settle_folds", "summary"]

Folds = list[tuple[NDArray[np.intp], NDArray[np.intp]]]
Result = dict[str, Any]


def settle_folds(settings: Settings, pool: Parts) -> tuple[Settings, Folds]:
    """Settle what hangs on the data, with the rows that each fold trains on and those that judge it."""
    assert settings.cv is not None
    cuts = cut(pool, settings.cv, settings.seed)
    fewest = min(len(train) for train, _ in cuts)
    return settle_by_data(settings, pool.train.data, pool.name, fewest), cuts


def cut(pool: Parts, k: int, seed: int) -> Folds:
    """Shuffle by the seed and cut into parts of the same size, which hold the classes in the same shares."""
    from sklearn.model_selection import KFold, StratifiedKFold

    found = pool.train.data
    most = len(found) if found.classes is None else int(np.bincount(found.y).max())
    if k > most:
        of = "examples" if found.classes is None else "examples of a class at most"
        raise click.BadParameter(f"{pool.name} has {most} {of}, got {k} folds.", param_hint="'--cv'")
    random = np.random.RandomState(np.random.MT19937(seed))  # takes seeds of any size
    kind = KFold if found.classes is None else StratifiedKFold
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # on rare classes, which `rare_classes` names
        return list(kind(k, shuffle=True, random_state=random).split(found.X, found.y))


def rare_classes(pool: Part, folds: int) -> list[str]:
    """A line that names classes which not every fold can hold, where there are any."""
    if pool.data.classes is None:
        return []
    counts = np.bincount(pool.data.y, minlength=len(pool.data.classes))
    rare = [f"{label!r}" for label in pool.data.classes[counts < folds].tolist()]
    return [f"note     classes with fewer examples than the {folds} folds: {', '.join(rare)}"] if rare else []


def fold_results(
    settings: Settings, pool: Parts, cuts: Folds, on_epoch: Callable[[int, int], Any]
) -> Iterator[Result]:
    """Train a network a fold and measure it on the examples left out; `on_epoch(fold, epoch)` counts from 0 and 1."""
    for number, (rows, left_out) in enumerate(cuts):
        train, judge = pool.train.take(rows), pool.train.take(left_out)
        network = new_network(settings, train)

        def after_epoch(_network: Any, history: dict[str, list[float]], fold: int = number) -> None:
            on_epoch(fold, len(history["loss"]))

        began = perf_counter()
        fit(settings, train, None, network, after_epoch)
        seconds = perf_counter() - began
        measured = measure(network, [judge], pool.name)
        sizes = {"train": len(train), "test": measured.pop("examples")}
        yield {"fold": number + 1, **sizes, **measured, "seconds": seconds}


def summary(folds: Sequence[Result]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation (of a sample) of loss and score over the folds; of one fold no deviation."""
    names = [name for name in ("loss", *SCORES) if name in folds[0]]
    columns = {name: [fold[name] for fold in folds] for name in names}
    found = {"mean": {name: mean(values) for name, values in columns.items()}}
    if len(folds) > 1:
        found["standard_deviation"] = {name: stdev(values) for name, values in columns.items()}
    return found


def echo_folds(folds: Sequence[Result]) -> None:
    """A line a fold, then mean and standard deviation."""
    names = [name for name in (*SCORES, "loss") if name in folds[0]]
    rows = [
        [str(fold["fold"]), f"{fold['train']:,}", f"{fold['test']:,}"]
        + [score_text(name, fold[name]) for name in names]
        + [f"{fold['seconds']:.3g}"]
        for fold in folds
    ]
    for what, values in summary(folds).items():
        rows.append([what.replace("_", " "), "", "", *(score_text(name, values[name]) for name in names), ""])
    echo_columns(["fold", "train", "test", *(SCORES.get(name, name) for name in names), "seconds"], rows)
