"""The built-in sets digits and digits28."""

import numpy as np
import pytest

from schuss import data
from schuss.data import digits, digits28


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache") / "not yet made"


@pytest.fixture(autouse=True)
def _use_cache(cache, monkeypatch):
    monkeypatch.setattr(digits28, "cache_dir", lambda: cache)


@pytest.fixture(scope="module")
def full(cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digits28, "cache_dir", lambda: cache)
        return data.load()


def contents(splits):
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    return {f"X_{k}": v.X for k, v in parts.items()} | {f"y_{k}": v.y.astype("u1") for k, v in parts.items()}


def test_digits_are_sklearns_in_a_stratified_split():
    parts = data.load("digits")
    assert [len(p) for p in (parts.train, parts.validation, parts.test)] == [1297, 250, 250]
    assert parts.train.X.dtype == np.uint8
    assert parts.train.X.max() == 16
    assert parts.train.scale == 1 / 16
    for part in (parts.train, parts.validation, parts.test):
        counts = np.bincount(part.y)
        assert len(counts) == 10
        assert counts.min() > 0.95 * len(part) / 10
    images, labels = digits.digit_images()
    together = [np.column_stack((p.X, p.y)) for p in (parts.train, parts.validation, parts.test)]
    found = np.concatenate(together)
    assert sorted(map(tuple, found)) == sorted(map(tuple, np.column_stack((images, labels))))
    assert np.array_equal(data.load("digits").test.X, parts.test.X)


def test_digits28_has_mnists_shape(full):
    assert full.name == "digits28"
    for part, n in ((full.train, 50_000), (full.validation, 10_000), (full.test, 10_000)):
        assert part.X.shape == (n, 784)
        assert part.X.dtype == np.uint8
        assert part.scale == 1 / 255
        assert part.classes.tolist() == list(range(10))
        assert np.bincount(part.y).min() > 0.08 * n
        assert len(np.unique(part.X, axis=0)) == n if n == 10_000 else True
    images = full.train.X.reshape(-1, 28, 28)
    assert images.max() > 250
    assert images[:, [0, -1]].mean() < 5
    assert images[:, :, [0, -1]].mean() < 5


def test_digits28_has_the_recorded_bits(full):
    assert digits28.content_sha256(contents(full)) == digits28.CONTENT_SHA256


def test_small_sets_are_the_first_images_whatever_the_chunk(full, monkeypatch):
    monkeypatch.setattr(digits28, "_CHUNK", 7)
    few = digits28.make_digits28(40, 15, 1)
    assert [len(few[f"X_{part}"]) for part in ("train", "validation", "test")] == [40, 15, 1]
    for name, array in contents(full).items():
        assert np.array_equal(few[name], array[: len(few[name])])


def test_sources_are_divided_before_anything_is_derived(monkeypatch):
    _, labels = digits.digit_images()
    parts = list(digits.split_indices(labels).values())
    assert sum(map(len, parts)) == len(set(np.concatenate(parts))) == 1797
    drawn = []
    original = digits28._draw
    monkeypatch.setattr(digits28, "_draw", lambda d, rows, u: drawn.append(rows) or original(d, rows, u))
    monkeypatch.setattr(digits28, "_CHUNK", 500)
    digits28.make_digits28(500, 500, 500)
    for mine, rows in zip(parts, drawn, strict=True):
        assert set(rows) <= set(mine)


def test_enlarging_keeps_a_constant_and_is_exact():
    flat = digits28._enlarge(np.full((1, 64), 16, np.uint8))
    assert flat.shape == (1, 64, 64)
    assert (flat[0, 24:40, 24:40] == 1).all()
    assert (flat[0, :8] == 0).all()


def test_images_resemble_their_originals(full):
    # the mean image of a class must be nearest to the same class of the real digits, enlarged
    real, labels = digits.digit_images()
    for label in range(10):
        mean = full.test.X[full.test.y == label].mean(axis=0).reshape(28, 28)[4:24, 4:24]
        small = mean.reshape(4, 5, 4, 5).mean(axis=(1, 3)).ravel()
        templates = [
            real[labels == k].mean(axis=0).reshape(4, 2, 4, 2).mean(axis=(1, 3)).ravel() for k in range(10)
        ]
        likeness = [np.corrcoef(small, template)[0, 1] for template in templates]
        assert int(np.argmax(likeness)) == label


def test_cache_is_read_and_damage_is_mended(full, cache, monkeypatch):
    file = cache / f"digits28-v{digits28.VERSION}.npz"
    whole = file.read_bytes()
    assert [f.name for f in cache.iterdir()] == [file.name]

    def fail():
        raise AssertionError("made again")

    with monkeypatch.context() as patch:
        patch.setattr(digits28, "make_digits28", fail)
        again = data.load("digits28")
        assert np.array_equal(again.test.X, full.test.X)
        file.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(AssertionError, match=r"made again"):
            data.load("digits28")
        file.write_bytes(b"not an archive")
        with pytest.raises(AssertionError, match=r"made again"):
            data.load("digits28")

    few = digits28.make_digits28(20, 20, 20)
    monkeypatch.setattr(digits28, "make_digits28", lambda: few)
    np.savez(file, **few, sha256="0" * 64)  # a whole archive, but not what was written
    assert len(data.load("digits28").train) == 20
    digest = np.load(file)["sha256"]
    assert str(digest) == digits28.content_sha256(few)


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    few = digits28.make_digits28(3, 3, 3)
    monkeypatch.setattr(digits28, "cache_dir", lambda: tmp_path / "file" / "sub")
    monkeypatch.setattr(digits28, "make_digits28", lambda: few)
    assert len(data.load().train) == 3


def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(digits28.np, "savez", fail)
    with pytest.raises(OSError, match=r"disk full"):
        digits28._write_cache(tmp_path / "digits28.npz", digits28.make_digits28(1, 1, 1))
    assert list(tmp_path.iterdir()) == []


def test_cache_dir_is_the_users(monkeypatch, tmp_path):
    from schuss.data.cache import cache_dir

    monkeypatch.delenv("SCHUSS_CACHE_DIR")
    assert cache_dir().name.lower() == "schuss"
    monkeypatch.setenv("SCHUSS_CACHE_DIR", str(tmp_path / "own"))
    assert cache_dir() == tmp_path / "own"
