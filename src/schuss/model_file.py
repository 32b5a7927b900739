"""The model file: a network or an estimator in one safetensors file.

The tensors are W1, b1, ..., WL, bL (W_l of shape (n_{l-1}, n_l)) and, in float64, the history's columns, such as
history.loss; the configuration is JSON text in the file's metadata, under the key ``schuss``: see
:mod:`schuss.model_config`. Reading one runs no code. The optimizer's state is not in it: a training that goes on starts
its momentum anew. Format: https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from schuss import model_config
from schuss.errors import ModelFileError

if TYPE_CHECKING:
    from schuss.estimators.labels import Labels
    from schuss.estimators.stored import Estimator
    from schuss.network import Network

__all__ = [
    "FORMAT_VERSION",
    "is_model_file",
    "load",
    "load_for_use",
    "save",
    "write_file",
]

FORMAT_VERSION = 2

_KEY = "schuss"
_TENSOR_DTYPES = {"float32": "F32", "float64": "F64"}
_LONGEST_MESSAGE = 300


def save(model: Network | Estimator, path: str | os.PathLike[str]) -> Path:
    """Write a network or a fitted estimator to a model file.

    The file is written beside `path` and then moved there, so that a failed write leaves whatever was there
    before untouched.

    Parameters
    ----------
    model : Network, MLPClassifier or MLPRegressor
        A network is stored with its `history` and `feature_names`; an estimator with its parameters (a RandomState
        and schedules too) and what it learnt. The optimizer's state and callbacks are not stored.
    path : path-like
        Where to write; a regular file there is replaced.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    ModelFileError
        If the file cannot be written, a weight is not finite, or a label or parameter is of a kind that JSON cannot
        hold.
    TypeError
        If `model` is none of these; a class derived from them cannot be found again.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    """
    target = Path(path)
    network, config = _contents(target, model)
    tensors: dict[str, np.ndarray] = {}
    for layer, (W, b) in enumerate(zip(network.weights, network.biases, strict=True), start=1):
        tensors[f"W{layer}"] = np.ascontiguousarray(W)
        tensors[f"b{layer}"] = np.ascontiguousarray(b)
    try:
        _check_finite(tensors)
    except ValueError as error:
        raise ModelFileError(f"{target}: {error}") from error
    for key, column in config["history"].items():
        if column is None:
            tensors[f"history.{key}"] = np.array(network.history[key], np.float64)
    metadata = {_KEY: json.dumps(config, allow_nan=False)}
    try:
        write_file(target, safetensors.numpy.save(tensors, metadata))
    except SafetensorError as error:  # its header holds up to 100 MB
        raise ModelFileError(f"{target}: cannot be written: {error}") from error
    except OSError as error:
        raise ModelFileError(f"{target}: cannot be written: {error.strerror or error}") from error
    return target


def load(path: str | os.PathLike[str], *, n_jobs: int | None = None) -> Network | Estimator:
    """Read from a model file what was saved there: a network or an estimator.

    Its predictions have the bits of those before, given the same kernels: a network predicts with the plan "auto",
    an estimator with the plan among its parameters where this machine has it, else "auto".

    Parameters
    ----------
    path : path-like
        A file that `save` wrote, in this or an earlier format.
    n_jobs : int or None, default=None
        Threads that the model may use; None: for an estimator what its parameter says. The plan that a network was
        trained with does not bind it: the file may have come from another machine.

    Returns
    -------
    Network, MLPClassifier or MLPRegressor
        As it was saved, a network with its `history`.

    Raises
    ------
    ModelFileError
        If the file is missing, no model file, damaged, or of a newer format.
    """
    source = Path(path)
    config, tensors = _read(source)
    with _damage(source):
        network = _network(config, tensors, n_jobs)
        if config["estimator"] is None:
            return network
        from schuss.estimators import stored

        return stored.from_json(config["estimator"], network, n_jobs)


def load_for_use(path: str | os.PathLike[str], *, n_jobs: int | None = None) -> tuple[Network, Labels | None]:
    """Read the network alone, also where an estimator was saved, and what its outputs stand for if it cannot say that.

    Arguments and errors as of :func:`load`.

    Returns
    -------
    network : Network
    labels : Labels or None
        Those of a classifier of several labels at once, or of a single class, whose network has no classes.
    """
    source = Path(path)
    config, tensors = _read(source)
    with _damage(source):
        network = _network(config, tensors, n_jobs)
        estimator = config["estimator"]
        if estimator is None or estimator["class"] != "MLPClassifier" or network.classes is not None:
            return network, None
        from schuss.estimators import stored

        return network, stored.labels(estimator, network)


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


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Contents that contradict their rules, as one line."""
    try:
        yield
    except (ValueError, RecursionError) as error:
        text = " ".join(str(error).split())
        raise ModelFileError(f"{path}: damaged: {text:.{_LONGEST_MESSAGE}}") from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Configuration and tensors, each entry of the type and shape it must have."""
    with _opened(path) as file:
        text = (file.metadata() or {}).get(_KEY)
        if text is None:
            raise ModelFileError(
                f"{path}: a safetensors file, but not one that Schuss wrote (no '{_KEY}' in its metadata)"
            )
        config = _parsed(path, text)
        with _damage(path):
            for key, (rule, holds) in model_config.RULES.items():
                if key not in config:
                    raise ValueError(f"its {key} is missing")
                if not holds(config[key]):
                    raise ValueError(f"its {key} must be {rule}, got {config[key]!r:.60}")
            return config, _tensors(file, config)


def _parsed(path: Path, text: str) -> dict[str, Any]:
    """The configuration as an object of the present format."""
    try:
        read = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: damaged: its configuration is no JSON ({error})") from error
    config: dict[str, Any] = {"feature_names": None} | (read if isinstance(read, dict) else {})
    found: Any = config.get("format_version")
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise ModelFileError(
            f"{path}: damaged: its format_version must be a whole number from 1, got {found!r:.60}"
        )
    if found > FORMAT_VERSION:
        raise ModelFileError(
            f"{path}: written in format {found!r:.30} by Schuss {config.get('schuss_version')!r:.30}; "
            f"this Schuss reads up to format {FORMAT_VERSION}: upgrade it"
        )
    return model_config.upgraded(config) if found == 1 else config


def _tensors(file: Any, config: dict[str, Any]) -> dict[str, np.ndarray]:
    """W1, b1, ..., checked against the configuration before anything is read."""
    sizes, kind = config["layer_sizes"], _TENSOR_DTYPES[config["dtype"]]
    wanted: dict[str, tuple[str, list[int]]] = {}
    for layer in range(1, len(sizes)):
        wanted[f"W{layer}"] = kind, [sizes[layer - 1], sizes[layer]]
        wanted[f"b{layer}"] = kind, [sizes[layer]]
    columns = [f"history.{key}" for key, column in config["history"].items() if column is None]
    names = set(file.keys())
    if names != {*wanted, *columns}:
        raise ValueError(
            f"layer_sizes {sizes!r:.100} and history ask for the tensors {', '.join([*wanted, *columns]):.100}, "
            f"it holds {', '.join(sorted(names)) or 'none'}"
        )
    for name in names:
        entry = file.get_slice(name)
        dtype, shape = entry.get_dtype(), entry.get_shape()
        rule = wanted.get(name, ("F64", shape[:1]))
        if rule != (dtype, shape):
            raise ValueError(
                f"{name} must be {rule[0]} of shape {tuple(rule[1])}, got {dtype} of shape {tuple(shape)}"
            )
    tensors = {name: file.get_tensor(name) for name in (*wanted, *columns)}
    _check_finite({name: tensors[name] for name in wanted})
    return tensors


def _check_finite(tensors: dict[str, np.ndarray]) -> None:
    for name, tensor in tensors.items():
        finite = np.isfinite(tensor)
        if not finite.all():
            raise ValueError(f"{name} must hold finite numbers, got {tensor[~finite][0]}")


def _contents(path: Path, model: Network | Estimator) -> tuple[Network, dict[str, Any]]:
    """The network in a model, and the configuration of both."""
    from schuss.network import Network  # network imports this module

    if isinstance(model, Network):
        network, estimator = model, None
    else:
        from schuss.estimators import stored  # a network's file need not wait for scikit-learn

        estimator = stored.checked(model)
        network = estimator.network_
    try:
        config = _network_to_json(network)
        if estimator is None and network.feature_names is not None:  # an estimator has its own
            config["feature_names"] = _checked_names(network.feature_names, network.layer_sizes[0])
        config["estimator"] = None if estimator is None else stored.to_json(estimator)
    except ValueError as error:
        raise ModelFileError(f"{path}: {error}") from error
    return network, config


def _network_to_json(network: Network) -> dict[str, Any]:
    classes = network.classes
    return {
        "format_version": FORMAT_VERSION,
        "schuss_version": version("schuss"),
        "layer_sizes": [int(size) for size in network.layer_sizes],
        "activations": list(network.activations),
        "loss": model_config.loss_to_json(network.loss_function),
        "classes": None if classes is None else model_config.array_to_json(classes, "class labels"),
        "input_scale": float(network.input_scale),
        "input_shift": float(network.input_shift),
        "dtype": str(np.dtype(network.dtype)),
        "plan": network.trained_plan,
        "history": {key: _column_to_json(values, key) for key, values in network.history.items()},
    }


def _column_to_json(values: list[Any], name: str) -> Any:
    """A column of the history; None where it is a tensor: partial_fit may have written millions of numbers."""
    if all(isinstance(value, float) for value in values):
        return None
    return model_config.encode(list(values), name)


def _network(config: dict[str, Any], tensors: dict[str, np.ndarray], n_jobs: int | None) -> Network:
    from schuss.network import Network

    *hidden, output = config["activations"]
    classes = config["classes"]
    network = Network(
        config["layer_sizes"],
        activation=hidden,
        output_activation=output,
        loss=model_config.loss_from_json(config["loss"]),
        classes=None if classes is None else _labels(classes),
        input_scale=float(config["input_scale"]),
        input_shift=float(config["input_shift"]),
        dtype=config["dtype"],
        n_jobs=n_jobs,
    )
    layers = range(1, len(config["layer_sizes"]))
    network.parameters = np.concatenate(
        [tensors[f"{part}{layer}"].ravel() for layer in layers for part in "Wb"]
    )
    network.trained_plan = config["plan"]
    network.feature_names = _feature_names(config)
    network.history = {
        key: tensors[f"history.{key}"].tolist() if column is None else model_config.decode(column)
        for key, column in config["history"].items()
    }
    return network


def _feature_names(config: dict[str, Any]) -> tuple[str, ...] | None:
    """The features' names, of the network or of the estimator around it."""
    estimator, features = config["estimator"], config["layer_sizes"][0]
    if estimator is None:
        names = config["feature_names"]
        return None if names is None else _checked_names(names, features)
    stored = estimator["state"].get("feature_names_in_")
    if stored is None:
        return None
    names = model_config.decode(stored)
    if not isinstance(names, np.ndarray) or names.shape != (features,):
        raise ValueError(f"its feature_names_in_ must be an array of length {features}, got {names!r:.60}")
    names = tuple(map(str, names))
    return names if len(set(names)) == features else None  # a frame may have two columns of a name


def _checked_names(names: Sequence[str], features: int) -> tuple[str, ...]:
    """The names of so many features."""
    if (
        len(set(names)) != features
        or len(names) != features
        or not all(isinstance(name, str) for name in names)
    ):
        raise ValueError(f"feature_names must be {features} different texts, got {names!r:.100}")
    return tuple(names)


def _labels(stored: dict[str, Any]) -> np.ndarray:
    try:
        labels = model_config.array_from_json(stored)
        if labels.ndim == 1:
            return labels
    except ValueError:
        pass
    raise ValueError(f"its class labels do not read as {stored['dtype']!r:.30}")
