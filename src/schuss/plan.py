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
from .errors import DeviceError, PlanError

__all__ = [
    "ALIASES",
    "ANYWHERE",
    "GPU_KERNELS",
    "KERNELS",
    "PRECISIONS",
    "Plan",
    "allowed_threads",
    "flops_per_example",
    "may_use_gpu",
    "n_parameters",
    "processors",
    "wanted_device",
]

#: Kernels -> number in the native core (src/engine/engine.hpp).
KERNELS = {"naive": 0, "gemv": 1, "gemm": 2, "native": 3}

#: Kernels that run on a GPU, which divides the work itself.
GPU_KERNELS = ("cuda", "cuda-naive")

#: Arithmetic by name; the last two are of GPUs only and keep the weights in float32.
PRECISIONS = ("float32", "float64", "tf32", "bfloat16")
REDUCED = PRECISIONS[2:]

#: The 2016 study's implementations; T stands for the allowed threads.
ALIASES = {
    "serial": "naive:1x1",
    "multicore": "naive:Tx1",
    "fast-serial": "gemv:1x1",
    "fast-parallel": "gemv:1xT",
    "hybrid": "native",
    "gpu": "cuda-naive",
    "gpu-optimized": "cuda",
}

_FORM = f"KERNELS:EXAMPLESxMATRIX (such as native:2x1), a name ({', '.join(ALIASES)}), native, cuda or auto"
#: Plans that name no device.
ANYWHERE = ("auto", "predict")
_DEVICE = re.compile(r"cuda(?::(\d{1,4}))?")


def wanted_device(device: str) -> int | None:
    """Number of the GPU that `device` names; None for "cpu" and "auto".

    Raises
    ------
    PlanError
        If it is none of auto, cpu, cuda and cuda:N.
    """
    if device in ("auto", "cpu"):
        return None
    match = _DEVICE.fullmatch(device) if isinstance(device, str) else None
    if match is None:
        raise PlanError(f"device must be auto, cpu, cuda or cuda:N, got {device!r}")
    return int(match[1] or 0)


def may_use_gpu(plan: str) -> bool:
    """Whether the text is a plan for a GPU, or leaves the device open."""
    return ALIASES.get(plan, plan) in (*ANYWHERE, *GPU_KERNELS)


@dataclass(frozen=True)
class Plan:
    """`examples` groups of `matrix` threads, with `kernels` doing the arithmetic.

    The minibatch is cut into `examples` slices, one a group; the threads of a group share each matrix operation.
    On a GPU both are 1: its grid divides the work.
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
    #: Of a plan for a GPU: its number, and the arithmetic, one of PRECISIONS; "" for that of the parameters.
    device: int = 0
    precision: str = ""
    #: Of a device that was chosen, not named: why, in words.
    reason: str = field(default="", compare=False)

    pattern: ClassVar[re.Pattern[str]] = re.compile(r"([a-z-]+):(\d+|T)x(\d+|T)")

    @property
    def threads(self) -> int:
        return self.examples * self.matrix

    @property
    def uses_blas(self) -> bool:
        return self.kernels in ("gemv", "gemm")

    @property
    def on_gpu(self) -> bool:
        return self.kernels in GPU_KERNELS

    @property
    def place(self) -> str:
        """The device, such as cpu or cuda:0."""
        return f"cuda:{self.device}" if self.on_gpu else "cpu"

    def is_at(self, device: str) -> bool:
        """Whether `device`, "auto", "cpu", "cuda" or "cuda:N", means this plan's."""
        return device == "auto" or wanted_device(device) == (self.device if self.on_gpu else None)

    def __str__(self) -> str:
        return self.kernels if self.on_gpu else f"{self.kernels}:{self.examples}x{self.matrix}"

    @classmethod
    def parse(
        cls, text: str, threads: int | None = None, device: str = "auto", precision: str = ""
    ) -> Plan | None:
        """Read a plan; None where the choice of E x M is left open (`auto`, `predict`, `native`, `hybrid`).

        Whether the GPU of a plan is there is for :meth:`require` to say.

        Parameters
        ----------
        text : str
            KERNELS:EXAMPLESxMATRIX, "cuda", "cuda-naive", a name from ALIASES, "native", "auto" or "predict"; T is
            `threads`.
        threads : int or None, default None
            Threads allowed. None: only the text's form is checked, and T counts as 1.
        device : {"auto", "cpu", "cuda", "cuda:N"}, default "auto"
            Where to compute. A GPU by name makes "cuda" of an open plan; "auto" leaves an open plan open.
        precision : str, default ""
            One of PRECISIONS, or "" for that of the parameters. What only a GPU has makes "cuda" of an open plan.

        Raises
        ------
        PlanError
            If the text is no plan, asks for more threads than allowed, for another device or for a precision that
            the device lacks, or cannot be had here.
        """
        if not isinstance(text, str):
            raise PlanError(f"plan must be a str, got {type(text).__name__}")
        name = ALIASES.get(text, text)
        number = wanted_device(device)
        if name in ANYWHERE and (number is not None or (device == "auto" and precision in REDUCED)):
            name = "cuda"
        if name in GPU_KERNELS:
            return cls._for_gpu(text, name, device, precision)
        if name.partition(":")[0] in GPU_KERNELS:
            raise PlanError(
                f"plan must be {name.partition(':')[0]} without ExM, which the GPU sees to, got {text!r}"
            )
        plan = None
        if name not in (*ANYWHERE, "native"):
            plan = cls._for_cpu(text, name, threads)
        if number is not None:
            raise PlanError(f"plan {text!r} is for the CPU, got device {device!r}")
        if precision in REDUCED:
            where = "device 'cpu'" if name in ANYWHERE else f"plan {text!r}"
            raise PlanError(f"precision {precision!r} is for GPUs (device 'cuda'), got {where}")
        return plan

    @classmethod
    def _for_cpu(cls, text: str, name: str, threads: int | None) -> Plan:
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

    @classmethod
    def _for_gpu(cls, text: str, kernels: str, device: str, precision: str) -> Plan:
        if device == "cpu":
            raise PlanError(f"plan {text!r} is for a GPU, got device 'cpu'")
        if kernels == "cuda-naive" and precision in REDUCED:
            raise PlanError(f"plan {text!r} computes in float32 or float64, got precision {precision!r}")
        return cls(kernels, 1, 1, device=wanted_device(device) or 0, precision=precision)

    def require(self) -> None:
        """Make sure that the GPU of the plan, if it is for one, is there.

        Raises
        ------
        DeviceError
            If it is not: what is missing, and how to get it.
        """
        if self.on_gpu:
            from . import cuda

            missing = cuda.why_not(self.device)
            if missing:
                raise DeviceError(f"plan {self} on {self.place}: {missing}")

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
