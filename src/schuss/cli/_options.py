"""Options of learning, which `schuss train` and `schuss tune` share, and how their values are read."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from schuss.activations import ACTIVATIONS, HIDDEN_ACTIVATIONS
from schuss.cli._common import (
    data_dir_option,
    device_option,
    isa_option,
    json_option,
    not_empty,
    target_option,
    threads_option,
)
from schuss.losses import CLASS_LOSSES, LOSSES, NUMBER_LOSSES
from schuss.optimizers import SOLVERS

__all__ = [
    "BATCH_SIZE",
    "DEFAULT_OUT",
    "LEARNING_RATES",
    "MOMENTUM",
    "NETS",
    "NUMBERS_RATE",
    "TASKS",
    "activations",
    "data_argument",
    "finite",
    "hidden_sizes",
    "how_options",
    "learning_options",
    "network_options",
    "shares",
]

NETS = {"net-1h": (1024,), "net-2h": (1024, 1024)}
LEARNING_RATES = {"sgd": 0.1, "adam": 0.001, "adamw": 0.001}
NUMBERS_RATE = 0.003  # of sgd: an error of any size, through 1024 units, overshoots from about 0.01 on
MOMENTUM = 0.9
BATCH_SIZE = 128
DEFAULT_OUT = Path("schuss-model.safetensors")
TASKS = ("classes", "numbers")
PRECISIONS = ("auto", "float32", "float64", "tf32", "bfloat16")
STARTS = ("auto", "glorot_uniform", "he_normal")
#: Those of schedules.py, which needs NumPy: help is there without it.
SCHEDULES = ("constant", "invscaling", "adaptive", "step", "cosine", "one_cycle")

Decorator = Callable[[Any], Any]


def hidden_sizes(_ctx: Any, _param: Any, value: str | None) -> tuple[int, ...] | None:
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


def activations(_ctx: Any, _param: Any, value: str | None) -> tuple[str, ...] | None:
    """Read one activation, or one a hidden layer, such as relu,tanh."""
    if value is None:
        return None
    names = tuple(name.strip() for name in value.split(","))
    for name in names:
        if name not in HIDDEN_ACTIVATIONS:
            raise click.BadParameter(f"{name!r} is none of {', '.join(HIDDEN_ACTIVATIONS)}.")
    return names


def shares(_ctx: Any, _param: Any, value: str | None) -> tuple[float, ...] | None:
    """Read one share in [0, 1), or several with commas between them."""
    return _numbers(value, lambda share: 0 <= share < 1, "0 <= x < 1")


def levels(_ctx: Any, _param: Any, value: str | None) -> tuple[float, ...] | None:
    """Read levels of quantiles, such as 0.1,0.5,0.9."""
    found = _numbers(value, lambda level: 0 < level < 1, "0 < x < 1")
    if found is not None and len(set(found)) < len(found):
        raise click.BadParameter(f"{value!r}: each level once.")
    return found


def finite(_ctx: Any, _param: Any, value: float | None) -> float | None:
    """Refuse NaN and infinity, which a range lets through."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number.")
    return value


def _numbers(value: str | None, fits: Callable[[float], bool], rule: str) -> tuple[float, ...] | None:
    if value is None:
        return None
    try:
        numbers = tuple(float(number) for number in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r}: numbers with commas between them are wanted.") from None
    for number in numbers:
        if not fits(number):
            raise click.BadParameter(f"{number} is not in the range {rule}.")
    return numbers


