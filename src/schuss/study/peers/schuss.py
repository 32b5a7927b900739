"""Schuss: its trainer, with the plan that it chooses for the CPU, or one that is named, of the CPU or of a GPU."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import schuss
from schuss import cuda
from schuss.cuda.peak import measure_peak
from schuss.epochs import Trainer
from schuss.optimizers import Optimizer
from schuss.plan import GPU_KERNELS, allowed_threads
from schuss.study.work import Work

__all__ = ["Schuss"]

#: Of the training that is planned for: long, so that what pays is tried while the process warms up.
_EPOCHS = 1000


class Schuss:
    """An epoch of Schuss's trainer, recording and all."""

    shuffles = False
    compiles_epochs = False

    def __init__(self, work: Work, X: Any, y: Any, start: schuss.Network, plan: str = "auto") -> None:
        optimizer = Optimizer(work.optimizer, momentum=work.momentum)
        chosen = start.plan_for(
            work.batch, plan, allowed_threads(), rows=work.rows, epochs=_EPOCHS, formula=optimizer.formula,
            device=None if plan in GPU_KERNELS else "cpu",
        )  # fmt: skip
        self.threads = chosen.threads
        self.X, self.y = start.pair(X, y)
        self.trainer = Trainer(start, optimizer, work.rate, work.batch, chosen, lambda _: self.order)
        self.held = self.trainer.hold((self.X, self.y))

    @property
    def plan(self) -> str:
        """The one of the last step."""
        return self.trainer.network.trained_plan

    @property
    def settling(self) -> bool:
        """Whether plans are still being tried."""
        return self.trainer.engine.settling

    def epoch(self, order: Any) -> float:
        """One pass over the rows in this order."""
        self.order = order
        self.trainer.epoch(self.X, self.y)
        return self.trainer.network.history["loss"][-1]

    def peak(self, seconds: float) -> float:
        """FLOP/s of a GPU's fused multiply-adds in registers."""
        return measure_peak(cuda.device(self.trainer.plan.device), seconds)

    def versions(self) -> dict[str, str]:
        """Of what computes, and the name of a GPU."""
        plan = self.trainer.plan
        gpu = {"gpu": cuda.device(plan.device).name} if plan.on_gpu else {}
        return {"schuss": version("schuss"), **gpu}
