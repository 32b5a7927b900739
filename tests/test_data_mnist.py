"""IDX files, MNIST from a folder, the environment and the mirrors. No test uses the network."""

import gzip
import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from schuss import data
from schuss.data import mnist
from schuss.errors import DataError

CODES = {"u1": 8, "i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}


def idx(values, kind="u1"):
    values = np.asarray(values, kind)
    return (
        struct.pack(f">BBBB{values.ndim}I", 0, 0, CODES[kind], values.ndim, *values.shape) + values.tobytes()
    )


def image_set(n_train=12, n_test=4):
    rng = np.random.default_rng(0)
    return {
        "train-images-idx3-ubyte": idx(rng.integers(0, 256, (n_train, 3, 2))),
        "train-labels-idx1-ubyte": idx(np.arange(n_train) % 3),
        "t10k-images-idx3-ubyte": idx(rng.integers(0, 256, (n_test, 3, 2))),
        "t10k-labels-idx1-ubyte": idx(np.arange(n_test) % 3),
    }


@pytest.fixture
def files(monkeypatch):
    """A small image set that passes for MNIST."""
    contents = image_set()
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(mnist, "_SHA256", digests)
    return contents


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setattr(mnist, "cache_dir", lambda: tmp_path / "cache")
    monkeypatch.delenv("SCHUSS_DATA_DIR", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def web(monkeypatch):
    """Stand in for the network: url -> bytes, or an exception to raise; records what was asked for."""
    import pooch
    import requests

    pages, asked = {}, []

    class Downloader:
        def __init__(self, **options):
            assert options["timeout"] > 0

        def __call__(self, url, output_file, _pooch):
            asked.append(url)
            page = pages.get(url, requests.ConnectionError("no network"))
            if isinstance(page, Exception):
                raise page
            Path(output_file).write_bytes(page)

    monkeypatch.setattr(pooch, "HTTPDownloader", Downloader)
    return pages, asked


def put(folder, contents, spell=lambda name: name, pack=bytes):
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / spell(name)).write_bytes(pack(content))
    return folder


@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_reads_every_type(tmp_path, kind, pack):
    values = np.arange(24).reshape(2, 3, 4)
    path = tmp_path / "some.idx"
    path.write_bytes(pack(idx(values, kind)))
    found = data.read_idx(path, ndim=3)
    assert np.array_equal(found, values)
    assert found.dtype == np.dtype(kind).newbyteorder("=")
    assert found.dtype.isnative
    assert found.flags.writeable


GOOD = idx(np.zeros((2, 3, 4)))
BAD_IDX = {
    "empty": (b"", "must begin with an IDX magic number .* got bytes none"),
    "magic": (b"\x89PNG" + GOOD, "must begin with an IDX magic number .* got bytes 89 50 4e 47"),
    "type": (b"\0\0\x07\3" + GOOD[4:], ".* magic number .* got bytes 00 00 07 03"),
    "no dimensions": (b"\0\0\x08\0", ".* magic number .* got bytes 00 00 08 00"),
    "dimensions": (idx(np.zeros(5)), "must have 3 dimensions, got 1"),
    "header cut": (GOOD[:10], "truncated: 3 dimensions need 16 bytes, got 10"),
    "data cut": (GOOD[:-1], r"truncated: shape \(2, 3, 4\) needs 40 bytes, got 39"),
    "too long": (GOOD + b"\0", r"trailing bytes: shape \(2, 3, 4\) needs 40 bytes, got 41"),
    "huge shape": (GOOD[:4] + b"\xff" * 12 + GOOD[16:], "truncated: shape"),
    "gzip cut": (gzip.compress(GOOD)[:-9], "must be a whole gzip file, got: "),
    "gzip damaged": (gzip.compress(GOOD)[:-6] + b"\0" * 6, "must be a whole gzip file, got: "),
    "deflate damaged": (gzip.compress(GOOD)[:12] + b"\xff" * 20, "must be a whole gzip file, got: "),
}


@pytest.mark.parametrize("case", BAD_IDX)
def test_idx_refuses(tmp_path, case):
    content, message = BAD_IDX[case]
    path = tmp_path / "some.idx"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"some.idx: {message}") as caught:
        data.read_idx(path, ndim=3)
    assert "\n" not in str(caught.value)


def test_idx_must_exist(tmp_path):
    with pytest.raises(DataError, match=r"none.idx: must be a readable file, got: No such file"):
        data.read_idx(tmp_path / "none.idx")


@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_mnist_from_a_named_folder(tmp_path, files, dotted, packed):
    def spell(name):
        return (name.replace("-idx", ".idx") if dotted else name) + (".gz" if packed else "")

    folder = put(tmp_path / "mine", files, spell, gzip.compress if packed else bytes)
    parts = data.load("mnist", data_dir=folder)
    assert [len(p) for p in (parts.train, parts.validation, parts.test)] == [10, 2, 4]
    assert parts.train.X.dtype == np.uint8
    assert parts.train.scale == 1 / 255
    assert parts.train.n_features == 6
    assert parts.train.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    assert parts.validation.labels.tolist() == [1, 2]
    raw = np.frombuffer(files["train-images-idx3-ubyte"][16:], np.uint8).reshape(12, 6)
    assert np.array_equal(np.concatenate((parts.train.X, parts.validation.X)), raw)


def test_named_folder_must_exist_and_hold_every_file(tmp_path, files, web):
    with pytest.raises(DataError, match=r"data_dir must be a folder, got '.*nowhere'"):
        data.load("mnist", data_dir=tmp_path / "nowhere")
    folder = put(tmp_path / "mine", files)
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(
        DataError, match=r"mine: must hold t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz"
    ):
        data.load("mnist", data_dir=str(folder))
    assert web[1] == []


