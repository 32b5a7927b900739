"""Figures with lines: speedup against threads, loss against wall time. Every line has its name beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import derived
from .canvas import Drawing, frame, log_ticks, look, settle
from .palette import FAMILY_COLORS, MUTED, PAPER
from .results import Study
from .words import amount, count, file_name, listed

__all__ = ["loss", "scaling"]

_MARKERS = {"naive": "s", "gemv": "^", "gemm": "D", "native": "o", "cuda": "v", "peer": "X"}
_LINE = 10.5  # points between two names at least
_MARKED = 12  # points of a curve that have a mark, about
_AXES_HEIGHT = 3.0  # inches


def scaling(study: Study, network: str) -> Drawing | None:
    """Speedup over one thread against the number of threads."""
    lines = derived.thread_speedups(study, network)
    if not lines:
        return None
    threads = sorted({t for points in lines.values() for t in points})
    with look():
        figure, axes = frame(_height(len(lines)))
        axes.plot(threads, threads, color=MUTED, lw=0.9, ls=(0, (4, 3)))
        for (name, _), points in lines.items():
            style = _style(study, name)
            axes.plot(
                list(points), [value.median for value in points.values()], ms=4.5, clip_on=False, **style
            )
            for at, value in points.items():
                axes.plot(
                    [at, at], [value.low, value.high], color=style["color"], lw=0.9, solid_capstyle="butt"
                )
        ends = {_label(study, key, lines): (max(p), p[max(p)].median, _style(study, key[0])["color"])
                for key, p in lines.items()}  # fmt: skip
        axes.set(xlabel="threads", ylabel="times as fast as on one thread")
        axes.set_xticks(threads, [str(t) for t in threads])
        top = max(threads[-1], *(value.high for points in lines.values() for value in points.values()))
        axes.set_ylim(0, 1.06 * top)
        margin = 0.03 * (threads[-1] - threads[0])
        axes.set_xlim(threads[0] - margin, threads[-1] + margin)
        axes.tick_params(length=0)
        axes.yaxis.label.set_color(MUTED)
        _names_at_right(axes, ends | {"ideal": (threads[-1], float(threads[-1]), MUTED)})
    best = max(lines, key=lambda key: lines[key][max(lines[key])].median)
    most = max(lines[best])
    return Drawing(
        file_name(study, "scaling", network),
        figure,
        f"Speedup against threads, {network}",
        f"Each implementation against itself on one thread, at {_batches(lines)}; the dashed line is as many times as "
        "fast as there are threads. A whisker pairs the slowest round of one side with the fastest of the other.",
        f"Lines for {count(len(lines), 'implementation')} on {network}, 1 to {threads[-1]} threads. Highest: "
        f"{study.implementations[best[0]].label} on {most} threads, {amount(lines[best][most].median)} times.",
        0,
    )


def loss(study: Study, network: str) -> Drawing | None:
    """Training loss against the seconds trained; logarithmic where it falls to less than a tenth."""
    order = {name: place for place, name in enumerate(study.implementations)}
    curves = [curve for curve in study.loss_curves if curve.network == network and curve.loss]
    if not curves:
        return None
    curves.sort(key=lambda c: (order[c.implementation], c.batch))
    keys = {(c.implementation, c.batch): c for c in curves}
    losses = [value for curve in curves for value in curve.loss]
    with look():
        figure, axes = frame(_height(len(keys)))
        if 0 < 10 * min(losses) < max(losses):
            axes.set_yscale("log")
            log_ticks(axes.yaxis)
        for key, curve in keys.items():
            every = max(1, len(curve.loss) // _MARKED)
            axes.plot(curve.seconds, curve.loss, ms=3.6, markevery=every, **_style(study, key[0]))
        axes.set(xlabel="seconds trained", ylabel="mean loss of the minibatches")
        axes.set_xlim(0, 1.02 * max(curve.seconds[-1] for curve in curves))
        axes.yaxis.label.set_color(MUTED)
        axes.tick_params(length=0)
        ends = {_label(study, key, keys): (c.seconds[-1], c.loss[-1], _style(study, key[0])["color"])
                for key, c in keys.items()}  # fmt: skip
        _names_at_right(axes, ends)
    best = min(curves, key=lambda c: c.loss[-1])
    return Drawing(
        file_name(study, "loss", network),
        figure,
        f"Loss against wall time, {network}",
        f"Mean loss of the minibatches since the mark before, at {_batches(keys)}, all from the same weights: lower is "
        "better at any moment. What a library takes to compile is not counted.",
        f"Curves for {count(len(keys), 'implementation')} on {network}. Lowest at its end: "
        f"{study.implementations[best.implementation].label}, {amount(best.loss[-1])} after "
        f"{amount(best.seconds[-1])} s.",
        0,
    )


def _height(lines: int) -> float:
    """Inches that hold the names of so many lines."""
    return max(_AXES_HEIGHT, 0.8 + lines * _LINE / 72) + 0.4


def _style(study: Study, name: str) -> dict[str, Any]:
    family = study.implementations[name].family
    return {"color": FAMILY_COLORS[family], "marker": _MARKERS[family], "mec": PAPER, "mew": 0.6}


def _label(study: Study, key: tuple[str, int], keys: Any) -> str:
    """The name; with the batch size where the figure has several."""
    label = study.implementations[key[0]].label
    return label if len({batch for _, batch in keys}) == 1 else f"{label}, {key[1]:,}"


def _batches(keys: Any) -> str:
    sizes = sorted({batch for _, batch in keys})
    return f"{'minibatches' if len(sizes) > 1 else 'a minibatch'} of {listed([f'{b:,}' for b in sizes])}"


def _names_at_right(axes: Any, ends: Mapping[str, tuple[float, float, str]]) -> None:
    """Names in a column at the right, each as near as there is room to the height of its line's end."""
    names = {
        name: axes.annotate(
            name, (x, y), (1.03, 0.5), textcoords="axes fraction", va="center", color=color, fontsize=8,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "lw": 0.5, "shrinkA": 1, "shrinkB": 4, "relpos": (0, 0.5)},
        )
        for name, (x, y, color) in ends.items()
    }  # fmt: skip
    settle(axes.figure)  # the column takes width, and only then are the heights known
    box, per_point = axes.get_window_extent(), axes.figure.dpi / 72
    wanted = {
        name: (axes.transData.transform((x, y))[1] - box.y0) / per_point for name, (x, y, _) in ends.items()
    }
    for name, height in _spread(wanted, box.height / per_point).items():
        names[name].set_position((1.03, height * per_point / box.height))


def _spread(wanted: dict[str, float], room: float) -> dict[str, float]:
    """Heights within `room`, at least a line apart, near their wishes: neighbours that meet share the shift."""
    blocks: list[tuple[list[str], float]] = []  # names from below, and the height of the first
    for name in sorted(wanted, key=lambda name: wanted[name]):
        names, bottom = [name], wanted[name]
        while blocks and blocks[-1][1] + _LINE * len(blocks[-1][0]) > bottom:
            names = blocks.pop()[0] + names
            mean = sum(wanted[n] - _LINE * i for i, n in enumerate(names)) / len(names)
            bottom = max(0.0, min(mean, room - _LINE * (len(names) - 1)))
        blocks.append((names, bottom))
    return {name: bottom + _LINE * i for names, bottom in blocks for i, name in enumerate(names)}