def _all(*options: Decorator) -> Decorator:
    """The options as one decorator, in this order in the help."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _number(name: str, text: str, **range_: Any) -> Decorator:
    return click.option(name, type=click.FloatRange(**range_), callback=finite, help=text)


def _count(name: str, text: str, least: int = 1, **more: Any) -> Decorator:
    return click.option(name, type=click.IntRange(min=least), help=text, **more)


def _default(searched: bool, text: str) -> str:
    return f"[default: {'searched' if searched else text}]"


data_argument = click.argument("data", default="digits28", callback=not_empty)


def network_options(searched: bool = False) -> Decorator:
    """What the network is and what it minimises; `searched`: what is left out is searched for."""
    return _all(
        click.option(
            "--net",
            type=click.Choice(list(NETS)),
            help=f"Hidden layers by name: 1024, or 1024,1024.  {_default(searched, 'net-1h')}",
        ),
        click.option(
            "--hidden",
            callback=hidden_sizes,
            metavar="N[,N...]",
            help="Units of each hidden layer, instead of --net.",
        ),
        click.option(
            "--activation",
            callback=activations,
            metavar="NAME[,NAME...]",
            help=f"Of the hidden layers, one for all or one each: {', '.join(HIDDEN_ACTIVATIONS)}.  "
            + _default(searched, "relu"),
        ),
        click.option(
            "--output-activation",
            type=click.Choice(list(ACTIVATIONS)),
            help="Of the output layer.  [default: softmax with log_loss and focal, exp with poisson and gamma, "
            "logistic for classes with squared_error, else identity]",
        ),
        click.option(
            "--init",
            type=click.Choice(STARTS),
            default="auto",
            show_default=True,
            help="Starting weights; auto: he_normal for relu layers, else glorot_uniform.",
        ),
        click.option(
            "--task",
            type=click.Choice(TASKS),
            help="What the targets are.  [default: text and whole numbers are classes unless --loss is for "
            "numbers only; other numbers are numbers]",
        ),
        click.option(
            "--loss",
            type=click.Choice(list(LOSSES)),
            help=f"What is minimised. For classes: {', '.join(CLASS_LOSSES)}; for numbers: "
            f"{', '.join(NUMBER_LOSSES)}.  [default: log_loss; squared_error for numbers]",
        ),
        _number(
            "--huber-delta", "Error from which on huber grows linearly.  [default: 1]", min=0, min_open=True
        ),
        click.option(
            "--quantiles",
            callback=levels,
            metavar="Q[,Q...]",
            help="Levels of the quantile loss, an output each.  [default: 0.5]",
        ),
        _number("--focal-gamma", "How far focal turns from what is right already.  [default: 2]", min=0),
        _number(
            "--label-smoothing",
            "Share of each target spread over all classes (log_loss, focal).  [default: 0]",
            min=0,
            max=1,
            max_open=True,
        ),
    )


def learning_options(searched: bool = False) -> Decorator:
    """How it learns; `searched`: what is left out is searched for."""
    return _all(
        click.option(
            "--solver", type=click.Choice(SOLVERS), default="sgd", show_default=True, help="Update rule."
        ),
        _number(
            "--learning-rate",
            f"Step size.  {_default(searched, '0.1, with numbers 0.003; 0.001 with adam and adamw')}",
            min=0,
            min_open=True,
        ),
        click.option(
            "--schedule",
            type=click.Choice(SCHEDULES),
            default="constant",
            show_default=True,
            help="Course of the learning rate over the epochs; adaptive needs --patience.",
        ),
        _number("--power-t", "Exponent of invscaling.  [default: 0.5]", min=0),
        _count("--step-every", "Epochs that step keeps a rate for."),
        _number(
            "--step-factor",
            "What step then multiplies it by.  [default: 0.1]",
            min=0,
            max=1,
            min_open=True,
        ),
        _count(
            "--warm-up",
            "Epochs in which the rate grows to its full size, before the schedule.",
            metavar="EPOCHS",
        ),
        _number(
            "--momentum",
            "Share of the last step that sgd keeps.  [default: 0.9; 0 with squared_error, poisson and gamma]",
            min=0,
            max=1,
            max_open=True,
        ),
        click.option("--nesterov", is_flag=True, help="Nesterov's momentum (sgd)."),
        _number(
            "--alpha",
            "Adds alpha / (2 B) ||W||^2 to each minibatch's loss.  "
            + ("[default: searched, unless --weight-decay is given]" if searched else "[default: 0]"),
            min=0,
        ),
        _number(
            "--weight-decay",
            "Share of each weight, times the rate, that a step takes away beside the loss.  "
            + (
                "[default: searched with adamw, in alpha's place]"
                if searched
                else "[default: 0; 0.01 with adamw]"
            ),
            min=0,
        ),
        _number(
            "--clip-norm",
            "Most of the length of a minibatch's gradient; a longer one is shortened.",
            min=0,
            min_open=True,
        ),
        click.option(
            "--dropout",
            callback=shares,
            metavar="P[,P...]",
            help="Share of the units that a step leaves out, of all hidden layers or of each.  "
            + _default(searched, "0"),
        ),
        click.option(
            "--standardize",
            is_flag=True,
            help="Let the network learn from features, and numbers to predict, in standard deviations from their mean; "
            "the model takes and gives them as they are.",
        ),
        click.option(
            "--class-weight",
            type=click.Choice(["balanced"]),
            help="balanced: every class counts as much as any other, however few its examples.",
        ),
        click.option(
            "--weights",
            metavar="COLUMN",
            help="Column of a table that says how much each example counts; it is no feature.",
        ),
        _count(
            "--batch-size",
            "Examples in a minibatch.  " + _default(searched, f"{BATCH_SIZE}, or all if there are fewer"),
        ),
        _count("--epochs", "Passes over the training data.", default=10, show_default=True),
        _count(
            "--patience",
            "Stop once the validation loss has not fallen for so many epochs in a row, and keep the network for "
            "which it was lowest.",
            metavar="EPOCHS",
        ),
        _count("--seed", "Of the start, the shuffling and dropout.", least=0, default=0, show_default=True),
    )


def how_options(out_help: str) -> Decorator:
    """How it is computed, where the data are, and where the results go."""
    return _all(
        click.option(
            "--plan",
            default="auto",
            show_default=True,
            help="How the work is computed and divided: KERNELS:EXAMPLESxMATRIX such as native:2x1, KERNELS alone, "
            "cuda, auto; or serial, multicore, fast-serial, fast-parallel, hybrid, gpu, gpu-optimized.",
        ),
        threads_option,
        device_option,
        isa_option,
        click.option(
            "--precision",
            type=click.Choice(PRECISIONS),
            default="auto",
            show_default=True,
            help="auto: float64 for float64 data, else float32. tf32, bfloat16: on GPUs, products round what they "
            "multiply, the weights stay float32.",
        ),
        target_option,
        data_dir_option,
        click.option("--out", type=click.Path(path_type=Path), help=out_help),
        json_option,
        click.option("-q", "--quiet", is_flag=True, help="No progress."),
    )
