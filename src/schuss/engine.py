"""The engine contract, and the CPU engine over the native core.

An engine holds one network's parameters and optimizer state. It runs whole epochs given an order of examples and
a learning rate for each step, computes outputs, losses and flat gradients, and applies a given flat gradient.
"""

from __future__ import annotations

import os
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


def chosen_isa() -> str:
    """Instruction set of the kernels: SCHUSS_ISA where set, else the best this processor has.

    Raises
    ------
    PlanError
        If SCHUSS_ISA names none, or one that this processor lacks.
    """
    try:
        return str(_core.select_isa(os.environ.get("SCHUSS_ISA") or "auto"))
    except ValueError as error:
        raise PlanError(f"SCHUSS_ISA: {error}") from None


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
            "portable" if plan.kernels == "naive" else chosen_isa(),
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

    def forward(self, X: Array, y: Array | None = None) -> tuple[Array, Array]:
        """Output activations (n_examples, n_outputs), and each example's loss where y is given."""
        out = np.empty((len(X), self.outputs), self.dtype)
        losses = np.empty(len(X) if y is not None else 0)
        with self._blas():
            self._core.forward(X, y, out, losses)
        return out, losses

    def gradient(self, X: Array, y: Array, out: Array) -> Array:
        """Write the flat mean gradient of all rows as one minibatch; return each example's loss."""
        losses = np.empty(len(X))
        with self._blas():
            self._core.gradient(X, y, out, losses)
        return losses

    def apply(self, gradient: Array, rate: float, batch_size: int) -> None:
        """Apply one update with a given flat gradient."""
        self._core.apply(gradient, rate, batch_size)
