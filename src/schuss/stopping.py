"""When training has stopped improving, and the parameters that were best until then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from .errors import DeviceError

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

    _value_of_flat = float("inf")  # also of what older versions pickled

    def __init__(self, flat: NDArray[Any], value: float = float("inf")) -> None:
        self.value = value
        self._flat, self._value_of_flat = flat, value
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
            engine, self._engine = self._engine, None
            try:
                self._flat, self._value_of_flat = engine.fetch("best"), self.value
            except DeviceError:  # those fetched before are left
                self.value = self._value_of_flat
                raise
        return self._flat

    def __getstate__(self) -> dict[str, Any]:
        flat = self.flat
        return {"value": self.value, "_flat": flat, "_value_of_flat": self._value_of_flat, "_engine": None}
