"""What the measurements say, in sentences: functions of the study, silent where it has nothing to say."""

from __future__ import annotations

from dataclasses import dataclass

from .conclusions import CONCLUSIONS
from .findings import FINDINGS
from .results import Study

__all__ = ["Sentence", "conclusions", "findings", "unjudged"]

_OUTCOMES = {"yes": "confirmed", "no": "refuted", "part": "partly", "open": "undecided"}


@dataclass(frozen=True)
class Sentence:
    """Something that is true of the data.

    Attributes
    ----------
    head : str
        What it is about, or the conclusion of the 2016 report that it judges.
    parts : tuple of str
        A sentence a network, with the numbers; plain text.
    figure : str
        Kind of the figure that shows it, as in :func:`~schuss.study.figures.draw_all`; "accuracy" is a table.
    outcome : {"confirmed", "refuted", "partly", "undecided"} or None
        Of a conclusion. "partly": not on every network, at every batch size or in every word; "undecided": noise hides
        it.
    note : str
        On all parts; may be empty.
    """

    head: str
    parts: tuple[str, ...]
    figure: str
    outcome: str | None = None
    note: str = ""

    def __str__(self) -> str:
        head = self.head if self.outcome is None else f"{self.head}: {self.outcome}"
        return " ".join([f"{head}.", *self.parts, self.note]).rstrip()


def findings(study: Study) -> list[Sentence]:
    """What this study found, the most important first."""
    found = ((head, figure, find(study)) for head, (figure, find) in FINDINGS.items())
    return [Sentence(head, tuple(parts), figure) for head, figure, parts in found if parts]


def conclusions(study: Study) -> list[Sentence]:
    """The 2016 report's conclusions, as far as the study can judge them."""
    judged = []
    for claim, (figure, judge) in CONCLUSIONS.items():
        evidence = judge(study)
        votes = set(evidence.votes)
        if votes:
            outcome = _OUTCOMES[votes.pop()] if len(votes) == 1 else "partly"
            judged.append(Sentence(claim, tuple(evidence.parts), figure, outcome, evidence.note))
    return judged


def unjudged(study: Study) -> list[str]:
    """Conclusions of the 2016 report that the study has no measurements for."""
    judged = {sentence.head for sentence in conclusions(study)}
    return [claim for claim in CONCLUSIONS if claim not in judged]
