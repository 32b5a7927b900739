"""Schuss: its trainer, with the plan that it chooses or one that is named."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import schuss
from schuss.epochs import Trainer
from schuss.optimizers import Optimizer
from schuss.plan import allowed_threads
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
            work.batch, plan, allowed_threads(), rows=work.rows, epochs=_EPOCHS, formula=optimizer.formula
        )
        self.threads = chosen.threads
        self.X, self.y = start.pair(X, y)
        self.trainer = Trainer(start, optimizer, work.rate, work.batch, chosen, lambda _: self.order)

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

    def versions(self) -> dict[str, str]:
        """Of what computes."""
        return {"schuss": version("schuss")}
