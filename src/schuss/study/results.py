"""What a study finds, as values: to results.json, back again with checks, and to results.csv.

`docs/bench.md` has the schema. A :class:`Study` is one results.json; its parts are named as the file's keys.
"""

from __future__ import annotations

import csv
import io
import json
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from schuss.errors import SchussError

__all__ = [
    "FAMILIES",
    "SCHEMA",
    "Absent",
    "Accuracy",
    "Check",
    "Implementation",
    "LossCurve",
    "NetworkFacts",
    "ResultsError",
    "Run",
    "Study",
]

SCHEMA = "schuss-study/1"
FAMILIES = ("naive", "gemv", "gemm", "native", "cuda", "peer")
FILE = "results.json"


class ResultsError(SchussError, ValueError):
    """A file of results that is none, or is not whole."""


@dataclass(frozen=True)
class NetworkFacts:
    """A network of the study.

    Parameters
    ----------
    layers : tuple of int, (n_0, ..., n_L)
    parameters : int
    flops_per_example : int
        Floating-point operations of a gradient step, an example.
    """

    layers: tuple[int, ...]
    parameters: int
    flops_per_example: int


@dataclass(frozen=True)
class Implementation:
    """Who trains, and how.

    Parameters
    ----------
    label : str
        For people.
    family : {"naive", "gemv", "gemm", "native", "cuda", "peer"}
    plan : str or None
        The plan asked for, of Schuss's own; "native": the planner chooses. None for a peer.
    parallel : {"-", "examples", "matrix operations", "both"}
    arithmetic : str
        Who multiplies, such as "own loops" or "BLAS, a minibatch at a time".
    serial : str or None
        The implementation that it is the parallel version of.
    threads : int
        Those it uses.
    versions : dict of str to str
        Of the libraries that compute.
    """

    label: str
    family: str
    plan: str | None
    parallel: str
    arithmetic: str
    serial: str | None
    threads: int
    versions: dict[str, str]

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ResultsError(f"family must be one of {', '.join(FAMILIES)}, got {self.family!r}")


@dataclass(frozen=True)
class Absent:
    """What was not measured, and why; network and batch are None where that holds for all of them."""

    name: str
    reason: str
    network: str | None = None
    batch: int | None = None


@dataclass(frozen=True)
class Check:
    """Mean loss of the first minibatches beside the oracle's; `difference` is relative."""

    loss: float
    oracle: float
    difference: float
    tolerance: float


@dataclass(frozen=True)
class Run:
    """Seconds of an epoch of one implementation on one network with one batch size.

    Parameters
    ----------
    network : str
    batch : int
        Examples of a minibatch.
    implementation : str
    threads : int
    plan : str or None
        The plan that ran; None for a peer.
    rows : int
        Examples that were trained on in a timed epoch.
    share : float
        `rows` as a share of a whole epoch; below 1 the seconds are scaled.
    epoch_seconds : tuple of float
        One a round, scaled to a whole epoch.
    seconds, low, high : float
        Their median, smallest and largest.
    gflops : float
        By the median.
    peak_gflops : float
        Of as many threads, measured beside it.
    check : Check
    """

    network: str
    batch: int
    implementation: str
    threads: int
    plan: str | None
    rows: int
    share: float
    epoch_seconds: tuple[float, ...]
    seconds: float
    low: float
    high: float
    gflops: float
    peak_gflops: float
    check: Check

    @property
    def share_of_peak(self) -> float:
        """GFLOP/s over the peak of as many threads."""
        return self.gflops / self.peak_gflops

    @property
    def key(self) -> tuple[str, int, str, int]:
        """What identifies the run in its study: network, batch, implementation, threads."""
        return self.network, self.batch, self.implementation, self.threads


@dataclass(frozen=True)
class LossCurve:
    """Mean loss of the minibatches since the point before, against the seconds trained; lists of one length."""

    network: str
    batch: int
    implementation: str
    seconds: tuple[float, ...]
    loss: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.seconds) != len(self.loss):
            raise ResultsError(
                f"loss curve of {self.implementation}: {len(self.seconds)} seconds, {len(self.loss)} losses"
            )


@dataclass(frozen=True)
class Accuracy:
    """What the best learning rate of the grid reaches, as shares; test_accuracy is None without a test part."""

    network: str
    batch: int
    implementation: str
    learning_rate: float
    epochs: int
    seconds: float
    validation_accuracy: float
    test_accuracy: float | None


