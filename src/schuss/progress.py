"""Progress of an estimator's training under `verbose`: a bar on a terminal, else scikit-learn's own lines."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # rich takes some 50 ms to import: only who sees a bar pays for it
    from rich.console import Console
    from rich.progress import Progress as RichProgress

__all__ = ["Progress", "stderr_console", "training_progress"]

_REFRESHES_PER_SECOND = 2  # the training's threads want the cores


class Progress:
    """What a training reports; this one is silent."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def epoch(self, history: Mapping[str, Sequence[Any]]) -> None:
        """Report an epoch: the last `loss` of the history and, where there is one, the last `validation_score`."""

    def sentence(self, text: str) -> None:
        """Report something else, in one line."""

    def plateau(self, validated: bool, tol: float, epochs: int, rate: float | None, adaptive: bool) -> None:
        """Report that training no longer improves, and what follows.

        Parameters
        ----------
        validated : bool
            Whether the validation score is what did not improve; else it is the training loss.
        tol : float
            By how much it should have improved.
        epochs : int
            Epochs in a row without it.
        rate : float or None
            Learning rate from now on; None: training ends.
        adaptive : bool
            Whether the rate could have been lowered, so that an end means that it is too small for that.
        """
        what = "Validation score" if validated else "Training loss"
        if rate is not None:
            then = f"Setting learning rate to {rate:f}"
        else:
            then = "Learning rate too small. Stopping." if adaptive else "Stopping."
        self.sentence(f"{what} did not improve more than tol={tol:f} for {epochs} consecutive epochs. {then}")


class _Lines(Progress):
    """scikit-learn's lines on stdout."""

    def __init__(self) -> None:
        self._done = 0

    def epoch(self, history: Mapping[str, Sequence[Any]]) -> None:
        self._done += 1
        self.sentence(f"Iteration {self._done}, loss = {history['loss'][-1]:.8f}")
        if history.get("validation_score"):
            self.sentence(f"Validation score: {history['validation_score'][-1]:f}")

    def sentence(self, text: str) -> None:
        print(text, flush=True)


class _Bar(Progress):
    """A bar on stderr that names the loss and the score of the last epoch; sentences come above it."""

    def __init__(self, epochs: int) -> None:
        self._bar = _rich_bar(epochs)

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def epoch(self, history: Mapping[str, Sequence[Any]]) -> None:
        text = f"loss {history['loss'][-1]:#.4g}"
        if history.get("validation_score"):
            text += f"  score {history['validation_score'][-1]:#.4g}"
        self._bar.update(self._bar.task_ids[0], advance=1, values=text)

    def sentence(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)


def stderr_console(**options: Any) -> Console:
    """A rich console on stderr that falls silent when nobody reads it any more: the training goes on."""
    from rich.console import Console

    class Stderr(Console):
        def on_broken_pipe(self) -> None:
            self.quiet = True

    return Stderr(stderr=True, **options)


def _rich_bar(epochs: int) -> RichProgress:
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    bar = RichProgress(
        TextColumn("epoch"),
        BarColumn(bar_width=20),
        TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[values]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=stderr_console(),
        refresh_per_second=_REFRESHES_PER_SECOND,
    )
    bar.add_task("training", total=epochs, values="")
    return bar


def _bar_is_welcome() -> bool:
    """Whether stderr is a terminal that can move its cursor, and this process is not one worker of several."""
    if sys.stderr is None or not sys.stderr.isatty() or multiprocessing.parent_process() is not None:
        return False
    return os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


def training_progress(verbose: bool | int, epochs: int) -> Progress:
    """A context manager that reports a training.

    Parameters
    ----------
    verbose : bool or int
        False or 0: nothing is reported, and nothing imported for it.
    epochs : int
        Epochs at most.

    Returns
    -------
    Progress
        With methods `epoch(history)`, `plateau(...)` and `sentence(text)`.
    """
    if not verbose:
        return Progress()
    return _Bar(epochs) if _bar_is_welcome() else _Lines()
