"""CSV files."""

import numpy as np
import pytest

from schuss import data
from schuss.errors import DataError


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text, encoding="utf-8"):
        (tmp_path / "own.csv").write_bytes(text.encode(encoding))
        return "own.csv"

    return write


@pytest.mark.parametrize(
    "text",
    [
        "5.1,3.5,setosa\n4.9,3,virginica\n",
        "width,height,kind\n5.1,3.5,setosa\n4.9,3.0,virginica\n",
        "width;height;kind\n5.1;3.5;setosa\n4.9;3.0;virginica",
        "5.1\t3.5\tsetosa\r\n\r\n4.9\t3.0\tvirginica\r\n\r\n",
        '\ufeff"width", "height", "kind"\n 5.1, 3.5, "setosa"\n 4.9, 3.0 ,virginica\n',
    ],
)
def test_text_labels_with_and_without_header(write, text):
    table = data.load_table(write(text))
    assert table.X.tolist() == [[np.float32(5.1), 3.5], [np.float32(4.9), 3.0]]
    assert table.X.dtype == np.float32
    assert table.scale == 1.0
    assert table.labels.tolist() == ["setosa", "virginica"]


@pytest.mark.parametrize("target", ["kind", 0, "0", -3, "-3"])
def test_target_by_name_or_index(write, target):
    path = write("kind,width,height\n2,5,6\n1,7,8\n")
    table = data.load_table(path, target=target)
    assert table.labels.tolist() == [2, 1]
    assert table.classes.dtype == np.int64
    assert table.X.tolist() == [[5, 6], [7, 8]]
    assert data.load_features(path, target=target).tolist() == [[5, 6], [7, 8]]


def test_headers_of_numbers(write):
    # pixels named by number, the label by a word: the target column tells
    assert data.load_table(write("0,1,label\n10,20,3\n30,40,4\n")).X.tolist() == [[10, 20], [30, 40]]
    assert data.load_table(write("label,0,1\n3,10,20\n"), target="label").X.tolist() == [[10, 20]]
    # an index is no name unless there is a header
    assert data.load_table(write("1,2,3\n0,5,4\n"), target="1").labels.tolist() == [2, 5]
    assert data.load_table(write("1,2,3\n0,5,4\n"), target="0").labels.tolist() == [1, 0]


def test_a_column_name_goes_before_an_index(write):
    assert data.load_table(write("a,0\n1,2\n3,4\n"), target="a").labels.tolist() == [1, 3]
    assert data.load_table(write("b,a,0x\n1,2,3\n"), target="0").labels.tolist() == [1]


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        (["1", "-2", "+3"], [1, -2, 3]),
        (["1", "x", "2"], ["1", "x", "2"]),
        (["yes", "none", "no"], ["yes", "none", "no"]),
    ],
)
def test_integers_and_texts_are_labels(write, cells, labels):
    table = data.load_table(write("".join(f"0,{cell}\n" for cell in cells)))
    assert table.classes is not None
    assert table.labels.tolist() == labels


def test_other_numbers_are_regression_targets(write):
    table = data.load_table(write("size,price\n1,2\n2,4.5\n3,1e3\n"))
    assert table.classes is None
    assert table.y.tolist() == [2.0, 4.5, 1000.0]
    assert table.y.dtype == np.float64


@pytest.mark.parametrize("target", ["a,c", " a , c", ["a", "c"], (0, -1), "0,2", ["a", 2]])
def test_several_targets_are_a_regression(write, target):
    path = write("a,b,c\n1,5,2\n3,6,4\n")
    table = data.load_table(path, target=target)
    assert table.classes is None
    assert table.y.tolist() == [[1, 2], [3, 4]]
    assert table.y.dtype == np.float64
    assert table.X.tolist() == [[5], [6]]
    assert data.load_features(path, target=target).tolist() == [[5], [6]]


def test_the_order_of_targets_is_kept(write):
    path = write("a,b,c,d\n1,2,3,4\n")
    table = data.load_table(path, target="d,b")
    assert table.y.tolist() == [[4, 2]]
    assert table.X.tolist() == [[1, 3]]


def test_a_name_with_a_comma_goes_before_several(write):
    path = write('"a,b";a;b\n1;2;3\n')
    assert data.load_table(path, target="a,b").labels.tolist() == [1]


def test_quoted_line_breaks_do_not_shift_line_numbers(write):
    path = write('a,"b\nc",d\n1,2,x\n\n1,"2",y\n1,oops,z\n')
    with pytest.raises(
        DataError, match=r"own.csv, line 6, column 1 \('b\\nc'\): must be a number, got 'oops'"
    ):
        data.load_table(path)


def test_split_of_a_table(write):
    path = write("".join(f"{i},{i % 2}\n" for i in range(20)))
    parts = data.load(path, seed=1)
    assert parts.name == "own.csv"
    assert [len(p) for p in (parts.train, parts.validation, parts.test)] == [16, 2, 2]


def test_features_with_and_without_a_target_column(write):
    path = write("a,b,kind\n1,2,x\n3,4,y\n")
    assert data.load_features(path, n_features=2).tolist() == [[1, 2], [3, 4]]
    with pytest.raises(DataError, match=r"line 2, column 2 \('kind'\): must be a number, got 'x'"):
        data.load_features(path)
    path = write("a,b\n1,2\n3,4\n")
    assert data.load_features(path, n_features=2).tolist() == [[1, 2], [3, 4]]
    assert data.load_features(path).tolist() == [[1, 2], [3, 4]]
    with pytest.raises(DataError, match=r"must have 4 features like the network, got 2"):
        data.load_features(path, n_features=4)
    with pytest.raises(DataError, match=r"got an empty file"):
        data.load_features(write(""), n_features=4)


