"""From the measurements to results: medians and their spread, checks, what is absent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from statistics import median

from schuss.machine import summary
from schuss.plan import flops_per_example
from schuss.study.implementations import spec
from schuss.study.journal import Cell, Journal
from schuss.study.measure import watched
from schuss.study.results import Absent, Accuracy, Check, Implementation, LossCurve, Run, Study
from schuss.study.settings import Settings

__all__ = ["study"]


def study(settings: Settings, journal: Journal, absent: dict[str, str], command: Iterable[str]) -> Study:
    """What the journal has so far; `absent` are those that cannot run here, and why."""
    cells = [cell for cell in journal.turns if cell in journal.facts and cell not in journal.failed]
    place = {name: i for i, name in enumerate((*settings.networks, *settings.implementations))}
    cells.sort(
        key=lambda cell: (place[cell.network], place[cell.implementation], cell.batch, cell.limit or 0)
    )
    runs = {cell: _run(settings, journal, cell) for cell in cells}
    kept = tuple(run for cell, run in runs.items() if cell.limit is None)
    names = [name for name in settings.implementations if any(run.implementation == name for run in kept)]
    return Study(
        preset=settings.preset,
        created=journal.created,
        command=tuple(command),
        machine=summary(),
        environment=watched(),
        settings=settings.as_dict(),
        networks=settings.facts(),
        implementations={name: _implementation(journal, name, names) for name in names},
        absent=(*(Absent(name, reason) for name, reason in absent.items()), *_failures(settings, journal)),
        runs=kept,
        scaling=tuple(_scaling(settings, runs, names)),
        loss_curves=tuple(
            LossCurve(c["network"], c["batch"], c["implementation"], tuple(c["seconds"]), tuple(c["loss"]))
            for c in journal.curves
            if c["implementation"] in names
        ),
        accuracy=tuple(Accuracy(**entry) for entry in journal.accuracy if entry["implementation"] in names),
    )


def _run(settings: Settings, journal: Journal, cell: Cell) -> Run:
    facts, turns = journal.facts[cell], [turn for _, turn in sorted(journal.turns[cell].items())]
    times = tuple(turn["seconds"] for turn in turns)
    flops = flops_per_example(settings.networks[cell.network]) * settings.examples
    return Run(
        network=cell.network,
        batch=cell.batch,
        implementation=cell.implementation,
        threads=facts["threads"],
        plan=turns[-1].get("plan") or facts["plan"],
        rows=facts["rows"],
        share=facts["rows"] / (settings.examples // cell.batch * cell.batch),
        epoch_seconds=times,
        seconds=median(times),
        low=min(times),
        high=max(times),
        gflops=flops / median(times) / 1e9,
        peak_gflops=median(turn["peak_gflops"] for turn in turns),
        check=Check(**facts["check"]),
    )


def _implementation(journal: Journal, name: str, names: Sequence[str]) -> Implementation:
    found = spec(name, names)
    facts = [f for cell, f in journal.facts.items() if cell.implementation == name and cell.limit is None]
    return Implementation(
        label=found.label,
        family=found.family,
        plan=found.plan,
        parallel=found.parallel,
        arithmetic=found.arithmetic,
        serial=found.serial,
        threads=max(f["threads"] for f in facts),
        versions=facts[0]["versions"],
    )


def _scaling(settings: Settings, runs: dict[Cell, Run], names: Sequence[str]) -> Iterator[Run]:
    """Runs by number of threads; on one thread, the serial counterpart's where there is one, which is the same."""
    if settings.scaling is None:
        return
    batch, counts = settings.scaling.batch, settings.scaling.threads
    for network in settings.networks:
        for name in names:
            found = spec(name, names)
            cells = [Cell(network, batch, name, n) for n in counts]
            if found.scales and found.serial and 1 in counts:
                cells.insert(0, Cell(network, batch, found.serial))
            if found.scales:
                cells.append(Cell(network, batch, name))
                yield from (replace(runs[cell], implementation=name) for cell in cells if cell in runs)


def _failures(settings: Settings, journal: Journal) -> Iterator[Absent]:
    """What failed, once where it failed everywhere for one reason."""
    for name in settings.implementations:
        failed = {cell: reason for cell, reason in journal.failed.items() if cell.implementation == name}
        ran = any(cell.implementation == name and cell not in journal.failed for cell in journal.turns)
        if len(set(failed.values())) == 1 and not ran:
            yield Absent(name, next(iter(failed.values())))
            continue
        for cell, reason in failed.items():
            where = f"on {cell.limit} threads: " if cell.limit else ""
            yield Absent(name, where + reason, cell.network, cell.batch)
        for cell, reason in journal.failed_curves.items():
            if cell.implementation == name:
                yield Absent(name, f"loss against time: {reason}", cell.network, cell.batch)
