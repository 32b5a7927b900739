"""The machine profile: what the cost model knows of a machine, measured in under two seconds and kept."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import PlanError
from .gpu import GpuProfile, refuse_unknown

__all__ = ["Blas", "Gather", "Level", "Profile"]

#: Cycles of a register tile of rows x vectors, where it was not measured: a step in depth takes at least as long as its
#: chain of dependent multiply-adds allows, and a tile has a start and an end.
_LEAST_CYCLES, _TILE_CYCLES = 3.4, 18.0
#: Fused multiply-adds of vectors that a core does in a cycle, where only its peak is known.
_FMA_PER_CYCLE = 2
#: Cycles of one vector, where they were not measured.
_ACTIVATION_CYCLES = {
    "identity": 0.6, "relu": 2.0, "leaky_relu": 2.4, "hardtanh": 3.0, "elu": 9.0, "selu": 9.0, "exp": 11.0,
    "logistic": 14.0, "tanh": 14.0, "silu": 15.0, "softplus": 22.0, "gelu": 25.0, "softmax": 20.0,
}  # fmt: skip


@dataclass(frozen=True)
class Level:
    """A cache level, or memory.

    Parameters
    ----------
    name : str
    bytes : int
        Capacity of one; 0: memory, without bound.
    shared_by : int
        Cores that share one.
    read, update : dict of int to float
        Bytes a second through so many threads together: read, or read and written back, both ways counted.
    """

    name: str
    bytes: int
    shared_by: int
    read: dict[int, float]
    update: dict[int, float]


@dataclass(frozen=True)
class Gather:
    """Fetching rows of X: seconds of a row = `row` + bytes / `rate`."""

    row: float
    rate: float


@dataclass(frozen=True)
class Blas:
    """FLOP/s of gemm (m, n, k) with `threads` BLAS threads; gemv where m is 1."""

    m: int
    n: int
    k: int
    threads: int
    flops: float


@dataclass(frozen=True)
class Profile:
    """What the cost model knows of a machine.

    Parameters
    ----------
    name : str
        Of the processor.
    isa : str
        Instruction set of the kernels.
    cores : int
        That may be used.
    shape : dict of str to (int, int, int)
        By dtype: values in a vector, vectors in a full panel, rows of the register tile.
    peak : dict of str to dict of int to float
        By dtype and threads: FLOP/s in registers.
    levels : tuple of Level
        Caches from the nearest to memory, the last.
    barrier : dict of int to float
        Seconds of a barrier by threads.
    tiles : dict of (int, int) to (float, float)
        Of register tiles of rows x vectors: seconds of one, and more for each step in depth.
    activations : dict of str to float
        Seconds of one vector.
    gather : dict of str to Gather
        Rows that lie in a cache ("cached") and in memory ("memory").
    blas : tuple of Blas
    measured : str
        Date and time (ISO); empty: from data sheets, not measured.
    source : str
        Where the figures are from, where they were not measured.
    versions : dict of str to str
    gpu : GpuProfile or None
        Of a machine that is not here, its GPU; the present machine's is asked for when it counts.
    """

    name: str
    isa: str
    cores: int
    shape: dict[str, tuple[int, int, int]]
    peak: dict[str, dict[int, float]]
    levels: tuple[Level, ...]
    barrier: dict[int, float] = field(default_factory=dict)
    tiles: dict[tuple[int, int], tuple[float, float]] = field(default_factory=dict)
    activations: dict[str, float] = field(default_factory=dict)
    gather: dict[str, Gather] = field(default_factory=dict)
    blas: tuple[Blas, ...] = ()
    measured: str = ""
    source: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    gpu: GpuProfile | None = None

    def __post_init__(self) -> None:
        """Complete what was not measured from the peak."""
        lanes, vectors, rows = self.shape["float32"]
        cycle = 2 * _FMA_PER_CYCLE * lanes / self.peak["float32"][1]
        tiles = {
            (r, v): (_TILE_CYCLES * cycle, max(r * v / _FMA_PER_CYCLE, _LEAST_CYCLES) * cycle)
            for r in range(1, rows + 1)
            for v in range(1, vectors + 1)
        }
        memory = self.levels[-1]
        whole = memory.read[1]
        gather = {"cached": Gather(30 * cycle, 4 * whole), "memory": Gather(120 * cycle, whole / 2)}
        object.__setattr__(self, "tiles", tiles | self.tiles)
        activations = {name: cycles * cycle for name, cycles in _ACTIVATION_CYCLES.items()}
        object.__setattr__(self, "activations", activations | self.activations)
        object.__setattr__(self, "gather", gather | self.gather)

    @property
    def cycle(self) -> float:
        """Seconds of a cycle, as far as the peak tells."""
        return 2 * _FMA_PER_CYCLE * self.shape["float32"][0] / self.peak["float32"][1]

    def scaled_to(self, cores: int) -> Profile:
        """The same machine with so many cores in use."""
        return replace(self, cores=cores)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        found = asdict(self)
        found["tiles"] = [
            {"rows": r, "vectors": v, "seconds": s, "per_depth": d} for (r, v), (s, d) in self.tiles.items()
        ]
        return found

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Profile:
        """The opposite of `as_dict`; what is left out of barrier, tiles, activations, gather and blas is derived.

        Raises
        ------
        PlanError
            If a field is missing, unknown or of the wrong kind.
        """
        try:
            refuse_unknown(cls, found, "machine profile")
            given = dict(found)
            given["shape"] = {k: tuple(int(n) for n in v) for k, v in found["shape"].items()}
            given["peak"] = {k: _by_threads(v, f"peak {k}") for k, v in found["peak"].items()}
            given["levels"] = tuple(
                Level(
                    **{
                        **v,
                        "read": _by_threads(v["read"], "read"),
                        "update": _by_threads(v["update"], "update"),
                    }
                )
                for v in found["levels"]
            )
            given["barrier"] = _by_threads(found["barrier"], "barrier") if found.get("barrier") else {}
            given["tiles"] = {
                (t["rows"], t["vectors"]): (t["seconds"], t["per_depth"]) for t in found.get("tiles", ())
            }
            given["gather"] = {k: Gather(**v) for k, v in found.get("gather", {}).items()}
            given["blas"] = tuple(Blas(**v) for v in found.get("blas", ()))
            given["gpu"] = GpuProfile.from_dict(found["gpu"]) if found.get("gpu") else None
            _check(given)
            return cls(**given)
        except PlanError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise PlanError(f"machine profile: {what}") from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as JSON, whole or not at all."""
        path = Path(path)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        part.write_text(json.dumps(self.as_dict(), indent=1) + "\n")
        part.replace(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Profile:
        """Read what `save` wrote.

        Raises
        ------
        PlanError
            If the file is no profile; OSError if it cannot be read.
        """
        try:
            found = json.loads(Path(path).read_text())
        except ValueError as error:
            raise PlanError(f"{path}: no machine profile: {error}") from None
        if not isinstance(found, dict):
            raise PlanError(f"{path}: no machine profile: a {type(found).__name__} in place of an object")
        return cls.from_dict(found)

    def rate(self, by_threads: Mapping[int, float], threads: int) -> float:
        """A rate of `threads` threads together, between those known on a log-log line, and beyond them on."""
        known = sorted(by_threads)
        if threads in by_threads or len(known) == 1:
            return by_threads.get(threads, by_threads[known[0]] * threads / known[0])
        above = next((n for n in known if n > threads), known[-1])
        below = max((n for n in known if n < above), default=known[0])
        slope = math.log(by_threads[above] / by_threads[below]) / math.log(above / below)
        return by_threads[below] * math.pow(threads / below, slope)

    def barrier_seconds(self, threads: int) -> float:
        """Seconds of a barrier; for numbers not measured, a further meeting adds a message's way between two caches."""
        if threads == 1:
            return 0.0
        if self.barrier:
            nearest = min(self.barrier, key=lambda n: abs(math.log(n / threads)))
            return self.barrier[nearest] * math.sqrt(threads / nearest)
        return 300 * self.cycle * math.sqrt(threads)


def _check(given: Mapping[str, Any]) -> None:
    """What the cost model takes for granted."""
    for name in ("shape", "peak"):
        for dtype in ("float32", "float64"):
            if dtype not in given[name]:
                raise ValueError(f"{name} must have {dtype}")
    if any(min(numbers) < 1 or len(numbers) != 3 for numbers in given["shape"].values()):
        raise ValueError(f"shape must have three positive numbers each, got {given['shape']!r}")
    if given["cores"] < 1:
        raise ValueError(f"cores must be at least 1, got {given['cores']!r}")
    levels = given["levels"]
    if len(levels) < 2 or levels[-1].bytes or any(level.bytes < 1 for level in levels[:-1]):
        raise ValueError("levels must be caches with their bytes, and then memory with 0")
    if any(level.shared_by < 1 for level in levels):
        raise ValueError("levels must be shared by at least 1 core")
    rates = [*given["peak"].values(), *(r for level in levels for r in (level.read, level.update))]
    if any(1 not in by_threads for by_threads in rates):
        raise ValueError("every rate must be known for 1 thread")
    numbers = [n for tile in given["tiles"].values() for n in tile] + list(
        given.get("activations", {}).values()
    )
    numbers += [n for gather in given["gather"].values() for n in (gather.row, gather.rate)]
    if not all(0 < number < math.inf for number in numbers):
        raise ValueError("seconds and rates of tiles, activations and gather must be positive")


def _by_threads(found: Mapping[Any, float], name: str) -> dict[int, float]:
    rates = {int(threads): float(rate) for threads, rate in found.items()}
    if not rates or any(threads < 1 or not 0 < rate < math.inf for threads, rate in rates.items()):
        raise ValueError(f"{name} must have positive numbers by threads, got {dict(found)!r}")
    return rates
