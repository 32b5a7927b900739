"""What host and device exchange about a call: where it stands, its data, and the numbers of its steps."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..optimizers import Optimizer
from .arguments import STEP_NUMBERS, Moment, Source, State
from .data import Chunk
from .device import Device

__all__ = ["Control", "numbers_of_steps", "set_rates"]

Array = NDArray[Any]


class Control:
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

    def moment(self, ahead: int) -> Moment:
        return Moment(self.buffer.address + self.numbers_at, self.buffer.address, ahead)

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


def numbers_of_steps(
    rows: int, order: Array | None, batch_size: int, steps: int, sample_weight: Array | None, before: int
) -> Array:
    """Which examples each of the steps takes, and how much they weigh, in float64 and in the CPU's order.

    `before` steps have been taken, by which dropout goes on drawing.
    """
    numbers = np.zeros(steps, STEP_NUMBERS)
    numbers["first"] = np.arange(steps) * batch_size
    numbers["count"] = np.minimum(batch_size, rows - numbers["first"])
    numbers["draw"] = before + np.arange(steps)
    numbers["total"] = numbers["count"]
    if sample_weight is not None:
        weights = sample_weight if order is None else sample_weight[order]
        starts = range(0, rows, batch_size)
        numbers["total"] = [np.cumsum(weights[start : start + batch_size])[-1] for start in starts]
    return numbers


def set_rates(numbers: Array, rates: Array, optimizer: Optimizer, taken: Array) -> None:
    """Learning rate, penalty and decay of steps, `taken` their numbers among those that count."""
    _, beta1, beta2, _, alpha, decay, _ = optimizer.native
    numbers["keep"] = 1 - rates * decay
    numbers["rate"] = rates
    if optimizer.formula == "adam":  # pow of the C library, as on the CPU: NumPy's differs in the last bit
        numbers["rate"] *= [
            math.sqrt(1 - math.pow(beta2, t)) / (1 - math.pow(beta1, t))
            for t in np.maximum(taken, 1).tolist()
        ]
    np.divide(alpha, numbers["total"], out=numbers["penalty"], where=numbers["total"] != 0)
