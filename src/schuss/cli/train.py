"""``schuss train``: data in, model file out, with the speed on the way."""

from __future__ import annotations

from dataclasses import asdict
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from schuss.cli._common import Failure, Interrupted, echo_json, echo_table
from schuss.cli._options import (
    DEFAULT_OUT,
    data_argument,
    how_options,
    learning_options,
    network_options,
)
from schuss.cli._train_settings import Settings, require_device, settle, settle_by_data
from schuss.cli.evaluate import measure, score_rows
from schuss.errors import TrainingDiverged

if TYPE_CHECKING:
    from schuss.cli._cross_validation import Folds
    from schuss.cli._examples import Parts
    from schuss.cli._progress import TrainingProgress
    from schuss.network import Network

__all__ = ["summary", "train", "trained"]

OUT_HELP = (
    "Model file. An earlier model there is replaced, any other file is not.  "
    f"[default: {DEFAULT_OUT}; none with --cv]"
)


@click.command(short_help="Train a network and write it to a model file.")
@data_argument
@network_options()
@learning_options()
@click.option(
    "--cv",
    type=click.IntRange(min=2),
    metavar="K",
    help="Cross-validate: train K networks, each judged by the K-th of the examples that it was not shown. No model "
    "is written unless --out names one, which is then trained on all of them.",
)
@how_options(OUT_HELP)
def train(as_json: bool, quiet: bool, **options: Any) -> None:
    """Train a network on DATA and write it to a model file.

    DATA is mnist, digits, digits28 (the default: 28x28 images made from real handwritten digits, nothing to
    download), or your own: a .csv, .parquet, .arrow, .feather or .npz file, a pair X.npy,y.npy, or a folder with such
    a pair or with MNIST's four files. What has no parts of its own is cut 80 : 10 : 10 into training, validation and
    test examples, always the same way.

    With --cv, all examples of a file without parts of its own take part, of others those for training and validation.

    Ctrl-C stops early and keeps the model trained so far; with --cv, it prints the folds done.
    """
    settings = settle(**options, needs_out=options["cv"] is None)
    require_device(settings)

    from schuss import machine
    from schuss.cli._examples import load_parts

    if settings.cv is not None:
        _cross_validate(settings, as_json=as_json, quiet=quiet)
        return
    parts = load_parts(settings)
    settings = settle_by_data(settings, parts.train.data, parts.name)
    result = trained(settings, parts, quiet=quiet)
    if as_json:
        echo_json(result | {"machine": machine.summary()})
    else:
        echo_table(summary(result))


def _cross_validate(settings: Settings, *, as_json: bool, quiet: bool) -> None:
    """Train and judge a network a fold, print how they did, and train one on everything where it is to be kept."""
    from schuss import machine
    from schuss.cli._cross_validation import echo_folds, settle_folds
    from schuss.cli._cross_validation import summary as fold_summary
    from schuss.cli._examples import load_pool
    from schuss.cli._training import described

    pool = load_pool(settings)
    settings, cuts = settle_folds(settings, pool)
    folds, ending = _folds(settings, pool, cuts, quiet)
    if folds and not as_json:
        echo_folds(folds)
    document = {"data": described(pool), "settings": asdict(settings), "model": None}
    if ending is None and settings.out is not None:
        try:
            document = trained(settings, pool, quiet=quiet)
        except click.ClickException as error:  # the folds are worth printing all the same
            ending = error
    if folds and as_json:
        document["cross_validation"] = {"folds": folds, **fold_summary(folds)}
        echo_json(document | {"machine": machine.summary()})
    if ending is not None:
        raise ending
    if not as_json:
        click.echo()
        echo_table(
            [("model", "none written: --out FILE asks for one, trained on all of these examples")]
            if settings.out is None
            else summary(document)
        )


