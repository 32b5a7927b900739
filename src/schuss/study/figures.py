"""The figures of a study, with matplotlib: bars as in the 2016 report, then threads, share of peak, loss.

Each function takes the study and a network and gives a :class:`~schuss.study.canvas.Drawing`, or None where the study
has nothing to draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from . import derived
from .canvas import Drawing, frame, log_ticks, look, settle
from .curves import loss, scaling
from .derived import Range
from .palette import INK, MUTED, PAPER, RULE, batch_colors
from .results import Run, Study
from .words import PARALLEL, amount, count, examples_per_epoch, file_name

__all__ = ["draw_all", "gflops", "loss", "scaling", "share_of_peak", "speedup", "time_per_epoch"]

_BAR, _GAP = 0.068, 0.11  # inches: a bar, and the space between two implementations
_MARGINS = 1.05
_SMALLEST_GROUP = 0.33  # two lines of text
_ROOM = 0.3  # of the longest bar, for the number behind it

#: Behind a number, so that no line of the grid crosses it.
_PLATE = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.8}

Values = dict[str, dict[int, Range]]


def draw_all(study: Study) -> dict[str, list[Drawing]]:
    """All figures that the study has data for, by kind in the order of the report; one a network in each.

    Raises
    ------
    SchussError
        If matplotlib is missing.
    """
    kinds: dict[str, Callable[[Study, str], Drawing | None]] = {
        "time": time_per_epoch,
        "gflops": gflops,
        "speedup": speedup,
        "scaling": scaling,
        "peak": share_of_peak,
        "loss": loss,
    }
    drawn = {
        kind: [drawing for network in study.networks if (drawing := draw(study, network)) is not None]
        for kind, draw in kinds.items()
    }
    return {kind: drawings for kind, drawings in drawn.items() if drawings}


def time_per_epoch(study: Study, network: str) -> Drawing | None:
    """Seconds of an epoch, on a logarithmic axis."""
    values = _values(study, network, derived.seconds)
    if not values:
        return None
    best, worst = _extreme(values, min), _extreme(values, max)
    return _bars(
        study, network, values, name="time", title=f"Time per epoch, {network}", log=True, best=min,
        axis=f"seconds an epoch of {examples_per_epoch(study)} (logarithmic)",
        caption="Shorter is faster. The axis is logarithmic: read where a bar ends, not how long it is.",
        alt=f"Shortest: {_named(study, best)} s. Longest: {_named(study, worst)} s.",
    )  # fmt: skip


def gflops(study: Study, network: str) -> Drawing | None:
    """Billions of floating-point operations a second."""
    values = _values(study, network, derived.gflops)
    if not values:
        return None
    best, worst = _extreme(values, max), _extreme(values, min)
    return _bars(
        study, network, values, name="gflops", title=f"Arithmetic rate, {network}", log=False, best=max,
        axis="GFLOP/s",
        caption="Floating-point operations of the matrix products over the wall time of the epoch; longer is faster.",
        alt=f"Highest: {_named(study, best)} GFLOP/s. Lowest: {_named(study, worst)} GFLOP/s.",
    )  # fmt: skip


def speedup(study: Study, network: str) -> Drawing | None:
    """Times as fast as the implementation's own serial counterpart."""
    pairs = {name: derived.speedups(study, network, name) for name in study.implementations}
    values = {name: by_batch for name, by_batch in pairs.items() if by_batch}
    if not values:
        return None
    best, worst = _extreme(values, max), _extreme(values, min)
    return _bars(
        study, network, values, name="speedup", title=f"Speedup over the own serial counterpart, {network}",
        log=False, best=max, axis="times as fast as its serial counterpart", line=1.0,
        caption="Each implementation against the same arithmetic on one thread, named below it; the dashed line is no "
        "gain. A whisker pairs the slowest round of one side with the fastest of the other.",
        alt=f"Highest: {_named(study, best)} times. Lowest: {_named(study, worst)} times.",
        below=lambda name: f"vs {study.implementations[study.implementations[name].serial or name].label}",
    )  # fmt: skip


