"""The device of a training that leaves it open: the CPU, unless a GPU is here and pays clearly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .account import Prediction
from .gpu import CONTEXT, GpuProfile, present
from .units import duration

if TYPE_CHECKING:
    from .gpu_cost import GpuStep

__all__ = ["MARGIN", "DeviceChoice", "choose_device"]

#: The GPU is chosen where the CPU is predicted to take more than this many times as long for the whole training:
#: nothing that is predicted of a GPU was measured, and one that hardly pays is better left to others.
MARGIN = 2.0


@dataclass(frozen=True)
class DeviceChoice:
    """Where a training is to run, and why.

    Attributes
    ----------
    cpu : Prediction
    gpu : Prediction or None
        None where no GPU was considered.
    on_gpu : bool
    reason : str
        In words.
    """

    cpu: Prediction
    gpu: Prediction | None
    on_gpu: bool
    reason: str


def choose_device(
    cpu: Prediction, epochs: int, find: Callable[[], GpuProfile | str] | None = None
) -> DeviceChoice:
    """The GPU, where the CPU is predicted to take at least MARGIN times as long for the whole training with all that
    comes before its first step; else the CPU.

    Parameters
    ----------
    cpu : Prediction
        The CPU's best.
    epochs : int
    find : callable() -> GpuProfile or str, default None
        The GPU, or why there is none; None: the first that is here. It is not asked where the training ends before a
        GPU would be ready.
    """
    whole = cpu.training_seconds(epochs)
    if whole < MARGIN * CONTEXT:
        took = f"{duration(whole)} in all on the CPU, before a GPU would be ready"
        return DeviceChoice(cpu, None, False, took)
    found = present() if find is None else find()
    if isinstance(found, str):
        return DeviceChoice(cpu, None, False, f"no GPU: {found}")
    from .gpu_cost import GpuStep  # with the nodes of the engine, for nothing where there is no GPU

    step = GpuStep(cpu.work, found)
    gpu = step.prediction()
    if not step.fits:
        needed = f"{step.network_bytes / 1e9:,.3g} GB are needed"
        short = f"the GPU's {found.memory_bytes / 1e9:,.3g} GB are too few, {needed}"
        return DeviceChoice(cpu, gpu, False, short)
    return DeviceChoice(cpu, gpu, whole > MARGIN * gpu.training_seconds(epochs), _words(cpu, step, epochs))


def _words(cpu: Prediction, step: GpuStep, epochs: int) -> str:
    """Such as: a step of 20-100-2 is 4 nodes of 1.6 us on the GPU, predicted 6.5 us, against 9 us on the CPU."""
    gpu, nodes = step.prediction(), step.nodes
    sizes = "-".join(map(str, cpu.work.layer_sizes))
    each = f"{len(nodes)} nodes of about {duration(sum(node.seconds for node in nodes) / len(nodes))}"
    return (
        f"a step of {sizes} is {each} on the GPU, predicted {duration(gpu.seconds)}, against "
        f"{duration(cpu.seconds)} on the CPU; the whole training {duration(gpu.training_seconds(epochs))}, "
        f"{duration(gpu.before)} of it before the first step, against {duration(cpu.training_seconds(epochs))}"
    )
