"""What the benchmarks share: fresh worker processes, the machine and its peak, tables, one JSON file a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import peers
from work import Work

from schuss import _core
from schuss.engine import chosen_isa
from schuss.errors import SchussError
from schuss.machine import summary

HERE = Path(__file__).parent
#: Variables that change what is measured begin so.
WATCHED = (
    *("SCHUSS_ISA", "OMP_", "MKL_", "OPENBLAS_", "KMP_", "GOMP_", "XLA_", "NPROC", "TORCH", "ATEN_"),
    *("LD_PRELOAD", "MALLOC_"),
)
#: Set in this process by scikit-learn, for itself; the peers' processes do without.
ADDED = ("KMP_INIT_AT_FORK", "KMP_DUPLICATE_LIB_OK")


class BenchmarkError(SchussError):
    """What a user reads as one line."""


def environment(threads: int | None = None) -> dict[str, str]:
    """For the processes to be started; with `threads`, what limits each implementation to so many."""
    inherited = {name: value for name, value in os.environ.items() if name not in ADDED}
    if threads is None:
        return inherited
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC")  # NPROC: XLA's pool
    return inherited | dict.fromkeys(names, str(threads))


class Worker:
    """A fresh process with one implementation; `ask` sends a request and waits for the reply.

    Parameters
    ----------
    name : str
        Of the implementation; `@N` limits its threads.
    script : str
        File beside this one.
    job : dict
        The script's argument besides the name.
    """

    def __init__(self, name: str, script: str = "worker.py", **job: Any) -> None:
        self.name = name
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed by __exit__
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / script), json.dumps({"name": name, **job})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=environment(peers.split(name)[1]),
        )

    def ask(self, *request: object) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            print(*request, file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        reply = json.loads(line) if line else {"error": self.last_words()}
        if "error" in reply:
            raise BenchmarkError(f"{self.name}: {reply['error'].splitlines()[0]}")
        return reply

    def last_words(self) -> str:
        code = self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().strip().splitlines()
        return lines[-1] if lines else f"its process ended with {code}"

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()


def start(name: str, work: Work) -> Worker:
    return Worker(name, work=work.as_dict())


def kept(names: Sequence[str], why_not: Callable[[str], str | None], named: bool) -> list[str]:
    """Those without a reason against them. What is left out is said, or, where the user named it, an error."""
    reasons = {name: why_not(name) for name in names}
    for name, reason in reasons.items():
        if reason and named:
            raise BenchmarkError(f"{name}: {reason}")
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
            raise BenchmarkError(
                f"losses of the same training differ by {spread:.1e}, {tolerance:.0e} allowed: {each}"
            )


class Peak:
    """Fused multiply-adds that never leave the registers, measured between what they are compared with."""

    def __init__(self, threads: Iterable[int]) -> None:
        self.gflops: dict[int, list[float]] = {n: [] for n in sorted(set(threads))}

    def measure(self, seconds: float = 0.2) -> None:
        for threads, rates in self.gflops.items():
            rates.append(_core.measure_peak(chosen_isa(), threads, seconds, False) / 1e9)


def pause() -> None:
    """Let threads that spin after their last piece of work go to sleep before another's turn."""
    time.sleep(0.1)


def watched() -> dict[str, str]:
    return {name: value for name, value in sorted(environment().items()) if name.startswith(WATCHED)}


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
