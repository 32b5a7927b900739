"""Data frames as estimators take them: columns with names, and what every refusal says of them."""

import warnings

import numpy as np
import pytest
import scipy.sparse
from test_inputs import DENSE, ENCODE, FILL, Estimator, examples, fitted, refused

from schuss.errors import DataError
from schuss.estimators import inputs


@pytest.fixture(params=["pandas", "polars", "arrow", "batch"])
def make(request):
    """A function from columns to a frame of each library."""
    if request.param == "pandas":
        return pytest.importorskip("pandas").DataFrame
    if request.param == "polars":
        return pytest.importorskip("polars").DataFrame
    arrow = pytest.importorskip("pyarrow")
    return arrow.table if request.param == "arrow" else arrow.RecordBatch.from_pydict


def column(dtype, values=(1, 0, 1)):
    return np.array(values, dtype)


def test_frames_are_numbers_with_names(make):
    frame = make({"b": column("f8", (1, 2.5, 3)), "a": column("i4"), "c": column("bool")})
    estimator = Estimator()
    got = inputs.examples(estimator, frame, reset=True)
    assert got.dtype == np.float64
    assert got.flags.c_contiguous
    assert got.tolist() == [[1, 1, 1], [2.5, 0, 0], [3, 1, 1]]
    assert estimator.feature_names_in_.tolist() == ["b", "a", "c"]
    assert estimator.feature_names_in_.dtype == object
    assert estimator.n_features_in_ == 3
    assert np.array_equal(inputs.examples(estimator, frame, reset=False), got)


@pytest.mark.parametrize(
    ("dtypes", "wanted"),
    [
        (["f4", "f4"], "f4"),
        (["f4", "f8"], "f8"),
        (["f4", "i2"], "f4"),
        (["f4", "i8"], "f8"),
        (["f4", "bool"], "f4"),
        (["i4", "i4"], "f8"),
        (["u1", "u1"], "u1"),
        (["bool", "bool"], "f8"),
    ],
)
def test_frame_types(make, dtypes, wanted):
    got = examples(make({f"c{i}": column(dtype) for i, dtype in enumerate(dtypes)}))
    assert got.dtype == wanted
    assert got.tolist() == [[1, 1], [0, 0], [1, 1]]


def test_long_frames(make):
    values = np.arange(5000.0)
    got = examples(make({"a": values, "b": -values.astype("f4")}))
    assert np.array_equal(got, np.column_stack([values, -values]))


def test_names_are_compared(make):
    values = column("f8")
    estimator = fitted(make({"a": values, "b": values}))
    renamed, swapped = make({"a": values, "c": values}), make({"b": values, "a": values})
    fewer = make({"a": values})
    for frame, message in (
        (
            renamed,
            "Feature names unseen at fit time:\n- c\nFeature names seen at fit time, yet now missing:\n- b",
        ),
        (swapped, "Feature names must be in the same order as they were in fit."),
        (fewer, "Feature names seen at fit time, yet now missing:\n- b"),
    ):
        with pytest.raises(ValueError, match=message):
            inputs.examples(estimator, frame, reset=False)
    with pytest.raises(DataError, match=r"^X_val: The feature names should match"):
        inputs.examples(estimator, swapped, reset=False, name="X_val")
    for X in (np.ones((2, 2)), [[1, 2]]):
        with pytest.warns(UserWarning, match="X does not have valid feature names"):
            inputs.examples(estimator, X, reset=False)
    with pytest.warns(UserWarning, match="X has feature names, but Estimator was fitted without"):
        inputs.examples(fitted(np.ones((2, 2))), swapped, reset=False)
    inputs.examples(estimator, np.ones((2, 2)), reset=True)
    assert not hasattr(estimator, "feature_names_in_")


def test_missing_and_infinite_columns_are_named(make):
    nan, inf = column("f8", (1, np.nan, np.nan)), column("f8", (1, np.inf, 0))
    many = {f"c{i}": nan for i in range(12)}
    refused(
        f"X must hold a finite number in every column: missing values (NaN) in column 'b' (2), {FILL}; "
        "infinity in column 'd' (1)",
        make({"a": column("f4"), "b": nan, "d": inf}),
    )
    with pytest.raises(DataError, match=r"columns 'c0' \(2\), .*, 'c9' \(2\) and 2 more, fill with"):
        examples(make(many))


def test_text_and_category_columns_are_named(make):
    values = ["x", "y", "x"]
    refused(
        f"X must hold a finite number in every column: no numbers in columns 'a' (text), 'c' (text), {ENCODE}",
        make({"a": values, "b": column("f4"), "c": values}),
    )
    dates = column("M8[us]", ["2020-01-01", "2021-01-01", "2022-01-01"])
    refused(
        "X must hold a finite number in every column: no numbers in column 'day' (datetime), "
        "derive numbers with sklearn.preprocessing.FunctionTransformer",
        make({"day": dates}),
    )


