"""The CUDA driver by way of cuda-bindings: looked for in a way that cannot hang, and every call checked."""

from __future__ import annotations

import ctypes
import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..errors import DeviceError

__all__ = ["attempt", "bindings", "call", "check", "extra", "version"]

_LIBRARY = "libcuda.so.1"
#: What cuda-bindings cannot do without; a library that lacks one is no driver.
_SYMBOLS = ("cuDriverGetVersion", "cuInit", "cuGetProcAddress_v2")
#: The oldest CUDA whose drivers serve, and the newest for which there is an extra.
_OLDEST, _NEWEST = 12, 13


@dataclass(frozen=True)
class _Opened:
    """What came of looking for the driver, kept: a second try after a failure could block for ever."""

    process: int
    version: tuple[int, int] = (0, 0)
    bindings: Any = None
    reason: str = ""


_opened: _Opened | None = None
_lock = threading.Lock()


def _after_fork() -> None:
    """Another thread may have held the lock when the process was forked."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


def version() -> tuple[int, int]:
    """The CUDA version that the driver supports, such as (13, 0).

    Raises
    ------
    DeviceError
        If there is no driver that serves.
    """
    return _open().version


def bindings() -> Any:
    """The module cuda.bindings.driver, for its structures and constants; DeviceError as from :func:`version`."""
    return _open().bindings


def call(name: str, *arguments: Any) -> Any:
    """Call the driver.

    Parameters
    ----------
    name : str
        Of the function, such as "cuMemAlloc".
    *arguments
        As cuda-bindings takes them.

    Returns
    -------
    object
        What the call gives beside its status: None, one value, or a tuple of several.

    Raises
    ------
    DeviceError
        With the call's name, if it fails; or if there is no driver that serves, or this process was forked from one
        that had opened it.
    """
    status, result = attempt(name, *arguments)
    check(name, status)
    return result


def attempt(name: str, *arguments: Any) -> tuple[str, Any]:
    """Call the driver where a failure is an answer too.

    Returns
    -------
    status : str
        "CUDA_SUCCESS", or the error's name.
    result : object
        As from :func:`call`; without meaning after an error.
    """
    return _attempt(_open().bindings, name, *arguments)


def check(name: str, status: str) -> None:
    """Raise DeviceError unless the status that the named call gave is success."""
    if status != "CUDA_SUCCESS":
        raise DeviceError(_failure(_open().bindings, name, status))


def extra(major: int) -> str:
    """What to install for a driver of this CUDA major version."""
    return f"pip install 'schuss[cuda{min(max(major, _OLDEST), _NEWEST)}]'"


def _open() -> _Opened:
    global _opened
    if _opened is None:
        with _lock:
            if _opened is None:
                try:
                    _opened = _look()
                except DeviceError as error:
                    _opened = _Opened(os.getpid(), reason=str(error))
    if _opened.reason:
        raise DeviceError(_opened.reason)
    if _opened.process != os.getpid():
        raise DeviceError(
            f"CUDA does not survive a fork: process {_opened.process} had opened the GPU before it forked this one; "
            "start processes with the method 'spawn' or 'forkserver'"
        )
    return _opened


def _look() -> _Opened:
    """Find the driver and initialise it. cuda-bindings is not asked before the system's loader has found the library:
    without one its second call never returns."""
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise DeviceError(
            f"no NVIDIA driver: {_one_line(error)} (it comes with the GPU's driver package)"
        ) from None
    for symbol in _SYMBOLS:
        if not hasattr(library, symbol):
            raise DeviceError(f"no NVIDIA driver that serves: {_LIBRARY} has no {symbol}")
    number = ctypes.c_int()
    if status := library.cuDriverGetVersion(ctypes.byref(number)):
        raise DeviceError(f"cuDriverGetVersion: error {status}")
    found = number.value // 1000, number.value % 1000 // 10
    if found[0] < _OLDEST:
        has = f"the NVIDIA driver is of CUDA {found[0]}.{found[1]}"
        raise DeviceError(f"{has}, CUDA {_OLDEST}.0 or newer is needed")
    try:
        from cuda.bindings import driver as bindings
    except Exception as error:  # a library made for others may raise anything
        why = f"cuda-bindings cannot be imported ({_one_line(error)})"
        raise DeviceError(f"{why}: {extra(found[0])}") from None
    status, _ = _attempt(bindings, "cuInit", 0)
    if status != "CUDA_SUCCESS":
        raise DeviceError(_failure(bindings, "cuInit", status))
    return _Opened(os.getpid(), found, bindings)


def _attempt(bindings: Any, name: str, *arguments: Any) -> tuple[str, Any]:
    # an AttributeError is the bindings', the others say that the driver lacks the function
    try:
        status, *results = getattr(bindings, name)(*arguments)
    except (AttributeError, RuntimeError, SystemError) as error:
        raise DeviceError(f"{name}: {_one_line(error)}") from None
    return getattr(status, "name", str(status)), results[0] if len(results) == 1 else tuple(results) or None


def _failure(bindings: Any, name: str, status: str) -> str:
    """The line that says which call failed, and how."""
    known, text = getattr(bindings.CUresult, status, None), None
    if known is not None:
        with suppress(DeviceError):  # the name alone says much
            _, text = _attempt(bindings, "cuGetErrorString", known)
    return f"{name}: {status} ({text.decode()})" if text else f"{name}: {status}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
