"""The report of a study: a page in one file, and its figures as files beside it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from . import derived, verdict
from .canvas import Drawing
from .figures import draw_all
from .page import Cell, definitions, escape, number, page, table
from .results import Run, Study
from .verdict import Sentence
from .words import PARALLEL, amount, count, examples_per_epoch, percent

__all__ = ["render", "write"]

PAGE = "report.html"

#: Kind of figure -> its name in the navigation, and its heading.
_KINDS = {
    "time": ("Time", "How long an epoch takes"),
    "gflops": ("Rate", "The same as arithmetic in a second"),
    "speedup": ("Speedup", "What is gained by being parallel"),
    "scaling": ("Threads", "What each further thread adds"),
    "peak": ("Peak", "How much is used of what the cores can do"),
    "loss": ("Loss", "How fast the loss falls"),
}
_OUTCOMES = {
    "confirmed": "✓ confirmed",
    "refuted": "✕ refuted",
    "partly": "◐ in part",
    "undecided": "? undecided",
}


def write(folder: str | Path) -> Path:
    """Write `report.html` and the folder `figures` beside the results.json of a study.

    Parameters
    ----------
    folder : str or Path
        Holds results.json. Files of an earlier report are replaced.

    Returns
    -------
    Path
        Of report.html.

    Raises
    ------
    ResultsError
        If there is no results.json, or it cannot be read.
    SchussError
        If matplotlib is missing.
    """
    folder = Path(folder)
    study = Study.load(folder)
    drawings = draw_all(study)
    pictures = folder / "figures"
    pictures.mkdir(exist_ok=True)
    for drawn in drawings.values():
        for drawing in drawn:
            drawing.save(pictures)
    target = folder / PAGE
    part = folder / f".{PAGE}.part"
    part.write_text(render(study, drawings), encoding="utf-8")
    return part.replace(target)


def render(study: Study, drawings: Mapping[str, list[Drawing]]) -> str:
    """The text of the page.

    Parameters
    ----------
    study : Study
    drawings : dict of str to list of Drawing
        As :func:`~schuss.study.figures.draw_all` gives them.
    """
    sections = {
        "Verdict": ("Verdict", _sentences(verdict.findings(study))),
        "2016": ("The conclusions of the 2016 report", _conclusions(study)),
    }
    for kind, (name, heading) in _KINDS.items():
        sections[name] = heading, _figures(drawings[kind]) if kind in drawings else ""
    sections |= {
        "Numbers": ("Numbers", _numbers(study)),
        "Accuracy": ("Accuracy", _accuracy(study)),
        "Implementations": ("Implementations", _implementations(study)),
        "Method": ("Machine and method", _method(study)),
    }
    trains = "trains" if len(study.networks) == 1 else "train"
    title = f"How {_networks(study)} {trains} on {study.machine.get('cpu', 'this machine')}"
    top = f'<h1>{escape(title)}</h1>\n<p class="lead">{escape(_when(study))}</p>'
    return page(
        title,
        sections,
        top=top,
        footer="Made by schuss bench from the results.json beside this page; every sentence is computed from it.",
        batch_counts={drawing.batches for drawn in drawings.values() for drawing in drawn} - {0},
    )


def _networks(study: Study) -> str:
    names = list(study.networks)
    return " and ".join(names) if len(names) < 3 else count(len(names), "network")


def _when(study: Study) -> str:
    try:
        at = datetime.fromisoformat(study.created)
        when = f"{at.day} {at:%B %Y, %H:%M} UTC"
    except ValueError:
        when = study.created
    implementations = count(len(study.implementations), "implementation")
    return f"{when} · preset {study.preset} · {implementations} · {count(len(study.runs), 'measurement')}"


def _conclusions(study: Study) -> str:
    """Each conclusion with its outcome and the numbers; those without measurements are named below."""
    judged = verdict.conclusions(study)
    missing = verdict.unjudged(study)
    text = _sentences(judged)
    if judged and missing:
        text += f'<p class="small">Not judged, for want of measurements: {escape("; ".join(missing))}.</p>'
    return text


def _sentences(sentences: list[Sentence]) -> str:
    """A row a sentence: its head, or for a conclusion its outcome, beside what the data say."""
    if not sentences:
        return ""
    return f'<ul class="claims">{"".join(map(_sentence, sentences))}</ul>'


def _sentence(sentence: Sentence) -> str:
    parts = "".join(f"<p>{escape(part)}</p>" for part in sentence.parts)
    if sentence.note:
        parts += f'<p class="small">{escape(sentence.note)}</p>'
    head = escape(sentence.head)
    if sentence.outcome is None:
        return f"<li><strong>{head}</strong><div>{parts}</div></li>"
    outcome = f'<span class="outcome {sentence.outcome}">{_OUTCOMES[sentence.outcome]}</span>'
    return f'<li class="judged">{outcome}<div><strong>{head}</strong>{parts}</div></li>'


def _figures(drawings: list[Drawing]) -> str:
    """The figures of a kind side by side, and what is to be known for reading them once below."""
    shown = [
        f"<figure><figcaption>{escape(drawing.title)}</figcaption>\n{drawing.inline()}</figure>"
        for drawing in drawings
    ]
    captions = dict.fromkeys(drawing.caption for drawing in drawings)
    notes = "".join(f'<p class="small">{escape(caption)}</p>' for caption in captions)
    return f'<div class="pair">{"".join(shown)}</div>\n{notes}'


def _numbers(study: Study) -> str:
    parts = [_overview(study, network) for network in study.networks if derived.batches_of(study, network)]
    if not parts:
        return ""
    return "\n".join([*parts, f"<details><summary>Every measurement</summary>{_every_run(study)}</details>"])


def _overview(study: Study, network: str) -> str:
    """Seconds of an epoch by implementation and batch size; the least of a column is bold."""
    batches, runs = derived.batches_of(study, network), derived.runs_of(study, network)
    least = {b: min(by[b].seconds for by in runs.values() if b in by) for b in batches}
    rows = []
    for name, by_batch in runs.items():
        cells = [
            Cell(study.implementations[name].label),
            Cell(PARALLEL[study.implementations[name].parallel]),
        ]
        for batch in batches:
            run = by_batch.get(batch)
            cells.append(Cell("") if run is None else _seconds_cell(run, run.seconds == least[batch]))
        rows.append(cells)
    caption = f"{network}: seconds an epoch of {examples_per_epoch(study)} by batch size, medians; the least in bold."
    if any(derived.partial(run) for by in runs.values() for run in by.values()):
        caption += " † measured on a share of the examples and scaled."
    return table(caption, ["Implementation", "Parallel", *(f"{b:,}" for b in batches)], rows)


def _seconds_cell(run: Run, least: bool) -> Cell:
    mark = "†" if derived.partial(run) else ""
    return number(run.seconds, amount(run.seconds) + mark, "best" if least else "")


def _every_run(study: Study) -> str:
    head = ["Implementation", "Network", "Batch", "Threads", "Plan", "Seconds", "Least", "Most", "GFLOP/s", "Of peak",
            "Speedup", "Examples", "Loss beside the oracle's"]  # fmt: skip
    caption = (
        "Every measurement. Seconds are of a whole epoch: the median of the rounds, the least and the most. Examples: "
        "trained on in a timed epoch. The last column is the relative difference of the loss from the oracle's."
    )
    rows = [
        _run_cells(study, run, study.run(run.network, run.batch, _serial(study, run))) for run in study.runs
    ]
    scaled = {run.key for run in study.runs}
    rows += [_run_cells(study, run, None) for run in study.scaling if run.key not in scaled]
    return table(caption, head, rows)


def _serial(study: Study, run: Run) -> str:
    return study.implementations[run.implementation].serial or ""


def _run_cells(study: Study, run: Run, serial: Run | None) -> list[Cell]:
    gain = derived.speedup(serial, run).median if serial else None
    return [
        Cell(study.implementations[run.implementation].label),
        Cell(run.network),
        number(run.batch, f"{run.batch:,}"),
        number(run.threads, str(run.threads)),
        Cell(run.plan or ""),
        *(number(value, amount(value)) for value in (run.seconds, run.low, run.high, run.gflops)),
        number(run.share_of_peak, percent(run.share_of_peak)),
        number(gain, amount(gain) if gain else ""),
        number(run.rows, f"{run.rows:,}"),
        number(run.check.difference, f"{run.check.difference:.1e}"),
    ]


def _accuracy(study: Study) -> str:
    if not study.accuracy:
        return ""
    rows = [
        [
            Cell(study.implementations[a.implementation].label),
            Cell(a.network),
            number(a.batch, f"{a.batch:,}"),
            number(a.learning_rate, f"{a.learning_rate:g}"),
            number(a.epochs, f"{a.epochs:,}"),
            number(a.seconds, amount(a.seconds)),
            number(a.validation_accuracy, f"{100 * a.validation_accuracy:.2f} %"),
            number(a.test_accuracy, f"{100 * (a.test_accuracy or 0):.2f} %"),
        ]
        for a in study.accuracy
    ]
    head = ["Implementation", "Network", "Batch", "Rate", "Epochs", "Seconds", "Validation", "Test"]
    return table("Accuracy of the learning rate that was best on the validation examples.", head, rows)


def _implementations(study: Study) -> str:
    rows = [
        [
            Cell(facts.label),
            Cell(name),
            Cell(facts.arithmetic),
            Cell(PARALLEL[facts.parallel]),
            Cell(study.implementations[facts.serial].label if facts.serial in study.implementations else ""),
            Cell(facts.plan or ""),
            number(facts.threads, str(facts.threads)),
            Cell(
                ", ".join(f"{library} {version}" for library, version in facts.versions.items()), style="wrap"
            ),
        ]
        for name, facts in study.implementations.items()
    ]
    head = [
        "Implementation",
        "Name",
        "Arithmetic",
        "Parallel",
        "Serial counterpart",
        "Plan",
        "Threads",
        "Versions",
    ]
    text = table("Who was measured.", head, rows)
    if study.absent:
        missing = [
            [
                Cell(a.name),
                Cell(a.network or "all"),
                number(a.batch, f"{a.batch:,}") if a.batch is not None else Cell("all"),
                Cell(a.reason, style="wrap"),
            ]
            for a in study.absent
        ]
        text += table(
            "What was not measured, and why.", ["Implementation", "Network", "Batch", "Reason"], missing
        )
    return text


def _method(study: Study) -> str:
    layers = {name: "-".join(map(str, facts.layers)) for name, facts in study.networks.items()}
    networks = {
        name: f"{layers[name]}: {count(facts.parameters, 'parameter')}, "
        f"{amount(facts.flops_per_example / 1e6)} MFLOP an example"
        for name, facts in study.networks.items()
    }
    command = f'<p class="small">Made with <code>{escape(shlex.join(study.command))}</code></p>'
    parts = {
        "Networks": networks,
        "Settings": study.settings,
        "Machine": study.machine,
        "Environment": study.environment,
    }
    shown = (f"<h3>{name}</h3>{definitions(facts)}" for name, facts in parts.items() if facts)
    return "\n".join([command, *shown])
