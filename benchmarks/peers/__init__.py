"""The implementations that train a Work, one small file each; their names on the command line.

Each is a class with

    __init__(work, X, y, start)     X, y in memory, `start` the schuss.Network to begin from
    epoch(order) -> float           one pass over the rows in this order; mean loss of its minibatches, each taken
                                    before its update. None: in an order of its own
    threads, versions()
    shuffles                        True where its users leave the order to it: timed epochs then get None

and anything that is neither a peer's name nor `schuss` is a plan of Schuss. `NAME@N` is NAME with N threads.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from work import Work


@dataclass(frozen=True)
class Entry:
    module: str
    class_name: str
    needs: tuple[str, ...]
    pip: str


PEERS = {
    "torch": Entry("torch", "Eager", ("torch",), "torch"),
    "torch-compiled": Entry("torch", "Compiled", ("torch",), "torch"),
    "jax": Entry("jax", "Scan", ("jax",), "jax"),
    "keras": Entry("keras", "Fit", ("keras", "jax"), "keras jax"),
    "sklearn": Entry("sklearn", "PartialFit", ("sklearn",), "scikit-learn"),
}


def split(name: str) -> tuple[str, int | None]:
    """`jax@1` -> jax, 1; `jax` -> jax, None."""
    base, _, threads = name.partition("@")
    return base, int(threads) if threads else None


def is_peer(name: str) -> bool:
    return split(name)[0] in PEERS


def missing(name: str) -> str | None:
    """What to do where the peer is not installed."""
    entry = PEERS.get(split(name)[0])
    if entry is None or all(find_spec(module) for module in entry.needs):
        return None
    return f"not installed: pip install {entry.pip}"


def cannot(name: str, work: Work) -> str | None:
    """Why this peer cannot train this work, as a clause."""
    if split(name)[0] != "sklearn":
        return None
    if work.loss != "log_loss":
        return "MLPClassifier has no other loss than log_loss"
    if work.layers[-1] == 2:
        return "MLPClassifier has one output for two classes, another network"
    return None


def build(name: str, work: Work, X: Any, y: Any) -> Any:
    """The implementation `name` with the work's start, ready to train."""
    base, _ = split(name)
    if base in PEERS:
        module, class_name = PEERS[base].module, PEERS[base].class_name
        return getattr(import_module(f"peers.{module}"), class_name)(work, X, y, work.start())
    return import_module("peers.schuss").Schuss(
        work, X, y, work.start(), plan="auto" if base == "schuss" else base
    )


def xla_threads() -> int:
    """Threads that XLA takes: NPROC where set, else the processors that affinity allows."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return int(os.environ.get("NPROC") or affinity or 1)
