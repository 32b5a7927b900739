"""The cost model: predicted seconds of one step, from FLOPs, bytes through each level, barriers and rows per group.

The equations, and how well they predict, are in docs/planner.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from ..plan import Plan, flops_per_example
from .profile import Profile

__all__ = ["Prediction", "Workload", "predict"]

#: Of the native step (native/src/engine/native_step.cpp): rows that go through the layers together, inputs of a tile of
#: weights, the longest chain summed at once, examples from which a sum is cut into blocks, and the blocks.
BLOCK_ROWS, TILE_INPUTS, DEPTH_BLOCK, LONG_BATCH, SUM_BLOCK = 512, 64, 1024, 1024, 128
#: Of the loss (native/src/kernels/row_sum.inl): outputs up to which a vector holds a column of several rows.
ACROSS = 16
#: Vectors of parameters and state that an update reads and writes.
STREAMS = {"sgd": 1, "momentum": 2, "nesterov": 2, "adam": 3, "adamw": 3}


@dataclass(frozen=True)
class Constants:
    """What no probe measures, in cycles; fitted to trainings (benchmarks/planner.py --fit)."""

    call: float = 60.0  # a panel of a product, a block of rows: call, prologue, epilogue
    weight_tile: float = 150.0  # a tile of W in the update: claim, sums, calls
    update: float = 3.0  # sgd on a vector of weights; Adam: `adam`
    adam: float = 40.0
    transpose: float = 6.0  # a vector of the transposed copy
    derivative: float = 3.0  # a vector of delta
    output_row: float = (
        100.0  # loss and first delta of an example taken by itself, of each of its outputs, and of
    )
    output_column: float = 1.5  # a vector of them
    output_vector: float = 60.0
    output_across: float = 40.0  # of a vector of examples' outputs, where there are few
    bias_row: float = 4.0  # a row of a panel in the bias's sum
    row: float = 10.0  # an example, beside fetching it: targets, loss, weights
    step: float = 900.0  # a step: rates, batch, clock
    overlap: float = 0.3  # share of the shorter of computing and moving that is not hidden
    meeting: float = 800.0  # what a barrier costs beyond its own time: the late one, cold lines
    exchange: float = 1.0  # bytes that another core wrote, in bytes of the shared level
    spread: float = 0.02  # loss to uneven shares


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
    solver : str, default "sgd"
    dtype : {"float32", "float64"}, default "float32"
    """

    layer_sizes: tuple[int, ...]
    batch_size: int = 128
    rows: int = 50_000
    activation: str = "relu"
    solver: str = "sgd"
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
        Seconds by what bounds them: arithmetic, cache, memory, barriers, overhead.
    peak : float
        FLOP/s of the threads that the plan uses, in registers.
    bytes : float
        Through caches and memory, in a step.
    """

    work: Workload
    plan: Plan
    parts: dict[str, float] = field(repr=False)
    peak: float
    bytes: float

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
        return self.seconds * self.work.rows / self.work.batch_size


class _Step:
    """The native step of one plan on one machine."""

    def __init__(self, work: Workload, plan: Plan, profile: Profile, constants: Constants) -> None:
        self.work, self.plan, self.profile, self.k = work, plan, profile, constants
        self.lanes, self.panel_vectors, self.tile_rows = profile.shape[work.dtype]
        self.cycle = profile.cycle
        self.layers = list(pairwise(work.layer_sizes))
        self.share = -(-work.batch_size // plan.examples)  # examples of the largest group
        self.arithmetic = self.overhead = 0.0
        self.moved = {"cache": 0.0, "memory": 0.0}
        self.bytes = 0.0

    # ---- arithmetic ------------------------------------------------------------------------------

    def vectors(self, n: int) -> int:
        return -(-n // self.lanes)

    def panels(self, n: int) -> Iterator[tuple[int, int, int]]:
        """(how many, vectors in each, columns in each) of the panels of n columns."""
        full, rest = divmod(n, self.panel_vectors * self.lanes)
        if full:
            yield full, self.panel_vectors, self.panel_vectors * self.lanes
        if rest:
            yield 1, self.vectors(rest), rest

    def rows_of_tiles(self, rows: int, vectors: int, depth: int, block: int) -> float:
        """Seconds of `rows` x `vectors` sums over `depth`, `block` of them at a time."""
        blocks = -(-depth // block)
        full, rest = divmod(rows, self.tile_rows)
        seconds = 0.0
        for count, tile in ((full, self.tile_rows), (1 if rest else 0, rest)):
            if count:
                fixed, per_depth = self.profile.tiles[tile, vectors]
                seconds += count * (blocks * fixed + depth * per_depth)
        return seconds

    def product(self, rows: int, depth: int, columns: int) -> float:
        """Seconds of one member's part of a product of the first phase."""
        members = self.plan.matrix
        count = -(-self.vectors(columns) // self.panel_vectors)
        if count >= members:
            own = -(-count // members)  # panels of the member with most
            part, rows_of = own / count, rows
        else:
            part, rows_of = 1.0, -(-rows // members)
        total = 0.0
        for panels, vectors, _ in self.panels(columns):
            tiles = self.rows_of_tiles(rows_of, vectors, depth, DEPTH_BLOCK)
            total += panels * (tiles + self.k.call * self.cycle)
        return total * part

    # ---- bytes -----------------------------------------------------------------------------------

    def move(self, total: float, footprint: float, shared: float, kind: str) -> tuple[float, str]:
        """Seconds in which a thread moves `total` bytes, of a set of `footprint` that it goes through again and again;
        all threads together go through `shared`. And the level that takes most of them."""
        threads, left, seconds, worst, most = self.plan.threads, total, 0.0, "cache", 0.0
        self.bytes += total * threads
        for level in self.profile.levels:
            together = level.shared_by > 1
            room = level.bytes * -(-threads // level.shared_by) if together else level.bytes
            size = shared if together else footprint
            # of what is gone through in turn little stays once it does not fit
            held = 1.0 if not level.bytes or size <= room else max(0.0, 1 - 2 * (size - room) / room)
            rates = level.read if kind == "read" else level.update
            took = left * held / (self.profile.rate(rates, threads) / threads)
            if took > most:
                worst, most = "cache" if level.bytes else "memory", took
            seconds += took
            left *= 1 - held
        return seconds, worst

    def phase(self, computing: float, moving: float, level: str) -> None:
        """Computing and moving at once: the longer, and what is not hidden of the shorter."""
        seconds = max(computing, moving) + self.k.overlap * min(computing, moving)
        self.arithmetic += computing
        self.moved[level] += seconds - computing

    # ---- the step --------------------------------------------------------------------------------

    def run(self) -> Prediction:
        work, k, cycle = self.work, self.k, self.cycle
        threads = self.plan.threads
        self.sizes()
        self.propagate()
        self.update()
        syncs = 0
        if self.plan.matrix > 1:
            syncs = -(-self.share // BLOCK_ROWS) * (2 * len(self.layers) + 1)
        barriers = 0.0
        if threads > 1:
            barriers = 2 * self.meeting(threads) + syncs * self.meeting(self.plan.matrix)
        self.overhead += k.step * cycle
        parts = {
            "arithmetic": self.arithmetic,
            "cache": self.moved["cache"],
            "memory": self.moved["memory"],
            "barriers": barriers,
            "overhead": self.overhead,
        }
        peak = self.profile.rate(self.profile.peak[work.dtype], threads)
        return Prediction(work, self.plan, parts, peak, self.bytes)

    def meeting(self, threads: int) -> float:
        """Seconds of a barrier with what goes with it: the more meet, the later the last one is."""
        if threads == 1:
            return 0.0
        return self.profile.barrier_seconds(threads) + self.k.meeting * self.cycle * math.log2(threads)

    def sizes(self) -> None:
        """Bytes of what a step goes through: the weights, their state, the activations of one group's block."""
        word = self.work.word
        padded = [self.vectors(b) * self.lanes * a for a, b in self.layers]
        turned = sum(self.vectors(a) * self.lanes * b for a, b in self.layers[1:])
        self.weights = word * sum(padded)
        self.both = self.weights + word * turned  # and the transposed copies
        self.state = word * sum(padded) * STREAMS[self.work.solver] + word * turned
        width = sum(self.vectors(n) * self.lanes for n in self.work.layer_sizes)
        self.activations = word * 2 * width * self.work.batch_size
        self.all = self.state + self.activations

    def propagate(self) -> None:
        work, k, cycle, members = self.work, self.k, self.cycle, self.plan.matrix
        rows = self.share
        blocks = -(-rows // BLOCK_ROWS)
        own = -(-rows // members)  # rows of a member where rows are shared
        footprint = (
            self.state / self.plan.threads + self.both / members + self.activations / self.plan.threads
        )
        computing = 0.0
        for number, (inputs, outputs) in enumerate(self.layers, start=1):
            computing += blocks * self.product(-(-rows // blocks), inputs, outputs)
            if number > 1:
                computing += blocks * self.product(-(-rows // blocks), outputs, inputs)
            if number < len(self.layers):
                one = self.profile.activations[work.activation] + k.derivative * cycle
                computing += own * self.vectors(outputs) * one
        computing += self.output(own)
        weights = self.both * blocks / members
        moving, level = self.move(weights, footprint, self.all, "read")
        # what other threads wrote comes from their caches
        foreign = k.exchange * (1 - 1 / self.plan.threads) * self.both / members
        crossing, _ = self.move(foreign, math.inf, self.all, "read")
        self.phase(computing, moving, level)
        self.moved["cache"] += crossing
        self.gather(own)

    def output(self, rows: int) -> float:
        """Seconds of outputs, losses and first deltas of so many rows: a few columns are taken across the rows."""
        columns = self.work.layer_sizes[-1]
        k = self.k
        if columns <= ACROSS:
            return self.vectors(rows) * columns * k.output_across * self.cycle
        row = k.output_row + columns * k.output_column + self.vectors(columns) * k.output_vector
        return rows * row * self.cycle

    def gather(self, own: int) -> None:
        data = self.work.rows * self.work.layer_sizes[0] * 4
        last = self.profile.levels[-2].bytes if len(self.profile.levels) > 1 else 0
        how = self.profile.gather["cached" if data < last else "memory"]
        self.overhead += own * (how.row + 4 * self.work.layer_sizes[0] / how.rate + self.k.row * self.cycle)

    def update(self) -> None:
        work, k, cycle, threads = self.work, self.k, self.cycle, self.plan.threads
        batch = work.batch_size
        block = batch if batch <= LONG_BATCH else SUM_BLOCK
        adam = work.solver.startswith("adam")
        vector = (k.adam if adam else k.update) * cycle
        computing = tiles = 0.0
        for number, (inputs, outputs) in enumerate(self.layers, start=1):
            per_panel = -(-inputs // TILE_INPUTS)
            for panels, vectors, filled in self.panels(outputs):
                one = self.tile_sums(inputs, vectors, filled, batch, block)
                one += inputs * vectors * (vector + (k.transpose * cycle if number > 1 else 0.0))
                one += per_panel * k.weight_tile * cycle + batch * max(vectors, k.bias_row) * cycle
                computing += panels * one
                tiles += panels * per_panel
        # threads take tile by tile: the last one is waited for
        largest = computing / tiles
        rounds = computing / threads + (largest * (1 - 1 / threads) if tiles >= threads else 0.0)
        if tiles < threads:
            rounds = largest
        footprint = self.all / threads
        moving, level = self.move(2 * self.state / threads, footprint, self.all, "update")
        reading, _ = self.move(
            self.activations / 2 * max(1, len(self.layers)) / threads / max(1, len(self.layers)), footprint, self.all,
            "read",
        )  # fmt: skip
        self.phase(rounds * (1 + k.spread * (threads > 1)), moving + reading, level)

    def tile_sums(self, inputs: int, vectors: int, filled: int, batch: int, block: int) -> float:
        """Seconds of the gradients of one panel of weights: `inputs` rows of `vectors`."""
        turned = 4 * filled <= 3 * vectors * self.lanes
        if not turned:
            whole, rest = divmod(inputs, TILE_INPUTS)
            seconds = whole * self.rows_of_tiles(TILE_INPUTS, vectors, batch, min(block, DEPTH_BLOCK))
            return seconds + (
                self.rows_of_tiles(rest, vectors, batch, min(block, DEPTH_BLOCK)) if rest else 0.0
            )
        seconds = 0.0
        for panels, wide, _ in self.panels(inputs):
            seconds += panels * self.rows_of_tiles(filled, wide, batch, min(block, DEPTH_BLOCK))
        return seconds + 2 * self.k.transpose * self.cycle * self.vectors(inputs) * filled


def predict(work: Workload, plan: Plan, profile: Profile, constants: Constants | None = None) -> Prediction:
    """What a step of `work` under `plan` takes on a machine."""
    return _Step(work, plan, profile, constants or Constants()).run()
