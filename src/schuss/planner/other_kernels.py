"""Predictions for naive, gemv and gemm: for the study and for comparison. The planner never chooses them.

They are coarser than those for native: arithmetic at one rate for each, bytes through the levels, barriers.
"""

from __future__ import annotations

import math
from itertools import pairwise

from ..plan import Plan, n_parameters
from .account import Account, Constants, Prediction, Workload
from .profile import Blas, Profile

__all__ = ["predict_other"]

#: Floating-point operations a cycle of the plain loops, which the compiler makes four wide.
_NAIVE_FLOPS = 4.0
#: Cycles of a call of the BLAS, of a vector's activation or derivative, and of the update's vector.
_CALL, _ELEMENT, _UPDATE = 400.0, 20.0, 6.0


def predict_other(work: Workload, plan: Plan, profile: Profile) -> Prediction:
    """What a step of `work` takes with one example, or one minibatch a group, at a time."""
    step = _GemmStep(work, plan, profile) if plan.kernels == "gemm" else _ExampleStep(work, plan, profile)
    return step.run()


class _Other(Account):
    """What the three share: a gradient a group, added up and applied at the end."""

    def __init__(self, work: Workload, plan: Plan, profile: Profile) -> None:
        super().__init__(work, plan, profile, Constants())
        self.parameters = float(work.word * n_parameters(work.layer_sizes))
        self.share = -(-work.batch_size // plan.examples)
        self.layers = list(pairwise(work.layer_sizes))

    def reduce(self) -> None:
        """Adding the groups' gradients, and the update: both shared by all threads."""
        streams = self.streams + self.plan.examples + 1
        moving, level = self.move(
            streams * self.parameters / self.plan.threads, self.parameters, self.everything, "read"
        )
        vectors = self.parameters / self.work.word / self.lanes / self.plan.threads
        self.phase(vectors * (_UPDATE + self.plan.examples) * self.cycle, moving, level)

    @property
    def everything(self) -> float:
        return self.parameters * (self.plan.examples + self.streams)

    def elements(self) -> float:
        """Seconds of activations and derivatives of an example."""
        return sum(-(-n // self.lanes) for n in self.work.layer_sizes[1:]) * _ELEMENT * self.cycle


class _ExampleStep(_Other):
    """naive and gemv: products of a matrix and one vector, and a gradient that each example is added to."""

    def run(self) -> Prediction:
        members = self.plan.matrix
        if self.plan.kernels == "naive":
            computing = self.work.flops / self.work.batch_size * self.cycle / _NAIVE_FLOPS
        else:  # the BLAS multiplies a vector as fast as the matrix comes
            computing = _CALL * 3 * len(self.layers) * self.cycle
        computing = computing / members + self.elements()
        own = 2 * self.parameters  # W and this group's gradient, again with each example
        every = (1 + self.plan.examples) * self.parameters
        reading, _ = self.move(1.6 * self.parameters / members, own, every, "read")
        adding, level = self.move(2 * self.parameters / members, own, every, "update")
        self.phase(self.share * computing, self.share * (reading + adding), level)
        self.reduce()
        meetings = self.share * 3 * len(self.layers) if members > 1 else 0
        self.barriers = meetings * self.meeting(members) + 2 * self.meeting(self.plan.threads)
        return self.prediction()


class _GemmStep(_Other):
    """gemm: the products of a group's whole slice, by the BLAS with M threads of its own."""

    def run(self) -> Prediction:
        rows, members = self.share, self.plan.matrix
        computing = rows * self.elements() * 2
        for number, (inputs, outputs) in enumerate(self.layers, start=1):
            shapes = [(rows, outputs, inputs), (inputs, outputs, rows)]
            if number > 1:
                shapes.append((rows, inputs, outputs))
            for m, n, k in shapes:
                computing += 2.0 * m * n * k / _blas_rate(self.profile, m, n, k, members) + _CALL * self.cycle
        width = sum(self.work.layer_sizes)
        moving, level = self.move(4.0 * self.work.word * rows * width, math.inf, self.everything, "read")
        self.phase(computing, moving, level)
        self.reduce()
        self.barriers = 2 * self.meeting(self.plan.examples)
        return self.prediction()


def _blas_rate(profile: Profile, m: int, n: int, k: int, threads: int) -> float:
    """FLOP/s of the product nearest in shape that was measured, at the share of the peak that it had there."""
    known: list[Blas] = [one for one in profile.blas if (one.m == 1) == (m == 1)]
    if not known:
        return profile.rate(profile.peak["float32"], threads) * (0.1 if m == 1 else 0.5)

    def distance(one: Blas) -> float:
        shape = sum(abs(math.log(a / b)) for a, b in ((one.m, m), (one.n, n), (one.k, k)))
        return shape + 10 * abs(math.log(one.threads / threads))

    nearest = min(known, key=distance)
    return nearest.flops * threads / nearest.threads
