"""``schuss evaluate``: how well a model file does on examples with known targets."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from schuss.cli._common import (
    data_dir_option,
    echo_json,
    echo_table,
    json_option,
    target_option,
    threads_option,
)
from schuss.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from schuss.data import Dataset
    from schuss.network import Network

__all__ = ["evaluate", "measure"]

PARTS = ("train", "validation", "test")


@click.command(short_help="Measure a model file's loss and accuracy.")
@click.argument("model")
@click.argument("data")
@click.option(
    "--part",
    type=click.Choice([*PARTS, "all"]),
    help="Which examples, as `schuss train` splits them.  [default: the whole of a file, else test]",
)
@target_option
@data_dir_option
@threads_option
@json_option
def evaluate(
    model: str,
    data: str,
    part: str | None,
    target: str | None,
    data_dir: str | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Measure how well the network in MODEL does on DATA: its loss and, for classes, its accuracy.

    DATA is what `schuss train` reads, in the units that the network was trained on. A file is taken whole
    unless it comes in parts; name a --part to get the examples that training kept apart.
    """
    from schuss import data as sources
    from schuss.model_file import load

    network = load(model, n_jobs=threads)
    if part is None:
        chosen = [sources.load_table(data, data_dir=data_dir, target=target)]
    else:
        splits = sources.load(data, data_dir=data_dir, target=target)
        named = {name: getattr(splits, name) for name in PARTS}
        chosen = [found for name, found in named.items() if found is not None and part in (name, "all")]
        if not chosen:
            raise DataError(f"{data}: has no {part} part")
    result = measure(network, chosen, data)
    if as_json:
        echo_json({"model": model, "data": data, "part": part, **result})
    else:
        echo_table(rows(result))


def measure(network: Network, parts: list[Dataset], source: str) -> dict[str, Any]:
    """Examples, mean loss, accuracy (only with classes) and seconds over all parts together."""
    examples, loss, right, seconds = 0, 0.0, 0.0, 0.0
    for part in parts:
        if part.n_features != network.layer_sizes[0]:
            raise DataError(
                f"{source}: must have the model's {network.layer_sizes[0]} features, got {part.n_features}"
            )
        y = targets(network, part, source)
        begin = perf_counter()
        loss += network.loss(part.X, y) * len(part)
        if network.classes is not None:
            right += network.score(part.X, y) * len(part)
        seconds += perf_counter() - begin
        examples += len(part)
    result = {"examples": examples, "loss": loss / examples}
    if network.classes is not None:
        result["accuracy"] = right / examples
    return result | {"seconds": seconds}


def targets(network: Network, part: Dataset, source: str) -> np.ndarray:
    """The targets as the network counts them, checked to be of its kind.

    A file cannot say of whole numbers whether they are labels or not: the network says it.
    """
    from schuss.data import encode_labels

    found, classes = part.labels, network.classes
    if classes is None:
        if found.dtype.kind not in "fiu":
            raise DataError(
                f"{source}: targets must be numbers, as the model predicts, got {found[0].item()!r}"
            )
        outputs = found.shape[1] if found.ndim == 2 else 1
        if outputs != network.layer_sizes[-1]:
            raise DataError(
                f"{source}: must have the model's {network.layer_sizes[-1]} targets an example, got {outputs}"
            )
        return found.astype(network.dtype)
    if part.classes is None:
        raise DataError(f"{source}: targets must be labels, as the model predicts, got {found.flat[0]}")
    if classes.dtype.kind == "U":
        found = found.astype(str)
    return classes[encode_labels(found, classes, f"{source}: target")[0]]


def rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The result as lines for people."""
    lines = [("examples", f"{result['examples']:,}"), ("loss", f"{result['loss']:#.4g}")]
    if "accuracy" in result:
        lines.append(("accuracy", f"{100 * result['accuracy']:.2f} %"))
    return [*lines, ("seconds", f"{result['seconds']:.3g}")]
