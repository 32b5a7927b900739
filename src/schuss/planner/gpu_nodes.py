"""The nodes of a step on a GPU, as the engine makes them, counted without one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from ..cuda import arguments as args
from ..cuda.graph import nodes_of_steps
from ..cuda.handles import Kernel, Node
from ..cuda.settings import Settings
from ..cuda.step import Memory, StepNodes
from ..cuda.tiling import tiles
from ..losses import as_loss
from ..optimizers import Optimizer
from ..plan import REDUCED
from .account import STREAMS, Workload

__all__ = ["HEAD_PARTS", "NodeWork", "StepWork", "shapes"]

#: Rows, columns and threads of a block of the kernels that a step waits for, by the end of their names: what their
#: sources state and only compiled programs tell. A test compares.
_SHAPES = {
    "small": (32, 32, 128), "medium": (64, 64, 256), "large": (128, 128, 256), "head": (2, 16, 256),
    "tall": (16, 16, 256), "output": (16, 0, 256), "gather": (1, 0, 128), "losses": (0, 0, 128),
    "apply": (16, 0, 256), "advance": (0, 0, 1),
}  # fmt: skip
_IN_FLOAT64 = {"large": (64, 64, 256)}
_IN_MATRIX_UNITS = {"medium": (64, 64, 128), "large": (128, 128, 128)}
_NAIVE = (32, 32, 1024)
#: Parts of the head's sums where they may be cut (kernels/numbers.cuh), and a block has a thread for each.
HEAD_PARTS = 8

_OPTIMIZERS = {
    "sgd": Optimizer(), "momentum": Optimizer(momentum=0.9), "nesterov": Optimizer(momentum=0.9, nesterov=True),
    "adam": Optimizer(solver="adam"),
}  # fmt: skip


def shapes(precision: str) -> dict[str, tuple[int, int, int]]:
    """Rows, columns and threads by the end of a kernel's name."""
    if precision in REDUCED:
        return _SHAPES | _IN_MATRIX_UNITS
    return _SHAPES | (_IN_FLOAT64 if precision == "float64" else {})


@dataclass(frozen=True)
class NodeWork:
    """What a node computes, and for which it waits.

    Attributes
    ----------
    kernel : str
    step : int
        Of the steps of the graph.
    after : tuple of int
        Nodes of the graph that must have finished.
    blocks : int
    rows, columns : int
        Of a block's tile of the result.
    terms : int
        That a block adds to each of its sums.
    parts : int
        Blocks that share a tile; in the head, threads that share a sum.
    finished : int
        Numbers of a block that something follows: an activation, a slope, an update.
    results, operands : int
        Numbers that the node gives, and that it computes them from, each counted once.
    updated : int
        Parameters that it updates in place.
    fetched : int
        Numbers that it reads from wherever the examples lie.
    """

    kernel: str
    step: int
    after: tuple[int, ...]
    blocks: int
    rows: int = 0
    columns: int = 0
    terms: int = 0
    parts: int = 1
    finished: int = 0
    results: int = 0
    operands: int = 0
    updated: int = 0
    fetched: int = 0


class _Shapes:
    """Stands in for a compiled program: kernels with their shapes alone."""

    def __init__(self, precision: str, naive: bool) -> None:
        self._shapes, self._naive = shapes(precision), naive

    def kernel(self, name: str) -> Kernel:
        """As of a compiled program."""
        tiled = name.startswith(("forward", "delta", "weights"))
        rows, columns, threads = _NAIVE if self._naive and tiled else self._shapes[name.rpartition("_")[2]]
        return Kernel(name, threads, 0, rows, columns, None)


class _NoControl:
    """Stands in for what host and device exchange."""

    source = losses = 0
    buffer = SimpleNamespace(address=0)

    def moment(self, ahead: int) -> args.Moment:
        """Of no step in particular."""
        return args.Moment(None, None, ahead)


