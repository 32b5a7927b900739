"""The machine as Schuss sees it: cores that may be used, caches, instruction sets, BLAS."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from . import _core, blas
from .engine import chosen_isa
from .plan import allowed_threads

__all__ = ["cpu_name", "data_caches", "summary"]

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_LIBRARIES = ("schuss", "numpy", "scipy", "scikit-learn")


def summary() -> dict[str, Any]:
    """What is known without measuring."""
    return {
        "cpu": cpu_name(),
        "cores": {
            "in_machine": os.cpu_count(),
            "in_affinity": _core.allowed_cores(),
            "physical": _core.physical_cores(),
            "used": allowed_threads(),
        },
        "caches": _caches(),
        "isa": {
            "chosen": chosen_isa(),
            "available": [name for name, _, _, available in _core.isas() if available],
        },
        "blas": blas.describe(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
    }


def cpu_name() -> str:
    """Of the processor, as the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    facts = {
        name.strip(): text.strip() for name, colon, text in (line.partition(":") for line in lines) if colon
    }
    if "model name" in facts:
        return facts["model name"]
    parts = [
        facts[name] for name in ("CPU implementer", "CPU part", "CPU variant") if name in facts
    ]  # ARM has no name
    return " ".join([platform.processor() or platform.machine(), *parts])


def _caches() -> dict[str, str]:
    """Size of each cache that the first processor sees; empty where the system does not tell."""
    return {name: f"{size // 1024}K" for name, (size, _) in data_caches().items()}


def data_caches() -> dict[str, tuple[int, int]]:
    """Bytes of each cache that the first processor sees, and how many physical cores share it; empty where the system
    does not tell."""
    found = {}
    siblings = _number_of("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list")
    for folder in sorted(_CACHES.glob("index*")):
        try:
            level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction" and size.endswith("K"):
            shared = _number_of(folder / "shared_cpu_list")
            found[f"L{level}"] = int(size[:-1]) * 1024, max(1, shared // siblings)
    return found


def _number_of(file: str | Path) -> int:
    """How many processors a list such as 0-3,8 names; 1 where there is none."""
    try:
        parts = Path(file).read_text().strip().split(",")
        return sum(int(part.split("-")[-1]) - int(part.split("-")[0]) + 1 for part in parts)
    except (OSError, ValueError):
        return 1
