"""The estimators' contract: scikit-learn's checks, attributes, labels, weights read and assigned, errors."""

import copy
import doctest
import pickle
import warnings

import joblib
import numpy as np
import pytest
import scipy.sparse
from conftest import MANY
from fitting import BINARY, LABELS, NUMBERS, X, Y, fitted, quietly, regressor_fitted
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from schuss import DataError, PlanError, TrainingDiverged
from schuss.estimators import MLPClassifier, MLPRegressor, classifier, regressor
from schuss.plan import Plan, allowed_threads


def test_too_few_epochs_are_said():
    with pytest.warns(ConvergenceWarning, match=r"max_iter=5 epochs were trained and"):
        MLPClassifier(max_iter=5).fit(X, Y)
    with pytest.warns(ConvergenceWarning, match=r"lbfgs stopped before it converged, after 5 iterations"):
        MLPRegressor(max_iter=5, solver="lbfgs").fit(X, NUMBERS)
    for as_planned in ({"learning_rate": "cosine"}, {"n_iter_no_change": np.inf}):
        MLPClassifier(max_iter=5, **as_planned).fit(X, Y)


def test_representation_links_to_the_documentation_that_the_package_names(monkeypatch):
    from email.message import Message

    from schuss.estimators import base

    named = Message()
    named["Project-URL"] = "Documentation, https://example.org/docs/"
    assert "example.org" not in MLPClassifier()._repr_html_()
    monkeypatch.setattr(base, "metadata", lambda _: named)
    assert 'href="https://example.org/docs/guide/first-steps.md"' in MLPClassifier()._repr_html_()


# --- scikit-learn's contract --------------------------------------------------------------------------------------


# None is expected to fail. Those that a parameter makes impossible are not run with it: the checks call partial_fit
# with early_stopping, train poisson on negative targets, and want few epochs of hinge and quantile to go far.
@pytest.mark.filterwarnings("ignore")  # the checks train for too few epochs on purpose
@parametrize_with_checks(
    [
        MLPClassifier(max_iter=20),
        MLPRegressor(max_iter=20),
        MLPClassifier(max_iter=40, solver="lbfgs"),
        MLPRegressor(max_iter=40, solver="lbfgs"),
    ]
)
def test_scikit_learns_contract(estimator, check):
    check(estimator)


def test_tags():
    tags = get_tags(MLPClassifier())
    assert tags.input_tags.sparse
    assert tags.classifier_tags.multi_label
    tags = get_tags(MLPRegressor())
    assert tags.input_tags.sparse
    assert tags.target_tags.multi_output
    assert not tags.target_tags.positive_only
    assert get_tags(MLPRegressor("gamma")).target_tags.positive_only


@quietly
@pytest.mark.parametrize("module", [classifier, regressor])
def test_examples_of_the_documentation(module):
    assert doctest.testmod(module).attempted >= 4
    assert doctest.testmod(module).failed == 0


def test_parameters_are_scikit_learns_and_more():
    from sklearn import neural_network

    for ours, theirs in (
        (MLPClassifier, neural_network.MLPClassifier),
        (MLPRegressor, neural_network.MLPRegressor),
    ):
        mine, yours = ours().get_params(), theirs().get_params()
        assert list(yours.items()) == [(name, mine[name]) for name in yours]
    assert MLPRegressor("huber", (3,), "tanh").get_params()["loss"] == "huber"


# --- attributes ---------------------------------------------------------------------------------------------------


def test_history_clone_and_pickle():
    model = fitted()
    assert model.history_["loss"] == model.loss_curve_
    assert model.loss_ == model.loss_curve_[-1]
    assert len(model.history_["epoch_seconds"]) == model.n_iter_ == 15
    assert set(model.history_["learning_rate"]) == {0.001}
    assert not hasattr(clone(model), "network_")
    for copied in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert np.array_equal(copied.predict_proba(X), model.predict_proba(X))
        assert copied.loss_curve_ == model.loss_curve_


def test_what_is_not_fitted_has_no_fitted_attributes():
    model = MLPClassifier()
    for name in ("coefs_", "intercepts_", "n_layers_", "loss_curve_", "history_", "classes_", "network_"):
        assert not hasattr(model, name)
    with pytest.raises(NotFittedError, match="This MLPClassifier instance is not fitted yet"):
        model.predict(X)
    with pytest.raises(NotFittedError):
        model.save("nowhere.safetensors")


