"""Epochs of minibatch gradient descent, what they record, and what they go on from. The engine computes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cuda.arrays import DeviceArray
from .errors import DeviceError, TrainingDiverged
from .network import Network
from .optimizers import Optimizer
from .plan import Plan
from .planner.report import PlanReport
from .schedules import Constant, Schedule
from .stopping import Stopping

__all__ = ["History", "Trainer", "TrainerState", "new_history"]

Array = NDArray[Any]
History = dict[str, list[float]]

_log = logging.getLogger("schuss")
#: Single steps from one report on the plan to the next: it takes some microseconds.
_REPORT_EVERY = 256


def new_history() -> History:
    """A history with no epochs yet."""
    return {"loss": [], "learning_rate": [], "epoch_seconds": [], "examples_per_second": [], "gflops": []}


@dataclass
class TrainerState:
    """What a training goes on from, beside the network.

    Parameters
    ----------
    learning_rate : float
        The base rate, as plateaus have left it.
    epochs_done, seen : int
        Epochs, and examples counted each time they were used.
    steps_taken : int
    slots : list of ndarray, (n_parameters,)
        The optimizer's own, such as Adam's two moments.
    """

    learning_rate: float
    epochs_done: int
    seen: int
    steps_taken: int
    slots: list[Array]


@dataclass
class Trainer:
    """Runs epochs of minibatch gradient descent on one network.

    Parameters
    ----------
    network : Network
        Trained in place: it has the latest parameters after every epoch, and when one is interrupted.
    optimizer : Optimizer
    learning_rate : float
        The schedule's base rate; may be changed between epochs.
    batch_size : int
    plan : Plan
    order : callable(n_examples) -> ndarray of int
        Rows in the order of training; called once an epoch. It may leave rows out.
    schedule : Schedule, default constant
    epochs : int, default 1
        Epochs planned, as far as the schedule is concerned.
    dropout : sequence of float, default ()
        Share of each hidden layer's units that a step leaves out; () for none.
    seed : int, default 0
        Of dropout.
    loss_scale, loss_cap : float, default 1, infinity
        Factor of the losses that are reported, and the most that a probability's -log may add to one.
    state : TrainerState or None, default None
        Go on from there.
    """

    network: Network
    optimizer: Optimizer
    learning_rate: float
    batch_size: int
    plan: Plan
    order: Callable[[int], Array] = np.arange
    schedule: Schedule = field(default_factory=Constant)
    epochs: int = 1
    dropout: Sequence[float] = ()
    seed: int = 0
    loss_scale: float = 1.0
    loss_cap: float = float("inf")
    state: TrainerState | None = None

    def __post_init__(self) -> None:
        n = self.network
        self.engine = n.new_engine(
            self.plan, self.optimizer, dropout=self.dropout, seed=self.seed, loss_scale=self.loss_scale,
            loss_cap=self.loss_cap,
        )  # fmt: skip
        self.engine.load(n.parameters)
        self._version = n.version
        self.lost = False  # steps, with the device that took them
        self._shares = np.empty(0)  # examples in each minibatch
        self.epochs_done, self.seen = 0, 0
        if self.state is not None:
            self._restore(self.state)
            self.state = None
        n.history = new_history()
        n.trained_plan, n.trained_device, n.plan_report = str(self.plan), self.plan.place, None
        how = self.plan.precision or n.dtype.name
        _log.info("plan %s on %s in %s (%s)", self.plan, self.plan.place, how, self.plan.asked or "named")

    def _restore(self, state: TrainerState) -> None:
        self.learning_rate, self.epochs_done, self.seen = state.learning_rate, state.epochs_done, state.seen
        self.engine.steps_taken = state.steps_taken
        for number, flat in enumerate(state.slots, start=1):
            self.engine.load_slot(number, flat)

    def snapshot(self) -> TrainerState:
        """The present state, copied."""
        slots = [np.empty(self.network.n_parameters, self.network.dtype) for _ in range(1, self.engine.slots)]
        for number, flat in enumerate(slots, start=1):
            self.engine.store_slot(number, flat)
        steps = self.engine.steps_taken
        return TrainerState(self.learning_rate, self.epochs_done, self.seen, steps, slots)

    def state_left(self) -> TrainerState:
        """The present state; where the device has failed, one of an optimizer that begins anew."""
        try:
            return self.snapshot()
        except DeviceError:
            nothing = np.zeros(self.network.n_parameters, self.network.dtype)
            slots = [nothing] * (self.engine.slots - 1)
            return TrainerState(self.learning_rate, self.epochs_done, self.seen, 0, slots)

    def epoch(self, X: Array, y: Array, sample_weight: Array | None = None) -> None:
        """One pass over X (n_examples, n_0) and y, recorded in the network's history.

        Raises
        ------
        TrainingDiverged
            If the loss or a weight is no longer finite; the network keeps the parameters from the end of the
            epoch before.
        """
        began = time.perf_counter()
        self._take_over()
        self.engine.remember()
        order = np.ascontiguousarray(self.order(X.shape[0]), np.int64)
        n, B = len(order), self.batch_size
        rates = self.schedule.rates(self.learning_rate, self.epochs_done, -(-n // B), self.epochs, self.seen)
        try:
            losses, finite = self.engine.run(X, y, order, B, rates, sample_weight)
        except BaseException:  # Ctrl-C, or whatever else a signal's handler raises
            self.network.adopt(self.engine)
            raise
        seconds = time.perf_counter() - began
        self.network.adopt(self.engine)
        if not finite or not self.engine.parameters_finite():
            self.engine.recall()
            self._forget_slots()
            what = "a weight became infinite" if finite else f"loss became {losses[-1]}"
            raise self._diverged(what, len(losses))
        if len(self._shares) != len(rates) or self._shares[0] != min(B, n) or self._shares.sum() != n:
            self._shares = np.minimum(B, n - B * np.arange(len(rates)))
        shares = self._shares
        if sample_weight is not None and not losses.all():  # minibatches without weight have no loss
            shares = shares * (np.add.reduceat(sample_weight[order], np.arange(0, n, B)) > 0)
        self._record(float(losses @ shares / max(1, shares.sum())), float(rates[-1]), n, seconds)
        self.report()

    def hold(self, *sets: tuple[Any, ...] | None) -> AbstractContextManager[Any]:
        """Within it these sets of X, y and weights do not change: a GPU may keep them."""
        with ExitStack() as held:
            for arrays in sets:
                if arrays is not None:
                    held.enter_context(self.engine.hold(*arrays))
            return held.pop_all()

    @contextmanager
    def session(self, *sets: tuple[Any, ...] | None) -> Iterator[None]:
        """Epochs are run within it, on these sets of X, y and weights, which do not change; X of each must be where the
        plan can read it. Where a device fails, the network keeps what can be had of it."""
        for arrays in sets:
            if arrays is not None and isinstance(arrays[0], DeviceArray):
                arrays[0].check_readable(self.plan)
        with self.network.in_training(), self.hold(*sets):
            try:
                yield
            except DeviceError:
                self.rescue()
                raise

    def rescue(self) -> bool:
        """After the device has failed: see :meth:`schuss.network.Network.rescue`."""
        kept = self.network.rescue(self.engine)
        self.lost = self.lost or not kept
        return kept

    def report(self) -> None:
        """Bring the network's report on the plan up to date, and say in the log where the plan is another one now."""
        n = self.network
        rows = self.seen // max(1, self.epochs_done)
        n.plan_report = PlanReport.of(self.engine, n, self.batch_size, rows, self.optimizer.formula)
        if str(n.plan_report.present) != n.trained_plan:
            n.trained_plan = str(n.plan_report.present)
            _log.info("after epoch %d: %s", self.epochs_done, n.plan_report.sentence)

    def step(self, X: Array, y: Array, sample_weight: Array | None = None) -> None:
        """An epoch of one minibatch, all rows as they lie, with as little around the step as there can be.

        The network's parameters are fetched when they are asked for. A step whose loss is not finite is not taken.

        Raises
        ------
        TrainingDiverged
            If the loss is not finite.
        """
        began = time.perf_counter()
        self._take_over()
        n = X.shape[0]
        rate = float(self.schedule.rates(self.learning_rate, self.epochs_done, 1, self.epochs, self.seen)[0])
        try:
            loss, taken = self.engine.step(X, y, rate, sample_weight)
        finally:
            self.network.adopt(self.engine)
        if not taken:
            self._forget_slots()
            raise self._diverged(f"loss became {loss}", 1)
        self._record(loss, rate, n, time.perf_counter() - began)
        if self.epochs_done % _REPORT_EVERY == 1:
            self.report()

    def _forget_slots(self) -> None:
        """The optimizer begins anew: what it holds of a training that diverged would make the next one diverge."""
        nothing = np.zeros(self.network.n_parameters, self.network.dtype)
        for number in range(1, self.engine.slots):
            self.engine.load_slot(number, nothing)
        self.engine.steps_taken = 0

    def _take_over(self) -> None:
        """Hand parameters that someone has assigned to the network to the engine."""
        if self.network.version != self._version:
            self.engine.load(self.network.parameters)
            self._version = self.network.version

    def _record(self, loss: float, rate: float, n: int, seconds: float) -> None:
        self.epochs_done += 1
        self.seen += n
        history = self.network.history
        history["loss"].append(loss)
        history["learning_rate"].append(rate)
        history["epoch_seconds"].append(seconds)
        history["examples_per_second"].append(n / seconds)
        history["gflops"].append(self.network.flops_per_example * n / seconds / 1e9)

    def _diverged(self, what: str, step: int) -> TrainingDiverged:
        done = len(self.network.history["loss"])
        return TrainingDiverged(
            f"{what} in epoch {done + 1}, step {step}; the parameters are those after epoch {done} "
            f"(a smaller learning rate than {self.learning_rate:g} may help)",
            done + 1,
            step,
        )

    def plateau(self, stopping: Stopping) -> bool:
        """What the schedule makes of patience that has come to an end: True to go on, with another base rate."""
        rate = self.schedule.on_plateau(self.learning_rate)
        if rate is None:
            return False
        self.learning_rate, stopping.waited = rate, 0
        return True

    def validate(self, X: Array, y: Array, sample_weight: Array | None = None) -> Array:
        """Record the mean loss on held-out examples in the network's history; return the outputs."""
        outputs, losses = self.engine.forward(X, y)
        mean = float(np.average(losses, weights=sample_weight))
        self.network.history.setdefault("validation_loss", []).append(mean)
        return outputs
