"""``schuss tune``: many trainings, and the command that repeats the best of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from schuss.cli._common import Failure, Interrupted, echo_json, echo_table
from schuss.cli._options import data_argument, how_options, learning_options, network_options
from schuss.cli._train_settings import require_device, settle
from schuss.cli.train import summary, trained

if TYPE_CHECKING:
    from schuss.cli._search import Search
    from schuss.cli._trials import Sampler

__all__ = ["tune"]

TRIALS = 20


@click.command(short_help="Search for the settings that learn the data best.")
@data_argument
@click.option("--trials", type=click.IntRange(min=1), help=f"Trainings to try.  [default: {TRIALS}]")
@click.option(
    "--sampler",
    type=click.Choice(["random", "optuna"]),
    help="Who draws the values: chance, or optuna, which learns from the trials before.  [default: random]",
)
@click.option(
    "--preset",
    type=click.Choice(["paper"]),
    help="Instead: the 2016 study's choice among six learning rates, with its sigmoid, squared error and plain "
    "gradient descent.",
)
@click.option(
    "--cv",
    type=click.IntRange(min=2),
    metavar="K",
    help="Judge each trial by cross-validation with K folds, not by the validation part.",
)
@click.option("--keep-all", is_flag=True, help="Train every trial to its end, however badly it begins.")
@network_options(searched=True)
@learning_options(searched=True)
@how_options("Train with the best settings found and write the model here.  [default: no model]")
@click.pass_context
def tune(
    ctx: click.Context,
    /,
    trials: int | None,
    sampler: str | None,
    preset: str | None,
    keep_all: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Search for the settings with which a network learns DATA best.

    Searched are the learning rate, batch size, hidden layers, activation, alpha (with adamw: weight decay) and
    dropout. An option given here, written as for `schuss train`, is fixed to its value. Trials are judged on the
    validation part, by accuracy or, where the targets are numbers, by the loss; the test part is not looked at. A
    trial that after a third of its epochs (with --cv: after its first fold) is worse than half of those before it is
    given up.

    Printed are the trials, the best first, and the `schuss train` command that repeats the best. Ctrl-C prints what
    was found until then.
    """
    from schuss.cli import _trials

    if preset is not None:
        _refuse(ctx, (*_trials.PAPER, "learning_rate", "weight_decay", "trials", "sampler"), "--preset paper")
        options |= _trials.PAPER
        total, keep_all = len(_trials.PAPER_RATES), True
    else:
        _check_space(options)
        total = trials or TRIALS
    base = settle(**options, needs_out=False)
    require_device(base)
    if sampler == "optuna":
        _trials.needed_optuna()

    from schuss import machine
    from schuss.cli._search import begun

    search = begun(base, options, total=total, keep_all=keep_all)
    chooser: Sampler
    if preset is not None:
        chooser = _trials.GridSampler({"learning_rate": _trials.Choice(_trials.PAPER_RATES)})
    else:
        draw = _trials.OptunaSampler if sampler == "optuna" else _trials.RandomSampler
        chooser = draw(_trials.axes(options, search.rows), total, options["seed"])
    ending = _run(search, chooser, quiet)
    if search.trials and not as_json:
        search.echo()
    training = None
    if ending is None and base.out is not None and search.best is not None:
        try:
            training = trained(search.settings(search.best), search.parts, quiet=quiet)
        except click.ClickException as error:  # what was found is worth printing all the same
            ending = error
    if search.trials and as_json:
        found = search.document() | {"training": training, "interrupted": isinstance(ending, Interrupted)}
        echo_json(found | {"machine": machine.summary()})
    if ending is not None:
        raise ending
    if search.best is None:
        raise Failure("every trial diverged: a smaller --learning-rate may help")
    if training is not None and not as_json:
        click.echo()
        echo_table(summary(training))


def _run(search: Search, sampler: Sampler, quiet: bool) -> click.ClickException | None:
    """Try everything; Ctrl-C comes back as how to end."""
    from schuss.cli._progress import TrainingProgress

    with TrainingProgress(search.total, quiet=quiet) as progress:
        try:
            search.run(sampler, progress)
        except KeyboardInterrupt:
            return Interrupted(f"interrupted after {len(search.trials)} of {search.total} trials")
    return None


def _refuse(ctx: click.Context, names: tuple[str, ...], by: str) -> None:
    """Options that were given although something else decides them."""
    for name in names:
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')} cannot be had with {by}, which decides it.")


def _check_space(options: dict[str, Any]) -> None:
    """Refuse a search that has nothing to search, or values for layers that are not known yet."""
    from schuss.cli._trials import axes

    space = axes(options)
    if not space:
        raise click.UsageError("nothing is left to search: every searched option is given.")
    for name in ("activation", "dropout"):
        if "hidden" in space and options[name] is not None and len(options[name]) > 1:
            raise click.UsageError(f"--{name} with one value a layer needs --hidden, which is searched.")
