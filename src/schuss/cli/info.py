"""``schuss info``: the machine as Schuss sees it."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from schuss.cli._common import Failure, echo_json, echo_table, json_option, threads_option
from schuss.cli._options import BATCH_SIZE
from schuss.optimizers import SOLVERS

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


@click.command(short_help="Show the machine: cores, caches, instruction sets, BLAS, measured speed.")
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
@threads_option
@json_option
@click.pass_context
def info(
    ctx: click.Context, /, as_json: bool, memory: tuple[int, ...] | None, threads: int | None, **options: Any
) -> None:
    """Show the machine as Schuss sees it.

    Cores that may be used, caches, instruction sets, the BLAS and its threads, measured peak GFLOP/s and
    memory bandwidth, the time of a barrier, versions.

    With --memory 784-1024-10: the bytes that training would take, before any is taken.
    """
    from schuss import machine

    if memory is None:
        for name in options:
            if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                raise click.UsageError(f"--{name.replace('_', '-')} belongs to --memory, which is not given.")
    facts = machine.info(threads) if memory is None else _memory(memory, threads, **options)
    if as_json:
        echo_json(facts)
    else:
        echo_table(rows(facts))


def _memory(
    sizes: tuple[int, ...], threads: int | None, *, solver: str, batch_size: int, precision: str
) -> dict[str, Any]:
    from schuss.optimizers import Optimizer
    from schuss.plan import allowed_threads, choose, n_parameters
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
