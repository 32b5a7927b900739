"""How the estimators train: weights, validation, schedules, dropout, clipping, going on, interrupts, callbacks."""

import copy
import os
import pickle
import warnings

import numpy as np
import pytest
from conftest import MANY, Child
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, d2_pinball_score, r2_score

from schuss import TrainingDiverged
from schuss.engine import CpuEngine
from schuss.estimators import MLPClassifier, MLPRegressor, scores
from schuss.schedules import Cosine, WarmUp

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_digits(return_X_y=True)
X, Y = X[:400] / 16, Y[:400]
NUMBERS = X @ np.random.default_rng(0).standard_normal(64)
LABELS = np.stack([Y % 2 == 0, Y > 4], axis=1).astype(int)
WHOLE = np.random.default_rng(1).integers(0, 4, 400)  # weights: how often each row counts
TARGETS = {
    "classes": (MLPClassifier, Y),
    "binary": (MLPClassifier, Y > 4),
    "numbers": (MLPRegressor, NUMBERS),
}


def fitted(kind=MLPClassifier, y=Y, weight=None, data=X, validation=None, **options):
    X_val, y_val, *rest = validation or (None, None)
    model = kind(**{"random_state": 0, "max_iter": 12, "hidden_layer_sizes": 20} | options)
    return model.fit(data, y, weight, X_val=X_val, y_val=y_val, sample_weight_val=rest[0] if rest else None)


def bits(model):
    return model.network_.parameters.tobytes()


# --- weights ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "sgd", "adamw", "lbfgs"])
@pytest.mark.parametrize("target", TARGETS)
def test_weights_of_one_are_none(target, solver):
    kind, y = TARGETS[target]
    options = {"kind": kind, "y": y, "solver": solver}
    assert bits(fitted(weight=np.ones(400), **options)) == bits(fitted(**options))
    if solver != "lbfgs":
        options["early_stopping"] = True
        assert bits(fitted(weight=np.ones(400), **options)) == bits(fitted(**options))


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
@pytest.mark.parametrize("target", TARGETS)
def test_weights_stand_for_repeated_and_absent_rows(target, solver):
    kind, y = TARGETS[target]
    options = {"kind": kind, "solver": solver, "alpha": 0.5, "learning_rate_init": 0.05}
    weighted = fitted(y=y, weight=WHOLE, batch_size=400, **options)
    rows = np.repeat(np.arange(400), WHOLE)
    repeated = fitted(y=y[rows], data=X[rows], batch_size=len(rows), **options)
    assert weighted.loss_ == pytest.approx(repeated.loss_, rel=1e-8)
    for mine, yours in zip(weighted.coefs_, repeated.coefs_, strict=True):
        assert np.allclose(mine, yours, rtol=0, atol=1e-7)
    assert not np.allclose(weighted.coefs_[0], fitted(y=y, batch_size=400, **options).coefs_[0], atol=1e-3)


def test_the_scale_of_weights_does_not_matter_without_a_penalty():
    once, thrice = (fitted(weight=scale * (WHOLE + 1.0), alpha=0.0) for scale in (1, 4))
    assert np.array_equal(once.coefs_[0], thrice.coefs_[0])  # a power of two


def test_weights_count_in_the_validation_scores():
    model = fitted(weight=WHOLE, early_stopping=True, validation=(X, Y, WHOLE))
    assert model.best_validation_score_ == pytest.approx(model.score(X, Y, WHOLE))
    assert model.best_validation_score_ != model.score(X, Y)
    with pytest.raises(
        ValueError, match="sample_weight must not be zero for all examples of the training or"
    ):
        fitted(weight=(np.arange(400) == 3) * 1.0, early_stopping=True)


def test_class_weight():
    uneven = np.concatenate([np.flatnonzero(Y != 1), np.flatnonzero(Y == 1)[:5]])
    data, y = X[uneven], Y[uneven]
    balanced = fitted(data=data, y=y, class_weight="balanced")
    counts = np.bincount(y)
    assert balanced.class_weight_ == pytest.approx(len(y) / (10 * counts))
    assert bits(fitted(data=data, y=y, weight=balanced.class_weight_[y])) == bits(balanced)
    by_name = fitted(data=data, y=y, class_weight=dict(enumerate(balanced.class_weight_)))
    assert bits(by_name) == bits(balanced)
    some = fitted(data=data, y=y, class_weight={1: 10.0})
    assert some.class_weight_.tolist() == [1, 10, *[1] * 8]
    own = fitted(data=data, y=y, class_weight="balanced", weight=WHOLE[: len(y)])
    assert np.bincount(y, WHOLE[: len(y)] * own.class_weight_[y]) == pytest.approx(WHOLE[: len(y)].sum() / 10)


