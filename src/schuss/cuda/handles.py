"""What a device hands out: memory, kernels and their launches, graphs, marks; each frees what it holds."""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DeviceError
from . import driver

if TYPE_CHECKING:
    from .device import Device

__all__ = ["Buffer", "Graph", "Kernel", "Mark", "Module", "Node", "Pinned"]

_PLAIN_SHARED = 48 * 1024  # a kernel may take so much without asking
#: Seconds that a wait asks without sleeping, and how long it sleeps then, at first and at most.
_SPIN, _SLEEP, _LONG_SLEEP = 50e-6, 20e-6, 200e-6


@dataclass(frozen=True)
class Kernel:
    """A kernel on the device, and the shape that its source states.

    Attributes
    ----------
    name : str
    threads : int
        Of a block.
    shared : int
        Bytes of dynamic shared memory of a block.
    rows, columns : int
        The tile of output that a block computes; 0 where it has none.
    """

    name: str
    threads: int
    shared: int
    rows: int
    columns: int
    function: Any = field(repr=False)


@dataclass(frozen=True)
class Node:
    """One launch of a kernel.

    Attributes
    ----------
    kernel : Kernel
    grid : tuple of int
        Blocks in x and in y.
    args : ctypes.Structure
        The kernel's one argument, copied when the node is launched or its graph is made.
    after : tuple of int, default ()
        In a graph: which earlier nodes of the same list must have finished.
    """

    kernel: Kernel
    grid: tuple[int, int]
    args: ctypes.Structure
    after: tuple[int, ...] = ()


class Buffer:
    """Memory of the device, freed when nothing refers to this any more.

    Attributes
    ----------
    address, nbytes : int
    """

    def __init__(self, device: Device, address: int, nbytes: int) -> None:
        self.address = address
        self.nbytes = nbytes
        device._release_with(self, "cuMemFree", address)


class Pinned:
    """Page-locked memory of the host as NumPy takes it."""

    def __init__(self, device: Device, address: int, nbytes: int) -> None:
        self.__array_interface__ = {
            "data": (address, False),
            "shape": (nbytes,),
            "typestr": "|u1",
            "version": 3,
        }
        device._release_with(self, "cuMemFreeHost", address)


class Mark:
    """A point in the work that is queued on a device."""

    def __init__(self, device: Device, event: Any) -> None:
        self._device = device
        self._event = event
        device._release_with(self, "cuEventDestroy", event)

    def done(self) -> bool:
        """Whether everything queued before the mark has finished; DeviceError if any of it failed."""
        with self._device._current():
            status, _ = driver.attempt("cuEventQuery", self._event)
        if status == "CUDA_ERROR_NOT_READY":
            return False
        driver.check("cuEventQuery", status)
        return True

    def wait(self) -> None:
        """Return once :meth:`done`. Ctrl-C is heard meanwhile, unlike in the driver's own waiting."""
        began, pause = time.perf_counter(), _SLEEP
        while not self.done():
            if time.perf_counter() - began > _SPIN:
                time.sleep(pause)
                pause = min(2 * pause, _LONG_SLEEP)


class Module:
    """A kernel source, compiled and loaded."""

    def __init__(self, device: Device, source: str, handle: Any) -> None:
        self._device = device
        self._source = source
        self._handle = handle

    def kernel(self, name: str) -> Kernel:
        """A kernel by name.

        Raises
        ------
        DeviceError
            If the source has none of that name, or it needs more shared memory than a block can have here.
        """
        device, text = self._device, name.encode()
        with device._current():
            function = driver.call("cuModuleGetFunction", self._handle, text)
            address, nbytes = driver.call("cuModuleGetGlobal", self._handle, text + b"_shape")
        shape = np.empty(4, np.uint32)
        if nbytes != shape.nbytes:
            raise DeviceError(
                f"{self._source}: {name}_shape must be four numbers of four bytes, got {nbytes} bytes"
            )
        device.read(shape, int(address))
        threads, shared, rows, columns = map(int, shape)
        most = device.attributes["shared_bytes_per_block"]
        if shared > most:
            raise DeviceError(
                f"kernel {name} takes {shared} bytes of shared memory, {device} has {most} a block"
            )
        if shared > _PLAIN_SHARED:
            with device._current():
                kinds = driver.bindings().CUfunction_attribute
                which = kinds.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
                driver.call("cuFuncSetAttribute", function, which, shared)
        return Kernel(name, threads, shared, rows, columns, function)


class Graph:
    """Launches that the device repeats by itself, each as soon as those that it comes after have finished.

    What their arguments point to must live as long as the graph is launched.
    """

    def __init__(self, device: Device, executable: Any) -> None:
        self._device = device
        self._executable = executable
        device._release_with(self, "cuGraphExecDestroy", executable)

    def launch(self) -> None:
        """Queue all of it, after what is queued."""
        with self._device._current():
            driver.call("cuGraphLaunch", self._executable, self._device._compute)
