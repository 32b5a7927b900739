"""``schuss info``: the machine as Schuss sees it."""

from __future__ import annotations

from typing import Any

import click

from schuss.cli._common import echo_json, echo_table, json_option

__all__ = ["info"]


@click.command(short_help="Show the machine: cores, caches, instruction sets, BLAS, measured speed.")
@json_option
def info(as_json: bool) -> None:
    """Show the machine as Schuss sees it.

    Cores that may be used, caches, instruction sets, the BLAS and its threads, measured peak GFLOP/s and
    memory bandwidth, versions.
    """
    from schuss import machine

    facts = machine.info()
    if as_json:
        echo_json(facts)
    else:
        echo_table(rows(facts))


def rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, value) lines; nested entries carry their parent's name in front."""
    lines = []
    for name, value in facts.items():
        label = name.replace("_", " ")
        if isinstance(value, dict):
            lines += [(f"{label} {inner}", text) for inner, text in rows(value)]
        else:
            lines.append((label, text_of(value)))
    return lines


def text_of(value: Any) -> str:
    """A fact for people: lists joined, numbers grouped, unknown as a dash."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(text_of(item) for item in value) or "-"
    return str(value)
