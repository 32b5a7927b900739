"""What `schuss plan` plans for: the work, from data or from layer sizes alone, and the machine."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from schuss.cli._train_settings import Settings, n_outputs, settle, settle_by_data
from schuss.errors import PlanError
from schuss.losses import CLASS_LOSSES

if TYPE_CHECKING:
    from schuss.data import Dataset
    from schuss.planner.account import Workload
    from schuss.planner.profile import Profile

__all__ = ["ROWS", "Planned", "machine_profile", "planned", "threads_of"]

ROWS = 50_000
#: What belongs to data, or names layers a second time.
_NOT_WITH_SIZES = ("net", "hidden", "target", "weights", "data_dir", "standardize", "class_weight", "cv")
_SIZES = re.compile(r"\d+(-\d+)+")


@dataclass(frozen=True)
class Planned:
    """The work that is planned, and the settings that it came from."""

    work: Workload
    settings: Settings
    data: str | None


def planned(rows: int | None, given: Callable[[str], bool], **options: Any) -> Planned:
    """Read the data, or the layer sizes given in their place, as `schuss train` would.

    Parameters
    ----------
    rows : int or None
        Training examples of an epoch, where only layer sizes are given.
    given : callable(option name) -> bool
        Whether an option was given.
    """
    sizes = _layer_sizes(options["data"])
    if sizes is None:
        if rows is not None:
            raise click.UsageError("--rows goes with layer sizes; of data, the training part counts.")
        return _from_data(settle(**options, needs_out=False))
    for name in _NOT_WITH_SIZES:
        if given(name):
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{option} cannot be had with layer sizes, got {options['data']}.")
    if len(sizes) == 2 and (given("activation") or given("dropout")):
        raise click.UsageError(f"--activation and --dropout need a hidden layer, got {options['data']}.")
    options["hidden"] = sizes[1:-1] or None
    settings = settle(**options, needs_out=False)
    if len(sizes) == 2:
        settings = replace(settings, hidden=(), dropout=())
    rows = ROWS if rows is None else rows
    settings = settle_by_data(settings, _stand_in(sizes, settings), "--rows", rows)
    return Planned(_workload(settings, sizes, rows), settings, None)


def threads_of(threads: int | None, cores: int | None, profile: Profile | None) -> int | None:
    """Threads to plan for: --threads, else all cores of the machine named; None: those allowed here."""
    most = cores or (profile.cores if profile is not None else None)
    if threads is not None and most is not None and threads > most:
        raise click.BadParameter(
            f"must be at most the {most} cores, got {threads}.", param_hint="'--threads'"
        )
    return threads or most


def machine_profile(machine: str | None, cores: int | None) -> Profile | None:
    """The profile that --machine names, with so many cores; None where none is named."""
    if machine is None:
        return None
    from schuss.planner.files import load_machine

    try:
        profile = load_machine(machine)
    except PlanError as error:
        raise click.BadParameter(f"{error}.", param_hint="'--machine'") from error
    return profile if cores is None else profile.scaled_to(cores)


def _layer_sizes(text: str) -> tuple[int, ...] | None:
    """Layer sizes such as 784-1024-10; None for data."""
    if not _SIZES.fullmatch(text) or Path(text).exists():
        return None
    sizes = tuple(map(int, text.split("-")))
    if min(sizes) < 1:
        raise click.BadParameter(f"{text}: a layer needs at least 1 unit.", param_hint="'[DATA]'")
    return sizes


def _from_data(settings: Settings) -> Planned:
    from schuss.cli._examples import load_parts, load_pool

    parts = load_parts(settings) if settings.cv is None else load_pool(settings)
    train = parts.train.data
    # of K folds, K - 1 are trained on
    rows = len(train) if settings.cv is None else len(train) * (settings.cv - 1) // settings.cv
    settings = settle_by_data(settings, train, parts.name, rows)
    sizes = (train.n_features, *settings.hidden, n_outputs(settings, train))
    return Planned(_workload(settings, sizes, rows), settings, parts.name)


def _stand_in(sizes: tuple[int, ...], settings: Settings) -> Dataset:
    """Two examples of these sizes: what settings settle by, where there are no data."""
    import numpy as np

    from schuss.data import Dataset

    X, outputs = np.zeros((2, sizes[0]), np.float32), sizes[-1]
    classes = settings.loss in (None, *CLASS_LOSSES) and outputs > 1 and settings.task != "numbers"
    if classes or settings.task == "classes":
        return Dataset(X, np.zeros(2, np.int32), np.arange(outputs))
    levels = len(settings.quantiles or (0.5,)) if settings.loss == "quantile" else 1
    if outputs % levels:
        rule = f"{levels} levels a target are wanted among the outputs, got {outputs}."
        raise click.BadParameter(rule, param_hint="'--quantiles'")
    return Dataset(X, np.zeros((2, outputs // levels)))


def _workload(settings: Settings, sizes: tuple[int, ...], rows: int) -> Workload:
    from schuss.planner.account import Workload
    from schuss.validation import parameters_dtype

    assert settings.batch_size is not None
    names = settings.activation
    name = names if isinstance(names, str) else names[0]  # as for `train`, the model knows one
    dtype = parameters_dtype(settings.precision).name
    return Workload(sizes, settings.batch_size, rows, name, settings.optimizer.formula, dtype)
