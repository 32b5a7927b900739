"""Every row of the table of results: steps.py on each work, one JSON file a row, and one table of them all.

    python benchmarks/suite.py results/2026-01 [--quick]

A row whose file is there is not run again, so that an interrupted suite goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import common

from schuss import _core
from schuss.study import measure

QUICK = ("--rounds", "1", "--epochs", "1", "--seconds", "0.05", "--rows", "5120")


@dataclass(frozen=True)
class Row:
    """One run of steps.py: its arguments, and variables for all its processes."""

    work: str
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        options = [text.removeprefix("--") for text in self.arguments if text != "schuss"]
        return "-".join([self.work, *options, *self.environment.values()])


#: Peers have no common way to be held to AVX2: that row is Schuss against the peak of AVX2.
ROWS = (
    *(
        Row(net, ("--batch", batch))
        for net in ("net-2h", "net-1h")
        for batch in ("32", "128", "1024", "4096")
    ),
    *(Row("mid", ("--optimizer", optimizer)) for optimizer in ("sgd", "adam")),
    Row("small"),
    Row("tiny-45"),
    Row("tiny-46"),
    Row("net-2h", ("--batch", "128", "schuss"), {"SCHUSS_ISA": "avx2"}),
)


def run(row: Row, file: Path, options: list[str]) -> None:
    """One row into `file`, which is there only when the row is whole."""
    part = file.with_suffix(".part")
    command = [sys.executable, common.HERE / "steps.py", row.work, *row.arguments, *options, "--json", part]
    subprocess.run(command, check=True, env=measure.environment() | row.environment)
    part.rename(file)


def summary_row(name: str, found: dict[str, Any]) -> list[str]:
    ours, best = found["result"]["schuss"], found["best_peer"]
    ratio = f"{found['result'][best]['seconds'] / ours['seconds']:.2f}" if best else ""
    return [
        name,
        ours["plan"],
        f"{ours['seconds']:.4g}",
        f"{ours['us_per_step']:.4g}",
        f"{ours['gflops']:.1f}",
        f"{ours['share_of_peak']:.0%}",
        best or "",
        ratio,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="of the JSON files")
    parser.add_argument("--quick", action="store_true", help="one short turn of each: does it run?")
    parser.add_argument("--rounds", help="fresh processes of each implementation, as for steps.py")
    o = parser.parse_args()
    o.folder.mkdir(parents=True, exist_ok=True)
    options = [*(QUICK if o.quick else ()), *(("--rounds", o.rounds) if o.rounds else ())]
    isas = [name for name, _, _, available in _core.isas() if available]
    lines = []
    for row in ROWS:
        if row.environment.get("SCHUSS_ISA", isas[0]) not in isas:
            print(f"{row.name} is left out: no such instruction set here\n")
            continue
        file = o.folder / f"{row.name}.json"
        if not file.exists():
            try:
                run(row, file, options)
            except subprocess.CalledProcessError:
                sys.exit(f"suite.py: {row.name} failed; the rows before it are kept")
            print(flush=True)
        lines.append(summary_row(row.name, json.loads(file.read_text())))
    head = ["work", "plan", "s/epoch", "us/step", "GFLOP/s", "of peak", "best peer", "times as fast"]
    print(common.table(head, lines))


if __name__ == "__main__":
    main()
