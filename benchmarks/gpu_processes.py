"""What the sections of gpu.py share: sizes, the processes that they ask, and the time that they have."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import common

from schuss.study.measure import StudyError, Worker
from schuss.study.work import EXAMPLES, Work

#: Schuss's step, the 2016 study's, and the CPU's, whose bits and losses count.
OURS, NAIVE, REFERENCE = "cuda", "cuda-naive", "native"
#: One thread of plain loops.
SERIAL = "naive:1x1"
PEERS = ("torch", "torch-graph", "torch-compiled", "jax")
#: Seconds that an answer may take before the process counts as stuck; compiling takes the most.
LIMIT = 120.0


@dataclass(frozen=True)
class Sizes:
    """What is measured: on a GPU the networks of 2016, in emulation some that take milliseconds."""

    networks: dict[str, tuple[int, ...]]
    batches: tuple[int, ...]
    examples: int
    widths: range
    width_batches: tuple[int, ...]
    wide: tuple[int, int]  # inputs and outputs of the networks whose width varies
    matrix: int
    copies: dict[str, int]
    seconds: float


REAL = Sizes(
    {"net-2h": (784, 1024, 1024, 10), "net-1h": (784, 1024, 10)}, (128, 256, 512, 1024, 2048, 4096), EXAMPLES,
    range(1000, 1101, 4), (128, 1024), (784, 10), 8192, {"cache": 16 << 20, "memory": 1 << 30}, 0.1,
)  # fmt: skip
TINY = Sizes(
    {"net-2h": (12, 16, 20, 3), "net-1h": (12, 16, 3)}, (8, 32), 96,
    range(14, 19, 4), (8,), (12, 3), 64, {"cache": 1 << 16, "memory": 1 << 20}, 0.01,
)  # fmt: skip


@dataclass
class Run:
    """What the sections share."""

    emulated: bool = False
    peers: tuple[str, ...] = PEERS
    absent: dict[str, str] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def sizes(self) -> Sizes:
        """Of what is measured."""
        return TINY if self.emulated else REAL

    def work(self, layers: tuple[int, ...], batch: int, **changed: Any) -> Work:
        """Training of a network."""
        return Work(layers, batch, max(self.sizes.examples, batch), **changed)

    def worker(self, name: str) -> Worker:
        """A fresh process of one implementation."""
        return Worker(name, (sys.executable, str(common.HERE / "gpu_worker.py")), emulated=self.emulated)

    def find(self) -> None:
        """Ask every implementation what it is; why some do not answer is kept, and said."""

        def ask(name: str) -> dict[str, Any]:
            with self.worker(name) as worker:
                return worker.ask("about", LIMIT)

        for name, answer in at_once({name: partial(ask, name) for name in (OURS, *self.peers)}).items():
            if isinstance(answer, StudyError):
                self.absent[name] = reason(name, answer)
                print(f"{name} is left out: {self.absent[name]}", flush=True)
            else:
                self.about[name] = answer
        self.peers = tuple(name for name in self.peers if name in self.about)


class Deadline:
    """Seconds that a section may take; a measurement that has begun is ended."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds
        self.left_out: list[Any] = []

    def each(self, wanted: Sequence[Any]) -> Iterator[Any]:
        """Those that are begun in time; the others are `left_out`."""
        for number, one in enumerate(wanted):
            if self.over:
                self.left_out += wanted[number:]
                return
            yield one

    @property
    def left(self) -> float:
        """Seconds until they have passed."""
        return max(0.0, self.end - time.monotonic())

    @property
    def over(self) -> bool:
        """Whether they have."""
        return not self.left


def reason(name: str, error: StudyError) -> str:
    """The error without the name before it."""
    return str(error).removeprefix(f"{name}: ")


def at_once(calls: dict[str, Callable[[], Any]]) -> dict[str, Any]:
    """What each call gives, or the StudyError that it raises; all at the same time."""

    def outcome(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except StudyError as error:
            return error

    with ThreadPoolExecutor(max(len(calls), 1)) as pool:
        return dict(zip(calls, pool.map(outcome, calls.values()), strict=True))


class Team:
    """Processes of several implementations; one that fails is replaced by a fresh one."""

    def __init__(self, run: Run, names: Iterable[str]) -> None:
        self.run, self.names = run, tuple(names)

    def __enter__(self) -> Team:
        self.workers = {name: self.run.worker(name) for name in self.names}
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers.values():
            worker.__exit__()

    def renew(self, name: str) -> None:
        """A fresh process in the place of one whose GPU may be in any state."""
        self.workers[name].__exit__()
        self.workers[name] = self.run.worker(name)

    def ask(self, name: str, request: str, **arguments: Any) -> dict[str, Any]:
        """As :meth:`Worker.ask`; after an error the next question goes to a fresh process."""
        try:
            return self.workers[name].ask(request, LIMIT, **arguments)
        except StudyError as error:
            self.renew(name)
            raise StudyError(reason(name, error)) from None

    def ask_all(self, names: Iterable[str], request: str, **arguments: Any) -> dict[str, Any]:
        """The answers, or errors, of several that work at the same time."""
        return at_once({name: partial(self.ask, name, request, **arguments) for name in names})
