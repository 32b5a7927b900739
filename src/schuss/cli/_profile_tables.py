"""The machine profile as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schuss.cli._plan_tables import origin
from schuss.planner.units import duration

if TYPE_CHECKING:
    from schuss.planner.profile import Profile

__all__ = ["profile_head", "profile_tables"]

Table = tuple[list[str], list[list[str]]]


def profile_head(profile: Profile) -> list[tuple[str, str]]:
    """What the profile is of."""
    lines = [("profile", f"{profile.name}: {profile.cores} cores, {profile.isa}; {origin(profile)}")]
    return [*lines, ("source", profile.source)] if profile.source else lines


def profile_tables(profile: Profile) -> dict[str, Table]:
    """Heading -> head and rows."""
    found = {
        "Peak in registers, GFLOP/s": _peak(profile),
        "Kernels: GFLOP/s of one thread, of register tiles of rows x vectors": _tiles(profile),
        "Caches and memory, GB/s of all threads (update: read and written back, both counted)": _levels(
            profile
        ),
        "Rows of X": _gather(profile),
    }
    if profile.barrier:
        found["Barriers"] = _barriers(profile)
    if profile.blas:
        found["BLAS, float32, GFLOP/s"] = _blas(profile)
    return found


def _peak(profile: Profile) -> Table:
    dtypes = list(profile.peak)
    threads = sorted({count for by_threads in profile.peak.values() for count in by_threads})
    rows = [
        [str(count), *(f"{profile.rate(profile.peak[name], count) / 1e9:,.1f}" for name in dtypes)]
        for count in threads
    ]
    return ["threads", *dtypes], rows


def _tiles(profile: Profile) -> Table:
    lanes, vectors, rows = profile.shape["float32"]
    wide = range(1, vectors + 1)
    table = [
        [str(r), *(f"{2e-9 * r * v * lanes / profile.tiles[r, v][1]:,.1f}" for v in wide)]
        for r in range(1, rows + 1)
    ]
    return ["rows", *(f"x {v}" for v in wide)], table


def _levels(profile: Profile) -> Table:
    threads = sorted({count for level in profile.levels for count in level.read})
    head = ["level", "size", "shared by"]
    head += [f"{kind}, {count}" for kind in ("read", "update") for count in threads]
    rows = []
    for level in profile.levels:
        rates = [
            profile.rate(found, count) / 1e9 for found in (level.read, level.update) for count in threads
        ]
        size = f"{level.bytes // 1024:,} KB" if level.bytes else "-"
        rows.append([level.name, size, str(level.shared_by), *(f"{rate:,.1f}" for rate in rates)])
    return head, rows


def _gather(profile: Profile) -> Table:
    rows = [
        [
            f"from {'the caches' if where == 'cached' else where}",
            duration(found.row),
            f"{found.rate / 1e9:,.1f}",
        ]
        for where, found in profile.gather.items()
    ]
    return ["gathering", "a row", "GB/s"], rows


def _barriers(profile: Profile) -> Table:
    return ["threads", "one"], [[str(n), duration(seconds)] for n, seconds in sorted(profile.barrier.items())]


def _blas(profile: Profile) -> Table:
    from schuss.planner.roofline import number_of

    threads = sorted({found.threads for found in profile.blas})
    shapes = dict.fromkeys((found.m, found.n, found.k) for found in profile.blas)
    rates = {(found.m, found.n, found.k, found.threads): found.flops for found in profile.blas}
    rows = []
    for shape in shapes:
        known = [rates.get((*shape, count)) for count in threads]
        cells = ["-" if rate is None else f"{rate / 1e9:,.1f}" for rate in known]
        rows.append(["gemv" if shape[0] == 1 else "gemm", *map(str, shape), *cells])
    return ["product", "m", "n", "k", *(number_of(count) for count in threads)], rows
