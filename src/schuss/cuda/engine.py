"""The CUDA engine: the engine contract on one GPU."""

from __future__ import annotations

import ctypes
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..losses import Loss, as_loss
from ..optimizers import Optimizer
from ..plan import Plan, flops_per_example, n_parameters
from . import arguments as args
from .arguments import NUMBERS, STEP_NUMBERS, Source, State, defines
from .data import Chunk, Feed
from .device import Device
from .handles import Buffer, Graph, Node
from .layout import Layout, to_bfloat16
from .step import Memory, Settings, StepNodes

__all__ = ["CudaEngine"]

Array = NDArray[Any]
Moment = Literal["epoch", "best"]

_PROGRAMS = {"cuda": "step.cu", "cuda-naive": "naive.cu"}
#: Steps of one graph at most, and operations: a graph that has begun cannot be stopped, and Ctrl-C is heard between
#: two of them. Graphs that are queued before the first is waited for.
_STEPS, _OPERATIONS, _QUEUED = 32, 1e11, 3
#: Rows of a block in passes without learning, and of a gradient.
_PASS_ROWS, _GRADIENT_ROWS = 4096, 8192


class _Control:
    """What host and device exchange about a call, in one piece of memory: state, losses, source, steps' numbers."""

    def __init__(self, device: Device, steps: int) -> None:
        self.steps = steps
        self.source_at = 64 + -(-steps * 8 // 64) * 64
        self.numbers_at = self.source_at + -(-ctypes.sizeof(Source) // 64) * 64
        self._host = np.zeros(self.numbers_at + steps * STEP_NUMBERS.itemsize, np.uint8)
        self.buffer = device.allocate(self._host.nbytes)
        self._device = device

    @property
    def losses(self) -> int:
        return self.buffer.address + 64

    @property
    def source(self) -> int:
        return self.buffer.address + self.source_at

    def moment(self, ahead: int) -> args.Moment:
        return args.Moment(self.buffer.address + self.numbers_at, self.buffer.address, ahead)

    def begin(self, numbers: Array, chunk: Chunk) -> None:
        """Write everything for a call whose first chunk this is."""
        self._host[64 : self.source_at].view(np.float64)[:] = np.nan
        self._put(0, State(0, 0, chunk.end))
        self._put(self.source_at, chunk.source)
        self._host[self.numbers_at :].view(STEP_NUMBERS)[: len(numbers)] = numbers
        self._device.write(self.buffer.address, self._host)

    def next(self, chunk: Chunk) -> None:
        """Write what another chunk changes."""
        self._device.write(self.source, np.frombuffer(bytes(chunk.source), np.uint8))
        self._device.write(self.buffer.address + State.n_steps.offset, np.array([chunk.end]))

    def end(self, steps: int) -> tuple[State, Array]:
        """State, and losses of the steps."""
        report = self._host[: 64 + 8 * steps]
        self._device.read(report, self.buffer.address)
        return State.from_buffer_copy(report.tobytes()), report[64:].view(np.float64).copy()

    def _put(self, at: int, structure: ctypes.Structure) -> None:
        self._host[at : at + ctypes.sizeof(structure)] = np.frombuffer(bytes(structure), np.uint8)


class CudaEngine:
    """One network's parameters and optimizer state on a GPU, and the graphs that train it.

    Parameters
    ----------
    layer_sizes, activations, loss, optimizer, scale, shift, dropout, seed, loss_scale, loss_cap
        As of :class:`schuss.engine.CpuEngine`.
    dtype : float32 or float64
        Of the parameters.
    plan : Plan
        Its kernels are cuda or cuda-naive. Its precision is what products multiply: float32 and float64 as they are,
        each sum one chain of fused multiply-adds in the CPU's order; tf32 and bfloat16 rounded, in the matrix units.
    device : Device
    """

    def __init__(
        self,
        layer_sizes: tuple[int, ...],
        activations: tuple[str, ...],
        loss: str | Loss,
        dtype: np.dtype[Any],
        plan: Plan,
        optimizer: Optimizer | None = None,
        scale: float = 1.0,
        shift: float = 0.0,
        *,
        device: Device,
        dropout: Sequence[float] = (),
        seed: int = 0,
        loss_scale: float = 1.0,
        loss_cap: float = math.inf,
    ) -> None:
        self.dtype, self.plan, self.device = np.dtype(dtype), plan, device
        self.outputs = layer_sizes[-1]
        self._optimizer = optimizer or Optimizer()
        self._settings = Settings(
            tuple(layer_sizes), tuple(activations), as_loss(loss), self._optimizer, plan.precision or self.dtype.name,
            tuple(dropout), seed, loss_scale, loss_cap,
        )  # fmt: skip
        self._layout, self._length = Layout(layer_sizes), n_parameters(layer_sizes)
        module = device.module(_PROGRAMS[plan.kernels], defines(self._settings.precision))
        self._slots = [self._zeros(self._layout.size * self.dtype.itemsize) for _ in range(self.slots)]
        narrow = NUMBERS[self._settings.precision][2]
        copied = narrow != self.dtype  # the products read another type than the optimizer updates
        self._copy = self._zeros(self._layout.size * narrow.itemsize) if copied else None
        self._nodes = StepNodes(
            self._settings,
            module,
            [slot.address for slot in self._slots],
            self._copy.address if self._copy else None,
        )
        self._feed = Feed(device, scale, shift)
        self._training: Memory | None = None
        self._passing: Memory | None = None
        self._control: _Control | None = None
        self._graphs: dict[int, Graph] = {}
        self._remembered: dict[Moment, list[Buffer]] = {}
        self._latest: Array | None = None  # the present parameters, where they have been fetched
        self._penalties_known = False
        self.steps_taken = 0

    def _zeros(self, nbytes: int) -> Buffer:
        buffer = self.device.allocate(nbytes)
        self.device.fill(buffer.address, nbytes, 0)
        return buffer

    # ---- parameters and state

    def forget_interrupts(self) -> None:
        """Nothing to forget: Python itself hears Ctrl-C while a GPU is waited for."""

    @property
    def slots(self) -> int:
        """Vectors of the parameters' length that training holds: the parameters, then the optimizer's state."""
        return 1 + {"sgd": 0, "adam": 2}.get(self._optimizer.formula, 1)

    def load(self, parameters: Array) -> None:
        """Take over the flat parameters."""
        self.load_slot(0, parameters)

    def store(self, out: Array) -> None:
        """Write the flat parameters."""
        self.store_slot(0, out)

    def load_slot(self, slot: int, flat: Array) -> None:
        """Take over the parameters (0) or a vector of the optimizer's state (1, 2)."""
        padded = self._layout.pad(np.asarray(flat, self.dtype))
        self.device.write(self._slots[slot].address, padded)
        if slot == 0:
            self._changed()
            if self._copy is not None:
                self.device.write(self._copy.address, to_bfloat16(padded))

    def store_slot(self, slot: int, out: Array) -> None:
        """Write the parameters (0) or a vector of the optimizer's state (1, 2)."""
        padded = np.empty(self._layout.size, self.dtype)
        self.device.read(padded, self._slots[slot].address)
        self._layout.unpad(padded, out)

    def fetch(self, moment: Moment | None = None) -> Array:
        """The flat parameters, the present or the remembered ones; nobody may write to them."""
        if moment is None and self._latest is not None:
            return self._latest
        padded = np.empty(self._layout.size, self.dtype)
        self.device.read(padded, (self._slots if moment is None else self._remembered[moment])[0].address)
        flat = np.empty(self._length, self.dtype)
        self._layout.unpad(padded, flat)
        flat.flags.writeable = False
        if moment is None:
            self._latest = flat
        return flat

    def _moving(self) -> list[Buffer]:
        """What an update changes of the parameters: they, and the copy that the products read."""
        return [self._slots[0]] if self._copy is None else [self._slots[0], self._copy]

    def remember(self, moment: Moment = "epoch") -> None:
        """Keep a copy of the parameters on the device."""
        if moment not in self._remembered:
            self._remembered[moment] = [self.device.allocate(buffer.nbytes) for buffer in self._moving()]
        for buffer, to in zip(self._moving(), self._remembered[moment], strict=True):
            self.device.copy(to.address, buffer.address, buffer.nbytes)

    def recall(self, moment: Moment = "epoch") -> None:
        """Take over the parameters remembered last for this moment."""
        for buffer, from_ in zip(self._moving(), self._remembered[moment], strict=True):
            self.device.copy(buffer.address, from_.address, buffer.nbytes)
        self._changed()

    def _changed(self) -> None:
        """Nothing that was derived from the parameters holds any more."""
        self._latest, self._penalties_known = None, False

    def parameters_finite(self) -> bool:
        """Whether all parameters are finite; the device looks."""
        memory = self._training or self._passing_memory(1)
        flag = memory.buffers["norm"]
        self.device.fill(flag.address, flag.nbytes, 0)
        self.device.launch(self._nodes.find_infinite(memory))
        found = np.empty(1)
        self.device.read(found, flag.address)
        return not found[0]

    def memory(self, batch_size: int) -> int:
        """Bytes on the device that training in minibatches of `batch_size` takes, beside the data."""
        buffers = [*self._slots, *([self._copy] if self._copy else [])]
        return sum(self._sizes(batch_size, self._nodes.clips).values()) + sum(
            buffer.nbytes for buffer in buffers
        )

    # ---- what there is of the plan

    @property
    def present(self) -> Plan:
        """The plan in use."""
        return self.plan

    @property
    def settling(self) -> bool:
        """False: a GPU's plan is not tried against others."""
        return False

    def records(self) -> list[tuple[Plan, int, float]]:
        """The plan, steps taken so, and the least seconds an example, which nobody measures here: infinity."""
        return [(self.plan, self.steps_taken, math.inf)]

    # ---- memory for a call

    def _sizes(self, capacity: int, gradient: bool) -> dict[str, int]:
        return self._nodes.sizes(capacity, gradient=gradient)

    def _new_memory(self, capacity: int, *, gradient: bool) -> Memory:
        memory = Memory(capacity)
        for name, nbytes in self._sizes(capacity, gradient).items():
            memory.buffers[name] = self._zeros(nbytes)
        self.device.write(memory.buffers["levels"].address, self._nodes.levels)
        table = np.frombuffer(bytes(self._nodes.layer_arguments(memory)), np.uint8)
        self.device.write(memory.buffers["layers"].address, table)
        return memory

    def _training_memory(self, capacity: int) -> Memory:
        if self._training is None or self._training.capacity != capacity:
            self._training, self._graphs = None, {}  # freed before the new is taken
            self._training = self._new_memory(capacity, gradient=self._nodes.clips)
            self._penalties_known = False
        return self._training

    def _passing_memory(self, capacity: int, *, gradient: bool = False) -> Memory:
        memory = self._passing
        if memory is None or memory.capacity < capacity or (gradient and memory["gradient"] is None):
            self._passing = None
            self._passing = memory = self._new_memory(capacity, gradient=gradient)
        return memory

    def _control_for(self, steps: int) -> _Control:
        if self._control is None or self._control.steps < steps:
            self._control, self._graphs = _Control(self.device, max(steps, 64)), {}
        return self._control

    # ---- training

    def hold(
        self, X: Any, y: Array | None = None, sample_weight: Array | None = None
    ) -> AbstractContextManager[None]:
        """Within it these arrays do not change: the device keeps them."""
        return self._feed.hold(X, y, sample_weight)

    def run(
        self,
        X: Any,
        y: Array,
        order: Array | None,
        batch_size: int,
        rates: Array,
        sample_weight: Array | None = None,
    ) -> tuple[Array, bool]:
        """Train on the rows `order` in minibatches of `batch_size`; see :meth:`schuss.engine.CpuEngine.run`."""
        rows = X.shape[0] if order is None else len(order)
        if rows == 0:
            return np.empty(0), True
        batch_size = min(batch_size, rows)
        memory, control = self._training_memory(batch_size), self._control_for(len(rates))
        numbers = self._numbers(rows, order, batch_size, rates, sample_weight)
        graphs: deque[Any] = deque()
        began = False
        try:
            for chunk in self._feed.chunks(X, y, sample_weight, order, batch_size):
                if began:
                    control.next(chunk)
                else:
                    control.begin(numbers, chunk)
                began = True
                self._queue_chunk(memory, control, chunk, graphs)
                chunk.used(self.device.mark())
        finally:
            self._latest = None
            state, losses = self._finish(control, len(rates)) if began else (State(), np.empty(0))
            done = state.stopped - 1 if state.stopped else state.step
            self.steps_taken += int(np.count_nonzero(numbers["total"][:done]))
        return (losses[: state.stopped], False) if state.stopped else (losses, True)

    def _finish(self, control: _Control, steps: int) -> tuple[State, Array]:
        """Wait for what is queued, whatever interrupts: its memory is in use until then."""
        interrupted: KeyboardInterrupt | None = None
        while True:
            try:
                report = control.end(steps)
                break
            except KeyboardInterrupt as error:
                interrupted = error
        if interrupted is not None:
            raise interrupted
        return report

    def _queue_chunk(self, memory: Memory, control: _Control, chunk: Chunk, graphs: deque[Any]) -> None:
        if self._nodes.alpha > 0 and not self._penalties_known:
            self.device.launch(self._nodes.penalties(memory, control.moment(0)))
            self._penalties_known = True
        self.device.launch(self._nodes.gather(memory, control.moment(0), control.source))
        together = self._steps_together(memory.capacity)
        left = chunk.end - chunk.begin
        while left > 0:
            steps = together if left >= together else 1
            self._graph(memory, control, steps).launch()
            graphs.append(self.device.mark())
            if len(graphs) > _QUEUED:
                graphs.popleft().wait()
            left -= steps

    def _steps_together(self, batch_size: int) -> int:
        operations = batch_size * flops_per_example(self._settings.layer_sizes)
        return int(min(_STEPS, max(1, _OPERATIONS // operations)))

    def _graph(self, memory: Memory, control: _Control, steps: int) -> Graph:
        if steps not in self._graphs:
            self._graphs[steps] = self.device.graph(self._graph_nodes(memory, control, steps))
        return self._graphs[steps]

    def _graph_nodes(self, memory: Memory, control: _Control, steps: int) -> list[Node]:
        """`steps` steps, each beside the gathering of the next one's minibatch; then the count of steps moves on.

        What two steps share waits: the weights and what they are computed from on the update, the halves that gathering
        fills on the update and the losses of the step before, the parts of ||W||^2 on the losses that read them.
        """
        make, nodes = self._nodes, list[Node]()

        def add(node: Node, *after: int) -> int:
            nodes.append(Node(node.kernel, node.grid, node.args, tuple(sorted({i for i in after if i >= 0}))))
            return len(nodes) - 1

        moved = gathered = summed = squared = -1  # the last node of each kind
        for ahead in range(steps):
            at = control.moment(ahead)
            next_gathered = add(make.gather(memory, control.moment(ahead + 1), control.source), moved, summed)
            last = -1
            for node in [
                *make.forward(memory, at, learn=True),
                *make.outputs(memory, at, known=True, learn=True),
            ]:
                last = add(node, *((moved, gathered) if last < 0 else (last,)))
            summed = add(make.losses(memory, at, control.losses), last, squared)
            for node in make.deltas(memory, at):
                last = add(node, last)
            for node in make.clipped(memory, at) if make.clips else [make.weights(memory, at)]:
                last = add(node, last, squared)
            moved, gathered = last, next_gathered
            if make.alpha > 0:
                squared = add(make.penalties(memory, at), moved, summed)
        add(make.advance(control.buffer.address, steps), moved, gathered, summed, squared)
        return nodes

    def _numbers(
        self, rows: int, order: Array | None, batch_size: int, rates: Array, sample_weight: Array | None
    ) -> Array:
        """What each step takes from the host, in float64 and in the CPU's order."""
        steps = len(rates)
        numbers = np.zeros(steps, STEP_NUMBERS)
        numbers["first"] = np.arange(steps) * batch_size
        numbers["count"] = np.minimum(batch_size, rows - numbers["first"])
        numbers["draw"] = self.steps_taken + np.arange(steps)
        numbers["total"] = numbers["count"]
        if sample_weight is not None:
            weights = sample_weight if order is None else sample_weight[order]
            numbers["total"] = [
                np.cumsum(weights[i * batch_size : (i + 1) * batch_size])[-1] for i in range(steps)
            ]
        taken = self.steps_taken
        for step, rate in zip(numbers, rates, strict=True):
            if step["total"] != 0:
                taken += 1
            self._set_rate(step, float(rate), taken)
        return numbers

    def _set_rate(self, step: Any, rate: float, taken: int) -> None:
        """Learning rate, penalty and decay of the step that is number `taken` among those that count."""
        _, beta1, beta2, _, alpha, decay, _ = self._optimizer.native
        step["keep"] = 1 - rate * decay
        if self._optimizer.formula == "adam" and taken > 0:
            rate *= math.sqrt(1 - math.pow(beta2, taken)) / (1 - math.pow(beta1, taken))
        step["rate"] = rate
        step["penalty"] = alpha / step["total"] if step["total"] else 0.0

    def step(self, X: Any, y: Array, rate: float, sample_weight: Array | None = None) -> tuple[float, bool]:
        """One step on all rows as one minibatch; see :meth:`schuss.engine.CpuEngine.step`."""
        losses, taken = self.run(X, y, None, X.shape[0], np.array([rate]), sample_weight)
        return float(losses[-1]), taken

    # ---- passes without learning

    def forward(self, X: Any, y: Array | None = None) -> tuple[Array, Array]:
        """Output activations (n_examples, n_outputs), and each example's loss, by no weight, where y is given."""
        rows = X.shape[0]
        out = np.empty((rows, self.outputs), self.dtype)
        losses = np.empty(0 if y is None else rows)
        block = min(rows, _PASS_ROWS)
        if rows == 0:
            return out, losses
        memory, control = self._passing_memory(block), self._control_for(1)
        wide = np.empty(
            (block, memory.buffers["out"].nbytes // memory.capacity // self.dtype.itemsize), self.dtype
        )
        at, make = control.moment(0), self._nodes
        for first, count in self._blocks(X, y, None, block, control, self.steps_taken):
            self.device.launch(make.gather(memory, at, control.source))
            for node in make.forward(memory, at, learn=False):
                self.device.launch(node)
            for node in make.outputs(memory, at, known=y is not None, learn=False):
                self.device.launch(node)
            self.device.read(wide[:count], memory.buffers["out"].address)
            out[first : first + count] = wide[:count, : self.outputs]
            if y is not None:
                self.device.read(losses[first : first + count], memory.buffers["losses"].address)
        return out, losses

    def _blocks(
        self, X: Any, y: Array | None, weights: Array | None, block: int, control: _Control, draw: int
    ) -> Iterator[tuple[int, int]]:
        """Blocks of rows in turn, each a step of its own to the kernels: first row and number of rows."""
        rows = X.shape[0]
        total = float(rows) if weights is None else float(np.cumsum(weights)[-1])
        for chunk in self._feed.chunks(X, y, weights, None, block):
            for number in range(chunk.begin, chunk.end):
                first = number * block
                count = min(block, rows - first)
                numbers = np.zeros(1, STEP_NUMBERS)
                numbers["first"], numbers["count"], numbers["draw"], numbers["total"] = (
                    first,
                    count,
                    draw,
                    total,
                )
                control.begin(numbers, Chunk(0, 1, chunk.source))
                yield first, count
            chunk.used(self.device.mark())

    def gradient(
        self,
        X: Any,
        y: Array,
        out: Array,
        on_layer: Callable[[int], Any] | None = None,
        sample_weight: Array | None = None,
    ) -> Array:
        """Write the flat mean gradient, by `sample_weight`, of all rows as one minibatch; return each example's loss.

        `on_layer(l)` is called for l = L down to 1 once the whole gradient is in `out`.
        """
        rows = X.shape[0]
        losses = np.empty(rows)
        block = min(rows, _GRADIENT_ROWS)
        memory, control = self._passing_memory(block, gradient=True), self._control_for(1)
        at, make = control.moment(0), self._nodes
        self.device.fill(memory.buffers["gradient"].address, memory.buffers["gradient"].nbytes, 0)
        for first, count in self._blocks(X, y, sample_weight, block, control, self.steps_taken):
            self.device.launch(make.gather(memory, at, control.source))
            for node in [
                *make.forward(memory, at, learn=True), *make.outputs(memory, at, known=True, learn=True),
                *make.deltas(memory, at),
            ]:  # fmt: skip
                self.device.launch(node)
            self._forget_losses(control)
            self.device.launch(make.weights(memory, at, keep=True, add=first > 0))
            self.device.read(losses[first : first + count], memory.buffers["losses"].address)
        padded = np.empty(self._layout.size, self.dtype)
        self.device.read(padded, memory.buffers["gradient"].address)
        self._layout.unpad(padded, out)
        if on_layer is not None:
            for layer in range(self._settings.layers, 0, -1):
                on_layer(layer)
        return losses

    def _forget_losses(self, control: _Control) -> None:
        """A gradient is asked for as it is, also where a loss is not finite."""
        self.device.fill(control.buffer.address + State.stopped.offset, 8, 0)

    def apply(self, gradient: Array, rate: float, batch_size: int) -> None:
        """Apply one update with a given flat gradient."""
        self.steps_taken += 1
        memory, control = self._passing_memory(1, gradient=True), self._control_for(1)
        numbers = np.zeros(1, STEP_NUMBERS)
        numbers["total"] = batch_size
        self._set_rate(numbers[0], rate, self.steps_taken)
        control.begin(numbers, Chunk(0, 1, Source()))
        self.device.write(
            memory.buffers["gradient"].address, self._layout.pad(np.asarray(gradient, self.dtype))
        )
        self.device.launch(self._nodes.apply(memory, control.moment(0), clip=False))
        self.device.synchronize()
        self._changed()
