"""Examples on the GPU: all of them where they fit, else in chunks that are copied while the chunk before is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DeviceError
from .arguments import ELEMENTS, Source
from .arrays import DeviceArray
from .device import Device
from .handles import Buffer, Mark

__all__ = ["Chunk", "Feed"]

Array = NDArray[Any]

#: Share of the free memory that examples may take, and most bytes of a chunk, of which there are two, where they do
#: not fit.
_SHARE = 0.8
_CHUNK = 256 << 20
_EDGES = 1024  # for where each array of a chunk begins


@dataclass
class Chunk:
    """Steps [begin, end), whose examples `source` finds. Call `used` with a mark after the last of them is queued."""

    begin: int
    end: int
    source: Source
    slot: _Slot | None = None

    def used(self, mark: Mark) -> None:
        if self.slot is not None:
            self.slot.mark = mark


class _Slot:
    """Memory for a chunk: pinned on the host, and on the device."""

    def __init__(self, device: Device, nbytes: int) -> None:
        self.host, self.buffer = device.pinned(nbytes), device.allocate(nbytes)
        self.mark: Mark | None = None
        self._at = 0

    def begin(self) -> None:
        """Wait until the chunk that is here has been used."""
        if self.mark is not None:
            self.mark.wait()
        self.mark, self._at = None, 0

    def place(self, shape: tuple[int, ...], dtype: Any) -> tuple[Array, int]:
        """Room for an array: here, and its address there."""
        at = -(-self._at // 256) * 256
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self._at = at + nbytes
        return self.host[at : at + nbytes].view(dtype).reshape(shape), self.buffer.address + at


@dataclass
class _Held:
    """Arrays that are promised not to change, and where they are on the device once they have been needed there. The
    arrays themselves are kept, so that no other can take their place."""

    arrays: tuple[Any, ...]
    source: Source | None = None
    buffers: list[Buffer] = field(default_factory=list)

    def is_of(self, arrays: tuple[Any, ...]) -> bool:
        return all(a is b for a, b in zip(arrays, self.arrays, strict=True))


class Feed:
    """Puts examples on a device.

    Parameters
    ----------
    device : Device
    scale, shift : float
        The network sees X * scale + shift; sparse X as it is.
    """

    def __init__(self, device: Device, scale: float, shift: float) -> None:
        self._device, self._scale, self._shift = device, scale, shift
        self._held: list[_Held] = []
        self._order: Buffer | None = None
        self._slots: list[_Slot] = []
        self._present: _Held | None = None  # what the present call reads

    @contextmanager
    def hold(self, X: Any, y: Array | None, weights: Array | None) -> Iterator[None]:
        """A promise that these arrays do not change within."""
        held = _Held((X, y, weights))
        self._held.append(held)
        try:
            yield
        finally:
            self._held = [other for other in self._held if other is not held]

    def rest(self) -> None:
        """Give back what is kept from one call to the next, beside what is held."""
        self._order, self._slots = None, []

    def done(self) -> None:
        """The call is over: what was placed for it alone goes."""
        self._present = None

    def chunks(
        self, X: Any, y: Array | None, weights: Array | None, order: Array | None, batch_size: int
    ) -> Iterator[Chunk]:
        """All minibatches of `order` (None: of the rows as they lie), in chunks of whole minibatches."""
        self.done()  # an earlier call may have been interrupted
        rows = X.shape[0] if order is None else len(order)
        n_steps = -(-rows // batch_size)
        source = self._whole(X, y, weights)
        if source is not None:
            if order is not None:
                source.order = self._upload_order(order)
            yield Chunk(0, n_steps, source)
            return
        step = batch_size * _row_bytes(X, y, weights)
        together = max(1, min(n_steps, self._slot_bytes() // step))
        self._make_slots(together * step)
        for number, begin in enumerate(range(0, n_steps, together)):
            end = min(begin + together, n_steps)
            first, last = begin * batch_size, min(end * batch_size, rows)
            chosen = slice(first, last) if order is None else order[first:last]
            yield self._chunk(self._slots[number % 2], (X, y, weights), chosen, (begin, end, first))

    def _whole(self, X: Any, y: Array | None, weights: Array | None) -> Source | None:
        """A source with everything on the device; None where it does not fit."""
        arrays = (X, y, weights)
        held = next((held for held in self._held if held.is_of(arrays)), None) or _Held(arrays)
        if held.source is None:
            on_device = isinstance(X, DeviceArray)
            needed = X.shape[0] * _row_bytes(None if on_device else X, y, weights)
            if needed > _SHARE * self._device.free_memory():
                if on_device:
                    raise DeviceError(
                        f"targets and weights of {needed:,} bytes do not fit beside X on the device"
                    )
                return None
            buffers: list[Buffer] = []
            held.source, held.buffers = self._place(X, y, weights, buffers), buffers
            self._present = held
        return Source.from_buffer_copy(held.source)

    def _place(self, X: Any, y: Array | None, weights: Array | None, buffers: list[Buffer]) -> Source:
        source = self._source(X)
        if isinstance(X, DeviceArray):
            source.x, source.x_stride = X.address, X.row_stride
        else:
            source.x = self._upload_examples(X, buffers)
        for name, array in _others(y, weights):
            setattr(source, name, self._upload(array, buffers))
        return source

    def _source(self, X: Any) -> Source:
        """A source of such examples, with no addresses yet. Sparse ones are neither scaled nor shifted: their zeros
        are not there to be."""
        source = Source(x_stride=X.shape[1], element=ELEMENTS[X.dtype.name], scale=1.0, shift=0.0)
        if isinstance(X, np.ndarray | DeviceArray):
            source.scale, source.shift = self._scale, self._shift
        return source

    def _upload(self, array: Array, buffers: list[Buffer]) -> int:
        array = np.ascontiguousarray(array)
        buffers.append(self._device.allocate(array.nbytes))
        self._device.write(buffers[-1].address, array)
        return buffers[-1].address

    def _upload_examples(self, X: Any, buffers: list[Buffer]) -> int:
        """X as dense rows; in parts, so that no dense copy of the whole is made here."""
        row = X.shape[1] * X.dtype.itemsize
        buffers.append(self._device.allocate(X.shape[0] * row))
        together = max(1, _CHUNK // max(1, row))
        if isinstance(X, np.ndarray) and X.flags.c_contiguous:
            together = max(1, X.shape[0])
        for first in range(0, X.shape[0], together):
            part = _dense(X[first : first + together])
            self._device.write(buffers[-1].address + first * row, np.ascontiguousarray(part))
        return buffers[-1].address

    def _upload_order(self, order: Array) -> int:
        order = np.ascontiguousarray(order, np.int64)
        if self._order is None or self._order.nbytes < order.nbytes:
            self._order = self._device.allocate(order.nbytes)
        self._device.write(self._order.address, order)
        return self._order.address

    def _slot_bytes(self) -> int:
        """What a slot may take; what those that are there have, at least."""
        free = int(_SHARE * self._device.free_memory()) // 2
        return max(min(_CHUNK, free), self._slots[0].host.nbytes - _EDGES if self._slots else 0)

    def _make_slots(self, nbytes: int) -> None:
        nbytes += _EDGES
        if not self._slots or self._slots[0].host.nbytes < nbytes:
            self._slots = []
            self._slots = [_Slot(self._device, nbytes) for _ in range(2)]

    def _chunk(self, slot: _Slot, arrays: tuple[Any, ...], chosen: Any, place: tuple[int, int, int]) -> Chunk:
        """Gather the chosen rows on the host and queue their copy."""
        begin, end, first = place
        slot.begin()
        X, y, weights = arrays
        source = self._source(X)
        source.base = first
        for name, array in [("x", X), *_others(y, weights)]:
            part = _dense(array[chosen])
            here, there = slot.place(part.shape, part.dtype)
            here[...] = part
            self._device.write_async(there, here)
            setattr(source, name, there)
        self._device.join()
        return Chunk(begin, end, source, slot)


def _dense(X: Any) -> Array:
    return X if isinstance(X, np.ndarray) else np.asarray(X.toarray())


def _others(y: Array | None, weights: Array | None) -> list[tuple[str, Array]]:
    """Targets and weights, where there are any, with their names in a source."""
    named = [("targets" if y is not None and y.ndim == 2 else "labels", y), ("weights", weights)]
    return [(name, array) for name, array in named if array is not None]


def _row_bytes(X: Any, y: Array | None, weights: Array | None) -> int:
    """Bytes of one example on the device."""
    features = 0 if X is None else X.shape[1] * X.dtype.itemsize
    targets = 0 if y is None else y.itemsize * (y.shape[1] if y.ndim == 2 else 1)
    return features + targets + (0 if weights is None else 8)
