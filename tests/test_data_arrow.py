"""Parquet and Arrow files."""

import sys

import numpy as np
import pytest

from schuss import data
from schuss.errors import DataError

pa = pytest.importorskip("pyarrow")
ipc = pytest.importorskip("pyarrow.ipc")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(params=["own.parquet", "own.feather", "own.arrow"])
def write(request, tmp_path, monkeypatch):
    """A function that writes columns to a file of each kind, in several pieces."""
    monkeypatch.chdir(tmp_path)

    def write(columns):
        table = columns if isinstance(columns, pa.Table) else pa.table(columns)
        if request.param == "own.parquet":
            parquet.write_table(table, request.param, row_group_size=2)
        else:
            with ipc.new_file(request.param, table.schema) as file:
                file.write_table(table, max_chunksize=2)
        return request.param

    return write


FEATURES = {"width": [5.1, 4.9, 4.7], "height": pa.array([3, 4, 5], pa.int8())}


def test_text_labels(write):
    table = data.load_table(write(FEATURES | {"kind": ["b", "a", "b"]}))
    assert table.X.tolist() == [[np.float32(5.1), 3], [np.float32(4.9), 4], [np.float32(4.7), 5]]
    assert table.X.dtype == np.float32
    assert table.scale == 1.0
    assert table.classes.tolist() == ["a", "b"]
    assert table.labels.tolist() == ["b", "a", "b"]


@pytest.mark.parametrize("target", ["kind", 0, "0", -3, "-3"])
def test_target_by_name_or_index(write, target):
    path = write({"kind": [2, 1, 2]} | FEATURES)
    table = data.load_table(path, target=target)
    assert table.labels.tolist() == [2, 1, 2]
    assert table.X.shape == (3, 2)
    assert np.array_equal(data.load_features(path, target=target), table.X)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (pa.array([1, -2, 3], pa.int8()), [1, -2, 3]),
        (pa.array([1, 2, 2**63 - 1], pa.uint64()), [1, 2, 2**63 - 1]),
        ([True, False, True], [True, False, True]),
        (["1", "2", "1"], ["1", "2", "1"]),
        (pa.array(["x", "y", "x"], pa.large_string()), ["x", "y", "x"]),
        (pa.array(["x", "y", "x"]).dictionary_encode(), ["x", "y", "x"]),
    ],
)
def test_integers_booleans_and_texts_are_labels(write, values, labels):
    table = data.load_table(write({"a": [1, 2, 3], "k": values}))
    assert table.classes.tolist() == sorted(set(labels))
    assert table.labels.tolist() == labels


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64(), pa.decimal128(5, 1)])
def test_other_numbers_are_regression_targets(write, kind):
    table = data.load_table(write({"a": [1, 2, 3], "y": pa.array([2, 4.5, 1]).cast(kind)}))
    assert table.classes is None
    assert table.y.tolist() == [2, 4.5, 1]
    assert table.y.dtype == np.float64


def test_several_targets_are_a_regression(write):
    path = write({"a": [1, 2], "b": ["5", "6"], "c": [True, False], "d": [0.5, 1]})
    table = data.load_table(path, target="d,b,a")
    assert table.classes is None
    assert table.y.tolist() == [[0.5, 5, 1], [1, 6, 2]]
    assert table.X.tolist() == [[1], [0]]
    assert data.load_features(path, target=["d", "b", "a"]).tolist() == [[1], [0]]


def test_every_type_of_feature(write):
    columns = {
        "half": pa.array([1, 2, 3], pa.float16()),
        "wide": pa.array([1, 2, 3], pa.uint64()),
        "flag": [True, False, True],
        "decimal": pa.array([1.0, 2, 3]).cast(pa.decimal128(5, 1)),
        "text": ["1", "2.5", "3e0"],
        "kinds": pa.array([7, 8, 7]).dictionary_encode(),
    }
    wanted = [[1, 1, 1, 1, 1, 7], [2, 2, 0, 2, 2.5, 8], [3, 3, 1, 3, 3, 7]]
    assert data.load_features(write(columns)).tolist() == wanted


def test_features_with_and_without_a_target_column(write):
    path = write(FEATURES | {"kind": ["a", "b", "a"]})
    assert data.load_features(path, n_features=2).shape == (3, 2)
    with pytest.raises(DataError, match=r"row 0, column 2 \('kind'\): must be a number, got 'a'"):
        data.load_features(path)
    with pytest.raises(DataError, match=r"must have 4 features like the network, got 2"):
        data.load_features(write(FEATURES), n_features=4)


def test_it_equals_the_same_table_in_csv(write, tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 2)), rng.integers(0, 3, 30)
    path = write({"a": X[:, 0], "b": X[:, 1], "y": y})
    lines = ["a,b,y", *(f"{a},{b},{label}" for (a, b), label in zip(X.tolist(), y.tolist(), strict=True))]
    (tmp_path / "own.csv").write_text("\n".join(lines))
    ours, csv = data.load(path, seed=3), data.load("own.csv", seed=3)
    assert np.array_equal(ours.train.X, csv.train.X)
    assert np.array_equal(ours.train.y, csv.train.y)
    assert ours.name == path


