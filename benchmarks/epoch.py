"""Seconds per epoch of each plan, and of PyTorch where it is installed, on the same work.

    python benchmarks/epoch.py                         the plans of this machine, Net-2h, batch 128
    python benchmarks/epoch.py --peer torch gemm:1xT   one plan against PyTorch

Every measurement is a fresh process; rounds go through all the implementations in turn, so that a change of the
machine's speed meets them all. Each process trains from the same weights in the same order of examples, and its
loss after the epochs is checked against the others' before any time counts. Slow plans train on a share of the
rows, and their seconds are scaled to 50,000 examples; the table says so. Peak is a loop of fused multiply-adds
in registers, measured in the same rounds.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from statistics import median
from typing import Any

import numpy as np

EXAMPLES, FEATURES, CLASSES = 50_000, 784, 10
RATE = 0.1


def data(rows: int) -> tuple[Any, Any]:
    """Images of MNIST's shape and density; the time of a step does not depend on what they show."""
    rng = np.random.default_rng(0)
    X = (rng.random((rows, FEATURES)) * (rng.random((rows, FEATURES)) < 0.2)).astype(np.float32)
    return X, rng.integers(0, CLASSES, rows)


def orders(rows: int, epochs: int) -> list[Any]:
    rng = np.random.default_rng(1)
    return [rng.permutation(rows) for _ in range(epochs)]


def start(hidden: tuple[int, ...]) -> Any:
    import schuss

    return schuss.Network(
        (FEATURES, *hidden, CLASSES),
        activation="logistic",
        loss="squared_error",
        classes=range(CLASSES),
        seed=0,
    )


def run_schuss(plan: str, rows: int, batch: int, epochs: int, hidden: tuple[int, ...]) -> dict[str, Any]:
    from schuss.optimizers import Optimizer
    from schuss.plan import allowed_threads, choose
    from schuss.trainer import Trainer

    network = start(hidden)
    X, y = network.pair(*data(rows))
    remaining = iter(orders(rows, epochs))
    chosen = choose(plan, threads=allowed_threads(), layer_sizes=network.layer_sizes, batch_size=batch)
    trainer = Trainer(network, Optimizer(), RATE, batch, chosen, lambda _: next(remaining))
    for _ in range(epochs):
        trainer.epoch(X, y)
    history = network.history
    return {"plan": str(chosen), "seconds": history["epoch_seconds"][1:], "loss": history["loss"][-1]}


def run_torch(rows: int, batch: int, epochs: int, hidden: tuple[int, ...]) -> dict[str, Any]:
    """The loop a PyTorch user writes for data in memory: tensors indexed by a permutation, no loader."""
    import torch

    network = start(hidden)
    layers: list[torch.nn.Module] = []
    for W, b in zip(network.weights, network.biases, strict=True):
        linear = torch.nn.Linear(*W.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(W.T.copy()))
            linear.bias.copy_(torch.tensor(b.copy()))
        layers += [linear, torch.nn.Sigmoid()]
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    X, y = data(rows)
    examples, targets = torch.tensor(X), torch.eye(CLASSES)[torch.tensor(y)]
    seconds, loss_sum = [], 0.0
    for order in orders(rows, epochs):
        began = time.perf_counter()
        permutation = torch.from_numpy(order)
        losses = []
        for first in range(0, rows, batch):
            rows_now = permutation[first : first + batch]
            optimizer.zero_grad()
            error = model(examples[rows_now]) - targets[rows_now]
            loss = 0.5 * (error * error).sum() / len(rows_now)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach() * len(rows_now))
        loss_sum = float(torch.stack(losses).double().sum())
        seconds.append(time.perf_counter() - began)
    return {"plan": f"torch {torch.__version__}, {torch.get_num_threads()} threads", "seconds": seconds[1:],
            "loss": loss_sum / rows}  # fmt: skip


def run_peak(threads: int) -> dict[str, Any]:
    from schuss import _core
    from schuss.engine import chosen_isa

    return {"gflops": _core.measure_peak(chosen_isa(), threads, 0.5, False) / 1e9}


