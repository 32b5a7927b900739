"""What `schuss bench` was asked for, as the settings of a study and the data that it trains on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray

from schuss import data
from schuss.cli._examples import load_parts
from schuss.cli._standard import Standard
from schuss.cli._train_settings import settle, settle_by_data
from schuss.cli._training import new_network
from schuss.errors import DataError
from schuss.study.implementations import THEANO, checked
from schuss.study.measure import StudyError
from schuss.study.run import scaled_threads
from schuss.study.settings import NETWORKS, PRESETS, Curve, Preset, Scaling, Settings
from schuss.study.theano import save_targets
from schuss.study.work import EXAMPLES

if TYPE_CHECKING:
    from schuss.cli._train_settings import Settings as TrainSettings
    from schuss.data import Dataset

__all__ = ["FALLBACK", "Asked", "Examples", "Wanted", "settle_study", "train_options"]

#: In MNIST's place where it is absent: of its shape, and made on the machine.
FALLBACK = "digits28"


@dataclass(frozen=True)
class Wanted:
    """The options of the study itself, None where nothing was given."""

    networks: tuple[str, ...] | None
    batches: tuple[int, ...] | None
    implementations: tuple[str, ...] | None
    rounds: int | None
    seconds: float | None
    theano_python: str | None


@dataclass(frozen=True, eq=False)
class Examples:
    """X (n_examples, n_features) of float32; y class numbers (n_examples,), or numbers (n_examples, n_outputs)."""

    X: NDArray[Any]
    y: NDArray[Any]

    def save(self, folder: Path) -> None:
        """Write X.npy and y.npy, which the processes read."""
        np.save(folder / "X.npy", self.X)
        np.save(folder / "y.npy", self.y)


@dataclass(frozen=True, eq=False)
class Asked:
    """A study that is ready to be measured; `notes` are lines to be said first, `source` the data's name or path."""

    settings: Settings
    examples: Examples
    source: str
    notes: tuple[str, ...] = ()

    def save_data(self, folder: Path) -> None:
        """Write what the processes read."""
        self.examples.save(folder)
        if THEANO in self.settings.implementations:
            first = next(iter(self.settings.networks))
            save_targets(self.settings.work(first, self.settings.batches[0], str(folder)))


def settle_study(preset: str, wanted: Wanted, options: Mapping[str, Any]) -> Asked:
    """Fill in what was left out, load the data, and refuse what does not go together.

    Parameters
    ----------
    preset : {"paper", "quick", "mine"}
    wanted : Wanted
    options : dict
        Those of `schuss train`.
    """
    if wanted.theano_python is not None and shutil.which(wanted.theano_python) is None:
        rule = f"no program {wanted.theano_python!r}."
        raise click.BadParameter(rule, param_hint="'--theano-python'")
    asked = _mine(wanted, options) if preset == "mine" else _paper(preset, wanted, options)
    most = asked.settings.examples
    for batch in asked.settings.batches:
        if batch > most:
            rule = f"a minibatch has at most the {most:,} examples of an epoch, got {batch:,}."
            raise click.BadParameter(rule, param_hint="'--batches'")
    return asked


def _paper(preset: str, wanted: Wanted, options: Mapping[str, Any]) -> Asked:
    """The 2016 study's networks on MNIST, or on the built-in digits where it is absent."""
    name = "mnist"
    notes: tuple[str, ...] = ()
    try:
        train = data.load(name, data_dir=options["data_dir"]).train
    except DataError as error:
        if options["data_dir"] is not None or os.environ.get("SCHUSS_DATA_DIR"):
            raise  # named, and not there
        notes = (f"MNIST is absent, the built-in {FALLBACK} are used: {_first(error)}",)
        name = FALLBACK
        train = data.load(name).train
    assert train.classes is not None
    about = {"name": name, "wanted": "mnist", "rows": len(train), "features": train.n_features}
    networks = {
        network: _layers(network, train.n_features, len(train.classes))
        for network in wanted.networks or PRESETS[preset].networks
    }
    settings = _settings(preset, wanted, networks, PRESETS[preset], about, EXAMPLES, {})
    return Asked(settings, _examples(train), name, notes)


