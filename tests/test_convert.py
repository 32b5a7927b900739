"""From scikit-learn's estimators and back: the same predictions, and both go on training."""

import numpy as np
import pytest
from sklearn import neural_network
from sklearn.exceptions import NotFittedError

from schuss.estimators import MLPClassifier, MLPRegressor
from schuss.schedules import Cosine

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(120, 6))
KINDS = np.array(["ham", "jam", "spam"])[np.argmax(X[:, :3], axis=1)]
NUMBERS = np.abs(X @ RANDOM.normal(size=(6, 2)))
TARGETS = {
    "classes": KINDS,
    "two": (KINDS == "ham") * 3 + 1,
    "labels": (X[:, :4] > 0).astype(int),
    "number": NUMBERS[:, 0],
    "numbers": NUMBERS,
}
OPTIONS = [
    {},
    {"solver": "sgd", "learning_rate": "adaptive", "activation": "tanh"},
    {"solver": "lbfgs", "activation": "logistic"},
    {"early_stopping": True, "hidden_layer_sizes": (9, 5)},
]

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def kinds(target):
    name = "MLPRegressor" if target.startswith("number") else "MLPClassifier"
    return getattr(neural_network, name), {"MLPRegressor": MLPRegressor, "MLPClassifier": MLPClassifier}[name]


def options(**more):
    return {"hidden_layer_sizes": (8,), "max_iter": 8, "random_state": 0} | more


def equal(ours, theirs, data=X, tolerance=1e-10):
    """Predictions and what was learnt; labels are the same ones, numbers close."""
    methods = ["predict_proba"] if hasattr(theirs, "classes_") else ["predict"]
    for method in methods:
        got, wanted = getattr(ours, method)(data), getattr(theirs, method)(data)
        assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
        assert np.allclose(got, wanted, rtol=tolerance, atol=tolerance)
    if hasattr(theirs, "classes_"):
        assert np.array_equal(ours.classes_, theirs.classes_)
        assert np.array_equal(ours.predict(data), theirs.predict(data))
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name)
    for name in ("loss_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_"):
        got, wanted = getattr(ours, name, None), getattr(theirs, name, None)
        if wanted is not None:
            assert np.allclose(got, wanted, rtol=10 * tolerance, atol=0)


@pytest.mark.parametrize("given", OPTIONS, ids=str)
@pytest.mark.parametrize("target", TARGETS)
def test_from_scikit_learn(target, given):
    their_kind, our_kind = kinds(target)
    theirs = their_kind(**options(**given)).fit(X, TARGETS[target])
    ours = our_kind.from_sklearn(theirs)
    assert type(ours) is our_kind
    equal(ours, theirs)
    assert ours.get_params().items() >= theirs.get_params().items()
    for mine, yours in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        assert np.array_equal(mine, yours)


@pytest.mark.parametrize("given", OPTIONS, ids=str)
@pytest.mark.parametrize("target", TARGETS)
def test_to_scikit_learn(target, given):
    their_kind, our_kind = kinds(target)
    ours = our_kind(**options(**given)).fit(X, TARGETS[target])
    theirs = ours.to_sklearn()
    assert type(theirs) is their_kind
    equal(ours, theirs)
    assert theirs.score(X, TARGETS[target]) == pytest.approx(ours.score(X, TARGETS[target]))
    assert hasattr(theirs, "loss_curve_") == (ours.solver != "lbfgs")


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("target", TARGETS)
def test_both_go_on_alike(target, solver):
    """Both start the optimizer anew, so that ten more epochs lead to the same place."""
    their_kind, our_kind = kinds(target)
    y = TARGETS[target]
    theirs = their_kind(**options(solver=solver, warm_start=True, learning_rate_init=0.01)).fit(X, y)
    ours = our_kind.from_sklearn(theirs)
    again = ours.to_sklearn()
    before = ours.predict(X)
    ours.fit(X, y)
    again.fit(X, y)
    equal(ours, again, tolerance=1e-8)
    assert len(again.loss_curve_) == 16
    assert again.coefs_[0] is not theirs.coefs_[0]
    assert hasattr(theirs, "classes_") or not np.array_equal(before, ours.predict(X))


@pytest.mark.parametrize("target", TARGETS)
def test_both_go_on_in_steps(target):
    their_kind, our_kind = kinds(target)
    y = TARGETS[target]
    ours = our_kind.from_sklearn(their_kind(**options(shuffle=False)).fit(X, y))
    theirs = ours.to_sklearn()
    for rows in (slice(0, 50), slice(50, 51), slice(51, 120)):
        ours.partial_fit(X[rows], y[rows])
        theirs.partial_fit(X[rows], y[rows])
        equal(ours, theirs, tolerance=1e-8)


def test_poisson():
    theirs = neural_network.MLPRegressor("poisson", **options()).fit(X, NUMBERS)
    ours = MLPRegressor.from_sklearn(theirs)
    equal(ours, theirs)
    equal(ours, ours.to_sklearn())


def test_float32_stays():
    data = X.astype(np.float32)
    theirs = neural_network.MLPClassifier(**options()).fit(data, KINDS)
    ours = MLPClassifier.from_sklearn(theirs)
    assert ours.coefs_[0].dtype == np.float32
    equal(ours, theirs, data, tolerance=1e-5)
    assert ours.to_sklearn().coefs_[0].dtype == np.float32


