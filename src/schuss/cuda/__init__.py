"""The GPU level: the same step in CUDA, on one NVIDIA GPU.

Nothing of CUDA is imported before the system's loader has found the driver, so importing this costs nothing where there
is none.
"""

from __future__ import annotations

import threading

from ..errors import DeviceError
from . import driver
from .device import Device  # here, before the function of the module's name
from .facts import Facts, facts, serving

__all__ = ["Facts", "available", "device", "devices", "why_not"]

_devices: dict[int, Device] = {}
_lock = threading.Lock()


def available(number: int = 0) -> bool:
    """Whether the GPU of this number can be used here: see :func:`why_not`."""
    return not why_not(number)


def why_not(number: int = 0) -> str:
    """What is missing for the GPU of this number, in one line; empty where nothing is."""
    try:
        serving(number)
    except DeviceError as error:
        return str(error)
    return ""


def devices() -> list[Facts]:
    """What the driver tells of each GPU, whether it can be used or not.

    Raises
    ------
    DeviceError
        If there is no driver that serves.
    """
    return [facts(number) for number in range(driver.call("cuDeviceGetCount"))]


def device(number: int = 0) -> Device:
    """A GPU, opened once a process.

    Parameters
    ----------
    number : int, default 0
        As the driver counts, from 0; CUDA_VISIBLE_DEVICES narrows and orders what it sees.

    Raises
    ------
    DeviceError
        If there is no such GPU, or it, its driver or NVRTC do not serve.
    """
    driver.version()  # in a forked child the lock may never come free: fail before it
    with _lock:
        if number not in _devices:
            _devices[number] = Device(number)
        return _devices[number]
