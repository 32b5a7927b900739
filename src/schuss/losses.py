"""Losses by their field names, per example; a minibatch's loss is the weighted mean over its examples.

==============  ============================================  ======================  ==========================
name            loss                                          output activation       source
==============  ============================================  ======================  ==========================
squared_error   1/2 sum_j (a_j - y_j)^2                       identity, logistic,
..                                                            tanh, relu
log_loss        -sum_j y_j log a_j                            softmax
..              -sum_j y_j log a_j + (1 - y_j) log (1 - a_j)  logistic
focal           log_loss, each term times (1 - p)^gamma       softmax, logistic       Lin et al. 2017
hinge           sum_j max(0, 1 - t_j a_j), t = 2 y - 1        identity                Cortes & Vapnik 1995
poisson         sum_j y log(y / a) - y + a                    exp                     half the Poisson deviance
gamma           sum_j y / a - log(y / a) - 1                  exp                     half the gamma deviance
absolute_error  sum_j |a_j - y_j|                             identity
huber           sum_j e^2 / 2, or d (|e| - d / 2) where       identity                Huber 1964
..              |e| > d, e = a - y
quantile        sum_j max(q e, (q - 1) e), e = y - a          identity                Koenker & Bassett 1978
==============  ============================================  ======================  ==========================

The formulas and their slopes are in src/schuss/formulas/loss.inl.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .activations import ACTIVATIONS

__all__ = [
    "CLASS_LOSSES",
    "LOSSES",
    "NUMBER_LOSSES",
    "Loss",
    "as_loss",
    "check_loss",
    "check_output",
    "default_output",
]

#: Name -> number in the native core (src/schuss/formulas/names.hpp).
LOSSES = {
    "squared_error": 0,
    "log_loss": 1,
    "poisson": 2,
    "gamma": 3,
    "absolute_error": 4,
    "huber": 5,
    "quantile": 6,
    "hinge": 7,
    "focal": 8,
}
#: What classes, and what numbers, can be learnt by.
CLASS_LOSSES = ("log_loss", "squared_error", "hinge", "focal")
NUMBER_LOSSES = ("squared_error", "poisson", "gamma", "absolute_error", "huber", "quantile")

_OUTPUTS = {
    "squared_error": ("identity", "logistic", "tanh", "relu"),
    "log_loss": ("softmax", "logistic"),
    "focal": ("softmax", "logistic"),
    "poisson": ("exp",),
    "gamma": ("exp",),
}
_SMOOTHED = ("log_loss", "focal")


@dataclass(frozen=True)
class Loss:
    """A loss and its numbers.

    Parameters
    ----------
    name : str
        One of :data:`LOSSES`.
    huber_delta : float > 0, default 1
        Error from which on huber grows linearly.
    quantiles : tuple of float in (0, 1), default (0.5,)
        Levels of the quantile loss; column t * len(quantiles) + q of the outputs is target t at level q.
    focal_gamma : float >= 0, default 2
        How far focal turns from examples that are already right; 0 is log_loss.
    label_smoothing : float in [0, 1), default 0
        Share of each target that is spread evenly over the classes; for log_loss and focal (Szegedy et al. 2016).

    Raises
    ------
    ValueError
        If a value breaks its rule.
    """

    name: str
    huber_delta: float = 1.0
    quantiles: tuple[float, ...] = (0.5,)
    focal_gamma: float = 2.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_loss(self.name)
        if not 0 < self.huber_delta < math.inf:
            raise ValueError(f"huber_delta must be positive and finite, got {self.huber_delta!r}")
        if not self.quantiles or not all(0 < q < 1 for q in self.quantiles):
            raise ValueError(f"quantiles must be one or more numbers in (0, 1), got {self.quantiles!r}")
        if not 0 <= self.focal_gamma < math.inf:
            raise ValueError(f"focal_gamma must be >= 0 and finite, got {self.focal_gamma!r}")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {self.label_smoothing!r}")
        if self.label_smoothing > 0 and self.name not in _SMOOTHED:
            raise ValueError(
                f"label_smoothing must be 0 with {self.name}, it is for {' and '.join(_SMOOTHED)}, "
                f"got {self.label_smoothing!r}"
            )

    @property
    def outputs_per_target(self) -> int:
        """Columns of the output layer for each column of the targets."""
        return len(self.quantiles) if self.name == "quantile" else 1

    def native(
        self, outputs: int, scale: float, cap: float
    ) -> tuple[int, float, list[float], float, float, float]:
        """Number of the formula in the native core, its parameter, level of each output, smoothing; scale and cap of
        what is reported."""
        parameter = {"huber": self.huber_delta, "focal": self.focal_gamma}.get(self.name, 0.0)
        levels = list(self.quantiles) * (outputs // len(self.quantiles)) if self.name == "quantile" else []
        return LOSSES[self.name], float(parameter), levels, float(self.label_smoothing), scale, cap


def as_loss(loss: str | Loss) -> Loss:
    """A loss by its name, with the default numbers, or as it is."""
    return loss if isinstance(loss, Loss) else Loss(loss)


def check_loss(name: str) -> str:
    """Return `name` if it is a loss, else raise ValueError."""
    if name not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {name!r}")
    return name


def check_output(activation: str, loss: str) -> str:
    """Return `activation` if an output layer of it can be trained with `loss`, else raise ValueError."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"output_activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    allowed = _OUTPUTS.get(check_loss(loss), ("identity",))
    if activation not in allowed:
        raise ValueError(f"output_activation with {loss} must be {' or '.join(allowed)}, got {activation!r}")
    return activation


def default_output(loss: str, *, classes: bool, outputs: int) -> str:
    """Output activation where none is named: softmax with log_loss and focal (logistic for one output), logistic for
    classes with squared_error, exp with poisson and gamma, else identity."""
    if check_loss(loss) in ("log_loss", "focal"):
        return "logistic" if outputs == 1 else "softmax"
    if loss in ("poisson", "gamma"):
        return "exp"
    return "logistic" if classes and loss == "squared_error" else "identity"
