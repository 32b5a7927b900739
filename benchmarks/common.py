"""What the benchmarks share: who can run, equal losses, the machine, tables, one JSON file a run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from schuss.machine import summary
from schuss.study import peers
from schuss.study.measure import StudyError, watched
from schuss.study.work import Work

HERE = Path(__file__).parent


def kept(names: Sequence[str], why_not: Callable[[str], str | None], named: bool) -> list[str]:
    """Those without a reason against them. What is left out is said, or, where the user named it, an error."""
    reasons = {name: why_not(name) for name in names}
    for name, reason in reasons.items():
        if reason and named:
            raise StudyError(f"{name}: {reason}")
        if reason:
            print(f"{name} is left out: {reason}")
    return [name for name, reason in reasons.items() if not reason]


def installed(names: Sequence[str], named: bool) -> list[str]:
    return kept(names, peers.missing, named)


def usable(names: Sequence[str], work: Work, named: bool) -> list[str]:
    """Those that are installed and can train `work`."""
    return kept(names, lambda name: peers.missing(name) or peers.cannot(name, work), named)


def same_losses(found: dict[str, Sequence[float]], tolerance: float) -> None:
    """Each epoch's losses must agree within `tolerance` relative."""
    for epoch in zip(*found.values(), strict=True):
        spread = np.ptp(epoch) / np.min(np.abs(epoch))
        if not spread <= tolerance:  # nan too
            each = "; ".join(f"{name} {', '.join(f'{v:.7g}' for v in found[name])}" for name in found)
            raise StudyError(
                f"losses of the same training differ by {spread:.1e}, {tolerance:.0e} allowed: {each}"
            )


def machine() -> dict[str, Any]:
    """The machine, the commit, the command, and the variables that change what is measured."""
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=HERE,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = None
    return {
        "machine": summary(),
        "commit": commit,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "environment": watched(),
    }


def header(title: object) -> str:
    facts = summary()
    cores, isa = facts["cores"]["used"], facts["isa"]["chosen"]
    set_here = "".join(f", {name}={value}" for name, value in watched().items())
    return f"{title}\n{facts['cpu']}, {cores} cores, {isa}, Python {facts['versions']['python']}{set_here}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns under their heads; the first to the left, the others to the right."""
    lines = [[str(cell) for cell in line] for line in (head, *rows)]
    first, *others = (max(map(len, column)) for column in zip(*lines, strict=True))
    return "\n".join(
        "  ".join([cell.ljust(first), *(c.rjust(width) for c, width in zip(cells, others, strict=True))])
        for cell, *cells in lines
    )


def write(path: str | None, result: dict[str, Any]) -> None:
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(result, indent=1) + "\n")
