"""Pictures of a training, with matplotlib (the extra `plot`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

__all__ = ["HistoryDisplay", "plot_history"]

#: Series of a history -> its panel, label and colour of matplotlib's cycle.
_SERIES = {
    "loss": ("loss", "training", "C0"),
    "validation_loss": ("loss", "validation", "C1"),
    "validation_score": ("score", "validation", "C1"),
    "validation_accuracy": ("score", "validation", "C1"),
    "learning_rate": ("learning rate", "learning rate", "0.35"),
}
_HEIGHTS = {"loss": 2.6, "score": 2.0, "learning rate": 1.3}  # inches
_WIDTH, _MARGIN = 6.4, 0.8
_MARKED = 40  # up to so many epochs each is a dot
_LOSS_RATIO = 50.0  # from so much between the largest and the smallest loss on, a linear axis hides the end
_RATE_RATIO = 8.0  # the same for the largest rate and the median one: most epochs would lie on the axis


class HistoryDisplay:
    """The course of a training: loss, validation score and learning rate over the epochs.

    Parameters
    ----------
    history : dict of str to list
        As in `history_` of an estimator or `history` of a network: loss; where there are, validation_loss,
        validation_score or validation_accuracy, learning_rate (drawn if it changes) and epoch_seconds.
    score_name : str or None, default None
        Label of the validation score, such as "accuracy".

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of matplotlib Axes, (n_panels,)
        One for the loss; one for the score and one for the learning rate where they are drawn.
    lines_ : dict of str to matplotlib Line2D
        By the names in the history.
    best_epoch_ : int or None
        The first epoch, counted from 1, with the highest validation score, or else the lowest validation loss; it is
        marked. None without validation.

    Raises
    ------
    ValueError
        If the history holds no loss.
    """

    figure_: Figure
    axes_: np.ndarray[Any, np.dtype[Any]]
    lines_: dict[str, Line2D]

    def __init__(self, history: Mapping[str, Sequence[float]], *, score_name: str | None = None) -> None:
        if not len(history.get("loss", ())):
            raise ValueError(f"history must hold the loss of at least one epoch, got {_keys(history)}")
        self.history = history
        self.score_name = score_name
        self._best_by, self.best_epoch_ = _best(history)

    def plot(self, *, ax: Any = None) -> HistoryDisplay:
        """Draw the panels, one below the other.

        Parameters
        ----------
        ax : matplotlib Axes, sequence of Axes or None, default None
            Where to draw: in the place of the Axes, or one panel in each of them. None: in a new figure.

        Returns
        -------
        self

        Raises
        ------
        ImportError
            If matplotlib is missing.
        ValueError
            If the number of Axes is not that of the panels.
        """
        drawn = [name for name in _SERIES if name in self.history and len(self.history[name])]
        if not _changes(self.history.get("learning_rate", ())):
            drawn = [name for name in drawn if name != "learning_rate"]
        panels = list(dict.fromkeys(_SERIES[name][0] for name in drawn))
        self.axes_ = _axes(ax, panels)
        self.figure_ = self.axes_[0].figure
        at = dict(zip(panels, self.axes_, strict=True))
        self.lines_ = {name: self._line(at[_SERIES[name][0]], name) for name in drawn}
        for panel, axes in at.items():
            self._finish(axes, panel)
        self._label_epochs()
        return self

    def _line(self, axes: Axes, name: str) -> Line2D:
        values = np.asarray(self.history[name], np.float64)
        epochs = len(self.history["loss"])
        # a validation that began later ends with the training
        at = np.arange(epochs - len(values), epochs) + 1
        _, label, color = _SERIES[name]
        style = "steps-mid" if name == "learning_rate" else "default"
        marker = "o" if epochs <= _MARKED and name != "learning_rate" else None
        (line,) = axes.plot(at, values, marker=marker, ms=3, color=color, label=label, drawstyle=style)
        if name in ("loss", "validation_loss") and _spread(values) > _LOSS_RATIO:
            axes.set_yscale("log")
        if name == "learning_rate" and values.min() > 0 and values.max() > _RATE_RATIO * np.median(values):
            axes.set_yscale("log")
        return line

    def _finish(self, axes: Axes, panel: str) -> None:
        if self.best_epoch_ is not None:
            self._mark(axes, panel, self.best_epoch_)
        axes.set_ylabel((self.score_name or "score") if panel == "score" else panel)
        axes.grid(axis="y", color="0.9", lw=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        if panel != "learning rate":
            axes.legend(frameon=False)

    def _mark(self, axes: Axes, panel: str, epoch: int) -> None:
        """A dashed line at the best epoch; in the panel that it is best by, a dot and the value."""
        label = f"best epoch, {epoch}"
        if _SERIES[self._best_by][0] == panel:
            best = self.history[self._best_by][epoch - len(self.history["loss"]) - 1]
            label += f": {best:.4g}"
            axes.plot(epoch, best, "o", ms=5, color=_SERIES[self._best_by][2])
        axes.axvline(epoch, color="0.5", lw=1, ls="--", zorder=0, label=label)

    def _label_epochs(self) -> None:
        from matplotlib.ticker import MaxNLocator

        epochs = len(self.history["loss"])
        for axes in self.axes_:
            axes.set_xlim(0.5, epochs + 0.5)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
            axes.tick_params(labelbottom=axes is self.axes_[-1])
        self.axes_[-1].set_xlabel("epoch")
        if len(self.history.get("epoch_seconds", ())):
            seconds = float(np.sum(self.history["epoch_seconds"]))
            count = "1 epoch" if epochs == 1 else f"{epochs} epochs"
            self.axes_[0].set_title(
                f"{count} in {seconds:.3g} s", loc="right", fontsize="medium", color="0.35"
            )


def plot_history(model: Any, *, ax: Any = None) -> HistoryDisplay:
    """Draw the course of a training: losses, validation score, learning rate.

    Parameters
    ----------
    model : fitted estimator, trained network or dict
        What has a `history_` or a `history`, or such a history itself.
    ax : matplotlib Axes, sequence of Axes or None, default None
        See :meth:`HistoryDisplay.plot`.

    Returns
    -------
    HistoryDisplay
        With figure_, axes_, lines_ and best_epoch_.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    TypeError
        If the model has no history.
    ValueError
        If the history holds no loss.
    """
    history = (
        model if isinstance(model, Mapping) else getattr(model, "history_", getattr(model, "history", None))
    )
    if not isinstance(history, Mapping):
        raise TypeError(
            f"model must be a fitted estimator, a network or a history, got {type(model).__name__}"
        )
    return HistoryDisplay(history, score_name=_score_name(model, history)).plot(ax=ax)


def _score_name(model: Any, history: Mapping[str, Any]) -> str:
    """What an estimator's `score` is, told by what the model is."""
    if hasattr(model, "classes_") or "validation_accuracy" in history:
        return "accuracy"
    return "R²" if hasattr(model, "score") else "score"


