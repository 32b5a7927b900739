"""What a step takes on a GPU: node by node, from tiles, bytes and what a node costs anyhow. None of it was measured.

The equations, and where each assumed figure comes from, are in docs/planner.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ..plan import REDUCED, Plan
from .account import STREAMS, Prediction, Workload
from .gpu import CONTEXT, GpuProfile
from .gpu_nodes import NodeWork, StepWork

__all__ = ["EXAMPLES", "Constants", "GpuStep", "NodeTime"]


@dataclass(frozen=True)
class Constants:
    """What neither data sheets nor drivers tell: docs/planner.md says where each is from."""

    gap: float = 1.2e-6  # seconds from a node's end to the start of one that waits for it
    near: float = 263.0  # clocks until bytes of the second-level cache are there
    chain: float = 4.0  # clocks from a multiply-add to the next one of the same sum,
    chain_of_losses: float = 8.0  # and of the losses, in float64
    staging: float = 0.15  # clocks of a tile's row or column, each term of 4 bytes, read from shared memory,
    matrix_staging: float = 0.0625  # and for the matrix units, where a warp's part of the tile is larger
    naive: float = 2.0  # words of 4 bytes that a naive kernel reads from there for each multiply-add,
    shared: float = 32.0  # of which a multiprocessor gives so many in a clock
    finish: float = 20.0  # operations that follow each sum: activation, slope, or the optimizer's formula
    stream: float = 0.9  # share of the memory's rate that is reached
    room: float = 0.5  # share of the second-level cache that what is gone through in turn can have
    context: float = CONTEXT  # seconds until a GPU is ready
    compiling: float = 5.0  # seconds of compiling the kernels; measured, on two cores of an EPYC
    pageable: float = 6e9  # bytes a second from an ordinary array to the GPU
    epoch: float = 2e-4  # seconds of an epoch beside its steps


#: Share of the memory that a training's examples may take; beyond it they are sent in every epoch (cuda/data.py).
EXAMPLES = 0.8
#: Steps that are looked at in a row, and those of them that count: what one waits for may be of the step before.
_STEPS, _COUNTED = 6, (2, 3)


@dataclass(frozen=True)
class NodeTime:
    """A node of the chain that a step is, and its predicted seconds.

    Attributes
    ----------
    kernel : str
    start : float
        The gap before it, and the ways of its first and its last bytes.
    parts : dict of str to float
        Of its arithmetic, of its bytes from the second-level cache, and of those from memory; they overlap.
    bytes : float
        Through the second-level cache.
    """

    kernel: str
    start: float
    parts: dict[str, float]
    bytes: float

    @property
    def bound(self) -> str:
        """The part that takes longest."""
        return max(self.parts, key=lambda name: self.parts[name])

    @property
    def seconds(self) -> float:
        return self.start + self.parts[self.bound]


class GpuStep:
    """A step of plan `cuda` or `cuda-naive` on a GPU.

    Parameters
    ----------
    work : Workload
    gpu : GpuProfile
    plan : Plan or None, default None
        None: `cuda`. Its precision, or where it has none that of the parameters, counts.
    constants : Constants or None, default None
    """

    def __init__(
        self, work: Workload, gpu: GpuProfile, plan: Plan | None = None, constants: Constants | None = None
    ) -> None:
        self.work, self.gpu = work, gpu
        self.plan = plan or Plan("cuda", 1, 1)
        self.k = constants or Constants()
        self.precision = self.plan.precision or work.dtype
        self._naive = self.plan.kernels == "cuda-naive"
        self._step = StepWork(work, self.precision, self._naive)

    @cached_property
    def _chain(self) -> list[tuple[NodeWork, NodeTime]]:
        """The longest chain of nodes that wait for one another through the middle _COUNTED of _STEPS steps."""
        nodes = self._step.graph(_STEPS)
        times = [self._node(node) for node in nodes]
        ends: list[float] = []
        before: list[int] = []  # of each node the one that it waits for last
        for node, time in zip(nodes, times, strict=True):
            last = max(node.after, key=ends.__getitem__, default=-1)
            before.append(last)
            ends.append((ends[last] if node.after else 0.0) + time.seconds)
        at, chain = len(nodes) - 1, []
        while at >= 0:
            if nodes[at].step in _COUNTED:
                chain.append((nodes[at], times[at]))
            at = before[at]
        return chain[::-1]

    @property
    def nodes(self) -> list[NodeTime]:
        """Those of a step that wait for one another, in their order; others run beside them."""
        return [time for node, time in self._chain if node.step == _COUNTED[0]]

    @property
    def network_bytes(self) -> int:
        """Bytes that the training takes beside the data."""
        return self._step.parameters + self._step.activations

    @property
    def fits(self) -> bool:
        """Whether the network fits in the GPU's memory; examples need not."""
        return self.network_bytes <= self.gpu.memory_bytes

    @cached_property
    def _sending(self) -> tuple[float, bool]:
        """Seconds in which all examples get to the GPU, and whether they may stay there."""
        examples = self.work.rows * self.work.layer_sizes[0] * self.work.word
        room = EXAMPLES * (self.gpu.memory_bytes - self.network_bytes)
        return examples / min(self.k.pageable, self.gpu.host_rate), examples <= room

    def prediction(self) -> Prediction:
        """Of the step, and of what goes before the first one and between epochs."""
        parts = dict.fromkeys(("arithmetic", "cache", "memory", "nodes", "transfer"), 0.0)
        for _, node in self._chain:
            parts["nodes"] += node.start / len(_COUNTED)
            parts[node.bound] += node.parts[node.bound] / len(_COUNTED)
        sending, kept = self._sending
        if not kept:  # in every epoch, beside the steps
            own = sending * self.work.batch_size / self.work.rows
            parts["transfer"] = max(0.0, own - sum(parts.values()))
        before = (
            self.k.context + (0.0 if self.gpu.compiled else self.k.compiling) + (sending if kept else 0.0)
        )
        peak = self.gpu.peak(self.precision)
        moved = sum(node.bytes for _, node in self._chain) / len(_COUNTED)
        return Prediction(self.work, self.plan, parts, peak, moved, self.k.epoch, before)

    @cached_property
    def _held(self) -> float:
        """Share of what a step goes through that stays in the second-level cache from node to node."""
        room = self.k.room * self.gpu.l2_bytes
        return min(1.0, (room / self.network_bytes) ** 2)

    def _node(self, node: NodeWork) -> NodeTime:
        gpu, narrow = self.gpu, self._step.narrow
        most = -(-node.blocks // gpu.multiprocessors)
        finishing = self.k.finish * node.finished / gpu.fma["float64" if self._step.wide == 8 else "float32"]
        written = self._written(node)
        once = (narrow * node.operands + written) * (1 - self._held) + self.work.word * node.fetched
        moved = narrow * node.blocks * node.terms * (node.rows + node.columns) + written
        parts = {
            "arithmetic": (self._sums(node, most) + most * finishing) / gpu.clock,
            "cache": moved / gpu.l2_rate,
            "memory": once / (self.k.stream * gpu.memory_rate),
        }
        return NodeTime(node.kernel, self.k.gap + 2 * self.k.near / gpu.clock, parts, moved)

    def _sums(self, node: NodeWork, most: int) -> float:
        """Clocks of the sums of a multiprocessor's `most` blocks."""
        fma, tile = self.gpu.fma[self.precision], node.rows * node.columns
        if node.kernel.startswith("head"):
            # a sum, or a part of it, a thread; then the delta below, a term an output
            chains = -(-node.terms // node.parts) * max(self.k.chain, most * node.parts * tile / fma)
            return chains + most * node.finished * node.columns / fma
        if node.kernel == "losses":  # one thread's sum
            return node.terms * self.k.chain_of_losses
        if not tile:
            return 0.0
        if self._naive:
            shared = self.k.naive * tile / self.k.shared * self._step.wide / 4
            return node.terms * (most * max(tile / fma, shared) + self.k.near / node.rows)
        each = self.k.matrix_staging if self.precision in REDUCED else self.k.staging
        staged = each * (node.rows + node.columns) * self._step.narrow / 4
        return node.terms * max(most * (tile / fma + staged), self.k.chain)

    def _written(self, node: NodeWork) -> float:
        """Bytes of the results, of the parts of sums that blocks hand on and fetch, and of what is updated."""
        wide, narrow = self._step.wide, self._step.narrow
        updated = 2 * wide * STREAMS[self.work.formula] + (narrow if narrow < wide else 0)
        cut = node.parts > 1 and not node.kernel.startswith("head")
        joined = 2 * wide * node.blocks * node.rows * node.columns if cut else 0
        return narrow * node.results + updated * node.updated + joined
