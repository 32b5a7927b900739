"""Rules of the estimators' parameters, in scikit-learn's terms."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.utils._param_validation import Interval, Options, StrOptions, validate_parameter_constraints

from ..activations import HIDDEN_ACTIVATIONS
from ..losses import CLASS_LOSSES, NUMBER_LOSSES
from ..plan import PRECISIONS
from ..schedules import SCHEDULES, Schedule

__all__ = ["CLASSIFIER", "REGRESSOR", "check_parameters"]

_SHARE = Interval(Real, 0, 1, closed="left")
_NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
_POSITIVE = Interval(Real, 0, None, closed="neither")
_COUNT = Interval(Integral, 1, None, closed="left")

_SHARED: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like", _COUNT],
    "activation": [StrOptions(set(HIDDEN_ACTIVATIONS)), "array-like"],
    "solver": [StrOptions({"lbfgs", "sgd", "adam", "adamw"})],
    "alpha": [_NOT_NEGATIVE],
    "batch_size": [StrOptions({"auto"}), _COUNT],
    "learning_rate": [StrOptions(set(SCHEDULES)), Schedule],
    "learning_rate_init": [_POSITIVE],
    "power_t": [_NOT_NEGATIVE],
    "max_iter": [_COUNT],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [_NOT_NEGATIVE],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [_SHARE],
    "beta_1": [_SHARE],
    "beta_2": [_SHARE],
    "epsilon": [_POSITIVE],
    "n_iter_no_change": [_COUNT, Options(Real, {np.inf})],
    "max_fun": [_COUNT],
    "weight_decay": [_NOT_NEGATIVE, None],
    "dropout": [_SHARE, "array-like"],
    "clip_norm": [_POSITIVE, None],
    "plan": [str],
    "n_jobs": [Integral, None],
    "device": [str],
    "precision": [StrOptions({"auto", *PRECISIONS})],
    "isa": [str, None],
}

CLASSIFIER: dict[str, list[Any]] = {
    **_SHARED,
    "loss": [StrOptions(set(CLASS_LOSSES))],
    "class_weight": [StrOptions({"balanced"}), dict, list, None],
    "focal_gamma": [_NOT_NEGATIVE],
    "label_smoothing": [_SHARE],
}

REGRESSOR: dict[str, list[Any]] = {
    **_SHARED,
    "loss": [StrOptions(set(NUMBER_LOSSES))],
    "huber_delta": [_POSITIVE],
    "quantile": [Interval(Real, 0, 1, closed="neither"), "array-like"],
}


def check_parameters(estimator: Any, rules: dict[str, list[Any]]) -> None:
    """Raise InvalidParameterError, a ValueError and TypeError, for the first parameter that breaks its rule."""
    if not get_config()["skip_parameter_validation"]:
        validate_parameter_constraints(rules, estimator.get_params(deep=False), type(estimator).__name__)
