"""A network's parameters and optimizer state on a GPU, and their ways from and to the host."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .device import Device
from .handles import Buffer
from .layout import Layout, to_bfloat16

__all__ = ["DeviceParameters"]

Array = NDArray[Any]
Remembered = Literal["epoch", "best"]


class DeviceParameters:
    """The first part of an engine: what it trains.

    Parameters
    ----------
    device : Device
    layer_sizes : tuple of int
    dtype : float32 or float64
    slots : int
        Vectors of the parameters' length: the parameters, then the optimizer's state.
    copied : bool
        Whether the products read a copy of the weights, in bfloat16.
    """

    def __init__(
        self, device: Device, layer_sizes: tuple[int, ...], dtype: np.dtype[Any], slots: int, copied: bool
    ) -> None:
        self.device, self.dtype = device, np.dtype(dtype)
        self._layout = Layout(layer_sizes)
        self._slots = [self._zeros(self._layout.size * self.dtype.itemsize) for _ in range(slots)]
        self._copy = self._zeros(self._layout.size * 2) if copied else None
        self._remembered: dict[Remembered, list[Buffer]] = {}
        self._latest: Array | None = None  # the present parameters, where they have been fetched

    def _zeros(self, nbytes: int) -> Buffer:
        buffer = self.device.allocate(nbytes)
        self.device.fill(buffer.address, nbytes, 0)
        return buffer

    def _changed(self) -> None:
        """Nothing that was derived from the parameters holds any more."""
        self._latest = None

    def addresses(self) -> tuple[list[int], int | None]:
        """Of the slots, and of the copy where there is one."""
        return [slot.address for slot in self._slots], self._copy.address if self._copy else None

    @property
    def parameter_bytes(self) -> int:
        """Of the slots and the copy."""
        return sum(buffer.nbytes for buffer in [*self._slots, *self._moving()[1:]])

    @property
    def slots(self) -> int:
        """Vectors of the parameters' length that training holds: the parameters, then the optimizer's state."""
        return len(self._slots)

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

    def fetch(self, moment: Remembered | None = None) -> Array:
        """The flat parameters, the present or the remembered ones; nobody may write to them."""
        if moment is None and self._latest is not None:
            return self._latest
        padded = np.empty(self._layout.size, self.dtype)
        self.device.read(padded, (self._slots if moment is None else self._remembered[moment])[0].address)
        flat = np.empty(self._layout.length, self.dtype)
        self._layout.unpad(padded, flat)
        flat.flags.writeable = False
        if moment is None:
            self._latest = flat
        return flat

    def _moving(self) -> list[Buffer]:
        """What an update changes of the parameters: they, and the copy that the products read."""
        return [self._slots[0]] if self._copy is None else [self._slots[0], self._copy]

    def remember(self, moment: Remembered = "epoch") -> None:
        """Keep a copy of the parameters on the device."""
        if moment not in self._remembered:
            self._remembered[moment] = [self.device.allocate(buffer.nbytes) for buffer in self._moving()]
        for buffer, to in zip(self._moving(), self._remembered[moment], strict=True):
            self.device.copy(to.address, buffer.address, buffer.nbytes)

    def recall(self, moment: Remembered = "epoch") -> None:
        """Take over the parameters remembered last for this moment."""
        for buffer, from_ in zip(self._moving(), self._remembered[moment], strict=True):
            self.device.copy(buffer.address, from_.address, buffer.nbytes)
        self._changed()
