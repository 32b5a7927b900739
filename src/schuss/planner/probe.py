"""Measuring the machine profile, and keeping it: once per machine, in under two seconds."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

from .. import _core, blas, machine
from ..activations import ACTIVATIONS
from ..data.cache import cache_dir
from ..engine import chosen_isa
from ..errors import PlanError
from ..plan import allowed_threads, processors
from .profile import Blas, Gather, Level, Profile

__all__ = ["assumed", "busy", "cached", "current", "measure", "stamp"]

#: Seconds of one figure; there are some hundred of them.
_SHORT, _LONG = 0.003, 0.012
#: Share of what cores of their own would do that is taken for quiet, and how often it is asked again without.
_AS_EXPECTED, _ATTEMPTS = 0.8, 4
#: Shapes (m, n, k) in which the BLAS is timed: a matrix times a vector, and products of a small and a large minibatch.
_BLAS_SHAPES = ((1, 1024, 1024), (128, 100, 784), (128, 1024, 1024), (1024, 1024, 1024))
#: Cycles a second where nothing was measured: of most processors that have been sold for years.
_ASSUMED_CLOCK = 3e9
#: Share of the threads times one thread's peak that free cores reach, though their clock falls.
_FREE = 0.6
#: Bytes that stand for memory, at least and at most.
_MEMORY, _MOST_MEMORY = 64 * 2**20, 2**30

#: What was read or measured, also where it cannot be kept; None: there was none to read.
_of_this_process: dict[Path, Profile | None] = {}


def current(threads: int | None = None, isa: str | None = None, *, fresh: bool = False) -> Profile:
    """The profile of this machine: kept from before, or measured now.

    Parameters
    ----------
    threads : int or None, default None
        As n_jobs; see :func:`schuss.plan.allowed_threads`. No more than processors are used.
    isa : str or None, default None
        See :func:`schuss.engine.chosen_isa`.
    fresh : bool, default False
        Measure in any case, and keep that.
    """
    count, isa = _useful(allowed_threads(threads)), chosen_isa(isa)
    found = None if fresh else cached(count, isa)
    if found is None:
        found = _of_this_process[_path(count, isa)] = measure(count, isa)
        if not busy(found):
            _keep(found, _path(count, isa))
    return found


def _useful(threads: int) -> int:
    """More threads than processors only wait for each other."""
    return min(threads, processors()[0])


def busy(profile: Profile) -> bool:
    """Whether others took the cores while it was measured: then it is not kept."""
    peak, cores = profile.peak["float32"], min(profile.cores, _core.physical_cores())
    return profile.rate(peak, profile.cores) < _FREE * cores * peak[1]


def cached(threads: int, isa: str | None = None) -> Profile | None:
    """The profile kept from before, if there is one for this machine, its cores, instruction set and versions."""
    path = _path(_useful(threads), chosen_isa(isa))
    if path not in _of_this_process:
        try:
            _of_this_process[path] = Profile.load(path)
        except (OSError, PlanError):  # none, of another version, or half written: measured anew
            _of_this_process[path] = None
    return _of_this_process[path]


def stamp(threads: int, isa: str | None = None) -> tuple[str, str]:
    """What changes with what is known of the machine: another profile has another."""
    found = cached(threads, isa)
    return str(_path(_useful(threads), chosen_isa(isa))), found.measured if found else ""


def _keep(profile: Profile, path: Path) -> None:
    with suppress(OSError):  # a home that cannot be written to
        if path.is_absolute():  # else there is no home at all
            path.parent.mkdir(parents=True, exist_ok=True)
            profile.save(path)


def _path(threads: int, isa: str) -> Path:
    key = [*_machine(), _core.allowed_cores(), threads, isa]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    return cache_dir() / f"machine-{digest}.json"


@lru_cache(maxsize=1)
def _machine() -> tuple[object, ...]:
    """What stays the same while the process runs."""
    return machine.cpu_name(), machine.data_caches(), os.cpu_count(), version("schuss")


def assumed(threads: int, isa: str | None = None) -> Profile:
    """What is known of this machine without measuring: its caches and instruction set, at an ordinary clock."""
    isa = chosen_isa(isa)
    shape, threads = _shape(isa), _useful(threads)
    cores = min(threads, _core.physical_cores())

    def rates(one: float, most: int = cores) -> dict[int, float]:
        """Of one core, of all, and no more of their hyper-threads."""
        return {1: one, cores: one * min(cores, most), threads: one * min(cores, most)}

    per_cycle = (64, 48, 24, 8)  # bytes of a core, from the first level to memory
    levels = tuple(
        Level(name, size, shared, *[rates(width * _ASSUMED_CLOCK, cores if size else 4)] * 2)
        for (name, size, shared), width in zip(_levels_here(), per_cycle[-len(_levels_here()) :], strict=True)
    )
    peak = {dtype: rates(4 * lanes * _ASSUMED_CLOCK) for dtype, (lanes, _, _) in shape.items()}
    return Profile(machine.cpu_name(), isa, threads, shape, peak, levels)


def measure(threads: int | None = None, isa: str | None = None) -> Profile:
    """Measure now, on one thread and on all that are allowed, two and half of them among them."""
    count, isa = _useful(allowed_threads(threads)), chosen_isa(isa)
    shape = _shape(isa)
    numbers = sorted({1, min(2, count), max(1, count // 2), count})
    peak = {dtype: _by_threads(numbers, partial(_peak, isa, dtype)) for dtype in shape}
    memory = _beyond_the_caches()
    return Profile(
        machine.cpu_name(), isa, count, shape, peak, tuple(_levels(isa, numbers, memory)),
        barrier={n: min(_core.measure_barrier(n, _SHORT) for _ in range(5)) for n in numbers if n > 1},
        tiles=dict(_tiles(isa, shape["float32"])),
        activations={name: _core.measure_activation(isa, number, _SHORT) for name, number in ACTIVATIONS.items()},
        gather={"cached": _gather(isa, 2**20), "memory": _gather(isa, memory)},
        blas=tuple(_blas(count)),
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={name: version(name) for name in ("schuss", "numpy", "scipy")},
    )  # fmt: skip


def _beyond_the_caches() -> int:
    """Bytes of which most lie in memory, whatever the caches hold: those of all cores are counted."""
    cores = _core.physical_cores()
    caches = sum(size * -(-cores // shared) for _, size, shared in _levels_here() if size)
    return min(max(_MEMORY, 4 * caches), _MOST_MEMORY)


def _by_threads(numbers: list[int], rate: Callable[[int], float], shared: bool = False) -> dict[int, float]:
    """`rate` of each number of threads. On cores of their own so many do so many times one's; where that is missed by
    much, others had a core: it is asked again, and the best counts."""
    found = {n: rate(n) for n in numbers}
    for n in numbers:
        for _ in range(_ATTEMPTS):
            if n == 1 or shared or found[n] > _AS_EXPECTED * min(n, _core.physical_cores()) * found[1]:
                break
            found[n] = max(found[n], rate(n))
    return found


def _peak(isa: str, dtype: str, threads: int) -> float:
    return _core.measure_peak(isa, threads, _LONG, dtype == "float64")


def _shape(isa: str) -> dict[str, tuple[int, int, int]]:
    return {"float32": _core.kernel_shape(isa, False), "float64": _core.kernel_shape(isa, True)}


def _tiles(isa: str, shape: tuple[int, int, int]) -> Iterator[tuple[tuple[int, int], tuple[float, float]]]:
    """From two depths: what a tile takes anyhow, and what each step in depth adds."""
    short, long = 16, 144
    for rows in range(1, shape[2] + 1):
        for vectors in range(1, shape[1] + 1):
            first, second = (
                min(_core.measure_tile(isa, rows, vectors, depth, _SHORT) for _ in range(2))
                for depth in (short, long)
            )
            each = max(second - first, 1e-12) / (long - short)
            yield (rows, vectors), (max(first - short * each, 1e-12), each)


def _levels(isa: str, numbers: list[int], memory: int) -> Iterator[Level]:
    for name, size, shared in _levels_here():

        def rate(kind: str, threads: int, size: int = size, shared: int = shared) -> float:
            own = size // min(shared, threads) // 2 if size else memory // threads
            return _core.measure_stream(isa, kind, threads, own, _LONG)

        read, update = (_by_threads(numbers, partial(rate, kind), shared > 1) for kind in ("read", "update"))
        yield Level(name, size, shared, read, update)


def _levels_here() -> list[tuple[str, int, int]]:
    """(name, bytes, cores that share it) of the caches and of memory; usual ones where the system tells of none."""
    cores = _core.physical_cores()
    told = [(name, size, shared) for name, (size, shared) in machine.data_caches().items()]
    usual = [("L1", 32 * 2**10, 1), ("L2", 2**20, 1), ("L3", 16 * 2**20, cores)]
    return [*(told or usual)[:3], ("memory", 0, cores)]


def _gather(isa: str, size: int) -> Gather:
    few, many = 16, 1024
    short, long = (_core.measure_gather(isa, features, size, _LONG) for features in (few, many))
    per_byte = max((long - short) / (4 * (many - few)), 1e-13)
    return Gather(max(short - 4 * few * per_byte, 1e-9), 1 / per_byte)


def _blas(threads: int) -> Iterator[Blas]:
    """SciPy's, which the gemv and gemm plans call."""
    from scipy.linalg.blas import sgemm, sgemv

    rng = np.random.default_rng(0)
    for m, n, k in _BLAS_SHAPES:
        a, b = (np.asfortranarray(rng.random(shape, np.float32)) for shape in ((m, k), (k, n)))
        vector = a[0].copy()
        for count in sorted({1, threads}):
            with blas.limit_threads(count):
                work = partial(sgemv, 1.0, b, vector, trans=1) if m == 1 else partial(sgemm, 1.0, a, b)
                yield Blas(m, n, k, count, 2 * m * n * k / _seconds(work))


def _seconds(work: Callable[[], object]) -> float:
    """Least seconds of a call, over some milliseconds."""
    work()
    best, until = float("inf"), time.perf_counter() + _LONG
    while (began := time.perf_counter()) < until or best == float("inf"):
        work()
        best = min(best, time.perf_counter() - began)
    return best