def test_coefs_are_read_from_the_network_and_cannot_be_written_into():
    model = fitted(hidden_layer_sizes=(8,))
    weights = model.coefs_
    assert isinstance(weights, list)
    assert [W.shape for W in weights + model.intercepts_] == [(64, 8), (8, 10), (8,), (10,)]
    with pytest.raises(ValueError, match="read-only"):
        weights[0][0, 0] = 1
    before = weights[0].copy()
    model.partial_fit(X, Y)
    assert np.array_equal(weights[0], before)
    assert not np.array_equal(model.coefs_[0], before)
    for refused in (weights.append, weights.extend, weights.remove):
        with pytest.raises(TypeError, match=r"coefs_ has one array a layer: assign to coefs_\[i\]"):
            refused(before)
    with pytest.raises(TypeError, match="coefs_ has one array a layer"):
        del weights[0]


def test_assigned_coefs_count_from_the_next_call_on():
    model, other = fitted(hidden_layer_sizes=(8,)), fitted(hidden_layer_sizes=(8,), random_state=1)
    held = model.coefs_
    for layer, W in enumerate(other.coefs_):
        held[layer] = W
        assert np.array_equal(held[layer], W)
        with pytest.raises(ValueError, match="read-only"):
            held[layer][0, 0] = 1
    model.intercepts_ = [b.tolist() for b in other.intercepts_]
    assert np.array_equal(model.predict_proba(X), other.predict_proba(X))
    for each in (model, other):
        each._training = None  # the optimizers' states differ
        each.set_params(shuffle=False).partial_fit(X, Y)
    assert np.array_equal(model.coefs_[0], other.coefs_[0])
    model.coefs_ = [np.zeros_like(W) for W in model.coefs_]
    model.partial_fit(X[:1], Y[:1])
    assert np.abs(model.coefs_[0]).max() < 0.01


def test_coefs_are_checked():
    model = fitted(hidden_layer_sizes=(8,))
    before = model.coefs_[0].copy()
    for index, W, message in (
        (0, np.zeros((8, 64)), r"coefs_\[0\] must have shape \(64, 8\), got \(8, 64\)"),
        (1, np.full((8, 10), np.nan), r"coefs_\[1\] must be finite, got nan"),
    ):
        with pytest.raises(ValueError, match=message):
            model.coefs_[index] = W
    with pytest.raises(ValueError, match="intercepts_ must hold 2 arrays, one a layer, got 1"):
        model.intercepts_ = [np.zeros(8)]
    with pytest.raises(IndexError):
        model.coefs_[2] = before
    assert np.array_equal(model.coefs_[0], before)


def test_coefs_copy_and_pickle_as_plain_lists():
    model = fitted(hidden_layer_sizes=(8,))
    for copied in (
        pickle.loads(pickle.dumps(model.coefs_)),
        copy.deepcopy(model.coefs_),
        copy.copy(model.coefs_),
        model.coefs_.copy(),
    ):
        assert type(copied) is list
        assert all(np.array_equal(*pair) for pair in zip(copied, model.coefs_, strict=True))


def test_fitted_state_restores():
    for model in (fitted(early_stopping=True), regressor_fitted(), fitted(LABELS)):
        again = clone(model)
        again._restore(model._fitted_state(), copy.deepcopy(model.network_))
        assert np.array_equal(again.predict(X), model.predict(X))
        assert again.loss_curve_ == model.loss_curve_
        assert again.best_validation_score_ == model.best_validation_score_
        assert again.n_features_in_ == 64
        again.set_params(early_stopping=False).partial_fit(
            X, LABELS if again.n_outputs_ == 3 else again.predict(X)
        )
        assert again.t_ > model.t_


# --- precision, plans, inputs -------------------------------------------------------------------------------------


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
        ("int32", "auto", "float64"),
        ("float64", "float32", "float32"),
        ("uint8", "float64", "float64"),
    ],
)
def test_precision(dtype, precision, expected):
    model = fitted(data=(X * 16).astype(dtype), precision=precision)
    assert model.coefs_[0].dtype == model.predict_proba((X * 16).astype(dtype)).dtype == expected


