"""What every implementation is given: a network, a formula, a minibatch, data, the order of examples, a start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

import schuss
from schuss.plan import flops_per_example

#: Examples of the epoch that tables speak of; seconds of an epoch of other length are scaled to it.
EXAMPLES = 50_000


@dataclass(frozen=True)
class Work:
    """Training of one network in float32.

    Parameters
    ----------
    layers : tuple of int, (n_0, ..., n_L)
    batch : int
        Examples of a minibatch.
    rows : int
        Examples of an epoch, rounded down to whole minibatches so that no implementation needs a second shape.
    activation : {"relu", "logistic"}
        Of the hidden layers.
    loss : {"log_loss", "squared_error"}
        With softmax, or 1/2 sum (a - y)^2 with logistic outputs; mean over the examples of a minibatch.
    optimizer : {"sgd", "adam"}
        Plain gradient descent, or Adam with beta 0.9 and 0.999, epsilon 1e-8.
    """

    layers: tuple[int, ...]
    batch: int = 128
    rows: int = 20_480
    activation: str = "logistic"
    loss: str = "log_loss"
    optimizer: str = "sgd"

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        object.__setattr__(self, "rows", max(self.rows // self.batch, 1) * self.batch)

    @property
    def rate(self) -> float:
        return 1e-3 if self.optimizer == "adam" else 1e-2

    @property
    def output_activation(self) -> str:
        return "softmax" if self.loss == "log_loss" else "logistic"

    @property
    def flops_per_example(self) -> int:
        return flops_per_example(self.layers)

    @property
    def steps(self) -> int:
        """Minibatches of an epoch."""
        return self.rows // self.batch

    def with_steps(self, steps: int) -> Work:
        return replace(self, rows=self.batch * max(steps, 1))

    def data(self) -> tuple[Any, Any]:
        """X (rows, n_0) of float32 and class numbers y (rows,); for 784 features of the density of MNIST's images.

        The time of a step does not depend on what the images show.
        """
        rng = np.random.default_rng(0)
        shape = self.rows, self.layers[0]
        if self.layers[0] == 784:
            X = rng.random(shape, np.float32) * (rng.random(shape, np.float32) < 0.2)
        else:
            X = rng.standard_normal(shape, np.float32)
        return X, rng.integers(0, self.layers[-1], self.rows)

    def orders(self) -> Iterator[Any]:
        """The rows in the order of training, epoch after epoch; the same for everyone who asks."""
        rng = np.random.default_rng(1)
        while True:
            yield rng.permutation(self.rows)

    def start(self) -> schuss.Network:
        """The network with the starting weights."""
        return schuss.Network(
            self.layers,
            activation=self.activation,
            output_activation=self.output_activation,
            loss=self.loss,
            classes=range(self.layers[-1]),
            seed=0,
        )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        sizes = "-".join(map(str, self.layers))
        formula = f"{self.activation} hidden, {self.output_activation} with {self.loss}, {self.optimizer}"
        return f"{sizes}, batch {self.batch}, {formula}, float32"


NAMED = {
    "net-2h": Work((784, 1024, 1024, 10)),
    "net-1h": Work((784, 1024, 10), rows=40_960),
    "mid": Work((784, 100, 10), batch=200, rows=EXAMPLES, activation="relu"),
    "small": Work((20, 100, 2), batch=200, rows=EXAMPLES, activation="relu"),
    "tiny-45": Work((10, 45, 45, 10), rows=EXAMPLES, activation="relu"),
    "tiny-46": Work((10, 46, 46, 10), rows=EXAMPLES, activation="relu"),
}
#: The 2016 study's formula; the other one is in NAMED.
PAPER = {"activation": "logistic", "loss": "squared_error"}


def named(name: str, *, paper: bool = False, **changed: Any) -> Work:
    """A work of NAMED, with the paper's formula or other changes; None leaves a value as it is."""
    given = {key: value for key, value in changed.items() if value is not None}
    return replace(NAMED[name], **(PAPER if paper else {}) | given)