def test_names_of_features():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcdef"))
    ours = MLPClassifier.from_sklearn(neural_network.MLPClassifier(**options()).fit(frame, KINDS))
    assert ours.feature_names_in_.tolist() == list("abcdef")
    with pytest.raises(ValueError, match="feature names"):
        ours.predict(frame[list("fedcba")])
    assert ours.to_sklearn().feature_names_in_.tolist() == list("abcdef")


@pytest.mark.parametrize("early_stopping", [False, True])
def test_what_was_converted_is_not_changed(early_stopping):
    given = options(warm_start=True, early_stopping=early_stopping)
    theirs = neural_network.MLPClassifier(**given).fit(X, KINDS)
    ours = MLPClassifier.from_sklearn(theirs)
    again = ours.to_sklearn()
    models = [theirs, ours, again]
    for at, model in enumerate(models):
        others = models[:at] + models[at + 1 :]
        before = [learnt(other) for other in others]
        model.fit(X, KINDS)
        assert [learnt(other) for other in others] == before
        assert len(model.loss_curve_) == 16
        assert len(model.validation_scores_ or ()) == 16 * early_stopping


def learnt(model):
    weights = [W.tolist() for W in model.coefs_ + model.intercepts_]
    return weights, list(model.loss_curve_), list(model.validation_scores_ or ())


def test_how_it_is_computed_is_left_behind():
    ours = MLPClassifier(**options(plan="native:1x1", n_jobs=1, precision="float64", activation=["relu"]))
    equal(ours.fit(X, KINDS), ours.to_sklearn())
    assert ours.to_sklearn().activation == "relu"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"activation": "gelu"}, "activation='gelu'"),
        ({"activation": ["relu", "tanh"], "hidden_layer_sizes": (3, 3)}, "activation=['relu', 'tanh']"),
        ({"loss": "hinge"}, "loss='hinge'"),
        ({"solver": "adamw"}, "solver='adamw'"),
        ({"learning_rate": "cosine"}, "learning_rate='cosine'"),
        ({"learning_rate": Cosine()}, "learning_rate=Cosine(floor=0.0)"),
        ({"dropout": 0.1, "class_weight": "balanced"}, "class_weight='balanced', dropout=0.1"),
        ({"weight_decay": 0.1}, "weight_decay=0.1"),
        ({"clip_norm": 1.0}, "clip_norm=1.0"),
        ({"label_smoothing": 0.1}, "label_smoothing=0.1"),
    ],
    ids=str,
)
def test_what_scikit_learn_lacks_is_named(given, named):
    ours = MLPClassifier(**options(**given)).fit(X, KINDS)
    with pytest.raises(ValueError, match="cannot be converted") as caught:
        ours.to_sklearn()
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in named.split(", ")) if "[" not in named else named in message


def test_losses_for_numbers_that_scikit_learn_lacks():
    ours = MLPRegressor("huber", **options()).fit(X, NUMBERS)
    with pytest.raises(ValueError, match="MLPRegressor has no loss='huber'"):
        ours.to_sklearn()


def test_only_what_is_fitted_and_of_the_kind():
    with pytest.raises(NotFittedError):
        MLPClassifier.from_sklearn(neural_network.MLPClassifier())
    with pytest.raises(NotFittedError):
        MLPClassifier().to_sklearn()
    wrong = neural_network.MLPRegressor(**options()).fit(X, NUMBERS)
    with pytest.raises(TypeError, match=r"must be a sklearn.neural_network.MLPClassifier, got MLPRegressor"):
        MLPClassifier.from_sklearn(wrong)


class Derived(MLPClassifier):
    pass


class DerivedRegressor(MLPRegressor):
    pass


class Narrowed(MLPClassifier):
    """One that decides on all but one parameter itself."""

    def __init__(self, max_iter=5):
        super().__init__(hidden_layer_sizes=(3,), max_iter=max_iter, random_state=0)


@pytest.mark.parametrize(
    ("kind", "name", "y"),
    [(Derived, "MLPClassifier", KINDS), (DerivedRegressor, "MLPRegressor", NUMBERS)],
)
def test_derived_classes(kind, name, y):
    theirs = getattr(neural_network, name)(**options()).fit(X, y)
    ours = kind.from_sklearn(theirs)
    assert type(ours) is kind
    equal(ours, theirs)
    equal(ours, ours.to_sklearn())
    other = neural_network.MLPRegressor if name == "MLPClassifier" else neural_network.MLPClassifier
    with pytest.raises(TypeError, match=rf"must be a sklearn.neural_network.{name}, got {other.__name__}"):
        kind.from_sklearn(other())


def test_derived_classes_with_fewer_parameters():
    with pytest.raises(TypeError, match="Narrowed must take the parameters of MLPClassifier: ") as caught:
        Narrowed.from_sklearn(neural_network.MLPClassifier(**options()).fit(X, KINDS))
    assert "\n" not in str(caught.value)
    with pytest.raises(
        TypeError, match=r"Narrowed must have the parameters of MLPClassifier .* lacks "
    ) as caught:
        Narrowed().fit(X, KINDS).to_sklearn()
    assert "activation" in str(caught.value)
    assert "\n" not in str(caught.value)
