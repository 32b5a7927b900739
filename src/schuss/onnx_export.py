"""A network or an estimator as an ONNX model, which runs without Python and without Schuss.

The graph is that of operator set 13, for runtimes old and new: the input "X" (n, n_features), scaled and shifted as
the network does it, then a Gemm and an activation a layer. It computes in the network's precision. Activations for
which ONNX Runtime has an operator in float32 only are put together from others in float64; gelu always is, since its
operator is younger.

What comes out:

=====================  =============================================================================
model                  outputs
=====================  =============================================================================
classifier             label (n,): int64 or string, as the classes are; the class number, int64, where they are
                       neither integers nor text. probabilities (n, n_classes), as `predict_proba` gives them
.. trained with hinge  label (n,) and scores (n, n_outputs), one column for two classes
.. for multi-label     label (n, n_classes) int64, 0 or 1, and probabilities (n, n_classes)
regressor              variable (n, n_outputs), also where `predict` gives a vector
Network with classes   label as of a classifier; probabilities where the output is softmax or one logistic unit,
                       else scores: the outputs themselves
other Network          variable (n, n_outputs)
=====================  =============================================================================
"""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from schuss.errors import ModelFileError
from schuss.model_file import write_file

if TYPE_CHECKING:
    from schuss.estimators.stored import Estimator
    from schuss.network import Network

    Model: TypeAlias = Network | Estimator

__all__ = ["INPUT_DTYPES", "OPSET", "export_onnx", "to_onnx", "write_onnx"]

INPUT_DTYPES = ("float32", "float64", "uint8")
OPSET = 13  # the first whose Softmax acts on an axis
_IR_VERSION = 7  # of the same release
_LARGEST = 2**31 - 2**20  # bytes; protobuf's limit, less what is not parameters

#: Activations that are one operator in both precisions.
_OPERATORS: dict[str, tuple[str, dict[str, Any]]] = {
    "logistic": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "relu": ("Relu", {}),
    "exp": ("Exp", {}),
    "softmax": ("Softmax", {"axis": 1}),
}
_LEAK = 0.01
_SELU_ALPHA, _SELU_LAMBDA = 1.6732632423543772848, 1.0507009873554804934
_GELU_LINEAR, _GELU_CUBIC = 1.5957691216057307117, 0.071354816272600244  # 2 sqrt(2 / pi), times 0.044715
#: Activations that are one operator in float32 alone.
_FLOAT32_OPERATORS: dict[str, tuple[str, dict[str, Any]]] = {
    "leaky_relu": ("LeakyRelu", {"alpha": _LEAK}),
    "elu": ("Elu", {"alpha": 1.0}),
    "selu": ("Selu", {"alpha": _SELU_ALPHA, "gamma": _SELU_LAMBDA}),
    "softplus": ("Softplus", {}),
}


def export_onnx(model: Model, path: str | os.PathLike[str], *, input_dtype: str | None = None) -> Path:
    """Write a network or a fitted estimator as an ONNX file.

    The file is written beside `path` and then moved there. Needs the package onnx (`pip install 'schuss[onnx]'`);
    any ONNX runtime reads the file.

    Parameters
    ----------
    model : Network, MLPClassifier or MLPRegressor
    path : path-like
        Where to write; a regular file there is replaced.
    input_dtype : {"float32", "float64", "uint8"} or None, default None
        Type of the input "X"; the graph converts it. None: the precision that the network computes in.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    ImportError
        If onnx is not installed.
    ModelFileError
        If the file cannot be written, or the parameters take 2 GiB or more, protobuf's limit.
    TypeError, ValueError
        If `model` or `input_dtype` is none of these.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    """
    return write_onnx(to_onnx(model, input_dtype=input_dtype), path)


def write_onnx(proto: Any, path: str | os.PathLike[str]) -> Path:
    """Write what :func:`to_onnx` made; ModelFileError where that cannot be done."""
    target = Path(path)
    try:
        write_file(target, proto.SerializeToString())
    except OSError as error:
        raise ModelFileError(f"{target}: cannot be written: {error.strerror or error}") from error
    return target


