"""The network: layer sizes, activations, loss, and one flat parameter vector with W_l and b_l as views."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import validation
from .activations import per_layer
from .cuda.arrays import to_host
from .engine_keeper import EngineKeeper
from .errors import DataError
from .losses import CLASS_LOSSES, Loss, as_loss, check_output, default_output
from .plan import flops_per_example
from .planner.report import PlanReport

__all__ = ["Network", "most_likely", "start"]

Array = NDArray[Any]

STARTS = ("auto", "glorot_uniform", "he_normal")


def start(layer_sizes: Sequence[int], activations: Sequence[str], how: str, seed: Any) -> Array:
    """Flat float64 parameters to start from; biases are zero.

    Parameters
    ----------
    layer_sizes : sequence of int, (n_0, ..., n_L)
    activations : sequence of str
    how : {"auto", "glorot_uniform", "he_normal"}
        Glorot & Bengio 2010: uniform in +-sqrt(6 / (n_in + n_out)). He et al. 2015: normal with variance 2 / n_in.
        "auto" takes He's for relu layers and Glorot's for others.
    seed : int, SeedSequence, Generator or None
    """
    if how not in STARTS:
        raise ValueError(f"init must be one of {', '.join(STARTS)}, got {how!r}")
    rng = np.random.default_rng(seed)
    parts = []
    for (inputs, outputs), activation in zip(pairwise(layer_sizes), activations, strict=True):
        if how == "he_normal" or (how == "auto" and activation == "relu"):
            parts.append(rng.standard_normal(inputs * outputs) * np.sqrt(2 / inputs))
        else:
            bound = np.sqrt(6 / (inputs + outputs))
            parts.append(rng.uniform(-bound, bound, inputs * outputs))
        parts.append(np.zeros(outputs))
    return np.concatenate(parts)


class Network(EngineKeeper):
    """A multilayer feedforward network.

    Layer l computes z_l = W_l^T a_{l-1} + b_l and a_l = f(z_l) with W_l of shape (n_{l-1}, n_l); a minibatch is
    one example a row, Z = A W + b.

    Parameters
    ----------
    layer_sizes : sequence of int, (n_0, ..., n_L)
        Features, hidden widths, outputs.
    activation : str or sequence of str, default "relu"
        Of the hidden layers: one name, or one for each; see :mod:`schuss.activations`.
    output_activation : str or None, default None
        None: see :func:`schuss.losses.default_output`.
    loss : str or Loss, default "log_loss"
        See :mod:`schuss.losses`.
    classes : array-like or None, default None
        Label of each class; `predict` then returns labels.
    input_scale, input_shift : float, default 1, 0
        The network sees X * input_scale + input_shift. Part of the model: give `predict` what training got.
    dtype : {"float32", "float64"}, default "float32"
    init : {"auto", "glorot_uniform", "he_normal"}, default "auto"
    seed : int or None, default None
        Of the starting weights.
    plan : str, default "auto"
        See :mod:`schuss.plan`.
    n_jobs : int or None, default None
        Threads allowed; see :func:`schuss.plan.allowed_threads`.
    isa : str or None, default None
        Instruction set of the kernels; see :func:`schuss.engine.chosen_isa`.
    device : {"auto", "cpu", "cuda", "cuda:N"}, default "auto"
        Where to compute; "auto" leaves it to the plan. No part of the model: assign to change it.
    precision : {"auto", "float32", "float64", "tf32", "bfloat16"}, default "auto"
        Arithmetic: "auto" that of `dtype`; "tf32" and "bfloat16", of GPUs only, round what is multiplied, not the
        weights, which are float32.

    Attributes
    ----------
    history : dict of str to list
        What the last training recorded, one entry an epoch; empty before.
    trained_plan, trained_device : str
        The plan that the last training used, at its end, and the device, such as cpu or cuda:0; empty before.
    plan_report : PlanReport or None
        What was predicted and measured for the last training's plan; print it.
    feature_names : tuple of str or None
        What the features are called, one name each, where that is known; `save` keeps them. None at first.
    """

    def __init__(
        self,
        layer_sizes: Sequence[int],
        *,
        activation: str | Sequence[str] = "relu",
        output_activation: str | None = None,
        loss: str | Loss = "log_loss",
        classes: ArrayLike | None = None,
        input_scale: float = 1.0,
        input_shift: float = 0.0,
        dtype: Any = "float32",
        init: str = "auto",
        seed: Any = None,
        plan: str = "auto",
        n_jobs: int | None = None,
        isa: str | None = None,
        device: str = "auto",
        precision: str = "auto",
    ) -> None:
        self.layer_sizes = validation.layer_sizes(layer_sizes)
        outputs = self.layer_sizes[-1]
        hidden = per_layer(activation, len(self.layer_sizes) - 2)
        self.loss_function = as_loss(loss)
        self.classes = validation.classes(classes, outputs)
        if output_activation is None:
            output_activation = default_output(self.loss_name, classes=classes is not None, outputs=outputs)
        self.output_activation = check_output(output_activation, self.loss_name)
        #: activation of each layer but the input
        self.activations = (*hidden, self.output_activation)
        quantiles = self.loss_function.outputs_per_target
        if outputs % quantiles:
            raise ValueError(
                f"layer_sizes must end in a multiple of the {quantiles} quantiles, got {outputs}"
            )
        if self.output_activation == "softmax" and outputs < 2:
            raise ValueError(f"softmax needs at least 2 outputs, got {outputs}")
        self.dtype = validation.dtype(dtype)
        self.input_scale = validation.finite("input_scale", input_scale)
        self.input_shift = validation.finite("input_shift", input_shift)
        self.history: dict[str, list[float]] = {}
        self.trained_plan = self.trained_device = ""
        self.plan_report: PlanReport | None = None
        self.feature_names: tuple[str, ...] | None = None
        parameters = start(self.layer_sizes, self.activations, init, seed).astype(self.dtype)
        self._begin(parameters, plan, n_jobs, isa, device, precision)

    @property
    def loss_name(self) -> str:
        return self.loss_function.name

    @property
    def activation(self) -> str | tuple[str, ...]:
        """Activation of the hidden layers: one name where they share it, else one for each."""
        hidden = self.activations[:-1]
        return hidden[0] if len(set(hidden)) == 1 else hidden

    @property
    def flops_per_example(self) -> int:
        """Floating-point operations of one training step per example."""
        return flops_per_example(self.layer_sizes)

    def split(self, flat: Array) -> tuple[list[Array], list[Array]]:
        """W_l (n_{l-1}, n_l) and b_l (n_l,) as views of a flat vector, such as `gradient` returns."""
        weights, biases, at = [], [], 0
        for inputs, outputs in pairwise(self.layer_sizes):
            weights.append(flat[at : at + inputs * outputs].reshape(inputs, outputs))
            at += inputs * outputs
            biases.append(flat[at : at + outputs])
            at += outputs
        return weights, biases

    @property
    def weights(self) -> list[Array]:
        """Read-only views W_1, ..., W_L of `parameters`."""
        return self.split(self.parameters)[0]

    @property
    def biases(self) -> list[Array]:
        """Read-only views b_1, ..., b_L of `parameters`."""
        return self.split(self.parameters)[1]

    def forward(self, X: ArrayLike) -> Array:
        """Output activations (n_examples, n_L) of X (n_examples, n_0), dense or scipy.sparse."""
        return self.forward_checked(validation.examples(X, self.layer_sizes[0], self.dtype))

    def predict(self, X: ArrayLike) -> Array:
        """Labels (n_examples,) of the likeliest classes; the outputs themselves where there are no `classes`."""
        outputs = self.forward(X)
        return outputs if self.classes is None else self.classes[most_likely(outputs, self.border)]

    @property
    def border(self) -> float:
        """Single output above which the second class is the likelier one."""
        return 0.0 if self.loss_name == "hinge" else 0.5

    def score(self, X: ArrayLike, y: ArrayLike) -> float:
        """Share of labels y (n_examples,) predicted right.

        Raises
        ------
        ValueError
            If the network has no `classes`.
        """
        if self.classes is None:
            raise ValueError("score needs a network with classes")
        predicted, labels = self.predict(X), np.asarray(to_host(y))
        if labels.shape != predicted.shape:
            raise DataError(f"y must have {len(predicted)} entries, one an example, got shape {labels.shape}")
        return float(np.mean(predicted == labels))

    def loss(self, X: ArrayLike, y: ArrayLike) -> float:
        """Mean loss over the examples.

        Parameters
        ----------
        X : array-like, (n_examples, n_0)
        y : array-like
            Class numbers (n_examples,) of an integer dtype, or targets (n_examples, n_L); labels where the network
            has `classes`.
        """
        given, targets = self.pair(X, y)
        with self._lock:
            losses = self._ready(given).forward(given, targets)[1]
        return float(np.mean(losses))

    def gradient(self, X: ArrayLike, y: ArrayLike) -> Array:
        """Flat gradient (n_parameters,) of the mean loss over the examples, taken as one minibatch."""
        given, targets = self.pair(X, y)
        out = np.empty(self.n_parameters, self.dtype)
        with self._lock:
            self._ready(given).gradient(given, targets, out)
        return out

    def step(self, X: ArrayLike, y: ArrayLike, learning_rate: float = 0.1) -> float:
        """One step of plain gradient descent on the examples as one minibatch; returns the loss before it.

        Raises
        ------
        FloatingPointError
            If the loss is not finite; the step is then not taken.
        """
        given, targets = self.pair(X, y)
        with self._lock:
            engine = self._ready(given)
            loss, taken = engine.step(given, targets, float(learning_rate))
            if taken:
                self._moved_on(engine)
            self.version += 1
        if not taken:
            raise FloatingPointError(f"loss is {loss}: the step was not taken")
        return loss

    def pair(self, X: Any, y: ArrayLike, name: str = "") -> tuple[Any, Array]:
        """X and y checked, as the engine reads them; `name` goes before X and y in messages."""
        before = f"{name} " if name else ""
        X = validation.examples(X, self.layer_sizes[0], self.dtype, f"{before}X")
        return X, self.targets(y, X.shape[0], f"{before}y")

    def targets(self, y: ArrayLike, rows: int, name: str = "y") -> Array:
        """y of `rows` examples checked, as the engine reads it: class numbers (rows,) or targets (rows, n_L)."""
        y = to_host(y, name)
        copies = self.loss_function.outputs_per_target
        columns = self.layer_sizes[-1] // copies
        if self.loss_name not in CLASS_LOSSES:  # whole numbers are numbers
            y = np.asarray(y)
            y = y.astype(self.dtype) if y.dtype.kind in "iub" else y
        checked = validation.targets(y, rows, columns, self.classes, self.dtype, name)
        if checked.ndim == 1:
            return checked
        if self.loss_name in ("log_loss", "focal", "hinge"):
            validation.probabilities(checked, self.output_activation == "softmax", self.loss_name, name)
        if self.loss_name in ("poisson", "gamma"):
            validation.positive(checked, self.loss_name, name)
        return np.repeat(checked, copies, axis=1) if copies > 1 else checked

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a safetensors file; see :mod:`schuss.model_file`."""
        from .model_file import save

        save(self, path)

    def export_onnx(self, path: str | os.PathLike[str], *, input_dtype: str | None = None) -> Path:
        """Write an ONNX file; see :func:`schuss.onnx_export.export_onnx`."""
        from .onnx_export import export_onnx

        return export_onnx(self, path, input_dtype=input_dtype)

    def __repr__(self) -> str:
        sizes = "-".join(map(str, self.layer_sizes))
        return (
            f"Network({sizes}, {self.activation}, {self.output_activation}, {self.loss_name}, {self.dtype})"
        )


def most_likely(outputs: Array, border: float = 0.5) -> Array:
    """Class number (n_examples,) of outputs (n_examples, n_L); one output above `border` means the second class."""
    return (outputs[:, 0] > border).astype(np.int32) if outputs.shape[1] == 1 else np.argmax(outputs, axis=1)