def test_compressed_rows():
    dense, sparse = fitted(early_stopping=True), fitted(data=scipy.sparse.csc_matrix(X), early_stopping=True)
    assert np.allclose(sparse.loss_curve_, dense.loss_curve_, rtol=1e-9)
    assert np.allclose(sparse.predict_proba(scipy.sparse.coo_matrix(X)), dense.predict_proba(X))
    with pytest.warns(ConvergenceWarning):
        MLPRegressor(solver="lbfgs", max_iter=3).fit(scipy.sparse.csr_matrix(X), NUMBERS)


# --- scikit-learn's tools -----------------------------------------------------------------------------------------


@quietly
def test_search_in_processes():
    search = GridSearchCV(
        MLPClassifier(random_state=0, max_iter=15),
        {"alpha": [1e-4, 1.0], "dropout": [0.0, 0.3]},
        cv=2,
        n_jobs=2,
    )
    with joblib.parallel_config("threading"):
        search.fit(X, Y)
    assert search.best_estimator_.score(X, Y) > 0.7


@quietly
def test_tools_of_scikit_learn():
    model = MLPClassifier(random_state=0, max_iter=15).fit(X, Y)
    calibrated = CalibratedClassifierCV(MLPClassifier(loss="hinge", random_state=0, max_iter=15), cv=2).fit(
        X, BINARY
    )
    assert calibrated.predict_proba(X).shape == (400, 2)
    assert permutation_importance(model, X, Y, n_repeats=1, random_state=0).importances.shape == (64, 1)
    assert partial_dependence(model, X, [3], grid_resolution=4)["average"].shape[0] == 10
    assert cross_val_score(MLPRegressor(max_iter=5), X, NUMBERS, cv=2).shape == (2,)
    assert MultiOutputRegressor(MLPRegressor(max_iter=5)).fit(X, np.stack([NUMBERS] * 2, 1)).predict(
        X
    ).shape == (400, 2)


@quietly
def test_metadata_is_routed_and_the_validation_set_transformed():
    import sklearn

    with sklearn.config_context(enable_metadata_routing=True):
        model = MLPClassifier(random_state=0, max_iter=8).set_fit_request(
            X_val=True, y_val=True, sample_weight=True
        )
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipe = make_pipeline(scaler, model, transform_input=["X_val"])
        pipe.fit(X[:300] * 50, Y[:300], sample_weight=np.ones(300), X_val=X[300:] * 50, y_val=Y[300:])
        assert pipe[-1].validation_scores_[-1] > 0.4
        scaled = pipe[0].transform(X[300:] * 50)
        assert max(pipe[-1].validation_scores_) == pipe[-1].score(scaled, Y[300:])


def test_repr_in_a_notebook():
    text = MLPClassifier(loss="focal")._repr_html_()
    assert "focal" in text
    assert "scikit-learn.org/" + "stable/modules/generated/schuss" not in text


def test_verbose(capsys):
    fitted(max_iter=2, verbose=True)
    assert capsys.readouterr().out.startswith("Iteration 1, loss = ")


# --- errors -------------------------------------------------------------------------------------------------------


