"""Progress of a training on stderr: lines everywhere, a bar below them on a terminal."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["TrainingProgress", "epoch_line"]


class TrainingProgress:
    """A header, then one line an epoch.

    Parameters
    ----------
    epochs : int
        Epochs to come.
    quiet : bool
        Print nothing.
    """

    def __init__(self, epochs: int, *, quiet: bool) -> None:
        self._console = _Stderr(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self._epochs = epochs
        # not the console's is_terminal: FORCE_COLOR makes it take a file for one
        on_terminal = sys.stderr.isatty() and not self._console.is_dumb_terminal
        self._bar = _bar(self._console, epochs) if on_terminal and not quiet else None

    def __enter__(self) -> TrainingProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def line(self, text: str) -> None:
        """Print one line above the bar."""
        self._console.print(text, markup=False)

    def epoch(self, history: dict[str, list[float]], plan: str) -> None:
        """Report the epoch that `history` ends with."""
        self.line(epoch_line(history, self._epochs, plan))
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0])


class _Stderr(Console):
    """A console that falls silent when nobody reads it any more: the training goes on."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


def _bar(console: Console, epochs: int) -> Progress:
    bar = Progress(
        TextColumn("epoch"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        refresh_per_second=2,  # the training's threads want the cores
    )
    bar.add_task("training", total=epochs)
    return bar


def epoch_line(history: dict[str, list[Any]], epochs: int, plan: str) -> str:
    """The last epoch of `history` as one line."""
    done = len(history["loss"])
    parts = [f"epoch {done:>{len(str(epochs))}}/{epochs}", f"loss {history['loss'][-1]:<#9.4g}"]
    if "validation_accuracy" in history:
        parts.append(f"validation accuracy {100 * history['validation_accuracy'][-1]:.2f} %")
    elif "validation_loss" in history:
        parts.append(f"validation loss {history['validation_loss'][-1]:#.4g}")
    parts.append(f"{history['examples_per_second'][-1]:>9,.0f} examples/s")
    parts.append(f"{history['gflops'][-1]:>6.1f} GFLOP/s")
    parts.append(plan)
    return "  ".join(parts)