class StepWork:
    """The nodes of a workload's steps.

    Parameters
    ----------
    work : Workload
    precision : str
        Of the GPU's arithmetic.
    naive : bool, default False
        Of plan `cuda-naive`.

    Attributes
    ----------
    parameters : int
        Bytes of the weights, of the optimizer's state, and of copies.
    activations : int
        Bytes of what a minibatch takes beside them.
    wide, narrow : int
        Bytes of a number that is summed, and of one that is multiplied.
    """

    def __init__(self, work: Workload, precision: str, naive: bool = False) -> None:
        layers = len(work.layer_sizes) - 1
        self._settings = Settings(
            work.layer_sizes, (work.activation,) * (layers - 1) + ("identity",), as_loss("squared_error"),
            _OPTIMIZERS[work.formula], precision, naive=naive,
        )  # fmt: skip
        _, wide, narrow = args.NUMBERS[precision]
        self.wide, self.narrow = int(wide.itemsize), int(narrow.itemsize)
        slots, copy = STREAMS[work.formula], narrow != wide
        self._make = StepNodes(self._settings, _Shapes(precision, naive), [0] * slots, 0 if copy else None)
        self._work = work
        self.parameters: int = self._make.layout.size * (self.wide * slots + (self.narrow if copy else 0))
        self.activations = sum(self._make.sizes(work.batch_size, gradient=self._make.keeps_gradient).values())

    def graph(self, steps: int) -> list[NodeWork]:
        """The nodes of so many steps, as the engine makes them."""
        control: Any = _NoControl()
        step = -1
        found = []
        for node in nodes_of_steps(self._make, Memory(self._work.batch_size), control, steps):
            step += node.kernel.name == "gather"  # with which each begins
            found.append(NodeWork(node.kernel.name, step, node.after, **dict(self._counted(node))))
        return found

    def _counted(self, node: Node) -> Iterator[tuple[str, int]]:
        """The numbers of a NodeWork."""
        given, tile = node.args, node.kernel.rows * node.kernel.columns
        sizes, batch, blocks = self._work.layer_sizes, self._work.batch_size, node.grid[0] * node.grid[1]
        yield from {"blocks": blocks, "rows": node.kernel.rows, "columns": node.kernel.columns}.items()
        if isinstance(given, args.ProductArguments):
            parts = node.grid[1]
            yield from {"parts": parts, "terms": -(-given.depth // parts), "finished": tile}.items()
            yield "results", batch * given.columns
            yield "operands", (batch + given.columns) * given.depth
        elif isinstance(given, args.UpdateArguments):
            pairs = list(pairwise(sizes))
            weights = sum(a * b for a, b in pairs)
            if node.kernel.name == "apply":
                yield from {
                    "finished": -(-weights // blocks),
                    "operands": weights,
                    "updated": weights,
                }.items()
                return
            parts = blocks // sum(tiles(*pair, node.kernel) for pair in pairs)
            yield from {"parts": parts, "terms": -(-batch // parts), "finished": tile}.items()
            yield "operands", batch * sum(a + b for a, b in pairs)
            yield "results" if given.keep_gradient else "updated", weights
        elif isinstance(given, args.HeadArguments):
            below = given.inputs if len(sizes) > 2 else given.outputs
            parts = HEAD_PARTS if self._settings.cut and HEAD_PARTS * tile <= node.kernel.threads else 1
            yield from {"parts": parts, "terms": given.inputs, "finished": node.kernel.rows * below}.items()
            yield "results", batch * below
            yield "operands", (batch + given.outputs) * given.inputs
        elif isinstance(given, args.OutputArguments):
            yield from {"finished": node.kernel.rows * sizes[-1], "results": batch * sizes[-1]}.items()
            yield "operands", batch * sizes[-1]
        elif isinstance(given, args.GatherArguments):
            yield from {
                "finished": sizes[0],
                "results": batch * sizes[0],
                "fetched": batch * sizes[0],
            }.items()
        elif isinstance(given, args.LossesArguments):
            yield from {"terms": batch, "operands": batch}.items()
