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
    data_dir_option,
    json_option,
    json_text,
    target_option,
    threads_option,
)

if TYPE_CHECKING:
    import numpy as np

    from schuss.network import Network

__all__ = ["predict"]


@click.command(short_help="Predict from examples with a model file.")
@click.argument("model")
@click.argument("data")
@click.option(
    "--proba", is_flag=True, help="Print the output for each class, as CSV with a header, not the class."
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write the predictions to this file instead of stdout."
)
@target_option
@data_dir_option
@threads_option
@json_option
def predict(
    model: str,
    data: str,
    proba: bool,
    out: Path | None,
    target: str | None,
    data_dir: str | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Predict from the examples in DATA with the network in MODEL: one prediction a line.

    DATA is a file of the kinds that `schuss train` reads, in the units that the network was trained on; its
    targets may be there or not. Of a source with parts (mnist, digits, digits28) the test part is taken.

    Of several targets, and of several quantiles of each, a line holds all with commas between them. A table's
    column of weights is left out when it is named beside the target: --target kind,weight.

    The outputs that --proba prints are probabilities where the output activation is softmax, and margins with the
    hinge loss.
    """
    if out is not None:
        check_can_write(out, "--out")
        if out.exists() and any(Path(name).exists() and out.samefile(name) for name in (model, data)):
            raise click.BadParameter(f"{str(out)!r}: this is the input.", param_hint="'--out'")

    from schuss import data as sources
    from schuss.model_file import load_network, write_file

    network = load_network(model, n_jobs=threads)
    if proba and network.classes is None:
        raise Failure(f"--proba needs a model that predicts classes, {model} predicts numbers")
    X = sources.load_features(data, data_dir=data_dir, target=target, n_features=network.layer_sizes[0])
    if proba:
        names, values = class_outputs(network, X)
        document: dict[str, Any] = {"classes": names, "outputs": values}
        lines: Iterable[Any] = [names.tolist(), *values.astype(str).tolist()]
    else:
        predictions = network.predict(X)
        document = {"predictions": predictions}
        lines = predictions.astype(str).tolist()  # the shortest digits that give the same number back
    text = json_text(document) if as_json else csv_text(lines)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_file(out, text.encode())


def class_outputs(network: Network, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The classes, and the network's output for each; one logistic output speaks for the second of two."""
    import numpy as np

    assert network.classes is not None
    outputs = network.forward(X)
    if outputs.shape[1] == 1:  # of the second class
        outputs = np.hstack([2 * network.border - outputs, outputs])
    return network.classes, outputs


def csv_text(rows: Iterable[Any]) -> str:
    """One row a line, several values in a row with commas; quoted as CSV where a label asks for it."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(row if isinstance(row, list) else [row] for row in rows)
    return text.getvalue()
