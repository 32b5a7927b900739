"""Compiling the kernels at first use, by NVRTC, for the chip that is there; cubins are kept in the user's cache."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import DeviceError
from . import driver

__all__ = ["architecture", "build", "cached", "check_driver", "compile", "sources", "version"]

_log = logging.getLogger("schuss")

_KERNELS = Path(__file__).parent / "kernels"
_FORMULAS = Path(__file__).parents[1] / "formulas"
_HEADERS = (".cuh", ".hpp", ".inl")
#: The same arithmetic as the CPU core's: nothing fused but what is written fused, subnormals are zero, roots and
#: quotients rounded correctly.
_OPTIONS = (
    "-std=c++20",
    "-default-device",
    "--fmad=false",
    "-ftz=true",
    "-prec-div=true",
    "-prec-sqrt=true",
)
_OLDEST = (8, 0)  # the oldest chip with asynchronous copies, TF32 and bfloat16
_DIGEST = hashlib.sha256().digest_size

_nvrtc: Any = None
_missing = ""
_lock = threading.Lock()


def version() -> tuple[int, int]:
    """The version of NVRTC, such as (13, 0).

    Raises
    ------
    DeviceError
        If it is not installed.
    """
    major, minor = _call("nvrtcVersion")
    return major, minor


def check_driver() -> None:
    """Raise DeviceError unless the driver takes what this NVRTC makes: its CUDA must be of the same major or newer."""
    has, makes = driver.version(), version()
    if has[0] < makes[0]:
        raise DeviceError(
            f"NVRTC {makes[0]}.{makes[1]} compiles for drivers of CUDA {makes[0]}, this one is of {has[0]}.{has[1]}: "
            f"update the driver or {driver.extra(has[0])}"
        )


def architecture(capability: tuple[int, int]) -> int:
    """The sm number to compile for.

    Parameters
    ----------
    capability : tuple of int
        The chip's compute capability, such as (9, 0).

    Returns
    -------
    int
        The chip's own, such as 90; where this NVRTC does not know it, the next older one whose code the chip runs.

    Raises
    ------
    DeviceError
        If the chip is too old, or newer than all that this NVRTC knows.
    """
    major, minor = capability
    if capability < _OLDEST:
        raise DeviceError(
            f"compute capability {_OLDEST[0]}.{_OLDEST[1]} or newer is needed, got {major}.{minor}"
        )
    known = _call("nvrtcGetSupportedArchs")
    fitting = [sm for sm in known if sm // 10 == major and sm % 10 <= minor]
    if not fitting:
        made = ".".join(map(str, version()))
        raise DeviceError(f"NVRTC {made} knows no compute capability {major}.{minor}: a newer one is needed")
    return int(max(fitting))


def compile(source: str, defines: Mapping[str, str], sm: int) -> bytes:
    """Compile a kernel source, or take what was compiled before from the cache.

    Parameters
    ----------
    source : str
        Name of the file among the kernels, such as "step.cu".
    defines : mapping of str to str
        Macros and their values.
    sm : int
        The chip, such as 90; see :func:`architecture`.

    Returns
    -------
    bytes
        The cubin.

    Raises
    ------
    DeviceError
        If NVRTC is not installed, or refuses the source: its first error is in the message.
    """
    text, headers, options = _work(source, defines, sm)
    path = _path(source, sm, _key(source, text, headers, options))
    cubin = _read(path)
    if cubin is None:
        cubin, log = _build(source, text, headers, options)
        if log:
            _log.warning("NVRTC said of %s for sm_%d: %s", source, sm, log)
        _write(path, cubin)
    return cubin


def build(source: str, defines: Mapping[str, str], sm: int) -> tuple[bytes, str]:
    """Compile anew, as :func:`compile` does without its cache.

    Returns
    -------
    cubin : bytes
    log : str
        What the compiler said, without white space around it.
    """
    return _build(source, *_work(source, defines, sm))


def sources() -> list[str]:
    """Names of the kernel sources that come with the package."""
    return sorted(path.name for path in _KERNELS.glob("*.cu"))


def cached() -> tuple[Path, dict[str, int]]:
    """What is in the cache.

    Returns
    -------
    folder : Path
    files : dict of str to int
        Bytes of each cubin by the name of its file: source, chip and key.
    """
    folder, files = _folder(), {}
    with suppress(OSError):  # no such folder yet, or a file taken away meanwhile
        for path in sorted(folder.glob("*-sm_*-*.cubin")):
            files[path.name] = path.stat().st_size
    return folder, files


def _work(
    source: str, defines: Mapping[str, str], sm: int
) -> tuple[bytes, dict[str, bytes], tuple[str, ...]]:
    """The text to compile, what it can include by these names, and the options."""
    try:
        text = (_KERNELS / source).read_bytes()
        headers = {
            prefix + path.name: path.read_bytes()
            for folder, prefix in ((_KERNELS, ""), (_FORMULAS, "formulas/"))
            for path in sorted(folder.iterdir())
            if path.suffix in _HEADERS
        }
    except OSError as error:
        raise DeviceError(f"the kernels cannot be read: {error}") from error
    macros = (f"-D{name}={value}" for name, value in sorted(defines.items()))
    return text, headers, (*_OPTIONS, f"-arch=sm_{sm}", *macros)


def _key(source: str, text: bytes, headers: Mapping[str, bytes], options: tuple[str, ...]) -> str:
    """Changes with everything that the cubin depends on."""
    digest = hashlib.sha256(repr((version(), source, options, list(headers))).encode())
    for part in (text, *headers.values()):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def _build(
    source: str, text: bytes, headers: Mapping[str, bytes], options: tuple[str, ...]
) -> tuple[bytes, str]:
    names = [name.encode() for name in headers]
    program = _call("nvrtcCreateProgram", text, source.encode(), len(names), list(headers.values()), names)
    try:
        made = _status("nvrtcCompileProgram", program, len(options), [option.encode() for option in options])[
            0
        ]
        log = bytes(_call("nvrtcGetProgramLogSize", program))
        _call("nvrtcGetProgramLog", program, log)
        said = log.rstrip(b"\0").decode(errors="replace").strip()
        if int(made):
            lines = [line for line in said.splitlines() if "error" in line]
            first = " ".join((lines or said.splitlines() or [made.name])[0].split())
            shown = ".".join(map(str, version()))
            chip = next(option for option in options if option.startswith("-arch="))
            raise DeviceError(f"NVRTC {shown} cannot compile {source} with {chip}: {first}")
        cubin = bytes(_call("nvrtcGetCUBINSize", program))
        _call("nvrtcGetCUBIN", program, cubin)
    finally:
        _call("nvrtcDestroyProgram", program)
    return cubin, said


def _folder() -> Path:
    from ..data.cache import cache_dir  # what reads data reads a GPU's arrays too

    return cache_dir() / "cuda"


def _path(source: str, sm: int, key: str) -> Path:
    return _folder() / f"{Path(source).stem}-sm_{sm}-{key}.cubin"


def _read(path: Path) -> bytes | None:
    """The cubin; None where there is none or its digest, which ends the file, is another."""
    try:
        kept = path.read_bytes()
    except OSError:
        return None
    cubin, digest = kept[:-_DIGEST], kept[-_DIGEST:]
    return cubin if hashlib.sha256(cubin).digest() == digest else None


def _write(path: Path, cubin: bytes) -> None:
    own = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    with suppress(OSError):  # a home that cannot be written to
        if not path.is_absolute():  # there is no home at all
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        own.write_bytes(cubin + hashlib.sha256(cubin).digest())  # readers of ELF files pass over what follows
        own.replace(path)  # whole or not at all, however many compile at once


def _call(name: str, *arguments: Any) -> Any:
    """Call NVRTC; what it gives beside its status."""
    status, *results = _status(name, *arguments)
    if int(status):
        raise DeviceError(f"{name}: {status.name}")
    return results[0] if len(results) == 1 else tuple(results) or None


def _status(name: str, *arguments: Any) -> Any:
    """Call NVRTC; its status and what it gives. Where it is missing, it is looked for once a process."""
    global _nvrtc, _missing
    with _lock:
        if _nvrtc is None and not _missing:
            try:
                from cuda.bindings import nvrtc

                nvrtc.nvrtcVersion()  # the bindings load the library at the first call
                _nvrtc = nvrtc
            except (ImportError, RuntimeError, OSError) as error:
                _missing = f"NVRTC cannot be loaded ({str(error).strip().split(': ')[0]})"
    if _missing:
        raise DeviceError(f"{_missing}: {_install()}")
    return getattr(_nvrtc, name)(*arguments)


def _install() -> str:
    """The extra for the driver that is there; of the newest CUDA where there is none."""
    try:
        return driver.extra(driver.version()[0])
    except DeviceError:
        return driver.extra(99)
