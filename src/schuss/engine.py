"""The engine contract, and the CPU engine over the native core.

An engine holds one network's parameters and optimizer state. It runs whole epochs given an order of examples and
a learning rate for each step, computes outputs, losses and flat gradients, and applies a given flat gradient.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core, blas
from .activations import ACTIVATIONS
from .errors import PlanError
from .losses import LOSSES
from .optimizers import Optimizer
from .plan import KERNELS, Plan

__all__ = ["CpuEngine", "chosen_isa"]

Array = NDArray[Any]


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


class CpuEngine:
    """The native core, with a plan and a team of threads of its own.

    Parameters
    ----------
    layer_sizes : sequence of int, (n_0, ..., n_L)
    activations : sequence of str, one for each layer but the input
    loss : str
    dtype : float32 or float64
    plan : Plan
    optimizer : Optimizer
    scale, shift : float
        The network sees X * scale + shift.
    isa : str or None
        See :func:`chosen_isa`. The naive kernels are plain loops, built for no instruction set in particular.
    """

    def __init__(
        self,
        layer_sizes: tuple[int, ...],
        activations: tuple[str, ...],
        loss: str,
        dtype: np.dtype[Any],
        plan: Plan,
        optimizer: Optimizer | None = None,
        scale: float = 1.0,
        shift: float = 0.0,
        isa: str | None = None,
    ) -> None:
        self.dtype = np.dtype(dtype)
        self.plan = plan
        self.outputs = layer_sizes[-1]
        self._blas_threads = plan.matrix if plan.uses_blas else None
        make = _core.EngineF32 if self.dtype == np.float32 else _core.EngineF64
        self._core = make(
            list(layer_sizes),
            [ACTIVATIONS[name] for name in activations],
            LOSSES[loss],
            KERNELS[plan.kernels],
            plan.examples,
            1 if plan.uses_blas else plan.matrix,
            pinned(),
            plan.may_change,
            _isa_of(plan, isa),
            list(blas.addresses(self.dtype.name)) if plan.uses_blas else [],
            *(optimizer or Optimizer()).native,
        )
        self._core.set_input(scale, shift)

    def _blas(self) -> AbstractContextManager[None]:
        return nullcontext() if self._blas_threads is None else blas.limit_threads(self._blas_threads)

    def forget_interrupts(self) -> None:
        """Ctrl-C pressed before now does not stop this engine."""
        self._core.forget_interrupts()

    def load(self, parameters: Array) -> None:
        """Take over the flat parameters."""
        self._core.load(0, parameters)

    def store(self, out: Array) -> None:
        """Write the flat parameters."""
        self._core.store(0, out)

    def run(self, X: Array, y: Array, order: Array, batch_size: int, rates: Array) -> tuple[Array, bool]:
        """Train on the rows `order` in minibatches of `batch_size`.

        Returns
        -------
        losses : ndarray of float64, (n_steps,)
            Mean loss of each minibatch before its update; up to the step that diverged.
        finite : bool
            False when the last of them is not finite; its step is not taken.
        """
        losses = np.full(len(rates), np.nan)
        with self._blas():
            ending, steps = self._core.run(X, y, order, batch_size, rates, losses)
        return (losses, True) if ending == "complete" else (losses[: steps + 1], False)

    def step(self, X: Array, y: Array, rate: float) -> tuple[float, bool]:
        """One step on all rows as one minibatch: its mean loss before the update, and False where that is not
        finite and the step is not taken."""
        with self._blas():
            loss, taken = self._core.step(X, y, rate)
        return float(loss), bool(taken)

    def forward(self, X: Array, y: Array | None = None) -> tuple[Array, Array]:
        """Output activations (n_examples, n_outputs), and each example's loss where y is given."""
        out = np.empty((len(X), self.outputs), self.dtype)
        losses = np.empty(len(X) if y is not None else 0)
        with self._blas():
            self._core.forward(X, y, out, losses)
        return out, losses

    def gradient(self, X: Array, y: Array, out: Array, on_layer: Callable[[int], Any] | None = None) -> Array:
        """Write the flat mean gradient of all rows as one minibatch; return each example's loss.

        `on_layer(l)` is called as soon as dW_l and db_l are whole in `out`, for l = L down to 1, while the team
        works on the layers below; it cannot use this engine (RuntimeError).
        """
        losses = np.empty(len(X))
        with self._blas():
            self._core.gradient(X, y, out, losses, on_layer)
        return losses

    @property
    def steps_alone(self) -> int:
        """Steps that the calling thread took alone, where the plan may change."""
        return int(self._core.steps_alone)

    def memory(self, batch_size: int) -> int:
        """Bytes that training in minibatches of `batch_size` takes, beside the data: parameters, optimizer state,
        packed copies, activations."""
        return int(self._core.bytes(batch_size))

    def apply(self, gradient: Array, rate: float, batch_size: int) -> None:
        """Apply one update with a given flat gradient."""
        self._core.apply(gradient, rate, batch_size)
