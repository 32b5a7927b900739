"""The sections of gpu.py: each measures until its time is over, and returns what it found as JSON has it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from math import isfinite
from statistics import median
from typing import Any

import gpu_check
import mnist98
from gpu_processes import NAIVE, OURS, REFERENCE, SERIAL, Deadline, Run, Team

from schuss.study.measure import StudyError
from schuss.study.work import PAPER, Work

Found = dict[str, Any]

PRECISIONS = ("float32", "tf32", "bfloat16")
#: How far the mean loss of the first pass may be from the CPU's, relative. float32: sums in another order, as in
#: schuss.study.work. Operands of 11 and 8 bits make a product err by up to 2^-11 and 2^-8 of itself; in the mean of
#: many examples' losses most of that cancels, while a wrong formula is further off than these.
TOLERANCE = {"float32": 1e-5, "tf32": 1e-3, "bfloat16": 1e-2}
#: Turns of each implementation.
ROUNDS = 5
#: Share of an epoch that one thread of plain loops is timed on.
SERIAL_SHARE = 0.02
#: Seeds of MNIST to 98 %, and its sides.
SEEDS, SIDES = 3, ("schuss-cuda", "torch-cuda")


def check(run: Run, deadline: Deadline) -> Found:
    """The CPU's bits, and its float64 values, over a grid of networks."""
    found: list[Found] = []
    with Team(run, [OURS]) as team:
        for case in deadline.each(gpu_check.cases(run.emulated)):
            try:
                answer = team.ask(OURS, "case", case=case)
            except StudyError as error:
                answer = {"right": False, "what": str(error)}
            found.append({"case": case, **answer})
            if not answer["right"]:
                print(f"check: {gpu_check.named(case)}: {answer['what']}", flush=True)
    return {"cases": found, "left_out": len(deadline.left_out)}


def cells(run: Run) -> list[tuple[str, int, str]]:
    """Network, batch and precision: those first that most is asked of."""
    batches, two = run.sizes.batches, ["tf32", "bfloat16"]
    first = [
        ("net-2h", batches[0], "tf32"),
        ("net-2h", batches[-1], "bfloat16"),
        ("net-2h", batches[-1], "tf32"),
        ("net-2h", batches[0], "float32"),
        *product(["net-1h"], (batches[0], batches[-1]), two),
    ]
    return list(dict.fromkeys([*first, *product(run.sizes.networks, batches, PRECISIONS)]))


def steps(run: Run, deadline: Deadline) -> Found:
    """Microseconds of a step beside the peers' in turns; where the time is short, of some cells without the peers."""
    peers_end = Deadline(0.8 * deadline.left)
    found: list[Found] = []
    with Team(run, [OURS, REFERENCE, *run.peers]) as team:
        losses: dict[Any, float] = {}
        for network, batch, precision in deadline.each(cells(run)):
            work = run.work(run.sizes.networks[network], batch)
            if (network, batch) not in losses:
                right = team.ask(REFERENCE, "prepare", work=work.as_dict(), precision="float32")
                losses[network, batch] = right["loss"]
            names = [OURS] if peers_end.over else [OURS, *run.peers]
            cell = one_cell(run, team, names, work, precision, losses[network, batch])
            found.append({"network": network, "batch": batch, "precision": precision, **cell})
    return {"cells": found, "left_out": deadline.left_out}


