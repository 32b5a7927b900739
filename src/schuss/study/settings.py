"""What a study measures: the presets, and everything that must be equal for one to go on where it stopped."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from schuss.plan import flops_per_example, n_parameters
from schuss.study.implementations import NAMES, THEANO
from schuss.study.results import NetworkFacts
from schuss.study.work import EXAMPLES, PAPER, Work

__all__ = ["NETWORKS", "PRESETS", "Curve", "Preset", "Scaling", "Settings"]

NETWORKS = {"net-1h": (784, 1024, 10), "net-2h": (784, 1024, 1024, 10)}
#: They take long to start or to compile, or answer a finer question: in two minutes there is no room for them.
_NOT_QUICK = (
    *("native-examples", "native-matrix"),
    *("torch-compiled", "keras-torch", "keras-tensorflow", "pytensor", THEANO),
)


@dataclass(frozen=True)
class Curve:
    """Loss against wall time: with which minibatch, for how many seconds, at which rate (None: the formula's)."""

    batch: int
    seconds: float
    learning_rate: float | None


@dataclass(frozen=True)
class Scaling:
    """Time against threads: with which minibatch, on how many threads beside all that are allowed."""

    batch: int
    threads: tuple[int, ...]


@dataclass(frozen=True)
class Preset:
    """Where the options of `schuss bench` begin."""

    networks: tuple[str, ...]
    batches: tuple[int, ...]
    implementations: tuple[str, ...]
    rounds: int
    seconds: float
    scaling_batch: int | None
    curve: Curve | None


PRESETS = {
    "paper": Preset(
        networks=tuple(NETWORKS),
        batches=(128, 256, 512, 1024, 2048, 4096),
        implementations=tuple(NAMES),
        rounds=3,
        seconds=0.3,
        scaling_batch=1024,
        curve=Curve(128, 4.0, 0.1),
    ),
    "quick": Preset(
        networks=("net-1h",),
        batches=(128, 1024),
        implementations=tuple(name for name in NAMES if name not in _NOT_QUICK),
        rounds=2,
        seconds=0.2,
        scaling_batch=1024,
        curve=Curve(128, 1.0, 0.1),
    ),
    "mine": Preset(
        networks=("mine",),
        batches=(32, 128, 1024),
        implementations=tuple(NAMES),
        rounds=3,
        seconds=0.3,
        scaling_batch=None,
        curve=None,
    ),
}


@dataclass(frozen=True)
class Settings:
    """A study, before it is measured.

    Parameters
    ----------
    preset : {"paper", "quick", "mine"}
    networks : dict of str to tuple of int
        Layer sizes by name.
    batches : tuple of int
    implementations : tuple of str
    rounds : int
        Fresh processes of each implementation.
    seconds : float
        A turn is whole epochs for at least so long; an epoch that would take longer than WHOLE of them is cut to a
        share of its rows that takes about so long.
    data : dict
        Their name, and what else is to be said of them.
    examples : int, default 50,000
        Of a whole epoch.
    formula : dict
        Arguments of a Work: activation, loss and so on; the 2016 study's unless given.
    scaling : Scaling or None
    curve : Curve or None
    """

    preset: str
    networks: dict[str, tuple[int, ...]]
    batches: tuple[int, ...]
    implementations: tuple[str, ...]
    rounds: int
    seconds: float
    data: dict[str, Any]
    examples: int = EXAMPLES
    formula: dict[str, Any] = field(default_factory=lambda: dict(PAPER))
    scaling: Scaling | None = None
    curve: Curve | None = None

    def as_dict(self) -> dict[str, Any]:
        """For results.json, as JSON gives it back."""
        document: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return document

    def work(self, network: str, batch: int, source: str) -> Work:
        """A whole epoch of this network with this minibatch on the data in the folder `source`."""
        return Work(self.networks[network], batch, self.examples, source=source, **self.formula)

    def facts(self) -> dict[str, NetworkFacts]:
        """The networks with their sizes."""
        return {
            name: NetworkFacts(layers, n_parameters(layers), flops_per_example(layers))
            for name, layers in self.networks.items()
        }
