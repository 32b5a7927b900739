"""The CUDA engine: the engine contract on one GPU."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DeviceError
from ..losses import Loss, as_loss
from ..optimizers import Optimizer
from ..plan import Plan, flops_per_example
from .arguments import NUMBERS, STEP_NUMBERS, Source, State, defines
from .control import Control, numbers_of_steps, set_rates
from .data import Chunk, Feed
from .device import Device
from .graph import nodes_of_steps
from .handles import Graph
from .parameters import DeviceParameters
from .settings import Settings
from .step import Memory, StepNodes

__all__ = ["CudaEngine"]

Array = NDArray[Any]

_PROGRAMS = {"cuda": "step.cu", "cuda-naive": "naive.cu"}
#: Steps of one graph at most.
_STEPS = 32
#: Operations of one graph at most, and in float64, and graphs that are queued before the first is waited for: what is
#: queued cannot be stopped, and Ctrl-C has to wait for it.
_OPERATIONS, _QUEUED = (1e11, 1e10), 3
#: Rows of a block in passes without learning, and of a gradient.
_PASS_ROWS, _GRADIENT_ROWS = 4096, 8192


class CudaEngine(DeviceParameters):
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
        optimizer = optimizer or Optimizer()
        precision = plan.precision or np.dtype(dtype).name
        copied = NUMBERS[precision][2] != dtype  # the products read another type than the optimizer updates
        states = {"sgd": 0, "adam": 2}.get(optimizer.formula, 1)
        super().__init__(device, tuple(layer_sizes), dtype, 1 + states, copied)
        self.plan, self.outputs = plan, layer_sizes[-1]
        self._optimizer = optimizer
        self._settings = Settings(
            tuple(layer_sizes), tuple(activations), as_loss(loss), optimizer, precision, tuple(dropout), seed,
            loss_scale, loss_cap, plan.kernels == "cuda-naive",
        )  # fmt: skip
        self._nodes = StepNodes(
            self._settings, device.module(_PROGRAMS[plan.kernels], defines(precision)), *self.addresses()
        )
        self._feed = Feed(device, scale, shift)
        self._training: Memory | None = None
        self._passing: Memory | None = None
        self._control: Control | None = None
        self._graphs: dict[int, Graph] = {}
        self._penalties_known = False
        self.steps_taken = 0

    def _changed(self) -> None:
        super()._changed()
        self._penalties_known = False

    def forget_interrupts(self) -> None:
        """Nothing to forget: Python itself hears Ctrl-C while a GPU is waited for."""

    def parameters_finite(self) -> bool:
        """Whether all parameters are finite; the device looks."""
        memory = self._training or self._passing_memory(1)
        flag = memory.buffers["norm"]
        self.device.fill(flag.address, flag.nbytes, 0)
        self.device.launch(self._nodes.find_infinite(memory))
        found = np.empty(1)
        self.device.read(found, flag.address)
        return not found[0]

    def rest(self, *, outputs_only: bool = False) -> None:
        """Give back what only a training in progress needs; see :meth:`schuss.engine.Engine.rest`."""
        self._training = self._passing = self._control = None
        self._graphs = {}
        self._feed.rest()
        self._remembered.pop("epoch", None)
        if outputs_only:
            self._remembered.clear()
            del self._slots[1:]
            self._nodes.forget_state()

    def memory(self, batch_size: int) -> int:
        """Bytes on the device that training in minibatches of `batch_size` takes, beside the data."""
        return (
            sum(self._nodes.sizes(batch_size, gradient=self._nodes.keeps_gradient).values())
            + self.parameter_bytes
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

    def _new_memory(self, capacity: int, *, gradient: bool) -> Memory:
        memory = Memory(capacity)
        for name, nbytes in self._nodes.sizes(capacity, gradient=gradient).items():
            memory.buffers[name] = self._zeros(nbytes)
        self.device.write(memory.buffers["levels"].address, self._nodes.levels)
        table = np.frombuffer(bytes(self._nodes.layer_arguments(memory)), np.uint8)
        self.device.write(memory.buffers["layers"].address, table)
        return memory

    def _training_memory(self, capacity: int) -> Memory:
        if self._training is None or self._training.capacity != capacity:
            self._training, self._graphs = None, {}  # freed before the new is taken
            self._training = self._new_memory(capacity, gradient=self._nodes.keeps_gradient)
            self._penalties_known = False
        return self._training

    def _passing_memory(self, capacity: int, *, gradient: bool = False) -> Memory:
        memory = self._passing
        if self._settings.cut:  # parts go by the capacity: it must not be that of an earlier, larger pass
            capacity = 1 << (capacity - 1).bit_length()
        fits = memory is not None and (
            capacity == memory.capacity if self._settings.cut else capacity <= memory.capacity
        )
        if memory is None or not fits or (gradient and memory["gradient"] is None):
            self._passing = None
            self._passing = memory = self._new_memory(capacity, gradient=gradient)
        return memory

    def _control_for(self, steps: int) -> Control:
        if self._control is None or self._control.steps < steps:
            self._control, self._graphs = Control(self.device, max(steps, 64)), {}
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
        numbers = numbers_of_steps(rows, order, batch_size, len(rates), sample_weight, self.steps_taken)
        set_rates(numbers, rates, self._optimizer, self.steps_taken + np.cumsum(numbers["total"] != 0))
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
            if began:
                state, losses, interruption = self._finish(control, len(rates))
                done = state.stopped - 1 if state.stopped else state.step
                self.steps_taken += int(np.count_nonzero(numbers["total"][:done]))
                self._penalties_known = self._penalties_known and not state.stopped
            self._feed.done()
        if interruption is not None:
            raise interruption
        if state.stopped:
            losses = losses[: state.stopped]
        return losses, bool(np.isfinite(losses).all())

    def _finish(self, control: Control, steps: int) -> tuple[State, Array, BaseException | None]:
        """Wait for what is queued, whatever interrupts: its memory is in use, and the steps that it takes count."""
        interruption: BaseException | None = None
        while True:
            try:
                return *control.end(steps), interruption
            except DeviceError:
                raise
            except BaseException as error:  # Ctrl-C, or whatever else a signal's handler raises
                interruption = error

    def _queue_chunk(self, memory: Memory, control: Control, chunk: Chunk, graphs: deque[Any]) -> None:
        if self._nodes.alpha > 0 and not self._penalties_known:
            self.device.launch(self._nodes.penalties(memory, control.moment(-1)))
            self._penalties_known = True
        self.device.launch(self._nodes.gather(memory, control.moment(0), control.source))
        steps = self._steps_together(memory.capacity)
        left = chunk.end - chunk.begin
        while left > 0:
            while steps > left:
                steps //= 2
            self._graph(memory, control, steps).launch()
            graphs.append(self.device.mark())
            if len(graphs) > _QUEUED:
                graphs.popleft().wait()
            left -= steps

    def _steps_together(self, batch_size: int) -> int:
        operations = batch_size * flops_per_example(self._settings.layer_sizes)
        most = _OPERATIONS[self._settings.precision == "float64"]
        return int(min(_STEPS, max(1, most // operations)))

    def _graph(self, memory: Memory, control: Control, steps: int) -> Graph:
        if steps not in self._graphs:
            self._graphs[steps] = self.device.graph(nodes_of_steps(self._nodes, memory, control, steps))
        return self._graphs[steps]

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
        self, X: Any, y: Array | None, weights: Array | None, block: int, control: Control, draw: int
    ) -> Iterator[tuple[int, int]]:
        """Blocks of rows in turn, each a step of its own to the kernels: first row and number of rows."""
        rows = X.shape[0]
        total = float(rows) if weights is None else float(np.cumsum(weights)[-1])
        for chunk in self._feed.chunks(X, y, weights, None, block):
            for number in range(chunk.begin, chunk.end):
                first = number * block
                count = min(block, rows - first)
                numbers = np.array([(first, count, draw, total, 0, 0, 0)], STEP_NUMBERS)
                control.begin(numbers, Chunk(0, 1, chunk.source))
                yield first, count
            chunk.used(self.device.mark())
        self._feed.done()

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
            self.device.launch(make.weights(memory, at, keep=True, go_on=first > 0))
            self.device.read(losses[first : first + count], memory.buffers["losses"].address)
        padded = np.empty(self._layout.size, self.dtype)
        self.device.read(padded, memory.buffers["gradient"].address)
        self._layout.unpad(padded, out)
        if on_layer is not None:
            for layer in range(self._settings.layers, 0, -1):
                on_layer(layer)
        return losses

    def _forget_losses(self, control: Control) -> None:
        """A gradient is asked for as it is, also where a loss is not finite."""
        self.device.fill(control.buffer.address + State.stopped.offset, 8, 0)

    def apply(self, gradient: Array, rate: float, batch_size: int) -> None:
        """Apply one update with a given flat gradient."""
        self.steps_taken += 1
        memory, control = self._passing_memory(1, gradient=True), self._control_for(1)
        numbers = np.zeros(1, STEP_NUMBERS)
        numbers["total"] = batch_size
        set_rates(numbers, np.array([rate]), self._optimizer, np.array([self.steps_taken]))
        control.begin(numbers, Chunk(0, 1, Source()))
        self.device.write(
            memory.buffers["gradient"].address, self._layout.pad(np.asarray(gradient, self.dtype))
        )
        self.device.launch(self._nodes.apply(memory, control.moment(0), clip=False))
        self.device.synchronize()
        self._changed()
