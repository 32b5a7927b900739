"""The kernels' arguments, twins of kernels/arguments.cuh, and the macros that a kernel source is compiled with."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

__all__ = [
    "ELEMENTS",
    "NUMBERS",
    "STEP_NUMBERS",
    "AdvanceArguments",
    "GatherArguments",
    "HeadArguments",
    "LayerArguments",
    "LossesArguments",
    "Moment",
    "OutputArguments",
    "ProductArguments",
    "Source",
    "State",
    "UpdateArguments",
    "defines",
]

_pointer, _long, _int = ctypes.c_void_p, ctypes.c_longlong, ctypes.c_int
_double, _unsigned, _key = ctypes.c_double, ctypes.c_uint, ctypes.c_ulonglong


def _fields(**types: str) -> list[tuple[str, Any]]:
    """Fields of a structure: names by type, in the order of the structure's declaration."""
    kinds = {"p": _pointer, "q": _long, "i": _int, "d": _double, "u": _unsigned, "k": _key, "at": Moment}
    return [
        (name, kinds[kind.rstrip("_0123456789")]) for kind, names in types.items() for name in names.split()
    ]


class State(ctypes.Structure):
    _fields_ = [("step", _long), ("stopped", _long), ("n_steps", _long)]


class Moment(ctypes.Structure):
    _fields_ = [("steps", _pointer), ("state", _pointer), ("ahead", _long)]


class Source(ctypes.Structure):
    _fields_ = _fields(p="x order labels targets weights", q="x_stride base element", d="scale shift")


class GatherArguments(ctypes.Structure):
    _fields_ = _fields(
        at="at", p="source a y example_weights", d="on off",
        i="features a_stride outputs y_stride capacity",
    )  # fmt: skip


class ProductArguments(ctypes.Structure):
    _fields_ = _fields(
        at="at", p="a w bias out slope activated partial tickets", q="a_half", k="seed", d="keep_scale", u="threshold",
        i="activation plain columns depth a_stride w_stride out_stride",
    )  # fmt: skip


class HeadArguments(ctypes.Structure):
    _fields_ = _fields(
        at="at", p="a w bias y example_weights out delta below slope losses levels", q="a_half", d="parameter cap",
        i="loss output activation inputs outputs a_stride y_stride below_stride capacity",
    )  # fmt: skip


class OutputArguments(ctypes.Structure):
    _fields_ = _fields(
        at="at", p="z y example_weights delta losses levels", d="parameter cap",
        i="loss output outputs y_stride capacity",
    )  # fmt: skip


class LossesArguments(ctypes.Structure):
    _fields_ = _fields(
        at="at", p="losses example_weights squares out", d="scale alpha", q="n_squares", i="capacity decides"
    )


class LayerArguments(ctypes.Structure):
    _fields_ = [
        *_fields(p="a delta"),
        ("w", _pointer * 3),
        *_fields(
            p="copy gradient partial tickets squares penalties", q="a_half",
            i="inputs outputs stride a_stride parts tiles_across first_block first_row",
        ),
    ]  # fmt: skip


class UpdateArguments(ctypes.Structure):
    _fields_ = _fields(
        at="at", p="layers squares norm", d="momentum beta2 epsilon clip_norm", q="rows",
        i="n_layers optimizer keep_gradient go_on",
    )  # fmt: skip


class AdvanceArguments(ctypes.Structure):
    _fields_ = _fields(p="state", q="steps")


#: A step's numbers, as an array of them lies in memory.
STEP_NUMBERS = np.dtype(
    [(name, "i8") for name in ("first", "count", "draw")]
    + [(name, "f8") for name in ("total", "rate", "penalty", "keep")]
)

#: Element types of X -> their number in arguments.cuh.
ELEMENTS = {"float32": 0, "float64": 1, "uint8": 2}

#: Precision -> type in numbers.cuh, type of the parameters, and of what the products read.
NUMBERS: dict[str, tuple[str, np.dtype[Any], np.dtype[Any]]] = {
    "float32": ("Float32", np.dtype(np.float32), np.dtype(np.float32)),
    "float64": ("Float64", np.dtype(np.float64), np.dtype(np.float64)),
    "tf32": ("Tf32", np.dtype(np.float32), np.dtype(np.float32)),
    "bfloat16": ("Bfloat16", np.dtype(np.float32), np.dtype(np.uint16)),
}

_CHECKED = (
    State, Source, GatherArguments, ProductArguments, HeadArguments, OutputArguments, LossesArguments, LayerArguments,
    UpdateArguments, AdvanceArguments,
)  # fmt: skip


def defines(precision: str) -> dict[str, str]:
    """Macros for a kernel source: the kind of number, and the sizes of the structures for it to compare."""
    sizes = {f"SCHUSS_SIZE_{kind.__name__}": str(ctypes.sizeof(kind)) for kind in _CHECKED}
    return {
        "SCHUSS_NUMBER": NUMBERS[precision][0],
        **sizes,
        "SCHUSS_SIZE_StepNumbers": str(STEP_NUMBERS.itemsize),
    }
