"""How well the planner predicts and chooses, over workloads drawn by a seed.

    python benchmarks/planner.py measure --seed 1 --json fit.json         times of every plan, to fit the model to
    python benchmarks/planner.py fit fit.json                             the model's constants, and how well they do
    python benchmarks/planner.py check --json FILE                        other workloads: predictions and choices
    python benchmarks/planner.py check --busy 1                           beside a program that takes one core
    python benchmarks/planner.py check --threads 4                        more threads than cores
    python benchmarks/planner.py overhead                                 what trying plans costs a training of 5 s

Layers 1 to 5, widths 1 to 4096 and minibatches 1 to 4096 are drawn evenly on a logarithmic scale. All plans of a
workload take turns, window by window; `auto` is one of them. The workloads of `check` have another seed than those that
the constants were fitted to.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from statistics import median
from typing import Any

import common
import numpy as np

import schuss
from schuss.engine import CpuEngine
from schuss.optimizers import Optimizer
from schuss.plan import Plan, allowed_threads, n_parameters
from schuss.planner import probe
from schuss.planner.account import Constants, Workload
from schuss.planner.choice import candidates, choose
from schuss.planner.cost import predict
from schuss.planner.profile import Profile

FIT_SEED, CHECK_SEED = 1, 3
#: Of one step, in floating-point operations: a second on a core, and what all its arrays may take, in bytes.
MOST_FLOPS, MOST_BYTES = 2e11, 2e9
WINDOWS, SECONDS, PASSES = 20, 0.012, 2


def draw(seed: int, count: int) -> list[Workload]:
    """The first `count` workloads of this seed."""
    rng = np.random.default_rng(seed)
    found: list[Workload] = []
    while len(found) < count:
        layers = int(rng.integers(1, 6))
        sizes = tuple(int(n) for n in np.exp(rng.uniform(0, np.log(4097), layers + 1)))
        batch = int(np.exp(rng.uniform(0, np.log(4097))))
        rows = max(batch, min(50_000, 16_000_000 // sizes[0], 200 * batch) // batch * batch)
        activation, solver = str(rng.choice(["relu", "logistic", "tanh"])), str(rng.choice(["sgd", "adam"]))
        work = Workload(sizes, batch, rows, activation, solver)
        if work.flops <= MOST_FLOPS and 8 * batch * sum(sizes) <= MOST_BYTES:
            found.append(work)
    return found


class Runner:
    """Training of one workload under one plan, some steps at a time."""

    def __init__(self, work: Workload, plan: Plan) -> None:
        sizes = work.layer_sizes
        network = schuss.Network(sizes, activation=work.activation, classes=range(max(2, sizes[-1])), seed=0)
        self.work, self.engine = work, network.new_engine(plan, Optimizer(work.formula))
        self.engine.load(network.parameters)
        rng = np.random.default_rng(0)
        self.X = rng.standard_normal((work.rows, sizes[0]), np.float32)
        self.y = rng.integers(0, max(2, sizes[-1]), work.rows).astype(np.int32)
        self.order = rng.permutation(work.rows)
        self.steps = 2

    def seconds(self, steps: int) -> float:
        """Of a step, over `steps` of them."""
        batch, most = self.work.batch_size, self.work.rows // self.work.batch_size
        began, left = time.perf_counter(), steps
        while left > 0:
            part = min(left, most)
            self.engine.run(self.X, self.y, self.order[: part * batch], batch, np.full(part, 1e-5))
            left -= part
        return (time.perf_counter() - began) / steps

    def prepare(self, at_least: float) -> None:
        """Warm up for so long; then as many steps a window as fill it."""
        each, until = self.seconds(2), time.perf_counter() + at_least
        while time.perf_counter() < until:
            each = self.seconds(max(1, int(SECONDS / each)))
        self.steps = max(1, int(SECONDS / each))


def measure(work: Workload, plans: dict[str, Plan], windows: int = WINDOWS) -> dict[str, list[Any]]:
    """Seconds of a step under each plan, a list of windows; `present`: the plan of auto in the end."""
    runners = {name: Runner(work, plan) for name, plan in plans.items()}
    for name, runner in runners.items():
        trying = 0.3 if name == "auto" else 0.0  # auto's trials are over before a clock starts
        runner.prepare(SECONDS + trying)
    found: dict[str, list[Any]] = {name: [] for name in plans}
    for _ in range(windows):
        for name, runner in runners.items():
            found[name].append(runner.seconds(runner.steps))
    if "auto" in runners:
        found["present"] = [str(runners["auto"].engine.present)]
    return found


def every_plan(threads: int) -> dict[str, Plan]:
    return {
        f"native:{e}x{m}": Plan("native", e, m)
        for e in range(1, threads + 1)
        for m in range(1, threads // e + 1)
    }


# --- fitting ---------------------------------------------------------------------------------------------


def passes(
    works: list[Workload], plans_of: Callable[[Workload], dict[str, Plan]], windows: int
) -> list[dict[str, Any]]:
    """Seconds of each plan of each workload; all workloads twice, as neighbours come and go."""
    found: list[dict[str, Any]] = [{} for _ in works]
    for turn in range(PASSES):
        for number, work in enumerate(works):
            for name, seconds in measure(work, plans_of(work), windows // PASSES).items():
                found[number][name] = found[number].get(name, type(seconds)()) + seconds
        print(f"pass {turn + 1} of {PASSES}", file=sys.stderr, flush=True)
    return found


def measured(seed: int, count: int) -> dict[str, Any]:
    profile, works = probe.measure(), draw(seed, count)
    times = passes(works, lambda _: every_plan(allowed_threads()), WINDOWS)
    rows = [{"work": asdict(work), "seconds": seconds} for work, seconds in zip(works, times, strict=True)]
    return {**common.machine(), "seed": seed, "profile": profile.as_dict(), "rows": rows}


def quiet(windows: list[float]) -> float:
    """Of a window that nobody disturbed."""
    return float(np.percentile(windows, 10))


def fit(path: str) -> Constants:
    """Least squares of the logarithm of predicted over measured, robust against disturbed windows."""
    from scipy.optimize import least_squares

    found = json.loads(Path(path).read_text())
    profile = Profile.from_dict(found["profile"])
    items = [
        (Workload(**{**row["work"], "layer_sizes": tuple(row["work"]["layer_sizes"])}), Plan.parse(plan), quiet(times))
        for row in found["rows"] for plan, times in row["seconds"].items()
    ]  # fmt: skip
    names = [field.name for field in fields(Constants)]
    start = np.log([getattr(Constants(), name) for name in names])

    def constants(logs: Any) -> Constants:
        return Constants(**{name: float(np.exp(v)) for name, v in zip(names, logs, strict=True)})

    def errors(logs: Any) -> Any:
        now = constants(logs)
        return np.log([predict(work, plan, profile, now).seconds / seconds for work, plan, seconds in items])

    # a weak pull to the start settles what the workloads do not tell apart
    solved = least_squares(
        lambda x: np.concatenate([errors(x), 0.05 * (x - start)]), start, loss="soft_l1", f_scale=0.1
    )
    left = errors(solved.x)
    for i in np.argsort(-np.abs(left))[:20]:
        work, plan, seconds = items[i]
        print(f"{np.exp(left[i]):.2f} x {seconds * 1e6:.1f} us  {plan}  {work}")
    off = np.abs(np.expm1(left))
    print(f"within 10 %: {np.mean(off < 0.1):.0%}, 25 %: {np.mean(off < 0.25):.0%}, of {len(items)}")
    return constants(solved.x)


# --- checking --------------------------------------------------------------------------------------------


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Beside so many processes that do nothing but take a core."""
    others = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(processes)]
    for other in others:
        other.start()
    try:
        yield
    finally:
        for other in others:
            other.kill()