BAD = {
    "empty": ("", {}, "own.csv: must have at least one row of data, got an empty file"),
    "blank": ("\n\n", {}, "got an empty file"),
    "header only": ("a,b\n", {}, "must have at least one row of data, got only the header a,b"),
    "short row": ("1,2,3\n1,2\n", {}, "own.csv, line 2: must have 3 cells like the first line, got 2"),
    "long row": ("a,b\n1,2\n3,4,5\n", {}, "own.csv, line 3: must have 2 cells like the first line, got 3"),
    "text": ("1,2,0\n1,abc,0\n", {}, "own.csv, line 2, column 1: must be a number, got 'abc'"),
    "text in line 1": ("abc,2,0\n1,2,0\n", {}, "own.csv, line 1, column 0: must be a number, got 'abc'"),
    "text behind target": (
        "k,a,b\n0,1,x\n",
        {"target": 0},
        r"line 2, column 2 \('b'\): must be a number, got 'x'",
    ),
    "missing": ("a,b,k\n1,,0\n", {}, r"column 1 \('b'\): value missing, must be a number, got ''"),
    "missing, marked": ("a,b,k\nNA,1,0\n", {}, r"line 2, column 0 \('a'\): value missing, .* got 'NA'"),
    "decimal comma": ("1,5;0\n2,5;1\n", {}, "line 1, column 0: must be a number, got '1,5'"),
    "nan": ("1,2,0\n\n1,nan,0\n", {}, "line 3, column 1: must be finite as float32, got nan"),
    "inf": ("0,1,2\n0,1,-inf\n", {"target": 0}, "line 2, column 2: must be finite as float32, got -inf"),
    "too large": ("1e39,0\n", {}, "line 1, column 0: must be finite as float32, got inf"),
    "no target": ("1,2,\n3,4,1\n", {}, "line 1, column 2: target missing, got ''"),
    "target NA": ("1,2,1\n3,4,NA\n", {}, "line 2, column 2: target missing, got 'NA'"),
    "text target missing": ("1,2,x\n3,4,\n", {}, "line 2, column 2: target missing, got ''"),
    "target inf": ("1,2,1.5\n3,4,inf\n", {}, "line 2, column 2: target must be finite, got 'inf'"),
    "target nan": ("1,2,1\n3,4,nan\n", {}, "line 2, column 2: target must be finite, got 'nan'"),
    "huge label": (
        f"1,2\n1,{2**63}\n",
        {},
        "line 2, column 1: integer label must fit into 64 bits, got '922",
    ),
    "only a target": ("k\n1\n2\n", {}, "must have a feature column beside the target, got one column"),
    "unknown name": (
        "a,b\n1,2\n",
        {"target": "c"},
        r"target must be a column of the file \(a, b\), got 'c'",
    ),
    "name, no header": ("1,2\n3,4\n", {"target": "c"}, r"\(no header, so an index from -2 to 1\), got 'c'"),
    "two of a name": (
        "a,a,b\n1,2,3\n",
        {"target": "a"},
        "must name one column, got 'a', which names several",
    ),
    "one of several unknown": ("a,b\n1,2\n", {"target": "a,c"}, r"column of the file \(a, b\), got 'c'"),
    "the same twice": ("a,b,c\n1,2,3\n", {"target": "a,0"}, "differ from each other, got 'a,0'"),
    "none at all": ("a,b,c\n1,2,3\n", {"target": []}, r"differ from each other, got \[\]"),
    "only targets": ("a,b\n1,2\n", {"target": "a,b"}, "beside the target, got 2 columns in all"),
    "text among several": (
        "a,b,c\n1,2,3\n1,2,x\n",
        {"target": "a,c"},
        r"line 3, column 2 \('c'\): must be a number, as one of several targets, got 'x'",
    ),
    "missing among several": (
        "a,b,c\n1,2,3\nna,2,3\n",
        {"target": "a,c"},
        r"line 3, column 0 \('a'\): target missing, got 'na'",
    ),
    "text between targets": (
        "a,b,c\n1,x,3\n",
        {"target": "c,a"},
        r"line 2, column 1 \('b'\): must be a number, got 'x'",
    ),
    "nan between targets": (
        "a,b,c\n1,nan,3\n",
        {"target": "c,a"},
        r"line 2, column 1 \('b'\): must be finite",
    ),
    "high index": ("1,2\n3,4\n", {"target": 2}, "target must be an index from -2 to 1, got 2"),
    "low index": ("1,2\n3,4\n", {"target": "-3"}, "target must be an index from -2 to 1, got -3"),
    "open quote": (
        '1,2\n3,"4\n',
        {},
        "own.csv, line 2: must be well-formed CSV, got: unexpected end of data",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_csv_refused(write, case):
    text, options, message = BAD[case]
    with pytest.raises(DataError, match=message) as caught:
        data.load(write(text), **options)
    assert str(caught.value).startswith("own.csv")
    assert "\n" not in str(caught.value)


def test_other_encodings_are_refused(write):
    with pytest.raises(DataError, match=r"own.csv: must be UTF-8 text, got byte 0xe9"):
        data.load(write("1,caf\u00e9\n", "latin-1"))


def test_file_must_be_readable(tmp_path):
    with pytest.raises(DataError, match=r"none.csv: must be a readable file, got: No such file"):
        data.read_csv(tmp_path / "none.csv")
