"""Progress of a study on stderr: a line an implementation, and on a terminal a bar with the time that is left."""

from __future__ import annotations

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from schuss.cli._progress import TrainingProgress

__all__ = ["StudyProgress"]


class StudyProgress(TrainingProgress):
    """Is told of a study as :class:`schuss.study.run.Reporter` says, and of searches within it.

    Parameters
    ----------
    quiet : bool
        Print nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        super().__init__(1, quiet=quiet)
        self._what, self._parts = "", 1
        if self._bar is not None:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=20),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}"),
                console=self._console,
                transient=True,
                refresh_per_second=1,  # what is measured wants the cores
            )
            self._bar.add_task("", total=1.0, left="")

    def __enter__(self) -> StudyProgress:
        super().__enter__()
        return self

    def begin(self, what: str, parts: int) -> None:
        """What follows is of so many parts."""
        self._what, self._parts = f"{what}: ", parts

    def at(self, what: str, done: float, left: float | None = None) -> None:
        """Move the bar; `done` is what is done of the parts, `left` the seconds to go, about."""
        if self._bar is not None:
            told = "" if left is None else f"about {_duration(left)} left"
            share = done / self._parts
            self._bar.update(self._bar.task_ids[0], description=self._what + what, completed=share, left=told)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
