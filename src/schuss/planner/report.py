"""What was planned and what came of it: predictions beside measurements, and the choice in a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..plan import Plan
from .account import Prediction, Workload
from .choice import candidates, profile_for
from .cost import predict
from .gpu import GpuProfile, present
from .profile import Profile
from .units import duration

if TYPE_CHECKING:
    from ..engine import Engine
    from ..network import Network

__all__ = ["PlanReport"]


@dataclass(frozen=True)
class PlanReport:
    """How a training was divided, and why; print it.

    Parameters
    ----------
    plan : Plan
        The one that the training began with.
    present : Plan
        The one of its last step.
    work : Workload
    records : tuple of (str, int, float)
        Plan, steps taken in it, least seconds of an example (infinity where too few steps tell).
    isa : str or None
        As the network has it.
    """

    plan: Plan
    present: Plan
    work: Workload
    records: tuple[tuple[str, int, float], ...] = ()
    isa: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without what was looked up: it is of the machine that looks."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of(cls, engine: Engine, network: Network, batch_size: int, rows: int, formula: str) -> PlanReport:
        """On the steps that `engine` has taken for `network`."""
        hidden = network.activations[0] if len(network.activations) > 1 else "identity"
        work = Workload(network.layer_sizes, batch_size, rows, hidden, formula, network.dtype.name)
        records = tuple((str(cut), steps, seconds) for cut, steps, seconds in engine.records())
        return cls(engine.plan, engine.present, work, records, network.isa)

    @cached_property
    def profile(self) -> Profile:
        """The present machine as the planner sees it now."""
        return profile_for(max(self.plan.allowed, self.plan.threads), self.isa)

    @cached_property
    def _found(self) -> GpuProfile | str | None:
        """The GPU of a plan for one as the planner sees it now, or why it does not; None: a plan for the CPU."""
        return present(self.plan.device) if self.plan.on_gpu else None

    @property
    def gpu(self) -> GpuProfile | None:
        """The GPU of a plan for one, as the planner sees it now; None where it is not here."""
        return self._found if isinstance(self._found, GpuProfile) else None

    @cached_property
    def predictions(self) -> list[Prediction]:
        """Of every plan of the same kernels, the fastest first; of one for a GPU, where that is known, and to compare
        of the CPU's native ones."""
        threads = max(min(self.plan.allowed, self.profile.cores), self.plan.threads)
        if not self.plan.on_gpu:
            return candidates(self.work, self.profile, threads, self.plan.kernels)
        from .gpu_cost import GpuStep

        own = [] if self.gpu is None else [GpuStep(self.work, self.gpu, self.plan).prediction()]
        return [*own, *candidates(self.work, self.profile, threads)]

    @property
    def measured(self) -> dict[str, float]:
        """Least seconds of a step, by plan; of those that were tried long enough to tell."""
        return {
            plan: seconds * self.work.batch_size for plan, _, seconds in self.records if seconds < math.inf
        }

    @property
    def sentence(self) -> str:
        """What was chosen and why."""
        plan, work = str(self.present), self.work
        if self.plan.on_gpu:
            why = f": {self.plan.reason}" if self.plan.reason else ", as asked for"
            return f"{plan} on {self.plan.place}{why}"
        if not self.plan.asked or self.plan.asked not in ("auto", "predict", "native", "hybrid"):
            return f"{plan}, as asked for"
        found = predict(work, self.present, self.profile)
        threads = self.present.threads
        what = f"{plan}: {threads} of {self.plan.allowed} thread{'s' if self.plan.allowed > 1 else ''}"
        why = f"predicted {duration(found.seconds)} a step, bound by {found.bound}"
        why += f" (not the GPU: {self.plan.reason})" if self.plan.reason else ""
        measured = self.measured
        if len(measured) > 1 and plan in measured:
            others = ", ".join(f"{duration(s)} with {name}" for name, s in measured.items() if name != plan)
            return f"{what}, {why}; at best {duration(measured[plan])} a step, {others}"
        return f"{what}, {why}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, seconds of a step."""
        return {
            "asked": self.plan.asked or str(self.plan),
            "plan": str(self.present),
            "device": self.plan.place,
            "threads_allowed": self.plan.allowed or self.plan.threads,
            "machine": {"name": self.profile.name, "measured": self.profile.measured or None},
            "gpu": None
            if self.gpu is None
            else {"name": self.gpu.name, "measured": self.gpu.measured or None},
            "predicted_seconds": {str(p.plan): p.seconds for p in self.predictions},
            "measured_seconds": self.measured,
            "steps": {plan: steps for plan, steps, _ in self.records},
            "sentence": self.sentence,
        }

    def __str__(self) -> str:
        how = f"measured {self.profile.measured}" if self.profile.measured else "not measured yet"
        lines = [
            self.sentence,
            f"machine: {self.profile.name}, {how}",
            *([] if self.gpu is None else [f"gpu: {self.gpu.name}, {self.gpu.origin}"]),
            *([f"gpu: no prediction: {self._found}"] if isinstance(self._found, str) else []),
            f"{'plan':<14}{'predicted':>12}{'measured':>12}{'steps':>10}",
        ]
        return "\n".join(lines + self._rows())

    def _rows(self) -> list[str]:
        """A line a plan: what ran, and the fastest predicted ones; beside a GPU those of the CPU only to compare."""
        steps, measured = {plan: count for plan, count, _ in self.records}, self.measured
        predicted = {str(found.plan): found.seconds for found in self.predictions}
        unpredicted = [name for name in steps if name not in predicted]
        rows = []
        for name in [*unpredicted, *(name for i, name in enumerate(predicted) if i < 8 or name in steps)]:
            expected = duration(predicted[name]) if name in predicted else ""
            seconds = duration(measured[name]) if name in measured else ""
            taken = "not tried" if self.plan.on_gpu and name not in steps else f"{steps.get(name, 0):,}"
            rows.append(f"{name:<14}{expected:>12}{seconds:>12}{taken:>10}")
        return rows
