"""The cost model: predicted seconds of one step, from FLOPs, bytes through each level, barriers and rows per group.

The equations, and how well they predict, are in docs/planner.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from ..plan import Plan
from .account import Account, Constants, Prediction, Workload
from .other_kernels import predict_other
from .profile import Profile

__all__ = ["NativeStep", "predict"]

#: Of the native step (native/src/engine/native_step.cpp): rows that go through the layers together, inputs of a tile of
#: weights, the longest chain summed at once, examples from which a sum is cut into blocks, and the blocks.
BLOCK_ROWS, TILE_INPUTS, DEPTH_BLOCK, LONG_BATCH, SUM_BLOCK = 512, 64, 1024, 1024, 128
#: Of the loss (native/src/kernels/row_sum.inl): outputs up to which a vector holds a column of several rows.
ACROSS = 16


class NativeStep(Account):
    """The native step: propagation split over examples, a barrier, the update split over the weights, a barrier."""

    def __init__(
        self, work: Workload, plan: Plan, profile: Profile, constants: Constants | None = None
    ) -> None:
        super().__init__(work, plan, profile, constants or Constants())
        self.layers = list(pairwise(work.layer_sizes))
        self.share = -(-work.batch_size // plan.examples)  # examples of the largest group

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

    def run(self) -> Prediction:
        threads, members = self.plan.threads, self.plan.matrix
        self.sizes()
        self.propagate()
        self.update()
        together = -(-self.share // BLOCK_ROWS) * (2 * len(self.layers) + 1) if members > 1 else 0
        self.barriers = 2 * self.meeting(threads) + together * self.meeting(members)
        self.overhead += self.k.step * self.cycle
        return self.prediction()

    def sizes(self) -> None:
        """Bytes of what a step goes through: the weights, their state, the activations of one group's block."""
        word = self.work.word
        padded = [self.vectors(b) * self.lanes * a for a, b in self.layers]
        turned = sum(self.vectors(a) * self.lanes * b for a, b in self.layers[1:])
        self.weights = word * sum(padded)
        self.both = self.weights + word * turned  # and the transposed copies
        self.state = word * sum(padded) * self.streams + word * turned
        width = sum(self.vectors(n) * self.lanes for n in self.work.layer_sizes)
        self.activations = word * 2 * width * self.work.batch_size
        self.all = self.state + self.activations
        # one thread reads its share of W and its copies, and keeps its own tiles' state
        self.own = self.both / self.plan.matrix + (self.all - self.both) / self.plan.threads

    def propagate(self) -> None:
        work, k, cycle, members = self.work, self.k, self.cycle, self.plan.matrix
        rows = self.share
        blocks = -(-rows // BLOCK_ROWS)
        own = -(-rows // members)  # rows of a member where rows are shared
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
        moving, level = self.move(weights, self.own, self.all, "read")
        moving += self.move(self.activations / self.plan.threads, self.own, self.all, "update")[0]
        self.phase(computing, moving, level)
        self.cross(self.both / members)
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
        how = self.profile.gather["cached" if data < self.profile.levels[-2].bytes else "memory"]
        self.overhead += own * (how.row + 4 * self.work.layer_sizes[0] / how.rate + self.k.row * self.cycle)

    def cross(self, total: float) -> None:
        """Of what a thread reads, other threads wrote their share since it last did; it comes out of their own caches
        as far as those hold it, and else with what is moved."""
        threads, levels = self.plan.threads, self.profile.levels
        own = max((level.bytes for level in levels if level.shared_by == 1), default=0)
        held = min(1.0, (self.k.room * own * threads / self.all) ** 2)
        self.moved["cache"] += self.k.exchange * held * (1 - 1 / threads) * total / levels[-2].read[1]

    def update(self) -> None:
        work, k, cycle, threads = self.work, self.k, self.cycle, self.plan.threads
        batch = work.batch_size
        # how many, and the seconds of each, from the last layer to the first
        tiles: list[tuple[int, float]] = []
        for number, (inputs, outputs) in enumerate(self.layers, start=1):
            per_panel = -(-inputs // TILE_INPUTS)
            for panels, vectors, filled in self.panels(outputs):
                one = self.tile_sums(inputs, vectors, filled)
                if number > 1:
                    one += inputs * vectors * k.transpose * cycle
                one += per_panel * k.weight_tile * cycle + batch * vectors * cycle
                tiles.insert(0, (panels * per_panel, one / per_panel))
        turned = self.both - self.weights
        written = 2 * (self.weights * (1 + k.stream * (self.streams - 1)) + turned)
        moving, level = self.move(written / threads, self.own, self.all, "update")
        reading, _ = self.move(self.activations / 2 / threads, self.own, self.all, "read")
        self.phase(_longest(tiles, threads, batch > LONG_BATCH), moving + reading, level)
        self.cross(self.activations)

    def tile_sums(self, inputs: int, vectors: int, filled: int) -> float:
        """Seconds of the gradients of one panel of weights: `inputs` rows of `vectors`."""
        batch = self.work.batch_size
        block = batch if batch <= LONG_BATCH else SUM_BLOCK
        turned = 4 * filled <= 3 * vectors * self.lanes
        if not turned:
            whole, rest = divmod(inputs, TILE_INPUTS)
            seconds = whole * self.rows_of_tiles(TILE_INPUTS, vectors, batch, block)
            return seconds + (self.rows_of_tiles(rest, vectors, batch, block) if rest else 0.0)
        seconds = 0.0
        for panels, wide, _ in self.panels(inputs):
            seconds += panels * self.rows_of_tiles(filled, wide, batch, block)
        return seconds + 2 * self.k.transpose * self.cycle * self.vectors(inputs) * filled


def _longest(tiles: list[tuple[int, float]], threads: int, kept: bool) -> float:
    """Seconds of the thread with most to do. Threads take tile by tile, so that the last one is waited for; of long
    minibatches each keeps its share, equal in number."""
    count, seconds = sum(n for n, _ in tiles), sum(n * each for n, each in tiles)
    if threads == 1:
        return seconds
    if not kept:
        return max(seconds / threads, max(each for _, each in tiles))
    shares, at = [0.0] * threads, 0
    for n, each in tiles:
        for thread in range(threads):
            first, last = count * thread // threads, count * (thread + 1) // threads
            shares[thread] += each * max(0, min(last, at + n) - max(first, at))
        at += n
    return max(shares)


def predict(work: Workload, plan: Plan, profile: Profile, constants: Constants | None = None) -> Prediction:
    """What a step of `work` under `plan` takes on a machine."""
    if plan.kernels == "native":
        return NativeStep(work, plan, profile, constants).run()
    return predict_other(work, plan, profile)
