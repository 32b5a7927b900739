"""MNIST's 60,000 images to 98 % on the test images: seconds from the start of the process.

    python benchmarks/mnist98.py                     both sides with their best settings, five seeds
    python benchmarks/mnist98.py torch --search      a grid of settings for one side
    python benchmarks/mnist98.py schuss-cuda torch-cuda      both on a GPU, with the same settings

Imports and loading count. The test images are looked at after every epoch, which counts too. Each side has one hidden
layer of relu, and its own best width, minibatch, optimizer and rate, which falls by equal steps to a tenth in the last
epoch. Crossing 98 % is luck by some part: the table has the median of the seeds and the range.

The images are read from the folder that SCHUSS_DATA_DIR names, as .gz files.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from itertools import product
from math import inf
from statistics import median
from typing import Any

import common

from schuss import cuda
from schuss.errors import SchussError
from schuss.study import measure, peers

GOAL = 0.98
SIDES = {
    "schuss": "mnist98_schuss.py",
    "torch": "mnist98_torch.py",
    "schuss-cuda": "mnist98_schuss.py",
    "torch-cuda": "mnist98_torch.py",
}
#: The best of --search: the smallest median over seeds that all reach the goal. On a GPU both have PyTorch's.
BEST: dict[str, dict[str, Any]] = {
    "schuss": {"hidden": 192, "batch": 64, "solver": "adam", "rate": 0.005, "epochs": 3},
    "torch": {"hidden": 256, "batch": 256, "solver": "adam", "rate": 0.008, "epochs": 4},
}
ON_GPU = {"device": "cuda", "precision": "tf32"}
BEST |= {f"{side}-cuda": {**BEST["torch"], **ON_GPU} for side in ("schuss", "torch")}
MOMENTUM = 0.9  # of sgd
GRID = {
    "hidden": (192, 256, 384, 512),
    "batch": (64, 128, 256),
    "epochs": (2, 3, 4),
    "solver": (("sgd", 0.1), ("sgd", 0.2), ("adam", 0.005), ("adam", 0.008)),
}


def grid() -> list[dict[str, Any]]:
    return [
        {"hidden": hidden, "batch": batch, "solver": solver, "rate": rate, "epochs": epochs}
        for hidden, batch, epochs, (solver, rate) in product(*GRID.values())
    ]


def run(side: str, settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """One training in a fresh process: seconds until the goal is reached, infinite if it is not, and how it went."""
    command = [
        sys.executable,
        str(common.HERE / SIDES[side]),
        json.dumps({**settings, "momentum": MOMENTUM, "seed": seed}),
    ]
    began, seconds, accuracies = time.perf_counter(), inf, []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=measure.environment()) as process:
        assert process.stdout is not None
        for line in process.stdout:
            accuracies.append(float(line.split()[1]))
            if accuracies[-1] >= GOAL:
                seconds = time.perf_counter() - began
                process.kill()
                break
    if not accuracies:
        raise measure.StudyError(f"{side}: its process ended without an epoch")
    return {"seed": seed, "seconds": seconds, "epochs": len(accuracies), "accuracies": accuracies}


def search(side: str, seeds: int) -> None:
    """Print the grid's settings that reached the goal with every seed, the fastest last."""
    found = []
    for settings in grid():
        runs = []
        for seed in range(seeds):
            runs.append(run(side, settings, seed))
            if runs[-1]["seconds"] == inf:
                break
        worst = max(r["seconds"] for r in runs)
        print(f"{worst:6.2f} s at worst  {settings}", file=sys.stderr)
        if worst < inf:
            found.append((median(r["seconds"] for r in runs), str(settings)))
    for seconds, text in sorted(found, reverse=True):
        print(f"{side}: {seconds:.2f} s  {text}")


def missing(side: str) -> str | None:
    """Why a side cannot run here."""
    if side == "schuss-cuda":
        return cuda.why_not() or None
    return peers.missing(side.removesuffix("-cuda"))


def without_infinity(found: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """The runs as JSON has them: None for the seconds of one that did not reach the goal."""
    return {
        side: [{**r, "seconds": None if r["seconds"] == inf else r["seconds"]} for r in runs]
        for side, runs in found.items()
    }


def report(found: dict[str, list[dict[str, Any]]]) -> str:
    base = median(r["seconds"] for r in next(iter(found.values())))
    rows = []
    for side, runs in found.items():
        times = sorted(r["seconds"] for r in runs)
        reached = sum(t < inf for t in times)
        epochs = median(r["epochs"] for r in runs)
        rows.append(
            [
                side,
                *(f"{t:.2f}" for t in (median(times), times[0], times[-1])),
                f"{epochs:g}",
                f"{reached} of {len(runs)}",
                f"{median(times) / base:.2f}",
            ]
        )
    return common.table(["", "seconds", "min", "max", "epochs", "reached", f"/ {next(iter(found))}"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sides", nargs="*", help=f"of {', '.join(SIDES)}; default: those of the CPU")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--search", action="store_true", help="try a grid of settings instead")
    parser.add_argument("--json", help="write every measurement to this file")
    o = parser.parse_intermixed_args()
    if not os.environ.get("SCHUSS_DATA_DIR"):
        sys.exit("mnist98.py: set SCHUSS_DATA_DIR to the folder with MNIST's four .gz files")
    if unknown := set(o.sides) - set(SIDES):
        sys.exit(f"mnist98.py: no side {', '.join(sorted(unknown))}; there are {', '.join(SIDES)}")
    try:
        sides = common.kept(o.sides or ["schuss", "torch"], missing, named=bool(o.sides))
        if o.search:
            for side in sides:
                search(side, o.seeds)
            return
        found: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
        for seed in range(o.seeds):
            for side in sides:
                measure.pause()
                found[side].append(run(side, BEST[side], seed))
    except SchussError as error:
        sys.exit(f"mnist98.py: {error}")
    print(common.header(f"MNIST to {GOAL:.0%} from the start of the process"))
    print(report(found))
    for side in sides:
        print(f"{side}: {', '.join(f'{k} {v}' for k, v in BEST[side].items())}")
    common.write(
        o.json, {**common.machine(), "goal": GOAL, "settings": BEST, "runs": without_infinity(found)}
    )


if __name__ == "__main__":
    main()
