"""Schuss: its trainer, with the plan that it chooses or one that is named."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from work import Work

import schuss
from schuss.optimizers import Optimizer
from schuss.plan import allowed_threads, choose
from schuss.trainer import Trainer


class Schuss:
    shuffles = False

    def __init__(self, work: Work, X: Any, y: Any, start: schuss.Network, plan: str = "auto") -> None:
        chosen = choose(plan, threads=allowed_threads(), layer_sizes=work.layers, batch_size=work.batch)
        self.plan, self.threads = str(chosen), chosen.threads
        self.X, self.y = start.pair(X, y)
        self.trainer = Trainer(
            start, Optimizer(work.optimizer), work.rate, work.batch, chosen, lambda _: self.order
        )

    def epoch(self, order: Any) -> float:
        self.order = order
        self.trainer.epoch(self.X, self.y)
        return self.trainer.network.history["loss"][-1]

    def versions(self) -> dict[str, str]:
        return {"schuss": version("schuss")}
