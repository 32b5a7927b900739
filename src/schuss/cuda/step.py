"""The nodes of a gradient step on a GPU: which kernels, on what, in which order.

A step of a network with L layers is, with up to 16 outputs and no clipping, 2 L - 1 nodes that wait for one another:
forward 1 to L - 1, head, delta L - 2 to 1, weights. Beside them run the gathering of the next minibatch and the sum of
the losses. `docs/cuda.md` draws it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from ..activations import ACTIVATIONS
from . import arguments as args
from .handles import Buffer, Kernel, Node
from .layout import Layout, stride
from .settings import Settings
from .tiling import parts, shape, tiles

__all__ = ["Memory", "StepNodes"]

#: Examples from which a block of the head takes 16 rows, which share what it fetches, instead of 2.
_TALL = 1024


def _n_squares(inputs: int, outputs: int) -> int:
    """Parts of one layer's ||W||^2: 64 inputs by 8 outputs each, as the CPU takes them."""
    return -(-inputs // 64) * -(-outputs // 8)


@dataclass
class Memory:
    """What lies on the device for minibatches of up to `capacity` examples, by name."""

    capacity: int
    buffers: dict[str, Buffer] = field(default_factory=dict)

    def __getitem__(self, name: str) -> int | None:
        buffer = self.buffers.get(name)
        return None if buffer is None else buffer.address


class StepNodes:
    """Makes the nodes of a step for one engine's memory.

    Parameters
    ----------
    settings : Settings
    module : Module
        The program, from which the kernels come.
    parameters : list of int
        Addresses of the parameters and of the optimizer's state, each laid out by :class:`Layout`.
    copy : int or None
        Address of the weights as the products read them, where these are of another type.
    """

    def __init__(self, settings: Settings, module: Any, parameters: Sequence[int], copy: int | None) -> None:
        self.settings, self.module, self.layout = settings, module, Layout(settings.layer_sizes)
        _, wide, narrow = args.NUMBERS[settings.precision]
        self._wide, self._narrow = wide.itemsize, narrow.itemsize
        self._parameters, self._copy = list(parameters), copy
        kind, self._parameter, levels, smoothing, _, _ = settings.loss.native(
            settings.layer_sizes[-1], 1.0, 1.0
        )
        self._loss = kind
        self.levels = np.zeros(stride(settings.layer_sizes[-1]), wide)
        self.levels[: len(levels)] = levels
        shared = settings.activations[-1] == "softmax"
        off = wide.type(smoothing / (max(settings.layer_sizes[-1], 2) if shared else 2))
        self._off, self._on = float(off), float(wide.type(1 - smoothing) + off)
        number, self._momentum, self._beta2, self._epsilon, self.alpha, _, self._clip = (
            settings.optimizer.native
        )
        self._formula = number

    def forget_state(self) -> None:
        """The optimizer's state is gone: no step can be taken any more, only passes."""
        del self._parameters[1:]

    # ---- memory

    def sizes(self, capacity: int, *, gradient: bool) -> dict[str, int]:
        """Bytes of each buffer for minibatches of up to `capacity` examples; `gradient`: also of what a gradient in
        memory takes."""
        n, wide, narrow = self.settings, self._wide, self._narrow
        strides = [stride(width) for width in n.layer_sizes]
        outputs = strides[-1]
        sizes = {
            "a0": 2 * capacity * strides[0] * narrow, "y": 2 * capacity * outputs * wide,
            "example_weights": 2 * capacity * 8, "losses": 2 * capacity * 8, "out": capacity * outputs * wide,
            "levels": outputs * wide, "norm": 8,
        }  # fmt: skip
        for layer in range(1, n.layers + 1):
            sizes[f"delta{layer}"] = capacity * strides[layer] * narrow
            if layer < n.layers:
                sizes[f"a{layer}"] = capacity * strides[layer] * narrow
            if n.keeps_slope(layer):
                sizes[f"slope{layer}"] = capacity * strides[layer] * wide
        if gradient:
            sizes["gradient"] = self.layout.size * wide
            sizes["squares"] = self.gradient_rows * 8
        if self.alpha > 0:
            sizes["penalties"] = self.n_penalties * 8
        partial, tickets = self._partials(capacity)
        return {
            **sizes,
            "partial": partial,
            "tickets": tickets,
            "layers": ctypes.sizeof(args.LayerArguments) * n.layers,
        }

    def _partials(self, capacity: int) -> tuple[int, int]:
        """Bytes for the parts of sums, and for the tickets of their tiles; one node uses them at a time."""
        most = blocks = 0
        for kernel, across, n in [
            *map(self._product_grid, self._products(capacity)),
            self._weights_grid(capacity),
        ]:
            if n > 1:
                values = kernel.rows * kernel.columns + kernel.threads
                most, blocks = max(most, across * n * values), max(blocks, across)
        return most * self._wide, blocks * 4

    @property
    def gradient_rows(self) -> int:
        return sum(self.settings.layer_sizes[:-1]) + self.settings.layers

    @property
    def n_penalties(self) -> int:
        """Parts of ||W||^2."""
        return sum(_n_squares(*layer) for layer in pairwise(self.settings.layer_sizes))

    # ---- products

    def _products(self, capacity: int) -> list[tuple[str, int, int, int]]:
        """Kernel, rows, columns and terms of each forward and delta product."""
        n, sizes = self.settings, self.settings.layer_sizes
        last = n.layers if n.wide else n.layers - 1
        forward = [("forward", capacity, sizes[layer], sizes[layer - 1]) for layer in range(1, last + 1)]
        below = n.layers - 1 if n.wide else n.layers - 2
        delta = [("delta", capacity, sizes[layer], sizes[layer + 1]) for layer in range(1, below + 1)]
        return forward + delta

    def _product_grid(self, product: tuple[str, int, int, int]) -> tuple[Kernel, int, int]:
        """Kernel, tiles, and parts of each."""
        name, rows, columns, terms = product
        kernel = shape(name, self.module, [(rows, columns)], terms, self.settings.cut, self.settings.naive)
        blocks = tiles(rows, columns, kernel)
        return kernel, blocks, parts(kernel, blocks, terms, self.settings.cut)

    def _weights_results(self) -> list[tuple[int, int]]:
        return list(pairwise(self.settings.layer_sizes))

    def _weights_grid(self, capacity: int) -> tuple[Kernel, int, int]:
        """Kernel, tiles of all layers, and parts of each."""
        results = self._weights_results()
        kernel = shape("weights", self.module, results, capacity, self.settings.cut, self.settings.naive)
        blocks = sum(tiles(*result, kernel) for result in results)
        return kernel, blocks, parts(kernel, blocks, capacity, self.settings.cut)

    def layer_arguments(self, memory: Memory) -> ctypes.Array[args.LayerArguments]:
        """What the weights kernel reads of each layer."""
        kernel, _, n_parts = self._weights_grid(memory.capacity)
        sizes = self.settings.layer_sizes
        table = (args.LayerArguments * self.settings.layers)()
        block = row = tile = 0
        penalty = self.n_penalties  # of the last layer first, as the CPU adds them
        for index, (entry, offset) in enumerate(zip(table, self.layout.offsets, strict=True)):
            inputs, outputs, layer = sizes[index], sizes[index + 1], index + 1
            entry.a, entry.delta = memory[f"a{index}"], memory[f"delta{layer}"]
            for slot, address in enumerate(self._parameters):
                entry.w[slot] = address + offset * self._wide
            entry.copy = None if self._copy is None else self._copy + offset * self._narrow
            if "gradient" in memory.buffers:
                entry.gradient = memory.buffers["gradient"].address + offset * self._wide
                entry.squares = memory.buffers["squares"].address + row * 8
            penalty -= _n_squares(inputs, outputs)
            if "penalties" in memory.buffers:
                entry.penalties = memory.buffers["penalties"].address + penalty * 8
            n_tiles = tiles(inputs, outputs, kernel)
            part_bytes = n_parts * (kernel.rows * kernel.columns + kernel.threads) * self._wide
            entry.partial = memory.buffers["partial"].address + tile * part_bytes
            entry.tickets = memory.buffers["tickets"].address + tile * 4
            entry.a_half = memory.capacity * stride(inputs) if index == 0 else 0
            entry.inputs, entry.outputs = inputs, outputs
            entry.stride, entry.a_stride = stride(outputs), stride(inputs)
            entry.parts, entry.tiles_across = n_parts, -(-outputs // kernel.columns)
            entry.first_block, entry.first_row = block, row
            block, row, tile = block + n_tiles * n_parts, row + inputs + 1, tile + n_tiles
        return table

    # ---- nodes

    def gather(self, memory: Memory, at: args.Moment, source: int) -> Node:
        """The minibatch of the moment: features, targets, weights."""
        sizes = self.settings.layer_sizes
        arguments = args.GatherArguments(
            at, source, memory["a0"], memory["y"], memory["example_weights"], self._on, self._off,
            sizes[0], stride(sizes[0]), sizes[-1], stride(sizes[-1]), memory.capacity,
        )  # fmt: skip
        return Node(self.module.kernel("gather"), (memory.capacity, 1), arguments)

    def _product(
        self,
        memory: Memory,
        at: args.Moment,
        product: tuple[str, int, int, int],
        read: int,
        layer: int,
        **rest: Any,
    ) -> Node:
        """A product with the weights of layer `layer` that reads the rows of layer `read`."""
        kernel, blocks, n_parts = self._product_grid(product)
        name, _, columns, depth = product
        offset, sizes = self.layout.offsets[layer - 1], self.settings.layer_sizes
        weights = (
            self._parameters[0] + offset * self._wide
            if self._copy is None
            else self._copy + offset * self._narrow
        )
        arguments = args.ProductArguments(
            at=at, w=weights, partial=memory["partial"], tickets=memory["tickets"], columns=columns, depth=depth,
            a_stride=stride(sizes[read]), w_stride=stride(sizes[layer]), out_stride=stride(columns),
            a_half=memory.capacity * stride(sizes[0]) if name == "forward" and read == 0 else 0, **rest,
        )  # fmt: skip
        return Node(kernel, (blocks, n_parts), arguments)

    def _bias(self, layer: int) -> int:
        sizes = self.settings.layer_sizes
        rows = self.layout.offsets[layer - 1] + sizes[layer - 1] * stride(sizes[layer])
        return int(self._parameters[0] + rows * self._wide)

    def forward(self, memory: Memory, at: args.Moment, *, learn: bool) -> list[Node]:
        """Hidden layers in turn, and z of a wide output layer."""
        n, nodes = self.settings, list[Node]()
        for product in self._products(memory.capacity):
            if product[0] != "forward":
                continue
            layer = len(nodes) + 1
            plain, rate = layer == n.layers, n.rate(layer) if learn else 0.0
            rest: dict[str, Any] = {}
            if rate > 0:
                rest = {
                    "threshold": min(round(rate * 2**32), 2**32 - 1), "keep_scale": 1 / (1 - rate),
                    "seed": (n.seed * 0xD1342543DE82EF95 + (layer << 48)) % 2**64,
                }  # fmt: skip
            nodes.append(
                self._product(
                    memory, at, product, layer - 1, layer, a=memory[f"a{layer - 1}"], bias=self._bias(layer),
                    out=memory["out"] if plain else memory[f"a{layer}"], plain=int(plain),
                    slope=memory[f"slope{layer}"] if learn else None,
                    activation=ACTIVATIONS["identity" if plain else n.activations[layer - 1]], **rest,
                )
            )  # fmt: skip
        return nodes

    def outputs(self, memory: Memory, at: args.Moment, *, known: bool, learn: bool) -> list[Node]:
        """Output activations; the losses where the targets are `known`; where it is to `learn` the deltas of the output
        layer, and with few outputs those of the last hidden layer too."""
        n, sizes = self.settings, self.settings.layer_sizes
        shared: dict[str, Any] = {
            "at": at, "y": memory["y"] if known else None, "example_weights": memory["example_weights"],
            "delta": memory[f"delta{n.layers}"] if learn else None, "losses": memory["losses"],
            "levels": memory["levels"], "parameter": self._parameter, "cap": n.loss_cap, "loss": self._loss,
            "output": ACTIVATIONS[n.activations[-1]], "outputs": sizes[-1], "y_stride": stride(sizes[-1]),
            "capacity": memory.capacity,
        }  # fmt: skip
        if n.wide:
            kernel = self.module.kernel("output")
            return [
                Node(
                    kernel,
                    (-(-memory.capacity // kernel.rows), 1),
                    args.OutputArguments(z=memory["out"], **shared),
                )
            ]
        tall = memory.capacity >= _TALL
        kernel, hidden = self.module.kernel("head_tall" if tall else "head"), n.layers - 1
        offset = self.layout.offsets[-1] * self._wide
        below: dict[str, Any] = {}
        if hidden > 0 and learn:
            below = {
                "below": memory[f"delta{hidden}"], "slope": memory[f"slope{hidden}"],
                "activation": ACTIVATIONS[n.activations[hidden - 1]], "below_stride": stride(sizes[hidden]),
            }  # fmt: skip
        arguments = args.HeadArguments(
            a=memory[f"a{hidden}"], w=self._parameters[0] + offset, bias=self._bias(n.layers),
            out=None if learn else memory["out"], a_half=memory.capacity * stride(sizes[0]) if hidden == 0 else 0,
            inputs=sizes[-2], a_stride=stride(sizes[-2]), **shared, **below,
        )  # fmt: skip
        return [Node(kernel, (-(-memory.capacity // kernel.rows), 1), arguments)]

    def deltas(self, memory: Memory, at: args.Moment) -> list[Node]:
        """Deltas of the hidden layers, from the last that has none yet to the first."""
        nodes = []
        products = [product for product in self._products(memory.capacity) if product[0] == "delta"]
        for layer, product in reversed(list(enumerate(products, start=1))):
            node = self._product(
                memory, at, product, layer + 1, layer + 1, a=memory[f"delta{layer + 1}"], out=memory[f"delta{layer}"],
                slope=memory[f"slope{layer}"], activated=memory[f"a{layer}"],
                activation=ACTIVATIONS[self.settings.activations[layer - 1]],
            )  # fmt: skip
            nodes.append(node)
        return nodes

    @property
    def losses_decide(self) -> bool:
        """Whether a mean loss can be infinite although no example's loss and no part of ||W||^2 is, which stop a step
        themselves: the update must wait for it then."""
        return self._wide == 8

    def losses(self, memory: Memory, at: args.Moment, out: int) -> Node:
        """The step's mean loss."""
        n = self.settings
        arguments = args.LossesArguments(
            at, memory["losses"], memory["example_weights"], memory["penalties"], out, n.loss_scale, self.alpha,
            self.n_penalties if self.alpha > 0 else 0, memory.capacity, int(self.losses_decide),
        )  # fmt: skip
        return Node(self.module.kernel("losses"), (1, 1), arguments)

    def _update(self, memory: Memory, at: args.Moment, **rest: Any) -> args.UpdateArguments:
        return args.UpdateArguments(
            at=at, layers=memory["layers"], squares=memory["squares"], momentum=self._momentum, beta2=self._beta2,
            epsilon=self._epsilon, clip_norm=self._clip, rows=self.gradient_rows, n_layers=self.settings.layers,
            optimizer=self._formula, **rest,
        )  # fmt: skip

    def weights(self, memory: Memory, at: args.Moment, *, keep: bool = False, go_on: bool = False) -> Node:
        """All layers' weight gradients: applied in place, or kept in memory; with `go_on` the sums begin with
        those that are there."""
        kernel, blocks, n_parts = self._weights_grid(memory.capacity)
        arguments = self._update(memory, at, keep_gradient=int(keep), go_on=int(go_on))
        return Node(kernel, (blocks * n_parts, 1), arguments)

    def apply(self, memory: Memory, at: args.Moment, *, clip: bool) -> Node:
        """The update from the gradient in memory; with `clip` shortened by its norm."""
        kernel = self.module.kernel("apply")
        arguments = self._update(memory, at, norm=memory["norm"] if clip else None)
        return Node(kernel, (-(-self.gradient_rows // kernel.rows), 1), arguments)

    def clipped(self, memory: Memory, at: args.Moment) -> list[Node]:
        """Gradient into memory, its norm, the update."""
        rows, norm = self.module.kernel("row_squares"), self.module.kernel("clip_norm")
        return [
            self.weights(memory, at, keep=True),
            Node(rows, (-(-self.gradient_rows // rows.rows), 1), self._update(memory, at)),
            Node(norm, (1, 1), self._update(memory, at, norm=memory["norm"])),
            self.apply(memory, at, clip=True),
        ]

    def penalties(self, memory: Memory, at: args.Moment) -> Node:
        """Parts of ||W||^2 after the update of this moment, for the next loss with alpha."""
        kernel = self.module.kernel("penalties")
        blocks = sum(tiles(*result, kernel) for result in self._weights_results())
        return Node(kernel, (blocks, 1), self._update(memory, at))

    def find_infinite(self, memory: Memory) -> Node:
        """Sets the norm to 1 where a parameter is not finite."""
        kernel = self.module.kernel("find_infinite")
        arguments = self._update(memory, args.Moment(), norm=memory["norm"])
        return Node(kernel, (-(-self.gradient_rows // kernel.rows), 1), arguments)

    def advance(self, state: int, steps: int) -> Node:
        """The state's count of steps moves on."""
        return Node(self.module.kernel("advance"), (1, 1), args.AdvanceArguments(state, steps))

    def updates(self, memory: Memory, at: args.Moment) -> list[Node]:
        """Gradient and update: in one node where neither the gradient's norm nor the program speaks against it."""
        if self.clips:
            return self.clipped(memory, at)
        if self.settings.naive:
            return [self.weights(memory, at, keep=True), self.apply(memory, at, clip=False)]
        return [self.weights(memory, at)]

    @property
    def keeps_gradient(self) -> bool:
        """Whether a step writes its gradient to memory."""
        return self.clips or self.settings.naive

    @property
    def clips(self) -> bool:
        return self._clip < float("inf")
