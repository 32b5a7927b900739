"""What the verbs share: options, checks made before any work, and how results are printed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import click

__all__ = [
    "TABLES",
    "Failure",
    "Interrupted",
    "check_can_write",
    "check_device",
    "check_weights",
    "data_dir_option",
    "device_option",
    "echo_columns",
    "echo_json",
    "echo_table",
    "isa_option",
    "json_option",
    "json_text",
    "not_empty",
    "target_option",
    "threads_option",
]

#: Endings of files that have columns.
TABLES = (".csv", ".parquet", ".arrow", ".feather")


def not_empty(_ctx: Any, _param: Any, value: str | None) -> str | None:
    """Refuse the empty text, which as a path would be the current folder."""
    if value is not None and not value.strip():
        raise click.BadParameter(f"a name or a path is wanted, got {value!r}.")
    return value


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
threads_option = click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Threads allowed.  [default: the cores that may be used]",
)
device_option = click.option(
    "--device",
    metavar="NAME",
    default="auto",
    show_default=True,
    help="Where to compute: cpu, cuda or cuda:N (a GPU); auto: where the plan says, or where it is faster.",
)
isa_option = click.option(
    "--isa",
    metavar="NAME",
    help="Instruction set of the kernels: avx512, avx2, portable.  [env: SCHUSS_ISA; default: the best there is]",
)
data_dir_option = click.option(
    "--data-dir",
    type=click.Path(),
    callback=not_empty,
    help="Folder of the MNIST files.  [env: SCHUSS_DATA_DIR]",
)
target_option = click.option(
    "--target",
    metavar="COLUMN[,COLUMN...]",
    help="Target column of a table (CSV, Parquet, Arrow): name or number; several are numbers to predict at once.  "
    "[default: the last]",
)


class Failure(click.ClickException):
    """What went wrong, in one line on stderr; exit code 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"schuss: error: {self.message}", file=file, err=True)


class Interrupted(click.ClickException):
    """Ctrl-C; the exit code is 128 + SIGINT, as shells count."""

    exit_code = 130

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"schuss: {self.message}", file=file, err=True)


def check_device(device: str) -> None:
    """Refuse a device that is none; DeviceError for a GPU that is not here."""
    from schuss.errors import PlanError
    from schuss.plan import Plan

    try:
        plan = Plan.parse("auto", device=device)
    except PlanError as error:
        raise click.BadParameter(f"{error}.", param_hint="'--device'") from error
    if plan is not None:
        plan.require()


def check_can_write(path: Path, option: str) -> None:
    """Refuse an output file that could not be written, before any work is done for it."""
    folder = path.parent
    rule = None
    if path.is_dir():
        rule = "a file is wanted, this is a folder"
    elif path.exists() and not path.is_file():
        rule = "a regular file is wanted"
    elif not folder.is_dir():
        rule = f"there is no folder {str(folder)!r}"
    elif not os.access(folder, os.W_OK | os.X_OK):
        rule = f"the folder {str(folder)!r} cannot be written"
    if rule is not None:
        raise click.BadParameter(f"{str(path)!r}: {rule}.", param_hint=f"'{option}'")


def check_weights(weights: str | None, source: str) -> None:
    """Refuse a column of weights where the source has no columns."""
    if weights is not None and Path(source).suffix.lower() not in TABLES:
        rule = f"only a table ({', '.join(TABLES)}) has columns, got {source}."
        raise click.BadParameter(rule, param_hint="'--weights'")


def json_text(document: dict[str, Any]) -> str:
    """One JSON document, a line break at its end; NaN and infinity, which JSON lacks, become null."""
    return json.dumps(_plain(document), indent=2, allow_nan=False) + "\n"


def echo_json(document: dict[str, Any]) -> None:
    """One JSON document on stdout."""
    click.echo(json_text(document), nl=False)


def echo_table(rows: Sequence[tuple[str, str]]) -> None:
    """Names and values in two aligned columns on stdout."""
    width = max(len(name) for name, _ in rows)
    click.echo("\n".join(f"{name:<{width}}  {value}" for name, value in rows))


def echo_columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table with aligned columns on stdout; cells that start with a letter to the left, others to the right."""
    table = [head, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    left = [any(row[column][:1].isalpha() for row in rows) for column in range(len(head))]
    for row in table:
        cells = zip(row, widths, left, strict=True)
        click.echo("  ".join(f"{cell:{'<' if text else '>'}{width}}" for cell, width, text in cells).rstrip())


def _plain(value: Any) -> Any:
    """A value as JSON knows it: tuples and arrays as lists, NumPy scalars as Python's, paths as text."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
