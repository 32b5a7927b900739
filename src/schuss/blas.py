"""The BLAS that SciPy brought: its routines' addresses, and the number of its threads.

SciPy exports its BLAS for Cython as capsules, whose names are C signatures. Nothing is linked or bundled.

A process should not fork while OpenBLAS works with several threads of its own (plans gemv:1xM and gemm:1xM): they are
no threads of Schuss, and the fork may wait for them for ever.
"""

from __future__ import annotations

import ctypes
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from .errors import PlanError

__all__ = ["addresses", "check_threads", "describe", "limit_threads"]

# Argument types after normalising: c char, i int, f the routine's real type; all are pointers.
_SIGNATURES = {"gemm": "cciiiffififfi", "gemv": "ciiffififfi", "ger": "iiffififi"}


@cache
def addresses(precision: str) -> tuple[int, int, int]:
    """Addresses of gemm, gemv and ger for "float32" or "float64".

    Raises
    ------
    PlanError
        If SciPy's BLAS has not the signature that the core calls (32-bit integers).
    """
    from scipy.linalg import cython_blas

    api, letter = cython_blas.__pyx_capi__, "s" if precision == "float32" else "d"
    return tuple(_address(api[letter + name], letter, name) for name in ("gemm", "gemv", "ger"))  # type: ignore[return-value]


def _address(capsule: Any, letter: str, name: str) -> int:
    get_name = ctypes.pythonapi.PyCapsule_GetName
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    signature = get_name(capsule)
    found = _short_signature(signature.decode(), letter)
    if found != _SIGNATURES[name]:
        raise PlanError(
            f"gemv and gemm plans need a BLAS with 32-bit integers, SciPy's {letter}{name} is {signature!r}"
        )
    return int(get_pointer(capsule, signature))


def _short_signature(signature: str, letter: str) -> str | None:
    """Letters of _SIGNATURES for a C prototype, or None where an argument is of another type."""
    match = re.fullmatch(r"void \((.*)\)", signature)
    real = "float" if letter == "s" else "double"
    kinds = {"char": "c", "int": "i", real: "f", f"__pyx_t_5scipy_6linalg_11cython_blas_{letter}": "f"}
    letters = [
        kinds.get(argument.replace("*", "").strip()) for argument in (match[1].split(",") if match else [])
    ]
    return None if None in letters else "".join(filter(None, letters))


class _DlInfo(ctypes.Structure):
    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


@cache
def _library() -> Path | None:
    """The shared library that SciPy's routines end in; None where the linker does not tell.

    The capsules point to wrappers inside SciPy; the routine itself is looked up among that module's dependencies.
    """
    from scipy.linalg import cython_blas

    try:
        module, process = ctypes.CDLL(cython_blas.__file__), ctypes.CDLL(None)
        routine = next(getattr(module, name) for name in ("scipy_sgemm_", "sgemm_") if hasattr(module, name))
        info = _DlInfo()
        process.dladdr.argtypes = [ctypes.c_void_p, ctypes.POINTER(_DlInfo)]
        if process.dladdr(ctypes.cast(routine, ctypes.c_void_p), ctypes.byref(info)) and info.file:
            return Path(info.file.decode()).resolve()
    except (OSError, AttributeError, StopIteration):
        pass
    return None


@cache
def _controller() -> Any | None:
    """threadpoolctl's controller of SciPy's BLAS, or None where it knows none."""
    import scipy.linalg  # noqa: F401  loads the library
    from threadpoolctl import ThreadpoolController

    for library in ThreadpoolController().select(user_api="blas").lib_controllers:
        if Path(library.filepath).resolve() == _library():
            return library
    return None


def describe() -> dict[str, Any]:
    """Name, version, kernels and threads of SciPy's BLAS, as far as they can be found out."""
    controller = _controller()
    if controller is None:
        return {"name": "unknown", "threads": None}
    known = controller.info()
    return {
        "name": known["internal_api"],
        "version": known.get("version"),
        "architecture": known.get("architecture"),
        "threading": known.get("threading_layer"),
        "threads": known["num_threads"],
    }


def _most_callers() -> int | None:
    """Threads that may call OpenBLAS at once: what it was built for. None: no such limit is known."""
    controller = _controller()
    if controller is None or controller.internal_api != "openblas":
        return None
    for name in ("scipy_openblas_get_config", "openblas_get_config"):
        get_config = getattr(ctypes.CDLL(controller.filepath), name, None)
        if get_config is not None:
            get_config.restype = ctypes.c_char_p
            match = re.search(r"MAX_THREADS=(\d+)", get_config().decode())
            return int(match[1]) if match else None
    return None


def check_threads(callers: int, threads: int, plan: str) -> None:
    """Raise PlanError where `callers` threads at once, each with `threads` of BLAS's own, cannot be had."""
    if threads > 1 and _controller() is None:
        raise PlanError(
            f"plan {plan} needs a BLAS whose threads threadpoolctl can set, SciPy's is unknown to it"
        )
    if callers > 1 and threads > 1:
        name = describe()["name"]
        raise PlanError(
            f"plan {plan} needs a BLAS that runs several callers with several threads each, {name} cannot"
        )
    most = _most_callers()
    if most is not None and max(callers, threads) > most:
        raise PlanError(f"plan {plan} exceeds the {most} threads that SciPy's OpenBLAS was built for")


class _Limit:
    """The number of BLAS's threads belongs to the process: trainings at the same time share it, and the last one
    to end restores what was there before the first."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.before = 0
        os.register_at_fork(
            before=self.lock.acquire, after_in_parent=self.lock.release, after_in_child=self._child
        )

    def _child(self) -> None:
        self.users = 0  # the trainings stayed in the parent
        self.lock.release()

    def enter(self, controller: Any, threads: int) -> None:
        with self.lock:
            if self.users == 0:
                self.before = controller.num_threads
            self.users += 1
            self._set(controller, threads)

    def leave(self, controller: Any) -> None:
        with self.lock:
            self.users -= 1
            if self.users == 0:
                self._set(controller, self.before)

    @staticmethod
    def _set(controller: Any, threads: int) -> None:
        # newer threadpoolctl obeys one thread at a time until told to forget which
        if hasattr(controller, "clear_controlling_thread"):
            controller.clear_controlling_thread(force=True)
        controller.set_num_threads(threads)


_LIMIT = _Limit()


@contextmanager
def limit_threads(threads: int) -> Iterator[None]:
    """Let SciPy's BLAS use `threads` threads inside the block; the number before is restored."""
    controller = _controller()
    if controller is None:
        yield
        return
    _LIMIT.enter(controller, threads)
    try:
        yield
    finally:
        _LIMIT.leave(controller)
