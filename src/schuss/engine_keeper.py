"""A network's parameters, and the engine that computes with them: made when it is needed, and given back."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakSet, ref

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import validation
from .cuda.arrays import DeviceArray
from .engine import Engine, chosen_isa, make_engine
from .errors import DeviceError, PlanError
from .losses import Loss
from .optimizers import Optimizer
from .plan import Plan, allowed_threads, may_use_gpu, n_parameters, wanted_device
from .planner.choice import choose

__all__ = ["EngineKeeper", "device_for"]

Array = NDArray[Any]

_log = logging.getLogger("schuss")

#: Multiply-adds that the calling thread does by itself, so that nothing has to be asked about threads.
_ALONE = 1e6

#: A child of fork finds every network unlocked: the thread that held a lock exists in the parent only.
_networks: WeakSet[EngineKeeper] = WeakSet()


def _unlock_all() -> None:
    for network in list(_networks):
        network._new_lock()


os.register_at_fork(after_in_child=_unlock_all)

#: Networks that have a team of threads or memory of a GPU, the latest last. Beyond some, the oldest gives them back.
_with_teams: deque[ref[EngineKeeper]] = deque()
_MOST_TEAMS = 8


def _let_older_ones_rest(network: EngineKeeper) -> None:
    latest = ref(network)
    with suppress(ValueError):
        _with_teams.remove(latest)
    _with_teams.append(latest)
    while len(_with_teams) > _MOST_TEAMS:
        older = _with_teams.popleft()()
        if older is not None and older is not network and older._lock.acquire(blocking=False):
            try:
                older._rest()
            finally:
                older._lock.release()


def device_for(X: Any, plan: str, device: str) -> str:
    """`device`; where it and the plan leave it open, the GPU that X is on."""
    return X.place if isinstance(X, DeviceArray) and device == "auto" and may_use_gpu(plan) else device


def _has_team(plan: Plan) -> bool:
    return plan.threads > 1 or bool(plan.others) or plan.on_gpu


class EngineKeeper:
    """What a network is to whoever computes: its parameters, where they are now, and how they are computed with.

    Attributes
    ----------
    plan, n_jobs, isa
        As of :class:`schuss.network.Network`; assign to change how the next call computes.
    version : int
        How often the parameters were assigned or stepped: a training sees by it that its engine is behind.
    """

    layer_sizes: tuple[int, ...]
    activations: tuple[str, ...]
    loss_function: Loss
    dtype: np.dtype[Any]
    input_scale: float
    input_shift: float

    def _begin(
        self, parameters: Array, plan: str, n_jobs: int | None, isa: str | None, device: str, precision: str
    ) -> None:
        wanted_device(device)
        self.plan, self.n_jobs, self.isa, self._device = plan, n_jobs, isa, device
        self._precision = validation.arithmetic(precision, self.dtype)
        self.version = 0
        self._n_parameters = n_parameters(self.layer_sizes)
        #: None: the engine is ahead by steps whose outcome nobody has asked for
        self._parameters: Array | None = parameters
        #: Of an engine on a GPU that is ahead: the latest that the host has, for when the GPU fails
        self._parameters_before: Array | None = None
        self._trainings = 0  # that have its engine now
        self._engine: Engine | None = None
        self._engine_key: Any = None
        self._engine_rows = 0  # for which it was chosen
        self._adopted = False
        self._new_lock()

    def _new_lock(self) -> None:
        self._lock = threading.RLock()  # threads that share a network take turns
        _networks.add(self)

    @property
    def device(self) -> str:
        """Where to compute. Assign to have the next call compute elsewhere."""
        return self._device

    @device.setter
    def device(self, device: str) -> None:
        wanted_device(device)
        self.release()
        self._device = device

    @property
    def precision(self) -> str:
        """Arithmetic, one of :data:`schuss.plan.PRECISIONS`. Assign one of them, or "auto", to change it."""
        return self._precision

    @precision.setter
    def precision(self, precision: str) -> None:
        arithmetic = validation.arithmetic(precision, self.dtype)
        self.release()
        self._precision = arithmetic

    @property
    def n_parameters(self) -> int:
        return self._n_parameters

    def _fetch(self) -> Array:
        """The present parameters, from the engine where it is ahead; the caller holds the lock."""
        if self._parameters is None:
            assert self._engine is not None
            try:
                self._parameters = self._engine.fetch()  # arrays handed out before keep what they showed
            except DeviceError as error:
                self._fall_behind(error)
                raise
        return self._parameters

    def _moved_on(self, engine: Engine) -> None:
        """`engine` is ahead by a step."""
        if self._parameters is not None:
            self._parameters_before = self._parameters if engine.plan.on_gpu else None
        self._parameters = None

    def _fall_behind(self, error: DeviceError) -> None:
        """Go on with what the host has, as the engine cannot be asked any more."""
        if self._parameters_before is None or self._engine is None:
            return
        place = self._engine.plan.place
        _log.warning("%s: what was learnt on %s since the parameters were last fetched is lost", error, place)
        self._parameters, self._parameters_before = self._parameters_before, None
        self._engine, self._adopted = None, False
        self.version += 1

    def rescue(self, engine: Engine) -> bool:
        """After `engine`, with which a training had begun, has failed: fetch what it has learnt; False where that is
        lost, and the network has the parameters that the host had last."""
        with self._lock:
            if self._engine is not engine:
                return True
            try:
                self._fetch()
            except DeviceError:
                return False
            self._engine, self._adopted = None, False
            return True

    @property
    def parameters(self) -> Array:
        """All parameters as one read-only vector: W_1 row by row, b_1, W_2, ... Assign to replace them."""
        with self._lock:
            view = self._fetch().view()
        view.flags.writeable = False
        return view

    @parameters.setter
    def parameters(self, flat: ArrayLike) -> None:
        given = np.asarray(flat)
        if given.shape != (self.n_parameters,):
            raise ValueError(f"parameters must have shape {(self.n_parameters,)}, got {given.shape}")
        with self._lock:
            self._parameters = np.array(given, self.dtype)
            self.version += 1
            if self._engine is not None:
                try:
                    self._engine.load(self._parameters)
                except DeviceError:  # of which whoever computes will hear
                    self._engine, self._adopted = None, False

    def _ready(self, X: Any, outputs_only: bool = False) -> Engine:
        """An engine for passes over X, with the present parameters; the caller holds the lock.

        An adopted one has the optimizer, the dropout and the reports of a training: it is for outputs only.
        """
        if self._adopted and not outputs_only:
            self._fetch()
            self._engine, self._adopted = None, False
        rows, threads = X.shape[0], allowed_threads(self.n_jobs)
        device = device_for(X, self.plan, self._device)
        key = self._key(threads)
        engine = self._engine
        # An engine made for more rows serves fewer too.
        if (
            engine is None
            or key != self._engine_key
            or rows > self._engine_rows
            or not engine.plan.is_at(device)
        ):
            plan = self.plan_for(rows, self.plan, threads, device=device)
            if engine is None or key != self._engine_key or self._outgrown(engine, plan):
                parameters, engine = self._fetch(), self.new_engine(plan)
                engine.load(parameters)
                self._engine, self._adopted = engine, False
                if _has_team(plan):
                    _let_older_ones_rest(self)
            self._engine_key, self._engine_rows = key, rows
        if isinstance(X, DeviceArray):
            X.check_readable(engine.plan)
        engine.forget_interrupts()
        return engine

    def _outgrown(self, engine: Engine, plan: Plan) -> bool:
        """Whether an engine like those wanted now is to give way to one of this plan."""
        if plan.place != engine.plan.place:
            return not (self._adopted and self._device == "auto" and not plan.on_gpu)
        return plan.threads > engine.plan.threads

    def compute_as(self, plan: str, n_jobs: int | None, isa: str | None, device: str, precision: str) -> None:
        """Take over how and where to compute; where that cannot be had, nothing changes.

        Raises
        ------
        PlanError
            If they do not go together.
        DeviceError
            If they are for a GPU that is missing.
        """
        arithmetic = validation.arithmetic(precision, self.dtype)
        found = Plan.parse(plan, allowed_threads(n_jobs), device, arithmetic)
        if found is not None:
            found.require()
        if isa != self.isa:
            chosen_isa(isa)
        if (device, arithmetic) != (self._device, self._precision):
            self.device, self.precision = device, arithmetic
        self.plan, self.n_jobs, self.isa = plan, n_jobs, isa

    def plan_for(
        self, batch_size: int, text: str, threads: int, *, rows: int | None = None, epochs: int = 1,
        formula: str = "sgd", device: str | None = None, precision: str | None = None,
    ) -> Plan:  # fmt: skip
        """The plan that `text` means for this network; see :func:`schuss.planner.choice.choose`.

        Device and precision are those of the network unless given.

        Raises
        ------
        PlanError
            If the text is no plan, or one that does not go with device or precision.
        DeviceError
            If it is for a GPU that is missing.
        """
        plan = choose(
            text, threads=threads, layer_sizes=self.layer_sizes, batch_size=batch_size, rows=rows, epochs=epochs,
            activation=self.activations, formula=formula, dtype=self.dtype.name, isa=self.isa,
            device=device or self._device, precision=precision or self._precision,
        )  # fmt: skip
        plan.require()
        return plan

    def _key(self, threads: int) -> Any:
        """What an engine is made for, beside the rows and the device."""
        isa = self.isa, os.environ.get("SCHUSS_ISA")
        return self.plan, threads, isa, self._precision, self.input_scale, self.input_shift

    def new_engine(self, plan: Plan, optimizer: Optimizer | None = None, **training: Any) -> Engine:
        """An engine for this network, with no parameters yet; see :func:`schuss.engine.make_engine`."""
        return make_engine(
            self.layer_sizes, self.activations, self.loss_function, self.dtype, plan, optimizer,
            self.input_scale, self.input_shift, self.isa, **training,
        )  # fmt: skip

    def adopt(self, engine: Engine) -> None:
        """Take `engine`, which a training has moved on, as the network's own.

        It computes outputs, and the parameters are fetched from it when somebody looks.
        """
        with self._lock:
            self._moved_on(engine)
            if self._engine is not engine:
                self._engine, self._adopted = engine, True
                self._engine_key, self._engine_rows = self._key(allowed_threads(self.n_jobs)), 0

    @contextmanager
    def in_training(self) -> Iterator[None]:
        """Within it the network's engine is a training's, and is not let rest."""
        with self._lock:
            self._trainings += 1
        try:
            yield
        finally:
            with self._lock:
                self._trainings -= 1
                engine = self._engine
            if engine is not None and _has_team(engine.plan):
                _let_older_ones_rest(self)

    def rest_after_training(self, engine: Engine) -> None:
        """Give back what `engine` needed of a GPU for a training that has ended for good. Its parameters stay where it
        is there that the network computes."""
        with self._lock:
            if self._engine is not engine or not engine.plan.on_gpu:
                return
            if engine.plan.is_at(self._device):
                engine.rest(outputs_only=True)
            else:
                self.release()

    def _rest(self) -> None:
        """As :meth:`release`, for the sake of others: not during a training, whose end comes here again, and a GPU that
        fails is left for those to hear of who use it. The caller holds the lock."""
        if self._engine is None or self._trainings:
            return
        try:
            if self._parameters is None:
                self._parameters = self._engine.fetch()
            self._engine.rest()  # a training that will go on holds it too
        except DeviceError:
            return
        self._engine, self._adopted = None, False

    def release(self) -> None:
        """Give back the memory and the threads of what computes; the next call that computes takes its own."""
        with self._lock:
            self._fetch()
            self._engine, self._adopted = None, False

    def forward_checked(self, X: Any) -> Array:
        """:meth:`forward` of what :func:`schuss.validation.examples` has already checked."""
        with self._lock:
            engine = self._engine
            if (
                engine is None
                or X.shape[0] * self._n_parameters >= _ALONE
                or isinstance(X, DeviceArray)
                or not engine.plan.is_at(self._device)
            ):
                engine = self._ready(X, outputs_only=True)
            else:
                engine.forget_interrupts()
            return engine.forward(X)[0]

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            self._fetch()
            state = {**self.__dict__, "_engine": None, "_engine_key": None, "_adopted": False}
            state |= {"_parameters_before": None, "_trainings": 0}
        del state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({"_parameters_before": None, "_trainings": 0} | state)
        self._new_lock()
        with suppress(PlanError):  # of which whoever computes will hear
            if (plan := Plan.parse(self.plan, None, self._device, self._precision)) is not None:
                self.fall_back(plan)

    def fall_back(self, plan: Plan) -> None:
        """Leave open how to compute where the plan is for a GPU that is not here: the model is from elsewhere."""
        try:
            plan.require()
        except DeviceError as error:
            _log.info("a model from elsewhere: %s; plan and device are left open", error)
            self.plan = self.device = "auto"
            self.precision = self.dtype.name
