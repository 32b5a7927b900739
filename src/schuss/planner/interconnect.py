"""The network between machines, and how long an allreduce over it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..errors import PlanError

__all__ = ["Allreduce", "Interconnect", "allreduce"]


@dataclass(frozen=True)
class Interconnect:
    """What a message between two machines costs: latency + bytes / bandwidth.

    Parameters
    ----------
    name : str
    latency_us : float > 0
        Microseconds from one program to another, of a message of no length.
    gb_per_s : float > 0
        1e9 bytes of payload a second, each way at once.
    measured : str or None, default None
        When it was measured; None: the figures come from data sheets.
    """

    name: str
    latency_us: float
    gb_per_s: float
    measured: str | None = None

    @classmethod
    def from_dict(cls, facts: Any, origin: str = "network") -> Interconnect:
        """Check the facts of a network file; `origin` names it in errors.

        Raises
        ------
        PlanError
            If a fact is missing, of another kind, or out of its range.
        """
        if not isinstance(facts, dict) or not isinstance(facts.get("name"), str):
            raise PlanError(f"{origin}: must be an object with a text called name, got {facts!r:.60}")
        measured = facts.get("measured")
        if measured is not None and not isinstance(measured, str):
            raise PlanError(f"{origin}: measured must be a date or null, got {measured!r}")
        latency, bandwidth = (_positive(facts, key, origin) for key in ("latency_us", "gb_per_s"))
        return cls(facts["name"], latency, bandwidth, measured)

    @property
    def origin(self) -> str:
        """Where the figures come from, in words."""
        return "from data sheets, not measured" if self.measured is None else f"measured {self.measured}"


@dataclass(frozen=True)
class Allreduce:
    """How a sum over ranks is best formed, and its seconds."""

    algorithm: str
    seconds: float


def allreduce(
    n_bytes: float, ranks: int, network: Interconnect, sum_seconds_per_byte: float = 0.0
) -> Allreduce:
    """The fastest of three ways to sum a vector over ranks, each the only one on its machine.

    Recursive doubling exchanges whole vectors in ceil(log2 R) turns: the least latency. Halving and doubling
    (Rabenseifner) scatters the sum and gathers it again, in twice as many turns but with at most twice the vector; it
    and recursive doubling fold the ranks beyond a power of two into the others first. The ring does that in 2 (R - 1)
    turns for any R. See Thakur, Rabenseifner & Gropp, Optimization of Collective Communication Operations in MPICH
    (2005).

    Parameters
    ----------
    n_bytes : float
        Length of the vector.
    ranks : int >= 1
    sum_seconds_per_byte : float, default 0
        What adding a received byte takes.
    """
    if ranks == 1:
        return Allreduce("none", 0.0)
    turns = ranks.bit_length() - 1
    power = 2**turns
    folded = int(ranks > power)  # a whole vector there before, and back after
    ways = {  # messages one after the other, vectors sent, vectors added
        "recursive doubling": (turns + 2 * folded, turns + 2 * folded, turns + folded),
        "halving and doubling": (
            2 * turns + 2 * folded,
            2 * (power - 1) / power + 2 * folded,
            (power - 1) / power + folded,
        ),
        "ring": (2 * (ranks - 1), 2 * (ranks - 1) / ranks, (ranks - 1) / ranks),
    }
    seconds = {
        name: messages * network.latency_us * 1e-6
        + sent * n_bytes / (network.gb_per_s * 1e9)
        + added * n_bytes * sum_seconds_per_byte
        for name, (messages, sent, added) in ways.items()
    }
    best = min(seconds, key=seconds.__getitem__)
    return Allreduce(best, seconds[best])


def _positive(facts: dict[str, Any], key: str, origin: str) -> float:
    value = facts.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise PlanError(f"{origin}: {key} must be a positive number, got {value!r}")
    return float(value)