def test_class_weight_of_several_labels():
    weights = [{0: 1.0, 1: 3.0}, {0: 2.0, 1: 1.0}]
    own = np.where(LABELS[:, 0], 3.0, 1.0) * np.where(LABELS[:, 1], 1.0, 2.0)
    assert bits(fitted(y=LABELS, class_weight=weights)) == bits(fitted(y=LABELS, weight=own))


def test_class_weight_online():
    model = MLPClassifier(random_state=0, class_weight={3: 5.0}).partial_fit(X, Y, classes=range(10))
    other = MLPClassifier(random_state=0).partial_fit(X, Y, np.where(Y == 3, 5.0, 1.0), classes=range(10))
    assert bits(model.partial_fit(X[:1], Y[:1])) == bits(other.partial_fit(X[:1], Y[:1]))
    with pytest.raises(ValueError, match="class_weight must be a dict or None in partial_fit"):
        MLPClassifier(class_weight="balanced").partial_fit(X, Y, classes=range(10))


# --- validation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_own_validation_set(target):
    kind, y = TARGETS[target]
    model = fitted(kind=kind, y=y[:300], data=X[:300], validation=(X[300:], y[300:]), learning_rate_init=0.02)
    assert len(model.validation_scores_) == model.n_iter_ == len(model.history_["validation_loss"])
    assert model.history_["validation_score"] == model.validation_scores_
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.score(X[300:], y[300:]) == pytest.approx(model.best_validation_score_)
    assert model.best_loss_ == min(model.loss_curve_)  # it is the loss that decides the end
    alone = fitted(kind=kind, y=y[:300], data=X[:300], learning_rate_init=0.02)
    assert model.loss_curve_ == alone.loss_curve_
    lowest = model.network_.loss(X[300:], y[300:].astype(float) if kind is MLPRegressor else y[300:])
    assert lowest == pytest.approx(
        model.history_["validation_loss"][int(np.argmax(model.validation_scores_))], rel=1e-9
    )


def test_own_validation_set_decides_the_end():
    worse = np.random.default_rng(0).permutation(Y)
    options = {"max_iter": 100, "n_iter_no_change": 3, "validation": (X, worse)}
    model = fitted(early_stopping=True, **options)
    assert model.n_iter_ < 50
    assert model.best_loss_ is None
    assert model.t_ == 400 * model.n_iter_  # nothing was set aside
    assert model.score(X, worse) == model.best_validation_score_ == max(model.validation_scores_)
    assert fitted(**options).n_iter_ > model.n_iter_


def test_scores_are_scikit_learns():
    rng = np.random.default_rng(0)
    y, predicted, weight = rng.standard_normal((30, 2)), rng.standard_normal((30, 2)), rng.uniform(size=30)
    y[:, 1] = 2.0
    for w in (None, weight):
        assert scores.r2(y, w)(predicted) == pytest.approx(r2_score(y, predicted, sample_weight=w))
        assert scores.r2(y, w)(y) == 1
        numbers, guessed = (y > 0).argmax(1), (predicted > 0).argmax(1)
        assert scores.accuracy(numbers, w)(guessed) == accuracy_score(numbers, guessed, sample_weight=w)
        assert scores.accuracy(y > 0, w)(predicted > 0) == accuracy_score(
            y > 0, predicted > 0, sample_weight=w
        )
        levels = (0.2, 0.7)
        twice = np.repeat(y[:, :1], 2, axis=1)
        both = [
            d2_pinball_score(y[:, 0], column, alpha=level, sample_weight=w)
            for column, level in zip(predicted.T, levels, strict=True)
        ]
        assert scores.d2_pinball(twice, levels, w)(predicted) == pytest.approx(np.mean(both), rel=1e-2)
    assert np.isnan(scores.r2(y, None)(np.full((30, 2), np.inf)))


