"""Whole training steps: seconds of an epoch of Schuss's plans and of other libraries on the same work.

    python benchmarks/steps.py net-2h                            Schuss's own choice, and every peer installed
    python benchmarks/steps.py net-1h --batch 1024 schuss jax    these two
    python benchmarks/steps.py net-2h --plans                    every plan of this machine, and every peer
    python benchmarks/steps.py tiny-45 native:1x1 torch@1        @N: with N threads

In each round every implementation is a fresh process; they take turns epoch by epoch, one at a time. Before a clock
starts each must reach the same losses from the same weights in the same order of examples.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from statistics import median
from typing import Any

import common

from schuss.errors import SchussError
from schuss.plan import allowed_threads
from schuss.study import measure, peers
from schuss.study.measure import Peak
from schuss.study.work import EXAMPLES, NAMED, TOLERANCE, Work, named

#: Share of the rows that a slow plan trains on; the seconds are scaled, and the table says so.
SHARES = {"naive": 0.02, "gemv": 0.04}
#: Work of a step, in floating-point operations, up to which peers also run on one thread: it is often faster.
SMALL_STEP = 1e7


def share(name: str, work: Work) -> Work:
    """The part of the work that this implementation trains on."""
    part = SHARES.get(name.split(":")[0], 1)
    return work if part == 1 else work.with_steps(max(2, round(work.steps * part)))


def default_names(work: Work) -> list[str]:
    one_thread = ["torch@1", "torch-compiled@1", "jax@1"]
    small = work.flops_per_example * work.batch <= SMALL_STEP and allowed_threads() > 1
    return ["schuss", *peers.PEERS, *(one_thread if small else [])]


def all_plans(threads: int) -> list[str]:
    cuts = dict.fromkeys(("1x1", f"{threads}x1", f"1x{threads}"))
    return [f"{kernels}:{cut}" for kernels in ("naive", "gemv", "gemm", "native") for cut in cuts]


def one_round(
    names: list[str], work: Work, epochs: int, seconds: float, peak: Peak
) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """What the fresh processes say of themselves, and seconds of an epoch of EXAMPLES, a list for each."""
    with ExitStack() as stack:
        workers = {n: stack.enter_context(measure.start(n, share(n, work))) for n in names}
        about = {n: worker.ask("check") for n, worker in workers.items()}
        common.same_losses({n: reply["losses"] for n, reply in about.items()}, TOLERANCE[work.optimizer])
        peak.gflops = {r["threads"]: [] for r in about.values()} | peak.gflops
        for worker in workers.values():
            worker.ask("prepare")
        found: dict[str, list[float]] = {n: [] for n in names}
        for _ in range(epochs):
            measure.pause()
            peak.measure()
            for n, worker in workers.items():
                measure.pause()
                found[n].append(
                    worker.ask("epoch", seconds=seconds)["seconds"] * EXAMPLES / share(n, work).rows
                )
    return about, found


def summarise(work: Work, about: dict[str, Any], rounds: list[dict[str, list[float]]], peak: Peak) -> Any:
    """One entry an implementation, from the medians of its processes."""
    result = {}
    for name, facts in about.items():
        times = sorted(median(found[name]) for found in rounds)
        middle, threads = median(times), facts["threads"]
        gflops = work.flops_per_example * EXAMPLES / middle / 1e9
        result[name] = {
            **{k: facts[k] for k in ("plan", "threads", "versions") if k in facts},
            "seconds": middle,
            "min": times[0],
            "max": times[-1],
            "us_per_step": middle / EXAMPLES * work.batch * 1e6,
            "gflops": gflops,
            "share_of_peak": gflops / median(peak.gflops[threads]),
            "rows": share(name, work).rows,
        }
    return result


def best_peer(result: dict[str, Any]) -> str | None:
    return min((n for n in result if peers.is_peer(n)), key=lambda n: result[n]["seconds"], default=None)


def reference(result: dict[str, Any]) -> str:
    """What the others are compared with: Schuss's own choice, or the first."""
    return "schuss" if "schuss" in result else next(iter(result))


def report(result: dict[str, Any], peak: Peak) -> str:
    ours = reference(result)
    base = result[ours]["seconds"]
    rows = [
        [
            f"{name} ({r['plan']})" if name == "schuss" else name,
            *(f"{r[key]:.4g}" for key in ("seconds", "min", "max", "us_per_step")),
            f"{r['gflops']:.1f}",
            f"{r['share_of_peak']:.0%}",
            r["threads"],
            f"{r['seconds'] / base:.2f}",
            r["rows"],
        ]
        for name, r in result.items()
    ]
    head = ["", "s/epoch", "min", "max", "us/step", "GFLOP/s", "of peak", "threads", f"/ {ours}", "rows"]
    peaks = ", ".join(f"{median(rates):.0f} on {n}" for n, rates in sorted(peak.gflops.items()))
    text = f"peak GFLOP/s: {peaks}\n{common.table(head, rows)}"
    best = best_peer(result)
    if best and best != ours:
        text += f"\nbest peer {best}: {ours} is {result[best]['seconds'] / base:.2f} x as fast"
    return text


def run(work: Work, names: list[str], rounds: int, epochs: int, seconds: float) -> dict[str, Any]:
    peak = Peak({1, allowed_threads()})
    times = []
    for _ in range(rounds):
        about, found = one_round(names, work, epochs, seconds, peak)
        times.append(found)
    result = summarise(work, about, times, peak)
    print(report(result, peak))
    return {
        **common.machine(),
        "work": work.as_dict(),
        "peak_gflops": peak.gflops,
        "losses_of_the_check": {n: facts["losses"] for n, facts in about.items()},
        "epoch_seconds": {n: [found[n] for found in times] for n in names},
        "result": result,
        "best_peer": best_peer(result),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("work", choices=NAMED)
    parser.add_argument("implementations", nargs="*", help=f"schuss, a plan, or {', '.join(peers.PEERS)}")
    parser.add_argument("--plans", action="store_true", help="every plan of this machine too")
    parser.add_argument("--formula", choices=("default", "paper"), default="default",
                        help="paper: logistic layers, 1/2 sum (a - y)^2")  # fmt: skip
    parser.add_argument("--activation", choices=("relu", "logistic"))
    parser.add_argument("--loss", choices=("log_loss", "squared_error"))
    parser.add_argument("--optimizer", choices=("sgd", "adam"))
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rows", type=int, help=f"examples of an epoch; seconds are scaled to {EXAMPLES:,}")
    parser.add_argument("--rounds", type=int, default=3, help="fresh processes of each")
    parser.add_argument("--epochs", type=int, default=3, help="turns of each in a round")
    parser.add_argument(
        "--seconds", type=float, default=0.3, help="a turn is whole epochs for at least so long"
    )
    parser.add_argument("--json", help="write every measurement to this file")
    o = parser.parse_intermixed_args()
    work = named(
        o.work, paper=o.formula == "paper", activation=o.activation, loss=o.loss, optimizer=o.optimizer,
        batch=o.batch, rows=o.rows,
    )  # fmt: skip
    try:
        print(common.header(f"{o.work}: {work}"))
        names = o.implementations or common.usable(default_names(work), work, named=False)
        if o.plans:
            names = ["schuss", *all_plans(allowed_threads()), *(n for n in names if n != "schuss")]
        names = common.usable(list(dict.fromkeys(names)), work, named=True)
        common.write(o.json, run(work, names, o.rounds, o.epochs, o.seconds))
    except SchussError as error:
        sys.exit(f"steps.py: {error}")


if __name__ == "__main__":
    main()
