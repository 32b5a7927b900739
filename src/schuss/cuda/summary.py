"""What there is of GPUs, for `schuss info`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import DeviceError
from . import compiler, devices, driver, why_not

__all__ = ["lines", "summary"]

_MODULE_VERSION = Path("/sys/module/nvidia/version")


def summary() -> dict[str, Any]:
    """What there is, and what is missing; nothing is compiled or measured.

    Returns
    -------
    dict
        reason : why no training can run on the first GPU, empty if it can; where there is a driver also
        devices : of each its number, name, memory_bytes and compute_capability;
        driver : its version (None where the system does not tell) and that of its CUDA;
        nvrtc : the compiler's version, None where it is missing;
        kernels : folder in which compiled kernels are kept, their number and bytes by chip, such as sm_90.
    """
    try:
        found = devices()
        cuda = driver.version()
    except DeviceError as error:
        return {"reason": str(error)}
    folder, files = compiler.cached()
    kept: dict[str, dict[str, int]] = {}
    for name, size in files.items():
        chip = kept.setdefault(name.split("-")[1], {"files": 0, "bytes": 0})
        chip["files"] += 1
        chip["bytes"] += size
    return {
        "reason": why_not(),
        "devices": [
            {
                "number": one.number,
                "name": one.name,
                "memory_bytes": one.memory,
                "compute_capability": _dotted(one.capability),
            }
            for one in found
        ],
        "driver": {"version": _driver_version(), "cuda": _dotted(cuda)},
        "nvrtc": _nvrtc_version(),
        "kernels": {
            "folder": str(folder),
            "chips": dict(sorted(kept.items(), key=lambda chip: int(chip[0][3:]))),
        },
    }


def lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    """What :func:`summary` gave as (name, value) lines for people; one where there is no driver."""
    if "devices" not in found:
        return [("gpu", f"none: {found['reason']}")]
    told = [
        (
            f"gpu {one['number']}",
            f"{one['name']}, {one['memory_bytes'] / 1e9:,.1f} GB, compute capability {one['compute_capability']}",
        )
        for one in found["devices"]
    ]
    number, cuda = found["driver"]["version"], found["driver"]["cuda"]
    told.append(("gpu driver", f"{number}, CUDA {cuda}" if number else f"CUDA {cuda}"))
    told.append(("gpu compiler", f"NVRTC {found['nvrtc']}" if found["nvrtc"] else "-"))
    kept = [
        f"{chip['files']} for {name}, {chip['bytes'] / 1e6:,.1f} MB"
        for name, chip in found["kernels"]["chips"].items()
    ]
    told.append(("gpu kernels", f"{'; '.join(kept) or 'none compiled yet'}, in {found['kernels']['folder']}"))
    if found["reason"]:
        told.append(("gpu unusable", found["reason"]))
    return told


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _driver_version() -> str | None:
    """Of the kernel's module; the driver itself knows only its CUDA."""
    try:
        return _MODULE_VERSION.read_text().strip()
    except OSError:
        return None


def _nvrtc_version() -> str | None:
    try:
        return _dotted(compiler.version())
    except DeviceError:
        return None
