"""Activation functions by their field names.

========  ===================  ================
name      f(z)                 f'(z)
========  ===================  ================
identity  z                    1
logistic  1 / (1 + e^-z)       f (1 - f)
tanh      tanh z               1 - f^2
relu      max(z, 0)            1 where z > 0, else 0
softmax   e^z_j / sum_k e^z_k  output layer with log loss only
========  ===================  ================

The formulas are in native/src/kernels/activation.inl.
"""

from __future__ import annotations

__all__ = ["ACTIVATIONS", "HIDDEN_ACTIVATIONS", "check_hidden"]

#: Name -> number in the native core (include/schuss/network.hpp).
ACTIVATIONS = {"identity": 0, "logistic": 1, "tanh": 2, "relu": 3, "softmax": 4}
HIDDEN_ACTIVATIONS = tuple(name for name in ACTIVATIONS if name != "softmax")


def check_hidden(name: str) -> str:
    """Return `name` if it is an activation for hidden layers, else raise ValueError."""
    if name not in HIDDEN_ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(HIDDEN_ACTIVATIONS)}, got {name!r}")
    return name
