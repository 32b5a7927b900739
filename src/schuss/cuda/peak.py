"""What a GPU can do in its registers, measured: beside it stands what a training does."""

from __future__ import annotations

import ctypes
import time
from typing import TYPE_CHECKING

from .handles import Node

if TYPE_CHECKING:
    from .device import Device

__all__ = ["measure_peak"]

#: Blocks of a multiprocessor: with eight of 256 threads it is full.
_BLOCKS = 8
_FIRST = 1000  # rounds of the launch that shows how long one takes


class _Arguments(ctypes.Structure):
    """Twin of PeakArguments in kernels/peak.cu, of float32."""

    _fields_ = (("out", ctypes.c_void_p), ("factor", ctypes.c_float), ("rounds", ctypes.c_int))


def measure_peak(device: Device, seconds: float = 0.1) -> float:
    """FLOP/s of float32 multiply-adds that never leave the registers, on all multiprocessors.

    Parameters
    ----------
    device : Device
    seconds : float, default 0.1
        To measure for, about.

    Raises
    ------
    DeviceError
        If the GPU fails.
    """
    kernel = device.module("peak.cu", {"SCHUSS_NUMBER": "Float32"}).kernel("peak")
    blocks = _BLOCKS * device.multiprocessors
    out = device.allocate(4 * blocks * kernel.threads)

    def taken(rounds: int) -> float:
        device.synchronize()
        began = time.perf_counter()
        device.launch(Node(kernel, (blocks, 1), _Arguments(out.address, 0.5, rounds)))
        device.synchronize()
        return time.perf_counter() - began

    taken(_FIRST)  # the first launch loads the kernel
    rounds = max(_FIRST, int(_FIRST * seconds / taken(_FIRST)))
    return 2.0 * kernel.columns * kernel.threads * blocks * rounds / taken(rounds)
