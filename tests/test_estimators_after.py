"""What fits leave behind: models after a refusal, minibatches of another size, threads."""

import os
import warnings

import numpy as np
import pytest
from fitting import X, Y
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning

from schuss.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# --- what is refused leaves what was learnt ------------------------------------------------------------------------

REFUSED = {
    "weights": {"sample_weight": np.ones(3)},
    "nan weights": {"sample_weight": np.full(len(X), np.nan)},
    "X_val alone": {"X_val": X},
    "short y": {"y": Y[:9]},
    "no y": {"y": None},
    "wide X with a hole": {"X": np.c_[X, np.full(len(X), np.nan)]},
    "dropout": {"dropout": (0.1, 0.2)},
    "plan": {"plan": "foo"},
    "threads": {"n_jobs": 0},
    "isa": {"isa": "mmx"},
    "lbfgs with dropout": {"solver": "lbfgs", "dropout": 0.5},
    "diverged at once": {"solver": "sgd", "learning_rate_init": 1e300},
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_a_refused_fit_leaves_the_fitted_model(kind, case):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels = np.array(["red", "green", "blue"])[np.arange(len(X)) % 3]
        first = labels if kind is MLPClassifier else X[:, 0]
        model = kind(max_iter=5, random_state=0).fit(X, first)
        before, attributes = model.predict(X), set(model.__dict__)
        asked = dict(REFUSED[case])
        parameters = {name: asked.pop(name) for name in list(asked) if name in model.get_params()}
        kept = {name: model.get_params()[name] for name in parameters}
        data = {"X": X, "y": Y if kind is MLPClassifier else np.c_[X[:, 1], X[:, 0]]} | asked
        model.set_params(**parameters)
        with np.errstate(all="ignore"), pytest.raises((ValueError, TypeError)):
            model.fit(data.pop("X"), data.pop("y"), **data)
        model.set_params(**kept)
    np.testing.assert_array_equal(model.predict(X), before)
    assert set(model.__dict__) == attributes


def test_batch_size_may_change_between_calls_of_partial_fit():
    theirs, ours = (
        kind(random_state=0, batch_size=20, shuffle=False)
        for kind in (neural_network.MLPClassifier, MLPClassifier)
    )
    for size in (20, 5, 40, 8, 20):
        for model in (theirs, ours):
            model.set_params(batch_size=size).partial_fit(X[:40], Y[:40], classes=np.unique(Y))
        assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-9)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted by Linux's /proc")
def test_models_in_memory_hold_no_threads():
    rng = np.random.default_rng(0)
    wide, labels = rng.standard_normal((400, 200)), np.arange(400) % 2
    models, before = [], len(os.listdir("/proc/self/task"))
    for seed in range(12):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = MLPClassifier((300,), max_iter=1, n_jobs=3, plan="native:3x1", random_state=seed)
            models.append(model.fit(wide, labels))
    assert len(os.listdir("/proc/self/task")) == before
    for model in models:
        model.predict(np.resize(wide, (4000, 200)))
    assert len(os.listdir("/proc/self/task")) <= before + 2 * 8
    assert models[0].partial_fit(wide, labels).n_iter_ == 1
