"""The nodes of a step on a GPU: what each computes and moves, and how long it takes alone.

python benchmarks/gpu_nodes.py          the table of docs/cuda.md, of the nodes that an emulated GPU would be given
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from gpu_ours import Engine

from schuss.cuda.arguments import NUMBERS, LayerArguments, State
from schuss.cuda.graph import nodes_of_steps
from schuss.cuda.handles import Node
from schuss.study.work import Work, named

#: Steps whose minibatches there are while nodes are timed.
STEPS = 4
#: For the floors of the table, of NVIDIA's data sheet of the H200 SXM, dense: FLOP/s, and the memory's bytes/s. What
#: gpu.py prints stands beside rates that it measures.
SHEET = {"float32": 67e12, "tf32": 494.5e12, "bfloat16": 989.5e12}
MEMORY = 4.8e12


@dataclass(frozen=True)
class Account:
    """What a node is, rows of a block's tile, its operations, and the bytes that it must move, each operand once."""

    name: str
    tile: int
    blocks: int
    flops: float
    bytes: float


def account(node: Node, layers: Sequence[LayerArguments], precision: str, batch: int) -> Account:
    """Of a node for whole minibatches of `batch` examples; `layers` are the network's."""
    p, kernel = node.args, node.kernel.name
    wide, narrow = (kind.itemsize for kind in NUMBERS[precision][1:])
    name, flops, moved = kernel, 0.0, 0.0
    if kernel.startswith(("forward", "delta")):
        name = f"{kernel} {p.depth}-{p.columns}"
        flops = 2.0 * batch * p.depth * p.columns
        moved = narrow * (batch * (p.depth + p.columns) + p.depth * p.columns)
        moved += wide * batch * p.columns * (p.slope is not None)
        moved += narrow * batch * p.columns * (p.activated is not None)
    elif kernel.startswith("head"):
        name = f"{kernel} {p.inputs}-{p.outputs}"
        products = 1 + (p.below is not None)
        flops = 2.0 * products * batch * p.inputs * p.outputs
        moved = narrow * products * batch * p.inputs + wide * (p.inputs + 2 * batch) * p.outputs
    elif kernel.startswith("weights"):
        flops = sum(2.0 * batch * layer.inputs * layer.outputs for layer in layers)
        for layer in layers:
            slots = sum(address is not None for address in layer.w)
            copied = narrow * (layer.copy is not None)
            moved += narrow * batch * (layer.inputs + layer.outputs)
            moved += (layer.inputs + 1) * layer.outputs * (2 * wide * slots + copied)
    elif kernel == "gather":
        name, moved = f"{kernel} {p.features}", batch * (p.features * (4 + narrow) + p.outputs * wide + 16)
    elif kernel == "output":
        moved = wide * batch * 3 * p.outputs + narrow * batch * p.outputs
    elif kernel == "losses":
        moved = 16.0 * batch
    elif kernel == "apply":  # parameters and state, the gradient
        moved = sum(
            (layer.inputs + 1) * layer.outputs * wide * (1 + 2 * sum(a is not None for a in layer.w))
            for layer in layers
        )
    return Account(name, node.kernel.rows, node.grid[0] * node.grid[1], flops, moved)


class Step:
    """The nodes of one step, and what they compute with."""

    def __init__(self, work: Work, X: Any, y: Any, plan: str, precision: str) -> None:
        self.engine = Engine(work.with_steps(STEPS), X, y, work.start(), plan, precision)
        inner: Any = self.engine.engine
        memory, self.control = inner._training_memory(work.batch), inner._control_for(STEPS)
        self.device = inner.device
        self.nodes = nodes_of_steps(inner._nodes, memory, self.control, 1)
        layers = inner._nodes.layer_arguments(memory)
        self.accounts = [account(node, layers, precision, work.batch) for node in self.nodes]

    def begin(self) -> None:
        """Stand before the first step, of whose minibatch everything has been computed once."""
        state = State(0, 0, STEPS)
        self.device.write(self.control.buffer.address, np.frombuffer(bytes(state), np.uint8))

    def seconds(self, node: Node, at_least: float) -> float:
        """Of the node alone, launched again and again by one graph; the median of several."""
        copies = 2
        while True:  # until one graph takes a while, so that its own start counts for nothing
            graph = self.device.graph(
                [Node(node.kernel, node.grid, node.args, (i - 1,) * (i > 0)) for i in range(copies)]
            )
            found, end = [], time.perf_counter() + at_least
            while not found or time.perf_counter() < end:
                self.begin()
                self.device.synchronize()
                began = time.perf_counter()
                graph.launch()
                self.device.synchronize()
                found.append(time.perf_counter() - began)
            if median(found) >= at_least / 4 or copies >= 2048:
                return median(found) / copies
            copies *= 4


def measure(work: Work, X: Any, y: Any, plan: str, precision: str, at_least: float) -> dict[str, Any]:
    """Microseconds of each node alone, with its account, and of a whole step."""
    step = Step(work, X, y, plan, precision)
    order = np.arange(step.engine.work.rows)
    step.engine.epoch(order)  # what the nodes read is there now
    found = []
    for node, of in zip(step.nodes, step.accounts, strict=True):
        if node.kernel.name != "advance":  # launched again, it would move beyond the data
            us = step.seconds(node, at_least) * 1e6
            found.append(
                {"name": of.name, "blocks": of.blocks, "flops": of.flops, "bytes": of.bytes, "us": us}
            )
    return {"nodes": found}


def table(batches: Sequence[int] = (128, 4096)) -> str:
    """Markdown: the nodes of a step of 784-1024-1024-10, and the least that they take on an H200."""
    head = ["batch", "node", "tile", "blocks", "MFLOP", "MB", *(f"{p}, us" for p in SHEET), "measured"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for batch in batches:
        work = named("net-2h", batch=batch)
        X, y = work.with_steps(STEPS).data()
        made = [accounts(work, X, y, precision) for precision in SHEET]
        for alike in zip(*made, strict=True):
            if alike[0].name != "advance":
                cells = [
                    f"{batch:,}",
                    re.sub("_(small|medium|large|tall)", "", alike[0].name),
                    several([of.tile if of.flops else "" for of in alike]),
                    several([of.blocks for of in alike]),
                    f"{alike[0].flops / 1e6:,.0f}",
                    several([f"{of.bytes / 1e6:.3g}" for of in alike]),
                    *(floor(of, rate) for of, rate in zip(alike, SHEET.values(), strict=True)),
                    "not yet",
                ]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def accounts(work: Work, X: Any, y: Any, precision: str) -> list[Account]:
    """Of a step's nodes, whose engine gives its memory back."""
    return Step(work, X, y, "cuda", precision).accounts


def several(values: Sequence[Any]) -> str:
    """One where they are all the same."""
    return ", ".join(map(str, values if len(set(values)) > 1 else values[:1]))


def floor(of: Account, rate: float) -> str:
    """Microseconds of the larger of the two, and which."""
    by_flops, by_bytes = of.flops / rate * 1e6, of.bytes / MEMORY * 1e6
    return f"{by_flops:.2f} F" if by_flops > by_bytes else f"{by_bytes:.2f} B"


if __name__ == "__main__":
    import gpu_emulation

    gpu_emulation.use()
    print(table())