def share_of_peak(study: Study, network: str) -> Drawing | None:
    """Share of the peak that was measured beside each run: a dot a batch size."""
    values = _values(study, network, derived.share_of_peak)
    if not values:
        return None
    batches = derived.batches_of(study, network)
    colors = dict(zip(batches, batch_colors(len(batches)), strict=True))
    with look():
        figure, axes = frame(_MARGINS + _SMALLEST_GROUP * len(values))
        for row, by_batch in enumerate(values.values()):
            medians = [100 * value.median for value in by_batch.values()]
            axes.plot([min(medians), max(medians)], [row, row], color=RULE, lw=3, zorder=1)
            for batch, value in by_batch.items():
                ends = 100 * value.low, 100 * value.high
                axes.plot(ends, [row, row], color=MUTED, lw=0.8, zorder=2)
                axes.plot(
                    100 * value.median, row, "o", ms=5.5, color=colors[batch], mec=PAPER, mew=0.7, zorder=3
                )
            at = max(100 * value.high for value in by_batch.values())
            axes.annotate(f"{max(medians):.0f} %", (at, row), (6, 0), textcoords="offset points",
                          va="center_baseline", color=INK, fontsize=8, bbox=_PLATE)  # fmt: skip
        axes.set_xlim(0, 108)
        axes.set_xticks(range(0, 101, 20), [f"{tick} %" for tick in range(0, 101, 20)])
        _finish(axes, study, list(values), [float(row) for row in range(len(values))], 0.5)
        axes.set_xlabel("of the peak of as many threads as it uses")
        _key(axes, colors, hatched=False)
        settle(figure)
    best, worst = _extreme(values, max), _extreme(values, min)
    return Drawing(
        file_name(study, "peak", network),
        figure,
        f"Share of peak, {network}",
        "GFLOP/s over the peak, a loop of fused multiply-adds that never leaves the registers, measured beside each "
        "run on as many threads as it uses, or on the GPU. A dot a batch size; the number is that of the best one."
        + _spread_words(study),
        f"Dots for {count(len(values), 'implementation')} on {network}. "
        f"Highest: {_named(study, best, 100)} %. Lowest: {_named(study, worst, 100)} %.",
        len(batches),
    )


def _values(study: Study, network: str, of: Callable[[Run], Range]) -> Values:
    runs = derived.runs_of(study, network)
    return {name: {batch: of(run) for batch, run in by.items()} for name, by in runs.items()}


def _extreme(values: Values, which: Callable[..., Any]) -> tuple[str, int, float]:
    """Implementation, batch size and value of the smallest or largest median."""
    triples = [(name, batch, value.median) for name, by in values.items() for batch, value in by.items()]
    found: tuple[str, int, float] = which(triples, key=lambda triple: triple[2])
    return found


def _named(study: Study, extreme: tuple[str, int, float], scale: float = 1.0) -> str:
    name, batch, value = extreme
    return f"{study.implementations[name].label} at batch {batch:,}, {amount(scale * value)}"


def _bars(
    study: Study,
    network: str,
    values: Values,
    *,
    name: str,
    title: str,
    axis: str,
    caption: str,
    alt: str,
    log: bool,
    best: Callable[..., Any],
    line: float | None = None,
    below: Callable[[str], str] | None = None,
) -> Drawing:
    """Grouped bars, a group an implementation, a bar a batch size; the best bar of a group has its number."""
    batches = derived.batches_of(study, network)
    colors = dict(zip(batches, batch_colors(len(batches)), strict=True))
    scaled = {(r.implementation, r.batch) for r in study.runs if r.network == network and derived.partial(r)}
    group = max(_SMALLEST_GROUP, _BAR * len(batches) + _GAP)
    thick = _BAR if group > _SMALLEST_GROUP else (group - _GAP) / len(batches)
    centres = [group * row for row in range(len(values))]
    with look():
        figure, axes = frame(_MARGINS + group * len(values))
        if log:
            axes.set_xscale("log")
        for centre, (implementation, by_batch) in zip(centres, values.items(), strict=True):
            first = centre - thick * (len(by_batch) - 1) / 2
            for place, (batch, value) in enumerate(by_batch.items()):
                stripes = "/////" if (implementation, batch) in scaled else None
                at = first + place * thick
                axes.barh(at, value.median, 0.86 * thick, color=colors[batch], hatch=stripes, edgecolor=PAPER,
                          linewidth=0)  # fmt: skip
                for color, width in ((PAPER, 2.2), (INK, 0.8)):  # a rim, to be seen on the darkest bar
                    axes.plot([value.low, value.high], [at, at], color=color, lw=width, solid_capstyle="butt")
            _number(axes, by_batch, centre, best, len(batches))
        if line is not None:
            axes.axvline(line, color=MUTED, lw=0.9, ls=(0, (4, 3)))
        _limits(axes, values, log)
        _finish(axes, study, list(values), centres, group / 2, below)
        axes.set_xlabel(axis)
        drawn = {(implementation, batch) for implementation, by in values.items() for batch in by}
        hatched = bool(scaled & drawn)
        _key(axes, colors, hatched=hatched)
        settle(figure)
    caption += " The number is that of the best bar of the group." + _spread_words(study)
    if hatched:
        caption += " Striped: measured on a share of the examples and scaled to a whole epoch."
    alt = f"Grouped bars for {count(len(values), 'implementation')} on {network}. {alt}"
    return Drawing(file_name(study, name, network), figure, title, caption, alt, len(batches))


