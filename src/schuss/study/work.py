"""What every implementation is given: a network, a formula, a minibatch, data, the order of examples, a start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import schuss
from schuss.plan import flops_per_example

#: Examples of the epoch that tables speak of; seconds of an epoch of other length are scaled to it.
EXAMPLES = 50_000
#: The check before a clock starts: so many minibatches of 128 examples or fewer (fewer if they are larger), twice.
#: Enough updates for a wrong formula to show, few enough for the slowest implementations.
CHECK_STEPS, CHECK_EPOCHS = 4, 2
#: Different examples of the check, repeated to fill its minibatches: the oracle takes milliseconds for each.
CHECK_EXAMPLES = 64
#: Relative. A sum over n = 1024 in another order errs by about sqrt(n) u = 2e-6, and steps of plain descent barely
#: enlarge that. Adam divides by the root of the gradient's own square: entries that are all rounding, and those near
#: epsilon, which some put before the correction of the moments and some after, move by a step of another size.
TOLERANCE = {"sgd": 1e-5, "adam": 1e-3}


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
    activation : str
        Of the hidden layers.
    loss : str
        Mean over the examples of a minibatch; squared_error is 1/2 sum (a - y)^2.
    optimizer : {"sgd", "adam"}
        Gradient descent, or Adam with beta 0.9 and 0.999, epsilon 1e-8.
    output_activation : str or None, default None
        None: softmax with log_loss, else logistic.
    learning_rate : float or None, default None
        None: 0.001 for Adam, else 0.01.
    momentum : float, default 0
        Of sgd.
    init : str, default "auto"
    numbers : bool, default False
        Targets are numbers, not classes.
    source : str or None, default None
        Folder with X.npy (float32) and y.npy; None: random data. Fewer rows there than here are repeated.
    """

    layers: tuple[int, ...]
    batch: int = 128
    rows: int = 20_480
    activation: str = "logistic"
    loss: str = "log_loss"
    optimizer: str = "sgd"
    output_activation: str | None = None
    learning_rate: float | None = None
    momentum: float = 0.0
    init: str = "auto"
    numbers: bool = False
    source: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        object.__setattr__(self, "rows", max(self.rows // self.batch, 1) * self.batch)

    @property
    def rate(self) -> float:
        """The learning rate."""
        return self.learning_rate or (1e-3 if self.optimizer == "adam" else 1e-2)

    @property
    def output(self) -> str:
        """The activation of the output layer."""
        return self.output_activation or ("softmax" if self.loss == "log_loss" else "logistic")

    @property
    def flops_per_example(self) -> int:
        """Floating-point operations of a gradient step, an example."""
        return flops_per_example(self.layers)

    @property
    def steps(self) -> int:
        """Minibatches of an epoch."""
        return self.rows // self.batch

    def with_steps(self, steps: int) -> Work:
        """The work with epochs of so many minibatches."""
        return replace(self, rows=self.batch * max(steps, 1))

    def data(self) -> tuple[Any, Any]:
        """X (rows, n_0) of float32, and class numbers y (rows,) or, of numbers, y (rows, n_L) of float32.

        Random data are, for 784 features, of the density of MNIST's images: the time of a step does not depend on
        what they show.
        """
        if self.source is not None:
            X, y = (np.load(Path(self.source) / name, mmap_mode="r") for name in ("X.npy", "y.npy"))
            rows = np.arange(self.rows) % len(X)
            return X[rows], y[rows]
        rng = np.random.default_rng(0)
        shape = self.rows, self.layers[0]
        if self.layers[0] == 784:
            X = rng.random(shape, np.float32) * (rng.random(shape, np.float32) < 0.2)
        else:
            X = rng.standard_normal(shape, np.float32)
        return X, rng.integers(0, self.layers[-1], self.rows)

    def check(self) -> tuple[Work, Any, Any]:
        """The short work of the check, and its X and y, which repeat the first CHECK_EXAMPLES examples."""
        short = self.with_steps(min(CHECK_STEPS, CHECK_STEPS * 128 // self.batch))
        X, y = self.with_steps(-(-CHECK_EXAMPLES // self.batch)).data()
        rows = np.arange(short.rows) % CHECK_EXAMPLES
        return short, X[rows], y[rows]

    def targets(self, y: Any) -> Any:
        """y as the loss takes it: class numbers for log_loss, else a row of float32 an example."""
        if self.loss == "log_loss" or self.numbers:
            return y
        return np.eye(self.layers[-1], dtype=np.float32)[y]

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
            output_activation=self.output,
            loss=self.loss,
            classes=None if self.numbers else range(self.layers[-1]),
            init=self.init,
            seed=0,
        )

    def as_dict(self) -> dict[str, Any]:
        """The arguments that make this work."""
        return asdict(self)

    def __str__(self) -> str:
        sizes = "-".join(map(str, self.layers))
        formula = f"{self.activation} hidden, {self.output} with {self.loss}, {self.optimizer}"
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
