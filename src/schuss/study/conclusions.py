"""The conclusions of the 2016 report, and the future work that it named, judged by the runs of a study.

A speedup that changes with the batch size by no more than a quarter counts as flat: the report called its own "4 to 5
times" flat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from . import derived
from .derived import Range
from .results import Study
from .words import amount, count, label, listed, span

__all__ = ["CONCLUSIONS", "FLAT", "Evidence"]

#: The largest ratio of two speedups that counts as none.
FLAT = 1.25
_FLAT_RULE = "A change of up to a quarter counts as flat, as the 4 to 5 times of the 2016 report did."


@dataclass
class Evidence:
    """On a claim: a vote a case ("yes", "no", "part", "open"), the numbers in words, a note on all of them."""

    votes: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    note: str = ""


def examples_gain(study: Study) -> Evidence:
    """Whether the speedup of threads over examples rises from the smallest minibatch to the largest.

    Open, where the smallest has nearly as many times as there are threads already.
    """
    found = Evidence(note=_FLAT_RULE)
    for network, name, values in _speedups(study, "naive", "examples"):
        (small, first), *_, (large, last) = values.items()
        threads = study.implementations[name].threads
        # no room to gain, whatever the minibatch
        full = first.median * FLAT > threads and last.median * FLAT > first.median
        found.votes.append("open" if full else _more(last, first))
        found.parts.append(
            f"On {network}, {_faster(study, name, amount(first.median))} at {small:,} and {amount(last.median)} "
            f"times at {large:,}{f', where {threads} threads leave no room for more' if full else ''}."
        )
    return found


def matrix_flat(study: Study) -> Evidence:
    """Whether the speedup of threaded matrix-vector products is the same at all batch sizes."""
    found = Evidence(note=_FLAT_RULE)
    for network, name, values in _speedups(study, "gemv", "matrix operations"):
        low, high = (which(values.values(), key=lambda value: value.median) for which in (min, max))
        found.votes.append({"yes": "no", "no": "yes", "open": "open"}[_more(high, low)])
        found.parts.append(
            f"On {network}, {_faster(study, name, span([low.median, high.median]))} over "
            f"{count(len(values), 'batch size')}."
        )
    return found


def gpu_sizes(study: Study) -> Evidence:
    """Whether a GPU does less on networks whose hidden layers are no multiples of 32 than on like ones that are."""
    found = Evidence()
    for odd in (name for name in study.networks if not _even(study, name)):
        partner = _partner(study, odd)
        others = derived.runs_of(study, partner) if partner is not None else {}
        for name, runs in derived.runs_of(study, odd).items():
            shared = set(runs) & set(others.get(name, {}))
            if study.implementations[name].family != "cuda" or not shared:
                continue
            batch = max(shared)
            mine, other = derived.gflops(runs[batch]), derived.gflops(others[name][batch])
            found.votes.append(_less(mine, other))
            found.parts.append(
                f"{study.implementations[name].label} does {amount(mine.median)} GFLOP/s on {odd} and "
                f"{amount(other.median)} on {partner} at {batch:,}."
            )
    return found


def library_wins(study: Study) -> Evidence:
    """Whether, at the largest minibatch, a library that is parallel both ways beats all that are so in one or none.

    In part, where it does and one of ours that is parallel both ways beats it in turn.
    """
    found = Evidence()
    for network, by_batch in derived.by_batch(study):
        batch, runs = max(by_batch.items())
        library = derived.quickest(study, runs, ("peer",), ("both",))
        rival = derived.quickest(study, runs, derived.OWN, ("-", "examples", "matrix operations"))
        if library is None or rival is None:
            continue
        vote = _less(derived.seconds(library), derived.seconds(rival))
        part = (
            f"On {network} at {batch:,}, {label(study, library)} takes {amount(library.seconds)} s; the best of ours "
            f"that is parallel in one way or none, {label(study, rival)}, {amount(rival.seconds)} s"
        )
        ours = derived.quickest(study, runs, derived.OWN, ("both",))
        if ours is not None:
            part += f"; the best that is so both ways, {label(study, ours)}, {amount(ours.seconds)} s"
            if vote == "yes" and _less(derived.seconds(ours), derived.seconds(library)) == "yes":
                vote = "part"
        found.votes.append(vote)
        found.parts.append(f"{part}.")
    return found


def combining(study: Study) -> Evidence:
    """Whether the hybrid beats the best of each single way, at each batch size where there are all three."""
    found, plans = Evidence(), set()
    for network, by_batch in derived.by_batch(study):
        rivals: dict[str, list[tuple[str, float]]] = {"examples": [], "matrix operations": []}
        for runs in by_batch.values():
            hybrid = derived.quickest(study, runs, ("native",), ("both",))
            alone = {way: derived.quickest(study, runs, derived.OWN, (way,)) for way in rivals}
            if hybrid is None or None in alone.values():
                continue
            plans.add(hybrid.plan or "")
            for way, run in alone.items():
                assert run is not None
                found.votes.append(_less(derived.seconds(hybrid), derived.seconds(run)))
                rivals[way].append((label(study, run), run.seconds / hybrid.seconds))
        ways = [
            f"the best over {way} alone ({listed(list(dict(pairs)))}) takes {span([ratio for _, ratio in pairs])} times"
            for way, pairs in rivals.items()
            if pairs
        ]
        if ways:
            found.parts.append(
                f"On {network}, {listed(ways)} the seconds of the hybrid.{_own_gains(study, network)}"
            )
    found.note = _plans(plans - {""})
    return found


def _own_gains(study: Study, network: str) -> str:
    """Speedups over the own counterparts: seconds alone also tell of the arithmetic, which is not the same."""
    gains = []
    for name, facts in study.implementations.items():
        if facts.family in derived.OWN and facts.parallel != "-":
            values = [value.median for value in derived.speedups(study, network, name).values()]
            if values:
                gains.append(f"{facts.label} {span(values)}")
    return f" Times as fast as the own serial counterpart: {listed(gains)}." if gains else ""


#: What the 2016 report concluded, and its future work -> the figure that shows it, and who judges it.
CONCLUSIONS: dict[str, tuple[str, Callable[[Study], Evidence]]] = {
    "Threads over examples gain with larger minibatches": ("speedup", examples_gain),
    "Threaded matrix-vector products do not depend on the minibatch": ("speedup", matrix_flat),
    "The GPU loses where layer sizes are no multiples of 32": ("gflops", gpu_sizes),
    "The library that is parallel both ways wins with large minibatches": ("time", library_wins),
    "A hybrid of both ways, the future work, beats either alone": ("time", combining),
}


def _plans(plans: set[str]) -> str:
    """Which plans ran, and whether any of them has several groups of several threads."""
    if not plans:
        return ""
    splits = [plan.partition(":")[2].split("x") for plan in plans]
    both = any(len(split) == 2 and all(part != "1" for part in split) for split in splits)
    tail = ": no plan of several groups of several threads, so the gain is not that of cutting along both axes at once"
    return f"The hybrid ran as {listed(sorted(plans))}{'' if both else tail}."


def _more(a: Range, b: Range) -> str:
    """Whether `a` is more than `b` by over a quarter."""
    if a.median / b.median <= FLAT:
        return "no"
    return "yes" if derived.apart(a, b) else "open"


def _less(a: Range, b: Range) -> str:
    """Whether `a` is less than `b` beyond noise."""
    if not derived.apart(a, b):
        return "open"
    return "yes" if a.median < b.median else "no"


def _even(study: Study, network: str) -> bool:
    return all(size % 32 == 0 for size in study.networks[network].layers[1:-1])


def _partner(study: Study, network: str) -> str | None:
    """The network of as many layers, hidden ones all multiples of 32, nearest in work, below twice or half of it."""
    mine = study.networks[network]
    ratios = {
        name: max(facts.flops_per_example, mine.flops_per_example)
        / min(facts.flops_per_example, mine.flops_per_example)
        for name, facts in study.networks.items()
        if _even(study, name) and len(facts.layers) == len(mine.layers)
    }
    near = min(ratios, key=lambda name: ratios[name], default=None)
    return near if near is not None and ratios[near] < 2 else None


def _speedups(study: Study, family: str, parallel: str) -> Iterator[tuple[str, str, dict[int, Range]]]:
    """Network, implementation and speedups of those of a kind that were measured at several batch sizes."""
    for network in study.networks:
        for name, implementation in study.implementations.items():
            if (implementation.family, implementation.parallel) == (family, parallel):
                values = derived.speedups(study, network, name)
                if len(values) > 1:
                    yield network, name, values


def _faster(study: Study, name: str, times: str) -> str:
    facts = study.implementations[name]
    return f"{facts.label} is {times} times as fast as {study.implementations[facts.serial or name].label}"