def test_the_index_that_pandas_stored_is_no_feature(write):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.0, 2, 3], "y": [0, 1, 0]}, index=[7, 8, 9])
    path = write(pa.Table.from_pandas(frame))
    assert data.load_table(path).X.tolist() == [[1], [2], [3]]
    path = write(pa.Table.from_pandas(frame.rename_axis("id")))
    assert data.load_table(path, target="y").X.tolist() == [[1], [2], [3]]
    assert data.load_table(path, target="id").labels.tolist() == [7, 8, 9]


BAD = {
    "no rows": ({"a": pa.array([], pa.int8())}, {}, "must have at least one row of data, got an empty table"),
    "no columns": ({}, {}, "must have at least one row of data, got an empty table"),
    "text": (
        {"a": ["1", "abc"], "k": [0, 1]},
        {},
        r", row 1, column 0 \('a'\): must be a number, got 'abc'",
    ),
    "text behind target": (
        {"k": [0, 1, 0], "a": [1, 2, 3], "b": ["1", "2", "x"]},
        {"target": "k"},
        r", row 2, column 2 \('b'\): must be a number, got 'x'",
    ),
    "category": (
        {"a": pa.array(["u", "v"]).dictionary_encode(), "k": [0, 1]},
        {},
        r"row 0, column 0 \('a'\): must be a number, got 'u'",
    ),
    "missing": (
        {"a": [1.0, 2, None], "k": [0, 1, 0]},
        {},
        r"row 2, column 0 \('a'\): value missing, must be a number, got None",
    ),
    "missing text": ({"a": ["1", None], "k": [0, 1]}, {}, r"row 1, column 0 \('a'\): value missing"),
    "nan": (
        {"a": [1, 2], "b": [1, np.nan], "k": [0, 1]},
        {},
        r"row 1, column 1 \('b'\): must be finite as float32, got nan",
    ),
    "too large": (
        {"a": [1e39], "k": [0]},
        {},
        r"row 0, column 0 \('a'\): must be finite as float32, got inf",
    ),
    "dates": (
        {"a": pa.array([1], pa.date32()), "k": [0]},
        {},
        r"row 0, column 0 \('a'\): must be a number, got 'date32\[day\]'",
    ),
    "lists": ({"a": [[1, 2]], "k": [0]}, {}, r"column 0 \('a'\): must be a number, got 'list<"),
    "target missing": (
        {"a": [1, 2], "k": ["x", None]},
        {},
        r"row 1, column 1 \('k'\): target missing, got None",
    ),
    "target nan": ({"a": [1, 2], "k": [1.5, np.nan]}, {}, r"row 1, .* target must be finite, got nan"),
    "target dates": (
        {"a": [1], "k": pa.array([1], pa.timestamp("ms"))},
        {},
        r"column 1 \('k'\): target must be numbers or text, got 'timestamp\[ms\]'",
    ),
    "huge label": (
        {"a": [1, 2], "k": pa.array([1, 2**63], pa.uint64())},
        {},
        r"row 1, column 1 \('k'\): integer label must fit into 64 bits, got 9223372036854775808",
    ),
    "text among several": (
        {"a": [1, 2], "b": [1, 2], "k": ["1", "x"]},
        {"target": "b,k"},
        r"row 1, column 2 \('k'\): must be a number, as one of several targets, got 'x'",
    ),
    "only a target": ({"k": [1]}, {}, "must have a feature column beside the target, got one column in all"),
    "unknown name": (
        {"a": [1], "b": [2]},
        {"target": "c"},
        r"target must be a column of the file \(a, b\), got 'c'",
    ),
    "high index": ({"a": [1], "b": [2]}, {"target": 2}, "target must be an index from -2 to 1, got 2"),
    "two of a name": (
        pa.table([pa.array([1])] * 3, ["a", "a", "b"]),
        {"target": "a"},
        "must name one column, got 'a', which names several",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_refused(write, case):
    columns, options, message = BAD[case]
    path = write(columns)
    with pytest.raises(DataError, match=message) as caught:
        data.load(path, **options)
    assert str(caught.value).startswith(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", [0, 10, -30])
def test_damaged_files(write, tmp_path, cut):
    file = tmp_path / write(FEATURES | {"kind": [0, 1, 0]})
    file.write_bytes(file.read_bytes()[:cut])
    kind = "Parquet" if file.suffix == ".parquet" else "Arrow"
    with pytest.raises(DataError, match=f"{file.name}: must be a whole {kind} file, got: .") as caught:
        data.load(file.name)
    assert "\n" not in str(caught.value)


def test_no_such_file():
    with pytest.raises(DataError, match=r"none.parquet: no such file"):
        data.load("none.parquet")


def test_without_pyarrow_one_line_says_what_to_install(write, monkeypatch):
    path = write(FEATURES)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError) as caught:
        data.load(path)
    assert str(caught.value) == f"{path}: pyarrow is needed to read it: pip install 'schuss[parquet]'"
