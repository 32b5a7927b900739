"""The configuration in a model file: values as JSON that gives exactly them back, and the rules of its entries.

What JSON has no form for is an object with one tag: ``{"float": "nan"}``, ``{"tuple": [...]}``, ``{"dict": [[key,
value], ...]}``, ``{"array": {"dtype": ..., "values": ...}}``, ``{"schedule": [name, fields]}``, ``{"RandomState":
[...]}``. NumPy's scalars become Python's. Reading makes nothing else than these, whatever a file says.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schuss import schedules
from schuss.losses import Loss

__all__ = [
    "RULES",
    "array_from_json",
    "array_to_json",
    "decode",
    "encode",
    "loss_from_json",
    "loss_to_json",
    "upgraded",
]

Array = NDArray[Any]

#: What a loss depends on besides its name.
_LOSS_PARAMETERS = {
    "huber": ("huber_delta",),
    "quantile": ("quantiles",),
    "log_loss": ("label_smoothing",),
    "focal": ("focal_gamma", "label_smoothing"),
}
_ARRAY_DTYPES = re.compile(r"object|[<>|=]?(b1|[iu][1248]|f[248]|U\d{1,9})")
_ARRAY_BYTES = 2**26  # of text wider than any of it; more is a damaged dtype
_STATE_WORDS = 624  # of the Mersenne Twister


# --- Values ---------------------------------------------------------------------------------------


def encode(value: Any, name: str) -> Any:
    """A value as JSON that :func:`decode` gives back equal, containers and arrays of the same type.

    Parameters
    ----------
    value : object
        None, booleans, numbers, text; lists, tuples and dicts of such; arrays of numbers, booleans or text;
        schedules; a RandomState with the Mersenne Twister.
    name : str
        Whose value it is, for the error's text.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(float(value))}
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is list:
        return [encode(entry, name) for entry in value]
    if type(value) is tuple:
        return {"tuple": [encode(entry, name) for entry in value]}
    if type(value) is dict:
        return {"dict": [[encode(key, name), encode(entry, name)] for key, entry in value.items()]}
    if type(value) is np.ndarray:
        return {"array": array_to_json(value, name)}
    if type(value) is np.random.RandomState:
        return {"RandomState": _generator_to_json(value, name)}
    if isinstance(value, schedules.Schedule):
        return {"schedule": _schedule_to_json(value, name)}
    raise ValueError(f"{name} must be plain data to be stored, got {type(value).__name__}")


def decode(stored: Any) -> Any:
    """The value that :func:`encode` made `stored` of.

    Raises
    ------
    ValueError
        If nothing is stored like this.
    """
    if isinstance(stored, list):
        return [decode(entry) for entry in stored]
    if not isinstance(stored, dict):
        return stored
    if len(stored) != 1 or (tag := next(iter(stored))) not in _DECODERS:
        raise ValueError(f"no value is stored as {stored!r:.60}")
    content = stored[tag]
    try:
        return _DECODERS[tag](content)
    except (TypeError, ValueError, AttributeError, KeyError, OverflowError) as error:
        raise ValueError(f"no {tag} is stored as {content!r:.60} ({error})") from error


def array_to_json(array: Array, name: str) -> dict[str, Any]:
    """dtype and values of an array of numbers, booleans or text."""
    if not _holds(array):
        raise ValueError(f"{name} must be numbers, booleans or text, got dtype {array.dtype}")
    values, dtype = array.tolist(), array.dtype
    if _too_wide(dtype, values):
        dtype = np.array(values).dtype
    return {"dtype": "object" if dtype.kind == "O" else dtype.str, "values": encode(values, name)}


def array_from_json(stored: Any) -> Array:
    """The array, exactly as it was stored."""
    dtype_name = stored.get("dtype") if isinstance(stored, dict) else None
    refusal = f"an array does not read as {dtype_name!r:.30}"
    if not isinstance(dtype_name, str) or not _ARRAY_DTYPES.fullmatch(dtype_name):
        raise ValueError(refusal)
    try:
        dtype, values = np.dtype(dtype_name), decode(stored["values"])
        if not isinstance(values, list) or _too_wide(dtype, values):
            raise ValueError(refusal)
        array = np.array(values, dtype)
        exact = _holds(array) and encode(array.tolist(), "array") == stored["values"]
    except (TypeError, ValueError, OverflowError, KeyError) as error:
        raise ValueError(refusal) from error
    if not exact:
        raise ValueError(refusal)
    return array


def _holds(array: Array) -> bool:
    """Whether JSON holds these values exactly."""
    if array.dtype.kind == "O":
        return all(isinstance(entry, str) for entry in array.flat)
    return array.dtype.kind in "biuU" or array.dtype in (np.float16, np.float32, np.float64)


def _too_wide(dtype: np.dtype[Any], values: list[Any]) -> bool:
    """Whether text of this dtype would take memory out of all proportion to what it says."""
    if dtype.kind != "U":
        return False
    longest = max((len(text) for text in values if isinstance(text, str)), default=0)
    return dtype.itemsize > 4 * longest and dtype.itemsize * len(values) > _ARRAY_BYTES


def _float(stored: Any) -> float:
    if stored not in ("nan", "inf", "-inf"):
        raise ValueError(f"no float is stored as {stored!r:.60}")
    return float(stored)


def _list(stored: Any) -> list[Any]:
    if not isinstance(stored, list):
        raise TypeError
    return [decode(entry) for entry in stored]