def _best(history: Mapping[str, Sequence[float]]) -> tuple[str, int | None]:
    """What the best epoch is told by, and its number from 1; None without validation."""
    for name, sign in (("validation_score", 1), ("validation_accuracy", 1), ("validation_loss", -1)):
        values = sign * np.asarray(history.get(name, ()), np.float64)
        if np.isfinite(values).any():
            return name, int(np.nanargmax(values)) + 1 + len(history["loss"]) - len(values)
    return "loss", None


def _changes(values: Sequence[float]) -> bool:
    return len(values) > 0 and min(values) != max(values)


def _spread(values: Any) -> float:
    """Largest over smallest of positive values; 1 where the ratio says nothing."""
    values = values[np.isfinite(values)]
    return float(values.max() / values.min()) if len(values) and values.min() > 0 else 1.0


def _keys(history: Mapping[str, Any]) -> str:
    return ", ".join(map(str, history)) or "an empty one"


def _axes(ax: Any, panels: list[str]) -> np.ndarray[Any, np.dtype[Any]]:
    """The Axes to draw the panels in, (n_panels,)."""
    try:
        from matplotlib import pyplot
        from matplotlib.axes import Axes
    except ImportError:
        raise ImportError("plot_history needs matplotlib: pip install 'schuss[plot]'") from None
    heights = [_HEIGHTS[panel] for panel in panels]
    if ax is None:
        figure = pyplot.figure(figsize=(_WIDTH, sum(heights) + _MARGIN), layout="constrained")
        grid = figure.add_gridspec(len(panels), 1, height_ratios=heights)
        return _shared(figure, grid)
    if isinstance(ax, Axes):
        if len(panels) == 1:
            return np.array([ax])
        place = ax.get_subplotspec()
        if place is None:
            raise ValueError(f"ax must be part of a grid of subplots, or {len(panels)} Axes for {panels}")
        ax.set_axis_off()
        return _shared(ax.figure, place.subgridspec(len(panels), 1, height_ratios=heights))
    given = np.asarray(ax, object).ravel()
    if len(given) != len(panels):
        raise ValueError(f"ax must be {len(panels)} Axes ({', '.join(panels)}), got {len(given)}")
    return given


def _shared(figure: Any, grid: Any) -> np.ndarray[Any, np.dtype[Any]]:
    """One Axes in each row of the grid, all with the first one's epochs."""
    first = figure.add_subplot(grid[0])
    others = [figure.add_subplot(grid[row], sharex=first) for row in range(1, grid.nrows)]
    return np.array([first, *others], object)
