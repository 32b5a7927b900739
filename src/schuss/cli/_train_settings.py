"""What `schuss train` was asked to do, checked before any data are read."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from schuss.cli._common import check_can_write
from schuss.errors import DataError, PlanError
from schuss.losses import check_output, default_output

if TYPE_CHECKING:
    from schuss.data import Dataset, Splits

__all__ = [
    "BATCH_SIZE",
    "LEARNING_RATES",
    "MOMENTUM",
    "NETS",
    "Settings",
    "finite",
    "hidden_sizes",
    "n_outputs",
    "settle",
    "settle_by_data",
]

NETS = {"net-1h": (1024,), "net-2h": (1024, 1024)}
LEARNING_RATES = {"sgd": 0.1, "adam": 0.001, "adamw": 0.001}
MOMENTUM = 0.9
BATCH_SIZE = 128


@dataclass(frozen=True)
class Settings:
    """Every option, with the defaults filled in as far as they do not hang on the data (None)."""

    data: str
    data_dir: str | None
    target: str | None
    hidden: tuple[int, ...]
    activation: str
    output_activation: str | None
    loss: str | None
    solver: str
    learning_rate: float
    momentum: float | None
    nesterov: bool
    alpha: float
    weight_decay: float | None
    batch_size: int | None
    epochs: int
    seed: int
    plan: str
    threads: int
    isa: str | None
    precision: str
    out: Path


def hidden_sizes(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Read the units of each hidden layer, such as 1024,1024."""
    if value is None:
        return None
    try:
        sizes = tuple(int(size) for size in value.split(","))
    except ValueError:
        rule = "whole numbers with commas between them are wanted, such as 1024,1024."
        raise click.BadParameter(f"{value!r}: {rule}") from None
    if min(sizes) < 1:
        raise click.BadParameter(f"{value!r}: a hidden layer needs at least 1 unit.")
    return sizes


def finite(_ctx: click.Context, _param: click.Parameter, value: float | None) -> float | None:
    """Refuse NaN and infinity, which a range lets through."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number.")
    return value


def settle(
    *,
    net: str | None,
    hidden: tuple[int, ...] | None,
    learning_rate: float | None,
    threads: int | None,
    **options: Any,
) -> Settings:
    """Fill in the defaults; what is wrong or does not go together is a usage error."""
    solver, momentum, nesterov = options["solver"], options["momentum"], options["nesterov"]
    if net is not None and hidden is not None:
        raise click.UsageError("--net and --hidden both name the hidden layers: give one of them.")
    if solver != "sgd" and (momentum is not None or nesterov):
        raise click.UsageError(f"--momentum and --nesterov belong to --solver sgd, got --solver {solver}.")
    if nesterov and momentum == 0:
        raise click.UsageError("--nesterov needs a --momentum above 0, got 0.")
    _check_output_activation(options["output_activation"], options["loss"])
    allowed = _check_plan(options["plan"], threads)
    _check_isa(options["isa"])
    _check_out(options["out"])
    return Settings(
        hidden=hidden or NETS[net or "net-1h"],
        learning_rate=LEARNING_RATES[solver] if learning_rate is None else learning_rate,
        threads=allowed,
        **options,
    )


def settle_by_data(settings: Settings, splits: Splits) -> Settings:
    """Fill in the defaults that hang on the data."""
    train = splits.train
    outputs = n_outputs(train)
    loss = settings.loss or ("squared_error" if train.classes is None else "log_loss")
    if train.classes is not None and len(train.classes) < 2:
        raise DataError(f"{splits.name}: targets must be of at least 2 classes, got {train.classes.tolist()}")
    if train.classes is None and loss == "log_loss":
        rule = f"log_loss is for labels, the targets of {splits.name} are numbers."
        raise click.BadParameter(rule, param_hint="'--loss'")
    if settings.batch_size is not None and settings.batch_size > len(train):
        rule = f"{splits.name} has {len(train)} examples to train on, got {settings.batch_size}."
        raise click.BadParameter(rule, param_hint="'--batch-size'")
    try:
        output_activation = check_output(
            settings.output_activation
            or default_output(loss, classes=train.classes is not None, outputs=outputs),
            loss,
        )
    except ValueError as error:
        raise click.BadParameter(f"{error}.", param_hint="'--output-activation'") from error
    momentum = settings.momentum
    if momentum is None:  # with squared error it leads sigmoids into saturation: plain descent there
        useful = settings.solver == "sgd" and (loss == "log_loss" or settings.nesterov)
        momentum = MOMENTUM if useful else 0.0
    precision = settings.precision
    if precision == "auto":
        precision = "float64" if train.X.dtype == "float64" else "float32"
    return replace(
        settings,
        loss=loss,
        output_activation=output_activation,
        momentum=momentum,
        batch_size=settings.batch_size or min(BATCH_SIZE, len(train)),
        precision=precision,
    )


def n_outputs(train: Dataset) -> int:
    if train.classes is not None:
        return len(train.classes)
    return train.y.shape[1] if train.y.ndim == 2 else 1


def _check_output_activation(name: str | None, loss: str | None) -> None:
    if name is None or loss is None:
        return  # the network decides, when the data say which loss it is
    try:
        check_output(name, loss)
    except ValueError as error:
        raise click.BadParameter(f"{error}.", param_hint="'--output-activation'") from error


def _check_plan(plan: str, threads: int | None) -> int:
    """Refuse a plan that cannot be had; return the number of threads allowed."""
    from schuss.plan import Plan, allowed_threads

    try:
        allowed = allowed_threads(threads)
    except ValueError as error:  # OMP_NUM_THREADS
        raise click.UsageError(f"{error}.") from error
    try:
        Plan.parse(plan, allowed)
    except PlanError as error:
        raise click.BadParameter(f"{error}.", param_hint="'--plan'") from error
    return allowed


def _check_isa(isa: str | None) -> None:
    """Refuse an instruction set that is unknown or that this processor lacks."""
    from schuss.engine import chosen_isa

    try:
        chosen_isa(isa)
    except PlanError as error:
        raise click.BadParameter(f"{error}.", param_hint="'--isa'" if isa else None) from error


def _check_out(out: Path) -> None:
    """Refuse to replace what is no model file, unless it is empty."""
    from schuss.model_file import is_model_file

    check_can_write(out, "--out")
    if out.exists() and out.stat().st_size > 0 and not is_model_file(out):
        rule = "the file is there and is no Schuss model; it is not replaced."
        raise click.BadParameter(f"{str(out)!r}: {rule}", param_hint="'--out'")
