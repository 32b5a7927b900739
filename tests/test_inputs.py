"""X as estimators take it: what is converted, what is not copied, and what every refusal says."""

import numpy as np
import pytest
import scipy.sparse
import sklearn
from sklearn.base import BaseEstimator

from schuss.errors import DataError
from schuss.estimators import inputs

ENCODE = "encode with sklearn.preprocessing.OneHotEncoder, OrdinalEncoder or TargetEncoder"
FILL = "fill with sklearn.impute.SimpleImputer or KNNImputer"


class Estimator(BaseEstimator):
    pass


def examples(X, **options):
    return inputs.examples(Estimator(), X, **({"reset": True} | options))


def fitted(X):
    estimator = Estimator()
    inputs.examples(estimator, X, reset=True)
    return estimator


def refused(message, X, kind=DataError, **options):
    with pytest.raises(kind) as caught:
        examples(X, **options)
    assert str(caught.value) == message
    assert isinstance(caught.value, ValueError | TypeError)


# --- Arrays ---------------------------------------------------------------------------------------

TYPES = {
    "float16": "float64",
    "float32": "float32",
    "float64": "float64",
    "longdouble": "float64",
    "int8": "float64",
    "uint8": "uint8",
    "int64": "float64",
    "uint64": "float64",
    "bool": "float64",
    "object": "float64",
    ">f4": "float32",
    ">f8": "float64",
    ">i2": "float64",
}


@pytest.mark.parametrize("dtype", TYPES)
def test_types(dtype):
    X = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    got = examples(X)
    assert got.dtype == TYPES[dtype]
    assert got.dtype.isnative
    assert got.tolist() == [[0, 1, 1], [1, 0, 1]]


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_what_the_engine_reads_is_not_copied(dtype):
    X = np.ones((6, 4), dtype)
    for part in (X, X[1:5], X[::2], X[:, 1:3], X[:, 2:3]):
        assert np.shares_memory(examples(part), X)
        again = inputs.examples(fitted(part), part, reset=False)
        assert np.shares_memory(again, X)


@pytest.mark.parametrize(
    "view",
    [
        lambda X: np.asfortranarray(X),
        lambda X: X[::-1],
        lambda X: X[:, ::-1],
        lambda X: X[:, ::2],
        lambda X: X.T,
        lambda X: np.broadcast_to(X[:1], (3, 4)),
        lambda X: np.frombuffer(b"\0" + X.tobytes(), X.dtype, offset=1).reshape(X.shape),
        lambda X: np.ma.array(X, mask=False),
    ],
)
def test_layouts(view):
    X = view(np.arange(12.0).reshape(3, 4))
    for got in (examples(X), inputs.examples(fitted(X), X, reset=False)):
        assert np.array_equal(got, X)
        assert got.flags.aligned
        assert got.strides[1] == 8
        assert got.strides[0] >= 0


def test_memory_maps(tmp_path):
    np.save(tmp_path / "X.npy", np.arange(6.0).reshape(3, 2))
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    got = examples(X)
    assert type(got) is np.ndarray
    assert np.shares_memory(got, X)
    assert not got.flags.writeable


def test_lists_and_objects_that_become_arrays():
    class Wrapped:
        def __array__(self, dtype=None, copy=None):
            return np.array([[1, 2]], dtype or np.int64)

    assert examples([[1, 2], [3, 4.5]]).tolist() == [[1, 2], [3, 4.5]]
    assert examples(((1, 2),)).tolist() == [[1, 2]]
    assert examples(Wrapped()).tolist() == [[1, 2]]
    assert examples([["1", "2.5"]]).tolist() == [[1, 2.5]]  # as in scikit-learn


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([1, 2], "Reshape your data"),
        (3.0, "Expected 2D array, got scalar"),
        (np.ones((2, 2, 2)), "Found array with dim 3"),
        (np.ones((0, 3)), r"Found array with 0 sample\(s\) \(shape=\(0, 3\)\)"),
        (np.ones((3, 0)), r"0 feature\(s\) \(shape=\(3, 0\)\) while a minimum of 1 is required"),
        (np.array([[1j]]), "Complex data not supported"),
        ([[1, 2], [3]], "inhomogeneous"),
    ],
)
def test_scikit_learn_says_what_it_knows(X, message):
    with pytest.raises(ValueError, match=message):
        examples(X)


