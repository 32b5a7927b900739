"""What `schuss tune` tries: the values that are searched, who draws them, and what became of each trial.

A value is kept as it is written on the command line, so that the trial and the command that repeats it are the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from statistics import median
from typing import Any, Protocol

import numpy as np

from schuss.cli._common import Failure
from schuss.cli._options import activations, hidden_sizes, shares
from schuss.cli.evaluate import SCORES

__all__ = [
    "PAPER",
    "PAPER_RATES",
    "Axis",
    "Choice",
    "GridSampler",
    "Hopeless",
    "LogUniform",
    "OptunaSampler",
    "RandomSampler",
    "Sampler",
    "Trial",
    "axes",
    "goodness",
    "needed_optuna",
    "values",
]

#: What the study of 2016 kept fixed, and the learning rates among which it chose by validation accuracy.
PAPER: dict[str, Any] = {
    "activation": ("logistic",),
    "loss": "squared_error",
    "solver": "sgd",
    "momentum": 0.0,
    "schedule": "constant",
    "alpha": 0.0,
    "dropout": (0.0,),
}
PAPER_RATES = ("0.001", "0.002", "0.01", "0.1", "0.5", "1.0")

BATCH_SIZES = ("32", "64", "128", "256", "512")
HIDDEN = ("64", "128", "256", "512", "64,64", "128,64", "128,128", "256,128", "256,256", "128,128,128")

_PARSERS: dict[str, Callable[[str], Any]] = {
    "hidden": lambda text: hidden_sizes(None, None, text),
    "activation": lambda text: activations(None, None, text),
    "dropout": lambda text: shares(None, None, text),
    "batch_size": int,
}


@dataclass(frozen=True)
class Choice:
    """One of several values, each as likely as any."""

    texts: tuple[str, ...]

    def draw(self, rng: np.random.Generator) -> str:
        """A value at random."""
        return self.texts[int(rng.integers(len(self.texts)))]


@dataclass(frozen=True)
class LogUniform:
    """A number between two others, evenly by its logarithm, of three digits."""

    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> str:
        """A value at random."""
        return self.text(math.exp(rng.uniform(math.log(self.low), math.log(self.high))))

    @staticmethod
    def text(value: float) -> str:
        """The number as it is written."""
        return f"{value:.3g}"


Axis = Choice | LogUniform


def axes(options: Mapping[str, Any], rows: int | None = None) -> dict[str, Axis]:
    """The options to search, in the order of the table: those that `options` leaves out (None).

    Of the batch sizes those that make ten steps or more of an epoch of `rows` examples, or the smallest.
    """
    sgd, adamw = options["solver"] == "sgd", options["solver"] == "adamw"
    space: dict[str, Axis] = {
        "learning_rate": LogUniform(3e-3, 0.5) if sgd else LogUniform(1e-4, 2e-2),
        "batch_size": Choice(_batch_sizes(rows)),
        "hidden": Choice(
            ("64", "128", "256", "512", "64,64", "128,64", "128,128", "256,128", "256,256", "128,128,128")
        ),
        "activation": Choice(("relu", "tanh", "gelu", "silu", "elu")),
        "weight_decay" if adamw else "alpha": LogUniform(1e-3, 0.3) if adamw else LogUniform(1e-5, 1.0),
        "dropout": Choice(("0", "0.1", "0.2", "0.3", "0.5")),
    }
    fixed = {name for name, value in options.items() if value is not None}
    if "net" in fixed:
        fixed.add("hidden")
    if fixed & {"alpha", "weight_decay"}:
        fixed |= {"alpha", "weight_decay"}
    return {name: axis for name, axis in space.items() if name not in fixed}


def _batch_sizes(rows: int | None) -> tuple[str, ...]:
    if rows is None:
        return BATCH_SIZES
    return tuple(text for text in BATCH_SIZES if 10 * int(text) <= rows) or (
        str(min(rows, int(BATCH_SIZES[0]))),
    )


def values(texts: Mapping[str, str]) -> dict[str, Any]:
    """The values that these texts are read as on the command line."""
    return {name: _PARSERS.get(name, float)(text) for name, text in texts.items()}


@dataclass
class Trial:
    """One set of values, and how a training with them ended.

    Parameters
    ----------
    number : int
        From 1, in the order of the search.
    texts : dict of str to str
        The values searched, as written on the command line.
    status : {"done", "discarded", "diverged"}
    result : dict
        Loss and score; with cross-validation their means over the folds. Empty where it diverged.
    epochs : int
        Epochs trained; of the last fold, with cross-validation.
    seconds : float
    """

    number: int
    texts: dict[str, str]
    status: str = "done"
    result: dict[str, Any] = field(default_factory=dict)
    epochs: int = 0
    seconds: float = 0.0

    @property
    def scores(self) -> dict[str, float]:
        """Score, where there is one, and loss."""
        return {name: self.result[name] for name in (*SCORES, "loss") if name in self.result}

    def document(self) -> dict[str, Any]:
        """The trial for JSON."""
        return {
            "trial": self.number,
            "status": self.status,
            "options": self.texts,
            **self.result,
            "epochs": self.epochs,
            "seconds": self.seconds,
        }

    @property
    def rank(self) -> tuple[Any, ...]:
        """Sorts the best first: by accuracy, then by loss; those discarded or diverged come last."""
        kinds = ("done", "discarded", "diverged")
        return kinds.index(self.status), *(-good for good in goodness(self.result)), self.number


def goodness(result: Mapping[str, Any]) -> tuple[float, ...]:
    """What trials are judged by, the higher the better: accuracy where there are classes, then the loss."""
    if not result:
        return ()
    return (*([result["accuracy"]] if "accuracy" in result else []), -result["loss"])


class Hopeless:
    """Gives up trials that are worse, at one point on their way, than half of those before.

    The first few are let through; what later ones are compared with is all that came to that point (the median rule of
    Golovin et al., "Google Vizier", 2017, with one point).
    """

    FIRST = 4

    def __init__(self, active: bool) -> None:
        self._active = active
        self._seen: list[float] = []

    def says(self, value: float) -> bool:
        """Whether to give up a trial that has come so far with `value`, the higher the better."""
        hopeless = self._active and len(self._seen) >= self.FIRST and value < median(self._seen)
        self._seen.append(value)
        return hopeless


class Sampler(Protocol):
    """Says what to try next."""

    def __iter__(self) -> Iterator[Trial]: ...

    def tell(self, trial: Trial) -> None:
        """Learn from the outcome of a trial."""


class GridSampler:
    """All combinations of the values of a few options, in turn."""

    def __init__(self, space: Mapping[str, Choice]) -> None:
        grid = product(*(axis.texts for axis in space.values()))
        self._trials = [
            Trial(number, dict(zip(space, texts, strict=True))) for number, texts in enumerate(grid, start=1)
        ]

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._trials)

    def tell(self, trial: Trial) -> None:
        """Nothing to learn."""


class RandomSampler:
    """Values at random, each trial without regard to the others (Bergstra & Bengio 2012)."""

    def __init__(self, space: Mapping[str, Axis], trials: int, seed: int) -> None:
        self._space, self._count, self._rng = space, trials, np.random.default_rng([seed, 2])

    def __iter__(self) -> Iterator[Trial]:
        for number in range(1, self._count + 1):
            yield Trial(number, {name: axis.draw(self._rng) for name, axis in self._space.items()})

    def tell(self, trial: Trial) -> None:
        """Nothing to learn."""


class OptunaSampler:
    """Values that optuna's estimator of good regions proposes (TPE)."""

    def __init__(self, space: Mapping[str, Axis], trials: int, seed: int) -> None:
        optuna = needed_optuna()
        self._space, self._count, self._state = space, trials, optuna.trial.TrialState
        sampler = optuna.samplers.TPESampler(seed=seed % 2**32)
        self._study = optuna.create_study(sampler=sampler, direction="maximize")
        self._asked: Any = None

    def __iter__(self) -> Iterator[Trial]:
        for number in range(1, self._count + 1):
            self._asked = self._study.ask()
            yield Trial(number, {name: self._suggest(name, axis) for name, axis in self._space.items()})

    def _suggest(self, name: str, axis: Axis) -> str:
        if isinstance(axis, Choice):
            return str(self._asked.suggest_categorical(name, axis.texts))
        return axis.text(self._asked.suggest_float(name, axis.low, axis.high, log=True))

    def tell(self, trial: Trial) -> None:
        """Tell optuna how it went; of a trial given up, how it stood then."""
        good = goodness(trial.result)
        if trial.status == "done":
            self._study.tell(self._asked, good[0])
            return
        if good:
            self._asked.report(good[0], step=0)
        self._study.tell(self._asked, state=self._state.PRUNED)


def needed_optuna() -> Any:
    """The package, silent; without it, one line that says how to get it."""
    try:
        import optuna
    except ImportError:
        raise Failure("--sampler optuna needs the package optuna: pip install 'schuss[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
