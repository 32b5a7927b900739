"""Colours of figures and pages: one meaning a colour, a value each for light and for dark paper.

Figures are drawn in the light values; in a page each becomes a variable of the style sheet, so that it turns with the
theme. Lightness alone orders the batch sizes and every line has its name beside it: no meaning hangs on hue.
"""

from __future__ import annotations

import re

import numpy as np

__all__ = [
    "FAMILY_COLORS",
    "INK",
    "MUTED",
    "PAPER",
    "RULE",
    "batch_colors",
    "css_variables",
    "with_variables",
]

PAPER, INK, MUTED, RULE = "#fdfdfb", "#1d2329", "#57616b", "#dcdfe2"

#: Family of implementations -> the colour of its lines.
FAMILY_COLORS = {
    "naive": "#a8451a",
    "gemv": "#8a6a00",
    "gemm": "#0b7a5c",
    "native": "#1f5fae",
    "cuda": "#7a3f9d",
    "peer": "#6b7480",
}

_DARK = {
    PAPER: "#15191e",
    INK: "#e7eaed",
    MUTED: "#9ca7b1",
    RULE: "#323a42",
    "#a8451a": "#f39a6b",
    "#8a6a00": "#e0bb4a",
    "#0b7a5c": "#54c9a5",
    "#1f5fae": "#74b3f7",
    "#7a3f9d": "#cf9ff0",
    "#6b7480": "#a2adb8",
}
_NAMES = dict(zip(_DARK, ("paper", "ink", "muted", "rule", *FAMILY_COLORS), strict=True))

#: From the smallest batch size to the largest: towards the ink, on either paper.
_LIGHT_RAMP = ("#9cc7dd", "#6ba6c9", "#4384b3", "#2a6496", "#1d4775", "#142c4f")
_DARK_RAMP = ("#2b506e", "#3c6f95", "#528fb8", "#77b0d3", "#a6cfe6", "#dceef8")


def batch_colors(count: int) -> list[str]:
    """A colour for each of `count` batch sizes, on light paper."""
    return _ramp(_LIGHT_RAMP, count)


def css_variables(counts: set[int]) -> str:
    """Declarations of all colours, and of those of `counts` batch sizes, for the style sheet of a page."""
    pairs = {f"--{_NAMES[light]}": (light, dark) for light, dark in _DARK.items()}
    for count in sorted(counts):
        both = zip(_ramp(_LIGHT_RAMP, count), _ramp(_DARK_RAMP, count), strict=True)
        pairs |= {f"--batch-{count}-{i}": colors for i, colors in enumerate(both)}
    return " ".join(f"{name}: light-dark({light}, {dark});" for name, (light, dark) in pairs.items())


def with_variables(svg: str, count: int) -> str:
    """The drawing with its colours as variables of the page; `count` as for `batch_colors`."""
    variables = {color: f"--{name}" for color, name in _NAMES.items()}
    variables |= {color: f"--batch-{count}-{i}" for i, color in enumerate(batch_colors(count))}
    return re.sub(r"#[0-9a-f]{6}\b", lambda found: _variable(found[0], variables), svg)


def _variable(color: str, variables: dict[str, str]) -> str:
    return f"var({variables[color]})" if color in variables else color


def _ramp(anchors: tuple[str, ...], count: int) -> list[str]:
    """`count` colours along the anchors; one alone is the darker middle."""
    rgb = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in anchors], float)
    at = np.linspace(0, len(anchors) - 1, count) if count > 1 else [3.0]
    channels = [np.interp(at, np.arange(len(anchors)), channel) for channel in rgb.T]
    return ["#" + "".join(f"{round(value):02x}" for value in color) for color in zip(*channels, strict=True)]
