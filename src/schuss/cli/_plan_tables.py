"""What `schuss plan` found, as tables, sentences and a document."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from schuss.cli._plan_gpu import GpuOutlook, label
from schuss.cli._plan_work import Planned
from schuss.planner.units import duration

if TYPE_CHECKING:
    from schuss.plan import Plan
    from schuss.planner.account import Prediction
    from schuss.planner.device import DeviceChoice
    from schuss.planner.gpu import GpuProfile
    from schuss.planner.profile import Profile

__all__ = ["Outlook", "origin"]

#: The study's kernels beside the native ones.
_OTHERS = ("naive", "gemv", "gemm")
#: Predictions nearer to each other than this say nothing of which plan is faster.
_EQUAL = 0.01
_KIND = {
    "arithmetic": "arithmetic",
    "cache": "the caches",
    "memory": "memory",
    "barriers": "the threads' meetings",
    "overhead": "what every step costs",
    "nodes": "the beginnings of its nodes",
    "transfer": "sending the examples",
}


class Outlook:
    """The predictions for one machine, the fastest native plan first, and the plan that a training would take.

    Parameters
    ----------
    what : Planned
    profile : Profile
    gpu : GpuProfile or str, default ""
        The machine's, or why there is none.
    all_kernels : bool
        Also predict the kernels that are never chosen unasked.

    Raises
    ------
    DeviceError
        If a GPU is asked for and there is none.
    """

    def __init__(
        self, what: Planned, profile: Profile, gpu: GpuProfile | str = "", *, all_kernels: bool
    ) -> None:
        from schuss.plan import Plan
        from schuss.planner.choice import candidates
        from schuss.planner.cost import predict

        self.what = what
        self.work, self.settings, self.profile = what.work, what.settings, profile
        settings = self.settings
        self.native = candidates(self.work, profile, min(settings.threads, profile.cores))
        self.gpu = GpuOutlook(self.work, gpu, settings.precision, all_kernels=all_kernels)
        named = Plan.parse(settings.plan, settings.threads, settings.device, settings.precision)
        self.choice = self._device_choice() if named is None else None
        if named is None:
            on_gpu = self.choice is not None and self.choice.on_gpu
            self.chosen = self.gpu.predictions[0] if on_gpu else self.native[0]
        else:
            self.chosen = self.gpu.of(named) if named.on_gpu else predict(self.work, named, profile)
        self.named = named is not None
        others = [predict(self.work, plan, profile) for plan in self._others()] if all_kernels else []
        self.others = sorted(others, key=lambda prediction: prediction.seconds)

    def _device_choice(self) -> DeviceChoice | None:
        """Between CPU and GPU, as a training makes it; None where it has none to make."""
        from schuss.plan import may_use_gpu
        from schuss.planner.device import choose_device

        gpu = self.gpu.gpu
        if gpu is None or self.settings.isa is not None or not may_use_gpu(self.settings.plan):
            return None
        return choose_device(self.native[0], self.settings.epochs, lambda: gpu)

    def memory(self, prediction: Prediction) -> int:
        """Bytes that training takes beside the data."""
        if prediction.plan.on_gpu:
            return self.gpu.memory(prediction)
        from schuss import _core
        from schuss.trainer import training_memory

        work, isa = self.work, self.profile.isa
        here = any(name == isa and available for name, _, _, available in _core.isas())
        # naive kernels take no instruction set; one that is not here pads the layers a little differently
        use = isa if here and prediction.plan.kernels != "naive" else None
        return training_memory(
            work.layer_sizes,
            prediction.plan,
            self.settings.optimizer,
            work.batch_size,
            work.dtype,
            use,
        )

    def head(self) -> list[tuple[str, str]]:
        """What is planned, and for which machine."""
        from schuss.plan import n_parameters

        work, profile = self.work, self.profile
        sizes = "-".join(map(str, work.layer_sizes))
        lines = [] if self.what.data is None else [("data", f"{self.what.data}, {work.rows:,} examples")]
        return [
            *lines,
            ("network", f"{sizes}, {n_parameters(work.layer_sizes):,} parameters, {work.dtype}"),
            (
                "work",
                f"minibatches of {work.batch_size:,}, {work.flops / 1e9:.3g} GFLOP a step, "
                f"{work.steps:,} steps an epoch of {work.rows:,} examples",
            ),
            ("machine", f"{profile.name}: {profile.cores} cores, {profile.isa}; {origin(profile)}"),
            ("threads", f"{self.settings.threads} allowed"),
            *self.gpu.head(),
        ]

    def training(self) -> str:
        """What all epochs take on one machine, with the chosen plan."""
        epochs, chosen = self.settings.epochs, self.chosen
        count = "1 epoch" if epochs == 1 else f"{epochs:,} epochs"
        before = f", after {duration(chosen.before)} before the first step" if chosen.before else ""
        return f"{count} take {duration(epochs * chosen.epoch_seconds)}{before}, beside validation."

    def table(self, top: int) -> tuple[list[str], list[list[str]]]:
        """Head and rows of the candidates, at most `top` of the native ones, and the chosen one in any case."""
        head = ["plan", "step", "epoch", "GFLOP/s", "of peak", "bound by", "memory"]
        return head, [self._row(prediction) for prediction in self.shown(top)]

    def shown(self, top: int) -> list[Prediction]:
        """The best `top` native plans, the GPU's, the chosen one, and the others that were asked for, each once."""
        found = [*self.native[:top], *self.gpu.predictions, self.chosen, *self.others]
        by_plan = {label(prediction.plan, self.work): prediction for prediction in found}
        return sorted(by_plan.values(), key=lambda prediction: prediction.seconds)

    def sentence(self) -> str:
        """The choice and its reason."""
        best, chosen = self.native[0], self.chosen
        on_gpu = chosen.plan.on_gpu
        how = self.gpu.division(chosen.plan) if on_gpu else _division(chosen.plan)
        peak = "GPU's peak" if on_gpu else "peak"
        said = (
            f"{label(chosen.plan, self.work)}, {how}: {duration(chosen.seconds)} a step, "
            f"{chosen.share_of_peak:.0%} of the {peak}, bound by {_KIND[chosen.bound]}"
        )
        if self.named and chosen.plan != best.plan:
            return f"{said}; named, where {best.plan} would take {duration(best.seconds)}."
        if on_gpu:
            return f"{said}; {best.plan} would take {duration(best.seconds)}."
        if self.named or len(self.native) == 1:
            return f"{said}."
        unused = self.settings.threads - best.plan.threads
        fewer = f"; more than {best.plan.threads} of the {self.settings.threads} threads would not pay"
        second = self.native[1]
        behind = second.seconds / best.seconds - 1
        after = "does as well" if behind < _EQUAL else f"would be {behind:.0%} slower"
        return f"{said}{fewer if unused else ''}; {second.plan} {after}."

    def device_sentence(self) -> str:
        """Why the CPU or the GPU, where both could be had; else nothing."""
        if self.choice is None:
            return ""
        return f"{'The GPU' if self.choice.on_gpu else 'Not the GPU'}: {self.choice.reason}."

    def by_threads(self) -> dict[int, Prediction]:
        """The best native plan of each number of threads."""
        found: dict[int, Prediction] = {}
        for prediction in self.native:
            found.setdefault(prediction.plan.threads, prediction)
        return dict(sorted(found.items()))

    def document(self, top: int) -> dict[str, Any]:
        """Everything, for JSON."""
        profile = self.profile
        return {
            "data": self.what.data,
            "workload": asdict(self.work) | {"loss": self.settings.loss},
            "machine": {
                name: getattr(profile, name) for name in ("name", "cores", "isa", "measured", "source")
            },
            "threads": self.settings.threads,
            "gpu": self.gpu.document(),
            "candidates": [self._facts(prediction) for prediction in self.shown(top)],
            "choice": str(self.chosen.plan),
            "device": "cuda" if self.chosen.plan.on_gpu else "cpu",
            "reason": self.sentence(),
            "device_reason": self.device_sentence() or None,
        }

    def _others(self) -> list[Plan]:
        from schuss.plan import Plan

        threads = self.settings.threads
        splits = dict.fromkeys(((1, 1), (threads, 1), (1, threads)))
        return [Plan(kernels, *split) for kernels in _OTHERS for split in splits]

    def _row(self, found: Prediction) -> list[str]:
        return [
            label(found.plan, self.work),
            duration(found.seconds),
            duration(found.epoch_seconds),
            f"{found.gflops:,.1f}",
            f"{found.share_of_peak:.0%}",
            found.bound,
            f"{self.memory(found) / 1e6:,.1f} MB",
        ]

    def _facts(self, found: Prediction) -> dict[str, Any]:
        return {
            "plan": str(found.plan),
            "threads": found.plan.threads,
            "step_seconds": found.seconds,
            "epoch_seconds": found.epoch_seconds,
            "gflops": found.gflops,
            "share_of_peak": found.share_of_peak,
            "bound": found.bound,
            "parts": found.parts,
            "memory_bytes": self.memory(found),
            **(self.gpu.facts(found) if found.plan.on_gpu else {}),
        }


def origin(profile: Profile) -> str:
    """Where a profile's figures come from, in words."""
    return f"measured {profile.measured[:10]}" if profile.measured else "from data sheets, not measured"


def _division(plan: Plan) -> str:
    """The plan in words."""
    if plan.threads == 1:
        return "one thread"
    groups = "1 group" if plan.examples == 1 else f"{plan.examples} groups"
    return f"{groups} of {plan.matrix} thread{'s' * (plan.matrix > 1)}"
