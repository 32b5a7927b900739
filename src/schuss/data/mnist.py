"""MNIST, and image sets of the user's own in four IDX files of the same names."""

import gzip
import hashlib
import os
import shutil
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from schuss.data.arrays import file_scale, flat, from_arrays
from schuss.data.cache import cache_dir
from schuss.data.dataset import Dataset, Splits
from schuss.data.idx import parse_idx, read_bytes
from schuss.errors import DataError

__all__ = ["IDX_NAMES", "MIRRORS", "find_idx", "load_idx_folder", "load_mnist"]

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
# of the uncompressed files
_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
_TIMEOUT = 20  # seconds without an answer from a mirror


def load_mnist(data_dir: str | Path | None = None) -> Splits:
    """Return MNIST: the first 50,000 and last 10,000 training images, and the 10,000 test images.

    Parameters
    ----------
    data_dir : path, default=None
        Folder that holds the four files, plain or .gz; nothing is downloaded. Without it they are looked for
        in the folder that the environment variable SCHUSS_DATA_DIR names, else in the user's cache
        directory, and what is missing there is downloaded into it.

    Returns
    -------
    Splits
        784 features, uint8 with scale 1/255, classes 0 to 9.

    Notes
    -----
    The SHA-256 of each file's uncompressed content is checked. A file that differs is an error in a folder
    named by the user, and downloaded again in the cache directory.
    """
    named = os.environ.get("SCHUSS_DATA_DIR")
    if data_dir is not None:
        folder = Path(data_dir)
        if not folder.is_dir():
            raise DataError(f"data_dir must be a folder, got {str(folder)!r}")
        contents = {name: _checked(name, _present(folder, name)) for name in IDX_NAMES}
    elif named:
        contents = {name: _found_or_fetched(name, Path(named), may_replace=False) for name in IDX_NAMES}
    else:
        contents = {name: _found_or_fetched(name, cache_dir(), may_replace=True) for name in IDX_NAMES}
    return _splits(contents, "mnist")


def load_idx_folder(folder: Path) -> Splits:
    """Return the user's image set in four IDX files; the last sixth of train is for validation."""
    contents = {name: (path := _present(folder, name), read_bytes(path)) for name in IDX_NAMES}
    return _splits(contents, folder.resolve().name)


def find_idx(folder: Path, name: str) -> Path | None:
    """Return the file in its usual spellings (.gz or not, `-idx3` or `.idx3`), or None."""
    dotted = name.replace("-idx", ".idx")
    spellings = (name, name + ".gz", dotted, dotted + ".gz")
    return next((folder / spelling for spelling in spellings if (folder / spelling).is_file()), None)


def _present(folder: Path, name: str) -> Path:
    path = find_idx(folder, name)
    if path is None:
        raise DataError(f"{folder}: must hold {name} or {name}.gz, found neither")
    return path


def _checked(name: str, path: Path) -> tuple[Path, bytes]:
    content = read_bytes(path)
    found = hashlib.sha256(content).hexdigest()
    if found != _SHA256[name]:
        raise DataError(
            f"{path}: is not MNIST's file: SHA-256 of the content must be {_SHA256[name]}, got {found}; "
            "a data set of your own is loaded by its folder's path instead of the name mnist"
        )
    return path, content


def _found_or_fetched(name: str, folder: Path, *, may_replace: bool) -> tuple[Path, bytes]:
    path = find_idx(folder, name)
    if path is not None:
        try:
            return _checked(name, path)
        except DataError:
            if not may_replace:
                raise
    return _checked(name, _fetch(name, folder))


def _fetch(name: str, folder: Path) -> Path:
    """Download a file into the folder, uncompressed, from the first mirror that has the right one."""
    import pooch

    tried = []
    for mirror in MIRRORS:
        try:
            file = pooch.retrieve(
                f"{mirror}{name}.gz",
                known_hash=f"sha256:{_SHA256[name]}",
                fname=name,
                path=folder,
                downloader=_download_uncompressed,
            )
            return Path(file)
        except (OSError, EOFError, ValueError, zlib.error) as error:
            reason = "wrong content" if isinstance(error, ValueError) else type(error).__name__
            tried.append(f"{mirror}{name}.gz ({reason})")
    raise DataError(
        f"mnist: no whole {name} in {folder}, and no download; tried {' and '.join(tried)}; "
        "without a network use digits28, or put MNIST's four files into a folder and name it in "
        "SCHUSS_DATA_DIR"
    )


def _download_uncompressed(url: str, output_file: str | IO[bytes], _pooch: object) -> None:
    """Download a .gz file and leave its content in `output_file`; pooch then checks and moves that."""
    import pooch

    packed = f"{output_file}.gz"
    try:
        pooch.HTTPDownloader(timeout=_TIMEOUT)(url, packed, None)
        with gzip.open(packed) as source, open(str(output_file), "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    finally:
        Path(packed).unlink(missing_ok=True)


def _splits(contents: dict[str, tuple[Path, bytes]], name: str) -> Splits:
    train_X, train_y, test_X, test_y = IDX_NAMES
    all_train = _dataset(contents[train_X], contents[train_y])
    test = _dataset(contents[test_X], contents[test_y], all_train.classes)
    n_validation = len(all_train) // 6
    n_train = len(all_train) - n_validation
    validation = all_train.take(slice(n_train, None)) if n_validation else None
    return Splits(all_train.take(slice(n_train)), validation, test, name)


def _dataset(
    images: tuple[Path, bytes], labels: tuple[Path, bytes], classes: NDArray[Any] | None = None
) -> Dataset:
    (X_path, X_content), (y_path, y_content) = images, labels
    X = parse_idx(X_content, X_path, ndim=3)
    y = parse_idx(y_content, y_path, ndim=1)
    if y.dtype == np.uint8:
        y = y.astype(np.int64)  # labels that users can calculate with
    names = (str(X_path), str(y_path))
    return from_arrays(flat(X), y, classes=classes, scale=file_scale(X), names=names)