def to_onnx(model: Model, *, input_dtype: str | None = None) -> Any:
    """The onnx.ModelProto that :func:`export_onnx` writes; arguments and errors as there."""
    from schuss.network import Network

    if isinstance(model, Network):
        network = model
    else:
        from sklearn.utils.validation import check_is_fitted

        from schuss.estimators.base import BaseMLP

        if not isinstance(model, BaseMLP):
            raise TypeError(
                f"model must be a Network, MLPClassifier or MLPRegressor, got {type(model).__name__}"
            )
        check_is_fitted(model)
        network = model.network_
    dtype = str(network.dtype) if input_dtype is None else input_dtype
    if dtype not in INPUT_DTYPES:
        raise ValueError(f"input_dtype must be {', '.join(INPUT_DTYPES)} or None, got {input_dtype!r}")
    if network.parameters.nbytes > _LARGEST:
        raise ModelFileError(
            f"an ONNX file holds less than 2 GiB, the parameters take {network.parameters.nbytes:,} bytes"
        )
    graph = _Graph(network.dtype)
    outputs = _network(graph, network, graph.input(dtype, network.layer_sizes[0]))
    if isinstance(model, Network):
        _network_outputs(graph, model, outputs)
    else:
        _estimator_outputs(graph, model, outputs)
    return graph.model(_notes(model, network))


def _notes(model: Model, network: Network) -> dict[str, str]:
    """What the model carries for people to read."""
    notes = {"network": repr(network)}
    classes = getattr(model, "classes_", network.classes)
    if classes is not None:
        notes["classes"] = json.dumps(np.asarray(classes).tolist(), default=str)
    if hasattr(model, "feature_names_in_"):
        notes["feature_names"] = json.dumps(list(model.feature_names_in_))
    return notes


class _Graph:
    """Nodes and constants as they are added; the values in between carry the names that `add` returns."""

    def __init__(self, dtype: Any) -> None:
        try:
            import onnx
        except ImportError as error:
            raise ImportError(
                "ONNX export needs the package onnx, which is not installed: pip install 'schuss[onnx]'"
            ) from error
        self._onnx = onnx
        self.dtype = np.dtype(dtype)
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def input(self, dtype: str, features: int) -> str:
        """The input X, as values of the graph's own dtype."""
        kind = self._kind(np.dtype(dtype))
        self._inputs.append(self._onnx.helper.make_tensor_value_info("X", kind, ["n", features]))
        return "X" if self.dtype == dtype else self.cast("X", self.dtype)

    def output(self, name: str, value: str, dtype: Any, *columns: int) -> None:
        """Give a value out under a name."""
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name], name=name))
        kind = self._kind(np.dtype(dtype))
        self._outputs.append(self._onnx.helper.make_tensor_value_info(name, kind, ["n", *columns]))

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """A node; returns its output."""
        name = f"{operator}_{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def cast(self, value: str, dtype: Any) -> str:
        return self.add("Cast", value, to=self._kind(np.dtype(dtype)))

    def constant(self, name: str, value: Any, dtype: Any = None) -> str:
        """A constant of the graph's dtype, or of another; the same name is the same constant."""
        array = np.asarray(value, self.dtype if dtype is None else dtype)
        if name not in self._constants:
            self._constants[name] = self._onnx.numpy_helper.from_array(array, name)
        return name

    def number(self, value: float) -> str:
        return self.constant(repr(float(value)), value)

    def model(self, notes: dict[str, str]) -> Any:
        """The whole model."""
        helper = self._onnx.helper
        graph = helper.make_graph(
            self._nodes, "network", self._inputs, self._outputs, list(self._constants.values())
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=_IR_VERSION,
            producer_name="schuss",
            producer_version=version("schuss"),
        )
        helper.set_model_props(model, notes)
        return model

    def _kind(self, dtype: np.dtype[Any]) -> int:
        return int(self._onnx.helper.np_dtype_to_tensor_dtype(dtype))


# --- The layers -----------------------------------------------------------------------------------


def _network(g: _Graph, network: Network, X: str) -> str:
    a = X
    if network.input_scale != 1:
        a = g.add("Mul", a, g.constant("input_scale", network.input_scale))
    if network.input_shift != 0:
        a = g.add("Add", a, g.constant("input_shift", network.input_shift))
    layers = zip(network.weights, network.biases, network.activations, strict=True)
    for layer, (W, b, activation) in enumerate(layers, start=1):
        z = g.add("Gemm", a, g.constant(f"W{layer}", W), g.constant(f"b{layer}", b))
        a = _activated(g, activation, z)
    return a


def _activated(g: _Graph, activation: str, z: str) -> str:
    operators = _OPERATORS | (_FLOAT32_OPERATORS if g.dtype == np.float32 else {})
    if activation in operators:
        operator, attributes = operators[activation]
        return g.add(operator, z, **attributes)
    return str(_COMPOSED[activation](g, z))


def _hardtanh(g: _Graph, z: str) -> str:
    return g.add("Clip", z, g.number(-1), g.number(1))


def _silu(g: _Graph, z: str) -> str:
    return g.add("Mul", z, g.add("Sigmoid", z))