def _number(
    axes: Any, by_batch: dict[int, Range], centre: float, best: Callable[..., Any], sizes: int
) -> None:
    """The best bar's value and batch size, behind the longest bar of the group."""
    batch = best(by_batch, key=lambda batch: by_batch[batch].median)
    at = f" at {batch:,}" if sizes > 1 else ""
    end = max(value.high for value in by_batch.values())
    axes.annotate(amount(by_batch[batch].median) + at, (end, centre), (5, 0), textcoords="offset points",
                  va="center_baseline", color=INK, fontsize=8, bbox=_PLATE)  # fmt: skip


def _spread_words(study: Study) -> str:
    rounds = max(len(run.epoch_seconds) for run in study.runs)
    return (
        f" Medians of {rounds} rounds; whiskers reach from the smallest to the largest." if rounds > 1 else ""
    )


def _limits(axes: Any, values: Values, log: bool) -> None:
    """Room for the numbers at the right; a logarithmic axis begins some way below the smallest value."""
    low = min(value.low for by in values.values() for value in by.values())
    high = max(value.high for by in values.values() for value in by.values())
    if not log:
        axes.set_xlim(0, high * (1 + _ROOM))
        return
    decade = 10.0 ** math.floor(math.log10(0.6 * low))
    start = max(step * decade for step in (1, 2, 5) if step * decade <= 0.6 * low)
    axes.set_xlim(start, high * (high / start) ** _ROOM)
    log_ticks(axes.xaxis)


def _finish(
    axes: Any,
    study: Study,
    names: list[str],
    centres: list[float],
    margin: float,
    below: Callable[[str], str] | None = None,
) -> None:
    """Names at the left, the first on top, and below each what it does in parallel."""
    below = below or (lambda name: PARALLEL[study.implementations[name].parallel])
    axes.set_ylim(centres[-1] + margin, -margin)
    axes.set_yticks(centres, [""] * len(centres))
    at = axes.get_yaxis_transform()
    for name, centre in zip(names, centres, strict=True):
        for text, shift, color, size in (
            (study.implementations[name].label, 4.8, INK, 9),
            (below(name), -5.2, MUTED, 7.5),
        ):
            axes.annotate(text, (0, centre), (-6, shift), xycoords=at, textcoords="offset points", ha="right",
                          va="center", color=color, fontsize=size)  # fmt: skip
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", length=0)
    axes.spines["bottom"].set_visible(False)


def _key(axes: Any, colors: Mapping[int, str], *, hatched: bool) -> None:
    """Which colour is which batch size, above the axes."""
    from matplotlib.patches import Patch

    handles = [Patch(facecolor="none", label="minibatch")]
    handles += [Patch(facecolor=color, label=f"{batch:,}") for batch, color in colors.items()]
    if hatched:
        handles.append(Patch(facecolor=MUTED, edgecolor=PAPER, hatch="/////", lw=0, label="scaled"))
    axes.figure.legend(
        handles=handles, loc="outside upper right", ncols=len(handles), fontsize=8, labelcolor=MUTED,
        handlelength=1.0, handleheight=0.8, columnspacing=0.75, handletextpad=0.4,
    )  # fmt: skip
