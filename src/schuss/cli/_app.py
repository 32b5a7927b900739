"""The group of verbs: help, version and what every verb's failure looks like."""

from __future__ import annotations

import dis
import os
import sys
from contextlib import suppress
from typing import Any, NoReturn

import click

from schuss.cli._common import Failure, Interrupted
from schuss.cli.bench import bench
from schuss.cli.evaluate import evaluate
from schuss.cli.export import export
from schuss.cli.info import info
from schuss.cli.plan import plan
from schuss.cli.predict import predict
from schuss.cli.train import train
from schuss.cli.tune import tune
from schuss.errors import SchussError

__all__ = ["app", "main"]


class Verbs(click.Group):
    """A group that turns what its verbs raise into one line and an exit code; a mistake in the program stays one."""

    def main(self, *args: Any, **extra: Any) -> Any:
        try:
            return super().main(*args, **extra)
        except OSError as error:  # here, as help is printed before a verb is invoked
            _end(error)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SchussError as error:
            raise Failure(str(error)) from error
        except ValueError as error:
            if _on_purpose(error):
                raise Failure(str(error)) from error
            raise
        except MemoryError as error:
            raise Failure(f"not enough memory {error}".rstrip()) from error
        except KeyboardInterrupt:
            raise Interrupted("interrupted") from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order of use, not of the alphabet


def _on_purpose(error: ValueError) -> bool:
    """Whether a `raise` of this package raised it: then it is about what the user gave, and says so."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or trace.tb_frame.f_globals.get("__name__", "").partition(".")[0] != "schuss":
        return False
    return trace.tb_frame.f_code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def _end(error: OSError) -> NoReturn:
    """Leave the process after a failure of the system, such as a full disk behind stdout."""
    with suppress(OSError, ValueError):  # what is still to be written would fail once more at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.filename is not None:
        what = f"{error.filename}: {error.strerror}"
    else:
        what = f"cannot write the output: {error.strerror}" if error.strerror else str(error)
    Failure(" ".join(what.split())).show()
    sys.exit(Failure.exit_code)


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  schuss train                                     784-1024-10 on the built-in 28x28 digits
  schuss train mnist --net net-2h --plan native    MNIST, two hidden layers
  schuss train sales.csv --target region --hidden 64,64 --out sales.safetensors
  schuss train sales.csv --target region --cv 5    how well that does, before any model is kept
  schuss tune sales.csv --target region            and with which settings it does best
  schuss evaluate schuss-model.safetensors digits28
  schuss predict sales.safetensors new.csv > regions.txt

\b
Results go to stdout, progress to stderr.
Exit codes: 0 success, 1 failure, 2 wrong usage, 130 interrupted.""",
)
@click.version_option(package_name="schuss", prog_name="schuss", message="%(prog)s %(version)s")
def app() -> None:
    """Train multilayer feedforward networks in parallel, and use them.

    `schuss VERB --help` explains a verb.
    """


for verb in (train, plan, tune, predict, evaluate, export, bench, info):
    app.add_command(verb)


def main() -> None:
    """Run the command line and leave the process with its exit code."""
    app(prog_name="schuss")
