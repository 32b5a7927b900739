"""Data and fits that the estimators' tests share."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from schuss.estimators import MLPClassifier, MLPRegressor

quietly = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_digits(return_X_y=True)
X = X[:400] / 16
Y = Y[:400]
BINARY = np.array(["low", "high"])[(Y > 4).astype(int)]
LABELS = np.stack([Y % 2 == 0, Y > 4, Y == 3], axis=1).astype(int)
NUMBERS = X @ np.random.default_rng(0).standard_normal(64)


def fitted(y=Y, data=X, kind=MLPClassifier, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return kind(**{"random_state": 0, "max_iter": 15} | options).fit(data, y)


def regressor_fitted(y=NUMBERS, **options):
    return fitted(y, kind=MLPRegressor, **options)
