"""Arrays of other libraries that are on a GPU already, read where they lie.

CuPy, PyTorch, JAX, Numba and others describe theirs by the CUDA array interface (version 3:
https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html) or by DLPack (https://dmlc.github.io/dlpack).
None of them is imported.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .. import cuda
from ..errors import DataError, DeviceError
from ..plan import Plan
from . import driver

__all__ = ["DeviceArray", "device_array", "is_on_device", "to_host"]

Array = NDArray[Any]

_READ = frozenset(np.dtype(name) for name in ("float32", "float64", "uint8"))
_ON_CUDA = (2, 13)  # kDLCUDA, kDLCUDAManaged
_ON_HOST = (1, 3, 11)  # kDLCPU, and page-locked for CUDA or ROCm
_KINDS = {0: "i", 1: "u", 2: "f", 6: "b"}  # of DLPack's type codes
#: What libraries raise where they cannot describe an array, and what a description raises that is none.
_UNREADABLE = (TypeError, ValueError, LookupError, AttributeError, BufferError, RuntimeError, OverflowError)
#: How libraries call what brings an array to the host: CuPy, PyTorch, Numba.
_FETCHERS = ("get", "cpu", "copy_to_host")


@dataclass(frozen=True, eq=False)
class DeviceArray:
    """Examples on a GPU, a row each.

    Parameters
    ----------
    address : int
        Of the first value.
    shape : (int, int)
        Examples and features.
    dtype : float32, float64 or uint8
    row_stride : int
        Values from the start of a row to that of the next; within a row they are contiguous.
    device : int
        Number of the GPU.
    source : object
        The array as it was handed over.
    owner : object
        What the memory lives by, `source` included.
    name : str, default "X"
        What messages call it.
    """

    address: int
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    row_stride: int
    device: int
    source: Any
    owner: Any = None
    name: str = "X"

    ndim = 2

    @property
    def place(self) -> str:
        """The device, such as cuda:0."""
        return f"cuda:{self.device}"

    @property
    def nbytes(self) -> int:
        """Of the values."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Array) -> DeviceArray:
        """These rows, gathered by the library whose array it is.

        Raises
        ------
        DataError
            If that cannot index by row numbers.
        """
        try:
            gathered = device_array(self.source[rows], self.name)
        except (TypeError, ValueError, IndexError, NotImplementedError) as error:
            raise DataError(
                f"{self.name} on {self.place} cannot be split by row numbers ({error}): hand over validation examples, "
                f"or {self.name} on the host"
            ) from None
        assert gathered is not None
        return gathered

    def check_readable(self, plan: Plan) -> None:
        """Raise DataError where the plan computes elsewhere."""
        if not plan.is_at(self.place):
            raise self.unreadable(plan.place if plan.on_gpu else "the CPU")

    def unreadable(self, where: str) -> DataError:
        """The error to raise where something else than this GPU is to read it."""
        return DataError(
            f"{self.name} is on {self.place}, the plan computes on {where}: ask for device {self.place!r}, or hand "
            f"over {_on_host(self.source, self.name)}"
        )


@dataclass(frozen=True, eq=False)
class _Described:
    """An array of any shape; strides in bytes."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]
    device: int
    owner: Any

    @classmethod
    def of(
        cls, address: int, shape: Any, strides: Any, dtype: np.dtype[Any], device: int, owner: Any
    ) -> Self:
        """With the strides of a contiguous array where none are given (None)."""
        sizes = tuple(map(int, shape))
        if any(size < 0 for size in sizes):
            raise ValueError(f"its shape is {sizes}")
        if not address and 0 not in sizes:
            raise ValueError(f"its address is 0, and its shape {sizes}")
        if strides is None:
            strides = tuple(int(np.prod(sizes[axis + 1 :])) * dtype.itemsize for axis in range(len(sizes)))
        return cls(address, sizes, tuple(map(int, strides)), dtype, device, owner)


def is_on_device(values: Any) -> bool:
    """Whether this is an array on a GPU."""
    if type(values) is np.ndarray:
        return False
    interface = _attribute(values, "__cuda_array_interface__")
    return isinstance(values, DeviceArray) or interface is not None or _dlpack_device(values) is not None


def device_array(X: Any, name: str = "X") -> DeviceArray | None:
    """X as examples on a GPU, read where they lie; None where it is not on one.

    What its library has queued to fill it comes first. Whether the values are finite is not looked at.

    Parameters
    ----------
    X : object
        With `__cuda_array_interface__`, or `__dlpack__` and `__dlpack_device__`; or anything else.
    name : str, default "X"
        What messages call it.

    Raises
    ------
    DataError
        If it has not 2 dimensions, no example, another dtype than float32, float64 and uint8, or rows that are not
        contiguous.
    DeviceError
        If its GPU is not one that can be used.
    """
    if isinstance(X, DeviceArray):
        return X
    found = _described(X, name)
    if found is None:
        return None
    on_host = _on_host(X, name)
    if len(found.shape) != 2 or found.shape[0] == 0:
        raise DataError(
            f"{name} must have 2 dimensions (examples, features) and an example, got shape {found.shape}"
        )
    if found.dtype not in _READ:
        raise DataError(
            f"{name} on a GPU must be float32, float64 or uint8, got {found.dtype}; {on_host} may be any"
        )
    size = found.dtype.itemsize
    (rows, columns), (across, along) = found.shape, found.strides
    stride, odd = divmod(across if rows > 1 else columns * size, size)
    if (columns > 1 and along != size) or odd or stride < 0 or found.address % size:
        raise DataError(
            f"{name} on a GPU must have contiguous rows, got strides {found.strides} of {found.dtype}"
        )
    return DeviceArray(
        found.address, (rows, columns), found.dtype, stride, found.device, X, found.owner, name
    )


def to_host(values: Any, name: str = "y") -> Any:
    """What is on a GPU as an array of the host; anything else as it is.

    For what is small: targets and weights.
    """
    if type(values) is np.ndarray:
        return values
    if not is_on_device(values):
        _refuse_other_devices(values, name)
        return values
    for fetcher in _FETCHERS:
        if callable(getattr(values, fetcher, None)):
            detached = values.detach() if hasattr(values, "detach") else values  # from PyTorch's graph
            return np.asarray(getattr(detached, fetcher)())
    found = _described(values, name)
    assert found is not None
    if 0 in found.shape:
        return np.empty(found.shape, found.dtype)
    extents = [(size, step) for size, step in zip(found.shape, found.strides, strict=True) if size != 1]
    if any(a[1] != b[0] * b[1] for a, b in pairwise([*extents, (1, found.dtype.itemsize)])):
        raise DataError(
            f"{name} on a GPU must be contiguous, got shape {found.shape}, strides {found.strides}"
        )
    out = np.empty(found.shape, found.dtype)
    cuda.device(found.device).read(out, found.address)
    return out


def _on_host(values: Any, name: str) -> str:
    """How the same array is had on the host, for a message."""
    variable = name.split()[-1]
    for fetcher in _FETCHERS:
        if callable(getattr(values, fetcher, None)):
            return f"{variable}.{fetcher}()"
    return "an array of the host"


def _attribute(values: Any, name: str) -> Any:
    """The attribute; None where there is none. PyTorch's may refuse, and say why."""
    try:
        return getattr(values, name, None)
    except (RuntimeError, TypeError, BufferError) as error:
        raise DataError(f"an array on a GPU cannot be read: {_one_line(error)}") from None


