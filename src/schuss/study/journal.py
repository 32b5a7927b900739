"""The folder of a study while it is measured: every measurement a line of a file, so that none is made twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from schuss.study.measure import StudyError

__all__ = ["Cell", "Journal"]

FILE = "measurements.jsonl"


class Cell(NamedTuple):
    """What is measured in every round; `limit` is the number of threads it is held to, None for all."""

    network: str
    batch: int
    implementation: str
    limit: int | None = None


class Journal:
    """The measurements in a folder; `begin` first.

    Attributes
    ----------
    created : str
        When the study was begun, UTC, ISO 8601.
    oracle : dict of (network, batch) to list of float
    facts : dict of Cell to dict
        What an implementation said of itself in its check, and the rows it trains on.
    turns : dict of Cell to dict of int to dict
        By round.
    failed : dict of Cell to str
        Why; forgotten when a study goes on, since it is tried again.
    failed_curves : dict of Cell to str
    curves, accuracy : list of dict
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / FILE
        self.created = ""
        self.oracle: dict[tuple[str, int], list[float]] = {}
        self.facts: dict[Cell, dict[str, Any]] = {}
        self.turns: dict[Cell, dict[int, dict[str, Any]]] = {}
        self.failed: dict[Cell, str] = {}
        self.failed_curves: dict[Cell, str] = {}
        self.curves: list[dict[str, Any]] = []
        self.accuracy: list[dict[str, Any]] = []

    def begin(self, identity: dict[str, Any], created: str) -> bool:
        """Make the folder, or go on in it; True if there is something to go on from.

        Raises
        ------
        StudyError
            If the folder has other files, or a study of other settings.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise StudyError(f"{self.folder}: a folder is wanted, this is a file")
        if self.file.exists():
            lines = self._lines()
            if lines:
                self._same(lines[0], identity)
                for line in lines[1:]:
                    self._take(line)
                return True
        elif self.folder.exists() and any(self.folder.iterdir()):
            raise StudyError(f"{self.folder}: holds other files; a study wants a folder of its own")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file.write_text("")
        self.created = created
        self._write({"kind": "study", "created": created, "identity": identity})
        return False

    def _lines(self) -> list[dict[str, Any]]:
        """The lines; the last may be torn, where a machine stopped in the middle of it, and is taken away."""
        text = self.file.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            self.file.write_text(whole, encoding="utf-8")
        try:
            return [json.loads(line) for line in whole.splitlines()]
        except ValueError as error:
            raise StudyError(f"{self.file}: no measurements of a study ({error})") from None

    def _same(self, first: dict[str, Any], identity: dict[str, Any]) -> None:
        there = first.get("identity", {})
        self.created = first.get("created", "")
        found = _difference(there, json.loads(json.dumps(identity)))
        if found is not None:
            raise StudyError(
                f"{self.folder}: holds a study with other settings, {found}: give another --out, or delete it"
            )

    def _take(self, line: dict[str, Any]) -> None:
        kind, content = line["kind"], line["content"]
        if kind == "oracle":
            self.oracle[line["network"], line["batch"]] = content
        elif kind in ("curve", "accuracy"):
            (self.curves if kind == "curve" else self.accuracy).append(content)
        elif kind in ("facts", "turn"):
            cell = Cell(*line["cell"])
            if kind == "facts":
                self.facts[cell] = content
            else:
                self.turns.setdefault(cell, {})[line["round"]] = content

    def _write(self, line: dict[str, Any]) -> None:
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def add(self, kind: str, content: Any, **where: Any) -> None:
        """Keep a measurement: `oracle` (of `network`, `batch`), `facts` (of `cell`), `turn` (of `cell`, `round`),
        `curve` or `accuracy`."""
        line = {"kind": kind, **where, "content": content}
        self._take(line)
        self._write(line)

    def fail(self, cell: Cell, reason: str, *, curve: bool = False) -> None:
        """Keep why a cell, or its loss curve, could not be measured."""
        (self.failed_curves if curve else self.failed)[cell] = reason
        self._write({"kind": "failed", "cell": cell, "curve": curve, "content": reason})

    def done(self, cell: Cell, round_: int) -> bool:
        """Whether the turn of this round is measured, or will not be, since the cell or its whole team failed."""
        failed = cell in self.failed or cell._replace(limit=None) in self.failed
        return failed or round_ in self.turns.get(cell, {})


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _difference(there: Any, now: Any, name: str = "") -> str | None:
    """The first fact that is another one, by its name, with both values."""
    if there == now:
        return None
    if isinstance(there, dict) and isinstance(now, dict):
        keys = [key for key in (*now, *there) if there.get(key) != now.get(key)]
        return _difference(there.get(keys[0]), now.get(keys[0]), f"{name}.{keys[0]}".lstrip("."))
    was, is_ = (_short(json.dumps(value)) for value in (there, now))
    return f"{name} {was}, not {is_}"
