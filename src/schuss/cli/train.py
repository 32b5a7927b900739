"""``schuss train``: data in, model file out, with the speed on the way."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from schuss.activations import ACTIVATIONS, HIDDEN_ACTIVATIONS
from schuss.cli._common import (
    Failure,
    Interrupted,
    data_dir_option,
    echo_json,
    echo_table,
    isa_option,
    json_option,
    target_option,
    threads_option,
)
from schuss.cli._train_settings import (
    BATCH_SIZE,
    NETS,
    Settings,
    finite,
    hidden_sizes,
    n_outputs,
    settle,
    settle_by_data,
)
from schuss.cli.evaluate import measure
from schuss.errors import TrainingDiverged
from schuss.losses import LOSSES
from schuss.optimizers import SOLVERS

if TYPE_CHECKING:
    from schuss.cli._progress import TrainingProgress
    from schuss.data import Splits
    from schuss.network import Network

__all__ = ["train"]

PRECISIONS = ("auto", "float32", "float64")


@click.command(short_help="Train a network and write it to a model file.")
@click.argument("data", default="digits28")
@click.option(
    "--net",
    type=click.Choice(list(NETS)),
    help="Hidden layers by name: 1024, or 1024,1024.  [default: net-1h]",
)
@click.option(
    "--hidden", callback=hidden_sizes, metavar="N,N,...", help="Units of each hidden layer, instead of --net."
)
@click.option(
    "--activation",
    type=click.Choice(HIDDEN_ACTIVATIONS),
    default="relu",
    show_default=True,
    help="Of the hidden layers.",
)
@click.option(
    "--output-activation",
    type=click.Choice(list(ACTIVATIONS)),
    help="Of the output layer.  [default: softmax with log_loss, logistic with squared_error, "
    "identity for numbers]",
)
@click.option(
    "--loss",
    type=click.Choice(list(LOSSES)),
    help="What is minimised.  [default: log_loss; squared_error for numbers]",
)
@click.option("--solver", type=click.Choice(SOLVERS), default="sgd", show_default=True, help="Update rule.")
@click.option(
    "--learning-rate",
    type=click.FloatRange(min=0, min_open=True),
    callback=finite,
    help="Step size.  [default: 0.1; 0.001 with adam and adamw]",
)
@click.option(
    "--momentum",
    type=click.FloatRange(min=0, max=1, max_open=True),
    callback=finite,
    help="Share of the last step that sgd keeps.  [default: 0.9; 0 with squared_error]",
)
@click.option("--nesterov", is_flag=True, help="Nesterov's momentum (sgd).")
@click.option(
    "--alpha",
    type=click.FloatRange(min=0),
    default=0.0,
    callback=finite,
    show_default=True,
    help="Adds alpha / (2 B) ||W||^2 to each minibatch's loss.",
)
@click.option(
    "--weight-decay",
    type=click.FloatRange(min=0),
    callback=finite,
    help="Share of each weight, times the rate, that a step takes away beside the loss.  [default: 0; 0.01 with adamw]",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    help=f"Examples in a minibatch.  [default: {BATCH_SIZE}, or all if there are fewer]",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Passes over the training data.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the start and of the shuffling.",
)
@click.option(
    "--plan",
    default="auto",
    show_default=True,
    help="How the work is computed and divided: KERNELS:EXAMPLESxMATRIX such as native:2x1, KERNELS alone, "
    "auto; or serial, multicore, fast-serial, fast-parallel, hybrid.",
)
@threads_option
@isa_option
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="auto",
    show_default=True,
    help="auto: float64 for float64 data, else float32.",
)
@target_option
@data_dir_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("schuss-model.safetensors"),
    show_default=True,
    help="Model file. An earlier model there is replaced, any other file is not.",
)
@json_option
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def train(as_json: bool, quiet: bool, **options: Any) -> None:
    """Train a network on DATA and write it to a model file.

    DATA is mnist, digits, digits28 (the default: 28x28 images made from real handwritten digits, nothing to
    download), or your own: a .csv or .npz file, a pair X.npy,y.npy, or a folder with such a pair or with
    MNIST's four files. What has no parts of its own is cut 80 : 10 : 10 into training, validation and test
    examples, always the same way.

    Ctrl-C stops early and keeps the model trained so far.
    """
    settings = settle(**options)

    from schuss import data, machine
    from schuss.cli._progress import TrainingProgress

    splits = data.load(settings.data, data_dir=settings.data_dir, target=settings.target)
    settings = settle_by_data(settings, splits)
    network = _new_network(settings, splits)
    with TrainingProgress(settings.epochs, quiet=quiet) as progress:
        for line in _header(settings, splits, network):
            progress.line(line)
        _run(settings, splits, network, progress)
    result = _result(settings, splits, network)
    if as_json:
        echo_json(result | {"machine": machine.summary()})
    else:
        echo_table(_summary(result))


def _new_network(settings: Settings, splits: Splits) -> Network:
    from schuss.network import Network

    train = splits.train
    assert settings.loss is not None
    return Network(
        (train.n_features, *settings.hidden, n_outputs(train)),
        activation=settings.activation,
        output_activation=settings.output_activation,
        loss=settings.loss,
        classes=train.classes,
        input_scale=train.scale,
        input_shift=train.shift,
        dtype=settings.precision,
        seed=settings.seed,
        plan=settings.plan,
        n_jobs=settings.threads,
        isa=settings.isa,
    )


def _header(settings: Settings, splits: Splits, network: Network) -> list[str]:
    from schuss.optimizers import Optimizer
    from schuss.plan import choose
    from schuss.trainer import training_memory

    assert settings.batch_size is not None
    plan = choose(
        settings.plan,
        threads=settings.threads,
        layer_sizes=network.layer_sizes,
        batch_size=settings.batch_size,
    )
    optimizer = Optimizer(
        solver=settings.solver,
        momentum=settings.momentum or 0.0,
        nesterov=settings.nesterov,
        alpha=settings.alpha,
    )
    memory = training_memory(
        network.layer_sizes, plan, optimizer, settings.batch_size, network.dtype, settings.isa
    )
    parts = [("training", splits.train), ("validation", splits.validation), ("test", splits.test)]
    counts = ", ".join(f"{part.n_examples:,} {name}" for name, part in parts if part is not None)
    megabytes = splits.train.X.nbytes / 1e6
    sizes = "-".join(str(size) for size in network.layer_sizes)
    return [
        f"data     {splits.name}: {counts} examples of {splits.train.n_features} features, "
        f"{megabytes:,.1f} MB to train on",
        f"network  {sizes}, {network.activation}, {network.output_activation}, {network.loss_name}: "
        f"{network.n_parameters:,} parameters, {network.parameters.nbytes / 1e6:,.1f} MB",
        f"plan     {plan}, {settings.threads} threads allowed, {network.dtype}, {memory / 1e6:,.1f} MB of memory",
    ]


def _run(settings: Settings, splits: Splits, network: Network, progress: TrainingProgress) -> None:
    """Train and save; a training cut short keeps what it has."""
    import schuss

    assert settings.batch_size is not None
    assert settings.momentum is not None
    try:
        schuss.train(
            splits.train,
            validation=splits.validation,
            network=network,
            solver=settings.solver,
            learning_rate=settings.learning_rate,
            momentum=settings.momentum,
            nesterov=settings.nesterov,
            alpha=settings.alpha,
            weight_decay=settings.weight_decay,
            batch_size=settings.batch_size,
            epochs=settings.epochs,
            seed=settings.seed,
            plan=settings.plan,
            n_jobs=settings.threads,
            on_epoch=lambda network, history: progress.epoch(history, network.trained_plan),
        )
    except KeyboardInterrupt:
        # less than one epoch's learning is kept, but not in place of an earlier model
        worth = _epochs(network) > 0 or not settings.out.exists()
        raise Interrupted(f"interrupted {_keep(network, settings, worth)}") from None
    except TrainingDiverged as error:
        raise Failure(f"{error}; stopped {_keep(network, settings, _epochs(network) > 0)}") from error
    network.save(settings.out)


def _epochs(network: Network) -> int:
    return len(network.history.get("loss", []))


def _keep(network: Network, settings: Settings, worth: bool) -> str:
    """Save a training cut short if that is worth it; say when it ended and what became of the model."""
    if worth:
        network.save(settings.out)
    kept = f"the model trained so far is in {settings.out}" if worth else "no model was written"
    return f"after {_epochs(network)} of {settings.epochs} epochs: {kept}"


def _result(settings: Settings, splits: Splits, network: Network) -> dict[str, Any]:
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    return {
        "data": {
            "name": splits.name,
            "examples": {name: len(part) for name, part in parts.items() if part is not None},
            "features": splits.train.n_features,
            "classes": splits.train.classes,
        },
        "network": {"layer_sizes": network.layer_sizes, "parameters": network.n_parameters},
        "settings": asdict(settings),
        "plan": network.trained_plan,
        "precision": str(network.dtype),
        "history": network.history,
        "test": None if splits.test is None else measure(network, [splits.test], splits.name),
        "seconds_per_epoch": median(network.history["epoch_seconds"]),
        "gflops": median(network.history["gflops"]),
        "model": settings.out,
    }


def _summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    test = result["test"] or {}
    lines = [
        ("time per epoch", f"{result['seconds_per_epoch']:.3g} s"),
        ("speed", f"{result['gflops']:.1f} GFLOP/s"),
        ("model", str(result["model"])),
    ]
    if "accuracy" in test:
        return [("test accuracy", f"{100 * test['accuracy']:.2f} %"), *lines]
    if "loss" in test:
        return [("test loss", f"{test['loss']:#.4g}"), *lines]
    return lines
