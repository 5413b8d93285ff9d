"""Which of the studies that a node found are fetched as priors. Pure: no network, no rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date

from workstation.receiving.names import name_key
from workstation.receiving.network.asking import FoundSeries, FoundStudy
from workstation.receiving.regions import overlap, regions_of

LOOKED_AT = 40
"""Studies of a patient whose series are asked for; more than a reader ever compares."""


@dataclass(frozen=True)
class Current:
    """The study that has arrived, and what of its patient is here."""

    study_instance_uid: str
    study_date: date
    patient_id: str
    issuer: str
    name: str
    birth_date: date | None
    regions: frozenset[str]
    series_here: frozenset[str]
    studies_here: frozenset[str]
    """Studies that are here, on their way, or were deleted: none of them is fetched."""


@dataclass(frozen=True)
class Wish:
    """A rule, read: what to fetch."""

    modalities: frozenset[str]
    same_body_part: bool
    since: date
    at_most: int


@dataclass(frozen=True)
class Pick:
    """A study to fetch; with ``series``, only those of it."""

    study: FoundStudy
    series: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choice:
    """What to fetch, what was not known (for the log of the rule), and who is not the same."""

    picks: list[Pick] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)


def choose(
    found: list[FoundStudy],
    current: Current,
    wish: Wish,
    series_of: Callable[[str], list[FoundSeries]],
) -> Choice:
    """Newest first, at most as many as the rule says, and the missing series of the study itself.

    ``series_of`` asks the node for the series of a study; it is called only where the answer
    decides.
    """
    choice = Choice()
    asked = 0
    wanted = 0
    if wish.same_body_part and not current.regions:
        choice.unknown.append("The body part of this study is unknown, so none was compared.")
    for study in found:
        if not _same_person(study, current, choice):
            continue
        if study.study_instance_uid == current.study_instance_uid:
            missing = _missing_series(series_of(study.study_instance_uid), current, wish)
            if missing:
                choice.picks.append(Pick(study, missing))
            continue
        if study.study_instance_uid in current.studies_here or wanted >= wish.at_most:
            continue
        if study.study_date is None:
            choice.unknown.append("A study without a date was left out.")
            continue
        if not wish.since <= study.study_date <= current.study_date:
            continue
        if study.modalities and wish.modalities and not wish.modalities & set(study.modalities):
            continue
        if asked >= LOOKED_AT:
            break
        asked += 1
        series = series_of(study.study_instance_uid)
        if _fits(study, series, current, wish, choice):
            modalities = study.modalities or tuple(sorted({s.modality for s in series} - {""}))
            choice.picks.append(Pick(replace(study, modalities=modalities)))
            wanted += 1
    return choice


def _same_person(study: FoundStudy, current: Current, choice: Choice) -> bool:
    """The node may match loosely, or not at all: compare ID, issuer, name, birth date again."""
    if study.patient_id != current.patient_id:
        return False
    if study.issuer and current.issuer and study.issuer != current.issuer:
        return False
    when = f"{study.study_date:%Y-%m-%d}" if study.study_date else "an unknown date"
    if study.birth_date and current.birth_date and study.birth_date != current.birth_date:
        choice.contradictions.append(
            f"A study of {when} was not fetched: under this patient ID it has the birth date "
            f"{study.birth_date}, here it is {current.birth_date}."
        )
        return False
    if not _same_name(study.patient_name, current.name):
        choice.contradictions.append(
            f"A study of {when} was not fetched: under this patient ID it has the name "
            f"{study.patient_name}, here it is {current.name}."
        )
        return False
    return True


def _same_name(one: str, other: str) -> bool:
    """Alphabetic groups agree, or one leaves out some of the other's words (a middle name)."""
    words, others = (set(name_key(name.split("=")[0]).split()) for name in (one, other))
    return not words or not others or words <= others or others <= words


def _missing_series(
    series: list[FoundSeries], current: Current, wish: Wish
) -> tuple[str, ...]:
    return tuple(
        one.series_instance_uid
        for one in series
        if one.modality in wish.modalities and one.series_instance_uid not in current.series_here
    )


def _fits(
    study: FoundStudy,
    series: list[FoundSeries],
    current: Current,
    wish: Wish,
    choice: Choice,
) -> bool:
    known = set(study.modalities) or {one.modality for one in series} - {""}
    if wish.modalities and not wish.modalities & known:
        return False
    if not wish.same_body_part or not current.regions:
        return True
    regions = regions_of(
        [one.body_part for one in series],
        [study.description, *(one.description for one in series)],
    )
    if not regions:
        choice.unknown.append("A study whose body part the node does not tell was fetched.")
        return True
    return overlap(regions, current.regions)
