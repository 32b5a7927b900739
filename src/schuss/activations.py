"""Activation functions by their field names.

==========  ==============================  ==========================  =============================
name        f(z)                            f'(z)                       source
==========  ==============================  ==========================  =============================
identity    z                               1
logistic    1 / (1 + e^-z)                  f (1 - f)
tanh        tanh z                          1 - f^2
relu        max(z, 0)                       1 where z > 0, else 0       Nair & Hinton 2010
leaky_relu  z where z > 0, else z / 100     1 or 1/100                  Maas et al. 2013
elu         z where z > 0, else e^z - 1     1 or f + 1                  Clevert et al. 2016
selu        L z, or L A (e^z - 1)           L or f + L A                Klambauer et al. 2017
gelu        z s(2 sqrt(2/pi) (z + c z^3))   by the product rule         Hendrycks & Gimpel 2016
silu        z s(z), s the logistic          s + f (1 - s)               Elfwing et al. 2018
softplus    log(1 + e^z)                    1 - e^-f                    Dugas et al. 2001
hardtanh    z cut to [-1, 1]                1 inside, else 0            Collobert 2004
softmax     e^z_j / sum_k e^z_k             output layer only
exp         e^z                             output layer only
==========  ==============================  ==========================  =============================

L = 1.0507, A = 1.6733 (self-normalising), c = 0.044715 (gelu in its form with tanh). The formulas are in
src/schuss/formulas/activation.inl.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["ACTIVATIONS", "HIDDEN_ACTIVATIONS", "check_hidden", "per_layer"]

#: Name -> number in the native core (src/schuss/formulas/names.hpp).
ACTIVATIONS = {
    "identity": 0,
    "logistic": 1,
    "tanh": 2,
    "relu": 3,
    "softmax": 4,
    "exp": 5,
    "leaky_relu": 6,
    "elu": 7,
    "selu": 8,
    "gelu": 9,
    "silu": 10,
    "softplus": 11,
    "hardtanh": 12,
}
HIDDEN_ACTIVATIONS = tuple(name for name in ACTIVATIONS if name not in ("softmax", "exp"))


def check_hidden(name: str) -> str:
    """Return `name` if it is an activation for hidden layers, else raise ValueError."""
    if name not in HIDDEN_ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(HIDDEN_ACTIVATIONS)}, got {name!r}")
    return name


def per_layer(activation: str | Sequence[str], hidden_layers: int) -> tuple[str, ...]:
    """Activation of each hidden layer: one name for all, or a sequence with one for each.

    Raises
    ------
    ValueError
        If a name is not an activation for hidden layers, or a sequence is not as long as there are layers.
    """
    if isinstance(activation, str):
        check_hidden(activation)
        return (activation,) * hidden_layers
    names = tuple(check_hidden(name) for name in activation)
    if len(names) != hidden_layers:
        raise ValueError(
            f"activation must be one name or one for each of the {hidden_layers} hidden layers, got {names!r}"
        )
    return names