REFUSED = [
    ({"solver": "newton"}, ValueError, "The 'solver' parameter of MLPClassifier must be"),
    ({"learning_rate": "fast"}, ValueError, "The 'learning_rate' parameter of MLPClassifier must be"),
    (
        {"hidden_layer_sizes": (5, 0)},
        ValueError,
        "hidden_layer_sizes must be an integer of at least 1, got 0",
    ),
    ({"batch_size": 0}, ValueError, "The 'batch_size' parameter"),
    ({"max_iter": 0}, ValueError, "The 'max_iter' parameter"),
    ({"learning_rate_init": -1.0}, ValueError, "The 'learning_rate_init' parameter"),
    ({"precision": "half"}, ValueError, "The 'precision' parameter"),
    ({"loss": "poisson"}, ValueError, "The 'loss' parameter"),
    ({"dropout": 1.0}, ValueError, "The 'dropout' parameter"),
    (
        {"dropout": [0.5, 0.5]},
        ValueError,
        "dropout must be in [0, 1), one number or one for each of the 1 hidden",
    ),
    ({"clip_norm": 0.0}, ValueError, "The 'clip_norm' parameter"),
    ({"class_weight": {"no": 1}}, ValueError, "class_weight must name labels among"),
    ({"class_weight": "even"}, ValueError, "The 'class_weight' parameter"),
    ({"label_smoothing": 0.1, "loss": "hinge"}, ValueError, "label_smoothing must be 0 with hinge"),
    ({"n_jobs": 0}, ValueError, "n_jobs must be None or a non-zero integer, got 0"),
    ({"plan": "native:9x9", "n_jobs": 2}, PlanError, "plan native:9x9 needs 81 threads, 2 allowed"),
    ({"isa": "mmx"}, PlanError, "mmx"),
    ({"dropout": 0.5, "solver": "lbfgs"}, ValueError, "dropout must be 0 with lbfgs"),
    (
        {"clip_norm": 1.0, "solver": "lbfgs"},
        ValueError,
        "clip_norm must be None with lbfgs, which takes no steps, got 1.0",
    ),
    (
        {"weight_decay": 0.1, "solver": "lbfgs"},
        ValueError,
        "weight_decay must be None with lbfgs, which takes no steps, got 0.1",
    ),
    (
        {"solver": "sgd", "activation": "identity", "learning_rate_init": 1e30},
        TrainingDiverged,
        "loss became ",
    ),
]


@pytest.mark.parametrize(("options", "error", "message"), REFUSED, ids=lambda value: str(value)[:40])
@quietly
def test_refused(options, error, message):
    with pytest.raises(error) as caught:
        MLPClassifier(**{"random_state": 0, "max_iter": 5} | options).fit(X, Y)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@quietly
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"sample_weight": np.ones(399)},
            "sample_weight must have 400 entries, one an example, got shape (399,)",
        ),
        ({"sample_weight": -np.ones(400)}, "sample_weight must be >= 0 and finite, got -1.0"),
        ({"sample_weight": np.zeros(400)}, "sample_weight must not be zero for every example"),
        ({"sample_weight": ["a"] * 400}, "sample_weight must hold numbers, got list"),
        ({"X_val": X}, "X_val and y_val must be given together"),
        ({"sample_weight_val": np.ones(4)}, "sample_weight_val needs X_val and y_val"),
        ({"X_val": X[:, :3], "y_val": Y}, "X_val"),
        ({"X_val": X, "y_val": Y + 90}, "y_val must hold labels known from training"),
        ({"X_val": X, "y_val": Y[:-1]}, "y_val must have 400 entries"),
        ({"X_val": X[:3], "y_val": Y[:3], "sample_weight_val": [1]}, "sample_weight_val must have 3 entries"),
        ({"y": np.linspace(0, 1, 400)}, "Unknown label type"),
        ({"y": np.arange(800).reshape(400, 2) % 7}, "y must be labels, or a matrix of 0 and 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refused_data(arguments, message):
    arguments = {"y": Y} | arguments
    with pytest.raises(ValueError) as caught:  # noqa: PT011  compared below
        MLPClassifier(max_iter=2).fit(X, **arguments)
    assert message in str(caught.value)


def test_refused_numbers():
    with pytest.raises(DataError, match="y must be >= 0 for poisson, got -"):
        MLPRegressor("poisson").fit(X, NUMBERS)
    with pytest.raises(ValueError, match=r"MLPRegressor requires y to be passed, but the target y is None"):
        MLPRegressor().fit(X, None)
    with pytest.raises(ValueError, match="X_val needs a solver with epochs"):
        MLPRegressor(solver="lbfgs").fit(X, NUMBERS, X_val=X, y_val=NUMBERS)


def test_processes_of_a_search_share_the_cores():
    """Each of two processes trains on its half of the threads, though a step would be worth more."""
    rng = np.random.default_rng(0)
    wide, labels = rng.standard_normal((2000, 200)), np.arange(2000) % 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a process that joblib starts anew has filters of its own
        alone = MLPClassifier(max_iter=1).fit(wide, labels)
        found = cross_validate(MLPClassifier(max_iter=1), wide, labels, cv=4, n_jobs=2, return_estimator=True)
    used = [Plan.parse(model.plan_, MANY).threads for model in found["estimator"]]
    cores = joblib.cpu_count()
    assert Plan.parse(alone.plan_, MANY).threads == min(allowed_threads(), cores)
    assert max(used) <= max(1, cores // 2)
