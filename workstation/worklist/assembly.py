"""Which studies belong together: rules against facts, without a database."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class SeriesFacts:
    """``role`` is a code of the role catalogue; empty while nobody has looked."""

    modality: str
    role: str = ""


@dataclass(frozen=True)
class StudyFacts:
    """``text`` holds body parts and descriptions, folded by :func:`folded`."""

    key: int
    date: date | None
    series: tuple[SeriesFacts, ...]
    text: str = ""


@dataclass(frozen=True)
class Rule:
    """Terms are role codes (also the beginning of one up to ``_``) or modalities; empty: any."""

    key: int
    name: str
    within_days: int
    body: tuple[str, ...] = ()
    anchor: tuple[str, ...] = ()
    companions: tuple[str, ...] = ()

    def governs(self, one: StudyFacts, other: StudyFacts) -> bool:
        """Whether it is for this rule to decide about the two."""
        if not (_of_body(self.body, one) and _of_body(self.body, other)):
            return False
        there = _has(self.anchor, one) and _has(self.companions, other)
        return there or (_has(self.anchor, other) and _has(self.companions, one))


@dataclass(frozen=True)
class Decision:
    """What a rule says about a study and a case. ``rank`` orders decisions, best first."""

    rule: Rule
    joins: bool
    reason: str
    rank: tuple[int, int]


def belongs_together(
    rules: Sequence[Rule], studies_of_case: Iterable[StudyFacts], study: StudyFacts
) -> Decision | None:
    """Whether ``study`` is read with the studies of a case, by which rule, and why.

    For each pair the first rule that governs it decides; one study of the case that says yes is
    enough. None: no rule is for these studies.
    """
    found = [
        decision
        for other in studies_of_case
        if (decision := _decide(rules, other, study)) is not None
    ]
    joining = [decision for decision in found if decision.joins]
    return min(joining or found, key=lambda decision: decision.rank, default=None)


def grouped(rules: Sequence[Rule], studies: Iterable[StudyFacts]) -> list[list[StudyFacts]]:
    """The cases that the rules make of one patient's studies, in the order they are given."""
    groups: list[list[StudyFacts]] = []
    for study in studies:
        best: tuple[Decision, list[StudyFacts]] | None = None
        for group in groups:
            decision = belongs_together(rules, group, study)
            if decision is None or not decision.joins:
                continue
            if best is None or decision.rank < best[0].rank:
                best = decision, group
        if best is None:
            groups.append([study])
        else:
            best[1].append(study)
    return groups


def folded(*texts: str) -> str:
    """Lower case without accents, words between single spaces."""
    plain = unicodedata.normalize("NFKD", " ".join(texts).casefold())
    kept = "".join(c for c in plain if not unicodedata.combining(c))
    words = "".join(c if c.isalnum() else " " for c in unicodedata.normalize("NFC", kept))
    return f" {' '.join(words.split())} "


def _decide(rules: Sequence[Rule], one: StudyFacts, other: StudyFacts) -> Decision | None:
    for position, rule in enumerate(rules):
        if not rule.governs(one, other):
            continue
        if one.date is None or other.date is None:
            # Nothing speaks against it; the reader sees the images beside each other.
            reason = f"rule “{rule.name}”: a study without a date"
            return Decision(rule, True, reason, (position, 0))
        days = abs((one.date - other.date).days)
        apart = "on the same day" if days == 0 else f"{days} day{'s' * (days != 1)} apart"
        joins = days <= rule.within_days
        limit = "" if joins else f", allowed are {rule.within_days}"
        return Decision(rule, joins, f"rule “{rule.name}”: {apart}{limit}", (position, days))
    return None


def _of_body(words: tuple[str, ...], study: StudyFacts) -> bool:
    """Words match from the beginning of a word; scripts without spaces anywhere."""
    if not words:
        return True
    return any((word if not word.isascii() else f" {word}") in study.text for word in words)


def _has(terms: tuple[str, ...], study: StudyFacts) -> bool:
    return not terms or any(_is(term, series) for term in terms for series in study.series)


def _is(term: str, series: SeriesFacts) -> bool:
    if term == series.modality or term == series.role or series.role.startswith(f"{term}_"):
        return True
    # No role yet: what the modality allows. The rules are asked again when there is one.
    return not series.role and _modality_of(term) == series.modality


def _modality_of(term: str) -> str:
    for beginning, modality in (("CT", "CT"), ("MR", "MR"), ("PET", "PT")):
        if term.startswith(beginning):
            return modality
    return term
