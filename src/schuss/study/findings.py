"""What a study found, in its own right: each function gives a part of a sentence a network, or nothing."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

from . import derived
from .results import Run, Study
from .words import amount, count, label, listed, percent, span

__all__ = ["FINDINGS"]


def fastest(study: Study) -> list[str]:
    """Who is fastest on each network, and where noise leaves it open."""
    found = []
    for network, by_batch in derived.by_batch(study):
        won: dict[str, list[int]] = {}
        level: dict[str, list[int]] = {}
        for batch, runs in by_batch.items():
            first, *others = sorted(runs, key=lambda run: run.seconds)
            if others:
                won.setdefault(label(study, first), []).append(batch)
            for run in others:
                if not derived.apart(derived.seconds(first), derived.seconds(run)):
                    level.setdefault(label(study, run), []).append(batch)
        if won:
            firsts = [f"{name} is the fastest{_at(sizes, by_batch)}" for name, sizes in won.items()]
            text = f"On {network}, {listed(firsts)}{_best_time(by_batch)}"
            if level:
                near = [name + _at(sizes, by_batch) for name, sizes in level.items()]
                text += f"; within noise of that: {listed(near)}"
            found.append(f"{text}.")
    return found


def _best_time(by_batch: dict[int, list[Run]]) -> str:
    best = min((run for runs in by_batch.values() for run in runs), key=lambda run: run.seconds)
    where = f" ({best.batch:,})" if len(by_batch) > 1 else ""
    return f", at best {amount(best.seconds)} s an epoch{where}"


def against_libraries(study: Study) -> list[str]:
    """The best library's time over that of Schuss's best, on each network."""
    found = []
    for network, by_batch in derived.by_batch(study):
        ratios, libraries = [], []
        for runs in by_batch.values():
            peer, own = derived.quickest(study, runs, ("peer",)), derived.quickest(study, runs, derived.OWN)
            if peer is not None and own is not None:
                ratios.append(peer.seconds / own.seconds)
                libraries.append(label(study, peer))
        if ratios:
            names = listed(list(dict.fromkeys(libraries)))
            found.append(
                f"On {network}, the best of the other libraries ({names}) takes {span(ratios)} times as long as "
                "the best of Schuss's own implementations."
            )
    return found


def from_slowest_to_fastest(study: Study) -> list[str]:
    """How far apart the slowest and the fastest are."""
    found = []
    for network, by_batch in derived.by_batch(study):
        batch, runs = next(iter(by_batch.items()))
        slow, quick = (which(runs, key=lambda run: run.seconds) for which in (max, min))
        if derived.apart(derived.seconds(slow), derived.seconds(quick)):
            found.append(
                f"On {network} with minibatches of {batch:,}, {label(study, quick)} is "
                f"{amount(slow.seconds / quick.seconds)} times as fast as {label(study, slow)}: "
                f"{amount(quick.seconds)} s an epoch in place of {amount(slow.seconds)} s."
            )
    return found


def highest_share(study: Study) -> list[str]:
    """The highest share of peak of the study."""
    runs = [run for run in study.runs if study.implementations[run.implementation].family != "cuda"]
    if not runs:
        return []
    best = max(runs, key=lambda run: run.share_of_peak)
    text = (
        f"The highest share of what the cores can do is {percent(best.share_of_peak)}, by {label(study, best)} on "
        f"{best.network} with minibatches of {best.batch:,} and {count(best.threads, 'thread')}."
    )
    return [text]


def threads_pay(study: Study) -> list[str]:
    """What the most threads give over one."""
    found = []
    for network in study.networks:
        lines = derived.thread_speedups(study, network)
        most = max((threads for points in lines.values() for threads in points), default=1)
        ends = {name: points[most].median for (name, _), points in lines.items() if most in points}
        if len(ends) > 1:
            low, high = min(ends, key=lambda name: ends[name]), max(ends, key=lambda name: ends[name])
            found.append(
                f"On {network}, {most} threads are {amount(ends[low])} ({study.implementations[low].label}) to "
                f"{amount(ends[high])} ({study.implementations[high].label}) times as fast as one."
            )
    return found


def accuracies(study: Study) -> list[str]:
    """The range of the test accuracies on each network."""
    found = []
    for network in study.networks:
        reached = [
            a.test_accuracy for a in study.accuracy if a.network == network and a.test_accuracy is not None
        ]
        if len(reached) > 1:
            low, high = (f"{100 * value:.2f} %" for value in (min(reached), max(reached)))
            between = f"reach {low}" if low == high else f"lie between {low} and {high}"
            text = f"On {network}, the test accuracies of {count(len(reached), 'training')} {between}."
            found.append(text)
    return found


def lowest_loss(study: Study) -> list[str]:
    """Who is at the lowest and the highest loss when the first of the curves ends."""
    found = []
    for network in study.networks:
        curves = [curve for curve in study.loss_curves if curve.network == network and curve.loss]
        until = min((curve.seconds[-1] for curve in curves), default=0.0)
        at = {
            curve.implementation: curve.loss[bisect_right(curve.seconds, until) - 1]
            for curve in curves
            if curve.seconds[0] <= until
        }
        if len(at) > 1:
            low, high = min(at, key=lambda name: at[name]), max(at, key=lambda name: at[name])
            found.append(
                f"On {network}, after {amount(until)} s of training the loss is {amount(at[low])} with "
                f"{study.implementations[low].label} and {amount(at[high])} with {study.implementations[high].label}."
            )
    return found


#: What is asked -> the figure that shows the answer, and who finds it; the most important first.
FINDINGS: dict[str, tuple[str, Callable[[Study], list[str]]]] = {
    "The fastest": ("time", fastest),
    "Other libraries": ("time", against_libraries),
    "From slowest to fastest": ("time", from_slowest_to_fastest),
    "Share of peak": ("peak", highest_share),
    "Threads": ("scaling", threads_pay),
    "Loss": ("loss", lowest_loss),
    "Accuracy": ("accuracy", accuracies),
}


def _at(sizes: list[int], by_batch: dict[int, list[Run]]) -> str:
    """The batch sizes that something holds for; nothing where the study has only one."""
    if len(by_batch) == 1:
        return ""
    if len(sizes) == len(by_batch):
        return " at both batch sizes" if len(sizes) == 2 else f" at all {len(sizes)} batch sizes"
    return f" at {listed([f'{size:,}' for size in sizes])}"