def _spin() -> None:
    while True:
        pass


def check(count: int, threads: int, cores: int, windows: int) -> list[dict[str, Any]]:
    profile, works = probe.current(threads), draw(CHECK_SEED, count)

    def plans_of(work: Workload) -> dict[str, Plan]:
        best = candidates(work, profile, min(threads, cores))[0]
        epochs = 1 + int(5 / best.epoch_seconds)  # a training of five seconds and more
        auto = choose(
            "auto", threads=threads, layer_sizes=work.layer_sizes, batch_size=work.batch_size, rows=work.rows,
            epochs=epochs, activation=work.activation, formula=work.formula,
        )  # fmt: skip
        return every_plan(cores) | {"auto": auto}

    rows = []
    for work, seconds in zip(works, passes(works, plans_of, windows), strict=True):
        present = seconds.pop("present")
        mid = {name: median(times) for name, times in seconds.items()}
        best = min((name for name in mid if name != "auto"), key=lambda name: mid[name])
        low, high = np.percentile(seconds[best], [25, 75])
        rows.append(
            {
                "work": asdict(work), "seconds": seconds, "median": mid, "best": best, "present": present,
                "began": str(plans_of(work)["auto"]), "noise": (high - low) / mid[best],
                "loss": mid["auto"] / mid[best] - 1, "over_one_thread": mid["auto"] / mid["native:1x1"] - 1,
                "predicted": predict(work, Plan.parse(best), profile).seconds / quiet(seconds[best]) - 1,
            }
        )  # fmt: skip
        print(line(rows[-1]), flush=True)
    return rows


HEAD = (
    f"{'network':<30}{'batch':>6}{'':>6}  {'best':<11}{'us a step':>11}  "
    f"{'auto':<11}{'began':<11}{'lost':>7}{'noise':>7}{'predicted':>11}"
)


