"""The plan: who does the arithmetic of a gradient step, and how it is divided among threads."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import ClassVar

import joblib

from . import _core, blas
from .errors import PlanError

__all__ = ["ALIASES", "KERNELS", "Plan", "allowed_threads", "flops_per_example", "n_parameters", "processors"]

#: Kernels -> number in the native core (src/engine/engine.hpp).
KERNELS = {"naive": 0, "gemv": 1, "gemm": 2, "native": 3}

#: The 2016 study's implementations; T stands for the allowed threads.
ALIASES = {
    "serial": "naive:1x1",
    "multicore": "naive:Tx1",
    "fast-serial": "gemv:1x1",
    "fast-parallel": "gemv:1xT",
    "hybrid": "native",
}

_ELSEWHERE = ("cuda", "cuda-naive", "gpu", "gpu-optimized")
_FORM = f"KERNELS:EXAMPLESxMATRIX (such as native:2x1), a name ({', '.join(ALIASES)}), native or auto"


@dataclass(frozen=True)
class Plan:
    """`examples` groups of `matrix` threads, with `kernels` doing the arithmetic.

    The minibatch is cut into `examples` slices, one a group; the threads of a group share each matrix operation.
    """

    kernels: str
    examples: int
    matrix: int
    #: Of a plan that was chosen, not named: other cuts E x M in which steps may be taken. Changes no bit.
    others: tuple[tuple[int, int], ...] = field(default=(), compare=False)
    #: How many of the cuts, this one first, are tried in turns when a training begins.
    tries: int = field(default=1, compare=False)
    #: What was asked for, and the threads that were allowed, where the planner was.
    asked: str = field(default="", compare=False)
    allowed: int = field(default=0, compare=False)

    pattern: ClassVar[re.Pattern[str]] = re.compile(r"([a-z-]+):(\d+|T)x(\d+|T)")

    @property
    def threads(self) -> int:
        return self.examples * self.matrix

    @property
    def uses_blas(self) -> bool:
        return self.kernels in ("gemv", "gemm")

    def __str__(self) -> str:
        return f"{self.kernels}:{self.examples}x{self.matrix}"

    @classmethod
    def parse(cls, text: str, threads: int | None = None) -> Plan | None:
        """Read a plan; None where the choice of E x M is left open (`auto`, `predict`, `native`, `hybrid`).

        Parameters
        ----------
        text : str
            KERNELS:EXAMPLESxMATRIX, a name from ALIASES, "native", "auto" or "predict"; T is `threads`.
        threads : int or None, default None
            Threads allowed. None: only the text's form is checked, and T counts as 1.

        Raises
        ------
        PlanError
            If the text is no plan, asks for more threads than allowed, or cannot be had here.
        """
        if not isinstance(text, str):
            raise PlanError(f"plan must be a str, got {type(text).__name__}")
        name = ALIASES.get(text, text)
        if name in ("auto", "predict", "native"):
            return None
        if name.partition(":")[0] in _ELSEWHERE:
            raise PlanError(f"plan {text!r} needs the GPU engine, which this version does not have")
        match = cls.pattern.fullmatch(name)
        if match is None or match[1] not in KERNELS:
            raise PlanError(f"plan must be {_FORM}, got {text!r}")
        examples, matrix = ((threads or 1) if part == "T" else int(part) for part in match.groups()[1:])
        plan = cls(match[1], examples, matrix)
        if examples < 1 or matrix < 1:
            raise PlanError(f"plan needs at least 1 group of 1 thread, got {text!r}")
        if threads is not None:
            plan._check(threads)
        return plan

    def _check(self, threads: int) -> None:
        if self.threads > threads:
            raise PlanError(
                f"plan {self} needs {self.threads} threads, {threads} allowed (n_jobs / --threads, "
                "OMP_NUM_THREADS, affinity or the cgroup's quota)"
            )
        if self.uses_blas:
            blas.check_threads(self.examples, self.matrix, str(self))


def processors() -> tuple[int, int]:
    """Processors that affinity and the cgroup's quota allow, and how many of them are cores of their own."""
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    return _counted(frozenset(affinity), os.environ.get("LOKY_MAX_CPU_COUNT"))


@lru_cache(maxsize=16)  # reading the system's files takes longer than a small step
def _counted(_affinity: frozenset[int], _joblib_limit: str | None) -> tuple[int, int]:
    allowed = int(joblib.cpu_count())
    return allowed, min(allowed, _core.physical_cores())


def allowed_threads(n_jobs: int | None = None) -> int:
    """Threads that may be used.

    Parameters
    ----------
    n_jobs : int or None, default None
        A positive number is taken as it is; -1 means all processors allowed, -2 all but one, and so on. None: the
        environment variable OMP_NUM_THREADS where set (joblib's workers set it), else all that affinity and the
        cgroup's quota allow, but one a physical core: two hyper-threads share the units that multiply.

    Raises
    ------
    ValueError
        If n_jobs is 0, no integer, or OMP_NUM_THREADS is no positive integer.

    Notes
    -----
    Within ``threadpoolctl.threadpool_limits(n)`` no more than n, whoever asks.
    """
    threads, limit = _wished_threads(n_jobs), _core.thread_limit()
    return min(threads, limit) if limit else threads


def _wished_threads(n_jobs: int | None) -> int:
    if n_jobs is None:
        text = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
        if not text:
            return processors()[1]
        if not text.isdecimal() or int(text) < 1:
            raise ValueError(f"OMP_NUM_THREADS must be a positive integer, got {text!r}")
        return int(text)
    if isinstance(n_jobs, bool) or not hasattr(n_jobs, "__index__") or n_jobs == 0:
        raise ValueError(f"n_jobs must be None or a non-zero integer, got {n_jobs!r}")
    return int(n_jobs) if n_jobs > 0 else max(1, processors()[0] + 1 + int(n_jobs))


def flops_per_example(layer_sizes: Sequence[int]) -> int:
    """Floating-point operations of a training step per example: 2 n_{l-1} n_l for each of forward, delta and
    weight gradient, without the delta of the input."""
    return sum(2 * a * b * (2 if i == 0 else 3) for i, (a, b) in enumerate(pairwise(layer_sizes)))


def n_parameters(layer_sizes: Sequence[int]) -> int:
    """Weights and biases of all layers."""
    return sum((a + 1) * b for a, b in pairwise(layer_sizes))