def worker(text: str) -> None:
    job = json.loads(text)
    kind = job.pop("kind")
    job["hidden"] = tuple(job.get("hidden", ()))
    if kind == "peak":
        result = run_peak(job["threads"])
    elif kind == "torch":
        result = run_torch(job["rows"], job["batch"], job["epochs"], job["hidden"])
    else:
        result = run_schuss(kind, job["rows"], job["batch"], job["epochs"], job["hidden"])
    print(json.dumps(result))


def fresh(**job: Any) -> dict[str, Any]:
    command = [sys.executable, __file__, "--worker", json.dumps(job)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


#: Share of the rows that a slow plan trains on.
SHARES = {"naive": 0.02, "gemv": 0.04}


def check_losses(batch: int, kinds: list[str], hidden: tuple[int, ...]) -> None:
    """All must reach the same loss on the same 512 examples before a clock starts."""
    losses = {
        k: fresh(kind=k, rows=512, batch=min(batch, 128), epochs=3, hidden=hidden)["loss"] for k in kinds
    }
    spread = (max(losses.values()) - min(losses.values())) / min(losses.values())
    if not spread < 1e-4:
        sys.exit(f"losses differ by {spread:.1e}: {losses}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("plans", nargs="*")
    parser.add_argument("--peer", choices=["torch"], action="append", default=[])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--hidden", default="1024,1024")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--epochs", type=int, default=2, help="timed epochs in each process, after one untimed"
    )
    parser.add_argument("--rows", type=int, default=20_000, help="examples of an epoch; seconds are scaled")
    parser.add_argument("--json", help="write every measurement to this file")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker)
        return
    report(options)


def report(options: argparse.Namespace) -> None:
    from schuss.machine import summary
    from schuss.plan import allowed_threads, flops_per_example

    threads = allowed_threads()
    hidden = tuple(int(n) for n in options.hidden.split(","))
    plans = options.plans or [
        f"{kernels}:{split}"
        for kernels in ("naive", "gemv", "gemm", "native")
        for split in dict.fromkeys(["1x1", f"{threads}x1", f"1x{threads}"])
    ]
    kinds = [plan.replace("T", str(threads)) for plan in plans] + options.peer
    check_losses(options.batch, kinds, hidden)
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
    peak: dict[int, list[float]] = {1: [], threads: []}
    for _ in range(options.rounds):
        for count, rates in peak.items():
            rates.append(fresh(kind="peak", threads=count)["gflops"])
        for kind in kinds:
            share = SHARES.get(kind.split(":")[0], 1)
            rows = options.batch * max(2, round(options.rows * share / options.batch))  # whole minibatches
            result = fresh(
                kind=kind, rows=rows, batch=options.batch, epochs=1 + options.epochs, hidden=hidden
            )
            result["epoch"] = median(result["seconds"]) * EXAMPLES / rows
            found[kind].append({**result, "rows": rows})

    flops = flops_per_example((FEATURES, *hidden, CLASSES)) * EXAMPLES
    cpu = summary()["cpu"]
    print(f"{cpu}, {threads} threads, Python {platform.python_version()}; {FEATURES}-{options.hidden}-{CLASSES}, "
          f"batch {options.batch}, float32, logistic, squared error, plain SGD")  # fmt: skip
    print("peak GFLOP/s: " + ", ".join(f"{median(r):.0f} on {n}" for n, r in peak.items()))
    print(f"{'plan':14} {'s/epoch':>9} {'min':>8} {'max':>8} {'GFLOP/s':>8} {'rows':>7}")
    for kind, results in found.items():
        epochs = sorted(r["epoch"] for r in results)
        middle, rows = median(epochs), results[0]["rows"]
        print(
            f"{kind:14} {middle:9.3f} {epochs[0]:8.3f} {epochs[-1]:8.3f} {flops / middle / 1e9:8.1f} {rows:7}"
        )
    if options.json:
        with open(options.json, "w") as file:
            json.dump(
                {"machine": summary(), "options": vars(options), "peak": peak, "runs": found}, file, indent=1
            )


if __name__ == "__main__":
    main()
