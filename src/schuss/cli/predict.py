"""``schuss predict``: model and examples in, predictions out."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from schuss.cli._common import (
    Failure,
    check_can_write,
    check_device,
    data_dir_option,
    device_option,
    json_option,
    json_text,
    not_empty,
    target_option,
    threads_option,
)

if TYPE_CHECKING:
    import numpy as np

    from schuss.estimators.labels import Labels
    from schuss.network import Network

__all__ = ["predict"]


@click.command(short_help="Predict from examples with a model file.")
@click.argument("model", callback=not_empty)
@click.argument("data", callback=not_empty)
@click.option(
    "--proba", is_flag=True, help="Print the output for each class, as CSV with a header, not the class."
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write the predictions to this file instead of stdout."
)
@target_option
@data_dir_option
@threads_option
@device_option
@json_option
def predict(
    model: str,
    data: str,
    proba: bool,
    out: Path | None,
    target: str | None,
    data_dir: str | None,
    threads: int | None,
    device: str,
    as_json: bool,
) -> None:
    """Predict from the examples in DATA with the network in MODEL: one prediction a line.

    DATA is a file of the kinds that `schuss train` reads, in the units that the network was trained on; its
    targets may be there or not. Of a source with parts (mnist, digits, digits28) the test part is taken.

    A model trained on a table with names finds its columns by name, in whatever order and beside whatever others. Of
    other tables all columns are features but a last one too many and those that --target names.

    Of several targets, of several quantiles of each, and of several labels at once, 0 or 1 each, a line holds all
    with commas between them.

    The outputs that --proba prints are probabilities where the output activation is softmax, or logistic with several
    labels at once, and margins with the hinge loss.
    """
    if out is not None:
        check_can_write(out, "--out")
        if out.exists() and any(Path(name).exists() and out.samefile(name) for name in (model, data)):
            raise click.BadParameter(f"{str(out)!r}: this is the input.", param_hint="'--out'")

    from schuss import data as sources
    from schuss.model_file import load_for_use, write_file

    check_device(device)
    network, labels = load_for_use(model, n_jobs=threads)
    network.device = device
    if proba and network.classes is None and labels is None:
        raise Failure(f"--proba needs a model that predicts classes, {model} predicts numbers")
    X = sources.load_features(
        data,
        data_dir=data_dir,
        target=target,
        features=network.feature_names,
        n_features=network.layer_sizes[0],
    )
    if proba:
        names, values = class_outputs(network, labels, X)
        document: dict[str, Any] = {"classes": names, "outputs": values}
        lines: Iterable[Any] = [names.tolist(), *values.astype(str).tolist()]
    else:
        predictions = (
            network.predict(X) if labels is None else labels.decode(network.forward(X), network.border)
        )
        document = {"predictions": predictions}
        lines = predictions.astype(str).tolist()  # the shortest digits that give the same number back
    text = json_text(document) if as_json else csv_text(lines)
    if out is None:
        click.echo(text, nl=False)
    else:
        try:
            write_file(out, text.encode())
        except OSError as error:
            raise Failure(f"{out}: cannot be written: {error.strerror or error}") from error


def class_outputs(network: Network, labels: Labels | None, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The classes, and the network's output for each; one logistic output speaks for the second of two."""
    import numpy as np

    outputs = network.forward(X)
    if labels is not None:  # of a single class the probability is known
        return labels.classes, outputs if labels.multilabel else np.ones_like(outputs)
    assert network.classes is not None
    if outputs.shape[1] == 1:  # of the second class
        outputs = np.hstack([2 * network.border - outputs, outputs])
    return network.classes, outputs


def csv_text(rows: Iterable[Any]) -> str:
    """One row a line, several values in a row with commas; quoted as CSV where a label asks for it."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(row if isinstance(row, list) else [row] for row in rows)
    return text.getvalue()