def one_cell(run: Run, team: Team, names: list[str], work: Work, precision: str, wanted: float) -> Found:
    """All prepare at once; then they take turns, one at a time, and the chip's rate is measured among them."""
    failed: dict[str, str] = {}
    ready: dict[str, Any] = {}
    prepared = team.ask_all(names, "prepare", work=work.as_dict(), precision=precision)
    for name, answer in prepared.items():
        if isinstance(answer, StudyError):
            failed[name] = str(answer)
        elif not (off := abs(answer["loss"] - wanted) / abs(wanted)) <= TOLERANCE[precision]:
            failed[name] = f"its loss is {answer['loss']:.7g}, the CPU's {wanted:.7g}: off by {off:.1e}"
        else:
            ready[name] = {**answer, "off": off, "us": []}
    rates: list[float] = []
    for _ in range(ROUNDS):
        for name in list(ready):
            try:
                turn = team.ask(name, "turn", seconds=run.sizes.seconds)
                if not isfinite(turn["loss"]):
                    raise StudyError(f"its loss became {turn['loss']}")
                ready[name]["us"].append(median(turn["us"]))
            except StudyError as error:
                failed[name] = str(error)
                del ready[name]
        if "torch" in team.names:
            rates.append(rate(run, team, precision))
    for name, why in failed.items():
        print(f"{work}, {precision}: {name}: {why}", flush=True)
    return {
        "steps_of_an_epoch": run.sizes.examples / work.batch,
        "flops_of_a_step": work.flops_per_example * work.batch,
        "rate": median(rates) if rates else None,
        "found": ready,
        "failed": failed,
    }


def rate(run: Run, team: Team, precision: str) -> float:
    """FLOP/s of a large product in PyTorch."""
    n, seconds = run.sizes.matrix, run.sizes.seconds / 2
    return float(team.ask("torch", "rate", precision=precision, n=n, seconds=seconds)["flops"])


def nodes(run: Run, deadline: Deadline) -> Found:
    """Each launch of a step alone, beside what its operations and its bytes take at the rates measured here."""
    found, copies, rates = [], {}, {}
    seconds = run.sizes.seconds
    with Team(run, [OURS, *(["torch"] if "torch" in run.peers else [])]) as team:
        if "torch" in team.names:
            for where, nbytes in run.sizes.copies.items():
                copies[where] = team.ask("torch", "copy", nbytes=nbytes, seconds=seconds)["bytes"]
            rates = {precision: rate(run, team, precision) for precision in PRECISIONS}
            team.renew("torch")  # its matrices go
        ends = (run.sizes.batches[0], run.sizes.batches[-1])
        for network, batch, precision in deadline.each(list(product(["net-2h"], ends, PRECISIONS))):
            work = run.work(run.sizes.networks[network], batch)
            cell = {"network": network, "batch": batch, "precision": precision}
            found.append(
                cell
                | answer(team, OURS, "nodes", work=work.as_dict(), precision=precision, seconds=seconds / 4)
            )
    return {"cells": found, "copies": copies, "rates": rates, "left_out": deadline.left_out}


def answer(team: Team, name: str, request: str, **arguments: Any) -> Found:
    """The reply, or the error, said."""
    try:
        return team.ask(name, request, **arguments)
    except StudyError as error:
        work = Work(**arguments["work"])
        print(f"{name}, {request}, {work}, {arguments.get('precision', '')}: {error}", flush=True)
        return {"error": str(error)}


def widths(run: Run, deadline: Deadline) -> Found:
    """A step of networks with two hidden layers of the same width, from a little below 2^10 to above."""
    found = []
    inputs, outputs = run.sizes.wide
    wanted = list(product(run.sizes.width_batches, PRECISIONS, run.sizes.widths))
    with Team(run, [OURS]) as team:
        for batch, precision, width in deadline.each(wanted):
            work = run.work((inputs, width, width, outputs), batch)
            cell: Found = {"batch": batch, "precision": precision, "width": width}
            ready = answer(team, OURS, "prepare", work=work.as_dict(), precision=precision)
            if "error" not in ready:
                us = median(team.ask(OURS, "turn", seconds=run.sizes.seconds / 2)["us"])
                cell |= {"us": us, "gflops": work.flops_per_example * batch / us / 1e3}
            found.append(cell | {k: v for k, v in ready.items() if k == "error"})
    return {"cells": found, "left_out": deadline.left_out}