def test_files_that_are_not_mnists_are_refused_but_load_by_path(tmp_path):
    folder = put(tmp_path / "fashion", image_set())
    expected = mnist._SHA256["train-images-idx3-ubyte"]
    found = hashlib.sha256(image_set()["train-images-idx3-ubyte"]).hexdigest()
    with pytest.raises(DataError, match=rf"idx3-ubyte: is not MNIST's file.*{expected}, got {found}"):
        data.load("mnist", data_dir=folder)
    parts = data.load(folder)
    assert parts.name == "fashion"
    assert [len(p) for p in (parts.train, parts.validation, parts.test)] == [10, 2, 4]
    assert len(data.load_table(folder)) == 4
    assert data.load_features(folder, n_features=6).shape == (4, 6)


def test_own_images_and_labels_must_fit(tmp_path):
    contents = image_set()
    contents["train-labels-idx1-ubyte"] = idx([0, 1])
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte must have one row for each of the 12"):
        data.load(put(tmp_path / "a", contents))
    contents = image_set() | {"t10k-labels-idx1-ubyte": idx([0, 1, 2, 7])}
    with pytest.raises(
        DataError, match=r"t10k-labels-idx1-ubyte must hold labels known from training .* got 7"
    ):
        data.load(put(tmp_path / "b", contents))
    with pytest.raises(DataError, match=r"at least one of each, got shape \(0, 6\)"):
        data.load(put(tmp_path / "c", image_set(n_train=0)))


def test_very_few_images_leave_no_validation(tmp_path):
    parts = data.load(put(tmp_path / "few", image_set(n_train=5, n_test=3)))
    assert len(parts.train) == 5
    assert parts.validation is None


def test_second_mirror_when_the_first_fails(files, web, cache):
    pages, asked = web
    first, second = mnist.MIRRORS
    for name, content in files.items():
        pages[f"{second}{name}.gz"] = gzip.compress(content)
    pages[f"{first}train-labels-idx1-ubyte.gz"] = gzip.compress(b"another file")  # wrong content
    pages[f"{first}t10k-images-idx3-ubyte.gz"] = b"<html>moved</html>"  # not gzip
    pages[f"{first}t10k-labels-idx1-ubyte.gz"] = gzip.compress(files["t10k-labels-idx1-ubyte"])[:20]  # cut
    assert len(data.load("mnist").test) == 4
    assert asked == [f"{mirror}{name}.gz" for name in files for mirror in mnist.MIRRORS]
    assert {file.name: file.read_bytes() for file in cache.iterdir()} == files
    asked.clear()
    data.load("mnist")
    assert asked == []


def test_no_network_says_what_was_tried_and_what_to_do(files, web, cache):
    with pytest.raises(DataError) as caught:
        data.load("mnist")
    message = str(caught.value)
    for part in (*mnist.MIRRORS, "ConnectionError", str(cache), "digits28", "SCHUSS_DATA_DIR"):
        assert part in message
    assert "\n" not in message
    assert list(cache.iterdir()) == []


def test_wrong_content_everywhere_is_an_error(files, web):
    for mirror in mnist.MIRRORS:
        web[0][f"{mirror}train-images-idx3-ubyte.gz"] = gzip.compress(b"something else")
    with pytest.raises(DataError, match=r"wrong content.*wrong content"):
        data.load("mnist")


def test_damaged_cache_is_downloaded_again(files, web, cache):
    put(cache, files)
    (cache / "t10k-labels-idx1-ubyte").write_bytes(b"cut")
    web[0][f"{mnist.MIRRORS[0]}t10k-labels-idx1-ubyte.gz"] = gzip.compress(files["t10k-labels-idx1-ubyte"])
    assert len(data.load("mnist").test) == 4
    assert len(web[1]) == 1


def test_environment_names_the_folder(tmp_path, files, web, monkeypatch):
    folder = put(tmp_path / "mine", files)
    monkeypatch.setenv("SCHUSS_DATA_DIR", str(folder))
    assert len(data.load("mnist").train) == 10
    assert web[1] == []
    (folder / "t10k-labels-idx1-ubyte").write_bytes(b"precious")
    with pytest.raises(DataError, match=r"is not MNIST's file"):
        data.load("mnist")
    assert (folder / "t10k-labels-idx1-ubyte").read_bytes() == b"precious"
    assert web[1] == []


def test_environments_folder_takes_downloads(tmp_path, files, web, monkeypatch):
    monkeypatch.setenv("SCHUSS_DATA_DIR", str(tmp_path / "new"))
    for name, content in files.items():
        web[0][f"{mnist.MIRRORS[0]}{name}.gz"] = gzip.compress(content)
    assert len(data.load("mnist").train) == 10
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == sorted(files)


def test_empty_environment_counts_as_unset(files, web, monkeypatch, cache):
    monkeypatch.setenv("SCHUSS_DATA_DIR", "")
    put(cache, files)
    assert len(data.load("mnist").train) == 10


REAL = os.environ.get("SCHUSS_DATA_DIR", "")


@pytest.mark.skipif(
    not (REAL and Path(REAL).is_dir() and mnist.find_idx(Path(REAL), "train-images-idx3-ubyte")),
    reason="SCHUSS_DATA_DIR does not name a folder with MNIST's files",
)
def test_real_mnist():
    parts = data.load("mnist", data_dir=REAL)
    assert [p.X.shape for p in (parts.train, parts.validation, parts.test)] == [
        (50_000, 784),
        (10_000, 784),
        (10_000, 784),
    ]
    assert parts.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert parts.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert round(float(parts.train.X.mean()), 1) == 33.4
