"""Fitted estimators from scikit-learn's and back: parameters, attributes and weights; the optimizer's state is not
carried over, so that a training that goes on starts its momentum anew."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn import neural_network
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.validation import check_is_fitted

from ..network import Network

__all__ = ["from_sklearn", "to_sklearn"]

Array = NDArray[Any]

#: Fitted attributes that both have; some depend on the solver.
_ATTRIBUTES = (
    "classes_", "n_features_in_", "feature_names_in_", "n_iter_", "n_layers_", "n_outputs_", "out_activation_", "t_",
    "loss_", "best_loss_", "loss_curve_", "validation_scores_", "best_validation_score_",
)  # fmt: skip
#: Parameters of ours that say how to compute, not what.
_HOW = {"plan", "n_jobs", "device", "precision", "isa"}
#: Parameters of losses that scikit-learn lacks: without meaning where the loss is one that it has.
_OF_OTHER_LOSSES = {"huber_delta", "quantile", "focal_gamma"}
_THEIR_VALUES = {
    "activation": ("identity", "logistic", "tanh", "relu"),
    "solver": ("lbfgs", "sgd", "adam"),
    "learning_rate": ("constant", "invscaling", "adaptive"),
}
_THEIR_LOSSES = {"MLPClassifier": ("log_loss",), "MLPRegressor": ("squared_error", "poisson")}


def from_sklearn(fitted: Any, kind: type[Any]) -> Any:
    """An estimator of ours that has learnt what a fitted one of scikit-learn has.

    Parameters
    ----------
    fitted : sklearn.neural_network.MLPClassifier or MLPRegressor
        Not changed; the weights are copied.
    kind : type
        Our class for it: MLPClassifier or MLPRegressor, or one derived from them.

    Returns
    -------
    kind
        With the parameters, fitted attributes and weights of `fitted`, in their precision. Its predictions are the
        same but for rounding; `partial_fit` and a `fit` with warm_start go on from there.

    Raises
    ------
    TypeError
        If `fitted` is no estimator that `kind` stands for, or a derived `kind` does not take its parameters.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    """
    theirs = _their_kind(kind)
    if not isinstance(fitted, theirs):
        raise TypeError(
            f"fitted must be a sklearn.neural_network.{theirs.__name__}, got {type(fitted).__name__}"
        )
    check_is_fitted(fitted)
    try:
        model = kind(**{name: getattr(fitted, name) for name in theirs().get_params()})
    except TypeError as error:
        raise TypeError(f"{kind.__name__} must take the parameters of {theirs.__name__}: {error}") from error
    # several independent yes or no: multi-label targets, which have no one label
    multi_label = fitted.out_activation_ == "logistic" and fitted.n_outputs_ > 1
    parts = [part.ravel() for pair in zip(fitted.coefs_, fitted.intercepts_, strict=True) for part in pair]
    parameters = np.concatenate(parts)
    network = Network(
        (fitted.n_features_in_, *(len(b) for b in fitted.intercepts_)),
        activation=fitted.activation,
        output_activation=fitted.out_activation_,
        loss=fitted.loss,
        classes=None if multi_label else getattr(fitted, "classes_", None),
        dtype=np.result_type(parameters, np.float32),
        plan=model.plan,
        n_jobs=model.n_jobs,
    )
    network.parameters = parameters
    state = {name: _copied(getattr(fitted, name)) for name in _ATTRIBUTES if hasattr(fitted, name)}
    model._restore(state, network)
    return model


def to_sklearn(model: Any) -> Any:
    """A fitted estimator of scikit-learn that has learnt what one of ours has.

    Parameters
    ----------
    model : MLPClassifier or MLPRegressor
        Fitted; not changed. What says how to compute (plan, n_jobs, device, precision, isa) is left behind.

    Returns
    -------
    sklearn.neural_network.MLPClassifier or MLPRegressor
        With its parameters, fitted attributes and copies of its weights; its predictions are the same but for
        rounding, and `partial_fit` and a `fit` with warm_start go on from there.

    Raises
    ------
    TypeError
        If it is of a derived class that does not have all of scikit-learn's parameters.
    ValueError
        If it uses an activation, loss, solver or option that scikit-learn lacks; all of them are named.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    """
    check_is_fitted(model)
    kind = _their_kind(type(model))
    name = kind.__name__
    params, wanted = model.get_params(deep=False), kind().get_params()
    missing = [key for key in wanted if key not in params]
    if missing:
        raise TypeError(
            f"{type(model).__name__} must have the parameters of {name} to be converted, lacks {', '.join(missing)}"
        )
    params["activation"] = _one_activation(params["activation"])
    shared = {key: params[key] for key in wanted}
    lacking = _lacking(model, name, params, shared)
    if lacking:
        raise ValueError(
            f"scikit-learn {sklearn.__version__}'s {name} has no {', '.join(lacking)}: it cannot be converted"
        )
    theirs = kind(**shared)
    for attribute in _ATTRIBUTES:
        if hasattr(model, attribute) and not (attribute == "loss_curve_" and model.solver == "lbfgs"):
            setattr(theirs, attribute, _copied(getattr(model, attribute)))
    theirs.coefs_ = [W.copy() for W in model.coefs_]
    theirs.intercepts_ = [b.copy() for b in model.intercepts_]
    # what its own training, when it goes on, expects to find
    theirs._best_coefs = [W.copy() for W in theirs.coefs_]
    theirs._best_intercepts = [b.copy() for b in theirs.intercepts_]
    theirs._no_improvement_count = 0
    if name == "MLPClassifier":
        multi_label = model.network_.classes is None
        seen = np.eye(model.n_outputs_, dtype=int) if multi_label else model.classes_
        theirs._label_binarizer = LabelBinarizer().fit(seen)
    return theirs


def _their_kind(kind: type[Any]) -> type[Any]:
    """scikit-learn's class for one of ours, or for one that is derived from ours."""
    return neural_network.MLPClassifier if issubclass(kind, ClassifierMixin) else neural_network.MLPRegressor  # type: ignore[no-any-return]


def _one_activation(activation: Any) -> Any:
    """The name that all hidden layers share, where they do."""
    if isinstance(activation, str) or len(set(activation)) != 1:
        return activation
    return activation[0]


def _lacking(model: Any, name: str, params: dict[str, Any], shared: dict[str, Any]) -> list[str]:
    """What of the model scikit-learn cannot express, as name=value."""
    defaults = {key: entry.default for key, entry in inspect.signature(type(model)).parameters.items()}
    lacking = []
    for key, value in params.items():
        if key == "loss":
            known = value in _THEIR_LOSSES[name] and (key in shared or value == _THEIR_LOSSES[name][0])
        elif key in shared:
            known = key not in _THEIR_VALUES or value in _THEIR_VALUES[key]
        else:
            known = key in _HOW | _OF_OTHER_LOSSES or value is defaults[key] or value == defaults[key]
        if not known:
            lacking.append(f"{key}={value!r}")
    return lacking


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, list | np.ndarray) else value
