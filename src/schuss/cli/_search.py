"""The trials of a search, one after the other: trained, judged, sorted."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from schuss.cli._common import echo_columns
from schuss.cli._cross_validation import Folds, fold_results, settle_folds, summary
from schuss.cli._examples import Parts, load_parts, load_pool
from schuss.cli._train_settings import Settings, settle, settle_by_data
from schuss.cli._training import described, fit, new_network
from schuss.cli._trials import Hopeless, Sampler, Trial, goodness, values
from schuss.cli.evaluate import SCORES, measure, score_text
from schuss.errors import TrainingDiverged

if TYPE_CHECKING:
    from schuss.cli._progress import TrainingProgress

__all__ = ["Search", "begun", "command"]


@dataclass
class Search:
    """A search that is going on.

    Parameters
    ----------
    options : dict
        What was given on the command line, None where nothing was.
    parts : Parts
    folds : Folds or None
        None: trials are judged on the validation part.
    rows : int
        Examples that a training gets.
    total : int
        Trials planned.
    hopeless : Hopeless
    trials : list of Trial
        Those that have ended.
    """

    options: Mapping[str, Any]
    parts: Parts
    folds: Folds | None
    rows: int
    total: int
    hopeless: Hopeless
    trials: list[Trial] = field(default_factory=list)

    def run(self, sampler: Sampler, progress: TrainingProgress) -> None:
        """Try what the sampler says."""
        for trial in sampler:
            began = perf_counter()
            try:
                self._attempt(trial, progress)
            except TrainingDiverged:
                trial.status, trial.result = "diverged", {}
            trial.seconds = perf_counter() - began
            self.trials.append(trial)
            sampler.tell(trial)
            options = " ".join(_words(self.options, trial.texts, only=trial.texts))
            outcome = ", ".join(f"{name} {score_text(name, value)}" for name, value in trial.scores.items())
            progress.news(f"trial {trial.number}/{self.total} {trial.status}: {outcome or '-'}  {options}")

    def settings(self, trial: Trial) -> Settings:
        """What `schuss train` makes of the trial's options."""
        settings = settle(**{**self.options, **values(trial.texts)}, needs_out=False)
        return settle_by_data(settings, self.parts.train.data, self.parts.name, self.rows)

    def _attempt(self, trial: Trial, progress: TrainingProgress) -> None:
        settings = self.settings(trial)
        if self.folds is None:
            self._by_validation(trial, settings, progress)
        else:
            self._by_folds(trial, settings, self.folds, progress)

    def _by_validation(self, trial: Trial, settings: Settings, progress: TrainingProgress) -> None:
        """Train on the training part; what counts is how the network that is kept does on the validation part."""
        validation = self.parts.validation
        assert validation is not None
        point = -(-settings.epochs // 3)

        def after_epoch(_network: Any, history: dict[str, list[float]]) -> bool:
            trial.epochs = len(history["loss"])
            self._at(
                progress, trial, f"epoch {trial.epochs}/{settings.epochs}", trial.epochs / settings.epochs
            )
            if trial.epochs != point or point == settings.epochs:
                return False
            accuracy = history.get("validation_accuracy")
            if self.hopeless.says(accuracy[-1] if accuracy else -history["validation_loss"][-1]):
                trial.status = "discarded"
            return trial.status == "discarded"

        network = new_network(settings, self.parts.train)
        fit(settings, self.parts.train, validation, network, after_epoch)
        measured = measure(network, [validation], self.parts.name)
        trial.result = {
            name: value for name, value in measured.items() if name not in ("examples", "seconds")
        }

    def _by_folds(self, trial: Trial, settings: Settings, cuts: Folds, progress: TrainingProgress) -> None:
        """What counts is the mean over the folds."""

        def at(fold: int, epoch: int) -> None:
            trial.epochs = epoch
            done = (fold + epoch / settings.epochs) / len(cuts)
            self._at(progress, trial, f"fold {fold + 1}/{len(cuts)}", done)

        folds: list[dict[str, Any]] = []
        for result in fold_results(settings, self.parts, cuts, at):
            folds.append(result)
            if len(folds) == 1 and self.hopeless.says(goodness(result)[0]):
                trial.status = "discarded"
                break
        found = summary(folds)
        trial.result = {**found["mean"], "folds": folds}

    def _at(self, progress: TrainingProgress, trial: Trial, what: str, done: float) -> None:
        progress.at(f"trial {trial.number}/{self.total}, {what}", trial.number - 1 + done)

    @property
    def ranked(self) -> list[Trial]:
        """The trials, the best first."""
        return sorted(self.trials, key=lambda trial: trial.rank)

    @property
    def best(self) -> Trial | None:
        """The best that was trained to its end."""
        return next((trial for trial in self.ranked if trial.status == "done"), None)

    def document(self) -> dict[str, Any]:
        """Everything found, for JSON."""
        best = self.best
        return {
            "data": described(self.parts),
            "judged_on": "validation" if self.folds is None else f"{len(self.folds)} folds",
            "trials": [trial.document() for trial in self.ranked],
            "best": best
            and {
                "trial": best.number,
                "command": command(self.options, best.texts),
                "settings": asdict(self.settings(best)),
            },
        }

    def echo(self) -> None:
        """Everything found, as a table and the command for the best."""
        ranked = self.ranked
        names = [name for name in (*SCORES, "loss") if any(name in trial.result for trial in ranked)]
        searched = list(ranked[0].texts)
        notes = any(trial.status != "done" for trial in ranked)
        rows = [
            [
                str(trial.number),
                *(score_text(name, trial.result[name]) if name in trial.result else "-" for name in names),
                str(trial.epochs),
                f"{trial.seconds:.3g}",
                *(trial.texts[name] for name in searched),
                *([trial.status if trial.status != "done" else ""] if notes else []),
            ]
            for trial in ranked
        ]
        head = ["trial", *(SCORES.get(name, name) for name in names), "epochs", "seconds"]
        head += [name.replace("_", " ") for name in searched]
        echo_columns(head + ([""] if notes else []), rows)
        if self.best is not None:
            click.echo(f"\n{command(self.options, self.best.texts)}")


def begun(base: Settings, options: Mapping[str, Any], *, total: int, keep_all: bool) -> Search:
    """Load the data and be ready for the first trial."""
    hopeless = Hopeless(active=not keep_all)
    if base.cv is not None:
        parts = load_pool(base)
        base, folds = settle_folds(base, parts)
        return Search(options, parts, folds, min(len(train) for train, _ in folds), total, hopeless)
    parts = load_parts(base)
    if parts.validation is None:
        raise click.UsageError(f"{parts.name} has no validation examples to judge trials by: give --cv.")
    settle_by_data(base, parts.train.data, parts.name)
    return Search(options, parts, None, len(parts.train), total, hopeless)


def command(options: Mapping[str, Any], texts: Mapping[str, str]) -> str:
    """The `schuss train` command line of a trial."""
    return shlex.join(["schuss", "train", options["data"], *_words(options, texts)])


def _words(
    options: Mapping[str, Any], texts: Mapping[str, str], only: Mapping[str, Any] | None = None
) -> list[str]:
    from schuss.cli.train import train

    chosen = {**options, **texts}
    words = []
    for param in train.params:
        value = chosen.get(param.name or "")
        wanted = isinstance(param, click.Option) and (only is None or param.name in only)
        if not wanted or value is None or value is False or value == param.default:
            continue
        words.append(param.opts[-1])
        if value is not True:
            words.append(",".join(map(str, value)) if isinstance(value, tuple) else str(value))
    return words
