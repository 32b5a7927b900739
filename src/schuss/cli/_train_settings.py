"""What a training was asked to be, checked before any data are read as far as it can be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from schuss.cli._common import check_can_write, check_weights
from schuss.cli._options import BATCH_SIZE, DEFAULT_OUT, LEARNING_RATES, MOMENTUM, NETS, NUMBERS_RATE
from schuss.errors import DataError, PlanError
from schuss.losses import CLASS_LOSSES, NUMBER_LOSSES, Loss, check_output, default_output
from schuss.optimizers import Optimizer

if TYPE_CHECKING:
    from schuss.data import Dataset
    from schuss.schedules import Schedule

__all__ = ["Settings", "n_outputs", "require_device", "settle", "settle_by_data"]

#: Options that give a loss or a schedule its numbers -> whose they are.
_OF_LOSS = {
    "huber_delta": ("huber",),
    "quantiles": ("quantile",),
    "focal_gamma": ("focal",),
    "label_smoothing": ("log_loss", "focal"),
}
_OF_SCHEDULE = {"power_t": "invscaling", "step_every": "step", "step_factor": "step"}
_PLAIN_DESCENT = ("squared_error", "poisson", "gamma")


@dataclass(frozen=True)
class Settings:
    """Every option, with the defaults filled in as far as they do not hang on the data (None)."""

    data: str
    data_dir: str | None
    target: str | None
    weights: str | None
    task: str | None
    hidden: tuple[int, ...]
    activation: str | tuple[str, ...]
    output_activation: str | None
    init: str
    loss: str | None
    huber_delta: float | None
    quantiles: tuple[float, ...] | None
    focal_gamma: float | None
    label_smoothing: float | None
    solver: str
    learning_rate: float | None
    schedule: str
    power_t: float | None
    step_every: int | None
    step_factor: float | None
    warm_up: int | None
    momentum: float | None
    nesterov: bool
    alpha: float
    weight_decay: float | None
    clip_norm: float | None
    dropout: tuple[float, ...]
    standardize: bool
    class_weight: str | None
    batch_size: int | None
    epochs: int
    patience: int | None
    seed: int
    plan: str
    threads: int
    isa: str | None
    precision: str
    cv: int | None
    out: Path | None
    device: str = "auto"

    @property
    def loss_function(self) -> Loss:
        """The loss with its numbers; only once the data have settled which it is."""
        assert self.loss is not None
        return Loss(self.loss, **_given(self, _OF_LOSS))

    @property
    def course(self) -> Schedule:
        """The schedule with its numbers."""
        from schuss.schedules import InverseScaling, Step, WarmUp, as_schedule

        schedule = as_schedule(self.schedule)
        if isinstance(schedule, InverseScaling):
            schedule = InverseScaling(**_given(self, ("power_t",)))
        if isinstance(schedule, Step):
            numbers = {"every": self.step_every, "factor": self.step_factor}
            schedule = Step(**{name: value for name, value in numbers.items() if value is not None})  # type: ignore[arg-type]
        return schedule if self.warm_up is None else WarmUp(self.warm_up, schedule)

    @property
    def optimizer(self) -> Optimizer:
        """The update rule with its constants."""
        return Optimizer(
            solver=self.solver,
            momentum=self.momentum or 0.0,
            nesterov=self.nesterov,
            alpha=self.alpha,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
        )


def settle(
    *,
    net: str | None,
    hidden: tuple[int, ...] | None,
    activation: tuple[str, ...] | None,
    dropout: tuple[float, ...] | None,
    alpha: float | None,
    threads: int | None,
    out: Path | None,
    needs_out: bool,
    **options: Any,
) -> Settings:
    """Fill in the defaults; what is wrong or does not go together is a usage error.

    Parameters
    ----------
    needs_out : bool
        A model is written in any case, to the default place where none is named.
    """
    from schuss.plan import allowed_threads

    if net is not None and hidden is not None:
        raise click.UsageError("--net and --hidden both name the hidden layers: give one of them.")
    layers = hidden or NETS[net or "net-1h"]
    for name, each in (("activation", activation), ("dropout", dropout)):
        if each is not None and len(each) not in (1, len(layers)):
            rule = f"one for all or one for each of the {len(layers)} hidden layers, got {len(each)}."
            raise click.BadParameter(rule, param_hint=f"'--{name}'")
    names = activation or ("relu",)
    allowed = allowed_threads(threads)
    _check_plan(options["plan"], allowed, options["device"], options["precision"])
    if out is None and needs_out:
        out = DEFAULT_OUT
    settings = Settings(
        hidden=layers,
        activation=names[0] if len(set(names)) == 1 else names,
        dropout=_every_layer(dropout or (0.0,), len(layers)),
        alpha=alpha or 0.0,
        threads=allowed,
        out=out,
        **options,
    )
    _check_solver(settings)
    _check_loss(settings)
    _check_schedule(settings)
    _check_source(settings)
    _check_isa(settings.isa)
    if out is not None:
        _check_out(out)
    return settings


def settle_by_data(settings: Settings, train: Dataset, name: str, rows: int | None = None) -> Settings:
    """Fill in the defaults that hang on the data to train on, which come from `name`.

    `rows` is how many of the examples a training gets, where that is not all.
    """
    rows = len(train) if rows is None else rows
    loss = settings.loss or ("squared_error" if train.classes is None else "log_loss")
    _check_targets(settings, train, loss, name)
    if settings.batch_size is not None and settings.batch_size > rows:
        rule = f"{name} has {rows} examples to train on, got {settings.batch_size}."
        raise click.BadParameter(rule, param_hint="'--batch-size'")
    if settings.standardize and (train.X.dtype == "uint8" or (train.scale, train.shift) != (1, 0)):
        rule = f"{name} comes with a scale of its own: leave it out."
        raise click.BadParameter(rule, param_hint="'--standardize'")
    settings = replace(settings, loss=loss)
    try:
        output_activation = check_output(
            settings.output_activation
            or default_output(loss, classes=train.classes is not None, outputs=n_outputs(settings, train)),
            loss,
        )
    except ValueError as error:
        raise click.BadParameter(f"{error}.", param_hint="'--output-activation'") from error
    momentum = settings.momentum
    if momentum is None:  # it leads sigmoids into saturation with squared error, and exp into overflow
        useful = settings.solver == "sgd" and (loss not in _PLAIN_DESCENT or settings.nesterov)
        momentum = MOMENTUM if useful else 0.0
    precision = settings.precision
    if precision == "auto":
        precision = "float64" if train.X.dtype == "float64" else "float32"
    rate = settings.learning_rate
    if rate is None:
        by_kind = settings.solver == "sgd" and train.classes is None
        rate = NUMBERS_RATE if by_kind else LEARNING_RATES[settings.solver]
    return replace(
        settings,
        learning_rate=rate,
        task="numbers" if train.classes is None else "classes",
        output_activation=output_activation,
        momentum=momentum,
        batch_size=settings.batch_size or min(BATCH_SIZE, rows),
        precision=precision,
    )


def n_outputs(settings: Settings, train: Dataset) -> int:
    """Units of the output layer, once the loss is settled."""
    if train.classes is not None:
        return len(train.classes)
    targets = train.y.shape[1] if train.y.ndim == 2 else 1
    return targets * settings.loss_function.outputs_per_target


def _given(settings: Settings, names: Any) -> dict[str, Any]:
    """Those of these options that were given."""
    return {name: getattr(settings, name) for name in names if getattr(settings, name) is not None}


def _every_layer(each: tuple[float, ...], layers: int) -> tuple[float, ...]:
    return each if len(each) == layers else each * layers


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _check_solver(settings: Settings) -> None:
    momentum, nesterov = settings.momentum, settings.nesterov
    if settings.solver != "sgd" and (momentum is not None or nesterov):
        raise click.UsageError(
            f"--momentum and --nesterov belong to --solver sgd, got --solver {settings.solver}."
        )
    if nesterov and momentum == 0:
        raise click.UsageError("--nesterov needs a --momentum above 0, got 0.")


def _check_loss(settings: Settings) -> None:
    """Numbers that belong to another loss, and losses that do not go with the task or the output."""
    loss = settings.loss
    for name in _given(settings, _OF_LOSS):
        owners = _OF_LOSS[name]
        if loss not in owners and not (loss is None and "log_loss" in owners):
            got = "no --loss" if loss is None else f"--loss {loss}"
            raise click.UsageError(f"{_option(name)} belongs to --loss {' or '.join(owners)}, got {got}.")
    if loss is None:
        return  # the data decide
    fits = {"classes": CLASS_LOSSES, "numbers": NUMBER_LOSSES, None: (loss,)}[settings.task]
    if loss not in fits:
        rule = f"for {settings.task} it is one of {', '.join(fits)}, got {loss}."
        raise click.BadParameter(rule, param_hint="'--loss'")
    if settings.class_weight is not None and loss not in CLASS_LOSSES:
        raise click.UsageError(f"--class-weight is for classes, --loss {loss} for numbers.")
    if settings.output_activation is not None:
        try:
            check_output(settings.output_activation, loss)
        except ValueError as error:
            raise click.BadParameter(f"{error}.", param_hint="'--output-activation'") from error


def _check_schedule(settings: Settings) -> None:
    """Numbers that belong to another schedule, and schedules that the epochs leave no room for."""
    for name in _given(settings, _OF_SCHEDULE):
        if _OF_SCHEDULE[name] != settings.schedule:
            raise click.UsageError(
                f"{_option(name)} belongs to --schedule {_OF_SCHEDULE[name]}, got --schedule {settings.schedule}."
            )
    if settings.schedule == "adaptive" and settings.patience is None:
        raise click.UsageError("--schedule adaptive needs --patience, after which it lowers the rate.")
    if settings.warm_up is not None and settings.warm_up >= settings.epochs:
        rule = f"must leave some of the {settings.epochs} --epochs, got {settings.warm_up}."
        raise click.BadParameter(rule, param_hint="'--warm-up'")
    if settings.schedule == "step":
        _check_steps(settings, settings.epochs - (settings.warm_up or 0))


def _check_steps(settings: Settings, left: int) -> None:
    from schuss.schedules import Step

    every = settings.step_every or Step().every
    if every >= left:
        raise click.UsageError(
            f"--schedule step would never step: --step-every must be below the {left} epochs, it is {every}."
        )


def _check_source(settings: Settings) -> None:
    check_weights(settings.weights, settings.data)
    if settings.cv is not None and settings.patience is not None:
        raise click.UsageError(
            "--patience cannot be had with --cv: stopping by the examples that judge would flatter the score."
        )


def _check_targets(settings: Settings, train: Dataset, loss: str, name: str) -> None:
    """Targets that are not of the kind that the loss is for."""
    if train.classes is None:
        if loss not in NUMBER_LOSSES:
            rule = f"{loss} is for labels, the targets of {name} are numbers."
            raise click.BadParameter(rule, param_hint="'--loss'")
        for option in ("class_weight", "label_smoothing"):
            if getattr(settings, option) is not None:
                raise click.UsageError(
                    f"{_option(option)} is for classes, the targets of {name} are numbers."
                )
    elif len(train.classes) < 2:
        raise DataError(f"{name}: targets must be of at least 2 classes, got {train.classes.tolist()}")


def _check_plan(plan: str, threads: int, device: str, precision: str) -> None:
    """Refuse a plan that cannot be had, with this device and precision or at all."""
    from schuss.plan import Plan

    try:
        Plan.parse(plan, threads, device, precision)
    except PlanError as error:
        about = str(error).partition(" ")[0]  # plan, device or precision
        raise click.BadParameter(f"{error}.", param_hint=f"'--{about}'") from error


def require_device(settings: Settings) -> None:
    """DeviceError where a GPU that was asked for is not here."""
    from schuss.plan import Plan

    plan = Plan.parse(settings.plan, settings.threads, settings.device, settings.precision)
    if plan is not None:
        plan.require()


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
