"""Schuss's engine as gpu.py times it: passes over examples that are held, without what a trainer does between them."""

from __future__ import annotations

from typing import Any

import numpy as np

import schuss
from schuss.optimizers import Optimizer
from schuss.plan import allowed_threads
from schuss.study.work import Work

__all__ = ["Engine"]


class Engine:
    """The engine of a plan, of the GPU or of the CPU, with the work's start."""

    def __init__(self, work: Work, X: Any, y: Any, start: schuss.Network, plan: str, precision: str) -> None:
        self.work = work
        self.X, self.y = start.pair(X, work.targets(y))
        on_gpu = plan.startswith("cuda")
        chosen = start.plan_for(
            work.batch,
            plan,
            allowed_threads(),
            rows=work.rows,
            epochs=1000,
            precision=precision if on_gpu else None,
        )
        self.engine = start.new_engine(chosen, Optimizer(work.optimizer, momentum=work.momentum))
        self.engine.load(start.parameters)
        self.held = self.engine.hold(self.X, self.y)
        self.held.__enter__()

    def epoch(self, order: Any) -> float:
        """One pass over these rows; the mean of its minibatches' losses."""
        rates = np.full(len(order) // self.work.batch, self.work.rate)
        losses, _ = self.engine.run(self.X, self.y, order, self.work.batch, rates)
        return float(losses.mean())
