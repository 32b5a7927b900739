"""A study from its settings to its folder: measured, written, shown."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from schuss.cli._bench_accuracy import reached
from schuss.cli._bench_progress import StudyProgress
from schuss.cli._bench_settings import Asked, Wanted, train_options
from schuss.cli._common import Failure, Interrupted, echo_columns
from schuss.machine import summary
from schuss.study import assemble
from schuss.study.journal import Journal
from schuss.study.measure import watched
from schuss.study.results import Study
from schuss.study.run import Measuring

__all__ = ["echo", "measured", "reported"]


def measured(
    asked: Asked, wanted: Wanted, folder: Path, accuracy: Mapping[str, Any] | None, *, quiet: bool
) -> Study:
    """Measure what the folder does not have yet; what there is then is written in any case.

    Parameters
    ----------
    asked : Asked
    wanted : Wanted
    folder : Path
    accuracy : dict or None
        Options of `schuss train` for the accuracies; None for none.
    quiet : bool
    """
    journal = Journal(folder)
    with tempfile.TemporaryDirectory(prefix="schuss-") as source, StudyProgress(quiet=quiet) as progress:
        measuring = Measuring(asked.settings, journal, Path(source), progress, wanted.theano_python)
        for name, reason in measuring.absent.items():
            if name in (wanted.implementations or ()):
                raise Failure(f"{name}: {reason}")
        identity = {**asked.settings.as_dict(), "machine": summary(), "environment": watched()}
        goes_on = journal.begin(identity, datetime.now(UTC).isoformat(timespec="seconds"))
        left_out = [f"{name} is left out: {reason}" for name, reason in measuring.absent.items()]
        for line in asked.notes:  # other data than were asked for: said in any case
            click.echo(line, err=True)
        for line in (*([f"{folder}: goes on where it stopped"] if goes_on else []), *left_out):
            progress.line(line)
        asked.save_data(Path(source))
        try:
            measuring.run()
            if accuracy is not None:
                _accuracies(asked, journal, train_options(accuracy) | {"data": asked.source}, progress)
        except KeyboardInterrupt:
            kept = _written(asked, measuring)
            so_far = f"; {folder / 'results.json'} has what there is so far" if kept.runs else ""
            raise Interrupted(f"interrupted: the same command goes on where it stopped{so_far}") from None
    study = _written(asked, measuring)
    if not study.runs:
        reasons = "; ".join(f"{a.name}: {a.reason}" for a in study.absent)
        raise Failure(f"nothing could be measured: {reasons}")
    return study


def _written(asked: Asked, measuring: Measuring) -> Study:
    """The results so far, in their files if there are any."""
    journal = measuring.journal
    study = assemble.study(asked.settings, journal, measuring.absent, ["schuss", *sys.argv[1:]])
    if study.runs:
        study.save(journal.folder)
    return study


def _accuracies(asked: Asked, journal: Journal, options: dict[str, Any], progress: StudyProgress) -> None:
    """Those of the networks that have none yet."""
    there = {entry["network"] for entry in journal.accuracy}
    for network, layers in asked.settings.networks.items():
        if network in there:
            continue
        found = reached(network, layers, options, progress)
        if found is None:
            progress.line(f"{network}  accuracy: every learning rate diverges")
            continue
        journal.add("accuracy", asdict(found))
        test = "" if found.test_accuracy is None else f", {100 * found.test_accuracy:.2f} % on the test part"
        validation = f"{100 * found.validation_accuracy:.2f} % on the validation part{test}"
        progress.line(f"{network}  learning rate {found.learning_rate:g}: {validation}")


def reported(folder: Path) -> list[Path]:
    """Write figures and report; without matplotlib, one line says what they need. The files that there are."""
    files = [folder / "results.json", folder / "results.csv"]
    if find_spec("matplotlib") is None:
        needs = "pip install 'schuss[plot]', then the same command again"
        click.echo(f"schuss: figures and report need matplotlib: {needs}", err=True)
        return files
    from schuss.study import report

    return [*files, report.write(folder)]


def echo(study: Study) -> None:
    """A table a network: seconds of an epoch, an implementation a line, a batch size a column."""
    for network, facts in study.networks.items():
        rows = []
        for name in study.implementations:
            runs = [study.run(network, batch, name) for batch in study.batches]
            if any(runs):
                rows.append([name, *("-" if run is None else f"{run.seconds:.3g}" for run in runs)])
        if rows:
            sizes = "-".join(map(str, facts.layers))
            examples = study.settings["examples"]
            click.echo(f"\n{network} ({sizes}), seconds an epoch of {examples:,} examples, by batch size")
            echo_columns(["", *(f"{batch:,}" for batch in study.batches)], rows)
