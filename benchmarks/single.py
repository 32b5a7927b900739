"""One example at a time: how long a call takes that learns from it, from Python.

    python benchmarks/single.py                    both networks; Schuss and every peer that is installed
    python benchmarks/single.py schuss torch@1 --net 784-1024-10

Blocks of calls of fresh processes take turns. Every call returns its loss as a Python float; examples wait as the
library's own arrays. Bytes of a step count each parameter as read once and written once, the least that any step
moves. Before a clock starts the first losses must agree.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from typing import Any

import common
import numpy as np

from schuss.errors import SchussError
from schuss.plan import allowed_threads
from schuss.study import measure
from schuss.study.measure import Worker
from schuss.study.work import Work

NETS = {
    "784-1024-10": Work((784, 1024, 10), batch=1, rows=1000),
    "20-64-64-2": Work((20, 64, 64, 2), batch=1, rows=1000, activation="relu"),
}
#: As in steps.py.
TOLERANCE = 1e-5
#: A block of calls ends after so many seconds: slower libraries make fewer.
BLOCK_SECONDS = 1.0


def default_names() -> list[str]:
    names = ["schuss", "torch", "jax", "sklearn"]
    return [*names, "torch@1", "jax@1"] if allowed_threads() > 1 else names


def run(work: Work, names: list[str], calls: int, blocks: int) -> dict[str, list[int]]:
    """Nanoseconds of every call."""
    found: dict[str, list[int]] = {n: [] for n in names}
    with ExitStack() as stack:
        command = (sys.executable, str(common.HERE / "single_worker.py"))
        workers = {n: stack.enter_context(Worker(n, command, work=work.as_dict())) for n in names}
        losses = {n: worker.ask("check")["losses"] for n, worker in workers.items()}
        common.same_losses(losses, TOLERANCE)
        for worker in workers.values():
            worker.ask("warm")
        for _ in range(blocks):
            for n, worker in workers.items():
                measure.pause()
                found[n] += worker.ask("calls", count=calls // blocks, seconds=BLOCK_SECONDS)["nanoseconds"]
    return found


def summarise(work: Work, nanoseconds: list[int]) -> dict[str, float]:
    p50, p90, p99, most = np.percentile(nanoseconds, [50, 90, 99, 100]) / 1e3
    moved = 2 * 4 * work.start().n_parameters
    return {"p50_us": p50, "p90_us": p90, "p99_us": p99, "max_us": most, "calls": len(nanoseconds),
            "bytes_moved": moved, "gb_per_second": moved / p50 / 1e3}  # fmt: skip


def report(result: dict[str, dict[str, float]]) -> str:
    base = next(iter(result.values()))["p50_us"]
    columns = ("p50_us", "p90_us", "p99_us", "max_us", "gb_per_second")
    rows = [
        [name, *(f"{r[c]:.1f}" for c in columns), f"{r['p50_us'] / base:.2f}", r["calls"]]
        for name, r in result.items()
    ]
    head = ["", "p50 us", "p90", "p99", "max", "GB/s", f"/ {next(iter(result))}", "calls"]
    return common.table(head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "implementations", nargs="*", help="schuss, torch, jax, sklearn, each with or without @N"
    )
    parser.add_argument("--net", choices=NETS, action="append", help="default: both")
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--json", help="write every measurement to this file")
    o = parser.parse_intermixed_args()
    results: dict[str, Any] = {}
    try:
        for net in o.net or NETS:
            work = NETS[net]
            names = o.implementations or default_names()
            names = common.usable(names, work, named=bool(o.implementations))
            found = run(work, names, o.calls, o.blocks)
            results[net] = {n: summarise(work, calls) for n, calls in found.items()}
            moved = results[net][names[0]]["bytes_moved"]
            print(common.header(f"one example at a time, {work}; {moved:,} bytes of parameters moved a step"))
            print(report(results[net]), end="\n\n")
    except SchussError as error:
        sys.exit(f"single.py: {error}")
    common.write(o.json, {**common.machine(), "single": results})


if __name__ == "__main__":
    main()
