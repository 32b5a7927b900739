"""The user's own files: .npz, .npy pairs, and what `load` makes of names and paths."""

import numpy as np
import pytest

from schuss import data
from schuss.errors import DataError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4)).astype(np.float32)
LABELS = np.array(["a", "b", "c"])[np.arange(30) % 3]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_npz_with_one_set_is_split():
    np.savez("own.npz", X=X, y=LABELS, feature_names=["ignored"])
    parts = data.load("own.npz", seed=3)
    assert parts.name == "own.npz"
    assert [len(p) for p in (parts.train, parts.validation, parts.test)] == [24, 3, 3]
    assert parts.train.classes.tolist() == ["a", "b", "c"]
    row = parts.test.X[0].tolist()
    assert parts.test.labels[0] == LABELS[X.tolist().index(row)]
    whole = data.load_table("own.npz")
    assert np.array_equal(whole.X, X)
    assert whole.labels.tolist() == LABELS.tolist()
    assert np.array_equal(data.load_features("own.npz", n_features=4), X)


def test_npz_with_parts_is_taken_as_it_is():
    np.savez("own.npz", x_train=X[:20], y_train=LABELS[:20], X_test=X[20:], y_test=LABELS[20:])
    parts = data.load("own.npz")
    assert len(parts.train) == 20
    assert parts.validation is None
    assert len(parts.test) == 10
    assert np.array_equal(data.load_table("own.npz").X, X[20:])
    assert np.array_equal(data.load_features("own.npz"), X[20:])


def test_npz_parts_share_the_labels_of_train():
    np.savez("own.npz", X_train=X[:20], y_train=[0, 2] * 10, X_validation=X[20:], y_validation=[2] * 10)
    parts = data.load("own.npz")
    assert parts.validation.y.tolist() == [1] * 10
    assert parts.test is None
    with pytest.raises(DataError, match=r"own.npz: must hold X_test and y_test, or X and y"):
        data.load_table("own.npz")


def test_images_stay_8_bit_with_their_scale_and_become_rows():
    np.savez("own.npz", X=np.full((12, 5, 5), 255, np.uint8), y=np.arange(12) % 2)
    train = data.load("own.npz").train
    assert train.X.shape == (10, 25)
    assert train.X.dtype == np.uint8
    assert train.scale == 1 / 255
    np.savez("own.npz", X=np.full((12, 5), 255, np.int64), y=np.arange(12) % 2)
    train = data.load("own.npz").train
    assert train.X.dtype == np.float32
    assert train.scale == 1.0


def test_floating_targets_make_a_regression():
    np.savez("own.npz", X=X.astype(np.float64), y=np.ones((30, 2)))
    whole = data.load_table("own.npz")
    assert whole.classes is None
    assert whole.y.shape == (30, 2)
    assert whole.X.dtype == np.float64


OBJECTS = np.array([{}, 1, None])
BAD_NPZ = {
    "no y": ({"X": X}, "own.npz: must hold the array y, holds X"),
    "nothing": ({"data": X}, "own.npz: must hold the array X_train, holds none of use"),
    "part without y": (
        {"X_train": X, "y_train": LABELS, "X_test": X},
        "must hold the array y_test, holds X_train, y_train, X_test",
    ),
    "part without X": ({"X_train": X, "y_train": LABELS, "y_test": X}, "must hold the array X_test"),
    "unknown part": (
        {"X_train": X, "y_train": LABELS, "X_val": X},
        "arrays must be named X, y, X_train, .*, got X_val",
    ),
    "both": ({"X": X, "y": LABELS, "X_test": X}, "must hold either X and y or parts .* got X, y, X_test"),
    "twice": ({"X": X, "y": LABELS, "x": X}, "must hold one array X, got x as well"),
    "objects": ({"X": OBJECTS, "y": LABELS}, "must hold numbers or strings, got Python objects"),
    "rows": ({"X": X, "y": LABELS[:9]}, "own.npz: y must have one row for each of the 30 .*npz: X, got"),
    "unknown label": (
        {"X_train": X, "y_train": LABELS, "X_test": X[:1], "y_test": ["d"]},
        "own.npz: y_test must hold labels known from training .* got 'd'",
    ),
    "nan": (
        {"X": np.where(X > 2, np.nan, X) * np.nan, "y": LABELS},
        "npz: X must hold finite numbers, got nan",
    ),
    "complex": ({"X": X * 1j, "y": LABELS}, "npz: X must hold real numbers, got dtype complex64"),
    "empty": ({"X": X[:0], "y": LABELS[:0]}, r"npz: X must have shape .* got shape \(0, 4\)"),
    "widths": (
        {"X_train": X, "y_train": LABELS, "X_test": X[:, :2], "y_test": LABELS},
        "own.npz: number of features must be train's 4 in test, got 2",
    ),
    "scales": (
        {"X_train": X, "y_train": LABELS, "X_test": X.astype("u1"), "y_test": LABELS},
        "own.npz: scale must be train's 1.0 in test, got 0.0039",
    ),
}


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
@pytest.mark.parametrize("case", BAD_NPZ)
def test_npz_refused(case):
    arrays, message = BAD_NPZ[case]
    np.savez("own.npz", **arrays)
    with pytest.raises(DataError, match=message) as caught:
        data.load("own.npz")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", [0, 10, 500, -30])
