"""Names of features: who has them, who keeps them, and tables read by them."""

import numpy as np
import pytest

from schuss import data
from schuss.errors import DataError

CSV = "a,kind,b,note\n1,x,2,u\n3,y,4,\n"


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=["own.csv", "own.parquet"])
def write(request, tmp_path):
    """A function that writes a table with a header, of texts in CSV, of each kind."""

    def write(text):
        if request.param == "own.parquet":
            pyarrow = pytest.importorskip("pyarrow")
            from pyarrow import parquet

            header, *rows = (line.split(",") for line in text.splitlines())
            columns = [pyarrow.array(column) for column in zip(*rows, strict=True)]
            parquet.write_table(pyarrow.table(columns, header), request.param)
        else:
            (tmp_path / request.param).write_text(text)
        return request.param

    return write


def test_a_table_has_the_names_of_its_features(write):
    path = write("a,kind,b\n1,x,2\n3,y,4\n")
    assert data.load_table(path, target="kind").names == ("a", "b")
    assert data.load_table(path, target="kind").take(np.array([1])).names == ("a", "b")
    assert data.load(path, target="kind").train.names == ("a", "b")


def test_parts_keep_them(tmp_path):
    (tmp_path / "own.csv").write_text("a,b,k\n" + "1,2,x\n3,4,y\n" * 10)
    parts = data.load("own.csv")
    assert {part.names for part in (parts.train, parts.validation, parts.test)} == {("a", "b")}


def test_who_has_none(tmp_path):
    (tmp_path / "bare.csv").write_text("1,2,0\n3,4,1\n")
    np.savez("own.npz", X=np.zeros((2, 2)), y=[0, 1])
    assert data.load_table("bare.csv").names is None
    assert data.load_table("own.npz").names is None
    assert data.load("digits").train.names is None


def test_names_that_tell_nothing_apart_are_none(write):
    assert data.load_table(write("a,a,k\n1,2,x\n3,4,y\n")).names is None


def test_names_of_a_dataset():
    X, y = np.zeros((2, 3)), np.zeros(2)
    assert data.from_arrays(X, y, feature_names=("a", "b", "c")).names == ("a", "b", "c")
    for names in (("a", "b"), ("a", "b", "a")):
        with pytest.raises(DataError, match="names must be 3 names that differ from each other, got"):
            data.Dataset(X, y, names=names)
    with pytest.raises(DataError, match="names must be train's"):
        data.Splits(
            data.Dataset(X, y, names=("a", "b", "c")), data.Dataset(X, y, names=("a", "c", "b")), None, ""
        )


@pytest.mark.parametrize("features", [("a", "b"), ("b", "a"), ("b",)])
def test_features_by_name(write, features):
    path = write(CSV)
    columns = {"a": [1, 3], "b": [2, 4]}
    wanted = np.array([columns[name] for name in features]).T
    table = data.load_table(path, target="kind", features=features)
    assert np.array_equal(table.X, wanted)
    assert table.X.flags.c_contiguous
    assert table.names == features
    assert table.labels.tolist() == ["x", "y"]
    assert np.array_equal(data.load(path, target="kind", features=features).train.X, wanted)
    for target in (None, "kind", "kind,note"):
        assert np.array_equal(data.load_features(path, features=features, target=target), wanted)
    assert np.array_equal(data.load_features(path, features=features, n_features=len(features)), wanted)


def test_the_target_is_then_the_last_of_the_others(write):
    path = write("k,a,b\n0,1,2\n1,3,4\n")
    assert data.load_table(path, features=("a", "b")).labels.tolist() in ([0, 1], ["0", "1"])
    assert data.load_table(path, features=("k", "b")).labels.tolist() in ([1, 3], ["1", "3"])


