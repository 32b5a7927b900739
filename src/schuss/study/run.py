"""Measuring a study: rounds in which every implementation is a fresh process, checked before its time counts.

In a round, network by network, the implementations take turns: a fresh process trains every batch size, one after the
other, while nothing else runs. The first process of a cell (network, batch, implementation) is checked against the
oracle, and its first, short epoch says on how many rows the cell's epochs are timed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from statistics import mean
from typing import Any, Protocol

from schuss import _core
from schuss.engine import chosen_isa
from schuss.plan import allowed_threads
from schuss.study import oracle, peers
from schuss.study.implementations import THEANO, absence, spec
from schuss.study.journal import Cell, Journal
from schuss.study.measure import StudyError, Worker, pause
from schuss.study.settings import Settings
from schuss.study.theano import TheanoWorker
from schuss.study.work import Work

__all__ = ["Measuring", "Reporter", "scaled_threads"]

#: An epoch is timed whole if it takes at most so many times `seconds`.
WHOLE = 5
#: Short epochs that say how long a whole one takes.
TRIALS = 3
#: Seconds that an answer may take before the process counts as stuck.
LIMIT = 300.0
#: Seconds of the peak's loop beside each turn.
PEAK_SECONDS = 0.1
#: A point of a loss curve takes about so many seconds.
POINT_SECONDS = 0.15
#: Seconds that a turn is expected to take before one of its kind has been seen.
GUESS = 4.0


class Reporter(Protocol):
    """Who is told how the study goes."""

    def line(self, text: str) -> None:
        """Something to keep."""

    def at(self, what: str, done: float, left: float) -> None:
        """What is measured now, the share that is done, and the seconds that are left, about."""


def scaled_threads() -> list[int]:
    """Numbers of threads to try beside all that are allowed: powers of two."""
    return [2**k for k in range(16) if 2**k < allowed_threads()]


class Measuring:
    """A study that is going on.

    Parameters
    ----------
    settings : Settings
    journal : Journal
        Begun.
    source : Path
        Folder with the data, X.npy and y.npy; files for other processes are written there too.
    reporter : Reporter
    theano_python : str or None, default None
        The Python of an environment with Keras 2 on Theano.

    Attributes
    ----------
    absent : dict of str to str
        Implementations that cannot run here, and why.
    """

    def __init__(
        self, settings: Settings, journal: Journal, source: Path, reporter: Reporter,
        theano_python: str | None = None,
    ) -> None:  # fmt: skip
        self.settings, self.journal, self.source = settings, journal, source
        self.reporter, self.theano_python = reporter, theano_python
        network, batch = next(iter(settings.networks)), settings.batches[0]
        reasons = {
            name: absence(name, self.work(Cell(network, batch, name)), theano_python)
            for name in settings.implementations
        }
        self.absent = {name: reason for name, reason in reasons.items() if reason}
        self.names = [name for name, reason in reasons.items() if not reason]

    def work(self, cell: Cell, rows: int | None = None) -> Work:
        """What the cell trains, a whole epoch or so many rows of it."""
        work = self.settings.work(cell.network, cell.batch, str(self.source))
        return work if rows is None else replace(work, rows=rows)

    def run(self) -> None:
        """Measure what the journal does not have yet; Ctrl-C ends it, and what was measured is kept."""
        cells = self.cells
        self.left = [
            (cell, n) for n in range(self.settings.rounds) for cell in cells if not self.journal.done(cell, n)
        ]
        self.total = len(self.left) + len(self.missing_curves)
        for round_ in range(self.settings.rounds):
            for _, group in groupby(cells, key=lambda cell: (cell.network, cell.implementation, cell.limit)):
                self._turns([cell for cell in group if not self.journal.done(cell, round_)], round_)
        for cell in self.missing_curves:
            self._curve(cell)

    @property
    def cells(self) -> list[Cell]:
        """Everything to be measured in a round, in the order of its turns."""
        found = [
            Cell(network, batch, name)
            for network in self.settings.networks
            for name in self.names
            for batch in self.settings.batches
        ]
        scaling = self.settings.scaling
        if scaling is None:
            return found
        found += [
            Cell(network, scaling.batch, name, threads)
            for network in self.settings.networks
            for name in self.names
            for threads in scaling.threads
            if spec(name).scales and not (threads == 1 and spec(name, self.names).serial)
        ]
        return found

    @property
    def missing_curves(self) -> list[Cell]:
        """Loss curves still to be measured, of what has been timed."""
        curve = self.settings.curve
        if curve is None:
            return []
        there = {(found["network"], found["implementation"]) for found in self.journal.curves}
        return [
            cell
            for network in self.settings.networks
            for name in self.names
            if (network, name) not in there
            and (cell := Cell(network, curve.batch, name)) not in self.journal.failed
            and cell not in self.journal.failed_curves
        ]

    @contextmanager
    def _worker(self, cell: Cell) -> Iterator[Worker]:
        """A fresh process of the cell's implementation."""
        base, threads = peers.split(cell.implementation)
        threads = cell.limit or threads
        name = (spec(base).plan or base) + (f"@{threads}" if threads else "")
        if base == THEANO:
            assert self.theano_python is not None
            worker: Worker = TheanoWorker(name, self.theano_python, self.source)
        else:
            worker = Worker(name)
        with worker:
            yield worker

    def _turns(self, cells: list[Cell], round_: int) -> None:
        """The batch sizes of one implementation in one process; in another from where one fails."""
        done: list[str] = []
        while cells:
            with self._worker(cells[0]) as worker:
                while cells:
                    cell = cells.pop(0)
                    self._tell(cell, f"round {round_ + 1} of {self.settings.rounds}")
                    try:
                        seconds = self._turn(worker, cell, round_)
                    except StudyError as error:
                        reason = str(error).removeprefix(f"{worker.name}: ")
                        self.journal.fail(cell, reason)
                        self.reporter.line(f"{cell.network}  {_named(cell)}, batch {cell.batch}: {reason}")
                        break
                    finally:
                        self.left = [entry for entry in self.left if entry != (cell, round_)]
                    done.append(f"{seconds:.3g} s ({cell.batch:,})")
        if done:
            self.reporter.line(f"{cell.network}  {_named(cell)}: {', '.join(done)}")

    def _turn(self, worker: Worker, cell: Cell, round_: int) -> float:
        """Seconds of an epoch, in this process."""
        prepared, began = None, time.perf_counter()
        if cell not in self.journal.facts:
            facts, prepared = self._first(worker, cell)
            self.journal.add("facts", facts, cell=cell)
        facts = self.journal.facts[cell]
        if prepared != facts["rows"]:
            self._ask(worker, "prepare", work=self.work(cell, facts["rows"]).as_dict())
        pause()
        peak = self._peak(worker, cell, facts["threads"]) / 1e9
        reply = self._ask(worker, "epoch", seconds=self.settings.seconds)
        if not math.isfinite(reply["loss"]):
            raise StudyError(f"its loss became {reply['loss']}")
        seconds = reply["seconds"] * self.settings.examples / facts["rows"]
        turn = {
            "seconds": seconds,
            "plan": reply.get("plan"),
            "peak_gflops": peak,
            "took": time.perf_counter() - began,
        }
        self.journal.add("turn", turn, cell=cell, round=round_)
        return float(seconds)

    def _peak(self, worker: Worker, cell: Cell, threads: int) -> float:
        """FLOP/s in the registers of the GPU, or of as many threads."""
        if spec(cell.implementation).family == "cuda":
            return float(self._ask(worker, "peak", seconds=PEAK_SECONDS)["flops"])
        return float(_core.measure_peak(chosen_isa(), threads, PEAK_SECONDS, False))

    def _first(self, worker: Worker, cell: Cell) -> tuple[dict[str, Any], int]:
        """Check an implementation, and find the rows to time it on; these, and those it is prepared for."""
        work = self.work(cell)
        found = self._ask(worker, "check", work=work.as_dict())
        check = self._check(cell, work, found.pop("losses"))
        rows = work.with_steps(max(1, math.ceil(work.steps * spec(cell.implementation).trial))).rows
        each = self._ask(worker, "prepare", work=self.work(cell, rows).as_dict())["row_seconds"]
        whole, seconds = work.rows, self.settings.seconds
        if each * rows < seconds:  # short, so easily disturbed by a neighbour: the shortest of a few
            each = min(self._ask(worker, "epoch")["seconds"] for _ in range(TRIALS)) / rows
        wanted = whole if each * whole <= WHOLE * seconds else int(seconds / each)
        return found | {"check": check, "rows": self.work(cell, min(wanted, whole)).rows}, rows

    def _check(self, cell: Cell, work: Work, losses: list[float]) -> dict[str, float]:
        """The losses of the check beside the oracle's.

        Raises
        ------
        StudyError
            If they differ by more than is allowed.
        """
        where = {"network": cell.network, "batch": cell.batch}
        if (cell.network, cell.batch) not in self.journal.oracle:
            self.journal.add("oracle", oracle.losses(work), **where)
        expected = self.journal.oracle[cell.network, cell.batch]
        difference, tolerance = oracle.compare(work, losses, expected)
        if not difference <= tolerance:  # nan too
            each = ", ".join(
                f"{mine:.7g} for {right:.7g}" for mine, right in zip(losses, expected, strict=True)
            )
            raise StudyError(
                f"its losses are not the oracle's: {each}; they differ by {difference:.1e}, {tolerance:.0e} allowed"
            )
        return {"loss": losses[-1], "oracle": expected[-1], "difference": difference, "tolerance": tolerance}

    def _curve(self, cell: Cell) -> None:
        """Loss against wall time, point by point about as long after each other for all."""
        curve = self.settings.curve
        assert curve is not None
        work = replace(self.work(cell), learning_rate=curve.learning_rate)
        epoch = mean(turn["seconds"] for turn in self.journal.turns[cell].values())
        steps = round(POINT_SECONDS / (epoch * cell.batch / self.settings.examples))
        self._tell(cell, "loss against time")
        try:
            with self._worker(cell) as worker:
                steps = min(max(1, steps), work.steps)
                found = self._ask(worker, "curve", steps=steps, seconds=curve.seconds, work=work.as_dict())
        except StudyError as error:
            reason = str(error).removeprefix(f"{worker.name}: ")
            self.journal.fail(cell, reason, curve=True)
            self.reporter.line(f"{cell.network}  {_named(cell)}, loss against time: {reason}")
            return
        where = {"network": cell.network, "batch": cell.batch, "implementation": cell.implementation}
        self.journal.add("curve", where | found)

    def _ask(self, worker: Worker, request: str, **arguments: Any) -> dict[str, Any]:
        return worker.ask(request, LIMIT, **arguments)

    def _tell(self, cell: Cell, what: str) -> None:
        """Say what is being measured, and for how long it will go on, by what the same and the like took before."""
        took = {c: min(turn["took"] for turn in turns.values()) for c, turns in self.journal.turns.items()}
        usual = mean(took.values()) if took else GUESS
        curves = self.missing_curves
        left = sum(took.get(c, usual) for c, _ in self.left)
        if self.settings.curve is not None:
            left += len(curves) * (self.settings.curve.seconds + usual)
        done = 1 - (len(self.left) + len(curves)) / max(1, self.total)
        self.reporter.at(f"{what}: {cell.network}, {_named(cell)}, batch {cell.batch}", done, left)


def _named(cell: Cell) -> str:
    return cell.implementation + (f" on {cell.limit} thread{'s' * (cell.limit > 1)}" if cell.limit else "")
