"""When training has stopped improving, and the parameters that were best until then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from .engine import Engine

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


class BestParameters:
    """Keeps the parameters that came with the lowest value, where they were computed until somebody asks for them.

    Parameters
    ----------
    flat : ndarray, (n_parameters,)
        What is kept until the first value comes; nobody else may write to it.
    value : float, default infinity
    """

    def __init__(self, flat: NDArray[Any], value: float = float("inf")) -> None:
        self.value = value
        self._flat = flat
        self._engine: Engine | None = None  # which remembers better ones

    def offer(self, value: float, engine: Engine) -> None:
        """Keep the engine's present parameters if `value` is the lowest so far."""
        if value < self.value:
            engine.remember("best")
            self.value, self._engine = value, engine

    @property
    def flat(self) -> NDArray[Any]:
        """The parameters; the engine that had them is let go."""
        if self._engine is not None:
            self._flat, self._engine = self._engine.fetch("best"), None
        return self._flat

    def __getstate__(self) -> dict[str, Any]:
        return {"value": self.value, "_flat": self.flat, "_engine": None}
