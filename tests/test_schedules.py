"""Learning-rate schedules against scikit-learn's optimizer and against values worked out by hand."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.neural_network._stochastic_optimizers import SGDOptimizer

from schuss.schedules import (
    SCHEDULES,
    Adaptive,
    Constant,
    Cosine,
    InverseScaling,
    OneCycle,
    Schedule,
    Step,
    WarmUp,
    as_schedule,
)


def whole(schedule, base=1.0, epochs=4, steps=5):
    """Rates of every step of a training, (epochs * steps,)."""
    return np.concatenate([schedule.rates(base, e, steps, epochs, e * 100) for e in range(epochs)])


def sklearn_rates(name, base, examples, power_t, plateaus, epochs):
    """Rate of each epoch as scikit-learn's own optimizer gives it, until it asks to stop."""
    optimizer = SGDOptimizer([], base, name, power_t=power_t)
    seen, rates = 0, []
    for epoch in range(epochs):
        rates.append(optimizer.learning_rate)
        seen += examples
        optimizer.iteration_ends(seen)
        if epoch in plateaus and optimizer.trigger_stopping("", verbose=False):
            break
    return rates


def our_rates(name, base, examples, power_t, plateaus, epochs):
    schedule, seen, rates = as_schedule(name, power_t), 0, []
    for epoch in range(epochs):
        rates.extend(set(schedule.rates(base, epoch, 3, epochs, seen)))
        seen += examples
        if epoch in plateaus:
            base = schedule.on_plateau(base)
            if base is None:
                break
    return rates


@pytest.mark.parametrize("name", ["constant", "invscaling", "adaptive"])
@pytest.mark.parametrize("base", [0.1, 0.003, 1])
@pytest.mark.parametrize("plateaus", [(), (4,), tuple(range(2, 40, 2))])
def test_rates_are_scikit_learns(name, base, plateaus):
    arguments = (name, base, 137, 0.4, plateaus, 50)
    assert our_rates(*arguments) == sklearn_rates(*arguments)


def test_adaptive_stops_when_the_rate_is_small():
    assert Adaptive().on_plateau(1e-6) is None
    assert Adaptive().on_plateau(1.1e-6) == 1.1e-6 / 5
    assert Adaptive(factor=2, least=0.1).on_plateau(0.2) == 0.1
    assert Adaptive(least=0.1).on_plateau(0.1) is None


@pytest.mark.parametrize("name", sorted(set(SCHEDULES) - {"adaptive"}))
def test_a_plateau_ends_training_unless_adaptive(name):
    assert as_schedule(name).on_plateau(0.5) is None


@pytest.mark.parametrize(
    "schedule", [*(make() for make in SCHEDULES.values()), WarmUp(2), WarmUp(2, "cosine")]
)
@pytest.mark.parametrize(("epochs", "steps"), [(1, 1), (4, 5), (60, 3)])
def test_every_step_has_a_rate_between_nothing_and_the_base(schedule, epochs, steps):
    rates = whole(schedule, 0.25, epochs, steps)
    assert rates.dtype == np.float64
    assert rates.shape == (epochs * steps,)
    assert (rates > 0).all()
    assert (rates <= 0.25 * (1 + 1e-15)).all()
    beyond = schedule.rates(0.25, epochs + 3, steps, epochs, 100)
    assert beyond.shape == (steps,)
    assert (beyond >= 0).all()


def test_step():
    got = [Step(every=2, factor=0.5).rates(8.0, e, 3, 99, 0).tolist() for e in range(5)]
    assert got == [[8] * 3, [8] * 3, [4] * 3, [4] * 3, [2] * 3]


def test_cosine():
    rates = whole(Cosine(floor=0.2), 10.0, epochs=3, steps=4)
    assert rates[0] == 10
    assert rates[6] == pytest.approx(6)  # half way: the mean of base and floor
    assert (np.diff(rates) < 0).all()
    t = np.arange(12)
    np.testing.assert_allclose(rates, 2 + 0.5 * (10 - 2) * (1 + np.cos(t / 12 * np.pi)), rtol=1e-14)
    np.testing.assert_allclose(Cosine(floor=0.2).rates(10.0, 3, 4, 3, 0), 2.0)


