"""digits28: 70,000 images of 28 x 28 pixels made from scikit-learn's real 8 x 8 digits; no network needed."""

import contextlib
import hashlib
import os
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schuss.data.cache import cache_dir
from schuss.data.dataset import Dataset, Splits
from schuss.data.digits import digit_images, split_indices, uniform

__all__ = ["CONTENT_SHA256", "VERSION", "content_sha256", "load_digits28", "make_digits28"]

Parts = dict[str, NDArray[np.uint8]]
Images = NDArray[np.float32]

VERSION = 1  # raise it when the images change: it names the cache file
# content_sha256 of the full set, for tests; a cache file carries its own
CONTENT_SHA256 = "00d3b321a4c378d81e31b0776a93aac66a305ccbbf67feee24eb50fbd53f8f5a"

_PARTS = {"train": 50_000, "validation": 10_000, "test": 10_000}
_SEEDS = {"train": 281, "validation": 282, "test": 283}
_SIZE = 28
_UP = 4  # samples of the enlarged drawing per pixel of the 8 x 8 original
_PAD = 4  # empty pixels of the original on each side of it
_WIDTH = _UP * (8 + 2 * _PAD)
_STEP = 8 / 20  # pixels of the original per pixel of the image: the digit fills about 20 x 20
_KNOTS = 6  # the elastic field is a spline on _KNOTS x _KNOTS knots
_N_SHAPE = 8  # random numbers of an image for its geometry and pen
_N_WORDS = 1 + _N_SHAPE + 2 * _KNOTS * _KNOTS
_CHUNK = 100  # images drawn at a time, so that they stay in the cache; no influence on them

# largest changes, each drawn uniformly from -limit to +limit
_TURN = np.float32(0.09)  # tangent of half the angle: 10 degrees
_ZOOM = np.float32(0.10)
_ASPECT = np.float32(0.08)
_SHEAR = np.float32(0.12)
_SHIFT = np.float32(1.0 * _STEP)  # one pixel of the image
_BEND = np.float32(0.5)  # pixels of the original
_PEN = np.float32(0.10)  # around _PEN_LEVEL
_INK = np.float32(15)  # around 240

_WIDEN = np.float32(0.92)  # the originals are narrower than handwriting
_PEN_LEVEL = np.float32(0.46)  # the grey level of the original that becomes the stroke's edge
_PEN_SLOPE = np.float32(2.6)  # makes that edge about one pixel wide


def load_digits28() -> Splits:
    """Return `digits28`, made on first use and read from the cache directory later.

    Returns
    -------
    Splits
        50,000 / 10,000 / 10,000 examples of 784 features, uint8 with scale 1/255, classes 0 to 9.

    Notes
    -----
    A damaged cache file is made again; where the cache directory cannot be written, the images are made
    anew each time (a few seconds).
    """
    file = cache_dir() / f"digits28-v{VERSION}.npz"
    parts = _read_cache(file)
    if parts is None:
        parts = make_digits28()
        with contextlib.suppress(OSError):
            _write_cache(file, parts)
    train, validation, test = (
        Dataset(parts[f"X_{part}"], parts[f"y_{part}"].astype(np.int32), np.arange(10), scale=1 / 255)
        for part in _PARTS
    )
    return Splits(train, validation, test, "digits28")


def make_digits28(n_train: int = 50_000, n_validation: int = 10_000, n_test: int = 10_000) -> Parts:
    """Make the images; smaller numbers give the first images of each part.

    Parameters
    ----------
    n_train, n_validation, n_test : int
        Images in each part.

    Returns
    -------
    dict
        `X_train` (n_train, 784) and `y_train` (n_train,), uint8, and the same for validation and test.

    Notes
    -----
    The real digits are divided first: no two parts hold images of the same handwritten original. Each image
    enlarges one original by cubic convolution (Keys 1981), rotates, shears, scales and shifts it, bends it by
    a smooth random field (Simard, Steinkraus and Platt 2003) and turns grey levels into a pen stroke of
    varying width. It takes nothing but single additions, multiplications, divisions and raw PCG64 words in a
    fixed order, so the images are the same on every machine.
    """
    images, labels = digit_images()
    sources = split_indices(labels)
    drawings = _enlarge(images)
    parts: Parts = {}
    for (part, seed), n in zip(_SEEDS.items(), (n_train, n_validation, n_test), strict=True):
        bits = np.random.PCG64(seed)
        X, y = np.empty((n, _SIZE * _SIZE), np.uint8), np.empty(n, np.uint8)
        for start in range(0, n, _CHUNK):
            stop = min(start + _CHUNK, n)
            words = uniform(bits, (stop - start) * _N_WORDS).reshape(-1, _N_WORDS)
            rows = sources[part][(words[:, 0] * len(sources[part])).astype(np.intp)]
            X[start:stop] = _draw(drawings, rows, (2 * words[:, 1:] - 1).astype(np.float32))
            y[start:stop] = labels[rows]
        parts[f"X_{part}"], parts[f"y_{part}"] = X, y
    return parts


