"""Values in a model file: each comes back equal and of its type, and nothing else can be read."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schuss import schedules
from schuss.losses import LOSSES, Loss
from schuss.model_config import decode, encode, loss_from_json, loss_to_json


def through_json(value):
    return decode(json.loads(json.dumps(encode(value, "value"), allow_nan=False)))


def same(a, b):
    """Equal, of the same types, NaN equal to NaN."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return same([*a], [*b]) and same([*a.values()], [*b.values()])
    if isinstance(a, float):
        return math.copysign(1, a) == math.copysign(1, b) and (a == b or (math.isnan(a) and math.isnan(b)))
    return a == b


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: (
        st.lists(values, max_size=4)
        | st.lists(values, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.booleans(), values, max_size=4)
    ),
    max_leaves=10,
)


@given(plain)
def test_plain_data_come_back(value):
    assert same(through_json(value), value)


@pytest.mark.parametrize(
    "value", [np.float64(0.1), np.float32(0.1), np.int8(-3), np.bool_(True), np.str_("a")]
)
def test_scalars_of_numpy_become_pythons(value):
    again = through_json(value)
    assert again == value
    assert type(again) is type(value.item())


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        np.array([0.1, np.nan, np.inf, -0.0]),
        np.array([0.1, -np.inf], np.float32),
        np.array([0.1], np.float16),
        np.array([True, False]),
        np.array([2**64 - 1], np.uint64),
        np.array(["a", "日本"]),
        np.array(["a", "long"], object),
        np.array([["a"], ["b"]], object),
        np.array([], np.float32),
        np.array([1], ">i4"),
    ],
    ids=lambda array: f"{array.dtype}-{array.ndim}",
)
def test_arrays_come_back(array):
    again = through_json(array)
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert np.array_equal(again, array, equal_nan=array.dtype.kind == "f")


def test_text_that_is_stored_far_too_wide():
    array = np.array(["a"] * 3, dtype="<U10000000")
    assert through_json(array).dtype == np.dtype("<U1")


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.Cosine(0.1),
        schedules.Step(every=np.int64(3), factor=0.5),
        schedules.WarmUp(3, then=schedules.WarmUp(2, then="one_cycle")),
    ],
)
def test_schedules_come_back(schedule):
    assert through_json(schedule) == schedule


def test_random_state_goes_on_where_it_was():
    random = np.random.RandomState(3)
    random.normal(size=701)  # has the second of a pair in store
    again = through_json(random)
    assert np.array_equal(again.normal(size=999), random.normal(size=999))
    assert np.array_equal(again.randint(9, size=9), random.randint(9, size=9))


class Own(schedules.Constant):
    pass


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (print, "builtin_function_or_method"),
        (np.random.default_rng(0), "Generator"),
        (np.random.RandomState(np.random.PCG64(0)), "PCG64"),
        (Own(), "Own"),
        ({1, 2}, "set"),
        (b"x", "bytes"),
        (1j, "complex"),
        (np.datetime64("2020-01-01"), "date"),
        (np.array([1j]), "complex128"),
        (np.array([1, "a"], object), "object"),
        ([{"deep": (object(),)}], "object"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_hold_is_named(value, named):
    with pytest.raises(ValueError, match=rf"^parameter x must be .*{named}"):
        encode(value, "parameter x")


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"float": "1"},
        {"float": [1]},
        {"tuple": 3},
        {"tuple": [], "dict": []},
        {"dict": [[1, 2, 3]]},
        {"dict": [[[], 1]]},
        {"dict": 3},
        {"pickle": "gASVBAAAAAAAAABLAS4="},
        {"array": [1, 2]},
        {"array": {"dtype": "<f8"}},
        {"array": {"dtype": "<f8", "values": 3}},
        {"array": {"dtype": "<f8", "values": [[1], [2, 3]]}},
        {"array": {"dtype": "|O", "values": [1]}},
        {"array": {"dtype": "<U999999999", "values": ["a"] * 9}},
        {"schedule": ["Cosine"]},
        {"schedule": ["Schedule", {}]},
        {"schedule": ["as_schedule", {}]},
        {"schedule": [["Cosine"], {}]},
        {"schedule": ["Cosine", {"floor": "low"}]},
        {"schedule": ["Cosine", {"depth": 1}]},
        {"RandomState": [[0] * 624, 625, 0, 0.0]},
        {"RandomState": [[0] * 623, 0, 0, 0.0]},
        {"RandomState": [[-1] * 624, 0, 0, 0.0]},
        {"RandomState": [[0] * 624, 0, 0, "x"]},
        {"RandomState": 3},
    ],
    ids=lambda stored: repr(stored)[:40],
)
def test_what_is_stored_otherwise_is_refused(stored):
    with pytest.raises(ValueError, match="is stored as"):
        decode([stored])


@pytest.mark.parametrize(
    "loss",
    [
        *map(Loss, LOSSES),
        Loss("huber", huber_delta=0.3),
        Loss("quantile", quantiles=(0.1, 0.9)),
        Loss("focal", focal_gamma=1.5, label_smoothing=0.1),
        Loss("log_loss", label_smoothing=0.2),
        Loss("squared_error", huber_delta=0.3),
    ],
    ids=str,
)
def test_losses_come_back_with_what_they_use(loss):
    stored = json.loads(json.dumps(loss_to_json(loss)))
    assert loss_from_json(stored) == loss
    assert len(stored) <= 3


@pytest.mark.parametrize(
    "stored",
    [
        {"name": "magic"},
        {"name": "huber"},
        {"name": "log_loss", "label_smoothing": 0.1, "beta": 1.0},
        {"name": "huber", "huber_delta": "1"},
        {"name": "huber", "huber_delta": 10**400},
        {"name": "huber", "huber_delta": {"float": "inf"}},
        {"name": "quantile", "quantiles": {"tuple": ["a"]}},
        {"name": "quantile", "quantiles": 3},
        {"name": "quantile", "quantiles": {"tuple": [2.0]}},
    ],
    ids=lambda stored: repr(stored)[:50],
)
def test_losses_that_there_are_not(stored):
    with pytest.raises(ValueError, match=r"(loss|huber_delta|quantiles) must"):
        loss_from_json(stored)
