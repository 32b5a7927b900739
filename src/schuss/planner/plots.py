"""Pictures of what the planner knows: scaling over threads and ranks, and the roofline (the extra `plot`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import PlanError
from .cluster import PAYS, Cluster, counts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .account import Prediction
    from .profile import Profile

__all__ = ["describe", "new_figure", "plain_ticks", "plot_ranks", "plot_threads", "save", "tidy"]

_IDEAL: dict[str, Any] = {"color": "0.6", "lw": 1, "ls": "--"}
#: Minibatches drawn beside the one asked for, as multiples of it.
_MULTIPLES = (1, 4, 16, 64)


def plot_threads(best: Mapping[int, Prediction], profile: Profile, path: Path) -> None:
    """Draw speedup and share of the peak against the number of threads.

    Parameters
    ----------
    best : mapping of int to Prediction
        Of each number of threads its best plan.
    path : Path
        File to write; its ending says which kind: .png, .svg, .pdf.

    Raises
    ------
    PlanError
        If matplotlib is missing, or knows no such kind of file.
    """
    figure = new_figure(6.4, 4.4)
    axes = figure.subplots()
    threads = list(best)
    one = best[min(threads)].seconds
    axes.plot(threads, threads, label="as many times as threads", **_IDEAL)
    axes.plot(threads, [one / best[count].seconds for count in threads], "o-", ms=3, label="predicted")
    fastest = min(threads, key=lambda count: best[count].seconds)
    axes.plot(
        fastest,
        one / best[fastest].seconds,
        "o",
        ms=9,
        mfc="none",
        color="C0",
        label=f"the fastest: {best[fastest].plan}, {best[fastest].share_of_peak:.0%} of the peak",
    )
    _scale(axes, "threads", max(threads))
    _title(axes, f"speedup over one thread; {describe(profile)}")
    axes.legend(frameon=False, loc="upper left")
    save(figure, path)


def plot_ranks(cluster: Cluster, most: int, path: Path) -> None:
    """Draw a step's time and the efficiency against the number of ranks, for the minibatch and larger ones, and the
    minibatch from which on twice as many ranks pay.

    Parameters and errors as in :func:`plot_threads`.
    """
    figure = new_figure(13.2, 4.6)
    time, efficiency, pays = figure.subplots(1, 3)
    for number, multiple in enumerate(_MULTIPLES):
        batch_size = multiple * cluster.work.batch_size
        steps = cluster.scaling(counts(most), batch_size)
        ranks = [step.ranks for step in steps]
        style: dict[str, Any] = {"color": f"C{number}", "lw": 2 if multiple == 1 else 1.2}
        time.plot(ranks, [step.seconds * 1e3 for step in steps], "o-", ms=3, label=f"{batch_size:,}", **style)
        time.plot(ranks, [steps[0].seconds * 1e3 / count for count in ranks], **_IDEAL)
        best = min(steps, key=lambda step: step.seconds)
        time.plot(best.ranks, best.seconds * 1e3, "o", ms=9, mfc="none", color=f"C{number}")
        efficiency.plot(ranks, [100 * cluster.efficiency(step) for step in steps], "o-", ms=3, **style)
    _scale(time, "ranks", most)
    shown = [y for line in time.lines if line.get_linestyle() == "-" for y in line.get_ydata()]
    time.set_ylim(min(shown) / 2, max(shown) * 2)
    _title(time, "milliseconds a step\n(dashed: in proportion; ring: the fastest)")
    time.legend(frameon=False, title="minibatch")
    _scale(efficiency, "ranks", most, log_y=False)
    efficiency.set_ylim(0, 105)
    _title(efficiency, "efficiency, %")
    _draw_pays(pays, cluster, most)
    network, sizes = cluster.network, "-".join(map(str, cluster.work.layer_sizes))
    between = f"{network.name} ({network.origin})"
    figure.suptitle(f"{sizes}, {describe(cluster.profile)}; {between}", fontsize="medium")
    save(figure, path)


def _draw_pays(axes: Axes, cluster: Cluster, most: int) -> None:
    found = {count: cluster.pays_from(count) for count in counts(most)[1:]}
    worth = {count: batch for count, batch in found.items() if batch is not None}
    axes.plot(list(worth), list(worth.values()), "o-", ms=4)
    batch_size = cluster.work.batch_size
    axes.axhline(batch_size, **_IDEAL)
    axes.annotate(f"{batch_size:,}", (1, batch_size), xytext=(2, 3), textcoords="offset points", color="0.4")
    _scale(axes, "ranks", most)
    _title(
        axes, f"smallest minibatch for which doubling to so many\nbrings at least {PAYS:.0%} of what is added"
    )


def _scale(axes: Axes, label: str, most: int, log_y: bool = True) -> None:
    axes.set_xscale("log", base=2)
    if log_y:
        axes.set_yscale("log", base=2)
    plain_ticks(axes)
    axes.set_xlim(0.9, max(most, 2) * 1.1)
    axes.set_xlabel(label)
    tidy(axes)


def plain_ticks(axes: Axes) -> None:
    """Ordinary numbers on axes with a logarithmic scale."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:,.10g}"))
        axis.set_minor_formatter(NullFormatter())


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize="medium")


def tidy(axes: Axes) -> None:
    """A faint grid behind, and no frame."""
    axes.grid(color="0.92", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def describe(profile: Profile) -> str:
    """The machine, and where its figures are from."""
    origin = f"measured {profile.measured[:10]}" if profile.measured else "from data sheets"
    return f"{profile.name}, {profile.cores} cores ({origin})"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, which belongs to no window."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise PlanError("--plot needs matplotlib: pip install 'schuss[plot]'") from None
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, path: Path) -> None:
    """Write the figure in the kind of file that the ending names."""
    try:
        figure.savefig(path, dpi=144)
    except ValueError as error:  # no such kind
        raise PlanError(f"--plot must end in .png, .svg or .pdf, got {str(path)!r}") from error
