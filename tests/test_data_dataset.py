"""Dataset, Splits, arrays in memory, and the random split."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from schuss import data
from schuss.data import Dataset, Splits, as_features, encode_labels, from_arrays, split
from schuss.errors import DataError, SchussError

X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = np.array([0, 1, 1, 0], np.int32)
CLASSES = np.array(["ham", "spam"])


def test_dataset_tells_its_sizes_and_labels():
    own = Dataset(X, Y, CLASSES, scale=0.5)
    assert (own.n_examples, own.n_features, len(own), own.scale, own.shift) == (4, 3, 4, 0.5, 0.0)
    assert own.labels.tolist() == ["ham", "spam", "spam", "ham"]
    assert repr(own) == "Dataset(4 examples, 3 features float32, 2 classes)"


def test_targets_without_classes_are_their_own_labels():
    targets = np.array([[0.5, 1], [1, 2], [2, 3], [3, 4]])
    own = Dataset(X, targets)
    assert own.labels is targets
    assert "targets" in repr(own)


def test_take_keeps_everything_but_the_other_rows():
    part = Dataset(X, Y, CLASSES, 0.5, 1.0).take(np.array([3, 1]))
    assert part.X.tolist() == X[[3, 1]].tolist()
    assert part.y.tolist() == [0, 1]
    assert part.classes is CLASSES
    assert (part.scale, part.shift) == (0.5, 1.0)


BAD_DATASETS = {
    "not an array": ({"X": [[1.0]]}, "X must be an array of shape"),
    "one dimension": ({"X": X[0]}, r"X must be an array .* got float32 of shape \(3,\)"),
    "dtype": ({"X": X.astype(np.int64)}, "X must be C-contiguous .* got C-contiguous int64"),
    "order": ({"X": np.asfortranarray(X)}, "X must be C-contiguous .* got not C-contiguous float32"),
    "no examples": ({"X": X[:0]}, r"X must have at least one example .* got shape \(0, 3\)"),
    "no features": ({"X": np.empty((4, 0), np.float32)}, r"got shape \(4, 0\)"),
    "y not an array": ({"y": [0, 1, 1, 0]}, "y must be an array .* got list"),
    "y empty": ({"y": Y[:0]}, "y must be an array .* got int32 of shape"),
    "rows": ({"y": Y[:3]}, "X and y must have as many rows as each other, got 4 and 3"),
    "scale": ({"scale": 0.0}, "scale and shift must be finite"),
    "shift": ({"shift": float("nan")}, "scale and shift must be finite.* nan"),
    "nan": ({"X": np.where(X == 7, np.nan, X)}, "X must hold finite numbers, got nan in row 2, column 1"),
    "y dtype": ({"y": Y.astype(np.int64)}, "y must be int32 class numbers .* got int64"),
    "y 2-D": ({"y": Y[:, None]}, "y must be int32 class numbers"),
    "too high": ({"y": Y * 2}, "y must hold class numbers from 0 to 1, got 2"),
    "negative": ({"y": -Y}, "y must hold class numbers from 0 to 1, got -1"),
    "classes order": ({"classes": CLASSES[::-1]}, "classes must be sorted"),
    "integer targets": ({"classes": None}, "y without classes must be float32 or float64, got int32"),
    "infinite target": (
        {"classes": None, "y": np.array([0, 1, np.inf, 0])},
        "y must hold finite numbers, got inf in row 2",
    ),
}


@pytest.mark.parametrize("case", BAD_DATASETS)
def test_dataset_refuses(case):
    change, message = BAD_DATASETS[case]
    with pytest.raises(DataError, match=message) as caught:
        Dataset(**{"X": X, "y": Y, "classes": CLASSES, **change})
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, SchussError)


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (Dataset(X[:, :2].copy(), Y, CLASSES), "number of features must be train's 3 in test, got 2"),
        (Dataset(X, Y, CLASSES, scale=2.0), "scale must be train's 1.0"),
        (Dataset(X, Y, CLASSES, shift=2.0), "shift must be train's 0.0"),
        (Dataset(X, Y, np.array(["a", "b"])), "classes must be train's"),
        (Dataset(X, np.ones((4, 2))), "shape of a target"),
    ],
)
def test_splits_refuse_parts_that_do_not_fit(other, what):
    with pytest.raises(DataError, match=rf"mine: {what}"):
        Splits(Dataset(X, Y, CLASSES), None, other, "mine")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("float64", "float64"),
        ("float32", "float32"),
        ("uint8", "uint8"),
        ("int64", "float32"),
        ("bool", "float32"),
        ("float16", "float32"),
        (">f8", "float64"),
        ("longdouble", "float64"),
    ],
)
def test_types_of_features(given, expected):
    features = as_features(np.ones((3, 2)).astype(given)[::-1])
    assert features.dtype == np.dtype(expected)
    assert features.dtype.isnative
    assert features.flags.c_contiguous


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([1.0, 2.0], r"mine must have shape \(n_examples, n_features\)"),
        (np.empty((0, 2)), r"got shape \(0, 2\)"),
        ([[1j]], "mine must hold real numbers, got dtype complex128"),
        ([["a"]], "mine must hold real numbers"),
        ([[1, None]], "mine must be an array of numbers or strings, got dtype object"),
        ([[1], [1, 2]], "mine must be an array of numbers or strings"),
        (np.array([["2020-01-01"]], "M8[D]"), "got dtype datetime64"),
        ([[1.0, np.inf]], "mine must hold finite numbers, got inf in row 0, column 1"),
    ],
)
def test_features_refused(bad, message):
    with pytest.raises(DataError, match=message):
        as_features(bad, "mine")


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([3, 1, 3], [1, 3]),
        ([True, False, True], [False, True]),
        (["b", "a", "b"], ["a", "b"]),
        (np.array(["b", "a", "b"], object), ["a", "b"]),
        ([b"b", b"a", b"b"], ["a", "b"]),
    ],
)
def test_labels_are_numbered_in_sorted_order(labels, classes):
    numbers, found = encode_labels(labels)
    assert found.tolist() == classes
    assert numbers.tolist() == [1, 0, 1]
    assert numbers.dtype == np.int32
    again, same = encode_labels(labels, found)
    assert again.tolist() == [1, 0, 1]
    assert same is found


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 2, 5], r"y must hold labels known from training \(1, 2, 3\), got 5"),
        ([0], "got 0"),
        (["1"], "got '1'"),
        ([1.0], "y must be one column of integer, boolean or string labels, got float64"),
        ([[1]], "y must be one column"),
    ],
)
def test_unknown_labels(labels, message):
    with pytest.raises(DataError, match=message):
        encode_labels(labels, np.array([1, 2, 3]))


def test_many_known_labels_are_not_all_listed():
    with pytest.raises(DataError, match=r"9 and 90 more\), got 500"):
        encode_labels([500], np.arange(100))


def test_from_arrays():
    labelled = from_arrays([[1, 2], [3, 4]], [["no"], ["yes"]], scale=0.5, shift=-1.0)
    assert labelled.X.dtype == np.float32
    assert labelled.labels.tolist() == ["no", "yes"]
    assert (labelled.scale, labelled.shift) == (0.5, -1.0)
    assert from_arrays(X, Y.astype(np.float16)).y.dtype == np.float64
    assert from_arrays(X, np.ones((4, 2), np.float32)).y.dtype == np.float32
    assert from_arrays(X, [1, 0, 0, 1], classes=np.arange(3)).classes.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([1, 2], r"y must have one row for each of the 4 examples in X, got shape \(2,\)"),
        (np.ones((4, 2, 2)), "y must have one row"),
        (np.ones((4, 2), int), "y must be one column of integer"),
        ([0.5, np.nan, 1, 1], "y must hold finite numbers, got nan in row 1"),
    ],
)
def test_from_arrays_refuses(y, message):
    with pytest.raises(DataError, match=message):
        from_arrays(X, y)


def test_split_is_disjoint_complete_and_repeatable():
    own = from_arrays(np.arange(103)[:, None], np.arange(103) % 2)
    parts = split(own, name="mine", seed=4)
    assert [len(p) for p in (parts.train, parts.validation, parts.test)] == [83, 10, 10]
    rows = np.concatenate([p.X[:, 0] for p in (parts.train, parts.validation, parts.test)])
    assert sorted(rows) == list(range(103))
    assert rows.tolist() != sorted(rows)
    assert np.array_equal(split(own, name="mine", seed=4).train.X, parts.train.X)
    assert not np.array_equal(split(own, name="mine", seed=5).train.X, parts.train.X)
    assert repr(parts) == "Splits('mine': train 83, validation 10, test 10)"


def test_few_examples_are_all_for_training():
    parts = split(from_arrays(np.ones((9, 1)), np.ones(9)), name="few")
    assert len(parts.train) == 9
    assert parts.validation is None
    assert parts.test is None


@pytest.mark.parametrize("seed", [-1, 1.5, True, None])
def test_seed_must_be_a_natural_number(seed):
    with pytest.raises(DataError, match=rf"seed must be an integer of at least 0, got {seed}"):
        split(from_arrays(np.ones((20, 1)), np.ones(20)), name="mine", seed=seed)


def test_import_is_light():
    # alone, without what the package around it imports
    code = (
        "import sys, types; package = types.ModuleType('schuss'); package.__path__ = [sys.argv[1]];"
        "sys.modules['schuss'] = package; import schuss.data;"
        "print({'sklearn', 'pooch', 'scipy', 'requests', 'platformdirs', 'pyarrow'} & set(sys.modules))"
    )
    package = str(Path(data.__file__).parents[1])
    result = subprocess.run([sys.executable, "-c", code, package], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
