"""Callbacks around the epochs of a fit, with scikit-learn's protocol and with our own for versions without it."""

import importlib.util
import pickle
import sys

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from schuss.estimators.callbacks import CallbackSupport, fit_hooks

HAS_PROTOCOL = importlib.util.find_spec("sklearn.callback") is not None
with_protocol = pytest.mark.skipif(not HAS_PROTOCOL, reason="scikit-learn before 1.9")


class Toy(ClassifierMixin, CallbackSupport, BaseEstimator):
    """Predicts 1 where the first feature is above a bound, which moves by one each epoch."""

    def __init__(self, max_iter=5, fails_at=None, interrupted_at=None):
        self.max_iter = max_iter
        self.fails_at = fails_at
        self.interrupted_at = interrupted_at

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        self.bound_, self.n_iter_ = -1.0, 0
        snapshots = self.snapshots_ = []

        def snapshot():
            snapshots.append(self.bound_)
            return {"bound_": self.bound_}

        with fit_hooks(self, self.max_iter, X, y, sample_weight=sample_weight, snapshot=snapshot) as hooks:
            try:
                for epoch in range(self.max_iter):
                    hooks.begin(epoch)
                    hooks.begin(epoch)  # is no second beginning
                    self._epoch(epoch)
                    if hooks.end(epoch):
                        break
            except KeyboardInterrupt:
                pass
        return self

    def _epoch(self, epoch):
        if epoch == self.fails_at:
            raise RuntimeError("this epoch fails")
        if epoch == self.interrupted_at:
            raise KeyboardInterrupt
        self.bound_ += 1.0
        self.n_iter_ += 1

    def predict(self, X):
        return (np.asarray(X)[:, 0] > self.bound_).astype(int)