def test_weights(write):
    path = write("w,a,k,b\n1,1,x,2\n0.5,3,y,4\n")
    found, weights = data.load_weighted(path, "w", target="k", features=("b",))
    assert (found.X.tolist(), weights.tolist(), found.names) == ([[2], [4]], [1, 0.5], ("b",))
    found, weights = data.load_weighted(path, 0, target="k")
    assert (found.X.tolist(), weights.tolist()) == ([[1, 2], [3, 4]], [1, 0.5])
    assert weights.dtype == np.float64


def test_weights_without_a_table():
    with pytest.raises(DataError, match=r"digits: must be a \.csv, .* file to have a column of weights"):
        data.load_weighted("digits", "w")


BAD = {
    "missing": (
        {"features": ("a", "c", "d")},
        "lacks the feature columns 'c', 'd'; it has columns 'a', 'kind'",
    ),
    "many missing": (
        {"features": tuple(map(str, range(12)))},
        "'8', '9' and 2 more; it has",
    ),
    "a target": ({"features": ("a", "b"), "target": "b"}, "target must be none of the features, got 'b'"),
    "an index": ({"features": ("a", "b"), "target": 2}, "target must be none of the features, got 'b'"),
    "nothing left": (
        {"features": ("a", "kind", "b", "note")},
        "must have a target column beside the 4 features",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_refused(write, case):
    options, message = BAD[case]
    path = write(CSV)
    with pytest.raises(DataError) as caught:
        data.load(path, **options)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("kind", "weights must name another column than the target, got 'kind'"),
        ("a", "weights must be none of the features, got 'a'"),
        ("v", "weights must be a column of the file (a, kind, b, note), got 'v'"),
        (7, "weights must be an index from -4 to 3, got 7"),
        ("note", "column 3 ('note'): "),
    ],
)
def test_weights_refused(write, weights, message):
    with pytest.raises(DataError) as caught:
        data.load_weighted(write(CSV), weights, target="kind", features=("a", "b"))
    assert message in str(caught.value)


def test_a_name_twice(write):
    path = write("a,a,k\n1,2,x\n3,4,y\n")
    with pytest.raises(DataError, match="must have each feature once, got several times the column 'a'"):
        data.load_features(path, features=("a",))


def test_names_that_are_numbers(tmp_path):
    (tmp_path / "own.csv").write_text("1,0,label\n10,20,3\n30,40,4\n")
    assert data.load_table("own.csv", features=("0", "1")).X.tolist() == [[20, 10], [40, 30]]
    (tmp_path / "own.csv").write_text("1,0\n10,20\n30,40\n")
    assert data.load_features("own.csv", features=("0", "1")).tolist() == [[20, 10], [40, 30]]


def test_without_a_header_they_go_by_place(tmp_path):
    (tmp_path / "own.csv").write_text("1,2,x\n3,4,y\n")
    found = data.load_table("own.csv", features=("b", "a"))
    assert (found.X.tolist(), found.names) == ([[1, 2], [3, 4]], None)
    assert data.load_features("own.csv", features=("b", "a"), n_features=2).tolist() == [[1, 2], [3, 4]]


def test_the_index_that_pandas_stored_may_be_a_feature():
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"a": [1.0, 2], "y": [0, 1]}, index=pandas.Index([7, 8], name="id"))
    frame.to_parquet("own.parquet")
    assert data.load_table("own.parquet", features=("id", "a")).X.tolist() == [[7, 1], [8, 2]]


def test_several_columns_of_whole_numbers_are_targets(tmp_path):
    y = np.array([[0, 1], [1, 1]])
    np.savez("own.npz", X=np.zeros((2, 3)), y=y)
    found = data.load_table("own.npz")
    assert found.classes is None
    assert (found.y.tolist(), found.y.dtype) == (y.tolist(), np.float64)


def test_the_empty_text_is_no_source():
    np.save("X.npy", np.zeros((2, 2)))
    np.save("y.npy", np.arange(2))
    with pytest.raises(DataError, match="got ''"):
        data.load("")
