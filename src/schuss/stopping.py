"""When training has stopped improving, and the parameters that were best until then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

__all__ = ["BestParameters", "Stopping"]


@dataclass
class Stopping:
    """Counts the epochs in a row that did not improve a value which should fall; negate one that should rise.

    Parameters
    ----------
    tol : float
        By how much the value has to fall below the best one to count as an improvement.
    patience : float
        Epochs without improvement that are put up with.
    best : float, default infinity
        The lowest value so far.
    waited : int, default 0
        Epochs in a row without improvement.
    """

    tol: float
    patience: float
    best: float = float("inf")
    waited: int = 0

    def update(self, value: float) -> bool:
        """Count an epoch that ended with `value`; return whether patience is at an end.

        NaN counts as an improvement and never as the best value.
        """
        self.waited = self.waited + 1 if value > self.best - self.tol else 0
        self.best = value if value < self.best else self.best
        return self.waited > self.patience


@dataclass
class BestParameters:
    """Keeps the flat parameters that came with the lowest value.

    Parameters
    ----------
    flat : ndarray, (n_parameters,)
        What is kept until the first value comes; nobody else may write to it.
    value : float, default infinity
    """

    flat: NDArray[Any]
    value: float = float("inf")

    def offer(self, value: float, flat: NDArray[Any]) -> None:
        """Keep `flat`, which nobody else may write to, if `value` is the lowest so far."""
        if value < self.value:
            self.value, self.flat = value, flat