class Recorder:
    """Writes down what it is told."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.calls = []
        self.contexts = []

    def setup(self, estimator, context):
        self.calls.append(("setup", context.task_name))

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        self.contexts.append(context)
        bound = getattr(fitted_estimator, "bound_", None)
        self.calls.append(("end", context.task_name, context.task_id, bound))
        self.last = X, y, metadata
        return context.task_name == "epoch" and context.task_id + 1 == self.stop_after

    def teardown(self, estimator, context):
        self.calls.append(("teardown", context.task_name))


class Plain(Recorder):
    """Asks for nothing."""

    def on_fit_task_end(self, estimator, context):
        self.calls.append(("end", context.task_name, context.task_id))


@pytest.fixture(params=[pytest.param("sklearn", marks=with_protocol), "own"])
def protocol(request, monkeypatch):
    if request.param == "own":
        monkeypatch.setitem(sys.modules, "sklearn.callback", None)
    return request.param


X = np.arange(12.0).reshape(6, 2)
y = (X[:, 0] > 4).astype(int)


def test_every_call_in_its_order(protocol):
    recorder = Recorder()
    toy = Toy(3).set_callbacks(recorder).fit(X, y)
    assert toy.n_iter_ == 3
    assert recorder.calls == [
        ("setup", "fit"),
        ("begin", "fit", 0),
        ("begin", "epoch", 0),
        ("end", "epoch", 0, 0.0),
        ("begin", "epoch", 1),
        ("end", "epoch", 1, 1.0),
        ("begin", "epoch", 2),
        ("end", "epoch", 2, 2.0),
        ("end", "fit", 0, 2.0),
        ("teardown", "fit"),
    ]
    assert recorder.last[0] is X
    assert recorder.last[1] is y
    assert recorder.last[2] is None


def test_a_callback_knows_where_it_is(protocol):
    recorder = Recorder()
    Toy(4).set_callbacks(recorder).fit(X, y)
    *epochs, fit = recorder.contexts
    assert fit.parent is None
    assert (fit.estimator_name, fit.max_subtasks, fit.sequential_subtasks) == ("Toy", 4, True)
    assert fit.source_estimator_name is None
    assert fit.init_time <= epochs[0].init_time <= epochs[3].init_time
    for number, epoch in enumerate(epochs):
        assert epoch.parent is fit
        assert (epoch.task_id, epoch.max_subtasks, epoch.root_uuid) == (number, 0, fit.root_uuid)


def test_one_callback_stops_training_and_all_are_told(protocol):
    other, stopping = Recorder(), Recorder(stop_after=2)
    toy = Toy(9).set_callbacks(other, stopping).fit(X, y)
    assert toy.n_iter_ == 2
    assert other.calls == stopping.calls
    assert other.calls[-2:] == [("end", "fit", 0, 1.0), ("teardown", "fit")]


def test_snapshots_are_taken_once_and_only_when_asked_for(protocol):
    assert Toy(3).set_callbacks(Plain()).fit(X, y).snapshots_ == []
    assert Toy(3).set_callbacks(Plain(), Recorder(), Recorder()).fit(X, y).snapshots_ == [0, 1, 2, 2]


def test_sample_weight_is_metadata(protocol):
    recorder, weights = Recorder(), np.ones(6)
    Toy().set_callbacks(recorder).fit(X, y, sample_weight=weights)
    assert recorder.last[2] == {"sample_weight": weights}


def test_teardown_also_after_an_error(protocol):
    recorder = Recorder()
    toy = Toy(5, fails_at=1).set_callbacks(recorder)
    with pytest.raises(RuntimeError, match="this epoch fails"):
        toy.fit(X, y)
    assert recorder.calls[-2:] == [("begin", "epoch", 1), ("teardown", "fit")]
    assert sorted(vars(toy.set_params(fails_at=None).fit(X, y))) == sorted(
        [*toy.get_params(), "_skl_callbacks", "bound_", "classes_", "n_iter_", "snapshots_"]
    )


def test_an_interrupted_epoch_ends_with_nothing_to_show(protocol):
    recorder = Recorder()
    Toy(5, interrupted_at=1).set_callbacks(recorder).fit(X, y)
    assert recorder.calls[-4:] == [
        ("begin", "epoch", 1),
        ("end", "epoch", 1, None),
        ("end", "fit", 0, 0.0),
        ("teardown", "fit"),
    ]


def test_every_callback_that_was_set_up_is_torn_down(protocol):
    class Failing(Recorder):
        def setup(self, estimator, context):
            raise OSError("cannot set up")

    first, failing, third = Recorder(), Failing(), Recorder()
    with pytest.raises(OSError, match="cannot set up"):
        Toy().set_callbacks(first, failing, third).fit(X, y)
    assert first.calls == [("setup", "fit"), ("teardown", "fit")]
    assert failing.calls == [("teardown", "fit")]
    assert third.calls == []


def test_what_is_refused(protocol):
    class Asking(Recorder):
        def on_fit_task_end(self, estimator, context, *, weather=None):
            pass

    with pytest.raises(TypeError, match="weather"):
        Toy().set_callbacks(Asking()).fit(X, y)
    with pytest.raises(TypeError, match=r"callbacks must be objects, got the class Recorder: call it first"):
        Toy().set_callbacks(Recorder)
    with pytest.raises(TypeError, match=r"callbacks must have a method setup, got 3"):
        Toy().set_callbacks(3)


def test_callbacks_are_replaced_removed_and_cloned(protocol):
    first, second = Recorder(), Recorder()
    toy = Toy(2).set_callbacks(first).set_callbacks(second)
    clone(toy).fit(X, y)
    assert first.calls == []
    assert len(second.calls) == 8
    toy.set_callbacks().fit(X, y)
    clone(toy).fit(X, y)
    assert len(second.calls) == 8
    assert not hasattr(clone(toy), "_skl_callbacks")


def test_an_estimator_with_callbacks_is_pickled(protocol):
    toy = pickle.loads(pickle.dumps(Toy(2).set_callbacks(Plain()).fit(X, y)))
    toy.fit(X, y)
    assert len(toy._skl_callbacks[0].calls) == 16


def test_without_callbacks_nothing_is_done(monkeypatch):
    monkeypatch.setattr("schuss.estimators.callbacks.find_spec", None)
    toy = Toy(3).fit(X, y)
    assert toy.snapshots_ == []
    assert toy.n_iter_ == 3


# --- scikit-learn's own ---------------------------------------------------------------------------


@with_protocol
def test_scoring_monitor():
    from sklearn.callback import ScoringMonitor

    monitor = ScoringMonitor(scoring="accuracy")
    Toy(6).set_callbacks(monitor).fit(X, y)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert [row["task_id"] for row in rows] == list(range(6))
    assert [row["accuracy"] for row in rows] == [np.mean((X[:, 0] > b) == y) for b in range(6)]


@with_protocol
def test_progress_bar(capsys):
    from sklearn.callback import ProgressBar

    Toy(3).set_callbacks(ProgressBar()).fit(X, y)
    assert "Toy - fit" in capsys.readouterr().out


@with_protocol
def test_a_pipeline_hands_its_callbacks_on():
    class Travelling(Recorder):
        max_propagation_depth = None

    recorder, own = Travelling(), Recorder()
    pipeline = make_pipeline(StandardScaler(), Toy(2).set_callbacks(own))
    pipeline.set_callbacks(recorder).fit(X, y)
    assert [call[1:3] for call in recorder.calls if call[0] == "begin" and call[1] == "epoch"] == [
        ("epoch", 0),
        ("epoch", 1),
    ]
    fit = next(context for context in recorder.contexts if context.task_name == "epoch").parent
    assert (fit.estimator_name, fit.source_estimator_name) == ("Toy", "Pipeline")
    assert own.contexts[0].root_uuid == recorder.contexts[-1].root_uuid
    assert own.calls[-1] == ("teardown", "fit")
    assert pipeline[-1]._skl_callbacks == [own]