def test_damaged_npz(cut, tmp_path):
    np.savez("own.npz", X=X, y=LABELS)
    file = tmp_path / "own.npz"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"own.npz: must be a whole NumPy file, got: ."):
        data.load("own.npz")


def test_npz_with_a_flipped_bit(tmp_path):
    np.savez("own.npz", X=X, y=LABELS)
    content = bytearray((tmp_path / "own.npz").read_bytes())
    content[300] ^= 1
    (tmp_path / "own.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"must be a whole NumPy file, got: .*CRC"):
        data.load("own.npz")


def test_a_pair_or_a_folder_of_npy_files(tmp_path):
    np.save("X.npy", X)
    np.save("y.npy", LABELS)
    for source in ("X.npy,y.npy", "X.npy, y.npy", tmp_path, str(tmp_path)):
        whole = data.load_table(source)
        assert np.array_equal(whole.X, X)
        assert whole.labels.tolist() == LABELS.tolist()
        assert np.array_equal(data.load_features(source), X)
    assert data.load("X.npy,y.npy").name == "X.npy,y.npy"
    assert data.load(tmp_path).name == tmp_path.name
    assert np.array_equal(data.load_features("X.npy"), X)


def test_bad_npy_files(tmp_path):
    np.save("X.npy", X)
    with pytest.raises(DataError, match=r"X.npy: must be a pair X.npy,y.npy to have targets, got one file"):
        data.load("X.npy")
    with pytest.raises(DataError, match=r"y.npy: no such file"):
        data.load("X.npy,y.npy")
    with pytest.raises(DataError, match=r"y.npy: no such file"):
        data.load(tmp_path)
    np.save("y.npy", OBJECTS)
    with pytest.raises(DataError, match=r"y.npy: must hold numbers or strings, got Python objects"):
        data.load("X.npy,y.npy")
    np.save("y.npy", 3.0)
    with pytest.raises(DataError, match=r"y.npy: must hold one row per example, got a single value"):
        data.load("X.npy,y.npy")
    (tmp_path / "y.npy").write_bytes((tmp_path / "X.npy").read_bytes()[:200])
    with pytest.raises(DataError, match=r"y.npy: must be a whole NumPy file, got: "):
        data.load("X.npy,y.npy")
    np.savez("own.npz", X=X, y=LABELS)
    (tmp_path / "own.npz").rename("y.npy")
    with pytest.raises(DataError, match=r"y.npy: must be a .npy file, got a .npz archive"):
        data.load("X.npy,y.npy")
    (tmp_path / "X.npy").rename("own.npz")
    with pytest.raises(DataError, match=r"own.npz: must be a .npz file, got a single .npy array"):
        data.load("own.npz")


def test_a_file_of_pickles_is_never_loaded(tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    for name in ("X.npy", "own.npz"):
        (tmp_path / name).write_bytes(pickle.dumps(Evil()))
        with pytest.raises(DataError, match=r"got Python objects"):
            data.load_features(name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("minst", "data must be digits28, digits, mnist, a .csv, .parquet, .* or .npz file, .* got 'minst'"),
        ("table.xlsx", "data must be .* got 'table.xlsx'"),
        ("none.csv", "none.csv: no such file"),
        ("none.npz", "none.npz: no such file"),
        (".", "a folder must hold X.npy and y.npy or four IDX files, found neither"),
    ],
)
def test_unknown_sources(source, message):
    for load in (data.load, data.load_table, data.load_features):
        with pytest.raises(DataError, match=message):
            load(source)


def test_options_of_another_source_are_refused(tmp_path):
    np.savez("own.npz", X=X, y=LABELS)
    for load in (data.load, data.load_table, data.load_features):
        with pytest.raises(DataError, match=r"target must be left out unless .* got 'y' with own.npz"):
            load("own.npz", target="y")
        with pytest.raises(DataError, match=r"data_dir must be left out .* with digits"):
            load("digits", data_dir=tmp_path)


def test_built_in_sets_are_evaluated_on_their_test_part():
    test = data.load("digits").test
    assert np.array_equal(data.load_table("digits").X, test.X)
    assert np.array_equal(data.load_features("digits", n_features=64), test.X)


def test_number_of_features_must_be_the_networks():
    np.savez("own.npz", X=X)
    with pytest.raises(DataError, match=r"own.npz: must have 784 features like the network, got 4"):
        data.load_features("own.npz", n_features=784)
