"""Progress on stderr: lines, and a bar below them on a terminal."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from schuss.progress import stderr_console

__all__ = ["TrainingProgress", "epoch_line"]


class TrainingProgress:
    """A header, then one line an epoch; or, of many trainings, news that only a terminal is told.

    Parameters
    ----------
    total : int
        Epochs (or folds, or trials) to come.
    quiet : bool
        Print nothing.
    """

    def __init__(self, total: int, *, quiet: bool) -> None:
        self._console = stderr_console(quiet=quiet, highlight=False, soft_wrap=True)
        self._total = total
        # not the console's is_terminal: FORCE_COLOR makes it take a file for one
        on_terminal = sys.stderr.isatty() and not self._console.is_dumb_terminal
        self._bar = _bar(self._console, total) if on_terminal and not quiet else None

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

    def news(self, text: str) -> None:
        """Print one line above the bar, where there is one."""
        if self._bar is not None:
            self.line(text)

    def at(self, what: str, done: float) -> None:
        """Move the bar; `done` is what is done of the total."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], description=what, completed=done)

    def epoch(self, history: dict[str, list[float]], plan: str) -> None:
        """Report the epoch that `history` ends with."""
        done = len(history["loss"])
        self.line(epoch_line(history, self._total, plan))
        self.at(f"epoch {done}/{self._total}", done)


def _bar(console: Console, total: int) -> Progress:
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        refresh_per_second=2,  # the training's threads want the cores
    )
    bar.add_task("training", total=total)
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
