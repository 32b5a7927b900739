"""Whole float64 fits against scikit-learn's: the same draws, formulas and rules, so the same course of training."""

import numpy as np
import pytest
from sklearn import neural_network

from schuss.estimators import MLPClassifier, MLPRegressor

pytest.importorskip("sklearn", "1.7")  # whose networks know weights and counts
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.RandomState(0)
X = RNG.standard_normal((150, 6))
NUMBERS = X @ RNG.standard_normal(6) + np.sin(X[:, 0])
COUNTS = RNG.poisson(np.exp(0.3 * X[:, 0])).astype(float)
NOISY = X + 0.3 * RNG.standard_normal(X.shape)
WEIGHT = RNG.randint(0, 4, len(X)).astype(float)

CLASSIFIERS = (MLPClassifier, neural_network.MLPClassifier)
REGRESSORS = (MLPRegressor, neural_network.MLPRegressor)
TARGETS = {
    "classes": (*CLASSIFIERS, np.array(["c", "a", "b"])[np.argmax(NOISY[:, :3], axis=1)], {}),
    "two classes": (*CLASSIFIERS, (NOISY[:, 0] > 0).astype(int), {}),
    "several labels": (*CLASSIFIERS, (NOISY[:, :4] > 0).astype(int), {}),
    "numbers": (*REGRESSORS, NUMBERS, {}),
    "two numbers": (*REGRESSORS, np.stack([NUMBERS, X[:, 2] ** 2], 1), {}),
    "counts": (*REGRESSORS, COUNTS, {"loss": "poisson"}),
    "two counts": (*REGRESSORS, np.stack([COUNTS, COUNTS[::-1]], 1), {"loss": "poisson"}),
}
SOLVERS = {
    "adam": {"solver": "adam"},
    "adam, other numbers": {"solver": "adam", "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-4, "alpha": 0.1},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.004},
    "sgd, plain": {"solver": "sgd", "momentum": 0.0, "nesterovs_momentum": False, "shuffle": False},
    "sgd, momentum": {"solver": "sgd", "nesterovs_momentum": False, "batch_size": 64},
    "sgd, invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.004},
    "sgd, adaptive": {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "tol": 0.01,
        "n_iter_no_change": 1,
        "learning_rate_init": 0.004,
    },
    "lbfgs": {"solver": "lbfgs"},
}
#: activation, early stopping, weights
WAYS = (("relu", False, None), ("tanh", True, None), ("logistic", False, WEIGHT), ("identity", True, WEIGHT))
COMMON = {"random_state": 1, "max_iter": 20, "hidden_layer_sizes": (9, 5), "batch_size": 40}


def assert_same(ours, theirs, X=X, exact=True):
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    if exact:
        assert np.allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-6, atol=0)
        for name in ("best_loss_", "validation_scores_", "best_validation_score_"):
            mine, yours = getattr(ours, name), getattr(theirs, name)
            assert (mine is None) == (yours is None), name
            assert mine is None or np.allclose(mine, yours, rtol=1e-6, atol=1e-12), name
    tolerance = 1e-6 if exact else 1e-3
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=tolerance)
    for method in ("predict_proba", "predict"):
        if hasattr(theirs, method):
            mine, yours = getattr(ours, method)(X), getattr(theirs, method)(X)
            assert (mine.shape, mine.dtype) == (yours.shape, yours.dtype)
            if mine.dtype.kind == "f":
                assert np.allclose(mine, yours, rtol=0, atol=tolerance * (1 + np.abs(yours).max()))
            else:
                assert np.array_equal(mine, yours)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("target", TARGETS)
def test_fit(target, solver):
    our, their, y, loss = TARGETS[target]
    for activation, early_stopping, weight in WAYS:
        options = (
            COMMON | SOLVERS[solver] | loss | {"activation": activation, "early_stopping": early_stopping}
        )
        ours, theirs = our(**options).fit(X, y, weight), their(**options).fit(X, y, weight)
        assert_same(ours, theirs, exact=solver != "lbfgs")


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("target", ["classes", "two classes", "two numbers", "counts"])
def test_warm_start(target, solver):
    """The second fit goes on from the first: curves, counts of epochs without improvement, examples seen."""
    our, their, y, loss = TARGETS[target]
    options = COMMON | SOLVERS[solver] | loss | {"warm_start": True, "max_iter": 8}
    ours, theirs = our(**options), their(**options)
    for _ in range(3):
        assert_same(ours.fit(X, y), theirs.fit(X, y), exact=solver != "lbfgs")


def test_warm_start_with_early_stopping_ends_with_the_best_weights():
    """scikit-learn trains on in the arrays that it keeps as the best ones: there only the curves are compared."""
    options = COMMON | {"early_stopping": True, "warm_start": True, "validation_fraction": 0.3}
    y = TARGETS["classes"][2]
    ours, theirs = MLPClassifier(**options).fit(X, y), neural_network.MLPClassifier(**options).fit(X, y)
    assert_same(ours, theirs)
    ours.fit(X, y)
    theirs.fit(X, y)
    assert np.allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-6, atol=0)
    assert ours.validation_scores_ == pytest.approx(theirs.validation_scores_)
    assert ours.best_validation_score_ == max(ours.validation_scores_)