def test_pandas_columns():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "int": pandas.array([1, 0, 1], "Int64"),
            "float": pandas.array([1, 0.5, 1], "Float32"),
            "bool": pandas.array([True, False, True], "boolean"),
            "objects": np.array([1, 2.5, True], object),
        }
    )
    assert examples(frame).tolist() == [[1, 1, 1, 1], [0, 0.5, 0, 2.5], [1, 1, 1, 1]]
    assert examples(frame[["float"]]).dtype == np.float32
    holes = frame.copy()
    holes.loc[1] = pandas.NA
    text = frame.assign(objects=[1, "a", None], kind=pandas.Categorical(["a", "b", None]))
    refused(
        "X must hold a finite number in every column: missing values (NaN) in columns "
        f"'int' (1), 'float' (1), 'bool' (1), 'objects' (1), {FILL}",
        holes,
    )
    refused(
        f"X must hold a finite number in every column: no numbers in columns 'objects' (objects), "
        f"'kind' (categorical), {ENCODE}; missing values (NaN) in columns 'objects' (1), 'kind' (1), {FILL}",
        text,
    )
    with pytest.raises(ValueError, match=r"Expected a 2-dimensional container but got .*Series"):
        examples(frame["int"])
    unnamed = fitted(pandas.DataFrame(np.ones((2, 2))))
    assert not hasattr(unnamed, "feature_names_in_")
    with pytest.raises(TypeError, match="Feature names are only supported if all input features have string"):
        examples(pandas.DataFrame(np.ones((2, 2)), columns=["a", 1]))
    with pytest.raises(ValueError, match=r"0 feature\(s\)"):
        examples(pandas.DataFrame(index=[0, 1]))


def test_pandas_sparse_columns_stay_sparse():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame.sparse.from_spmatrix(scipy.sparse.csr_array(DENSE), columns=list("abcd"))
    estimator = Estimator()
    got = inputs.examples(estimator, frame, reset=True)
    assert scipy.sparse.issparse(got)
    assert got.toarray().tolist() == DENSE.tolist()
    assert estimator.feature_names_in_.tolist() == list("abcd")
    mixed = frame.assign(b=[1.0, 2.0, 3.0])
    assert examples(mixed).tolist() == mixed.to_numpy().tolist()


def test_polars_columns():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(
        {
            "decimal": polars.Series([1, 2, 3], dtype=polars.Decimal(10, 2)),
            "wide": polars.Series([1, 2, 3], dtype=polars.Int128),
        }
    )
    assert examples(frame).tolist() == [[1, 1], [2, 2], [3, 3]]
    lists = frame.with_columns(
        lists=polars.Series([[1], [2], [3]]),
        kind=polars.Series(["a", "b", None], dtype=polars.Enum(["a", "b"])),
        day=polars.Series([1, 2, 3]).cast(polars.Date),
    )
    refused(
        f"X must hold a finite number in every column: no numbers in column 'kind' (categorical), {ENCODE}; "
        "no numbers in column 'day' (date), derive numbers with sklearn.preprocessing.FunctionTransformer; "
        f"no numbers in column 'lists' (List(Int64)); missing values (NaN) in column 'kind' (1), {FILL}",
        lists,
    )
    refused("X must be a frame in memory, got a lazy one (LazyFrame): collect it first", frame.lazy())


def test_arrow_columns():
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table({"a": arrow.chunked_array([[1, 2], [3]]), "flag": [True, False, True]})
    assert examples(table).tolist() == [[1, 1], [2, 0], [3, 1]]
    holes = arrow.table({"a": [1, None, 3], "kind": arrow.array(["x", "y", "x"]).dictionary_encode()})
    refused(
        f"X must hold a finite number in every column: no numbers in column 'kind' (categorical), {ENCODE}; "
        f"missing values (NaN) in column 'a' (1), {FILL}",
        holes,
    )


def test_frames_behave_alike_in_older_scikit_learn(make, monkeypatch):
    """Before 1.9 it asks frames other than pandas' for names by a protocol that polars no longer has."""
    asked = []

    def validate_data(estimator, X, **options):
        asked.append(X.__dataframe__().column_names() if isinstance(X, inputs._Header) else type(X).__name__)
        assert X.shape == (3, 2)

    monkeypatch.setattr(inputs, "_NAMES_BY_PROTOCOL", True)
    monkeypatch.setattr(inputs, "validate_data", validate_data)
    examples(make({"b": column("f8"), "a": column("f8")}))
    assert asked in ([["b", "a"]], ["DataFrame"])  # pandas tells its names itself


def test_no_warnings_where_names_agree(make):
    frame = make({"a": column("f4")})
    estimator = fitted(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inputs.examples(estimator, frame, reset=False)
        inputs.examples(estimator, frame, reset=True)
