"""The model file: a network's parameters and configuration in one safetensors file.

The tensors are W1, b1, ..., WL, bL (W_l of shape (n_{l-1}, n_l)); the configuration is JSON text in the
file's metadata, under the key ``schuss``. Reading one runs no code. Format: https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from schuss.errors import ModelFileError

if TYPE_CHECKING:
    from schuss.network import Network

__all__ = ["FORMAT_VERSION", "is_model_file", "load", "save", "write_file"]

FORMAT_VERSION = 1

_KEY = "schuss"
_TENSOR_DTYPES = {"float32": "F32", "float64": "F64"}


def save(network: Network, path: str | os.PathLike[str]) -> Path:
    """Write a network to a model file.

    The file is written beside `path` and then moved there, so that a failed write leaves whatever was there
    before untouched.

    Parameters
    ----------
    network : Network
        The network; its `history` is stored too.
    path : path-like
        Where to write; a regular file there is replaced.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    ModelFileError
        If the file cannot be written, or the class labels are of a kind that JSON cannot hold.
    """
    target = Path(path)
    config = {
        "format_version": FORMAT_VERSION,
        "schuss_version": version("schuss"),
        "layer_sizes": [int(size) for size in network.layer_sizes],
        "activation": network.activation,
        "output_activation": network.output_activation,
        "loss": network.loss_name,
        "classes": _classes_to_json(target, network.classes),
        "input_scale": float(network.input_scale),
        "input_shift": float(network.input_shift),
        "dtype": str(np.dtype(network.dtype)),
        "plan": network.trained_plan,
        "history": {key: [_to_json(value) for value in values] for key, values in network.history.items()},
    }
    tensors: dict[str, np.ndarray] = {}
    for layer, (W, b) in enumerate(zip(network.weights, network.biases, strict=True), start=1):
        tensors[f"W{layer}"] = np.ascontiguousarray(W)
        tensors[f"b{layer}"] = np.ascontiguousarray(b)
    metadata = {_KEY: json.dumps(config, allow_nan=False)}
    try:
        write_file(target, safetensors.numpy.save(tensors, metadata))
    except OSError as error:
        raise ModelFileError(f"{target}: cannot be written: {error.strerror or error}") from error
    return target


def load(path: str | os.PathLike[str], *, n_jobs: int | None = None) -> Network:
    """Read a network from a model file.

    Parameters
    ----------
    path : path-like
        A file that `save` wrote.
    n_jobs : int or None, default=None
        Threads that the network may use. The plan it was trained with does not bind it: the file may have
        come from another machine.

    Returns
    -------
    Network
        The network as it was saved, with its `history`.

    Raises
    ------
    ModelFileError
        If the file is missing, no model file, damaged, or of a newer format.
    """
    source = Path(path)
    with _opened(source) as file:
        config = _config(source, file)
        tensors = _tensors(source, file, config)
    return _network(source, config, tensors, n_jobs)


def is_model_file(path: str | os.PathLike[str]) -> bool:
    """Whether there is a Schuss model file, of whatever format version, at `path`."""
    try:
        with _opened(Path(path)) as file:
            return _KEY in (file.metadata() or {})
    except ModelFileError:
        return False


def write_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a whole file or leave what was there: beside it first, then moved over it.

    Raises
    ------
    OSError
        If the file cannot be written, or `path` is something else than a regular file.
    """
    target = Path(os.path.realpath(path))  # a link stays a link
    if target.exists() and not target.is_file():
        raise OSError("it is a folder" if target.is_dir() else "it is not a regular file")
    beside = target.with_name(f".schuss-{secrets.token_hex(8)}.tmp")
    try:
        with open(beside, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The open safetensors file; whatever is wrong with it as one line."""
    if not path.exists():
        raise ModelFileError(f"{path}: no such file")
    if not path.is_file():
        raise ModelFileError(
            f"{path}: a model file is wanted, this is {'a folder' if path.is_dir() else 'none'}"
        )
    try:
        open(path, "rb").close()  # safetensors hides the system's reason
        with safe_open(path, framework="numpy") as file:
            yield file
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise ModelFileError(f"{path}: damaged, cut short or no safetensors file ({error})") from error


def _config(path: Path, file: Any) -> dict[str, Any]:
    """The configuration, each entry of the type it must have."""
    text = (file.metadata() or {}).get(_KEY)
    if text is None:
        raise ModelFileError(
            f"{path}: a safetensors file, but not one that Schuss wrote (no '{_KEY}' in its metadata)"
        )
    try:
        read = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: damaged: its configuration is no JSON ({error})") from error
    config: dict[str, Any] = read if isinstance(read, dict) else {}
    found: Any = config.get("format_version")
    if not _is_int(found) or found < 1:
        raise ModelFileError(
            f"{path}: damaged: its format_version must be a whole number from 1, got {found!r}"
        )
    if found > FORMAT_VERSION:
        raise ModelFileError(
            f"{path}: written in format {found} by Schuss {config.get('schuss_version', '(unknown)')}; "
            f"this Schuss reads up to format {FORMAT_VERSION}: upgrade it"
        )
    for key, (rule, holds) in _RULES.items():
        if not holds(config.get(key)):
            raise ModelFileError(f"{path}: damaged: its {key} must be {rule}, got {config.get(key)!r:.60}")
    return config


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_sizes(value: Any) -> bool:
    return isinstance(value, list) and len(value) >= 2 and all(_is_int(size) and size >= 1 for size in value)


def _is_classes(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and isinstance(value.get("dtype"), str)
        and isinstance(value.get("values"), list)
    )


def _is_history(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(column, list) for column in value.values())


_TEXT = ("text", lambda value: isinstance(value, str))
_RULES: dict[str, tuple[str, Any]] = {
    "layer_sizes": ("a list of at least two positive whole numbers", _is_sizes),
    "activation": _TEXT,
    "output_activation": _TEXT,
    "loss": _TEXT,
    "classes": ("null or an object with dtype and values", _is_classes),
    "input_scale": ("a finite number", _is_number),
    "input_shift": ("a finite number", _is_number),
    "plan": _TEXT,
    "dtype": ("float32 or float64", lambda value: isinstance(value, str) and value in _TENSOR_DTYPES),
    "history": ("an object of lists", _is_history),
}


def _tensors(path: Path, file: Any, config: dict[str, Any]) -> dict[str, np.ndarray]:
    """W1, b1, ..., checked against the configuration before anything is read."""
    sizes = config["layer_sizes"]
    shapes: dict[str, list[int]] = {}
    for layer in range(1, len(sizes)):
        shapes[f"W{layer}"] = [sizes[layer - 1], sizes[layer]]
        shapes[f"b{layer}"] = [sizes[layer]]
    names = set(file.keys())
    if names != set(shapes):
        raise ModelFileError(
            f"{path}: damaged: layer_sizes {sizes} ask for the tensors {', '.join(shapes)}, "
            f"it holds {', '.join(sorted(names)) or 'none'}"
        )
    for name, shape in shapes.items():
        entry = file.get_slice(name)
        wanted, got = (_TENSOR_DTYPES[config["dtype"]], shape), (entry.get_dtype(), entry.get_shape())
        if wanted != got:
            raise ModelFileError(
                f"{path}: damaged: {name} must be {wanted[0]} of shape {tuple(wanted[1])}, "
                f"got {got[0]} of shape {tuple(got[1])}"
            )
    return {name: file.get_tensor(name) for name in shapes}


def _network(
    path: Path, config: dict[str, Any], tensors: dict[str, np.ndarray], n_jobs: int | None
) -> Network:
    from schuss.network import Network  # network imports this module

    classes = _classes_from_json(path, config["classes"])
    try:
        network = Network(
            config["layer_sizes"],
            activation=config["activation"],
            output_activation=config["output_activation"],
            loss=config["loss"],
            classes=classes,
            input_scale=config["input_scale"],
            input_shift=config["input_shift"],
            dtype=config["dtype"],
            n_jobs=n_jobs,
        )
    except ValueError as error:
        raise ModelFileError(f"{path}: damaged: {error}") from error
    network.parameters = np.concatenate([tensor.ravel() for tensor in tensors.values()])
    network.trained_plan = config["plan"]
    network.history = {
        key: [math.nan if value is None else value for value in values]
        for key, values in config["history"].items()
    }
    return network


def _classes_to_json(path: Path, classes: np.ndarray | None) -> dict[str, Any] | None:
    if classes is None:
        return None
    if not _holds_labels(classes):
        raise ModelFileError(
            f"{path}: class labels must be numbers, booleans or text, got dtype {classes.dtype}"
        )
    return {"dtype": "object" if classes.dtype.kind == "O" else classes.dtype.str, "values": classes.tolist()}


def _classes_from_json(path: Path, stored: dict[str, Any] | None) -> np.ndarray | None:
    if stored is None:
        return None
    try:
        dtype = np.dtype(stored["dtype"])
        classes = np.array(stored["values"], dtype=dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelFileError(
            f"{path}: damaged: its class labels do not read as {stored['dtype']!r}"
        ) from error
    exact = classes.ndim == 1 and classes.tolist() == stored["values"]
    if not exact or not _holds_labels(classes):
        raise ModelFileError(f"{path}: damaged: its class labels do not read as {stored['dtype']!r}")
    return classes


def _holds_labels(classes: np.ndarray) -> bool:
    """Whether JSON holds these labels exactly."""
    if classes.dtype.kind == "O":
        return all(isinstance(label, str) for label in classes)
    return classes.dtype.kind in "biuU" or classes.dtype in (np.float16, np.float32, np.float64)


def _to_json(value: Any) -> Any:
    """A history entry as JSON knows it: NumPy scalars as Python's, NaN and infinity as null."""
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain
