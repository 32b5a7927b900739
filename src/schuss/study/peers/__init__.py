"""The implementations that train a Work, one small file each, by name.

Each is a class with

    __init__(work, X, y, start)     X, y in memory, `start` the schuss.Network to begin from
    epoch(order) -> float           one pass over the rows in this order, which may leave some out (whole minibatches);
                                    mean loss of its minibatches, each taken before its update. None: all, in an order
                                    of its own
    threads, versions()
    shuffles                        True where its users leave the order to it: timed epochs then get None
    compiles_epochs                 True where the length of an epoch is compiled in

and anything that is neither a peer's name nor `schuss` is a plan of Schuss. `NAME@N` is NAME with N threads.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from schuss.study.work import Work

__all__ = ["ON_CPU", "PEERS", "Entry", "build", "cannot", "is_peer", "missing", "split", "xla_threads"]

#: What every peer's file knows.
ACTIVATIONS = ("relu", "logistic", "tanh")
FORMULAS = (("log_loss", "softmax"), ("squared_error", "logistic"), ("squared_error", "identity"))


#: Variables by which every peer leaves a GPU alone: a study's GPU rows are Schuss's, benchmarks/gpu.py has others.
ON_CPU = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}


@dataclass(frozen=True)
class Entry:
    """A peer: its file here and its class, the modules it needs and where they come from, Keras's backend."""

    module: str
    class_name: str
    needs: tuple[str, ...]
    pip: str
    backend: str | None = None


PEERS = {
    "torch": Entry("torch", "Eager", ("torch",), "torch"),
    "torch-compiled": Entry("torch", "Compiled", ("torch",), "torch"),
    "jax": Entry("jax", "Scan", ("jax",), "jax"),
    "keras-jax": Entry("keras", "Fit", ("keras", "jax"), "keras jax", "jax"),
    "keras-torch": Entry("keras", "Fit", ("keras", "torch"), "keras torch", "torch"),
    "keras-tensorflow": Entry("keras", "Fit", ("keras", "tensorflow"), "keras tensorflow", "tensorflow"),
    "pytensor": Entry("pytensor", "Loop", ("pytensor",), "pytensor"),
    "sklearn": Entry("sklearn", "PartialFit", ("sklearn",), "scikit-learn"),
}


def split(name: str) -> tuple[str, int | None]:
    """`jax@1` -> jax, 1; `jax` -> jax, None."""
    base, _, threads = name.partition("@")
    return base, int(threads) if threads.isdecimal() else None


def is_peer(name: str) -> bool:
    """Whether this is another library."""
    return split(name)[0] in PEERS


def missing(name: str) -> str | None:
    """What to do where the peer is not installed."""
    entry = PEERS.get(split(name)[0])
    if entry is None or all(find_spec(module) for module in entry.needs):
        return None
    return f"not installed: pip install {entry.pip}"


def cannot(name: str, work: Work) -> str | None:
    """Why this implementation cannot train this work, as a clause."""
    base = split(name)[0]
    if base not in PEERS:
        return None
    if work.activation not in ACTIVATIONS:
        return f"written here for {', '.join(ACTIVATIONS)}, not for {work.activation}"
    if (work.loss, work.output) not in FORMULAS:
        return f"written here for {', '.join(map(' with '.join, FORMULAS))}, not for {work.loss} with {work.output}"
    if base != "sklearn":
        return None
    if work.loss != "log_loss":
        return "MLPClassifier has no other loss than log_loss"
    if work.layers[-1] == 2:
        return "MLPClassifier has one output for two classes, another network"
    return None


def build(name: str, work: Work, X: Any, y: Any) -> Any:
    """The implementation `name` with the work's start, ready to train."""
    base, _ = split(name)
    start = work.start()
    if base in PEERS:
        entry = PEERS[base]
        if entry.backend is not None:
            os.environ["KERAS_BACKEND"] = entry.backend
        module = import_module(f"schuss.study.peers.{entry.module}")
        return getattr(module, entry.class_name)(work, X, y, start)
    from schuss.study.peers.schuss import Schuss

    return Schuss(work, X, y, start, plan="auto" if base == "schuss" else base)


def allowed_processors() -> int:
    """Processors that affinity allows."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return affinity or 1


def xla_threads() -> int:
    """Threads that XLA takes: NPROC where set, else the processors that affinity allows."""
    return int(os.environ.get("NPROC") or allowed_processors())