def content_sha256(parts: Parts) -> str:
    """Return the SHA-256 of the arrays' bytes, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(parts):
        digest.update(parts[name].tobytes())
    return digest.hexdigest()


def _read_cache(file: Path) -> Parts | None:
    """Return the arrays in `file`, or None if it is absent or not what was written."""
    try:
        with open(file, "rb") as content, np.load(content, allow_pickle=False) as stored:
            parts = {f"{kind}_{part}": stored[f"{kind}_{part}"] for kind in "Xy" for part in _PARTS}
            digest = str(stored["sha256"])
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error):
        return None
    return parts if content_sha256(parts) == digest else None


def _write_cache(file: Path, parts: Parts) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {**parts, "sha256": np.array(content_sha256(parts))}
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=file.stem, delete=False) as draft:
        try:
            np.savez(draft, **arrays)
            draft.close()
            os.replace(draft.name, file)
        except BaseException:
            draft.close()
            os.unlink(draft.name)
            raise


def _enlarge(images: NDArray[np.uint8]) -> Images:
    """Pad the 8 x 8 images and enlarge both axes; exact, since all weights are dyadic fractions."""
    n = 8 + 2 * _PAD
    field = np.pad(images.reshape(-1, 8, 8), ((0, 0), (_PAD, _PAD), (_PAD, _PAD))).astype(np.float32) / 16
    for axis in (1, 2):
        framed = np.pad(np.moveaxis(field, axis, -1), ((0, 0), (0, 0), (2, 2)))
        fine = np.empty((*framed.shape[:2], n * _UP), np.float32)
        for phase in range(_UP):
            t = (phase + 0.5) / _UP - 0.5  # the sample's place relative to its pixel's middle
            first, t = (1, t) if t >= 0 else (0, t + 1)
            weights = (
                ((2 - t) * t - 1) * t / 2,
                ((3 * t - 5) * t * t + 2) / 2,
                ((4 - 3 * t) * t + 1) * t / 2,
                (t - 1) * t * t / 2,
            )
            taps = [np.float32(w) * framed[..., first + k : first + k + n] for k, w in enumerate(weights)]
            fine[..., phase::_UP] = (taps[0] + taps[1]) + (taps[2] + taps[3])
        field = np.moveaxis(fine, -1, axis)
    return np.ascontiguousarray(field)


def _draw(drawings: Images, rows: NDArray[np.intp], u: Images) -> NDArray[np.uint8]:
    """Return one image per row number; `u` (len(rows), _N_WORDS - 1) are its random numbers in [-1, 1)."""
    x, y = _look_up_places(u)
    for c in (x, y):  # from pixels of the original around its middle to samples of the drawing
        c *= _UP
        c += (_WIDTH - 1) / 2
        np.clip(c, 0, _WIDTH - 1.01, out=c)  # the border is empty
    left, top = np.floor(x), np.floor(y)
    x -= left
    y -= top
    index = top.astype(np.intp) * _WIDTH + left.astype(np.intp)
    index += (rows * (_WIDTH * _WIDTH))[:, None, None]
    samples = drawings.ravel()
    above = _mix(samples.take(index), samples.take(index + 1), x)
    index += _WIDTH
    below = _mix(samples.take(index), samples.take(index + 1), x)
    ink = _mix(above, below, y)
    ink -= (_PEN_LEVEL + _PEN * u[:, 6])[:, None, None]
    ink *= _PEN_SLOPE
    ink += np.float32(0.5)
    np.clip(ink, 0, 1, out=ink)
    ink *= (240 + _INK * u[:, 7])[:, None, None]
    ink += np.float32(0.5)
    return ink.astype(np.uint8).reshape(len(rows), -1)


def _mix(a: Images, b: Images, t: Images) -> Images:
    """Return a + t (b - a) in b's memory."""
    b -= a
    b *= t
    b += a
    return b


def _look_up_places(u: Images) -> tuple[Images, Images]:
    """Return for each pixel of each image the x and y where it looks, in pixels of the original."""
    t = _TURN * u[:, 0]
    cos, sin = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    zoom, aspect = 1 + _ZOOM * u[:, 1], _WIDEN + _ASPECT * u[:, 2]
    shear = _SHEAR * u[:, 3]
    grid = ((np.arange(_SIZE) - (_SIZE - 1) / 2) * _STEP).astype(np.float32)
    right = (zoom * aspect)[:, None] * (grid - _SHIFT * u[:, 4, None])
    down = (zoom / aspect)[:, None] * (grid - _SHIFT * u[:, 5, None])
    knots = u[:, _N_SHAPE:].reshape(-1, 2, _KNOTS, _KNOTS)
    x, y = _bend(knots[:, 0]), _bend(knots[:, 1])
    x += (cos[:, None] * right)[:, None, :]
    x += ((shear * cos - sin)[:, None] * down)[:, :, None]
    y += (sin[:, None] * right)[:, None, :]
    y += ((shear * sin + cos)[:, None] * down)[:, :, None]
    return x, y


def _bend(knots: Images) -> Images:
    """Return the displacement of each pixel: uniform quadratic B-splines with random coefficients."""
    place = (np.arange(_SIZE) + 0.5) / _SIZE * (_KNOTS - 2)
    distance = np.abs(place - np.arange(-0.5, _KNOTS - 1)[:, None])
    outer = np.where(distance < 1.5, (1.5 - distance) * (1.5 - distance) / 2, 0)
    weights = np.where(distance < 0.5, 0.75 - distance * distance, outer).astype(np.float32)
    columns = np.zeros((len(knots), _SIZE, _KNOTS), np.float32)
    for k in range(_KNOTS):
        columns += weights[k][:, None] * knots[:, k, None, :]
    columns *= _BEND
    field = np.zeros((len(knots), _SIZE, _SIZE), np.float32)
    for k in range(_KNOTS):
        field += weights[k] * columns[:, :, k, None]
    return field
