"""Gradient-descent solvers, each with the numbers that its formula needs.

========  ==========================================================================  =======================
solver    change of a parameter w with mean gradient g                                source
========  ==========================================================================  =======================
sgd       w <- w - rate g                                                             Algorithm 2
sgd       v <- mu v - rate g, w <- w + v                (momentum mu > 0)             Polyak 1964
sgd       v <- mu v - rate g, w <- w + mu v - rate g    (nesterov)                    Sutskever et al. 2013
adam      m <- b1 m + (1-b1) g, s <- b2 s + (1-b2) g^2,                               Kingma & Ba 2015
..        w <- w - rate sqrt(1-b2^t)/(1-b1^t) m / (sqrt s + epsilon)
========  ==========================================================================  =======================

The formulas are in native/src/kernels/optimizer.inl.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SOLVERS", "Optimizer"]

SOLVERS = ("sgd", "adam")


@dataclass(frozen=True)
class Optimizer:
    """A solver and its constants.

    Parameters
    ----------
    solver : {"sgd", "adam"}
    momentum : float in [0, 1), default 0
        For sgd.
    nesterov : bool, default False
        For sgd with momentum.
    beta_1, beta_2 : float in [0, 1), default 0.9, 0.999
        For adam.
    epsilon : float > 0, default 1e-8
        For adam.
    alpha : float >= 0, default 0
        Adds alpha / (2 B) ||W||^2 to each minibatch's loss (weights, not biases), as scikit-learn does.

    Raises
    ------
    ValueError
        If a value is outside its range.
    """

    solver: str = "sgd"
    momentum: float = 0.0
    nesterov: bool = False
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    alpha: float = 0.0

    def __post_init__(self) -> None:
        if self.solver not in SOLVERS:
            raise ValueError(f"solver must be one of {', '.join(SOLVERS)}, got {self.solver!r}")
        for name in ("momentum", "beta_1", "beta_2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)!r}")
        if not self.epsilon > 0:
            raise ValueError(f"epsilon must be > 0, got {self.epsilon!r}")
        if not 0 <= self.alpha < float("inf"):
            raise ValueError(f"alpha must be >= 0, got {self.alpha!r}")

    @property
    def native(self) -> tuple[int, float, float, float, float]:
        """Number of the formula in the native core, momentum or beta_1, beta_2, epsilon, alpha."""
        if self.solver == "adam":
            return 3, self.beta_1, self.beta_2, self.epsilon, self.alpha
        kind = 0 if self.momentum == 0 else 2 if self.nesterov else 1
        return kind, self.momentum, self.beta_2, self.epsilon, self.alpha