def _generator_to_json(random: np.random.RandomState, name: str) -> list[Any]:
    state: Any = random.get_state(legacy=False)
    if state["bit_generator"] != "MT19937":
        raise ValueError(
            f"{name} must be an integer, None or a RandomState with MT19937 to be stored, "
            f"got one with {state['bit_generator']}"
        )
    inner = state["state"]
    return [inner["key"].tolist(), int(inner["pos"]), int(state["has_gauss"]), float(state["gauss"])]


def _generator_from_json(stored: Any) -> np.random.RandomState:
    key, position, has_gauss, gauss = stored
    words = np.array(key, np.uint32)
    # NumPy reads beyond the key where the position is
    if words.shape != (_STATE_WORDS,) or words.tolist() != key or not _is_int(position):
        raise TypeError
    if not 0 <= position <= _STATE_WORDS or has_gauss not in (0, 1) or not _is_number(gauss):
        raise TypeError
    random = np.random.RandomState()
    random.set_state(("MT19937", words, position, int(has_gauss), float(gauss)))
    return random


def _schedule_to_json(schedule: schedules.Schedule, name: str) -> list[Any]:
    kind = type(schedule)
    if kind not in _SCHEDULES.values():
        raise ValueError(f"{name} must be a schedule of schuss.schedules to be stored, got {kind.__name__}")
    values = {field.name: encode(getattr(schedule, field.name), name) for field in fields(schedule)}
    return [kind.__name__, values]


def _schedule_from_json(stored: Any) -> schedules.Schedule:
    kind, values = stored
    return _SCHEDULES[kind](**{key: decode(value) for key, value in values.items()})


_SCHEDULES: dict[str, type[schedules.Schedule]] = {
    name: kind
    for name in schedules.__all__
    if isinstance(kind := getattr(schedules, name), type) and kind is not schedules.Schedule
}
_DECODERS: dict[str, Callable[[Any], Any]] = {
    "float": _float,
    "tuple": lambda stored: tuple(_list(stored)),
    "dict": lambda stored: {decode(key): decode(value) for key, value in stored},
    "array": array_from_json,
    "RandomState": _generator_from_json,
    "schedule": _schedule_from_json,
}


# --- The loss -------------------------------------------------------------------------------------


def loss_to_json(loss: Loss) -> dict[str, Any]:
    """The loss's name, and of its parameters those that it depends on or that are not at their default."""
    used = _LOSS_PARAMETERS.get(loss.name, ())
    kept = [
        field.name
        for field in fields(loss)
        if field.name in used or getattr(loss, field.name) != field.default
    ]
    return {key: encode(getattr(loss, key), key) for key in kept}


def loss_from_json(stored: dict[str, Any]) -> Loss:
    """The loss; ValueError where there is none such."""
    values = {key: decode(value) for key, value in stored.items()}
    for key in _LOSS_PARAMETERS.get(str(values.get("name")), ()):
        if key not in values:
            raise ValueError(f"loss must have its {key}, got {stored!r:.60}")
    try:
        if all(math.isfinite(value) for key, value in values.items() if key not in ("name", "quantiles")):
            return Loss(**values)
        raise TypeError
    except (TypeError, OverflowError) as error:
        raise ValueError(f"loss must have parameters that are finite numbers, got {stored!r:.60}") from error


# --- Entries --------------------------------------------------------------------------------------


def upgraded(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a file of format 1 as one of format 2 has it; what is wrong stays wrong."""
    sizes, loss, history = config.get("layer_sizes"), config.get("loss"), config.get("history")
    hidden = len(sizes) - 2 if isinstance(sizes, list) else 0
    return config | {
        "activations": [config.get("activation")] * hidden + [config.get("output_activation")],
        "loss": {"name": loss} | ({"label_smoothing": 0.0} if loss == "log_loss" else {}),
        "history": _without_null(history) if isinstance(history, dict) else history,
        "estimator": None,
    }


def _without_null(history: dict[str, Any]) -> dict[str, Any]:
    """Format 1 wrote null for NaN and infinity."""
    return {
        key: [{"float": "nan"} if value is None else value for value in column]
        if isinstance(column, list)
        else column
        for key, column in history.items()
    }


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max  # an int may be larger than every float


def _is_sizes(value: Any) -> bool:
    return isinstance(value, list) and len(value) >= 2 and all(_is_int(size) and size >= 1 for size in value)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, str) for entry in value)


def _is_names(value: Any) -> bool:
    return value is None or (_is_texts(value) and len(set(value)) == len(value))


def _is_loss(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("name"), str)


def _is_classes(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and isinstance(value.get("dtype"), str)
        and isinstance(value.get("values"), list)
    )


def _is_history(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(column, list | None) for column in value.values())


def _is_estimator(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and isinstance(value.get("class"), str)
        and isinstance(value.get("params"), dict)
        and isinstance(value.get("state"), dict)
    )


#: Entry -> what it must be, and the check of it.
RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "layer_sizes": ("a list of at least two positive whole numbers", _is_sizes),
    "activations": ("a list of text", _is_texts),
    "loss": ("an object with a name and parameters", _is_loss),
    "classes": ("null or an object with dtype and values", _is_classes),
    "input_scale": ("a finite number", _is_number),
    "input_shift": ("a finite number", _is_number),
    "plan": ("text", lambda value: isinstance(value, str)),
    "dtype": ("float32 or float64", lambda value: value in ("float32", "float64")),
    "history": ("an object of lists and null", _is_history),
    "feature_names": ("null or a list of text, each once", _is_names),
    "estimator": ("null or an object with class, params and state", _is_estimator),
}
