"""MLPClassifier: scikit-learn's contract, its draws and results, and what this version refuses."""

import pickle

import numpy as np
import pytest
from conftest import MANY
from sklearn import neural_network
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from schuss import DataError, MLPClassifier, PlanError, TrainingDiverged

X, Y = load_digits(return_X_y=True)
X = X[:400] / 16
Y = Y[:400]
BINARY = np.array(["low", "high"])[(Y > 4).astype(int)]


def fitted(y=Y, data=X, **options):
    with pytest.warns(ConvergenceWarning, match="the loss was still falling"):
        return MLPClassifier(**{"random_state": 0, "max_iter": 15} | options).fit(data, y)


@pytest.mark.filterwarnings("ignore")  # the checks train for too few epochs on purpose
@parametrize_with_checks([MLPClassifier(max_iter=20)])
def test_scikit_learns_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("y", [Y, BINARY], ids=["classes", "binary"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"solver": "sgd"},
        {"solver": "sgd", "nesterovs_momentum": False, "alpha": 0.1, "batch_size": 64},
        {"activation": "logistic", "hidden_layer_sizes": (20, 10)},
        {"activation": "tanh", "shuffle": False, "hidden_layer_sizes": 30},
    ],
)
def test_a_float64_fit_reproduces_scikit_learn(y, options):
    """The same start, shuffles and formulas: equal but for the order of sums, 15 epochs of it."""
    ours = fitted(y, **options)
    with pytest.warns(ConvergenceWarning):
        theirs = neural_network.MLPClassifier(random_state=0, max_iter=15, **options).fit(X, y)
    assert np.allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9, atol=0)
    for mine, yours in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        assert np.allclose(mine, yours, rtol=0, atol=1e-9)
    assert np.allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=0, atol=1e-9)
    assert np.array_equal(ours.predict(X), theirs.predict(X))
    for name in ("n_iter_", "n_layers_", "n_outputs_", "out_activation_", "t_"):
        assert getattr(ours, name) == getattr(theirs, name)


def test_stops_when_the_loss_no_longer_falls():
    ours = MLPClassifier(random_state=0, tol=0.5, n_iter_no_change=2).fit(X, Y)
    theirs = neural_network.MLPClassifier(random_state=0, tol=0.5, n_iter_no_change=2).fit(X, Y)
    assert ours.n_iter_ == theirs.n_iter_ < 50
    assert ours.best_loss_ == pytest.approx(theirs.best_loss_, rel=1e-9)


def test_results_do_not_depend_on_the_plan():
    models = [fitted(plan=plan, n_jobs=MANY) for plan in ("native:1x1", "native:2x1", "native:1x3", "auto")]
    assert [model.plan_ for model in models[:3]] == ["native:1x1", "native:2x1", "native:1x3"]
    assert models[3].plan_.startswith("native:")
    assert len({model.coefs_[0].tobytes() for model in models}) == 1


@pytest.mark.parametrize(
    ("dtype", "precision", "expected"),
    [
        ("float64", "auto", "float64"),
        ("float32", "auto", "float32"),
        ("uint8", "auto", "float32"),
        ("float64", "float32", "float32"),
        ("uint8", "float64", "float64"),
    ],
)
def test_precision(dtype, precision, expected):
    model = fitted(data=(X * 16).astype(dtype), precision=precision)
    assert model.coefs_[0].dtype == model.predict_proba((X * 16).astype(dtype)).dtype == expected


@pytest.mark.parametrize("y", [Y, BINARY], ids=["classes", "binary"])
def test_squared_error(y):
    options = {"loss": "squared_error", "learning_rate_init": 0.01, "batch_size": 50}
    model = fitted(y, max_iter=20, **options)
    assert model.out_activation_ == "logistic"
    assert model.loss_curve_[-1] < model.loss_curve_[0] / 2
    assert np.allclose(model.predict_proba(X).sum(axis=1), 1)
    assert model.score(X, y) > 0.9


def test_history_clone_and_pickle():
    model = fitted()
    assert model.history_["loss"] == model.loss_curve_
    assert len(model.history_["epoch_seconds"]) == model.n_iter_ == 15
    assert not hasattr(clone(model), "network_")
    assert np.array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), model.predict_proba(X))
    with pytest.raises(ValueError, match="read-only"):
        model.coefs_[0][0, 0] = 1
    with pytest.raises(NotFittedError):
        MLPClassifier().predict(X)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_batch_larger_than_the_set_is_clipped():
    with pytest.warns(UserWarning, match="batch_size 500 is larger than the set and clipped to 400"):
        clipped = MLPClassifier(random_state=0, max_iter=5, batch_size=500).fit(X, Y)
    assert np.array_equal(clipped.coefs_[0], fitted(max_iter=5, batch_size=400).coefs_[0])


def test_verbose(capsys):
    fitted(max_iter=2, verbose=True)
    assert capsys.readouterr().out.startswith("Iteration 1, loss = ")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"solver": "lbfgs"}, ValueError, "solver must be 'adam' or 'sgd', got 'lbfgs'"),
        ({"learning_rate": "adaptive"}, ValueError, "learning_rate must be 'constant', got 'adaptive'"),
        ({"early_stopping": True}, ValueError, "early_stopping must be False, got True"),
        ({"warm_start": True}, ValueError, "warm_start must be False, got True"),
        (
            {"hidden_layer_sizes": (5, 0)},
            ValueError,
            "hidden_layer_sizes must be an integer of at least 1, got 0",
        ),
        ({"batch_size": 0}, ValueError, "batch_size must be an integer of at least 1, got 0"),
        ({"max_iter": 0}, ValueError, "max_iter must be an integer of at least 1, got 0"),
        (
            {"learning_rate_init": -1.0},
            ValueError,
            "learning_rate_init must be positive and finite, got -1.0",
        ),
        ({"precision": "half"}, ValueError, "precision must be auto, float32 or float64, got 'half'"),
        ({"n_jobs": 0}, ValueError, "n_jobs must be None or a non-zero integer, got 0"),
        ({"plan": "native:9x9", "n_jobs": 2}, PlanError, "plan native:9x9 needs 81 threads, 2 allowed"),
        (
            {"solver": "sgd", "activation": "identity", "learning_rate_init": 1e30},
            TrainingDiverged,
            "loss became inf in epoch",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_refused(options, error, message):
    with pytest.raises(error) as caught:
        MLPClassifier(**{"random_state": 0, "max_iter": 5} | options).fit(X, Y)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_class_and_unknown_labels_are_refused():
    with pytest.raises(ValueError, match="y must hold at least 2 classes, got 1 class"):
        MLPClassifier().fit(X, np.zeros(len(X), int))
    with pytest.raises(DataError, match="labels known from training"):
        fitted().network_.loss(X, Y + 90)
