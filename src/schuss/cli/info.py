"""``schuss info``: the machine as Schuss sees it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from schuss.cli._common import (
    Failure,
    check_can_write,
    echo_columns,
    echo_json,
    echo_table,
    json_option,
    threads_option,
)
from schuss.cli._options import BATCH_SIZE
from schuss.optimizers import SOLVERS

if TYPE_CHECKING:
    from schuss.planner.profile import Profile

__all__ = ["info"]


def layer_sizes(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Read layer sizes such as 784-1024-10."""
    if value is None:
        return None
    parts = value.split("-")
    if len(parts) < 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise click.BadParameter(
            f"{value!r}: two or more whole numbers with - between them, such as 784-1024-10."
        )
    return tuple(map(int, parts))


@click.command(short_help="Show the machine: cores, caches, instruction sets, BLAS, GPUs, measured speed.")
@click.option(
    "--memory",
    callback=layer_sizes,
    metavar="N-N-...",
    help="Instead: the memory that training such a network would take (features, hidden layers, outputs).",
)
@click.option("--solver", type=click.Choice(SOLVERS), default="sgd", show_default=True, help="With --memory.")
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=BATCH_SIZE,
    show_default=True,
    help="With --memory.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "float64"]),
    default="float32",
    show_default=True,
    help="With --memory.",
)
@click.option("--measure", is_flag=True, help="Measure anew, whatever is kept from before.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw the roofline, with the last training's products on it: .png, .svg or .pdf (needs matplotlib).",
)
@click.option(
    "--save-profile",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the profile as JSON: `schuss plan --machine FILE` plans for this machine elsewhere.",
)
@threads_option
@json_option
@click.pass_context
def info(
    ctx: click.Context,
    /,
    as_json: bool,
    memory: tuple[int, ...] | None,
    threads: int | None,
    measure: bool,
    plot: Path | None,
    save_profile: Path | None,
    **options: Any,
) -> None:
    """Show the machine as Schuss sees it.

    Cores that may be used, caches, instruction sets, the BLAS and its threads, versions; GPUs, their driver and the
    kernels compiled for them, or why none can be used; and the profile that plans are chosen by: the peak in registers
    and the kernels' GFLOP/s by register tile, the bandwidth of each cache and of memory, the time of a barrier and of
    gathering a row, the BLAS's GFLOP/s. It is measured once, in two seconds, and kept.

    With --memory 784-1024-10: the bytes that training would take, before any is taken.
    """
    if memory is not None:
        for name in ("measure", "plot", "save_profile"):
            if _given(ctx, name):
                raise click.UsageError(f"{_option(name)} cannot be had with --memory.")
        facts = _memory(memory, threads, **options)
        if as_json:
            echo_json(facts)
        else:
            echo_table(rows(facts))
        return
    for name in options:
        if _given(ctx, name):
            raise click.UsageError(f"{_option(name)} belongs to --memory, which is not given.")
    for file, option in ((plot, "--plot"), (save_profile, "--save-profile")):
        if file is not None:
            check_can_write(file, option)

    from schuss import machine
    from schuss.cuda.summary import lines, summary
    from schuss.planner import last, probe

    facts, gpu = machine.summary(), summary()
    profile = probe.current(threads, fresh=measure)
    if save_profile is not None:
        _with_gpu(profile).save(save_profile)
    if plot is not None:
        from schuss.planner.roofline import plot_roofline

        plot_roofline(profile, last.load(), plot)
    if as_json:
        echo_json(facts | {"gpu": gpu, "profile": profile.as_dict()})
        return
    _echo([*rows(facts), *lines(gpu)], profile)
    written = {"plot": plot, "profile in": save_profile}
    if any(written.values()):
        click.echo()
        echo_table([(name, str(file)) for name, file in written.items() if file is not None])


def _with_gpu(profile: Profile) -> Profile:
    """The profile with the GPU that is here, for use elsewhere."""
    from schuss.planner.gpu import GpuProfile, present

    found = present()
    return replace(profile, gpu=found) if isinstance(found, GpuProfile) else profile


def _echo(facts: list[tuple[str, str]], profile: Profile) -> None:
    """The machine and its profile as tables."""
    from schuss.cli._profile_tables import profile_head, profile_tables

    echo_table([*facts, *profile_head(profile)])
    for heading, (head, table) in profile_tables(profile).items():
        click.echo(f"\n{heading}")
        echo_columns(head, table)


def _given(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _memory(
    sizes: tuple[int, ...], threads: int | None, *, solver: str, batch_size: int, precision: str
) -> dict[str, Any]:
    from schuss.optimizers import Optimizer
    from schuss.plan import allowed_threads, n_parameters
    from schuss.planner.choice import choose
    from schuss.trainer import training_memory

    plan = choose("auto", threads=allowed_threads(threads), layer_sizes=sizes, batch_size=batch_size)
    try:
        memory = training_memory(sizes, plan, Optimizer(solver=solver), batch_size, precision)
    except MemoryError:
        raise Failure(f"this machine refuses the memory that a network of {sizes} takes") from None
    return {
        "network": "-".join(map(str, sizes)),
        "parameters": n_parameters(sizes),
        "plan": str(plan),
        "solver": solver,
        "batch_size": batch_size,
        "precision": precision,
        "bytes_beside_the_data": memory,
    }


def rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, value) lines; nested entries carry their parent's name in front."""
    lines = []
    for name, value in facts.items():
        label = name.replace("_", " ")
        if isinstance(value, dict):
            lines += [(f"{label} {inner}", text) for inner, text in rows(value)]
        else:
            lines.append((label, text_of(value)))
    return lines


def text_of(value: Any) -> str:
    """A fact for people: lists joined, numbers grouped, unknown as a dash."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(text_of(item) for item in value) or "-"
    return str(value)
