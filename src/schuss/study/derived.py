"""What follows from the runs of a study: speedups, shares of peak, and which differences are beyond noise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .results import Run, Study

__all__ = [
    "NOISE",
    "OWN",
    "Range",
    "apart",
    "batches_of",
    "by_batch",
    "gflops",
    "partial",
    "quickest",
    "runs_of",
    "seconds",
    "share_of_peak",
    "speedup",
    "speedups",
    "thread_speedups",
]

#: Families of Schuss's own implementations on the CPU.
OWN = ("naive", "gemv", "gemm", "native")

#: Medians that differ by less are taken as equal, however narrow the spread of the rounds.
NOISE = 0.03


@dataclass(frozen=True)
class Range:
    """A median of the rounds, and the ends of their spread."""

    median: float
    low: float
    high: float


def seconds(run: Run) -> Range:
    """Seconds of an epoch."""
    return Range(run.seconds, run.low, run.high)


def gflops(run: Run) -> Range:
    """GFLOP/s; the slowest round gives the low end."""
    work = run.gflops * run.seconds
    return Range(run.gflops, work / run.high, work / run.low)


def share_of_peak(run: Run) -> Range:
    """GFLOP/s over the peak measured beside the run."""
    rate = gflops(run)
    return Range(*(value / run.peak_gflops for value in (rate.median, rate.low, rate.high)))


def speedup(serial: Run, run: Run) -> Range:
    """How many times as fast as `serial`; the ends pair the worst round of one with the best of the other."""
    return Range(serial.seconds / run.seconds, serial.low / run.high, serial.high / run.low)


def speedups(study: Study, network: str, name: str) -> dict[int, Range]:
    """Speedup of an implementation over its own serial counterpart, by batch size, ascending; empty without one."""
    runs = runs_of(study, network)
    serial = runs.get(study.implementations[name].serial or "", {})
    return {b: speedup(serial[b], run) for b, run in runs.get(name, {}).items() if b in serial}


def thread_speedups(study: Study, network: str) -> dict[tuple[str, int], dict[int, Range]]:
    """By implementation and batch size: speedup over its own run on one thread, by threads, ascending."""
    runs: dict[tuple[str, int], dict[int, Run]] = {}
    for run in sorted(study.scaling, key=lambda run: run.threads):
        if run.network == network:
            runs.setdefault((run.implementation, run.batch), {})[run.threads] = run
    order = {name: place for place, name in enumerate(study.implementations)}
    return {
        key: {t: speedup(by[1], run) if t > 1 else Range(1, 1, 1) for t, run in by.items()}
        for key, by in sorted(runs.items(), key=lambda item: (order[item[0][0]], item[0][1]))
        if 1 in by and len(by) > 1
    }


def apart(a: Range, b: Range) -> bool:
    """Whether two ranges do not overlap and their medians differ by more than `NOISE`."""
    overlap = a.low <= b.high and b.low <= a.high
    return not overlap and abs(b.median / a.median - 1) > NOISE


def batches_of(study: Study, network: str) -> list[int]:
    """Batch sizes of the runs of `network`, ascending."""
    return sorted({run.batch for run in study.runs if run.network == network})


def runs_of(study: Study, network: str) -> dict[str, dict[int, Run]]:
    """Runs by implementation, in the order of the study, then by batch size, ascending."""
    found: dict[str, dict[int, Run]] = {name: {} for name in study.implementations}
    for run in sorted(study.runs, key=lambda run: run.batch):
        if run.network == network:
            found[run.implementation][run.batch] = run
    return {name: by_batch for name, by_batch in found.items() if by_batch}


def partial(run: Run) -> bool:
    """Whether the run trained a share of the rows only, so that its seconds are scaled."""
    return run.share < 1


def by_batch(study: Study) -> list[tuple[str, dict[int, list[Run]]]]:
    """Each network that has runs, with them by batch size, ascending."""
    found = []
    for network in study.networks:
        runs: dict[int, list[Run]] = {batch: [] for batch in batches_of(study, network)}
        for of_one in runs_of(study, network).values():
            for batch, run in of_one.items():
                runs[batch].append(run)
        if runs:
            found.append((network, runs))
    return found


def quickest(
    study: Study, runs: Iterable[Run], families: tuple[str, ...], parallel: tuple[str, ...] | None = None
) -> Run | None:
    """The run of least time among those of these families, and parallel in these ways; None without any."""
    kinds = study.implementations
    of_kind = [
        run
        for run in runs
        if kinds[run.implementation].family in families
        and (parallel is None or kinds[run.implementation].parallel in parallel)
    ]
    return min(of_kind, key=lambda run: run.seconds, default=None)
