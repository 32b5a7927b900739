"""What is predicted, and adding it up: computing, bytes through the levels of the machine, barriers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ..plan import Plan, flops_per_example
from .profile import Profile

__all__ = ["STREAMS", "Account", "Constants", "Prediction", "Workload"]

#: Vectors of parameters and state that an update reads and writes.
STREAMS = {"sgd": 1, "momentum": 2, "nesterov": 2, "adam": 3}


@dataclass(frozen=True)
class Constants:
    """What no probe measures: cycles, and shares. Fitted to trainings (benchmarks/planner.py fit)."""

    call: float = 3.9  # a panel of a product: call, prologue, epilogue
    weight_tile: float = 264.0  # a tile of W in the update: claim, sums, calls
    transpose: float = 1.1  # a vector of the transposed copy
    derivative: float = 18.0  # a vector of delta
    output_row: float = 131.0  # loss and first delta of an example by itself,
    output_column: float = 3.4  # of each of its outputs,
    output_vector: float = 95.0  # of a vector of them,
    output_across: float = 36.0  # and of a vector of examples' outputs, where there are few
    row: float = 32.0  # an example, beside fetching it: targets, loss, weights
    order: float = 40.0  # an example's place in the order of an epoch
    step: float = 786.0  # a step: rates, batch, clock
    meeting: float = 883.0  # a barrier beyond its own time: the late one, cold lines
    stream: float = 0.68  # bytes of the optimizer's state, in bytes of plain descent's stream
    exchange: float = 2.7  # bytes that another thread wrote, in bytes of the last cache
    far: float = 1.8  # bytes of memory for one thread, in bytes of its streams, which are longer
    room: float = 0.5  # share of a cache that what is gone through in turn can have


@dataclass(frozen=True)
class Workload:
    """What is trained.

    Parameters
    ----------
    layer_sizes : sequence of int, (n_0, ..., n_L)
    batch_size : int, default 128
    rows : int, default 50,000
        Examples of an epoch.
    activation : str, default "relu"
        Of the hidden layers.
    formula : {"sgd", "momentum", "nesterov", "adam"}, default "sgd"
        Of the optimizer.
    dtype : {"float32", "float64"}, default "float32"
    """

    layer_sizes: tuple[int, ...]
    batch_size: int = 128
    rows: int = 50_000
    activation: str = "relu"
    formula: str = "sgd"
    dtype: str = "float32"

    @property
    def word(self) -> int:
        return 8 if self.dtype == "float64" else 4

    @property
    def flops(self) -> float:
        """Of one step."""
        return float(flops_per_example(self.layer_sizes) * self.batch_size)

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return -(-self.rows // self.batch_size)


@dataclass(frozen=True)
class Prediction:
    """What a step is predicted to take.

    Parameters
    ----------
    work : Workload
    plan : Plan
    parts : dict of str to float
        Seconds by what bounds them: arithmetic, cache, memory, barriers, overhead; on a GPU arithmetic, cache, memory,
        nodes, transfer.
    peak : float
        FLOP/s of the threads that the plan uses, or of the GPU, in registers.
    bytes : float
        Through caches and memory, in a step.
    between : float
        Seconds beside the steps of an epoch: drawing the order.
    before : float
        Seconds before the first step: of a GPU, making it ready and sending it the data.
    """

    work: Workload
    plan: Plan
    parts: dict[str, float] = field(repr=False)
    peak: float
    bytes: float
    between: float = 0.0
    before: float = 0.0

    @property
    def seconds(self) -> float:
        return sum(self.parts.values())

    @property
    def bound(self) -> str:
        """The part that takes longest."""
        return max(self.parts, key=lambda name: self.parts[name])

    @property
    def gflops(self) -> float:
        return self.work.flops / self.seconds / 1e9

    @property
    def share_of_peak(self) -> float:
        return self.work.flops / self.seconds / self.peak

    @property
    def epoch_seconds(self) -> float:
        return self.seconds * self.work.rows / self.work.batch_size + self.between

    def training_seconds(self, epochs: int) -> float:
        """Of a whole training, beside validation."""
        return self.before + epochs * self.epoch_seconds


class Account:
    """Adds up the seconds of a step under one plan on one machine, by what bounds them."""

    def __init__(self, work: Workload, plan: Plan, profile: Profile, constants: Constants) -> None:
        self.work, self.plan, self.profile, self.k = work, plan, profile, constants
        self.lanes, self.panel_vectors, self.tile_rows = profile.shape[work.dtype]
        self.cycle = profile.cycle
        self.streams = STREAMS[work.formula]
        self.arithmetic = self.overhead = self.barriers = 0.0
        self.moved = {"cache": 0.0, "memory": 0.0}
        self.bytes = 0.0

    def move(self, total: float, footprint: float, shared: float, kind: str) -> tuple[float, str]:
        """Seconds in which a thread moves `total` bytes, of a set of `footprint` that it goes through again and again;
        all threads together go through `shared`. And the level that takes most of them."""
        threads, left, seconds, worst, most = self.plan.threads, total, 0.0, "cache", 0.0
        self.bytes += total * threads
        for level in self.profile.levels:
            together = level.shared_by > 1
            room = self.k.room * level.bytes * (-(-threads // level.shared_by) if together else 1)
            size = shared if together else footprint
            # of what is gone through in turn little stays once it does not fit
            held = 1.0 if not level.bytes or size <= room else (room / size) ** 2
            rates = level.read if kind == "read" else level.update
            # one thread waits for memory before all of them have used it up
            alone = (1.0 if level.bytes else self.k.far) / rates[1]
            took = left * held * max(alone, threads / self.profile.rate(rates, threads))
            if took > most:
                worst, most = "cache" if level.bytes else "memory", took
            seconds += took
            left *= 1 - held
        return seconds, worst

    def phase(self, computing: float, moving: float, level: str) -> None:
        """Computing, and waiting for what is moved: little of it is hidden."""
        self.arithmetic += computing
        self.moved[level] += moving

    def meeting(self, threads: int) -> float:
        """Seconds of a barrier with what goes with it: the more meet, the later the last one is."""
        if threads == 1:
            return 0.0
        return self.profile.barrier_seconds(threads) + self.k.meeting * self.cycle * math.log2(threads)

    def prediction(self) -> Prediction:
        """All that was added up."""
        parts = {
            "arithmetic": self.arithmetic,
            "cache": self.moved["cache"],
            "memory": self.moved["memory"],
            "barriers": self.barriers,
            "overhead": self.overhead,
        }
        peak = self.profile.rate(self.profile.peak[self.work.dtype], self.plan.threads)
        between = self.k.order * self.cycle * self.work.rows
        return Prediction(self.work, self.plan, parts, peak, self.bytes, between)