def _mine(wanted: Wanted, options: Mapping[str, Any]) -> Asked:
    """The user's network on the user's data, with the formula that `schuss train` would train."""
    if wanted.networks is not None:
        raise click.UsageError(
            "--networks is for the other presets: --preset mine has the network of --hidden."
        )
    settings = settle(**train_options(options), needs_out=False)
    parts = load_parts(settings)
    settings = settle_by_data(settings, parts.train.data, parts.name)
    if not isinstance(settings.activation, str):
        raise click.UsageError(
            "--activation with one value a layer cannot be had here: peers are written for one."
        )
    network = new_network(settings, parts.train)
    part = parts.train
    if settings.standardize:
        part = Standard.of(part.data, network).apply(part)
    given = wanted.batches or tuple(b for b in PRESETS["mine"].batches if b <= len(part)) or (len(part),)
    base = PRESETS["mine"]
    preset = Preset(
        networks=base.networks,
        batches=given,
        implementations=base.implementations,
        rounds=base.rounds,
        seconds=base.seconds,
        scaling_batch=given[-1],
        curve=Curve(given[0], 3.0, None),
    )
    about = {
        "name": parts.name,
        "wanted": options["data"],
        "rows": len(part),
        "features": part.data.n_features,
    }
    formula = _formula(settings)
    found = _settings("mine", wanted, {"mine": network.layer_sizes}, preset, about, len(part), formula)
    return Asked(found, _examples(part.data), options["data"])


def _settings(
    name: str,
    wanted: Wanted,
    networks: dict[str, tuple[int, ...]],
    preset: Preset,
    about: dict[str, Any],
    examples: int,
    formula: dict[str, Any],
) -> Settings:
    batches = tuple(sorted(set(wanted.batches or preset.batches)))
    try:
        implementations = checked(wanted.implementations or preset.implementations)
    except StudyError as error:
        raise click.BadParameter(f"{error}.", param_hint="'--implementations'") from error
    if wanted.theano_python and THEANO not in implementations and wanted.implementations is None:
        implementations = checked([*implementations, THEANO])
    seconds, threads, curve = wanted.seconds or preset.seconds, tuple(scaled_threads()), preset.curve
    if curve is not None:
        batch = curve.batch if curve.batch in batches else batches[0]
        curve = Curve(batch, curve.seconds * seconds / preset.seconds, curve.learning_rate)
    scaling = preset.scaling_batch if preset.scaling_batch in batches else batches[-1]
    return Settings(
        preset=name,
        networks=networks,
        batches=batches,
        implementations=tuple(implementations),
        rounds=wanted.rounds or preset.rounds,
        seconds=seconds,
        data=about,
        examples=examples,
        scaling=Scaling(scaling, threads) if threads else None,
        curve=curve,
        **({"formula": formula} if formula else {}),
    )


def _formula(settings: TrainSettings) -> dict[str, Any]:
    """Arguments of a Work; what one cannot say is a usage error."""
    if settings.solver == "adamw":
        raise click.BadParameter("sgd or adam here, got adamw.", param_hint="'--solver'")
    return {
        "activation": settings.activation,
        "output_activation": settings.output_activation,
        "loss": settings.loss,
        "optimizer": settings.solver,
        "learning_rate": settings.learning_rate,
        "momentum": settings.momentum or 0.0,
        "init": settings.init,
        "numbers": settings.task == "numbers",
    }


def train_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of `schuss train`: those that are given here, and the others' defaults."""
    from schuss.cli.train import train

    # the verb keeps its help option from the first context that it sees
    defaults = train.make_context("train", [], help_option_names=["-h", "--help"]).params
    return {name: value for name, value in defaults.items() if name not in ("as_json", "quiet")} | dict(
        options
    )


def _examples(found: Dataset) -> Examples:
    X = np.ascontiguousarray(found.X * np.float32(found.scale) + np.float32(found.shift), np.float32)
    if found.classes is not None:
        return Examples(X, found.y.astype(np.int64))
    return Examples(X, found.y.reshape(len(found), -1).astype(np.float32))


def _layers(name: str, features: int, classes: int) -> tuple[int, ...]:
    """Layer sizes of a network by its name, or as 784-300-10."""
    if name in NETWORKS:
        layers = NETWORKS[name]
    else:
        parts = name.split("-")
        if len(parts) < 3 or not all(part.isdecimal() and int(part) > 0 for part in parts):
            rule = f"{', '.join(NETWORKS)}, or layer sizes such as 784-300-10, got {name!r}."
            raise click.BadParameter(rule, param_hint="'--networks'")
        layers = tuple(map(int, parts))
    if (layers[0], layers[-1]) != (features, classes):
        rule = f"the data have {features} features and {classes} classes, got {name}."
        raise click.BadParameter(rule, param_hint="'--networks'")
    return layers


def _first(error: DataError) -> str:
    """What is wrong, without the advice."""
    return str(error).split(";")[0]
