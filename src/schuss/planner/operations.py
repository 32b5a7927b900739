"""The products of a step, one by one: work, bytes and predicted time, as a roofline shows them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from ..plan import Plan
from .account import Workload
from .cost import NativeStep
from .profile import Profile

__all__ = ["Operation", "operations"]


@dataclass(frozen=True)
class Operation:
    """One product of a step.

    Attributes
    ----------
    kind : {"forward", "delta", "gradient"}
    layer : int
        From 1; layer l has n_{l-1} inputs and n_l outputs.
    flops : float
    bytes : float
        What it reads and writes, each counted once; the weights twice where they are updated.
    seconds : float
        Predicted, of all threads of the plan together.
    """

    kind: str
    layer: int
    flops: float
    bytes: float
    seconds: float

    @property
    def intensity(self) -> float:
        """FLOP a byte."""
        return self.flops / self.bytes

    @property
    def rate(self) -> float:
        """FLOP/s."""
        return self.flops / self.seconds


def operations(work: Workload, plan: Plan, profile: Profile) -> list[Operation]:
    """The products of a native step: of each layer forward, delta (but of the first) and the gradient with its update.

    Each takes the longer of its arithmetic and of moving its bytes; what a step does beside them is not in it.
    """
    step = NativeStep(work, plan, profile)
    step.sizes()
    found = []
    for number, (inputs, outputs) in enumerate(pairwise(work.layer_sizes), start=1):
        rows, weights = work.batch_size, inputs * outputs
        flops = 2.0 * rows * weights
        kinds = {
            "forward": (step.product(step.share, inputs, outputs), weights, "read"),
            "delta": (step.product(step.share, outputs, inputs), weights, "read"),
            "gradient": (_gradient_seconds(step, inputs, outputs), 2 * weights, "update"),
        }
        if number == 1:
            del kinds["delta"]
        for kind, (computing, moved, how) in kinds.items():
            size = work.word * (rows * (inputs + outputs) + moved)
            own = size / plan.threads
            moving, _ = step.move(own, own, step.all, how)
            found.append(Operation(kind, number, flops, size, max(computing, moving)))
    return found


def _gradient_seconds(step: NativeStep, inputs: int, outputs: int) -> float:
    sums = sum(
        count * step.tile_sums(inputs, vectors, filled) for count, vectors, filled in step.panels(outputs)
    )
    return sums / step.plan.threads
