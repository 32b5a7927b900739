"""A study of two networks that was never measured: figures as they might be, for the tests of what is made of them."""

import dataclasses
import random

from schuss.study.results import (
    Absent,
    Accuracy,
    Check,
    Implementation,
    LossCurve,
    NetworkFacts,
    Run,
    Study,
)

BATCHES = (128, 256, 512, 1024, 2048, 4096)
EXAMPLES = 50_000
NETWORKS = {
    "Net-1h": NetworkFacts((784, 1024, 10), 814_090, 3_272_704),
    "Net-2h": NetworkFacts((784, 1024, 1024, 10), 1_863_690, 9_564_160),
}
#: name: label, family, plan, parallel, arithmetic, serial, threads, GFLOP/s by batch (two numbers: from, to), share
_ROWS = {
    "serial": ("Serial", "naive", "naive:1x1", "-", "own loops", None, 1, (11.8, 11.9), 0.008),
    "multicore": ("Multicore", "naive", "naive:2x1", "examples", "own loops", "serial", 2, (21.0, 22.6), 0.008),
    "fast-serial": ("Fast serial", "gemv", "gemv:1x1", "-", "BLAS, a vector at a time", None, 1, (42, 42), 0.02),
    "fast-parallel": ("Fast parallel", "gemv", "gemv:1x2", "matrix operations", "BLAS, a vector at a time",
                      "fast-serial", 2, (71, 70), 0.02),
    "gemm-serial": ("Minibatch BLAS serial", "gemm", "gemm:1x1", "-", "BLAS, a minibatch at a time", None, 1,
                    (197, 221), 1.0),
    "gemm": ("Minibatch BLAS", "gemm", "gemm:1x2", "matrix operations", "BLAS, a minibatch at a time",
             "gemm-serial", 2, (365, 420), 1.0),
    "native-serial": ("Native, serial", "native", "native:1x1", "-", "own kernels", None, 1, (218, 226), 1.0),
    "hybrid": ("Hybrid", "native", "native", "both", "own kernels", "native-serial", 2, (434, 452), 1.0),
    "torch": ("PyTorch 2.13", "peer", None, "both", "MKL", None, 2, (159, 210), 1.0),
    "jax": ("JAX 0.10", "peer", None, "both", "Eigen", None, 2, (346, 371), 1.0),
    "keras-jax": ("Keras 3.15 on JAX", "peer", None, "both", "Eigen", None, 2, (320, 330), 1.0),
    "sklearn": ("scikit-learn 1.9", "peer", None, "matrix operations", "OpenBLAS", None, 2, (161, 300), 1.0),
}  # fmt: skip
#: The planner's own choice, for the row whose plan leaves it open.
_RAN = {"native": "native:2x1"}


def a_run(network, batch, name, gflops, *, threads=None, spread=0.01, rounds=5, share=None):
    """A run at `gflops`; its rounds lie evenly within +- `spread`."""
    row = _ROWS[name]
    threads = threads or row[6]
    seconds = NETWORKS[network].flops_per_example * EXAMPLES / gflops / 1e9
    times = tuple(seconds * (1 + spread * (2 * i / (rounds - 1) - 1)) for i in range(rounds))
    share = row[8] if share is None else share
    return Run(
        network=network,
        batch=batch,
        implementation=name,
        threads=threads,
        plan=_RAN.get(row[2], row[2]),
        rows=max(1, round(EXAMPLES * share)),
        share=share,
        epoch_seconds=times,
        seconds=seconds,
        low=min(times),
        high=max(times),
        gflops=gflops,
        peak_gflops=270.0 * threads,
        check=Check(0.412345, 0.4123449, 2.4e-7, 1e-5),
    )


def a_study(batches=BATCHES, names=tuple(_ROWS), **changes):
    """The study; `changes` replace its parts."""
    random.seed(4)
    runs, scaling, curves, accuracy = [], [], [], []
    for network, scale in (("Net-1h", 0.96), ("Net-2h", 1.0)):
        for name in names:
            start, end = _ROWS[name][7]
            for place, batch in enumerate(batches):
                rate = start + (end - start) * place / max(1, len(batches) - 1)
                wobble = 1 + random.uniform(-0.004, 0.004)
                runs.append(
                    a_run(network, batch, name, scale * rate * wobble, spread=random.uniform(0.004, 0.03))
                )
            epoch = next(r.seconds for r in runs if r.network == network and r.implementation == name)
            taken = tuple(0.25 * i for i in range(17))
            losses = tuple(0.01 + 0.44 / (1 + 12 * (0.25 * i + 0.2) / epoch) for i in range(17))
            curves.append(LossCurve(network, batches[0], name, taken, losses))
        for name in [
            n for n in ("multicore", "fast-parallel", "gemm", "hybrid", "torch", "jax") if n in names
        ]:
            for threads, times in ((1, 1.0), (2, {"hybrid": 1.98, "gemm": 1.85}.get(name, 1.7))):
                rate = _ROWS[name][7][0] * times / 2
                scaling.append(a_run(network, batches[0], name, rate, threads=threads))
        for name in [n for n in ("hybrid", "torch") if n in names]:
            accuracy.append(Accuracy(network, 16, name, 0.5, 85, 93.4, 0.9782, 0.9771))
    study = Study(
        preset="paper",
        created="2026-05-04T10:20:30Z",
        command=("schuss", "bench", "--preset", "paper", "--out", "results/epyc"),
        machine={
            "cpu": "AMD EPYC",
            "cores": {"in_machine": 2, "in_affinity": 2, "physical": 2, "used": 2},
            "caches": {"L1": "48K", "L2": "1024K", "L3": "32768K"},
            "isa": {"chosen": "avx512", "available": ["avx512", "avx2", "portable"]},
            "blas": {"name": "openblas", "version": "0.3.30"},
            "versions": {"python": "3.11.7", "schuss": "0.1.0", "numpy": "2.4.6"},
        },
        environment={"OMP_NUM_THREADS": "2"},
        settings={"rounds": 5, "seconds": 0.3, "examples": EXAMPLES, "formula": "paper", "data": "MNIST"},
        networks=dict(NETWORKS),
        implementations={name: Implementation(*_ROWS[name][:7], {"schuss": "0.1.0"}) for name in names},
        absent=(
            Absent("gpu", "this version has no GPU engine"),
            Absent("keras-tensorflow", "tensorflow is not installed: pip install tensorflow-cpu"),
            Absent(
                "pytensor", "loss 0.5312 beside the oracle's 0.4123, difference 0.29 > 1e-5", "Net-2h", 4096
            ),
        ),
        runs=tuple(runs),
        scaling=tuple(scaling),
        loss_curves=tuple(curves),
        accuracy=tuple(accuracy),
    )
    return dataclasses.replace(study, **changes)
