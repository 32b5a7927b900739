"""The engine contract, the engine of a plan's device, and the CPU engine over the native core.

An engine holds one network's parameters and optimizer state. It runs whole epochs given an order of examples and
a learning rate for each step, computes outputs, losses and flat gradients, and applies a given flat gradient.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from . import _core, blas, threadpool
from .activations import ACTIVATIONS
from .cuda.arrays import DeviceArray
from .errors import PlanError
from .losses import Loss, as_loss
from .optimizers import Optimizer
from .plan import KERNELS, Plan, n_parameters

__all__ = ["CpuEngine", "Engine", "Remembered", "chosen_isa", "make_engine"]

Array = NDArray[Any]
#: A matrix of float32, float64 or uint8 with contiguous rows, a scipy.sparse one of compressed rows (CSR), or a
#: DeviceArray, which only the engine of its GPU reads.
Examples = Any
#: Of which parameters are remembered: before the present epoch, and when validation was at its best.
Remembered = Literal["epoch", "best"]


class Engine(Protocol):
    """What computes: one network's parameters and optimizer state on a device.

    Arrays that are handed over or given back are the host's, but for examples that are on a GPU already.
    """

    plan: Plan
    #: Of the parameters.
    dtype: np.dtype[Any]

    def forget_interrupts(self) -> None:
        """Ctrl-C pressed before now does not stop this engine."""

    # --- parameters and state ---------------------------------------------------------------------

    def load(self, parameters: Array) -> None:
        """Take over the flat parameters."""

    def store(self, out: Array) -> None:
        """Write the flat parameters."""

    def fetch(self, moment: Remembered | None = None) -> Array:
        """The flat parameters, the present or the remembered ones. Nobody may write to them: the next call may give
        the same array where nothing has changed. It leaves those given before as they are."""

    @property
    def slots(self) -> int:
        """Vectors of the parameters' length that training holds: the parameters, then the optimizer's state."""

    def load_slot(self, slot: int, flat: Array) -> None:
        """Take over the parameters (0) or a vector of the optimizer's state (1, 2)."""

    def store_slot(self, slot: int, out: Array) -> None:
        """Write the parameters (0) or a vector of the optimizer's state (1, 2)."""

    @property
    def steps_taken(self) -> int:
        """Steps so far: what Adam's corrections and dropout count by. Assign to go on from elsewhere."""

    @steps_taken.setter
    def steps_taken(self, steps: int) -> None: ...

    def remember(self, moment: Remembered = "epoch") -> None:
        """Keep the present parameters, where the engine has them, for :meth:`recall` and :meth:`fetch`."""

    def recall(self, moment: Remembered = "epoch") -> None:
        """Take over the parameters remembered last for this moment."""

    def parameters_finite(self) -> bool:
        """Whether all parameters are finite; a GPU is not asked for all of them."""

    def rest(self, *, outputs_only: bool = False) -> None:
        """Give back memory of the device that only a training in progress needs, until the next call that needs it.

        Parameters and optimizer state stay; with `outputs_only` the parameters alone, and nothing but :meth:`load`,
        :meth:`store`, :meth:`fetch` and :meth:`forward` may be called from then on.
        """

    # --- training and using -----------------------------------------------------------------------

    def hold(
        self, X: Examples, y: Array | None = None, sample_weight: Array | None = None
    ) -> AbstractContextManager[None]:
        """Within it these arrays do not change: calls that are given the same objects may use a copy of them that the
        engine has made. Several sets may be held at a time."""

    def run(
        self,
        X: Examples,
        y: Array,
        order: Array,
        batch_size: int,
        rates: Array,
        sample_weight: Array | None = None,
    ) -> tuple[Array, bool]:
        """Train on the rows `order` in minibatches of `batch_size`.

        `sample_weight` is float64 (n_examples,): losses and gradients are means by weight, and a minibatch without
        any weight is passed over, its loss 0.

        Returns
        -------
        losses : ndarray of float64, (n_steps,)
            Mean loss of each minibatch before its update; up to the step that diverged.
        finite : bool
            False when the last of them is not finite; its step is not taken.
        """

    def step(
        self, X: Examples, y: Array, rate: float, sample_weight: Array | None = None
    ) -> tuple[float, bool]:
        """One step on all rows as one minibatch: its mean loss before the update, and False where that is not
        finite and the step is not taken."""

    def forward(self, X: Examples, y: Array | None = None) -> tuple[Array, Array]:
        """Output activations (n_examples, n_outputs), and each example's loss, by no weight, where y is given."""

    def gradient(
        self,
        X: Examples,
        y: Array,
        out: Array,
        on_layer: Callable[[int], Any] | None = None,
        sample_weight: Array | None = None,
    ) -> Array:
        """Write the flat mean gradient, by `sample_weight`, of all rows as one minibatch; return each example's loss.

        `on_layer(l)` is called as soon as dW_l and db_l are whole in `out`, for l = L down to 1, while the layers
        below may still be worked on; it cannot use this engine (RuntimeError).
        """

    def apply(self, gradient: Array, rate: float, batch_size: int) -> None:
        """Apply one update with a given flat gradient."""

    # --- what it is doing -------------------------------------------------------------------------

    @property
    def present(self) -> Plan:
        """The plan in use: this engine's, or another cut of it."""

    @property
    def settling(self) -> bool:
        """Whether cuts are still on trial, as training has just begun; to be asked between calls."""

    def records(self) -> list[tuple[Plan, int, float]]:
        """The plan, then it with each other cut; steps taken so, and the least seconds an example, inf before any."""

    def memory(self, batch_size: int) -> int:
        """Bytes of the device's memory that training in minibatches of `batch_size` takes, beside the data:
        parameters, optimizer state, packed copies, activations."""


