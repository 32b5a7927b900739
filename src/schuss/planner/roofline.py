"""The roofline: what a machine can do with so many FLOP a byte, and what a training does (Williams et al. 2009)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..plan import Plan
from .account import Workload
from .last import LastTraining
from .operations import Operation, operations
from .plots import describe, new_figure, plain_ticks, save, tidy
from .profile import Profile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_roofline"]

#: Of each kind of product its mark, and where the numbers of its layers stand beside it, in points.
_MARKS = {"forward": ("o", (7, -9)), "delta": ("s", (7, 3)), "gradient": ("^", (-7, -11))}
#: Marks nearer to each other than this, as a ratio, share a label.
_NEAR = 1.08
#: FLOP a byte at the least and the most, where no training goes further.
_LEAST, _MOST = 1 / 8, 256.0


def plot_roofline(profile: Profile, last: LastTraining | None, path: Path) -> None:
    """Draw the roofs of a machine, and on them the products of a training and its measured speed.

    Parameters
    ----------
    profile : Profile
    last : LastTraining or None
        None: the roofs alone.
    path : Path
        File to write; its ending says which kind: .png, .svg, .pdf.

    Raises
    ------
    PlanError
        If matplotlib is missing, or knows no such kind of file.
    """
    figure = new_figure(8.4, 5.4)
    from matplotlib.ticker import LogLocator

    axes = figure.subplots()
    done = [] if last is None else products(last, profile)
    # the times of other kernels are not native's
    shown = done if last is not None and last.plan.startswith("native") else []
    dtype = "float32" if last is None else last.dtype
    reach = [operation.intensity for operation in shown]
    left, right = min([_LEAST, *reach]), max([_MOST, *reach]) * 1.5
    threads = profile.cores if last is None else min(profile.cores, _threads(last))
    _roofs(axes, profile, dtype, threads, left, right)
    for kind in _MARKS:
        _products(axes, [operation for operation in shown if operation.kind == kind])
    if last is not None:
        _measured(axes, last, intensity(done))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(left, right)
    plain_ticks(axes)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.set_xlabel("arithmetic intensity, FLOP a byte")
    axes.set_ylabel("GFLOP/s")
    tidy(axes)
    axes.set_title(f"{describe(profile)}: {number_of(threads)}, {dtype}", loc="left", fontsize="medium")
    axes.legend(frameon=False, loc="lower right", fontsize="small")
    save(figure, path)


def products(last: LastTraining, profile: Profile) -> list[Operation]:
    """The products of a training's step, as native does them."""
    plan = Plan.parse(last.plan)
    work = Workload(last.layer_sizes, last.batch_size, last.rows, formula=last.formula, dtype=last.dtype)
    return operations(
        work, plan if plan is not None and plan.kernels == "native" else Plan("native", 1, 1), profile
    )


def intensity(found: Sequence[Operation]) -> float:
    """FLOP a byte of products together."""
    return sum(operation.flops for operation in found) / sum(operation.bytes for operation in found)


def _threads(last: LastTraining) -> int:
    plan = Plan.parse(last.plan)
    return 1 if plan is None else plan.threads


def _roofs(axes: Axes, profile: Profile, dtype: str, threads: int, left: float, right: float) -> None:
    peak = profile.rate(profile.peak[dtype], threads) / 1e9
    for number, level in enumerate(profile.levels):
        rate = profile.rate(level.read, threads) / 1e9
        ridge = min(max(peak / rate, left), right)
        label = f"{level.name}: {rate:,.0f} GB/s read"
        axes.plot([left, ridge], [left * rate, ridge * rate], color=f"C{number}", lw=1.5, label=label)
    fastest = max(profile.rate(level.read, threads) for level in profile.levels) / 1e9
    _ceiling(axes, peak, max(left, peak / fastest), right, f"peak {peak:,.0f} GFLOP/s", ls="-")
    if threads > 1:
        one = profile.rate(profile.peak[dtype], 1) / 1e9
        _ceiling(axes, one, max(left, one / fastest), right, f"one thread {one:,.0f} GFLOP/s", ls="--")


def _ceiling(axes: Axes, rate: float, left: float, right: float, text: str, **style: Any) -> None:
    axes.plot([left, right], [rate, rate], color="0.3", lw=1.5, **style)
    axes.annotate(
        text,
        (right, rate),
        xytext=(-4, 4),
        textcoords="offset points",
        ha="right",
        color="0.3",
        fontsize="small",
    )


def _products(axes: Axes, shown: Sequence[Operation]) -> None:
    """Marks of the products of one kind, with the numbers of their layers."""
    if not shown:
        return
    mark, beside = _MARKS[shown[0].kind]
    places = [(operation.intensity, operation.rate / 1e9) for operation in shown]
    label = f"{shown[0].kind} of layer ..., predicted"
    axes.plot(*zip(*places, strict=True), mark, ms=7, mfc="none", color="k", label=label)
    together: dict[tuple[float, float], list[str]] = {}
    for operation, place in zip(shown, places, strict=True):
        first = next((other for other in together if _near(other, place)), place)
        together.setdefault(first, []).append(str(operation.layer))
    for place, layers in together.items():
        axes.annotate(
            ",".join(layers),
            place,
            xytext=beside,
            textcoords="offset points",
            ha="left" if beside[0] > 0 else "right",
            fontsize="small",
        )


def _near(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return all(1 / _NEAR < a / b < _NEAR for a, b in zip(one, other, strict=True))


def _measured(axes: Axes, last: LastTraining, at: float) -> None:
    """The whole training."""
    sizes = "-".join(map(str, last.layer_sizes))
    label = f"{sizes}, batch {last.batch_size:,}, {last.plan}:\n{last.gflops:,.1f} GFLOP/s measured ({last.ended[:10]})"
    axes.plot(at, last.gflops, "D", ms=9, color="C3", label=label)


def number_of(threads: int) -> str:
    """So many threads, in words."""
    return "1 thread" if threads == 1 else f"{threads} threads"
