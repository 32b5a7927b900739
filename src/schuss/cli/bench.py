"""``schuss bench``: the study, every strategy and other libraries side by side, with a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from schuss.cli._common import echo_json, json_option, not_empty
from schuss.cli.train import train

__all__ = ["bench"]

PRESETS = ("paper", "quick", "mine")
#: Options of `schuss train` that mean the same here; all but the last two only with --preset mine.
OF_TRAIN = (
    *("net", "hidden", "activation", "output_activation", "init", "task", "loss"),
    *("solver", "learning_rate", "momentum", "standardize", "target", "threads", "data_dir"),
)
OF_ALL = ("threads", "data_dir")


def _names(_ctx: Any, _param: Any, value: str | None) -> tuple[str, ...] | None:
    """Read names with commas between them."""
    if value is None:
        return None
    names = tuple(name.strip() for name in value.split(","))
    if not all(names):
        raise click.BadParameter(f"{value!r}: names with commas between them are wanted.")
    return names


def _numbers(ctx: Any, param: Any, value: str | None) -> tuple[int, ...] | None:
    """Read whole numbers above 0 with commas between them."""
    names = _names(ctx, param, value)
    if names is None:
        return None
    if not all(name.isdecimal() and int(name) > 0 for name in names):
        raise click.BadParameter(f"{value!r}: whole numbers above 0, such as 128,1024, are wanted.")
    return tuple(map(int, names))


@click.command(short_help="Measure every strategy beside other libraries, and write a report.")
@click.argument("data", required=False, callback=not_empty)
@click.option(
    "--preset",
    type=click.Choice(PRESETS),
    help="paper: the 2016 study's networks and batch sizes, half an hour on two cores. quick: one network, two batch "
    "sizes, two minutes. mine: DATA and the network of the options below.  [default: mine with DATA, else quick]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where results and report go; what is measured already there is not measured again.  "
    "[default: schuss-bench-PRESET]",
)
@click.option(
    "--networks",
    callback=_names,
    metavar="NAME[,NAME...]",
    help="net-1h, net-2h, or layer sizes such as 784-300-10.  [default: paper: both; quick: net-1h]",
)
@click.option(
    "--batches",
    callback=_numbers,
    metavar="N[,N...]",
    help="Batch sizes.  [default: paper: 128 to 4096 in powers of two; quick: 128,1024; mine: 32,128,1024]",
)
@click.option(
    "--implementations",
    callback=_names,
    metavar="NAME[,NAME...]",
    help="Which take part; one that is named and cannot is an error; NAME@N: another library on N threads.  "
    "[default: all that can; quick: those that start fast]",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    help="Fresh processes of each implementation.  [default: 3; quick: 2]",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True, max=60),
    help="A turn takes at least so long; an epoch of more than five times that is cut to a share of its rows.  "
    "[default: 0.3; quick: 0.2]",
)
@click.option(
    "--accuracy",
    is_flag=True,
    help="Also choose the networks' learning rate as `schuss tune --preset paper` does, and measure the best on the "
    "test part: five minutes more. Not with mine.",
)
@click.option(
    "--theano-python",
    metavar="PATH",
    callback=not_empty,
    help="The python of an environment with Keras 2 on Theano, which then takes part.",
)
@click.option(
    "--compare",
    nargs=2,
    type=click.Path(path_type=Path),
    metavar="A B",
    help="Measure nothing: set the results in two folders side by side, and name what moved beyond noise. With --out, "
    "also as a page in that file.",
)
@json_option
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.pass_context
def bench(
    ctx: click.Context,
    /,
    data: str | None,
    preset: str | None,
    out: Path | None,
    compare: tuple[Path, Path] | None,
    as_json: bool,
    quiet: bool,
    accuracy: bool,
    **options: Any,
) -> None:
    """Measure an epoch of every strategy of Schuss, and of the other libraries that are installed, on this machine.

    Each implementation runs in fresh processes, in rounds, one at a time, and must first reach the losses of an
    oracle. Into the folder come results.json, results.csv, figures and report.html, a page that needs no network.

    Ctrl-C ends the study; the same command goes on where it stopped. MNIST is what `schuss train mnist` would take;
    where it is absent, the built-in digits28 take its place, and a line says so.
    """
    if compare is not None:
        _refuse_beside_compare(ctx)
        _compare(compare, out, as_json)
        return
    preset = _preset(ctx, preset, data)
    if accuracy and preset == "mine":
        raise click.UsageError("--accuracy is of the 2016 study's networks: not with --preset mine.")
    _limit_threads(options["threads"])

    from schuss.cli._bench_run import echo, measured, reported
    from schuss.cli._bench_settings import Wanted, settle_study

    of_study = ("networks", "batches", "implementations", "rounds", "seconds", "theano_python")
    wanted = Wanted(**{name: options.pop(name) for name in of_study})
    asked = settle_study(preset, wanted, options | {"data": data or "digits28"})
    if accuracy and "hybrid" not in asked.settings.implementations:
        raise click.UsageError("--accuracy is reached with hybrid, which --implementations leaves out.")
    folder = out or Path(f"schuss-bench-{preset}")
    study = measured(asked, wanted, folder, options if accuracy else None, quiet=quiet)
    if as_json:
        echo_json(study.as_dict())
    else:
        echo(study)
    written = reported(folder)
    if not as_json:
        click.echo("\n" + "\n".join(map(str, written)))


bench.params += [param for param in train.params if param.name in OF_TRAIN]


def _preset(ctx: click.Context, preset: str | None, data: str | None) -> str:
    """The preset; options of a user's own network are refused beside another."""
    given = [name for name in OF_TRAIN if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    own = [name for name in given if name not in OF_ALL]
    if preset is None:
        preset = "mine" if data or own else "quick"
    if preset != "mine" and (data or own):
        what = f"DATA {data}" if data else f"--{own[0].replace('_', '-')}"
        raise click.UsageError(f"{what} belongs to --preset mine, got --preset {preset}.")
    return preset


def _refuse_beside_compare(ctx: click.Context) -> None:
    for param in ctx.command.params:
        given = ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE
        if given and param.name not in ("compare", "out", "as_json", "quiet"):
            raise click.UsageError(
                f"{param.get_error_hint(ctx)} cannot be had with --compare, which measures nothing."
            )


def _limit_threads(threads: int | None) -> None:
    """Hold this process and all that it starts to so many threads."""
    import os

    from schuss.study.measure import LIMITS

    if threads is not None:
        os.environ.update(dict.fromkeys(LIMITS, str(threads)))


def _compare(folders: tuple[Path, Path], out: Path | None, as_json: bool) -> None:
    from schuss.study.compare import compare

    found = compare(*folders)
    if out is not None:
        found.write(out)
    if as_json:
        echo_json(found.as_dict())
    else:
        click.echo(str(found))