@pytest.mark.parametrize("loss", ["quantile", "huber", "absolute_error"])
def test_early_stopping_of_other_losses(loss):
    model = fitted(
        MLPRegressor, NUMBERS, loss=loss, early_stopping=True, max_iter=40, learning_rate_init=0.01
    )
    assert model.best_validation_score_ > 0.5


# --- schedules, dropout, clipping, decay --------------------------------------------------------------------------


def test_schedules():
    model = fitted(learning_rate="cosine", max_iter=10)
    rates = model.history_["learning_rate"]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 1e-4 < rates[0]
    assert bits(fitted(learning_rate=Cosine(), max_iter=10)) == bits(model)
    warm = fitted(learning_rate=WarmUp(2, "cosine"), solver="adamw", max_iter=10).history_["learning_rate"]
    assert warm[0] < warm[1] == 1e-3
    assert pickle.loads(pickle.dumps(model)).learning_rate == "cosine"
    for name in ("adaptive", "invscaling"):  # for sgd only, as in scikit-learn
        assert bits(fitted(learning_rate=name)) == bits(fitted())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dropout(dtype):
    options = {"data": X.astype(dtype), "hidden_layer_sizes": (40, 30), "n_jobs": MANY}
    plans = ("native:1x1", "native:2x1", "native:1x2")
    assert len({bits(fitted(dropout=0.4, plan=plan, **options)) for plan in plans}) == 1
    plain, some = fitted(**options), fitted(dropout=[0.0, 0.6], **options)
    assert plain.loss_ < some.loss_ < 3
    assert bits(fitted(dropout=0.0, **options)) == bits(plain)
    assert bits(fitted(dropout=0.4, **options)) != bits(fitted(dropout=0.4, random_state=1, **options))
    assert np.array_equal(some.predict_proba(X), some.predict_proba(X))  # none when predicting


def test_clipping_and_decay():
    free = fitted(solver="sgd", momentum=0.0, shuffle=False, max_iter=1, batch_size=400)
    clipped = fitted(
        solver="sgd", momentum=0.0, shuffle=False, max_iter=1, batch_size=400, clip_norm=1e-3, alpha=0.0
    )
    start = fitted(solver="sgd", momentum=0.0, max_iter=1, batch_size=400, learning_rate_init=1e-300)
    moved = np.linalg.norm(clipped.network_.parameters - start.network_.parameters)
    assert moved == pytest.approx(1e-3 * 1e-3, rel=1e-6)
    assert np.linalg.norm(free.network_.parameters - start.network_.parameters) > 10 * moved
    assert bits(fitted(clip_norm=1e6)) != bits(fitted(clip_norm=1e-2))
    norms = [
        np.linalg.norm(fitted(solver=solver, weight_decay=decay, max_iter=30).coefs_[0])
        for solver, decay in (("adamw", 0.0), ("adamw", None), ("adamw", 1.0), ("adam", None), ("adam", 1.0))
    ]
    assert norms[0] > norms[1] > norms[2]
    assert norms[0] == norms[3]
    assert norms[2] == norms[4]


# --- going on -----------------------------------------------------------------------------------------------------


def online(**options):
    model = MLPClassifier(**{"random_state": 0, "hidden_layer_sizes": 20} | options)
    return model.partial_fit(X, Y, classes=range(10))


@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd"])
def test_the_state_of_the_optimizer_survives_copies(solver):
    options = {"solver": solver, "dropout": 0.3, "learning_rate": "invscaling"}
    model = online(**options)
    copies = [pickle.loads(pickle.dumps(model)), copy.deepcopy(model)]
    copies.append(pickle.loads(pickle.dumps(copies[0])))  # before it has an engine again
    for rows in (slice(0, 1), slice(0, 400)):
        model.partial_fit(X[rows], Y[rows])
        for each in copies:
            assert bits(each.partial_fit(X[rows], Y[rows])) == bits(model)
            assert each.loss_curve_ == model.loss_curve_
    fresh = online(**options)
    fresh._training = None
    assert bits(fresh.partial_fit(X, Y)) != bits(model)


