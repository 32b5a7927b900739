"""Loading by name or path: the one place that knows every source."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from schuss.data.arrow import arrow_table
from schuss.data.columns import Table, Target, Wanted
from schuss.data.dataset import Dataset, Splits
from schuss.data.digits import load_digits
from schuss.data.digits28 import load_digits28
from schuss.data.mnist import IDX_NAMES, find_idx, load_idx_folder, load_mnist
from schuss.data.numpy_files import npy_features, npz_features, read_npy_pair, read_npz
from schuss.data.split import split
from schuss.data.table import csv_table
from schuss.errors import DataError

__all__ = ["BUILT_IN", "load", "load_features", "load_table", "load_weighted"]

BUILT_IN = ("digits28", "digits", "mnist")
_TABLES = {".csv": "csv", ".parquet": "arrow", ".arrow": "arrow", ".feather": "arrow"}
_SUFFIXES = _TABLES | {".npz": "npz", ".npy": "npy"}
_FILE_KINDS = (
    "a .csv, .parquet, .arrow, .feather or .npz file, a pair X.npy,y.npy, or a folder with X.npy and y.npy "
    "or four IDX files"
)


def load(
    source: str | Path = "digits28",
    *,
    data_dir: str | Path | None = None,
    target: Target | None = None,
    features: tuple[str, ...] | None = None,
    seed: int = 0,
) -> Splits:
    """Load a data set in its parts.

    Parameters
    ----------
    source : str or Path, default="digits28"
        `digits28`, `digits`, `mnist` (see `load_digits28`, `load_digits`, `load_mnist`), or the user's own:

        - `.csv`, or `.parquet`, `.arrow` and `.feather` (with pyarrow): see `read_csv` and `read_arrow`;
          features become float32.
        - `.npz` with X and y, or with X_train, y_train and, where there are, X_validation, y_validation,
          X_test, y_test.
        - a pair of files written `X.npy,y.npy`, or a folder that holds `X.npy` and `y.npy`.
        - a folder with four IDX files of MNIST's names, such as Fashion-MNIST; the last sixth of its training
          images is for validation.

        NumPy arrays keep float32, float64 and uint8; other types become float32. uint8 is taken for grey
        levels: scale 1/255. Arrays of more than two dimensions are flattened to one row per example.
    data_dir : path, default=None
        Folder of MNIST's files.
    target : str or int, or sequence of these, default=None
        Target column of a table (CSV, Parquet, Arrow), by name or index; None is the last. Several columns, in
        a sequence or as "A,B", are the targets of a regression.
    features : tuple of str, default=None
        Feature columns of a table by name, in this order; None for `target` is then the last of the others. A source
        whose columns have no names is read as without them.
    seed : int, default=0
        How to shuffle a file without parts of its own before it is cut 80 : 10 : 10, see `split`.

    Returns
    -------
    Splits
    """
    data = _read(source, data_dir, Wanted(target, features))
    return data if isinstance(data, Splits) else split(data, name=_name(source), seed=seed)


def load_table(
    source: str | Path,
    *,
    data_dir: str | Path | None = None,
    target: Target | None = None,
    features: tuple[str, ...] | None = None,
) -> Dataset:
    """Load one set of examples with targets to evaluate a network on.

    A file without parts of its own is loaded whole. Of a source with parts, the built-in sets included, it is
    the test part, and an error if there is none.

    Parameters
    ----------
    source, data_dir, target, features
        As in `load`.

    Returns
    -------
    Dataset
    """
    data = _read(source, data_dir, Wanted(target, features))
    if isinstance(data, Dataset):
        return data
    if data.test is None:
        raise DataError(f"{source}: must hold X_test and y_test, or X and y, to be evaluated on")
    return data.test


def load_weighted(
    source: str | Path,
    weights: str | int,
    *,
    target: Target | None = None,
    features: tuple[str, ...] | None = None,
    weights_name: str = "weights",
) -> tuple[Dataset, NDArray[Any]]:
    """Load a table of which one column says how much each example counts.

    Parameters
    ----------
    source : str or Path
        A table: CSV, Parquet or Arrow.
    weights : str or int
        That column, by name or index; it is no feature.
    target, features
        As in `load`.
    weights_name : str, default="weights"
        What error messages call the column.

    Returns
    -------
    examples : Dataset
    weights : ndarray of float64, (n_examples,)
        As they are in the file: any numbers.
    """
    wanted = Wanted(target, features, weights, weights_name)
    kind, paths = _resolve(source, None, target)
    if kind not in _TABLES.values():
        raise DataError(f"{source}: must be a {', '.join(_TABLES)} file to have a column of weights")
    table = _table(kind, paths[0], wanted)
    assert table.weights is not None
    return table.dataset(), table.weights


def load_features(
    source: str | Path,
    *,
    data_dir: str | Path | None = None,
    target: Target | None = None,
    features: tuple[str, ...] | None = None,
    n_features: int | None = None,
) -> NDArray[Any]:
    """Load the features to predict from; targets need not be there and are left out.

    Parameters
    ----------
    source, data_dir : str or Path
        As in `load_table`; a single `X.npy` will do.
    target : str or int, or sequence of these, default=None
        Columns of a table to leave out. Where it is None and the file has n_features + 1 columns, the last
        one is left out.
    features : tuple of str, default=None
        As in `load`: all other columns of a table with names are left out.
    n_features : int, default=None
        The number of features the network reads; another number is an error.

    Returns
    -------
    ndarray of shape (n_examples, n_features)
        Not scaled: the network applies its own scale.
    """
    kind, paths = _resolve(source, data_dir, target)
    X: NDArray[Any]
    if kind in _TABLES.values():
        wanted = Wanted(target, features, labelled=False, n_features=n_features)
        X = _table(kind, paths[0], wanted).features
    elif kind == "npz":
        X = npz_features(paths[0])
    elif kind == "npy":
        X = npy_features(paths[0])
    else:
        X = load_table(source, data_dir=data_dir).X
    if n_features is not None and X.shape[1] != n_features:
        raise DataError(f"{source}: must have {n_features} features like the network, got {X.shape[1]}")
    return X


def _table(kind: str, path: Path, wanted: Wanted) -> Table:
    return csv_table(path, wanted) if kind == "csv" else arrow_table(path, wanted)


def _read(source: str | Path, data_dir: str | Path | None, wanted: Wanted) -> Dataset | Splits:
    kind, paths = _resolve(source, data_dir, wanted.target)
    match kind:
        case "csv" | "arrow":
            return _table(kind, paths[0], wanted).dataset()
        case "npz":
            return read_npz(paths[0])
        case "npy":
            if len(paths) == 1:
                raise DataError(f"{source}: must be a pair X.npy,y.npy to have targets, got one file")
            return read_npy_pair(*paths)
        case "idx":
            return load_idx_folder(paths[0])
        case "mnist":
            return load_mnist(data_dir)
        case "digits":
            return load_digits()
        case _:
            return load_digits28()


def _resolve(
    source: str | Path, data_dir: str | Path | None, target: Target | None
) -> tuple[str, tuple[Path, ...]]:
    """Return what kind of source this is, with its files, and refuse options of other kinds."""
    kind, paths = _kind(source)
    if target is not None and kind not in _TABLES.values():
        raise DataError(
            f"target must be left out unless the data are a {', '.join(_TABLES)} file, got {target!r} with {source}"
        )
    if data_dir is not None and kind != "mnist":
        raise DataError(
            f"data_dir must be left out unless the data are mnist, got '{data_dir}' with {source}"
        )
    return kind, paths


def _kind(source: str | Path) -> tuple[str, tuple[Path, ...]]:
    if not str(source).strip():
        raise DataError(f"data must be {', '.join(BUILT_IN)}, {_FILE_KINDS}, got {source!r}")
    if isinstance(source, str) and source in BUILT_IN:
        return source, ()
    path = Path(source)
    pair = tuple(Path(part.strip()) for part in str(source).split(","))
    if path.is_dir():
        if (path / "X.npy").is_file() or (path / "y.npy").is_file():
            return "npy", (path / "X.npy", path / "y.npy")
        if any(find_idx(path, name) for name in IDX_NAMES):
            return "idx", (path,)
        raise DataError(f"{source}: a folder must hold X.npy and y.npy or four IDX files, found neither")
    if not path.exists() and len(pair) == 2 and all(part.suffix.lower() == ".npy" for part in pair):
        return "npy", pair
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise DataError(f"data must be {', '.join(BUILT_IN)}, {_FILE_KINDS}, got {str(source)!r}")
    if not path.exists():
        raise DataError(f"{source}: no such file")
    return _SUFFIXES[suffix], (path,)


def _name(source: str | Path) -> str:
    return str(source) if "," in str(source) else Path(source).resolve().name