def with_values(value, *places, shape=(3, 4)):
    X = np.zeros(shape)
    for place in places:
        X[place] = value
    return X


def test_nan_and_infinity_are_counted_and_located():
    nan = with_values(np.nan, (1, 2), (2, 0))
    refused(f"Input X contains NaN: 2 values, the first in row 1, column 2; {FILL}", nan)
    refused(f"Input X_val contains NaN: 2 values, the first in row 1, column 2; {FILL}", nan, name="X_val")
    one = with_values(-np.inf, (2, 3)).astype(np.float32)
    infinite = "Input X contains infinity or a value too large for {}: 1 value, the first in row {}"
    refused(infinite.format("float32", "2, column 3"), one)
    refused(infinite.format("float64", "0, column 1"), np.array([[1, "1e400"]], object))
    with_none = np.array([[1, 2], [None, 3]], object)
    refused(f"Input X contains NaN: 1 value, the first in row 1, column 0; {FILL}", with_none)


@pytest.mark.parametrize("shape", [(1, 3), (2000, 300)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_nan_is_found_everywhere_when_predicting(shape, order):
    estimator = fitted(np.ones((2, shape[1])))
    last = (shape[0] - 1, shape[1] - 1)
    for place in ((0, 0), last):
        for value in (np.nan, np.inf):
            X = np.asarray(with_values(value, place, shape=shape), order=order)
            with pytest.raises(DataError, match=f"row {place[0]}, column {place[1]}"):
                inputs.examples(estimator, X, reset=False)


def test_large_values_are_finite():
    for dtype in (np.float32, np.float64):
        X = np.full((300, 30), np.finfo(dtype).max, dtype)
        for part in (X, X[:1], -X):
            assert examples(part) is part
            assert inputs.examples(fitted(part), part, reset=False) is part


def test_assume_finite_is_honoured():
    with sklearn.config_context(assume_finite=True):
        assert np.isnan(examples(np.array([[np.nan]]))).all()
        assert np.isnan(examples(scipy.sparse.csr_array(np.array([[np.nan]]))).data).all()


def test_values_that_are_no_numbers():
    refused(f"X must hold numbers, got 'red' in row 1, column 0; {ENCODE}", [[1, 2], ["red", 3]])
    objects = np.array([[1, 2], [3, "red"]], object)
    refused(f"X must hold numbers, got 'red' in row 1, column 1; {ENCODE}", objects)
    refused(f"X_val must hold numbers, got 'red' in row 1, column 1; {ENCODE}", objects, name="X_val")
    with pytest.raises(
        TypeError, match=r"argument must be .* string.* number, not 'dict' in row 0, column 1"
    ):
        examples(np.array([[1, {}]], object))
    with pytest.raises(DataError, match=r"X must hold numbers: int too large .* in row 0, column 0"):
        examples(np.array([[10**400, 1]], object))
    refused("X must hold numbers, got dtype datetime64[D]", np.array([["2020-01-01"]], "M8[D]"))
    refused(f"X must have no masked values, got 1; {FILL}", np.ma.array([[1.0, 2]], mask=[[0, 1]]))


def test_number_of_features():
    estimator = fitted(np.ones((2, 3)))
    assert estimator.n_features_in_ == 3
    wrong = "X has 4 features, but Estimator is expecting 3 features as input."
    for X in (np.ones((2, 4)), [[1, 2, 3, 4]], scipy.sparse.csr_array(np.ones((2, 4)))):
        with pytest.raises(ValueError, match=wrong):
            inputs.examples(estimator, X, reset=False)
        with pytest.raises(DataError, match=f"X_val: {wrong}"):
            inputs.examples(estimator, X, reset=False, name="X_val")
    assert examples(np.ones((2, 4))).shape == (2, 4)


# --- Sparse ---------------------------------------------------------------------------------------

DENSE = np.array([[0, 1.5, 0, 0], [0, 0, 0, 2], [0, 0, 0, 0]])


@pytest.mark.parametrize("format", ["csr", "csc", "coo", "lil", "dok", "dia", "bsr"])
@pytest.mark.parametrize("kind", [scipy.sparse.csr_matrix, scipy.sparse.csr_array])
def test_every_sparse_format(format, kind):
    X = kind(DENSE).asformat(format)
    got = examples(X)
    assert scipy.sparse.issparse(got)
    assert (got.format, got.dtype) == ("csr", np.float64)
    assert got.toarray().tolist() == DENSE.tolist()
    assert X.toarray().tolist() == DENSE.tolist()


@pytest.mark.parametrize(
    ("dtype", "wanted"),
    [("bool", "f8"), ("int32", "f8"), ("uint8", "f4"), ("float32", "f4"), ("longdouble", "f8")],
)
def test_sparse_types(dtype, wanted):
    got = examples(scipy.sparse.csr_array(DENSE.astype(dtype)))
    assert got.dtype == wanted
    assert got.dtype.isnative
    assert got.toarray().tolist() == DENSE.astype(dtype).tolist()


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [[1, 1, 3], [3, 1, 1]])
def test_csr_is_copied_only_to_be_sorted(index, dtype, columns):
    X = scipy.sparse.csr_matrix(DENSE.astype(dtype))
    X.data, X.indices = np.array([1, 5, 2] if columns[0] == 1 else [2, 1, 5], dtype), np.array(columns, index)
    X.indptr = np.array([0, 3, 3, 3], index)
    got = examples(X)
    assert (got is X) == (columns == [1, 1, 3])
    assert X.indices.tolist() == columns  # the user's own stays
    assert got.indices.dtype == got.indptr.dtype
    assert got.indices.tolist() == [1, 1, 3]
    assert got.toarray()[0].tolist() == [0, 6, 0, 2]


@pytest.mark.parametrize("format", ["csr", "csc", "coo", "bsr"])
def test_64_bit_indices(format):
    X = scipy.sparse.csr_array(DENSE).asformat(format)
    for name in ("row", "col") if format == "coo" else ("indices", "indptr"):
        setattr(X, name, getattr(X, name).astype(np.int64))
    got = examples(X)
    assert got.indices.dtype == got.indptr.dtype
    assert got.toarray().tolist() == DENSE.tolist()


def test_parts_that_the_engine_cannot_read_are_copied():
    X = scipy.sparse.csr_array(DENSE)
    X.indices = X.indices.astype(np.int64)
    got = examples(X)
    assert got.indices.dtype == got.indptr.dtype
    assert X.indices.dtype != X.indptr.dtype  # the user's own stays
    for values in (np.repeat(X.data, 2)[::2], X.data.astype(">f8"), X.data.astype(">f4")):
        X = scipy.sparse.csr_array(DENSE)
        X.data = values
        got = examples(X)
        assert got.data.flags.c_contiguous
        assert got.dtype.isnative
        assert got.toarray().tolist() == DENSE.tolist()


def test_sparse_refusals():
    X = scipy.sparse.csr_array(DENSE)
    X.data[1] = np.nan
    refused(f"Input X contains NaN: 1 value, the first in row 1, column 3; {FILL}", X)
    X.data[1] = np.inf
    too_large = "Input X contains infinity or a value too large for float64"
    refused(f"{too_large}: 1 value, the first in row 1, column 3", X.tocsc())
    X.indptr = np.array([0, 1, 1, 1], X.indptr.dtype)  # the infinite value belongs to no row now
    assert examples(X).nnz == 1
    with pytest.raises(ValueError, match="Complex data not supported"):
        examples(scipy.sparse.csr_array(DENSE * 1j))
    with pytest.raises(ValueError, match="Expected 2D input"):
        examples(scipy.sparse.coo_array(DENSE[0]))
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)"):
        examples(scipy.sparse.csr_array((0, 3)))