def epochs(run: Run, deadline: Deadline) -> Found:
    """Seconds of whole epochs by the 2016 study's formula: the trainer's, with all that it does around the steps."""
    found = []
    plans = (SERIAL, REFERENCE, NAIVE, OURS)
    wanted = [
        (network, batch, plan)
        for network, batch, plan in product(run.sizes.networks, run.sizes.batches, plans)
        if plan != SERIAL or batch == run.sizes.batches[0]  # an example at a time: it is the same for all
    ]
    with Team(run, plans) as team:
        for network, batch, plan in deadline.each(wanted):
            whole = run.work(run.sizes.networks[network], batch, **PAPER)
            work = whole.with_steps(round(whole.steps * SERIAL_SHARE)) if plan == SERIAL else whole
            cell: Found = {"network": network, "batch": batch, "plan": plan, "rows": work.rows}
            ready = answer(team, plan, "train", work=work.as_dict())
            if "error" in ready:
                found.append(cell | ready)
                continue
            turns = [team.ask(plan, "epoch", seconds=run.sizes.seconds) for _ in range(ROUNDS)]
            taken = [turn["seconds"] * run.sizes.examples / work.rows for turn in turns]
            found.append({**cell, "seconds": median(taken), "all": taken, "flops": whole.flops_per_example})
    return {"cells": found, "examples": run.sizes.examples, "left_out": deadline.left_out}


def mnist(run: Run, deadline: Deadline) -> Found:
    """Seconds from the start of a process to 98 % of MNIST's test images, beside PyTorch's."""
    if run.emulated:
        return {"left_out": "an emulated GPU would take hours"}
    if not os.environ.get("SCHUSS_DATA_DIR"):
        return {"left_out": "SCHUSS_DATA_DIR names no folder with MNIST's four .gz files"}
    sides = [side for side in SIDES if side.startswith("schuss") or "torch" in run.peers]
    found: dict[str, list[Any]] = {side: [] for side in sides}
    for seed, side in deadline.each(list(product(range(SEEDS), sides))):
        try:
            found[side].append(mnist98.run(side, mnist98.BEST[side], seed))
        except StudyError as error:
            print(f"mnist: {error}", flush=True)
    settings = {side: mnist98.BEST[side] for side in sides}
    runs = mnist98.without_infinity(found)
    return {"goal": mnist98.GOAL, "settings": settings, "runs": runs, "left_out": deadline.left_out}


def compile(run: Run, deadline: Deadline) -> Found:
    """Seconds from the start of a process to the first step taken, with nothing in the cache and with all."""
    found = []
    work = run.work(run.sizes.networks["net-2h"], run.sizes.batches[0]).with_steps(1)
    wanted = [*product([OURS], PRECISIONS), (NAIVE, "float32")]
    for plan, precision in deadline.each(wanted):
        with empty_cache():
            cell: Found = {"plan": plan, "precision": precision}
            for cache in ("empty", "full"):
                began = time.perf_counter()
                with Team(run, [plan]) as team:
                    ready = answer(team, plan, "first", work=work.as_dict(), precision=precision)
                    cell[cache] = {**ready, "total": time.perf_counter() - began}
        found.append(cell)
    return {"cells": found, "left_out": deadline.left_out}


@contextmanager
def empty_cache() -> Iterator[None]:
    """A cache of its own for the processes started meanwhile."""
    before = os.environ.get("SCHUSS_CACHE_DIR")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SCHUSS_CACHE_DIR"] = folder
        try:
            yield
        finally:
            os.environ.pop("SCHUSS_CACHE_DIR")
            if before is not None:
                os.environ["SCHUSS_CACHE_DIR"] = before


#: Name -> what it does, and the seconds that it may take.
SECTIONS = {
    "check": (check, 70.0),
    "steps": (steps, 160.0),
    "nodes": (nodes, 30.0),
    "widths": (widths, 40.0),
    "epochs": (epochs, 70.0),
    "compile": (compile, 40.0),
    "mnist": (mnist, 50.0),
}