@pytest.mark.parametrize("solver", [name for name in SOLVERS if name != "lbfgs"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weights"])
def test_partial_fit(target, solver, weight):
    """On all examples, on some, and one by one; the optimizer's state and the schedule go on."""
    our, their, y, loss = TARGETS[target]
    options = COMMON | SOLVERS[solver] | loss | {"batch_size": "auto"}
    ours, theirs = our(**options), their(**options)
    first = {} if our is MLPRegressor else {"classes": np.arange(4) if y.ndim == 2 else np.unique(y)}
    for rows in (slice(None), slice(0, 60), *(slice(i, i + 1) for i in range(5))):
        w = None if weight is None else weight[rows] + 0.5
        for model in (ours, theirs):
            model.partial_fit(X[rows], y[rows], w, **first)
        first = {}
        assert np.allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-6, atol=0)
    assert_same(ours, theirs)


def test_partial_fit_goes_on_after_fit():
    """With the moments that the fit has left."""
    y = TARGETS["classes"][2]
    ours, theirs = MLPClassifier(**COMMON).fit(X, y), neural_network.MLPClassifier(**COMMON).fit(X, y)
    for _ in range(3):
        assert_same(ours.partial_fit(X, y), theirs.partial_fit(X, y))


def test_random_state_objects_are_drawn_from_alike():
    y = TARGETS["classes"][2]
    states = np.random.RandomState(5), np.random.RandomState(5)
    options = COMMON | {"batch_size": "auto"}
    ours, theirs = (
        kind(**options | {"random_state": s}) for kind, s in zip(CLASSIFIERS, states, strict=True)
    )
    for _ in range(2):
        assert_same(ours.fit(X, y), theirs.fit(X, y))
        assert_same(ours.partial_fit(X[:50], y[:50]), theirs.partial_fit(X[:50], y[:50]))
        ours.partial_fit(X[:1], y[:1])
        theirs.partial_fit(X[:1], y[:1])
    assert states[0].randint(10**9) == states[1].randint(10**9)


@pytest.mark.parametrize("hidden", [(), 7, (7, 6, 5)])
def test_layers(hidden):
    our, their, y, _ = TARGETS["numbers"]
    options = COMMON | {"hidden_layer_sizes": hidden}
    ours, theirs = our(**options).fit(X, y), their(**options).fit(X, y)
    assert_same(ours, theirs)
    for mine, yours in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        assert mine.shape == yours.shape
        assert np.allclose(mine, yours, rtol=0, atol=1e-9)


@pytest.mark.parametrize("target", ["classes", "several labels", "two numbers"])
def test_float32_in_gives_float32_out(target):
    our, their, y, loss = TARGETS[target]
    small = X.astype(np.float32)
    for solver in ("adam", "sgd", "lbfgs"):
        ours = our(**COMMON | loss, solver=solver).fit(small, y)
        theirs = their(**COMMON | loss, solver=solver).fit(small, y)
        assert {W.dtype.name for W in ours.coefs_ + ours.intercepts_} == {"float32"}
        assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-3)
        assert ours.n_iter_ == theirs.n_iter_
        method = "predict" if our is MLPRegressor else "predict_proba"
        assert getattr(ours, method)(small).dtype == np.float32


def test_lbfgs_searches_in_float64_whatever_the_data():
    """From one start: the parameters are rounded to float32 before, between fits and after."""
    our, _, y, _ = TARGETS["numbers"]
    rounded = X.astype(np.float32)
    options = COMMON | {"solver": "lbfgs", "warm_start": True, "activation": "tanh"}
    small, large = our(**options | {"max_iter": 1}), our(**options | {"max_iter": 1})
    small.fit(rounded, y)
    large.fit(rounded.astype(float), y)
    large.coefs_, large.intercepts_ = small.coefs_, small.intercepts_
    y = y.astype(np.float32).astype(float)  # as the network of float32 holds them
    for model, data in ((small, rounded), (large, rounded.astype(float))):
        model.set_params(max_iter=20).fit(data, y)
    assert small.loss_ == pytest.approx(large.loss_, rel=1e-12)
    assert np.array_equal(small.coefs_[0], large.coefs_[0].astype(np.float32))


def test_losses_of_certain_examples_are_capped_alike():
    """Weights so large that probabilities round to 0 and 1."""
    for target in ("classes", "two classes", "several labels"):
        our, their, y, _ = TARGETS[target]
        options = COMMON | {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 1e-9, "max_iter": 1}
        options |= {"warm_start": True, "shuffle": False}
        ours, theirs = our(**options).fit(X, y), their(**options).fit(X, y)
        ours.coefs_ = theirs.coefs_ = [1e4 * W for W in theirs.coefs_]
        assert_same(ours.fit(X, y), theirs.fit(X, y))
        assert ours.loss_ > 5


def test_stops_in_the_same_epoch():
    """At the end of long fits rounding has not yet changed an epoch's count."""
    for target in ("classes", "numbers"):
        our, their, y, _ = TARGETS[target]
        options = {"random_state": 0, "max_iter": 500, "tol": 1e-3, "hidden_layer_sizes": 12}
        ours, theirs = our(**options).fit(X, y), their(**options).fit(X, y)
        assert ours.n_iter_ == theirs.n_iter_ < 500
        assert ours.best_loss_ == pytest.approx(theirs.best_loss_, rel=1e-6)
