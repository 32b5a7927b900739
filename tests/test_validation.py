"""Checks of examples and targets: what is read as it is, what is converted, what is refused and how."""

import numpy as np
import pytest

import schuss
from schuss import DataError, Network, validation

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
X = np.arange(12, dtype=np.float32).reshape(4, 3)


def refused(check, message):
    with pytest.raises(DataError, match=message) as caught:
        check()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["float32", "float64", "uint8"])
def test_read_where_they_are(kind):
    given = X.astype(kind)
    assert validation.examples(given, 3, F32) is given
    assert np.shares_memory(validation.examples(given[1:], 3, F32), given)
    assert np.shares_memory(validation.examples(given[::2], 3, F32), given)
    assert np.shares_memory(validation.examples(given[:, :2], 2, F32), given)


def test_read_only_examples_are_read():
    given = X.copy()
    given.flags.writeable = False
    y = np.array([0, 1, 1, 0], np.int32)
    y.flags.writeable = False
    assert np.isfinite(Network((3, 2), seed=0).step(given, y))


@pytest.mark.parametrize("kind", ["int8", "int64", "uint16", "bool", "float16"])
def test_converted(kind):
    assert validation.examples(X.astype(kind), 3, F64).dtype == F64
    assert validation.examples(X.astype(kind), 3, F32).dtype == F32


def test_lists_are_converted():
    assert validation.examples([[1, 2]], 2, F32).dtype == F32
    assert validation.examples([[1.5, 2]], 2, F32).dtype == F64


BAD_X = {
    "strings": ([["a", "b", "c"]], "X must hold real numbers, got dtype <U1"),
    "complex": (X * 1j, "X must hold real numbers, got dtype complex64"),
    "objects": (np.array([[None] * 3]), "X must hold real numbers, got dtype object"),
    "one dimension": (
        X[0],
        r"X must have 2 dimensions .*, got shape \(3,\); one example is .*X.reshape\(1, -1\)",
    ),
    "three dimensions": (X[None], r"X must have 2 dimensions .*, got shape \(1, 4, 3\)"),
    "a number": (3.0, r"X must have 2 dimensions .*, got shape \(\)"),
    "no examples": (X[:0], r"X must hold at least one example, got shape \(0, 3\)"),
    "features": (X[:, :2], "X must have 3 features, got 2"),
    "no features": (X[:, :0], "X must have 3 features, got 0"),
    "nan": (np.where(X == 7, np.nan, X), "X must be finite, got nan in row 2, column 1"),
    "infinity": (np.where(X == 0, -np.inf, X), "X must be finite, got -inf in row 0, column 0"),
    "float16 infinity": (np.full((1, 3), np.inf, np.float16), "X must be finite, got inf"),
}


@pytest.mark.parametrize("case", BAD_X)
@pytest.mark.parametrize("method", ["forward", "predict", "loss", "gradient", "step", "train", "validation"])
def test_bad_examples(case, method):
    bad, message = BAD_X[case]
    network = Network((3, 2), seed=0)
    y = np.zeros(np.shape(bad)[0] if np.ndim(bad) else 1, int)
    if method in ("forward", "predict"):
        refused(lambda: getattr(network, method)(bad), message)
    elif method == "train":
        refused(lambda: schuss.train(bad, y, network=network), message)
    elif method == "validation":
        refused(
            lambda: schuss.train(X, [0, 1, 0, 1], network=network, validation=(bad, y)),
            "validation " + message,
        )
    else:
        refused(lambda: getattr(network, method)(bad, y), message)


def test_no_features_at_all():
    with pytest.raises(ValueError, match=r"feature|layer_sizes"):
        schuss.train(X[:, :0], [0, 1, 0, 1])


BAD_Y = {
    "too few": ([0, 1, 0], r"y must have 4 entries, one an example, got shape \(3,\)"),
    "a number": (1, r"y must have 4 entries, one an example, got shape \(\)"),
    "class too high": ([0, 1, 2, 0], "y must hold class numbers below 2, got 2"),
    "negative class": ([0, -1, 1, 0], "y must hold class numbers below 2, got -1"),
    "strings": (["a", "b", "a", "b"], "y must hold class numbers or numbers, got dtype <U1"),
    "columns": (np.ones((4, 3)), r"y must have 2 columns, one an output, got shape \(4, 3\)"),
    "class numbers as floats": (
        [0.0, 1.0, 1.0, 0.0],
        r"y must have 2 columns, one an output, got shape \(4, 1\)",
    ),
    "three dimensions": (np.ones((4, 2, 1)), r"y must have 2 columns, one an output, got shape \(4, 2, 1\)"),
    "nan": (np.full((4, 2), np.nan), "y must be finite, got nan"),
    "too large for float32": (np.full((4, 2), 1e39), "y must be finite, got"),
    "complex": (np.ones((4, 2)) * 1j, "y must hold class numbers or numbers, got dtype complex128"),
}


