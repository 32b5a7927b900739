"""Learning-rate schedules: the rate of every step of an epoch, from a base rate.

p is the part of the planned training that is done, (epoch + step / steps) / epochs, in [0, 1).

===========  =====================================================================  =======================
name         rate                                                                   source
===========  =====================================================================  =======================
constant     base
invscaling   base / (examples seen + 1)^power_t; base in the first epoch            scikit-learn
adaptive     base, divided by `factor` whenever training no longer improves         scikit-learn
step         base factor^floor(epoch / every)
cosine       base (floor + (1 - floor) (1 + cos(pi p)) / 2)                         Loshchilov & Hutter 2017
one_cycle    linear in p: start base to base, back, then down to end base           Smith & Topin 2018
(WarmUp)     base (step + 1) / (steps of the first epochs), then another schedule   Goyal et al. 2017
===========  =====================================================================  =======================
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "SCHEDULES",
    "Adaptive",
    "Constant",
    "Cosine",
    "InverseScaling",
    "OneCycle",
    "Schedule",
    "Step",
    "WarmUp",
    "as_schedule",
]

Rates = NDArray[np.float64]


@dataclass(frozen=True)
class Schedule(ABC):
    """Gives the learning rate of every step; holds no state, so that one may serve several trainings.

    Attributes
    ----------
    planned : bool
        Whether it is drawn up for a number of epochs, and training is meant to take them all.
    """

    planned: ClassVar[bool] = False

    @abstractmethod
    def rates(self, base: float, epoch: int, steps: int, epochs: int, seen: int) -> Rates:
        """Rates of the steps of one epoch.

        Parameters
        ----------
        base : float
            The learning rate asked for; after a plateau, what :meth:`on_plateau` made of it.
        epoch : int
            Number of the epoch, from 0.
        steps : int
            Steps (minibatches) in the epoch.
        epochs : int
            Epochs planned; `epoch` may go beyond it when training is continued.
        seen : int
            Examples trained on before this epoch, counted again each time they are used.

        Returns
        -------
        ndarray of float64, (steps,)
        """

    def on_plateau(self, base: float) -> float | None:
        """The base rate to go on with when training no longer improves; None: training ends."""
        return None


@dataclass(frozen=True)
class Constant(Schedule):
    """The base rate throughout."""

    def rates(self, base: float, epoch: int, steps: int, epochs: int, seen: int) -> Rates:
        return np.full(steps, float(base))


@dataclass(frozen=True)
class InverseScaling(Schedule):
    """base / (seen + 1)^power_t with the examples seen before the epoch; the base rate in the first epoch.

    Parameters
    ----------
    power_t : float, default 0.5
        As scikit-learn's; 0 gives the base rate, a negative one a rate that grows.

    Raises
    ------
    ValueError
        If power_t is not finite.
    """

    power_t: float = 0.5

    def __post_init__(self) -> None:
        if not -float("inf") < self.power_t < float("inf"):
            raise ValueError(f"power_t must be finite, got {self.power_t!r}")

    def rates(self, base: float, epoch: int, steps: int, epochs: int, seen: int) -> Rates:
        return np.full(steps, float(base) if epoch == 0 else float(base) / (seen + 1) ** self.power_t)


@dataclass(frozen=True)
class Adaptive(Schedule):
    """The base rate, which every plateau divides.

    Parameters
    ----------
    factor : float > 1, default 5
        What the rate is divided by.
    least : float >= 0, default 1e-6
        A rate that is not above it is not divided further: the next plateau ends training.

    Raises
    ------
    ValueError
        If a value is outside its range.
    """

    factor: float = 5.0
    least: float = 1e-6

    def __post_init__(self) -> None:
        if not 1 < self.factor < float("inf"):
            raise ValueError(f"factor must be > 1 and finite, got {self.factor!r}")
        if not 0 <= self.least < float("inf"):
            raise ValueError(f"least must be >= 0 and finite, got {self.least!r}")

    def rates(self, base: float, epoch: int, steps: int, epochs: int, seen: int) -> Rates:
        return np.full(steps, float(base))

    def on_plateau(self, base: float) -> float | None:
        return None if base <= self.least else base / self.factor


@dataclass(frozen=True)
class Step(Schedule):
    """The base rate times `factor` once more after every `every` epochs.

    Parameters
    ----------
    every : int >= 1, default 30
        Epochs with the same rate.
    factor : float in (0, 1], default 0.1

    Raises
    ------
    ValueError
        If a value is outside its range.
    """

    every: int = 30
    factor: float = 0.1

    def __post_init__(self) -> None:
        _check_epochs("every", self.every)
        if not 0 < self.factor <= 1:
            raise ValueError(f"factor must be in (0, 1], got {self.factor!r}")

    def rates(self, base: float, epoch: int, steps: int, epochs: int, seen: int) -> Rates:
        return np.full(steps, float(base) * self.factor ** (epoch // self.every))


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a period of the cosine, from the base rate at the first step down to `floor` of it after the last.

    Loshchilov & Hutter, "SGDR: Stochastic gradient descent with warm restarts", ICLR 2017, equation 5, with one
    period and the minibatch as unit of time.

    Parameters
    ----------
    floor : float in [0, 1), default 0
        The lowest rate, as a fraction of the base rate; also the rate of epochs beyond those planned.

    Raises
    ------
    ValueError
        If floor is outside its range.
    """

    planned: ClassVar[bool] = True

    floor: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.floor < 1:
            raise ValueError(f"floor must be in [0, 1), got {self.floor!r}")

    def rates(self, base: float, epoch: int, steps: int, epochs: int, seen: int) -> Rates:
        fall = (1 + np.cos(np.pi * _done(epoch, steps, epochs))) / 2
        return np.asarray(base * (self.floor + (1 - self.floor) * fall), np.float64)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up to the base rate, down again, and at last far below where it began, in straight lines.

    Smith & Topin, "Super-convergence: Very fast training of neural networks using large learning rates", 2018
    (arXiv:1708.07120). The base rate is the highest one, and may be several times what suits a constant rate. The
    momentum stays as it is.

    Parameters
    ----------
    start : float in (0, 1], default 0.1
        Rate at both ends of the cycle, as a fraction of the base rate.
    end : float in [0, 1], default 0.001
        Rate after the last step, as a fraction of the base rate; also that of epochs beyond those planned.
    rise, fall : float > 0, default 0.45
        Parts of the training that go up and down, together at most 1; what is left leads from `start` to `end`.

    Raises
    ------
    ValueError
        If a value is outside its range.
    """

    planned: ClassVar[bool] = True

    start: float = 0.1
    end: float = 0.001
    rise: float = 0.45
    fall: float = 0.45

    def __post_init__(self) -> None:
        if not 0 < self.start <= 1:
            raise ValueError(f"start must be in (0, 1], got {self.start!r}")
        if not 0 <= self.end <= 1:
            raise ValueError(f"end must be in [0, 1], got {self.end!r}")
        for name in ("rise", "fall"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must be in (0, 1), got {getattr(self, name)!r}")
        if self.rise + self.fall > 1:
            raise ValueError(f"rise + fall must be at most 1, got {self.rise!r} + {self.fall!r}")

    def rates(self, base: float, epoch: int, steps: int, epochs: int, seen: int) -> Rates:
        corners = (0, self.rise, self.rise + self.fall, 1)
        heights = np.array((self.start, 1, self.start, self.end))
        return np.asarray(np.interp(_done(epoch, steps, epochs), corners, base * heights), np.float64)


@dataclass(frozen=True)
class WarmUp(Schedule):
    """Grows from next to nothing to the base rate, then hands over to another schedule.

    Goyal et al., "Accurate, large minibatch SGD: Training ImageNet in 1 hour", 2017 (arXiv:1706.02677), section
    2.2: the same amount is added at each step.

    Parameters
    ----------
    epochs : int >= 1, default 5
        Epochs until the base rate is reached: the last step of the warm-up has it.
    then : str or Schedule, default "constant"
        What follows; its first epoch is the one after the warm-up, and its planned epochs are those left.

    Raises
    ------
    ValueError
        If epochs is no integer >= 1, or `then` is no schedule's name.
    """

    epochs: int = 5
    then: str | Schedule = "constant"

    def __post_init__(self) -> None:
        _check_epochs("epochs", self.epochs)
        object.__setattr__(self, "then", as_schedule(self.then, name="then"))

    def rates(self, base: float, epoch: int, steps: int, epochs: int, seen: int) -> Rates:
        if epoch < self.epochs:
            return base * (epoch * steps + np.arange(1, steps + 1)) / (self.epochs * steps)
        left = max(1, epochs - self.epochs)
        return as_schedule(self.then).rates(base, epoch - self.epochs, steps, left, seen)

    def on_plateau(self, base: float) -> float | None:
        return as_schedule(self.then).on_plateau(base)

    @property
    def planned(self) -> bool:  # type: ignore[override]
        return as_schedule(self.then).planned


#: Names that stand for a schedule with its defaults.
SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "invscaling": InverseScaling,
    "adaptive": Adaptive,
    "step": Step,
    "cosine": Cosine,
    "one_cycle": OneCycle,
}


def as_schedule(schedule: str | Schedule, power_t: float = 0.5, name: str = "learning_rate") -> Schedule:
    """The schedule that a name stands for; a schedule is given back as it is.

    Parameters
    ----------
    schedule : str or Schedule
        One of :data:`SCHEDULES`.
    power_t : float, default 0.5
        Of "invscaling".
    name : str, default "learning_rate"
        The argument, for the error's text.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if isinstance(schedule, Schedule):
        return schedule
    if schedule == "invscaling":
        return InverseScaling(power_t)
    if not isinstance(schedule, str) or schedule not in SCHEDULES:
        raise ValueError(f"{name} must be a Schedule or one of {', '.join(SCHEDULES)}, got {schedule!r}")
    return SCHEDULES[schedule]()


def _done(epoch: int, steps: int, epochs: int) -> Rates:
    """Part of the planned training that is done before each step of an epoch."""
    done = (epoch * steps + np.arange(steps)) / (max(1, epochs) * steps)
    return np.minimum(done, 1.0)


def _check_epochs(name: str, value: Any) -> None:
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
        raise ValueError(f"{name} must be an integer >= 1, got {value!r}")