def make_engine(
    layer_sizes: tuple[int, ...],
    activations: tuple[str, ...],
    loss: str | Loss,
    dtype: np.dtype[Any],
    plan: Plan,
    optimizer: Optimizer | None = None,
    scale: float = 1.0,
    shift: float = 0.0,
    isa: str | None = None,
    **training: Any,
) -> Engine:
    """The engine of the plan's device, with no parameters yet.

    Parameters are those of :class:`CpuEngine`; a GPU has no use for `isa`.

    Raises
    ------
    PlanError
        If this processor lacks the instruction set.
    DeviceError
        If the GPU is missing, or has too little memory.
    """
    if not plan.on_gpu:
        return CpuEngine(
            layer_sizes, activations, loss, dtype, plan, optimizer, scale, shift, isa, **training
        )
    from . import cuda
    from .cuda.engine import CudaEngine

    device = cuda.device(plan.device)
    return CudaEngine(
        layer_sizes, activations, loss, dtype, plan, optimizer, scale, shift, device=device, **training
    )


def chosen_isa(isa: str | None = None) -> str:
    """Instruction set of the kernels: `isa`, else SCHUSS_ISA where set, else the best this processor has.

    Raises
    ------
    PlanError
        If the name is none of them, or one that this processor lacks.
    """
    try:
        return str(_core.select_isa(isa or os.environ.get("SCHUSS_ISA") or "auto"))
    except ValueError as error:
        raise PlanError(str(error) if isa else f"SCHUSS_ISA: {error}") from None


def _isa_of(plan: Plan, isa: str | None) -> str:
    if plan.kernels != "naive":
        return chosen_isa(isa)
    if isa not in (None, "auto", "portable"):
        raise PlanError(f"isa must be portable for plan {plan}, whose kernels are plain loops, got {isa!r}")
    return "portable"


def pinned() -> bool:
    """Whether SCHUSS_PIN=1 asks that each thread stays on one processor, physical cores first.

    For a machine, or a part of one (taskset, a job's allocation), that one training has to itself: two pinned
    trainings would share the first cores.

    Raises
    ------
    PlanError
        If SCHUSS_PIN is neither 0 nor 1.
    """
    text = os.environ.get("SCHUSS_PIN") or "0"
    if text not in ("0", "1"):
        raise PlanError(f"SCHUSS_PIN must be 0 or 1, got {text!r}")
    return text == "1"


def _read(X: Examples) -> Any:
    """What the core reads: the array itself, or values, columns and offsets of compressed rows."""
    if isinstance(X, DeviceArray):
        raise X.unreadable("the CPU")
    return X if isinstance(X, np.ndarray) else (X.data, X.indices, X.indptr)


threadpool.register()
_NO_LOSSES = np.empty(0)