def _gelu(g: _Graph, z: str) -> str:
    """z logistic(z (linear + cubic z^2)): 1/2 (1 + tanh u) is logistic(2 u)."""
    cubic = g.add("Mul", g.add("Mul", z, z), g.number(_GELU_CUBIC))
    u = g.add("Mul", z, g.add("Add", cubic, g.number(_GELU_LINEAR)))
    return g.add("Mul", z, g.add("Sigmoid", u))


def _leaky_relu(g: _Graph, z: str) -> str:
    return g.add("Max", z, g.add("Mul", z, g.number(_LEAK)))


def _elu(g: _Graph, z: str, alpha: float = 1.0) -> str:
    below = g.add("Sub", g.add("Exp", g.add("Min", z, g.number(0))), g.number(1))
    return g.add("Add", g.add("Relu", z), g.add("Mul", below, g.number(alpha)))


def _selu(g: _Graph, z: str) -> str:
    return g.add("Mul", _elu(g, z, _SELU_ALPHA), g.number(_SELU_LAMBDA))


def _softplus(g: _Graph, z: str) -> str:
    """max(z, 0) + log(1 + e^-|z|), which does not overflow."""
    small = g.add("Exp", g.add("Neg", g.add("Abs", z)))
    return g.add("Add", g.add("Relu", z), g.add("Log", g.add("Add", small, g.number(1))))


_COMPOSED: dict[str, Any] = {
    "identity": lambda g, z: z,
    "hardtanh": _hardtanh,
    "silu": _silu,
    "gelu": _gelu,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "selu": _selu,
    "softplus": _softplus,
}


# --- The outputs ----------------------------------------------------------------------------------


def _network_outputs(g: _Graph, network: Network, outputs: str) -> None:
    width = network.layer_sizes[-1]
    if network.classes is None:
        g.output("variable", outputs, g.dtype, width)
        return
    likeliest = _above(g, "GreaterOrEqual", outputs, network.border) if width == 1 else _most(g, outputs)
    _label(g, network.classes, likeliest)
    if network.output_activation == "softmax":
        g.output("probabilities", outputs, g.dtype, width)
    elif width == 1 and network.output_activation == "logistic":
        g.output("probabilities", _both(g, outputs), g.dtype, 2)
    else:
        g.output("scores", outputs, g.dtype, width)


def _both(g: _Graph, second: str) -> str:
    """Probabilities of two classes from that of the second."""
    return g.add("Concat", g.add("Sub", g.number(1), second), second, axis=1)


def _estimator_outputs(g: _Graph, model: Any, outputs: str) -> None:
    network: Network = model.network_
    width = network.layer_sizes[-1]
    if not hasattr(model, "classes_"):
        g.output("variable", outputs, g.dtype, width)
        return
    several = network.classes is None and width > 1  # labels at once: a yes or no for each
    if several:
        yes = g.cast(g.add("Greater", outputs, g.number(network.border)), np.int64)
        g.output("label", yes, np.int64, width)
    else:
        two = len(model.classes_) == 2
        likeliest = _above(g, "Greater", outputs, network.border) if two else _most(g, outputs)
        _label(g, model.classes_, likeliest)
    if network.loss_name == "hinge":
        g.output("scores", outputs, g.dtype, width)
    else:
        probabilities = outputs if several else _probabilities(g, network, len(model.classes_), outputs)
        g.output("probabilities", probabilities, g.dtype, len(model.classes_))


def _probabilities(g: _Graph, network: Network, classes: int, outputs: str) -> str:
    """Of classes that exclude each other."""
    if classes == 1:
        return g.add("Add", g.add("Mul", outputs, g.number(0)), g.number(1))
    if classes == 2:
        return _both(g, outputs)
    if network.output_activation == "logistic":
        total = g.add("ReduceSum", outputs, g.constant("columns", [1], np.int64), keepdims=1)
        return g.add("Div", outputs, total)
    return outputs


def _above(g: _Graph, operator: str, outputs: str, border: float) -> str:
    """Number 0 or 1 of two classes, by the one output that there is."""
    second = g.cast(g.add(operator, outputs, g.number(border)), np.int64)
    return g.add("Reshape", second, g.constant("vector", [-1], np.int64))


def _most(g: _Graph, outputs: str) -> str:
    return g.add("ArgMax", outputs, axis=1, keepdims=0)


def _label(g: _Graph, classes: Any, number: str) -> None:
    """The class by its label, or by its number where ONNX has no labels of this kind."""
    labels = np.asarray(classes)
    if labels.dtype.kind in "iu" and labels.max() <= np.iinfo(np.int64).max:
        dtype: Any = np.int64
    elif labels.dtype.kind in "UO" and all(isinstance(label, str) for label in labels):
        dtype = object
    else:
        g.output("label", number, np.int64)
        return
    g.output("label", g.add("Gather", g.constant("classes", labels, dtype), number), dtype)
