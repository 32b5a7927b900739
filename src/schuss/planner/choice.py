"""The choice: candidates in the order of their predicted time, and the plan and the device that follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from ..errors import PlanError
from ..plan import Plan, may_use_gpu
from . import probe
from .account import Prediction, Workload
from .cost import predict
from .device import choose_device
from .profile import Profile

__all__ = ["candidates", "choose", "profile_for"]

#: Predicted seconds of a training from which plans are tried on its first steps, and those from which the machine is
#: measured for it, if that has not been done before.
WORTH_TRYING, WORTH_MEASURING = 1.0, 20.0
#: Times the best predicted time up to which a plan is tried; how many are at most; and cuts that steps may be taken in.
NEAR, MOST_TRIES, MOST_CUTS = 1.25, 4, 8


def candidates(work: Workload, profile: Profile, threads: int, kernels: str = "native") -> list[Prediction]:
    """Every plan of these kernels for up to `threads` threads, the fastest predicted first.

    Parameters
    ----------
    work : Workload
    profile : Profile
    threads : int
        Threads allowed.
    kernels : {"native", "gemm", "gemv", "naive"}, default "native"
    """
    plans = [Plan(kernels, t // m, m) for t in _numbers(threads) for m in range(1, t + 1) if t % m == 0]
    # fewer threads first, then fewer that share a product: what is no faster is not worth more
    return sorted((predict(work, plan, profile) for plan in plans), key=lambda p: p.seconds)


def _numbers(threads: int) -> list[int]:
    """Numbers of threads worth a thought: all up to 8, beyond them the allowed ones and their halves and thirds."""
    found = set(range(1, min(threads, 8) + 1)) | {threads}
    for part in (2, 3):
        rest = threads
        while rest > 8:
            found.add(rest)
            rest //= part
    return sorted(found)


def profile_for(threads: int, isa: str | None = None, seconds: float | None = None) -> Profile:
    """The profile kept from before; else what may be assumed, or, for a training of so many seconds, measured."""
    found = probe.cached(threads, isa)
    if found is None and seconds is not None and seconds > WORTH_MEASURING:
        found = probe.current(threads, isa)
    return found or probe.assumed(threads, isa)


def choose(
    text: str,
    *,
    threads: int,
    layer_sizes: Sequence[int],
    batch_size: int,
    rows: int | None = None,
    epochs: int = 1,
    activation: str | Sequence[str] = "relu",
    formula: str = "sgd",
    dtype: str = "float32",
    isa: str | None = None,
    device: str = "auto",
    precision: str = "",
) -> Plan:
    """The plan that `text` names, or, where it leaves the choice open, the one predicted to be the fastest.

    Parameters
    ----------
    text : str
        See :meth:`schuss.plan.Plan.parse`. "auto" and "native": a plan that may change to another cut E x M while it
        trains; where the training will be long, the few predicted to be nearest the best are tried on its first steps.
        "predict": the best prediction, whatever comes.
    threads : int
        Threads allowed.
    layer_sizes : sequence of int
    batch_size : int
    rows : int or None, default None
        Examples of an epoch; None: unknown, and nothing is tried.
    epochs : int, default 1
    activation : str or sequence of str, default "relu"
        Of the hidden layers; of several the first counts.
    formula, dtype : str
        As in :class:`Workload`.
    isa : str or None, default None
        See :func:`schuss.engine.chosen_isa`. Where one is named, a plan left open stays on the CPU,
        and one for a GPU is refused.
    device, precision : str
        See :meth:`schuss.plan.Plan.parse`. "auto": a training whose plan is left open too ("auto", "predict") may go to
        the first GPU, in the parameters' own precision; see :func:`schuss.planner.device.choose_device`.

    Raises
    ------
    PlanError
        If the text is no plan or cannot be had here, or is for a GPU where an instruction set is named.
    """
    plan = Plan.parse(text, threads, device, precision)
    if plan is not None and plan.on_gpu and isa not in (None, "auto"):
        raise PlanError(
            f"isa must be None for plan {plan} on {plan.place}: it is of the CPU's kernels, got {isa!r}"
        )
    if plan is None:
        name = activation if isinstance(activation, str) else next(iter(activation), "relu")
        work = Workload(tuple(layer_sizes), max(batch_size, 1), rows or batch_size, name, formula, dtype)
        epochs = epochs if rows else 0
        plan, cpu = _chosen(text == "predict", threads, work, epochs, isa, probe.stamp(threads, isa))
        if epochs and device == "auto" and isa is None and may_use_gpu(text):
            plan = _on_best_device(plan, cpu, epochs, precision or dtype)
    return replace(plan, asked=text, allowed=threads)


def _on_best_device(plan: Plan, cpu: Prediction, epochs: int, precision: str) -> Plan:
    """The CPU's plan, or one for the GPU that is here; with the reason where there is a GPU."""
    found = choose_device(cpu, epochs)
    if found.gpu is None:
        return plan
    chosen = Plan("cuda", 1, 1, precision=precision) if found.on_gpu else plan
    return replace(chosen, reason=found.reason)


@lru_cache(maxsize=64)
def _chosen(
    fixed: bool, threads: int, work: Workload, epochs: int, isa: str | None, _profile: object
) -> tuple[Plan, Prediction]:
    """A plan for the CPU, and what is predicted for it."""
    profile = profile_for(threads, isa)
    found = candidates(work, profile, min(threads, profile.cores))
    seconds = found[0].epoch_seconds * epochs
    if seconds > WORTH_MEASURING:
        profile = profile_for(threads, isa, seconds)
        found = candidates(work, profile, min(threads, profile.cores))
    best = found[0]
    if fixed:
        return best.plan, best
    near = [p.plan for p in found if p.seconds < NEAR * best.seconds][:MOST_TRIES]
    tries = near if seconds > WORTH_TRYING else near[:1]
    # for when the cores are taken: the best of each smaller number of threads, one thread always
    fewer = {p.plan.threads: p.plan for p in reversed(found) if p.plan.threads < best.plan.threads}
    others = [plan for plan in (*near, *(fewer[t] for t in sorted(fewer, reverse=True))) if plan != best.plan]
    cuts = list(dict.fromkeys((plan.examples, plan.matrix) for plan in others))
    cuts = [*cuts[: MOST_CUTS - 2], (1, 1)] if (1, 1) in cuts[MOST_CUTS - 2 :] else cuts[: MOST_CUTS - 1]
    return replace(best.plan, others=tuple(cuts), tries=len(tries)), best
