"""One GPU: its memory, its kernels, and graphs of them, over the checked driver calls."""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from ..errors import DeviceError
from . import compiler, driver
from .facts import serving
from .handles import Buffer, Graph, Kernel, Mark, Module, Node, Pinned

__all__ = ["Buffer", "Device", "Graph", "Kernel", "Mark", "Module", "Node"]

_PIECE = 2**26  # bytes that are copied in some milliseconds
_NOT_BLOCKING, _NO_TIMING = 1, 2  # CU_STREAM_NON_BLOCKING, CU_EVENT_DISABLE_TIMING


class Device:
    """A GPU, in the context that PyTorch, CuPy and JAX use too. From :func:`schuss.cuda.device`, one a process.

    Everything is queued on one stream, in the order of the calls, but for :meth:`write_async`. Methods may be called
    from any thread.

    Attributes
    ----------
    number : int
        As the driver counts.
    name : str
    capability : tuple of int
        Compute capability, such as (9, 0).
    multiprocessors : int
    memory : int
        Bytes in all.
    attributes : dict of str to int
        See :class:`schuss.cuda.Facts`.
    stream : int
        Handle of the stream on which kernels run, for exchanging arrays with other libraries.

    Raises
    ------
    DeviceError
        If there is no such GPU, or it, its driver or NVRTC do not serve.
    """

    def __init__(self, number: int) -> None:
        found, self._sm = serving(number)
        self.number = number
        self.name = found.name
        self.capability = found.capability
        self.memory = found.memory
        self.attributes = found.attributes
        self.multiprocessors = found.attributes["multiprocessors"]
        self._joining, self._compiling = threading.Lock(), threading.Lock()
        self._modules: dict[tuple[str, tuple[tuple[str, str], ...]], Module] = {}
        self._context = driver.call("cuDevicePrimaryCtxRetain", driver.call("cuDeviceGet", number))
        with self._current():
            self._compute, self._copies = (driver.call("cuStreamCreate", _NOT_BLOCKING) for _ in range(2))
            self._copied = driver.call("cuEventCreate", _NO_TIMING)
        self.stream = int(self._compute)

    def __str__(self) -> str:
        return f"GPU {self.number} ({self.name})"

    def free_memory(self) -> int:
        """Bytes that nobody has taken now."""
        with self._current():
            return int(driver.call("cuMemGetInfo")[0])

    def allocate(self, nbytes: int) -> Buffer:
        """Take memory; its contents are undefined.

        Raises
        ------
        DeviceError
            With the bytes asked for and those free, if it does not fit.
        """
        with self._current():
            status, address = driver.attempt("cuMemAlloc", max(nbytes, 1))
        if status == "CUDA_ERROR_OUT_OF_MEMORY":
            free = self.free_memory()
            raise DeviceError(
                f"cuMemAlloc: {nbytes:,} bytes do not fit, {self} has {free:,} of {self.memory:,} free"
            )
        driver.check("cuMemAlloc", status)
        return Buffer(self, int(address), nbytes)

    def pinned(self, nbytes: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Page-locked memory of the host, uint8, freed with the array and all its views. It must live until the copies
        queued from it are done."""
        with self._current():
            address = driver.call("cuMemHostAlloc", max(nbytes, 1), 0)
        return np.asarray(Pinned(self, int(address), nbytes))

    def write(self, address: int, array: np.ndarray[Any, Any]) -> None:
        """Copy a contiguous array to the device, after all that is queued; the array may be changed on return."""
        self.synchronize()  # the copy from ordinary memory would wait with Ctrl-C unheard
        self._copy_in(address, array, self._compute)
        self.synchronize()

    def write_async(self, address: int, array: np.ndarray[Any, Any]) -> None:
        """Copy a contiguous :meth:`pinned` array to the device on a stream of its own, beside the kernels.

        It is ordered only after earlier calls of this method: nothing queued may still use the memory, and only what is
        queued after :meth:`join` finds it written. The array may be changed once a mark made after that join is done.
        """
        self._copy_in(address, array, self._copies)

    def join(self) -> None:
        """Have all that is queued from now on wait for the copies that :meth:`write_async` has queued so far."""
        with self._current(), self._joining:
            driver.call("cuEventRecord", self._copied, self._copies)
            driver.call("cuStreamWaitEvent", self._compute, self._copied, 0)

    def read(self, array: np.ndarray[Any, Any], address: int) -> None:
        """Copy from the device into a contiguous array, after all that is queued, and wait for it."""
        if not array.flags.writeable:
            raise ValueError("array must be writeable, got one that is read-only")
        _check_contiguous(array)
        self.synchronize()  # as in write
        self._transfer("cuMemcpyDtoHAsync", array.ctypes.data, address, array.nbytes, self._compute)
        self.synchronize()

    def fill(self, address: int, nbytes: int, byte: int) -> None:
        """Set bytes of the device, queued."""
        if nbytes:
            with self._current():
                driver.call("cuMemsetD8Async", address, byte, nbytes, self._compute)

    def copy(self, to: int, from_: int, nbytes: int) -> None:
        """Copy within the device, queued."""
        self._transfer("cuMemcpyDtoDAsync", to, from_, nbytes, self._compute)

    def module(self, source: str, defines: Mapping[str, str]) -> Module:
        """A kernel source, compiled for this GPU with these macros; kept, so that each is compiled once.

        Raises
        ------
        DeviceError
            See :func:`schuss.cuda.compiler.compile`.
        """
        key = source, tuple(sorted(defines.items()))
        with self._current(), self._compiling:
            if key not in self._modules:
                cubin = compiler.compile(source, defines, self._sm)
                self._modules[key] = Module(self, source, driver.call("cuModuleLoadData", cubin))
            return self._modules[key]

    def launch(self, node: Node) -> None:
        """Queue one kernel; what it comes `after` has no meaning here."""
        kernel, (x, y) = node.kernel, node.grid
        pointers = _pointers(node.args)
        with self._current():
            driver.call(
                "cuLaunchKernel", kernel.function, x, y, 1, kernel.threads, 1, 1, kernel.shared, self._compute,
                ctypes.addressof(pointers), 0,
            )  # fmt: skip

    def graph(self, nodes: Sequence[Node]) -> Graph:
        """Make a graph of kernels, ready on the device.

        Raises
        ------
        ValueError
            If a node comes after one that is not before it in the list.
        """
        with self._current():
            whole = driver.call("cuGraphCreate", 0)
            try:
                made: list[Any] = []
                for index, node in enumerate(nodes):
                    if not all(0 <= other < index for other in node.after):
                        raise ValueError(f"after must name earlier nodes, got {node.after} for node {index}")
                    first = [made[other] for other in node.after]
                    pointers = _pointers(node.args)  # both are copied by the call
                    made.append(
                        driver.call(
                            "cuGraphAddKernelNode", whole, first, len(first), _parameters(node, pointers)
                        )
                    )
                graph = Graph(self, driver.call("cuGraphInstantiate", whole, 0))
                driver.call("cuGraphUpload", graph._executable, self._compute)
                return graph
            finally:
                driver.attempt("cuGraphDestroy", whole)

    def mark(self) -> Mark:
        """A mark after all that is queued now; see :meth:`join` for the copies."""
        with self._current():
            mark = Mark(self, driver.call("cuEventCreate", _NO_TIMING))
            driver.call("cuEventRecord", mark._event, self._compute)
        return mark

    def synchronize(self) -> None:
        """Wait for all that is queued, but for copies since the last :meth:`join`."""
        self.mark().wait()

    def _copy_in(self, address: int, array: np.ndarray[Any, Any], stream: Any) -> None:
        _check_contiguous(array)
        self._transfer("cuMemcpyHtoDAsync", address, array.ctypes.data, array.nbytes, stream)

    def _transfer(self, name: str, to: int, source: int, nbytes: int, stream: Any) -> None:
        """In pieces: ordinary memory is copied while the call lasts, and Ctrl-C is heard between the calls."""
        with self._current():
            for done in range(0, nbytes, _PIECE):
                driver.call(name, to + done, source + done, min(_PIECE, nbytes - done), stream)

    @contextmanager
    def _current(self) -> Iterator[None]:
        """Calls within go to this device; what was current before, perhaps another library's, is so again after."""
        driver.call("cuCtxPushCurrent", self._context)
        try:
            yield
        except BaseException:
            driver.attempt("cuCtxPopCurrent")  # the first error counts
            raise
        driver.call("cuCtxPopCurrent")

    def _release_with(self, owner: object, name: str, handle: Any) -> None:
        """Call this with the handle once the owner is gone; not at exit, when the driver frees everything itself."""
        weakref.finalize(owner, _release, self._context, name, handle).atexit = False


def _release(context: Any, name: str, handle: Any) -> None:
    with suppress(DeviceError):  # in a forked child, or on a device that has failed: there is nothing to free
        driver.call("cuCtxPushCurrent", context)
        driver.attempt(name, handle)
        driver.attempt("cuCtxPopCurrent")


def _pointers(args: ctypes.Structure) -> ctypes.Array[ctypes.c_void_p]:
    """The list of arguments that the driver reads: one."""
    return (ctypes.c_void_p * 1)(ctypes.addressof(args))


def _parameters(node: Node, pointers: ctypes.Array[ctypes.c_void_p]) -> Any:
    kernel, (x, y) = node.kernel, node.grid
    parameters = driver.bindings().CUDA_KERNEL_NODE_PARAMS()
    parameters.func = kernel.function
    parameters.gridDimX, parameters.gridDimY, parameters.gridDimZ = x, y, 1
    parameters.blockDimX, parameters.blockDimY, parameters.blockDimZ = kernel.threads, 1, 1
    parameters.sharedMemBytes = kernel.shared
    parameters.kernelParams = ctypes.addressof(pointers)
    return parameters


def _check_contiguous(array: np.ndarray[Any, Any]) -> None:
    if not array.flags.forc:
        raise ValueError(f"array must be contiguous, got strides {array.strides} of shape {array.shape}")
