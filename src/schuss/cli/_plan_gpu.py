"""The GPU's part of what `schuss plan` found."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from schuss.plan import Plan
    from schuss.planner.account import Prediction, Workload
    from schuss.planner.gpu import GpuProfile
    from schuss.planner.gpu_cost import GpuStep
    from schuss.planner.profile import Profile

__all__ = ["GpuOutlook", "gpu_of"]


def gpu_of(profile: Profile, machine: str | None, device: str) -> GpuProfile | str:
    """The GPU to plan for, of the machine named or of this one; else why there is none, "" for nothing to say."""
    from schuss.plan import wanted_device
    from schuss.planner.gpu import present

    if machine is None:
        return "" if device == "cpu" else present(wanted_device(device) or 0)
    if profile.gpu is not None and device != "cpu":
        return profile.gpu
    if wanted_device(device) is not None:
        raise click.BadParameter(f"{machine} has no GPU, got {device}.", param_hint="'--device'")
    return ""


class GpuOutlook:
    """Predictions for a GPU.

    Parameters
    ----------
    work : Workload
    gpu : GpuProfile or str
        Or why there is none, "" for nothing to say.
    precision : str
        Of its arithmetic.
    all_kernels : bool
        Also plan cuda-naive, and the precisions that were not asked for.
    """

    def __init__(self, work: Workload, gpu: GpuProfile | str, precision: str, *, all_kernels: bool) -> None:
        from schuss.plan import REDUCED, Plan
        from schuss.planner.gpu_cost import GpuStep

        self.work = work
        self.gpu = None if isinstance(gpu, str) else gpu
        self.why_not = gpu if isinstance(gpu, str) else ""
        self.steps: dict[str, GpuStep] = {}
        if self.gpu is None:
            return
        plans = [Plan("cuda", 1, 1, precision=precision)]
        if all_kernels:
            others = (work.dtype, *REDUCED) if work.dtype == "float32" else (work.dtype,)
            plans += [replace(plans[0], precision=other) for other in others]
            plans.append(Plan("cuda-naive", 1, 1, precision=work.dtype))
        for plan in plans:
            self.steps.setdefault(label(plan, work), GpuStep(work, self.gpu, plan))

    @property
    def predictions(self) -> list[Prediction]:
        return [step.prediction() for step in self.steps.values()]

    def of(self, plan: Plan) -> Prediction:
        """The prediction for a plan that was named."""
        from schuss.errors import DeviceError
        from schuss.planner.gpu_cost import GpuStep

        if self.gpu is None:
            raise DeviceError(self.why_not or "this machine has no GPU")
        return self.steps.setdefault(label(plan, self.work), GpuStep(self.work, self.gpu, plan)).prediction()

    def memory(self, prediction: Prediction) -> int:
        """Bytes of the GPU's memory, beside the data."""
        return self.steps[label(prediction.plan, self.work)].network_bytes

    def head(self) -> list[tuple[str, str]]:
        """One line: the GPU, or why none is counted."""
        gpu = self.gpu
        if gpu is not None:
            chip = f"compute capability {gpu.capability[0]}.{gpu.capability[1]}"
            return [("gpu", f"{gpu.name}: {gpu.multiprocessors} multiprocessors, {chip}; {gpu.origin}")]
        return [("gpu", f"none counted: {self.why_not}")] if self.why_not else []

    def division(self, plan: Plan) -> str:
        """The plan in words."""
        count = len(self.steps[label(plan, self.work)].nodes)
        return f"{count} nodes that wait for one another"

    def facts(self, found: Prediction) -> dict[str, Any]:
        """What is said of a prediction for the GPU, beside what is said of all."""
        step = self.steps[label(found.plan, self.work)]
        nodes = [{"kernel": node.kernel, "seconds": node.seconds, "bound": node.bound} for node in step.nodes]
        return {"precision": step.precision, "before_seconds": found.before, "nodes": nodes}

    def document(self) -> dict[str, Any] | None:
        """The GPU, for JSON."""
        if self.gpu is None:
            return None
        names = ("name", "capability", "multiprocessors", "measured", "source")
        return {name: getattr(self.gpu, name) for name in names}


def label(plan: Plan, work: Workload) -> str:
    """The plan, with the precision where it is not that of the parameters."""
    own = plan.precision in ("", work.dtype)
    return str(plan) if own else f"{plan}, {plan.precision}"
