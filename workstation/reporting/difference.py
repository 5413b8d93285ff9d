"""What the reader changed in the AI's draft, word by word."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Literal

from workstation.reporting.models import Origin, Report, ReportSection, Sentence
from workstation.reporting.services import included_sentences

Kind = Literal["same", "added", "removed"]


@dataclass(frozen=True)
class Piece:
    kind: Kind
    text: str


@dataclass(frozen=True)
class Change:
    """One changed sentence. ``why`` is empty or says what removed it."""

    section: str
    pieces: tuple[Piece, ...]
    why: str = ""


def word_pieces(before: str, after: str) -> tuple[Piece, ...]:
    """The way from ``before`` to ``after`` in words and the spaces between them."""
    old, new = re.findall(r"\s+|\S+", before), re.findall(r"\s+|\S+", after)
    pieces: list[Piece] = []
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new, False).get_opcodes():
        if tag == "equal":
            pieces.append(Piece("same", "".join(old[i1:i2])))
            continue
        if i2 > i1:
            pieces.append(Piece("removed", "".join(old[i1:i2])))
        if j2 > j1:
            pieces.append(Piece("added", "".join(new[j1:j2])))
    return tuple(pieces)


def changes_since_draft(report: Report) -> list[Change]:
    """Every sentence that differs from the AI's draft, in reading order."""
    kept = {s.pk for s in included_sentences(report)}
    order = list(ReportSection.values)
    found = []
    rows = sorted(
        report.sentences.select_related("finding"),
        key=lambda s: (order.index(s.section), s.position, s.pk),
    )
    for sentence in rows:
        change = _change(sentence, sentence.pk in kept)
        if change is not None:
            found.append(change)
    return found


def _change(sentence: Sentence, kept: bool) -> Change | None:
    section = ReportSection(sentence.section).label
    if sentence.origin == Origin.READER:
        return Change(section, (Piece("added", sentence.text),)) if sentence.text else None
    if not kept:
        why = "removed by you" if sentence.removed else "its finding was rejected"
        return Change(section, (Piece("removed", sentence.original),), why)
    if sentence.origin == Origin.EDITED:
        return Change(section, word_pieces(sentence.original, sentence.text))
    return None
