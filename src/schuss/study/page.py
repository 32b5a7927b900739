"""A page in one file: the template filled in, and tables whose headings sort."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import Any

from .palette import css_variables

__all__ = ["Cell", "definitions", "escape", "number", "page", "table"]

escape = html.escape


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, the value it is sorted by where that is a number, and a class of the style sheet."""

    text: str
    value: float | None = None
    style: str = ""


def number(value: float | None, text: str, style: str = "") -> Cell:
    """A cell with a number, or an empty one that sorting leaves at the end."""
    return Cell("", style=style) if value is None else Cell(text, value, style)


def page(
    title: str, sections: Mapping[str, tuple[str, str]], *, top: str, footer: str, batch_counts: set[int]
) -> str:
    """The whole document.

    Parameters
    ----------
    title : str
    sections : dict of str to (str, str)
        Name in the navigation -> heading and HTML; empty ones are left out.
    top : str
        HTML before the first section.
    footer : str
        Plain text.
    batch_counts : set of int
        Numbers of batch sizes that the drawings have colours for.
    """
    shown = {name: section for name, section in sections.items() if section[1]}
    ids = {name: "section-" + escape(name.lower().replace(" ", "-")) for name in shown}
    body = "\n".join(
        f'<section aria-labelledby="{ids[name]}"><h2 id="{ids[name]}">{escape(heading)}</h2>\n{text}\n</section>'
        for name, (heading, text) in shown.items()
    )
    parts = {
        name: _part(f"{name}.{ending}")
        for name, ending in (("early", "js"), ("script", "js"), ("style", "css"))
    }
    return Template(_part("page.html")).substitute(
        parts,
        title=escape(title),
        variables=css_variables(batch_counts),
        nav="".join(f'<a href="#{ids[name]}">{escape(name)}</a>' for name in shown),
        body=f"{top}\n{body}",
        footer=escape(footer),
    )


def _part(name: str) -> str:
    return (files(__package__) / "template" / name).read_text(encoding="utf-8")


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A table that sorts by any column; the first column names the row.

    A column is set to the right where any of its cells has a number.
    """
    numeric = [any(row[column].value is not None for row in rows) for column in range(len(head))]
    headings = "".join(
        f'<th scope="col" aria-sort="none"{_classes("number" if right else "")}>'
        f'<button type="button">{escape(name)}</button></th>'
        for name, right in zip(head, numeric, strict=True)
    )
    body = "\n".join(
        f"<tr>{''.join(map(_cell, row, numeric, [True] + [False] * len(head)))}</tr>" for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>\n'
        f"<caption><span>{escape(caption)}</span></caption>\n"
        f"<thead><tr>{headings}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _cell(cell: Cell, right: bool, first: bool) -> str:
    tag, scope = ("th", ' scope="row"') if first else ("td", "")
    value = "" if cell.value is None else f' data-value="{cell.value:.9g}"'
    return (
        f"<{tag}{scope}{value}{_classes('number' if right else '', cell.style)}>{escape(cell.text)}</{tag}>"
    )


def _classes(*names: str) -> str:
    given = " ".join(name for name in names if name)
    return f' class="{given}"' if given else ""


def definitions(facts: Mapping[str, Any]) -> str:
    """Names and values, one below the other; nested ones in one line."""
    lines = (
        f"<dt>{escape(_plain(name))}</dt><dd>{escape(_line(value))}</dd>" for name, value in facts.items()
    )
    return f"<dl>{''.join(lines)}</dl>" if facts else ""


def _line(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{_plain(str(name))} {_line(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_line, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _plain(name: str) -> str:
    """A key of ours in words; variables of the environment keep their names."""
    return name.replace("_", " ") if name.islower() else name
