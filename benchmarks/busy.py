"""What a busy neighbour costs: seconds of an epoch alone, and beside processes that use every core.

    python benchmarks/busy.py                       Schuss, PyTorch, JAX, each beside as many busy loops as cores
    python benchmarks/busy.py schuss native:1x1 --loops 1

784-1024-1024-10, batch 128, 10,000 examples an epoch; quiet and busy epochs take turns.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any

import common

from schuss.errors import SchussError
from schuss.plan import allowed_threads
from schuss.study import measure
from schuss.study.work import named

#: A busy process ends by itself after so many seconds, whatever happens to this one.
FUSE = 300
LOOP = f"import signal; signal.alarm({FUSE})\nprint(flush=True)\nwhile True: pass"


@contextmanager
def busy_loops(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """`count` processes of this user at the usual priority that do nothing but run."""
    loops = [subprocess.Popen([sys.executable, "-c", LOOP], stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for loop in loops:
            assert loop.stdout is not None
            loop.stdout.readline()  # it has begun
        yield loops
    finally:
        for loop in loops:
            loop.kill()
        for loop in loops:
            loop.communicate()


def run(names: list[str], rows: int, loops: int, rounds: int) -> dict[str, Any]:
    work = named("net-2h", batch=128, rows=rows)
    found: dict[str, dict[str, list[float]]] = {n: {"quiet": [], "busy": []} for n in names}
    with ExitStack() as stack:
        workers = {n: stack.enter_context(measure.start(n, work)) for n in names}
        for worker in workers.values():
            worker.ask("prepare")
        for _ in range(rounds):
            for name, worker in workers.items():
                measure.pause()
                found[name]["quiet"].append(worker.ask("epoch")["seconds"])
                with busy_loops(loops):
                    found[name]["busy"].append(worker.ask("epoch")["seconds"])
    return {"work": work.as_dict(), "loops": loops, "epoch_seconds": found}


def report(result: dict[str, Any]) -> str:
    rows = []
    for name, found in result["epoch_seconds"].items():
        quiet, busy = median(found["quiet"]), median(found["busy"])
        spread = f"{min(found['busy']):.3f} to {max(found['busy']):.3f}"
        rows.append([name, f"{quiet:.3f}", f"{busy:.3f}", spread, f"{busy / quiet:.2f}"])
    return common.table(["", "quiet s/epoch", "busy", "busy, from to", "busy / quiet"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("implementations", nargs="*", help="as for steps.py; default: schuss torch jax")
    parser.add_argument("--loops", type=int, default=allowed_threads(), help="busy processes")
    parser.add_argument("--rounds", type=int, default=7, help="quiet and busy epochs of each")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--json", help="write every measurement to this file")
    o = parser.parse_intermixed_args()
    try:
        names = o.implementations or ["schuss", "torch", "jax"]
        names = common.usable(names, named("net-2h"), named=bool(o.implementations))
        print(common.header(f"net-2h, batch 128, {o.rows:,} examples, beside {o.loops} busy loops"))
        result = run(names, o.rows, o.loops, o.rounds)
    except SchussError as error:
        sys.exit(f"busy.py: {error}")
    print(report(result))
    common.write(o.json, {**common.machine(), **result})


if __name__ == "__main__":
    main()
