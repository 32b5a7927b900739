"""What the study's networks reach, with the learning rate that `schuss tune --preset paper` chooses."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

from schuss.cli import _trials
from schuss.cli._bench_progress import StudyProgress
from schuss.cli._search import begun
from schuss.cli._train_settings import settle
from schuss.cli._training import fit, new_network
from schuss.cli.evaluate import measure
from schuss.study.results import Accuracy

__all__ = ["BATCH_SIZE", "EPOCHS", "reached"]

#: Small steps, many of them: after 20 epochs the networks are where the 2016 study's were.
BATCH_SIZE, EPOCHS = 16, 20


def reached(
    network: str, layers: tuple[int, ...], options: Mapping[str, Any], progress: StudyProgress
) -> Accuracy | None:
    """Accuracies with the rate that is best on the validation part; None if every rate diverges.

    Parameters
    ----------
    network : str
        Its name.
    layers : tuple of int
    options : dict
        Of `schuss train`, with the `data`.
    """
    chosen = (
        dict(options) | _trials.PAPER | {"hidden": layers[1:-1], "batch_size": BATCH_SIZE, "epochs": EPOCHS}
    )
    base = settle(**chosen, needs_out=False)
    rates = _trials.PAPER_RATES
    search = begun(base, chosen, total=len(rates), keep_all=True)
    progress.begin(f"accuracy of {network}", len(rates))
    search.run(_trials.GridSampler({"learning_rate": _trials.Choice(rates)}), progress)
    if search.best is None:
        return None
    began = perf_counter()
    settings, parts = search.settings(search.best), search.parts
    trained = new_network(settings, parts.train)
    fit(settings, parts.train, None, trained, lambda *_: False)
    seconds = perf_counter() - began
    assert settings.learning_rate is not None
    return Accuracy(
        network=network,
        batch=BATCH_SIZE,
        implementation="hybrid",
        learning_rate=settings.learning_rate,
        epochs=settings.epochs,
        seconds=seconds,
        validation_accuracy=search.best.result["accuracy"],
        test_accuracy=None if parts.test is None else measure(trained, [parts.test], parts.name)["accuracy"],
    )