def test_parameters_may_change_between_calls():
    model, plain = online(), online()
    model.set_params(alpha=10.0).partial_fit(X, Y)
    plain.partial_fit(X, Y)
    assert np.linalg.norm(model.coefs_[0]) < np.linalg.norm(plain.coefs_[0])
    other = online()
    assert bits(other.set_params(plan="native:1x2", n_jobs=2).partial_fit(X, Y)) == bits(
        plain
    )  # the moments stay
    assert other.plan_ == "native:1x2"
    assert model.set_params(learning_rate_init=0.5).partial_fit(X, Y).history_["learning_rate"][-1] == 0.5
    assert np.isfinite(model.set_params(solver="sgd", learning_rate_init=0.01).partial_fit(X, Y).loss_)
    with pytest.raises(ValueError, match="partial_fit needs early_stopping=False"):
        model.set_params(early_stopping=True).partial_fit(X, Y)
    with pytest.raises(AttributeError):
        model.set_params(solver="lbfgs").partial_fit(X, Y)


def test_online_from_single_examples():
    checked, unchecked = online(), online()
    for i in range(30):
        checked.partial_fit(X[i : i + 1], Y[i : i + 1])
        unchecked.partial_fit(X[i : i + 1], Y[i : i + 1], check_input=False)
    assert bits(checked) == bits(unchecked)
    assert checked.t_ == 430
    assert checked.n_iter_ == 1
    one = MLPClassifier(random_state=0).partial_fit(X[:1], Y[:1], classes=range(10))
    assert one.partial_fit(X, Y).t_ == 401  # more than the first time
    with pytest.raises(ValueError, match="known from training"):
        one.partial_fit(X[:1], [77])
    with pytest.raises(ValueError, match="X has 3 features"):
        one.partial_fit(X[:1, :3], Y[:1])


def test_classes_of_partial_fit():
    with pytest.raises(ValueError, match="classes must be passed on the first call to partial_fit"):
        MLPClassifier().partial_fit(X, Y)
    model = MLPClassifier().partial_fit(X[:5], Y[:5], classes=[5, *range(5), 7])
    assert model.classes_.tolist() == [0, 1, 2, 3, 4, 5, 7]
    model.partial_fit(X[:5], Y[:5], classes=[7, 5, *range(5)])
    with pytest.raises(ValueError, match="classes must stay those of the first call"):
        model.partial_fit(X[:5], Y[:5], classes=range(10))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"hidden_layer_sizes": (3,)}, r"warm_start goes on with hidden_layer_sizes \(20,\), got \(3,\)"),
        ({"loss": "focal"}, "warm_start goes on with Loss"),
        ({"activation": "tanh"}, "warm_start goes on with activation relu, got 'tanh'"),
    ],
)
def test_warm_start_keeps_the_network(changed, message):
    model = fitted(warm_start=True, max_iter=2)
    with pytest.raises(ValueError, match=message):
        model.set_params(**changed).fit(X, Y)


def test_warm_start_keeps_the_classes():
    model = fitted(warm_start=True, max_iter=2)
    with pytest.raises(ValueError, match="warm_start goes on with the classes"):
        model.fit(X[Y < 9], Y[Y < 9])
    numbers = fitted(MLPRegressor, NUMBERS, warm_start=True, max_iter=2)
    with pytest.raises(ValueError, match="warm_start goes on with 1 targets"):
        numbers.fit(X, np.stack([NUMBERS, NUMBERS], 1))


def test_warm_start_from_one_solver_to_another():
    model = fitted(solver="lbfgs", warm_start=True, max_iter=10)
    loss = model.loss_
    model.set_params(solver="sgd", learning_rate_init=1e-4).fit(X, Y)
    assert model.loss_curve_[-1] < loss + 0.01
    model.set_params(early_stopping=True).fit(X, Y)
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert np.isfinite(model.partial_fit(X, Y).loss_) if model.set_params(early_stopping=False) else None


def test_a_batch_larger_than_the_set_is_clipped():
    with pytest.warns(UserWarning, match="batch_size 500 is larger than the set and clipped to 400"):
        clipped = fitted(batch_size=500)
    assert bits(clipped) == bits(fitted(batch_size=400))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MLPClassifier(batch_size=500).partial_fit(X, Y, classes=range(10))  # a chunk is not the set


