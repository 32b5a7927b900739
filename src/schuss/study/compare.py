"""Two studies side by side: what moved beyond noise, and what else differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import derived
from .page import Cell, escape, number, page, table
from .results import Run, Study
from .words import amount, count

__all__ = ["Comparison", "Difference", "Row", "compare"]

_OTHER_MACHINE = "The machines differ: times tell of both the machine and the code."


@dataclass(frozen=True)
class Difference:
    """Something that is not the same in both studies, such as ``machine.cpu``; None where a study lacks it."""

    name: str
    a: Any
    b: Any


@dataclass(frozen=True)
class Row:
    """A run of both studies.

    Attributes
    ----------
    network, batch, implementation, threads
        What both have in common.
    a, b : Range
        Seconds of an epoch.
    ratio : float
        Median of b over that of a; below 1, b is faster.
    moved : {"faster", "slower"} or None
        What b is, where the spreads do not overlap and the medians differ by more than 3 %.
    """

    network: str
    batch: int
    implementation: str
    threads: int
    a: derived.Range
    b: derived.Range
    ratio: float
    moved: str | None

    def __str__(self) -> str:
        where = f"{self.network} at {self.batch:,}, {count(self.threads, 'thread')}"
        times = f"{amount(self.a.median)} s -> {amount(self.b.median)} s ({100 * (self.ratio - 1):+.1f} %)"
        return f"{self.implementation}, {where}: {times}"


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` finds.

    Attributes
    ----------
    names : tuple of str
        Of the two studies.
    differences : tuple of Difference
        Of machine, environment, settings, networks and libraries.
    rows : tuple of Row
        In the order of the first study.
    only_a, only_b : tuple of (network, batch, implementation, threads)
        Runs without a counterpart.
    """

    names: tuple[str, str]
    differences: tuple[Difference, ...]
    rows: tuple[Row, ...]
    only_a: tuple[tuple[str, int, str, int], ...]
    only_b: tuple[tuple[str, int, str, int], ...]

    @property
    def moved(self) -> tuple[Row, ...]:
        """Rows that moved beyond noise, the largest change first."""
        return tuple(sorted((r for r in self.rows if r.moved), key=lambda r: -max(r.ratio, 1 / r.ratio)))

    @property
    def other_machine(self) -> bool:
        """Whether the studies are from machines that differ."""
        return any(
            d.name.startswith("machine.") and not d.name.startswith("machine.versions")
            for d in self.differences
        )

    def summary(self) -> str:
        """One sentence."""
        faster = sum(row.moved == "faster" for row in self.rows)
        slower = sum(row.moved == "slower" for row in self.rows)
        if not self.rows:
            return "The studies have no measurement in common."
        if not faster + slower:
            return f"None of {count(len(self.rows), 'measurement')} moved beyond noise."
        return f"Of {count(len(self.rows), 'measurement')}, {faster} are faster and {slower} slower beyond noise."

    def as_dict(self) -> dict[str, Any]:
        """For JSON; ``rows`` have ``moved``, ``summary`` the sentence."""
        return {**asdict(self), "other_machine": self.other_machine, "summary": self.summary()}

    def __str__(self) -> str:
        """Text for a terminal: differences, then what moved, then what has no counterpart."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"A: {self.names[0]}"
        yield f"B: {self.names[1]}"
        if self.other_machine:
            yield _OTHER_MACHINE
        width = max((len(d.name) for d in self.differences), default=0)
        yield from (f"  {d.name:<{width}}  {_shown(d.a)} | {_shown(d.b)}" for d in self.differences)
        yield self.summary()
        for moved in ("slower", "faster"):
            rows = [row for row in self.moved if row.moved == moved]
            if rows:
                yield f"{moved.capitalize()}:"
                yield from (f"  {row}" for row in rows)
        for side, keys in zip("AB", (self.only_a, self.only_b), strict=True):
            if keys:
                names = sorted({f"{name} on {network}" for network, _, name, _ in keys})
                yield f"Only in {side}: {count(len(keys), 'measurement')} ({', '.join(names)})"

    def page(self) -> str:
        """The comparison as a page in one file."""
        names = "".join(
            f'<p class="lead">{s}: {escape(n)}</p>' for s, n in zip("AB", self.names, strict=True)
        )
        machine = f"<p>{_OTHER_MACHINE}</p>" if self.other_machine else ""
        differing = [
            [Cell(d.name), Cell(_shown(d.a), style="wrap"), Cell(_shown(d.b), style="wrap")]
            for d in self.differences
        ]
        missing = [
            [
                Cell(name),
                Cell(network),
                number(batch, f"{batch:,}"),
                number(threads, str(threads)),
                Cell(side),
            ]
            for side, keys in zip("AB", (self.only_a, self.only_b), strict=True)
            for network, batch, name, threads in keys
        ]
        head = ["Implementation", "Network", "Batch", "Threads"]
        circumstances = machine + table(
            "Machine, environment, settings, libraries.", ["What", "A", "B"], differing
        )
        alone = table("Measurements that only one of the studies has.", [*head, "In"], missing)
        sections = {
            "Circumstances": ("What differs beside the times", circumstances if differing else ""),
            "Times": ("Times", f"<p>{escape(self.summary())}</p>{self._table(head)}"),
            "Only in one": ("Without a counterpart", alone if missing else ""),
        }
        footer = "Made by schuss bench --compare from the two results.json."
        top = f"<h1>Two studies compared</h1>\n{names}"
        return page("Two studies compared", sections, top=top, footer=footer, batch_counts=set())

    def _table(self, head: list[str]) -> str:
        rows = [
            [
                Cell(row.implementation),
                Cell(row.network),
                number(row.batch, f"{row.batch:,}"),
                number(row.threads, str(row.threads)),
                *(
                    number(side.median, f"{amount(side.median)} ({amount(side.low)} to {amount(side.high)})")
                    for side in (row.a, row.b)
                ),
                number(row.ratio, f"{100 * (row.ratio - 1):+.1f} %"),
                Cell(row.moved or "within noise", style=row.moved or ""),
            ]
            for row in (*self.moved, *(row for row in self.rows if not row.moved))
        ]
        caption = (
            "Seconds an epoch: median, and from the smallest to the largest of the rounds. Beyond noise: the spreads "
            f"do not overlap, and the medians differ by more than {100 * derived.NOISE:.0f} %."
        )
        return table(caption, [*head, "A, s", "B, s", "B over A", "B is"], rows)

    def write(self, path: str | Path) -> Path:
        """Write the page to the file `path`."""
        path = Path(path)
        path.write_text(self.page(), encoding="utf-8")
        return path


def compare(a: str | Path | Study, b: str | Path | Study) -> Comparison:
    """Set two studies side by side.

    Parameters
    ----------
    a, b : str, Path or Study
        Folders of studies, their results.json, or studies that are read; `b` is judged against `a`.

    Raises
    ------
    ResultsError
        If one of them cannot be read.
    """
    names = tuple(_name(source) for source in (a, b))
    first, second = (source if isinstance(source, Study) else Study.load(source) for source in (a, b))
    before, after = _runs(first), _runs(second)
    return Comparison(
        names=(names[0], names[1]),
        differences=tuple(_differences(_circumstances(first), _circumstances(second))),
        rows=tuple(_row(before[key], after[key]) for key in before if key in after),
        only_a=tuple(key for key in before if key not in after),
        only_b=tuple(key for key in after if key not in before),
    )


def _name(source: str | Path | Study) -> str:
    return f"{source.preset} of {source.created}" if isinstance(source, Study) else str(source)


def _runs(study: Study) -> dict[tuple[str, int, str, int], Run]:
    """By what identifies them; of a run that was measured again by number of threads, the first."""
    runs = {run.key: run for run in study.runs}
    return runs | {run.key: run for run in study.scaling if run.key not in runs}


def _row(a: Run, b: Run) -> Row:
    before, after = derived.seconds(a), derived.seconds(b)
    moved = None
    if derived.apart(before, after):
        moved = "faster" if b.seconds < a.seconds else "slower"
    return Row(*a.key, a=before, b=after, ratio=b.seconds / a.seconds, moved=moved)


def _circumstances(study: Study) -> dict[str, Any]:
    """Everything but the measurements, by dotted name."""
    return _flat(
        {
            "machine": study.machine,
            "environment": study.environment,
            "settings": study.settings,
            "networks": {name: "-".join(map(str, facts.layers)) for name, facts in study.networks.items()},
            "libraries": {name: facts.versions for name, facts in study.implementations.items()},
        }
    )


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {name: list(value) if isinstance(value, tuple) else value}
    return {k: v for key, part in value.items() for k, v in _flat(part, f"{name}.{key}".lstrip(".")).items()}


def _differences(a: dict[str, Any], b: dict[str, Any]) -> Iterator[Difference]:
    """The machine's first, as they come; libraries only of implementations that both have."""
    shared = {name.rpartition(".")[0] for name in a} & {name.rpartition(".")[0] for name in b}
    for name in dict.fromkeys([*a, *b]):
        if a.get(name) == b.get(name) or (
            name.startswith("libraries.") and name.rpartition(".")[0] not in shared
        ):
            continue
        yield Difference(name, a.get(name), b.get(name))


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