def _described(values: Any, name: str) -> _Described | None:
    if type(values) is np.ndarray:
        return None
    interface, number = _attribute(values, "__cuda_array_interface__"), _dlpack_device(values)
    if interface is None and number is None:
        _refuse_other_devices(values, name)
        return None
    try:
        # an interface before version 3 says nothing of streams, which DLPack does
        if interface is not None and (number is None or interface.get("version", 0) >= 3):
            return _by_interface(values, interface, number)
        assert number is not None
        return _by_dlpack(values, number)
    except DeviceError:
        raise
    except _UNREADABLE as error:
        raise DataError(f"{name} on a GPU cannot be read: {_one_line(error)}") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


# --- __cuda_array_interface__ -------------------------------------------------------------------------------------


def _by_interface(values: Any, interface: Any, number: int | None) -> _Described:
    if interface.get("mask") is not None:
        raise ValueError("it is masked")
    address = int(interface["data"][0])
    if number is None:
        number = _device_of(address) if address else 0
    stream = interface.get("stream")
    if interface.get("version", 0) < 3:
        stream = 1  # the legacy stream, for which all ordinary ones wait
    if stream is not None:
        _finish(number, int(stream))
    return _Described.of(
        address, interface["shape"], interface.get("strides"), np.dtype(interface["typestr"]), number, values
    )


def _device_of(address: int) -> int:
    """Number of the GPU on which this address is."""
    kind = driver.bindings().CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    return int(driver.call("cuPointerGetAttribute", kind, address))


def _finish(number: int, stream: int) -> None:
    """Wait for what another library has queued on a stream of its."""
    with cuda.device(number)._current():
        driver.call("cuStreamSynchronize", stream)


# --- DLPack -------------------------------------------------------------------------------------------------------


class _Tensor(ctypes.Structure):
    """DLTensor, with which a DLManagedTensor begins."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


def _dlpack_device(values: Any) -> int | None:
    """Number of the GPU on which DLPack says that this is; None for none."""
    found = _dlpack_place(values)
    return None if found is None or found[0] not in _ON_CUDA else found[1]


def _refuse_other_devices(values: Any, name: str) -> None:
    """Say so where neither a CPU nor CUDA can read this, and its library does not bring it to the host by itself."""
    found = _dlpack_place(values)
    if found is None or found[0] in (*_ON_HOST, *_ON_CUDA):
        return
    fetched = any(callable(getattr(values, fetcher, None)) for fetcher in _FETCHERS)
    if fetched or not hasattr(values, "__array__"):
        raise DataError(
            f"{name} must be on the CPU or a GPU of CUDA, got a device of DLPack's type {found[0]}: hand over "
            f"{_on_host(values, name)}"
        )


def _dlpack_place(values: Any) -> tuple[int, int] | None:
    """Type and number of the device on which DLPack says that this is; None where it says nothing."""
    ask = _attribute(values, "__dlpack_device__")
    if ask is None or not hasattr(values, "__dlpack__") or isinstance(values, type):
        return None
    try:
        kind, number = ask()
    except _UNREADABLE:  # an array of a kind that DLPack has no words for
        return None
    return int(kind), int(number)


def _by_dlpack(values: Any, number: int) -> _Described:
    # the producer has our stream wait for its own
    capsule = values.__dlpack__(stream=cuda.device(number).stream)
    tensor = _Tensor.from_address(_pointer(capsule, b"dltensor"))
    if tensor.lanes != 1 or tensor.code not in _KINDS:
        raise ValueError(f"its values are of DLPack's type {tensor.code} with {tensor.bits} bits")
    dtype = np.dtype(f"{_KINDS[tensor.code]}{tensor.bits // 8}")
    shape = tensor.shape[: tensor.ndim]
    strides = [step * dtype.itemsize for step in tensor.strides[: tensor.ndim]] if tensor.strides else None
    address = (tensor.data or 0) + tensor.byte_offset
    # a capsule that nobody consumes frees its tensor when it goes
    return _Described.of(address, shape, strides, dtype, number, (values, capsule))