def _folds(
    settings: Settings, pool: Parts, cuts: Folds, quiet: bool
) -> tuple[list[dict[str, Any]], click.ClickException | None]:
    """The folds that were trained to their end, and what ended the others."""
    from schuss.cli._cross_validation import fold_results, rare_classes
    from schuss.cli._progress import TrainingProgress
    from schuss.cli._training import header, new_network

    k = len(cuts)
    folds: list[dict[str, Any]] = []
    with TrainingProgress(k, quiet=quiet) as progress:
        for line in (
            *header(settings, pool, new_network(settings, pool.train)),
            *rare_classes(pool.train, k),
        ):
            progress.line(line)

        def at(fold: int, epoch: int) -> None:
            progress.at(
                f"fold {fold + 1}/{k}, epoch {epoch}/{settings.epochs}", fold + epoch / settings.epochs
            )

        try:
            for result in fold_results(settings, pool, cuts, at):
                folds.append(result)
        except KeyboardInterrupt:
            return folds, Interrupted(f"interrupted after {len(folds)} of {k} folds: no model was written")
        except TrainingDiverged as error:
            return folds, Failure(f"fold {len(folds) + 1} of {k}: {error}; no model was written")
    return folds, None


def trained(settings: Settings, parts: Parts, *, quiet: bool) -> dict[str, Any]:
    """Train a network, write it to its file and measure it on the test part."""
    from schuss.cli._progress import TrainingProgress
    from schuss.cli._training import described, header, new_network
    from schuss.planner import last

    network = new_network(settings, parts.train)
    with TrainingProgress(settings.epochs, quiet=quiet) as progress:
        for line in header(settings, parts, network):
            progress.line(line)
        _run(settings, parts, network, progress)
    assert settings.batch_size is not None
    if network.trained_device == "cpu":  # of whose roofline it is
        formula = settings.optimizer.formula
        last.record(network, batch_size=settings.batch_size, rows=len(parts.train), formula=formula)
    history = network.history
    return {
        "data": described(parts),
        "network": {"layer_sizes": network.layer_sizes, "parameters": network.n_parameters},
        "settings": asdict(settings),
        "plan": network.trained_plan,
        "device": network.trained_device,
        "precision": network.precision,
        "history": history,
        "kept_epoch": _kept_epoch(settings, history),
        "test": None if parts.test is None else measure(network, [parts.test], parts.name),
        "seconds_per_epoch": median(history["epoch_seconds"]),
        "gflops": median(history["gflops"]),
        "model": settings.out,
    }


def _run(settings: Settings, parts: Parts, network: Network, progress: TrainingProgress) -> None:
    """Train and save; a training cut short keeps what it has."""
    from schuss.cli._training import epochs_done, fit

    if settings.patience is not None and parts.validation is None:
        raise click.UsageError(f"--patience needs validation examples, {parts.name} has none.")
    assert settings.out is not None
    try:
        fit(
            settings,
            parts.train,
            parts.validation,
            network,
            lambda network, history: progress.epoch(history, network.trained_plan),
        )
    except KeyboardInterrupt:
        # less than one epoch's learning is kept, but not in place of an earlier model
        worth = epochs_done(network) > 0 or not settings.out.exists()
        raise Interrupted(f"interrupted {_keep(network, settings, worth)}") from None
    except TrainingDiverged as error:
        raise Failure(f"{error}; stopped {_keep(network, settings, epochs_done(network) > 0)}") from error
    network.save(settings.out)


def _keep(network: Network, settings: Settings, worth: bool) -> str:
    """Save a training cut short if that is worth it; say when it ended and what became of the model."""
    from schuss.cli._training import epochs_done

    if worth:
        assert settings.out is not None
        network.save(settings.out)
    kept = f"the model trained so far is in {settings.out}" if worth else "no model was written"
    return f"after {epochs_done(network)} of {settings.epochs} epochs: {kept}"


def _kept_epoch(settings: Settings, history: dict[str, list[float]]) -> int:
    """The epoch, from 1, whose parameters the network has."""
    if settings.patience is None:
        return len(history["loss"])
    losses = history["validation_loss"]
    return losses.index(min(losses)) + 1


def summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    """A training's result as lines for people."""
    lines = [] if result["test"] is None else score_rows(result["test"], "test ")
    if "accuracy" in (result["test"] or {}):
        lines = [row for row in lines if row[0] != "test loss"]
    if result["settings"]["patience"] is not None:
        done = len(result["history"]["loss"])
        lines.append(
            ("epochs", f"{done} of {result['settings']['epochs']}, epoch {result['kept_epoch']} kept")
        )
    return [
        *lines,
        ("time per epoch", f"{result['seconds_per_epoch']:.3g} s"),
        ("speed", f"{result['gflops']:.1f} GFLOP/s"),
        ("model", str(result["model"])),
    ]
