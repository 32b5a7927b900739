"""Steps of several ranks, a machine each: what they compute, what they exchange, and how far that scales."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from ..plan import n_parameters
from .choice import candidates
from .interconnect import Allreduce, Interconnect, allreduce

if TYPE_CHECKING:
    from .account import Prediction, Workload
    from .profile import Profile

__all__ = ["PAYS", "Cluster", "RankStep", "counts"]

#: Further machines pay while at least this share of what they add comes back as speed: twice as many must be at
#: least 1.5 times as fast.
PAYS = 0.5
#: Minibatches beyond this are not tried when looking for one that is worth further machines.
_LARGEST_BATCH = 2**24
#: What adding a vector to another moves: both are read, one is written.
_MOVED_BY_SUM = 3


@dataclass(frozen=True)
class RankStep:
    """One step of `ranks` machines, predicted; times in seconds.

    Attributes
    ----------
    ranks, batch_size : int
        The minibatch is that of all ranks together.
    rows : int
        Examples of the rank that has most of them.
    prediction : Prediction
        Of that rank's best plan, for its rows.
    gradient : float
        Writing the whole gradient for the others, and reading the sum: one rank alone does neither.
    exchange : Allreduce
        Of that gradient; nothing is computed meanwhile.
    """

    ranks: int
    batch_size: int
    rows: int
    prediction: Prediction
    gradient: float
    exchange: Allreduce

    @property
    def seconds(self) -> float:
        return self.prediction.seconds + self.gradient + self.exchange.seconds

    @property
    def bound(self) -> str:
        """What takes most of the step: the network, or what bounds a rank's own work."""
        parts = self.prediction.parts
        return "network" if self.exchange.seconds > max(parts.values()) else self.prediction.bound


class Cluster:
    """Machines of one kind that share each minibatch, and the network between them.

    Each of R ranks computes with at most ceil(B / R) examples of a minibatch of B; then an allreduce sums the
    gradients, and each applies the update to its own copy of the weights.

    Parameters
    ----------
    work : Workload
        With the minibatch of all ranks together.
    profile : Profile
        Of one machine.
    threads : int
        Threads of a rank.
    network : Interconnect
    """

    def __init__(self, work: Workload, profile: Profile, threads: int, network: Interconnect) -> None:
        self.work = work
        self.profile = profile
        self.threads = threads
        self.network = network
        self._best: dict[int, Prediction] = {}

    def step(self, ranks: int, batch_size: int | None = None) -> RankStep:
        """A step of so many ranks, by default on the workload's own minibatch.

        Raises
        ------
        ValueError
            If there are more ranks than examples.
        """
        batch_size = batch_size or self.work.batch_size
        if not 1 <= ranks <= batch_size:
            raise ValueError(f"ranks must be from 1 to the {batch_size} examples of a minibatch, got {ranks}")
        rows = math.ceil(batch_size / ranks)
        return RankStep(
            ranks,
            batch_size,
            rows,
            self._on_one(rows),
            self._gradient_seconds if ranks > 1 else 0.0,
            allreduce(self.gradient_bytes, ranks, self.network, self._sum_seconds_per_byte),
        )

    def speedup(self, step: RankStep) -> float:
        """How many times as fast as one rank with the same minibatch."""
        return self.step(1, step.batch_size).seconds / step.seconds

    def efficiency(self, step: RankStep) -> float:
        """Speedup over the number of ranks."""
        return self.speedup(step) / step.ranks

    def scaling(self, ranks: Sequence[int], batch_size: int | None = None) -> list[RankStep]:
        """A step for each of these counts that the minibatch has an example a rank for."""
        batch_size = batch_size or self.work.batch_size
        return [self.step(count, batch_size) for count in ranks if count <= batch_size]

    def fastest(self, most: int, batch_size: int | None = None) -> RankStep:
        """The shortest step of up to `most` ranks; of equal ones that of fewest."""
        return min(self.scaling(range(1, most + 1), batch_size), key=lambda step: (step.seconds, step.ranks))

    def pays(self, ranks: int, batch_size: int | None = None) -> bool:
        """Whether so many ranks pay, where half as many are there: see PAYS. One rank always does."""
        batch_size = batch_size or self.work.batch_size
        half = ranks // 2
        if half == 0:
            return True
        if ranks > batch_size:
            return False
        gain = self.step(half, batch_size).seconds / self.step(ranks, batch_size).seconds - 1
        return gain >= PAYS * (ranks / half - 1)

    def most_that_pay(self, most: int) -> int:
        """The largest of `counts(most)` up to which all pay."""
        found = 1
        for count in counts(most):
            if not self.pays(count):
                break
            found = count
        return found

    def pays_from(self, ranks: int) -> int | None:
        """The smallest minibatch, a power of two, from which on so many ranks pay.

        None where even the largest that is tried, of 16,777,216 examples, does not make them.
        """
        found = None
        batch_size = _LARGEST_BATCH
        while batch_size >= ranks and self.pays(ranks, batch_size):
            found = batch_size
            batch_size //= 2
        return found

    def _on_one(self, rows: int) -> Prediction:
        """The best plan of one rank with so many examples."""
        if rows not in self._best:
            self._best[rows] = candidates(replace(self.work, batch_size=rows), self.profile, self.threads)[0]
        return self._best[rows]

    @property
    def gradient_bytes(self) -> int:
        """Bytes of the flat gradient."""
        return n_parameters(self.work.layer_sizes) * self.work.word

    @cached_property
    def _gradient_seconds(self) -> float:
        """The gradient is written and read once each, in memory: the exchange goes through it in between."""
        memory = self.profile.levels[-1]
        return 2 * self.gradient_bytes / self.profile.rate(memory.update, self.threads)

    @cached_property
    def _sum_seconds_per_byte(self) -> float:
        return _MOVED_BY_SUM / self.profile.rate(self.profile.levels[-1].read, 1)  # one thread of a rank adds


def counts(most: int) -> list[int]:
    """Numbers of ranks to look at: the powers of two up to `most`, and `most`."""
    powers = [2**turn for turn in range(most.bit_length()) if 2**turn < most]
    return [*powers, most]
