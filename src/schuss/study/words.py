"""Numbers and names as people read them, the same in figures, tables and sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .results import Run, Study

__all__ = [
    "PARALLEL",
    "amount",
    "count",
    "examples_per_epoch",
    "file_name",
    "label",
    "listed",
    "percent",
    "span",
]

#: What is parallel, under the name of an implementation.
PARALLEL = {
    "-": "not parallel",
    "examples": "over examples",
    "matrix operations": "over matrix operations",
    "both": "both ways",
}


def amount(value: float) -> str:
    """Three digits that count, thousands parted, no exponent: 0.00444, 1.05, 22.9, 1,234."""
    if value >= 100:
        return f"{value:,.0f}"
    text = f"{value:#.3g}"
    return f"{value:.6f}".rstrip("0") if "e" in text else text.rstrip(".")


def percent(share: float) -> str:
    """A share in per cent, whole."""
    return f"{100 * share:.0f} %"


def count(number: int, thing: str) -> str:
    """1 network, 2 networks, 50,000 examples."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def listed(items: Sequence[str]) -> str:
    """a; a and b; a, b and c."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def examples_per_epoch(study: Study) -> str:
    """The whole epoch that all seconds are scaled to."""
    return count(int(study.settings["examples"]), "example")


def file_name(study: Study, kind: str, network: str) -> str:
    """Of a figure: no sign that a file system or a page minds, no two alike."""
    plain = [re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") for name in study.networks]
    place = list(study.networks).index(network)
    unique = plain[place] if plain[place] and plain.count(plain[place]) == 1 else f"{plain[place]}{place + 1}"
    return f"{kind}-{unique}"


def label(study: Study, run: Run) -> str:
    """The implementation's name for people."""
    return study.implementations[run.implementation].label


def span(values: Sequence[float]) -> str:
    """1.22 to 1.25, or one number where both read alike."""
    low, high = amount(min(values)), amount(max(values))
    return low if low == high else f"{low} to {high}"
