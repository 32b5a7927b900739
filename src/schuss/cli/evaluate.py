"""``schuss evaluate``: how well a model file does on examples with known targets."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from schuss.cli._common import (
    check_device,
    check_weights,
    data_dir_option,
    device_option,
    echo_json,
    echo_table,
    json_option,
    not_empty,
    target_option,
    threads_option,
)
from schuss.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from schuss.cli._examples import Part
    from schuss.data import Dataset
    from schuss.estimators.labels import Labels
    from schuss.network import Network

__all__ = ["SCORES", "evaluate", "measure", "score_rows", "score_text"]

PARTS = ("train", "validation", "test")
#: Scores, the higher the better -> their names for people.
SCORES = {"accuracy": "accuracy", "r2": "R^2", "d2_pinball": "D^2 (pinball)"}


@click.command(short_help="Measure a model file's loss and accuracy, or R^2.")
@click.argument("model", callback=not_empty)
@click.argument("data", callback=not_empty)
@click.option(
    "--part",
    type=click.Choice([*PARTS, "all"]),
    help="Which examples, as `schuss train` splits them.  [default: the whole of a file, else test]",
)
@target_option
@click.option(
    "--weights",
    metavar="COLUMN",
    help="Column of a table that says how much each example counts; it is no feature.",
)
@data_dir_option
@threads_option
@device_option
@json_option
def evaluate(
    model: str,
    data: str,
    part: str | None,
    target: str | None,
    weights: str | None,
    data_dir: str | None,
    threads: int | None,
    device: str,
    as_json: bool,
) -> None:
    """Measure how well the model in MODEL does on DATA: its loss, and its accuracy for classes or R^2 for numbers.

    DATA is what `schuss train` reads, in the units that the network was trained on. A file is taken whole
    unless it comes in parts; name a --part to get the examples that training kept apart.

    A model trained on a table with names finds its columns by name, in whatever order and beside whatever others;
    the target is then the last of the others.

    With several labels at once an example counts as right where all its labels are.
    """
    check_weights(weights, data)

    from schuss.cli._examples import load_whole, source_parts
    from schuss.model_file import load_for_use

    check_device(device)
    network, labels = load_for_use(model, n_jobs=threads)
    network.device = device
    read = (data, target, weights, data_dir, network.feature_names)
    if part is None:
        chosen = [load_whole(*read)]
    else:
        named = dict(zip(PARTS, source_parts(*read)[1], strict=True))
        chosen = [found for name, found in named.items() if found is not None and part in (name, "all")]
        if not chosen:
            raise DataError(f"{data}: has no {part} part")
    result = measure(network, chosen, data, labels)
    if as_json:
        echo_json({"model": model, "data": data, "part": part, **result})
    else:
        echo_table(rows(result))


def measure(network: Network, parts: list[Part], source: str, labels: Labels | None = None) -> dict[str, Any]:
    """Examples, mean loss and score over all parts together, by weight where they have weights.

    The score is accuracy for classes and for several `labels` at once, d2_pinball for quantiles (with the coverage of
    each level: the share of targets at or below what was predicted) and r2 for other numbers; a network that gives
    probabilities but neither classes nor labels has none.
    """
    import numpy as np

    from schuss.optimizers import Optimizer
    from schuss.plan import allowed_threads

    found, seconds = [], 0.0
    for part in parts:
        if part.data.n_features != network.layer_sizes[0]:
            raise DataError(
                f"{source}: must have the model's {network.layer_sizes[0]} features, got {part.data.n_features}"
            )
        wanted = targets(network, part.data, source, labels)
        begin = perf_counter()
        X, y = network.pair(part.data.X, wanted)
        plan = network.plan_for(len(X), network.plan, allowed_threads(network.n_jobs))
        engine = network.new_engine(plan, Optimizer())
        engine.load(network.parameters)
        weights = np.ones(len(X)) if part.weights is None else part.weights
        found.append((y, *engine.forward(X, y), weights))
        seconds += perf_counter() - begin
    y, outputs, losses, weights = (np.concatenate(column) for column in zip(*found, strict=True))
    return {
        "examples": len(losses),
        "loss": float(np.average(losses, weights=weights)),
        **_score(network, y, outputs, weights, labels),
        "seconds": seconds,
    }


def _score(
    network: Network, y: np.ndarray, outputs: np.ndarray, weights: np.ndarray, labels: Labels | None
) -> dict[str, Any]:
    import numpy as np

    from schuss.losses import NUMBER_LOSSES
    from schuss.network import most_likely

    if network.classes is not None:
        return {"accuracy": float(np.average(most_likely(outputs, network.border) == y, weights=weights))}
    if labels is None and network.loss_name not in NUMBER_LOSSES:
        return {}

    from schuss.estimators.scores import accuracy, d2_pinball, r2

    if labels is not None:
        return {"accuracy": accuracy(y, weights)(labels.numbers(outputs, network.border))}

    if network.loss_name != "quantile":
        return {"r2": r2(y, weights)(outputs)}
    quantiles = network.loss_function.quantiles
    below = np.average(y <= outputs, axis=0, weights=weights).reshape(-1, len(quantiles)).mean(axis=0)
    coverage = dict(zip(map(str, quantiles), below.tolist(), strict=True))
    return {"d2_pinball": d2_pinball(y, quantiles, weights)(outputs), "coverage": coverage}


def targets(network: Network, part: Dataset, source: str, labels: Labels | None = None) -> np.ndarray:
    """The targets as the network counts them, checked to be of its kind.

    A file cannot say of whole numbers whether they are labels or not: the network says it.
    """
    from schuss.data import encode_labels

    found = part.labels
    if labels is not None and labels.multilabel:
        return labels.encode(found, len(found), network.dtype, f"{source}: targets")
    classes = network.classes if labels is None else labels.classes
    if classes is None:
        if found.dtype.kind not in "fiu":
            raise DataError(
                f"{source}: targets must be numbers, as the model predicts, got {found[0].item()!r}"
            )
        columns = found.shape[1] if found.ndim == 2 else 1
        expected = network.layer_sizes[-1] // network.loss_function.outputs_per_target
        if columns != expected:
            raise DataError(f"{source}: must have the model's {expected} targets an example, got {columns}")
        return found.astype(network.dtype)
    if part.classes is None:
        raise DataError(f"{source}: targets must be labels, as the model predicts, got {found.flat[0]}")
    if classes.dtype.kind == "U":
        found = found.astype(str)
    numbers = encode_labels(found, classes, f"{source}: target")[0]
    return numbers if network.classes is None else classes[numbers]


def score_text(name: str, value: float) -> str:
    """A loss or a score for people."""
    if name == "accuracy":
        return f"{100 * value:.2f} %"
    return f"{value:#.4g}" if name == "loss" else f"{value:.4f}"


def score_rows(result: dict[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Loss and score as lines for people; `before` goes before each name."""
    lines = [("loss", score_text("loss", result["loss"]))]
    lines += [(SCORES[name], score_text(name, result[name])) for name in SCORES if name in result]
    for level, share in result.get("coverage", {}).items():
        lines.append((f"coverage {level}", f"{100 * share:.1f} %"))
    return [(before + name, text) for name, text in lines]


def rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The result as lines for people."""
    return [
        ("examples", f"{result['examples']:,}"),
        *score_rows(result),
        ("seconds", f"{result['seconds']:.3g}"),
    ]
