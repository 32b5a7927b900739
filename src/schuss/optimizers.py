"""Gradient-descent solvers, each with the numbers that its formula needs.

========  ==========================================================================  =======================
solver    change of a parameter w with mean gradient g                                source
========  ==========================================================================  =======================
sgd       w <- w - rate g                                                             Algorithm 2
sgd       v <- mu v - rate g, w <- w + v                (momentum mu > 0)             Polyak 1964
sgd       v <- mu v - rate g, w <- w + mu v - rate g    (nesterov)                    Sutskever et al. 2013
adam      m <- b1 m + (1-b1) g, s <- b2 s + (1-b2) g^2,                               Kingma & Ba 2015
..        w <- w - rate sqrt(1-b2^t)/(1-b1^t) m / (sqrt s + epsilon)
adamw     adam after w <- (1 - rate weight_decay) w                                   Loshchilov & Hutter 2019
========  ==========================================================================  =======================

Weight decay is of weights, not of biases, and can be had with every solver; only its default differs.

The formulas are in src/schuss/formulas/optimizer.inl.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["SOLVERS", "Optimizer"]

SOLVERS = ("sgd", "adam", "adamw")

#: In the order of their numbers in the native core (src/schuss/formulas/names.hpp).
_FORMULAS = ("sgd", "momentum", "nesterov", "adam")
_ADAMW_DECAY = 0.01


@dataclass(frozen=True)
class Optimizer:
    """A solver and its constants.

    Parameters
    ----------
    solver : {"sgd", "adam", "adamw"}
    momentum : float in [0, 1], default 0
        For sgd.
    nesterov : bool, default False
        For sgd with momentum.
    beta_1, beta_2 : float in [0, 1), default 0.9, 0.999
        For adam and adamw.
    epsilon : float > 0, default 1e-8
        For adam and adamw.
    alpha : float >= 0, default 0
        Adds alpha / (2 B) ||W||^2 to each minibatch's loss (weights, not biases), as scikit-learn does.
    weight_decay : float >= 0 or None, default None
        Decoupled: each step first takes rate * weight_decay * w from each weight, beside the loss. None: 0.01 for
        adamw, 0 for the others.

    clip_norm : float > 0 or None, default None
        Most of the Euclidean norm of a minibatch's mean gradient over all layers, without alpha's part; a longer
        gradient is shortened to it (Pascanu et al. 2013). None: as it is.

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
    weight_decay: float | None = None
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        if self.solver not in SOLVERS:
            raise ValueError(f"solver must be one of {', '.join(SOLVERS)}, got {self.solver!r}")
        if not 0 <= self.momentum <= 1:
            raise ValueError(f"momentum must be in [0, 1], got {self.momentum!r}")
        for name in ("beta_1", "beta_2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)!r}")
        if not self.epsilon > 0:
            raise ValueError(f"epsilon must be > 0, got {self.epsilon!r}")
        if self.clip_norm is not None and not 0 < self.clip_norm < float("inf"):
            raise ValueError(f"clip_norm must be positive and finite, or None, got {self.clip_norm!r}")
        for name in ("alpha", "weight_decay"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be >= 0 and finite, got {value!r}")

    @property
    def formula(self) -> str:
        """Name of the formula in the native core: sgd, momentum, nesterov or adam."""
        if self.solver != "sgd":
            return "adam"
        return "sgd" if self.momentum == 0 else "nesterov" if self.nesterov else "momentum"

    @property
    def native(self) -> tuple[int, float, float, float, float, float, float]:
        """Number of the formula in the native core, momentum or beta_1, beta_2, epsilon, alpha, weight_decay,
        clip_norm."""
        decay = self.weight_decay
        if decay is None:
            decay = _ADAMW_DECAY if self.solver == "adamw" else 0.0
        first = self.momentum if self.solver == "sgd" else self.beta_1
        number, clip = _FORMULAS.index(self.formula), self.clip_norm or math.inf
        return number, first, self.beta_2, self.epsilon, self.alpha, decay, clip