class CpuEngine(Engine):
    """The native core, with a plan and a team of threads of its own.

    Parameters
    ----------
    layer_sizes : sequence of int, (n_0, ..., n_L)
    activations : sequence of str, one for each layer but the input
    loss : str or Loss
    dtype : float32 or float64
    plan : Plan
    optimizer : Optimizer
    scale, shift : float
        The network sees X * scale + shift.
    isa : str or None
        See :func:`chosen_isa`. The naive kernels are plain loops, built for no instruction set in particular.
    dropout : sequence of float in [0, 1), one for each hidden layer; () for none
        Share of the layer's outputs that a step leaves out (Srivastava et al. 2014); the others are scaled up.
    seed : int
        Of dropout, whose random numbers hang on seed, step, layer, example and unit alone.
    loss_scale, loss_cap : float
        Of the losses that are reported, not of what is minimised: a factor, and the most that -log p counts for in
        log_loss.
    """

    def __init__(
        self,
        layer_sizes: tuple[int, ...],
        activations: tuple[str, ...],
        loss: str | Loss,
        dtype: np.dtype[Any],
        plan: Plan,
        optimizer: Optimizer | None = None,
        scale: float = 1.0,
        shift: float = 0.0,
        isa: str | None = None,
        *,
        dropout: Sequence[float] = (),
        seed: int = 0,
        loss_scale: float = 1.0,
        loss_cap: float = math.inf,
    ) -> None:
        self.dtype = np.dtype(dtype)
        self.plan = plan
        self.outputs = layer_sizes[-1]
        self._blas_threads = plan.matrix if plan.uses_blas else None
        own = 1 if plan.uses_blas else plan.matrix  # threads of a group; BLAS has its own
        make = _core.EngineF32 if self.dtype == np.float32 else _core.EngineF64
        self._core = make(
            list(layer_sizes),
            [ACTIVATIONS[name] for name in activations],
            as_loss(loss).native(self.outputs, loss_scale, loss_cap),
            list(dropout),
            seed,
            (KERNELS[plan.kernels], [(plan.examples, own), *plan.others], plan.tries, pinned()),
            _isa_of(plan, isa),
            list(blas.addresses(self.dtype.name)) if plan.uses_blas else [],
            (optimizer or Optimizer()).native,
        )
        self._core.set_input(scale, shift)
        self._length = n_parameters(layer_sizes)
        self._latest: Array | None = None  # the present parameters, where they have been fetched
        self._remembered: dict[Remembered, Array] = {}

    def _blas(self) -> AbstractContextManager[None]:
        return nullcontext() if self._blas_threads is None else blas.limit_threads(self._blas_threads)

    def forget_interrupts(self) -> None:
        self._core.forget_interrupts()

    def load(self, parameters: Array) -> None:
        self.load_slot(0, parameters)
        if not parameters.flags.writeable and parameters.dtype == self.dtype:
            self._latest = parameters

    def store(self, out: Array) -> None:
        self.store_slot(0, out)

    def fetch(self, moment: Remembered | None = None) -> Array:
        if moment is not None:
            return self._remembered[moment]
        if self._latest is None:
            latest = np.empty(self._length, self.dtype)
            self.store(latest)
            latest.flags.writeable = False
            self._latest = latest
        return self._latest

    @property
    def slots(self) -> int:
        return int(self._core.slots)

    def load_slot(self, slot: int, flat: Array) -> None:
        if slot == 0:
            self._latest = None
        self._core.load(slot, flat)

    def store_slot(self, slot: int, out: Array) -> None:
        self._core.store(slot, out)

    @property
    def steps_taken(self) -> int:
        return int(self._core.steps_taken)

    @steps_taken.setter
    def steps_taken(self, steps: int) -> None:
        self._core.steps_taken = steps

    def remember(self, moment: Remembered = "epoch") -> None:
        self._remembered[moment] = self.fetch()

    def recall(self, moment: Remembered = "epoch") -> None:
        self.load(self._remembered[moment])

    def parameters_finite(self) -> bool:
        return bool(np.isfinite(self.fetch()).all())

    def rest(self, *, outputs_only: bool = False) -> None:
        pass  # threads go with the engine

    def hold(
        self, X: Examples, y: Array | None = None, sample_weight: Array | None = None
    ) -> AbstractContextManager[None]:
        return nullcontext()

    def run(
        self,
        X: Examples,
        y: Array,
        order: Array,
        batch_size: int,
        rates: Array,
        sample_weight: Array | None = None,
    ) -> tuple[Array, bool]:
        losses = np.full(len(rates), np.nan)
        self._latest = None
        with self._blas():
            ending, steps = self._core.run(_read(X), y, order, batch_size, rates, losses, sample_weight)
        return (losses, True) if ending == "complete" else (losses[: steps + 1], False)

    def step(
        self, X: Examples, y: Array, rate: float, sample_weight: Array | None = None
    ) -> tuple[float, bool]:
        self._latest = None
        with self._blas():
            loss, taken = self._core.step(_read(X), y, rate, sample_weight)
        return float(loss), bool(taken)

    def forward(self, X: Examples, y: Array | None = None) -> tuple[Array, Array]:
        rows = X.shape[0]
        out = np.empty((rows, self.outputs), self.dtype)
        losses = None if y is None else np.empty(rows)
        if self._blas_threads is None:
            self._core.forward(_read(X), y, out, losses)
        else:
            with self._blas():
                self._core.forward(_read(X), y, out, losses)
        return out, _NO_LOSSES if losses is None else losses

    def gradient(
        self,
        X: Examples,
        y: Array,
        out: Array,
        on_layer: Callable[[int], Any] | None = None,
        sample_weight: Array | None = None,
    ) -> Array:
        losses = np.empty(X.shape[0])
        with self._blas():
            self._core.gradient(_read(X), y, out, losses, on_layer, sample_weight)
        return losses

    @property
    def present(self) -> Plan:
        return self._cut(*self._core.present())

    @property
    def settling(self) -> bool:
        return bool(self._core.settling)

    def records(self) -> list[tuple[Plan, int, float]]:
        return [(self._cut(e, m), steps, seconds) for e, m, steps, seconds in self._core.records()]

    def _cut(self, examples: int, matrix: int) -> Plan:
        """The plan with another cut; that of a BLAS, of whose threads the core does not know, has none."""
        if self.plan.uses_blas or (examples, matrix) == (self.plan.examples, self.plan.matrix):
            return self.plan
        return Plan(self.plan.kernels, examples, matrix)

    def memory(self, batch_size: int) -> int:
        return int(self._core.bytes(batch_size))

    def apply(self, gradient: Array, rate: float, batch_size: int) -> None:
        self._latest = None
        self._core.apply(gradient, rate, batch_size)
