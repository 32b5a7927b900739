"""Estimators as the configuration of a model file: class name, parameters and what was learnt, beside the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .. import model_config
from ..errors import PlanError
from ..network import Network
from ..plan import Plan, allowed_threads, wanted_device

if TYPE_CHECKING:
    from .classifier import MLPClassifier
    from .labels import Labels
    from .regressor import MLPRegressor

    Estimator: TypeAlias = MLPClassifier | MLPRegressor

__all__ = ["checked", "from_json", "labels", "to_json"]

#: Classes that are stored, by the name under which :mod:`schuss.estimators` offers them.
_CLASSES = ("MLPClassifier", "MLPRegressor")
#: Attributes that are read from the network.
_OF_THE_NETWORK = ("n_layers_", "loss_curve_")


def checked(model: Any) -> Estimator:
    """`model`, if it is a fitted estimator of a class that can be found again.

    Raises
    ------
    TypeError
        If it is something else, also of a class derived from one of those.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    """
    from schuss import estimators

    name = type(model).__name__
    if name not in _CLASSES or getattr(estimators, name) is not type(model):
        raise TypeError(f"model must be a Network, {' or '.join(_CLASSES)}, got {name}")
    check_is_fitted(model)
    return model  # type: ignore[no-any-return]


def to_json(model: Estimator) -> dict[str, Any]:
    """Class, parameters and what was learnt; ValueError where JSON cannot hold one of them."""
    params, state = model.get_params(deep=False), model._fitted_state()
    return {
        "class": type(model).__name__,
        "params": {key: model_config.encode(value, f"parameter {key}") for key, value in params.items()},
        "state": {
            key: model_config.encode(value, key) for key, value in state.items() if key not in _OF_THE_NETWORK
        },
    }


def from_json(stored: dict[str, Any], network: Network, n_jobs: int | None) -> Estimator:
    """The estimator around its network, with `n_jobs` in the place of its own where given.

    Raises
    ------
    ValueError
        If the entries are not an estimator's, or not those of its network.
    """
    from schuss import estimators

    if stored["class"] not in _CLASSES:
        raise ValueError(f"its estimator must be {' or '.join(_CLASSES)}, got {stored['class']!r:.60}")
    params = {key: model_config.decode(value) for key, value in stored["params"].items()}
    if n_jobs is not None:
        params["n_jobs"] = n_jobs
    kind: type[Estimator] = getattr(estimators, stored["class"])
    try:
        model = kind(**params)
    except TypeError as error:
        raise ValueError(f"its parameters are not those of {kind.__name__} ({error})") from error
    _compute_as(network, model)
    state = {key: model_config.decode(value) for key, value in stored["state"].items()}
    _check_state(state, network)
    try:
        model._restore(state, network)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"its state is not that of {kind.__name__} ({error})") from error
    return model


def labels(stored: dict[str, Any], network: Network) -> Labels:
    """What the outputs of a classifier's network stand for; ValueError as of :func:`from_json`."""
    model: Any = from_json(stored, network, network.n_jobs)
    return model._labels  # type: ignore[no-any-return]


def _check_state(state: dict[str, Any], network: Network) -> None:
    """What was learnt, against the network."""
    features, outputs = network.layer_sizes[0], network.layer_sizes[-1]
    known = {"n_features_in_": features, "n_outputs_": outputs, "out_activation_": network.output_activation}
    for name, value in known.items():
        if state.get(name) != value:
            raise ValueError(f"its {name} must be {value!r} as in the network, got {state.get(name)!r:.60}")
    for name in ("n_iter_", "t_"):
        if not isinstance(state.get(name), int):
            raise ValueError(f"its {name} must be a whole number, got {state.get(name)!r:.60}")
    counts = {
        "classes_": outputs if network.classes is None else len(network.classes),
        "feature_names_in_": features,
    }
    for name in counts.keys() & state.keys():
        found = state[name]
        if not isinstance(found, np.ndarray) or found.shape != (counts[name],):
            raise ValueError(f"its {name} must be an array of length {counts[name]}, got {found!r:.60}")
    if network.classes is not None and not np.array_equal(state.get("classes_", ()), network.classes):
        raise ValueError("its classes_ must be the network's classes")


def _compute_as(network: Network, model: Estimator) -> None:
    """Have the network compute as its estimator's parameters say, as far as this machine can."""
    n_jobs = model.n_jobs
    if not isinstance(model.plan, str):
        raise ValueError(f"its plan must be text, got {model.plan!r:.60}")
    if n_jobs is not None and not (isinstance(n_jobs, int) and n_jobs != 0):
        raise ValueError(f"its n_jobs must be null or a whole number but 0, got {n_jobs!r:.60}")
    wanted_device(model.device)
    network.plan, network.n_jobs, network.device = model.plan, n_jobs, model.device
    network.precision = model._arithmetic(network.dtype)
    try:
        plan = Plan.parse(model.plan, allowed_threads(n_jobs), model.device, network.precision)
        if plan is not None:
            network.fall_back(plan)
    except PlanError:
        network.plan = network.device = "auto"
    except ValueError:
        pass  # the environment's number of threads, of which whoever computes will hear