def test_divergence_keeps_the_last_good_weights():
    with pytest.raises(TrainingDiverged, match=r"loss became (nan|inf) in epoch \d+"):
        fitted(MLPRegressor, NUMBERS, solver="sgd", activation="identity", learning_rate_init=5.0)
    model = MLPRegressor(random_state=0, solver="lbfgs").fit(X, NUMBERS)
    with pytest.raises(TrainingDiverged):
        model.set_params(solver="sgd", warm_start=True, learning_rate_init=1e300, max_iter=2).fit(X, NUMBERS)
    assert model.score(X, NUMBERS) > 0.9


# --- interrupts, callbacks, progress ------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"early_stopping": True}, {"solver": "lbfgs"}], ids=str)
def test_an_interrupt_keeps_what_was_learnt(monkeypatch, options):
    method = "gradient" if "solver" in options else "run"
    calls, real = [], getattr(CpuEngine, method)

    def interrupted(*args, **named):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return real(*args, **named)

    monkeypatch.setattr(CpuEngine, method, interrupted)
    with pytest.warns(UserWarning, match="Training interrupted by user after [1-5] (epochs|iterations)"):
        model = fitted(max_iter=100, learning_rate_init=0.02, **options)
    assert 1 <= model.n_iter_ <= 5
    assert model.score(X, Y) > 0.2
    if "solver" not in options:
        assert bits(model) == bits(fitted(max_iter=5, learning_rate_init=0.02, **options))


FIT = """
from schuss.estimators import MLPClassifier
X = X.astype(np.float32)[:20000]
long = {"max_iter": 10**6, "n_iter_no_change": 10**6, "plan": "native:2x1", "n_jobs": 2}
model = MLPClassifier((512,), solver="sgd", batch_size=16, **long)
say("training")
model.fit(X, y[:20000])
say("stopped")
assert np.isfinite(model.coefs_[0]).all()
say(model.predict(X[:3]).shape)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c():
    with Child(FIT) as child:
        assert child.line() == "training"
        child.interrupt()
        assert child.ends_well().strip() == "(3,)"


class Watch:
    """A callback that ends training after three epochs."""

    def __init__(self):
        self.seen = []

    def setup(self, estimator, context):
        self.seen.append("setup")

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if context.task_name != "fit" and fitted_estimator is not None:
            self.seen.append(fitted_estimator.score(X, Y))
        return len(self.seen) == 4

    def teardown(self, estimator, context):
        self.seen.append("teardown")


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callbacks(solver):
    watch = Watch()
    model = MLPClassifier(random_state=0, solver=solver, max_iter=20).set_callbacks(watch)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # to be stopped is no failure
        model.fit(X, Y)
    assert model.n_iter_ == 3
    assert watch.seen[0] == "setup"
    assert watch.seen[-1] == "teardown"
    assert watch.seen[3] == model.score(X, Y) > watch.seen[1]


def test_verbose_says_why_training_ends(capsys):
    fitted(verbose=True, max_iter=500, tol=0.1, n_iter_no_change=2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Iteration 1, loss = ")
    assert (
        lines[-1]
        == "Training loss did not improve more than tol=0.100000 for 2 consecutive epochs. Stopping."
    )
    fitted(verbose=True, max_iter=2, early_stopping=True)
    assert capsys.readouterr().out.splitlines()[1].startswith("Validation score: 0.")
    fitted(verbose=True, max_iter=2, solver="lbfgs")
    assert capsys.readouterr().out.startswith("Iteration 1, loss = ")
    online(verbose=True)
    assert capsys.readouterr().out.startswith("Iteration 1, loss = ")


def test_lbfgs_warns_when_it_has_not_converged():
    with pytest.warns(ConvergenceWarning, match="lbfgs stopped before it converged, after 3 iterations"):
        fitted(solver="lbfgs", max_iter=3)
    with pytest.warns(ConvergenceWarning, match="lbfgs stopped before it converged"):
        fitted(solver="lbfgs", max_fun=4)
    done = fitted(solver="lbfgs", max_iter=500, tol=1e-2)
    assert done.n_iter_ < 500
    assert done.history_["loss"][-1] == done.loss_
    assert len(done.history_["loss"]) == done.n_iter_
