"""What the driver tells of a GPU, and whether it serves."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import DeviceError
from . import compiler, driver

__all__ = ["Facts", "facts", "serving"]

#: Attributes by the names that they have here: kHz, bits, bytes, or a number.
_ATTRIBUTES = {
    "clock_khz": "CLOCK_RATE",
    "memory_clock_khz": "MEMORY_CLOCK_RATE",
    "memory_bus_bits": "GLOBAL_MEMORY_BUS_WIDTH",
    "l2_bytes": "L2_CACHE_SIZE",
    "multiprocessors": "MULTIPROCESSOR_COUNT",
    "threads_per_multiprocessor": "MAX_THREADS_PER_MULTIPROCESSOR",
    "registers_per_multiprocessor": "MAX_REGISTERS_PER_MULTIPROCESSOR",
    "shared_bytes_per_multiprocessor": "MAX_SHARED_MEMORY_PER_MULTIPROCESSOR",
    "shared_bytes_per_block": "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN",
}
_NAME_LENGTH = 256


@dataclass(frozen=True)
class Facts:
    """What the driver tells of a GPU without opening it.

    Attributes
    ----------
    number : int
        As the driver counts.
    name : str
    memory : int
        Bytes in all.
    capability : tuple of int
        Compute capability, such as (9, 0).
    attributes : dict of str to int
        clock_khz, memory_clock_khz, memory_bus_bits, l2_bytes, multiprocessors, threads_per_multiprocessor,
        registers_per_multiprocessor, shared_bytes_per_multiprocessor, shared_bytes_per_block.
    """

    number: int
    name: str
    memory: int
    capability: tuple[int, int]
    attributes: dict[str, int]


def facts(number: int) -> Facts:
    """What the driver tells of a GPU.

    Raises
    ------
    DeviceError
        If there is no driver, or no GPU of this number.
    """
    count = driver.call("cuDeviceGetCount")
    if not 0 <= number < count:
        raise DeviceError(f"there is no GPU {number}: the driver shows {count}, counted from 0")
    handle = driver.call("cuDeviceGet", number)
    kinds = driver.bindings().CUdevice_attribute

    def attribute(name: str) -> int:
        return int(driver.call("cuDeviceGetAttribute", getattr(kinds, f"CU_DEVICE_ATTRIBUTE_{name}"), handle))

    name = driver.call("cuDeviceGetName", _NAME_LENGTH, handle)
    return Facts(
        number=number,
        name=name.split(b"\0")[0].decode(errors="replace"),
        memory=int(driver.call("cuDeviceTotalMem", handle)),
        capability=(attribute("COMPUTE_CAPABILITY_MAJOR"), attribute("COMPUTE_CAPABILITY_MINOR")),
        attributes={ours: attribute(theirs) for ours, theirs in _ATTRIBUTES.items()},
    )


def serving(number: int) -> tuple[Facts, int]:
    """Facts of a GPU that serves, and the sm number to compile for.

    Raises
    ------
    DeviceError
        If there is no such GPU, or it, its driver or NVRTC do not serve.
    """
    found = facts(number)
    compiler.check_driver()
    try:
        return found, compiler.architecture(found.capability)
    except DeviceError as error:
        raise DeviceError(f"GPU {number} ({found.name}): {error}") from None
