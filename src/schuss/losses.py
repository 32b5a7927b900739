"""Losses by their field names, per example; a minibatch's loss is the mean over its examples.

=============  ========================================================  ====================
name           loss                                                      delta of the output
=============  ========================================================  ====================
squared_error  1/2 sum_j (a_j - y_j)^2                                   (a - y) f'(z)
log_loss       softmax: -sum_j y_j log a_j                               a - y
..             logistic: -sum_j y_j log a_j + (1 - y_j) log (1 - a_j)    a - y
=============  ========================================================  ====================

The formulas are in native/src/kernels/loss.inl.
"""

from __future__ import annotations

from .activations import ACTIVATIONS

__all__ = ["LOSSES", "check_loss", "check_output", "default_output"]

#: Name -> number in the native core (include/schuss/network.hpp).
LOSSES = {"squared_error": 0, "log_loss": 1}
_OUTPUTS = {"squared_error": ("identity", "logistic", "tanh", "relu"), "log_loss": ("softmax", "logistic")}


def check_loss(name: str) -> str:
    """Return `name` if it is a loss, else raise ValueError."""
    if name not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {name!r}")
    return name


def check_output(activation: str, loss: str) -> str:
    """Return `activation` if an output layer of it can be trained with `loss`, else raise ValueError."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"output_activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    if activation not in _OUTPUTS[check_loss(loss)]:
        allowed = " or ".join(_OUTPUTS[loss])
        raise ValueError(f"output_activation with {loss} must be {allowed}, got {activation!r}")
    return activation


def default_output(loss: str, *, classes: bool, outputs: int) -> str:
    """Output activation where none is named: softmax with log loss (logistic for one output), logistic for
    classes with squared error, identity for numbers."""
    if check_loss(loss) == "log_loss":
        return "logistic" if outputs == 1 else "softmax"
    return "logistic" if classes else "identity"
