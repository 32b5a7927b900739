"""Training with patience, schedules, weights, dropout and clipping, and going on from a snapshot."""

import math
import pickle

import numpy as np
import pytest
from conftest import MANY

import schuss
import schuss.schedules
from schuss import Network
from schuss.optimizers import Optimizer
from schuss.plan import Plan
from schuss.stopping import Stopping
from schuss.trainer import Trainer

X = np.random.default_rng(0).standard_normal((23, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)
SMALL = {"hidden_layer_sizes": (4,), "batch_size": 5, "epochs": 3}


def train(*data, **options):
    return schuss.train(*data, **(SMALL | options))


def noisy():
    """Held-out labels that cannot be learnt, so that the validation loss rises soon."""
    return X, np.random.default_rng(3).permutation(Y)


def test_patience():
    losses = []

    def on_epoch(network, history):
        losses.append(network.parameters)

    options = {"epochs": 200, "learning_rate": 0.3, "validation": noisy()}
    network = train(X, Y, patience=4, on_epoch=on_epoch, **options)
    curve = network.history["validation_loss"]
    best = int(np.argmin(curve))
    assert len(curve) == best + 1 + 4 < 200
    assert np.array_equal(network.parameters, losses[best])
    assert network.loss(*noisy()) == pytest.approx(curve[best], rel=1e-6)
    assert len(train(X, Y, **options).history["loss"]) == 200


def test_patience_lowers_the_rate_first():
    network = train(
        X,
        Y,
        epochs=200,
        learning_rate=0.3,
        validation=noisy(),
        patience=2,
        schedule=schuss.schedules.Adaptive(5, 0.02),
    )
    rates = network.history["learning_rate"]
    assert sorted(set(rates), reverse=True) == pytest.approx([0.3, 0.06, 0.012])
    assert len(rates) < 200


def test_stopping():
    rule = Stopping(tol=0.1, patience=2)
    assert [rule.update(value) for value in (5.0, 4.95, 4.0, 3.95, 4.5, 3.91)] == [False] * 5 + [True]
    assert (rule.best, rule.waited) == (3.91, 3)
    assert not rule.update(math.nan)
    assert (rule.best, rule.waited) == (3.91, 0)


# --- schedules, weights, dropout ------------------------------------------------------------------


def test_schedule_gives_the_rate_of_every_step():
    """By hand: the rates of the schedule, one step after the other."""
    cosine = schuss.schedules.Cosine()
    network = train(
        X, Y, network=Network((3, 4, 2), seed=0), schedule=cosine, learning_rate=0.2, shuffle=False
    )
    by_hand = Network((3, 4, 2), seed=0)
    for epoch in range(3):
        for i, rate in enumerate(cosine.rates(0.2, epoch, 5, 3, 23 * epoch)):
            by_hand.step(X[5 * i : 5 * i + 5], Y[5 * i : 5 * i + 5], rate)
        assert network.history["learning_rate"][epoch] == rate
    assert np.array_equal(network.parameters, by_hand.parameters)
    assert np.array_equal(train(X, Y, schedule="constant").parameters, train(X, Y).parameters)


def test_weights():
    rng = np.random.default_rng(2)
    weights = rng.integers(0, 3, 23)
    rows = np.repeat(np.arange(23), weights)
    options = {"shuffle": False, "precision": "float64", "seed": 4}
    weighted = train(X, Y, sample_weight=weights, batch_size=23, **options)
    repeated = train(X[rows], Y[rows], batch_size=len(rows), **options)
    assert np.allclose(weighted.parameters, repeated.parameters, rtol=0, atol=1e-12)
    assert np.array_equal(train(X, Y, sample_weight=np.ones(23)).parameters, train(X, Y).parameters)
    held_out = train(X, Y, validation=(X, Y, weights)).history
    assert held_out["validation_loss"] == pytest.approx(
        train(X, Y, validation=(X[rows], Y[rows])).history["validation_loss"]
    )
    assert held_out["validation_accuracy"] != train(X, Y, validation=(X, Y)).history["validation_accuracy"]


def test_class_weight():
    by_hand = np.where(Y == 1, 23 / (2 * Y.sum()), 23 / (2 * (1 - Y).sum()))
    balanced = train(X, Y, class_weight="balanced")
    assert np.array_equal(balanced.parameters, train(X, Y, sample_weight=by_hand).parameters)
    named = train(X, np.array(["no", "yes"])[Y], class_weight={"yes": 3.0})
    assert np.array_equal(named.parameters, train(X, Y, sample_weight=1 + 2.0 * Y).parameters)
    own = np.arange(23.0)
    both = train(X, Y, class_weight={1: 3.0}, sample_weight=own)
    assert np.array_equal(both.parameters, train(X, Y, sample_weight=own * (1 + 2.0 * Y)).parameters)
    with pytest.raises(ValueError, match="class_weight needs labels"):
        train(X, X[:, 0], class_weight="balanced")


def test_dropout_and_clipping():
    """The same units are left out whatever the plan, others with another seed."""
    options = {"hidden_layer_sizes": (16, 8), "n_jobs": MANY}

    def bits(**more):
        return train(X, Y, **options, **more).parameters.tobytes()

    plans = ("native:1x1", "native:2x1", "native:1x2")
    assert len({bits(dropout=(0.5, 0.25), clip_norm=0.05, plan=plan) for plan in plans}) == 1
    assert len({bits(), bits(dropout=0.5), bits(dropout=0.5, seed=1), bits(clip_norm=0.05)}) == 4
    assert bits(dropout=0.0) == bits()


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_a_training_goes_on_from_a_snapshot(solver):
    def trainer(network, state=None):
        schedule = schuss.schedules.InverseScaling()
        return Trainer(
            network, Optimizer(solver, momentum=0.9), 0.05, 5, Plan("native", 1, 1),
            schedule=schedule, epochs=4, dropout=(0.3,), seed=7, state=state,
        )  # fmt: skip

    y = Y.astype(np.int32)
    whole = trainer(Network((3, 4, 2), seed=0))
    for _ in range(4):
        whole.epoch(X, y)
    first = trainer(Network((3, 4, 2), seed=0))
    first.epoch(X, y)
    first.step(X[:4], y[:4])
    state = pickle.loads(pickle.dumps(first.snapshot()))
    second = trainer(pickle.loads(pickle.dumps(first.network)), state)
    for each in (first, second):
        each.epoch(X, y)
        each.step(X[:1], y[:1])
    assert np.array_equal(first.network.parameters, second.network.parameters)
    assert (second.epochs_done, second.seen) == (4, 23 + 4 + 23 + 1)
    assert not np.array_equal(first.network.parameters, whole.network.parameters)


def test_assigned_parameters_are_trained_on():
    network = Network((3, 4, 2), seed=0)
    trainer = Trainer(network, Optimizer(), 0.1, 23, Plan("native", 1, 1))
    trainer.epoch(X, Y.astype(np.int32))
    network.parameters = np.zeros(network.n_parameters)
    trainer.step(X, Y.astype(np.int32))
    other = Network((3, 4, 2), seed=0)
    other.parameters = np.zeros(network.n_parameters)
    other.step(X, Y, 0.1)
    assert np.array_equal(network.parameters, other.parameters)


def test_assigned_parameters_are_trained_on_by_an_engine_of_its_own():
    """The network has moved on to another engine, one without a training's reports, when they are assigned."""
    network = Network((3, 4, 2), seed=0)
    trainer = Trainer(network, Optimizer(), 0.1, 23, Plan("native", 1, 1))
    y = Y.astype(np.int32)
    trainer.epoch(X, y)
    network.loss(X, Y)
    network.parameters = np.zeros(network.n_parameters)
    trainer.epoch(X, y)
    other = Network((3, 4, 2), seed=0)
    other.parameters = np.zeros(network.n_parameters)
    other.step(X, Y, 0.1)
    assert np.array_equal(network.parameters, other.parameters)


def trainer_for(solver="adam", **options):
    network = Network((3, 4, 2), seed=0)
    trainer = Trainer(network, Optimizer(solver, **options), 0.01, 5, Plan("native", 1, 1))
    return network, trainer


def test_minibatches_without_weight_are_not_in_the_loss():
    weights = np.where(np.arange(23) < 10, 0.0, 1.0)
    network, trainer = trainer_for()
    trainer.learning_rate = 1e-30  # the parameters stay
    trainer.epoch(X, Y.astype(np.int32), weights)
    assert network.history["loss"][0] == pytest.approx(network.loss(X[10:], Y[10:]), rel=1e-5)


def test_a_training_that_diverged_does_not_spoil_the_next():
    network, trainer = trainer_for("sgd", momentum=0.9)
    trainer.learning_rate = 1e30
    with pytest.raises(schuss.TrainingDiverged):
        [trainer.epoch(X, Y.astype(np.int32)) for _ in range(5)]
    trainer.learning_rate = 0.01
    for _ in range(20):
        trainer.epoch(X, Y.astype(np.int32))
    assert np.isfinite(network.parameters).all()


def test_whatever_ends_an_epoch_the_network_has_what_was_learnt(monkeypatch):
    """A handler of another signal than Ctrl-C's raises in the middle of an epoch."""
    network, trainer = trainer_for()
    run = trainer.engine.run

    def cut_short(*arguments):
        run(*arguments)
        raise TimeoutError

    monkeypatch.setattr(trainer.engine, "run", cut_short)
    with pytest.raises(TimeoutError):
        trainer.epoch(X, Y.astype(np.int32))
    fresh = Network((3, 4, 2), seed=1)
    fresh.parameters = network.parameters
    np.testing.assert_array_equal(fresh.forward(X), network.forward(X))


def test_names_of_features_go_with_the_network():
    from schuss.data import Dataset

    named = Dataset(X, Y.astype(np.int32), np.array([0, 1]), names=("a", "b", "c"))
    assert train(named).feature_names == ("a", "b", "c")
    assert train(X, Y).feature_names is None
    frame = pytest.importorskip("pandas").DataFrame(X, columns=["a", "b", "c"])
    with pytest.warns(match="max_iter"):
        model = schuss.MLPClassifier(max_iter=1).fit(frame, Y)
    assert model.network_.feature_names == ("a", "b", "c")