@pytest.mark.parametrize("case", BAD_Y)
@pytest.mark.parametrize("method", ["loss", "gradient", "step"])
def test_bad_targets(case, method):
    bad, message = BAD_Y[case]
    refused(lambda: getattr(Network((3, 2), seed=0), method)(X, bad), message)


BAD_LABELS = {
    "unknown": (["ham", "jam", "eggs", "ham"], "y must hold labels known from training .* got .*eggs"),
    "beyond the last": (["ham", "zzz", "jam", "ham"], "y must hold labels known from training .* got .*zzz"),
    "numbers": ([0, 1, 1, 0], "y must hold labels"),
    "too few": (["ham"], r"y must have 4 entries, one an example, got shape \(1,\)"),
    "none": ([None, "ham", "ham", "jam"], "y must hold labels"),
}


@pytest.mark.parametrize("case", BAD_LABELS)
def test_bad_labels(case):
    bad, message = BAD_LABELS[case]
    refused(lambda: Network((3, 2), classes=["ham", "jam"]).loss(X, np.array(bad)), message)
    refused(lambda: Network((3, 2), classes=["ham", "jam"]).loss(X, bad), message)


def test_numbered_labels():
    network = Network((3, 2), classes=[10, 20])
    assert validation.class_numbers(np.array([20, 10, 20]), network.classes).tolist() == [1, 0, 1]
    assert validation.class_numbers(np.array([20.0, 10.0]), network.classes).tolist() == [1, 0]
    for bad, shown in (([0, 1, 0, 1], "0"), ([10, 20, 15, 10], "15"), ([10, 20, np.nan, 10], "nan")):
        refused(
            lambda bad=bad: network.loss(X, bad), f"y must hold labels known from training .* got .*{shown}"
        )
    refused(lambda: network.loss(X, ["10", "20", "10", "20"]), "y must hold labels")


@pytest.mark.parametrize("wrong", [3.0, -1.0])
@pytest.mark.parametrize("output", ["softmax", "logistic"])
def test_log_loss_wants_targets_between_0_and_1(wrong, output):
    network = Network((3, 2), output_activation=output)
    refused(lambda: network.loss(X, np.full((4, 2), wrong)), "y must")


def test_softmax_wants_targets_that_sum_to_1():
    """Else a - y is not the gradient."""
    network = Network((3, 2))
    refused(lambda: network.gradient(X, np.full((4, 2), 0.25)), "y must")


@pytest.mark.parametrize("value", [0, -1, 1.5, "2", None, True, [1]])
def test_positive_integer(value):
    with pytest.raises(ValueError, match="epochs must be an integer of at least 1, got"):
        validation.positive_integer("epochs", value)


def test_hidden_sizes():
    assert validation.hidden_sizes(5) == (5,)
    assert validation.hidden_sizes(np.int64(5)) == (5,)
    assert validation.hidden_sizes([5, 6]) == (5, 6)
    assert validation.hidden_sizes(()) == ()
    assert validation.hidden_sizes(np.array([5, 6])) == (5, 6)
    for bad in (0, [5, 0], [5, -1], [2.5]):
        with pytest.raises(ValueError, match="hidden_layer_sizes must be an integer of at least 1, got"):
            validation.hidden_sizes(bad)


def test_precision():
    assert validation.precision("auto", X) == "float32"
    assert validation.precision("auto", X.astype(np.float64)) == "float64"
    assert validation.precision("auto", X.astype(np.uint8)) == "float32"
    assert validation.precision("float64", X) == "float64"
    with pytest.raises(
        ValueError, match="precision must be one of auto, float32, float64, tf32, bfloat16, got 'half'"
    ):
        validation.precision("half", X)


@pytest.mark.parametrize("known", [np.array(["a", "b"]), np.array(["a", "b"], object)])
@pytest.mark.parametrize("given", [["b", "a"], np.array(["b", "a"]), np.array(["b", "a"], object)])
def test_text_labels_of_any_kind_are_told_apart(known, given):
    assert validation.class_numbers(np.asarray(given), known).tolist() == [1, 0]
    with pytest.raises(DataError, match=r"y must hold labels known from training .*, got 'c'"):
        validation.class_numbers(np.asarray([*given, "c"], dtype=np.asarray(given).dtype), known)
