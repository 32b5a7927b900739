"""One training as the settings ask for it: the network, what is said before it, and the epochs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from schuss.cli._train_settings import Settings, n_outputs

if TYPE_CHECKING:
    from schuss.cli._examples import Part, Parts
    from schuss.data import Dataset
    from schuss.network import Network
    from schuss.plan import Plan

__all__ = ["described", "epochs_done", "fit", "header", "new_network"]

#: Features beyond it saturate units, or overflow, at ordinary learning rates.
LARGE = 100


def new_network(settings: Settings, part: Part) -> Network:
    """The network that the settings ask for, untrained."""
    from schuss.network import Network
    from schuss.validation import parameters_dtype

    train = part.data
    network = Network(
        (train.n_features, *settings.hidden, n_outputs(settings, train)),
        activation=settings.activation,
        output_activation=settings.output_activation,
        loss=settings.loss_function,
        classes=train.classes,
        input_scale=train.scale,
        input_shift=train.shift,
        dtype=parameters_dtype(settings.precision),
        init=settings.init,
        seed=settings.seed,
        plan=settings.plan,
        n_jobs=settings.threads,
        isa=settings.isa,
        device=settings.device,
        precision=settings.precision,
    )
    network.feature_names = train.names
    return network


def fit(
    settings: Settings,
    train: Part,
    validation: Part | None,
    network: Network,
    on_epoch: Callable[[Network, dict[str, list[float]]], Any],
) -> None:
    """Train the network; `on_epoch` may end it by returning True."""
    import schuss
    from schuss.cli._standard import Standard

    standard = Standard.of(train.data, network) if settings.standardize else None
    if standard is not None:
        train = standard.apply(train)
        validation = None if validation is None else standard.apply(validation)
    assert settings.learning_rate is not None
    held_out: Any = None
    if validation is not None:
        held_out = validation.data
        if validation.weights is not None:
            held_out = (held_out.X, held_out.labels, validation.weights)
    try:
        schuss.train(
            train.data,
            sample_weight=train.weights,
            validation=held_out,
            network=network,
            solver=settings.solver,
            learning_rate=settings.learning_rate,
            schedule=settings.course,
            momentum=settings.momentum or 0.0,
            nesterov=settings.nesterov,
            alpha=settings.alpha,
            weight_decay=settings.weight_decay,
            clip_norm=settings.clip_norm,
            dropout=settings.dropout,
            class_weight=settings.class_weight,
            batch_size=settings.batch_size,
            epochs=settings.epochs,
            patience=settings.patience,
            seed=settings.seed,
            plan=settings.plan,
            n_jobs=settings.threads,
            on_epoch=on_epoch,
        )
    finally:
        if standard is not None:
            standard.fold(network)


def epochs_done(network: Network) -> int:
    """Epochs of the network's last training."""
    return len(network.history.get("loss", []))


def described(parts: Parts) -> dict[str, Any]:
    """The data, for a JSON document."""
    return {
        "name": parts.name,
        "examples": {name: len(part) for name, part in parts.present.items()},
        "features": parts.train.data.n_features,
        "classes": parts.train.data.classes,
    }


def header(settings: Settings, parts: Parts, network: Network) -> list[str]:
    """Data, network and plan, a line each."""
    from schuss.trainer import training_memory

    assert settings.batch_size is not None
    rows, epochs, formula = len(parts.train.data.X), settings.epochs, settings.optimizer.formula
    plan = network.plan_for(
        settings.batch_size, settings.plan, settings.threads, rows=rows, epochs=epochs, formula=formula
    )
    memory = training_memory(
        network.layer_sizes, plan, settings.optimizer, settings.batch_size, network.dtype, settings.isa
    )
    train = parts.train.data
    kinds = {"train": "training", "validation": "validation", "test": "test"}
    counts = ", ".join(f"{len(part):,} {kinds[name]}" for name, part in parts.present.items())
    kind = "numbers" if train.classes is None else f"{len(train.classes)} classes"
    weighted = "" if parts.train.weights is None else f" weighted by {settings.weights}"
    hidden = network.activation if isinstance(network.activation, str) else ",".join(network.activation)
    sizes = "-".join(str(size) for size in network.layer_sizes)
    lines = [
        f"data     {parts.name}: {counts} examples of {train.n_features} features{weighted}, {kind}, "
        f"{train.X.nbytes / 1e6:,.1f} MB to train on",
        f"network  {sizes}, {hidden}, {network.output_activation}, {network.loss_name}: "
        f"{network.n_parameters:,} parameters, {network.parameters.nbytes / 1e6:,.1f} MB",
        f"plan     {plan}, {_where(plan, settings.threads)}, {network.precision}, {memory / 1e6:,.1f} MB of "
        f"{'its ' if plan.on_gpu else ''}memory",
    ]
    return [*lines, *_scale(settings, train, network)]


def _where(plan: Plan, threads: int) -> str:
    """What computes: the threads allowed, or the GPU."""
    if not plan.on_gpu:
        return f"{threads} threads allowed"

    from schuss import cuda

    return f"{plan.place} ({cuda.device(plan.device).name})"


def _scale(settings: Settings, train: Dataset, network: Network) -> list[str]:
    """What is done about the scale of features and targets, or what might be."""
    from schuss.cli._standard import Standard

    if settings.standardize:
        both = train.classes is None and Standard.scales_targets(network)
        what = "features and targets" if both else "features"
        return [f"scale    {what} in standard deviations while it learns; the model takes them as they are"]
    reach = float(train.X.max() - train.X.min()) * abs(train.scale)
    return (
        [f"note     features differ by up to {reach:,.0f}: --standardize may help"] if reach > LARGE else []
    )