@dataclass(frozen=True)
class Study:
    """One results.json.

    Parameters
    ----------
    preset : {"paper", "quick", "mine"}
    created : str
        UTC, ISO 8601.
    command : tuple of str
    machine : dict
        :func:`schuss.machine.summary`.
    environment : dict of str to str
        Variables that change what is measured.
    settings : dict
        rounds, seconds, examples (of a whole epoch), formula, data and so on; see `docs/bench.md`.
    networks : dict of str to NetworkFacts
    implementations : dict of str to Implementation
        Those with at least one run, in the order of the figures.
    absent : tuple of Absent
    runs, scaling : tuple of Run
        With all threads (or the one of a serial implementation); and by number of threads.
    loss_curves : tuple of LossCurve
    accuracy : tuple of Accuracy
    """

    preset: str
    created: str
    command: tuple[str, ...]
    machine: dict[str, Any]
    environment: dict[str, str]
    settings: dict[str, Any]
    networks: dict[str, NetworkFacts]
    implementations: dict[str, Implementation]
    absent: tuple[Absent, ...]
    runs: tuple[Run, ...]
    scaling: tuple[Run, ...]
    loss_curves: tuple[LossCurve, ...]
    accuracy: tuple[Accuracy, ...]

    def __post_init__(self) -> None:
        for run in (*self.runs, *self.scaling):
            self._known(run.network, run.implementation)
            if run.rows < 1 or not all(map(_positive, (*run.epoch_seconds, run.seconds, run.peak_gflops))):
                raise ResultsError(f"the run {run.key} has a time or a rate that is not positive")
        for curve in self.loss_curves:
            self._known(curve.network, curve.implementation)
        for entry in self.accuracy:
            self._known(entry.network, entry.implementation)

    def _known(self, network: str, implementation: str) -> None:
        if network not in self.networks:
            raise ResultsError(f"a run is of network {network!r}, which networks does not have")
        if implementation not in self.implementations:
            raise ResultsError(f"a run is of {implementation!r}, which implementations does not have")

    @property
    def batches(self) -> list[int]:
        """Batch sizes of the runs, ascending."""
        return sorted({run.batch for run in self.runs})

    def run(self, network: str, batch: int, implementation: str) -> Run | None:
        """The run, or None where there is none."""
        wanted = network, batch, implementation
        return next((r for r in self.runs if (r.network, r.batch, r.implementation) == wanted), None)

    def as_dict(self) -> dict[str, Any]:
        """The document of results.json."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_dict(cls, document: Any) -> Study:
        """Check and read a document.

        Raises
        ------
        ResultsError
            If it is of another schema, or an entry is missing or of another type.
        """
        if not isinstance(document, Mapping) or "schema" not in document:
            raise ResultsError("these are no results of a study: there is no entry 'schema'")
        if document["schema"] != SCHEMA:
            raise ResultsError(f"schema must be {SCHEMA!r}, got {document['schema']!r}")
        study: Study = _read(cls, {k: v for k, v in document.items() if k != "schema"}, "")
        return study

    def save(self, folder: Path) -> None:
        """Write results.json and results.csv into `folder`; a file is there whole or not at all."""
        for name, text in ((FILE, json.dumps(self.as_dict(), indent=1) + "\n"), ("results.csv", self.csv())):
            part = folder / f".{name}.part"
            part.write_text(text, encoding="utf-8", newline="")
            part.replace(folder / name)

    @classmethod
    def load(cls, path: str | Path) -> Study:
        """Read a results.json, or that of a folder.

        Raises
        ------
        ResultsError
            If there is none, or it cannot be read; the message begins with the path.
        """
        file = Path(path) / FILE if Path(path).is_dir() else Path(path)
        try:
            return cls.from_dict(json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise ResultsError(f"{file}: there is no such file: not the folder of a finished study") from None
        except (OSError, ValueError) as error:
            raise ResultsError(f"{file}: {error}") from None

    def csv(self) -> str:
        """Runs, then those by number of threads, a line each; times of single rounds are in results.json."""
        head = ["kind", "network", "batch", "implementation", "family", "plan", "threads", "rows", "share"]
        head += ["rounds", "seconds", "low", "high", "gflops", "peak_gflops", "share_of_peak", "speedup"]
        head += ["loss", "oracle", "difference"]
        text = io.StringIO()
        out = csv.writer(text, lineterminator="\n")
        out.writerow(head)
        for kind, runs in (("run", self.runs), ("scaling", self.scaling)):
            for r in runs:
                serial = self.implementations[r.implementation].serial
                base = self.run(r.network, r.batch, serial) if serial else None
                out.writerow(
                    [kind, r.network, r.batch, r.implementation, self.implementations[r.implementation].family,
                     r.plan or "", r.threads, r.rows, f"{r.share:.6g}", len(r.epoch_seconds),
                     *(f"{x:.6g}" for x in (r.seconds, r.low, r.high, r.gflops, r.peak_gflops, r.share_of_peak)),
                     f"{base.seconds / r.seconds:.6g}" if base else "",
                     *(f"{x:.9g}" for x in (r.check.loss, r.check.oracle, r.check.difference))]
                )  # fmt: skip
        return text.getvalue()


def _positive(value: float) -> bool:
    return value > 0 and math.isfinite(value)


def _read(kind: Any, value: Any, where: str) -> Any:
    """`value`, out of JSON, as a `kind`: a dataclass, a union with None, a tuple, a dict, or a plain type."""
    if hasattr(kind, "__dataclass_fields__"):
        return _read_dataclass(kind, value, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, Union):
        return None if value is None else _read(arguments[0], value, where)
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ResultsError(f"{where} must be a list, got {type(value).__name__}")
        return tuple(_read(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ResultsError(f"{where} must be an object, got {type(value).__name__}")
        return {str(name): _read(arguments[1], item, f"{where}.{name}") for name, item in value.items()}
    return _read_plain(kind, value, where)


def _read_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise ResultsError(f"{where or 'the document'} must be an object, got {type(value).__name__}")
    hints, given = get_type_hints(kind), dict(value)
    found = {}
    for field in fields(kind):
        path = f"{where}.{field.name}".lstrip(".")
        if field.name in given:
            found[field.name] = _read(hints[field.name], given[field.name], path)
        elif field.default is MISSING:
            raise ResultsError(f"{path} is missing")
    return kind(**found)


def _read_plain(kind: Any, value: Any, where: str) -> Any:
    if kind is Any:
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ResultsError(f"{where} must be of type {kind.__name__}, got {value!r}")
    return value