def test_one_cycle():
    schedule = OneCycle(start=0.2, end=0.01, rise=0.4, fall=0.4)
    rates = whole(schedule, 10.0, epochs=2, steps=10)
    assert rates[0] == 2
    assert rates.argmax() == 8
    assert rates[8] == pytest.approx(10)
    assert rates[4] == pytest.approx(6)
    assert rates[16] == pytest.approx(2)
    assert rates[18] == pytest.approx((2 + 0.1) / 2)
    np.testing.assert_allclose(schedule.rates(10.0, 2, 10, 2, 0), 0.1)


def test_one_cycle_without_a_tail_ends_where_it_began():
    rates = whole(OneCycle(start=0.5, rise=0.5, fall=0.5), 1.0, epochs=1, steps=100)
    assert rates[50] == 1
    assert rates[-1] == pytest.approx(0.51)


def test_warm_up_adds_the_same_at_each_step_then_hands_over():
    schedule = WarmUp(2, then=Cosine())
    rates = whole(schedule, 3.0, epochs=6, steps=5)
    np.testing.assert_allclose(rates[:10], 3.0 * np.arange(1, 11) / 10)
    np.testing.assert_array_equal(rates[10:], whole(Cosine(), 3.0, epochs=4, steps=5))
    assert WarmUp(2, "adaptive").on_plateau(0.5) == 0.1
    assert WarmUp(2).on_plateau(0.5) is None


def test_a_warm_up_longer_than_the_training():
    np.testing.assert_allclose(whole(WarmUp(10), epochs=2, steps=5), np.arange(1, 11) / 50)


def test_names():
    assert as_schedule("invscaling", 0.7) == InverseScaling(0.7)
    assert as_schedule("one_cycle") == OneCycle()
    given = Cosine(0.1)
    assert as_schedule(given) is given
    assert WarmUp(3, "step") == WarmUp(3, Step())


@pytest.mark.parametrize("name", ["linear", "", None, 0.1, Cosine])
def test_unknown_names(name):
    with pytest.raises(ValueError, match=r"learning_rate must be a Schedule or one of constant, .*, got "):
        as_schedule(name)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: InverseScaling(float("nan")), "power_t must be finite, got nan"),
        (lambda: Adaptive(factor=1), "factor must be > 1 and finite, got 1"),
        (lambda: Adaptive(least=-1), "least must be >= 0 and finite, got -1"),
        (lambda: Step(every=0), "every must be an integer >= 1, got 0"),
        (lambda: Step(every=2.5), "every must be an integer >= 1, got 2.5"),
        (lambda: Step(factor=0), "factor must be in (0, 1], got 0"),
        (lambda: Cosine(floor=1), "floor must be in [0, 1), got 1"),
        (lambda: Cosine(floor=float("nan")), "floor must be in [0, 1), got nan"),
        (lambda: OneCycle(start=0), "start must be in (0, 1], got 0"),
        (lambda: OneCycle(end=2), "end must be in [0, 1], got 2"),
        (lambda: OneCycle(rise=0), "rise must be in (0, 1), got 0"),
        (lambda: OneCycle(rise=0.6, fall=0.5), "rise + fall must be at most 1, got 0.6 + 0.5"),
        (lambda: WarmUp(True), "epochs must be an integer >= 1, got True"),
        (lambda: WarmUp(3, "fast"), "then must be a Schedule or one of"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the text is compared whole
        make()
    assert str(error.value).startswith(message)


def test_schedules_are_values():
    schedule = WarmUp(2, OneCycle(rise=0.3))
    for twin in (copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))):
        assert twin == schedule
        assert hash(twin) == hash(schedule)
        np.testing.assert_array_equal(whole(twin), whole(schedule))
    assert Constant() != Cosine()


def test_a_schedule_of_ones_own():
    class Alternating(Schedule):
        def rates(self, base, epoch, steps, epochs, seen):
            return np.where(np.arange(steps) % 2, base, base / 2)

    assert whole(WarmUp(1, Alternating()), 2.0, epochs=2, steps=4)[4:].tolist() == [1, 2, 1, 2]
    with pytest.raises(TypeError, match="abstract"):
        Schedule()


def test_only_courses_drawn_up_for_a_number_of_epochs_are_planned():
    planned = {name for name in SCHEDULES if as_schedule(name).planned}
    assert planned == {"cosine", "one_cycle"}
    assert WarmUp(2, then="cosine").planned
    assert not WarmUp(2).planned
