"""The last training on this machine, kept so that `schuss info --plot` can show it on the roofline."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from ..data.cache import cache_dir
from ..engine import chosen_isa
from ..errors import PlanError
from ..plan import Plan
from .account import STREAMS

if TYPE_CHECKING:
    from ..network import Network

__all__ = ["LastTraining", "load", "path", "record"]


@dataclass(frozen=True)
class LastTraining:
    """What was trained, how, and how fast.

    Attributes
    ----------
    layer_sizes : tuple of int
    batch_size, rows : int
        Examples of a minibatch and of an epoch.
    formula, loss, dtype, plan, isa : str
    gflops, epoch_seconds : float
        Medians over the epochs, in GFLOP/s and seconds.
    ended : str
        UTC, ISO 8601.
    """

    layer_sizes: tuple[int, ...]
    batch_size: int
    rows: int
    formula: str
    loss: str
    dtype: str
    plan: str
    isa: str
    gflops: float
    epoch_seconds: float
    ended: str


_KINDS: dict[str, type | tuple[type, ...]] = {
    "layer_sizes": list, "batch_size": int, "rows": int, "formula": str, "loss": str, "dtype": str, "plan": str,
    "isa": str, "gflops": (int, float), "epoch_seconds": (int, float), "ended": str,
}  # fmt: skip


def path() -> Path:
    """Where the record is kept."""
    return cache_dir() / "last-training.json"


def record(network: Network, *, batch_size: int, rows: int, formula: str) -> None:
    """Keep what the network's last training was. A record that cannot be written is left out: training does not
    hang on it."""
    done = LastTraining(
        network.layer_sizes,
        batch_size,
        rows,
        formula,
        network.loss_name,
        str(network.dtype),
        str(network.trained_plan),
        chosen_isa(network.isa),
        median(network.history["gflops"]),
        median(network.history["epoch_seconds"]),
        datetime.now(UTC).isoformat(timespec="seconds"),
    )
    target = path()
    own = target.with_name(f"{target.name}.{os.getpid()}")
    with suppress(OSError):
        if not target.is_absolute():  # there is no home
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        own.write_text(json.dumps(asdict(done)) + "\n", encoding="utf-8")
        own.replace(target)  # whole or not at all, however many end at once


def load() -> LastTraining | None:
    """The last training; None where there is none, or its record cannot be read as one."""
    try:
        facts: Any = json.loads(path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(facts, dict) or any(not isinstance(facts.get(k), kind) for k, kind in _KINDS.items()):
        return None
    sizes = facts["layer_sizes"]
    if len(sizes) < 2 or not all(isinstance(size, int) and size > 0 for size in sizes):
        return None
    try:
        Plan.parse(facts["plan"])
        known = (
            facts["formula"] in STREAMS and facts["dtype"] in ("float32", "float64") and facts["gflops"] > 0
        )
    except PlanError:
        return None
    if not known or min(facts["batch_size"], facts["rows"]) < 1:
        return None
    return LastTraining(**{name: facts[name] for name in _KINDS} | {"layer_sizes": tuple(sizes)})