def line(row: dict[str, Any]) -> str:
    work, best = row["work"], row["best"]
    sizes = "-".join(map(str, work["layer_sizes"]))
    return (
        f"{sizes:<30}{work['batch_size']:>6}{work['formula']:>6}  {best:<11}{row['median'][best] * 1e6:>11,.1f}  "
        f"{row['present'][-1]:<11}{row['began']:<11}{row['loss']:>7.1%}{row['noise']:>7.1%}{row['predicted']:>+11.0%}"
    )


def verdict(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Shares of the workloads."""
    return {
        "auto_within_5_percent_and_noise": float(np.mean([r["loss"] <= 0.05 + r["noise"] for r in rows])),
        "auto_no_slower_than_one_thread": float(
            np.mean([r["over_one_thread"] <= 0.02 + r["noise"] for r in rows])
        ),
        "predicted_within_25_percent": float(np.mean([abs(r["predicted"]) <= 0.25 for r in rows])),
        "first_choice_within_5_percent_and_noise": float(
            np.mean(
                [
                    r["median"].get(r["began"], np.inf) <= (1.05 + r["noise"]) * r["median"][r["best"]]
                    for r in rows
                ]
            )
        ),
    }


def overhead(seconds: float, rounds: int = 3, turns: int = 20) -> list[dict[str, Any]]:
    """Trainings of so many seconds, with plans tried and without, a twentieth of each in turn: times and bits."""
    rows = []
    for layers, batch in (((784, 1024, 1024, 10), 128), ((784, 1024, 1024, 10), 4096), ((20, 100, 2), 200)):
        work = Workload(layers, batch, 50_000 // batch * batch)
        plan = choose("auto", threads=allowed_threads(), layer_sizes=layers, batch_size=batch, rows=10**9)
        pilot = Runner(work, replace(plan, others=(), tries=1))
        pilot.prepare(0.2)
        steps = max(1, round(seconds / turns / pilot.seconds(pilot.steps)))
        times: dict[str, list[float]] = {"fixed": [], "auto": []}
        for _ in range(rounds):
            runners = {"fixed": Runner(work, replace(plan, others=(), tries=1)), "auto": Runner(work, plan)}
            sums = dict.fromkeys(runners, 0.0)
            for _turn in range(turns):
                for name, runner in runners.items():
                    sums[name] += steps * runner.seconds(steps)
            for name, total in sums.items():
                times[name].append(total)
        states = [state(runner.engine, layers) for runner in runners.values()]
        same = all(np.array_equal(a, b) for a, b in zip(*states, strict=True))
        tried = {str(cut): count for cut, count, _ in runners["auto"].engine.records()}
        ratio = median(a / f for a, f in zip(times["auto"], times["fixed"], strict=True))
        rows.append(
            {"work": asdict(work), "seconds": times, "ratio": ratio, "equal_bits": same, "steps": tried}
        )
        print(
            f"{'-'.join(map(str, layers))} batch {batch}: fixed {median(times['fixed']):.2f} s, auto "
            f"{median(times['auto']):.2f} s ({ratio - 1:+.1%}); equal bits: {same}; steps {tried}"
        )
    return rows


def state(engine: CpuEngine, layers: tuple[int, ...]) -> list[Any]:
    """Parameters and the optimizer's vectors."""
    found = [np.empty(n_parameters(layers), engine.dtype) for _ in range(engine.slots)]
    for slot, flat in enumerate(found):
        engine.store_slot(slot, flat)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("measure", "fit", "check", "overhead"))
    parser.add_argument("file", nargs="?", help="of fit: what measure wrote")
    parser.add_argument("--seed", type=int, default=FIT_SEED, help="of measure")
    parser.add_argument("--count", type=int, default=None, help="workloads: 140 to fit to, 80 to check")
    parser.add_argument("--threads", type=int, default=allowed_threads(), help="of check: allowed")
    parser.add_argument("--busy", type=int, default=0, help="of check: programs that take a core meanwhile")
    parser.add_argument("--windows", type=int, default=WINDOWS)
    parser.add_argument("--seconds", type=float, default=5.0, help="of overhead: length of the training")
    parser.add_argument("--json", help="write every measurement to this file")
    o = parser.parse_args()
    if o.what == "measure":
        common.write(o.json, measured(o.seed, o.count or 140))
    elif o.what == "fit":
        print(fit(o.file))
    elif o.what == "overhead":
        common.write(o.json, {**common.machine(), "rows": overhead(o.seconds)})
    else:
        profile = probe.current(o.threads)  # before the cores are taken
        print(HEAD)
        with busy(o.busy):
            rows = check(o.count or 80, o.threads, allowed_threads(), o.windows)
        shares = verdict(rows)
        print(*(f"{name.replace('_', ' ')}: {share:.0%}" for name, share in shares.items()), sep="\n")
        common.write(
            o.json,
            {
                **common.machine(),
                "threads": o.threads,
                "busy": o.busy,
                "profile": profile.as_dict(),
                **shares,
                "rows": rows,
            },
        )


if __name__ == "__main__":
    main()
