"""What contradicts what: shown with the study and in its case, never merged away silently."""

from __future__ import annotations

from datetime import date, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from workstation.accounts.models import Site
from workstation.receiving.models import NoticeLevel, Patient, Series, Study, StudyNotice

PATIENT_DIFFERS = "patient_differs"
ACCESSION_SHARED = "accession_shared"
UID_ELSEWHERE = "uid_elsewhere"
DATES_DIFFER = "dates_differ"
OBJECTS_REFUSED = "objects_refused"
CONFLICTS: dict[str, str] = {
    PATIENT_DIFFERS: "Another name, birth date or sex under the same ID",
    ACCESSION_SHARED: "Accession number of two patients",
    UID_ELSEWHERE: "Study UID of another site's person",
    DATES_DIFFER: "Study and acquisition dates",
    OBJECTS_REFUSED: "UIDs used twice",
}
"""Notice code -> its kind, as the archive's filter names it."""
REFUSED: dict[str, str] = {
    "other_patient": "Objects that name this study, but another patient ID, were refused.",
    "other_study": "Objects of a series of this study that name another study were refused.",
    "conflicting": "Objects with an instance UID of this study, but other content, were refused.",
}
"""Quarantine code -> what the study's reader should know."""
MOST_NAMED = 5
MOST_COMPARED = 50
"""A number that a site gives to everything (``0``) would make every study name all others."""
ONE_DAY = timedelta(days=1)
"""An examination over midnight has two dates."""


def with_conflicts(studies: QuerySet[Study]) -> QuerySet[Study]:
    """Only the studies that something contradicts."""
    notices = StudyNotice.objects.filter(study=OuterRef("pk"), code__in=CONFLICTS)
    return studies.filter(Exists(notices))


@transaction.atomic
def note_study_conflicts(study: Study) -> None:
    """Compare the study with all others; what is no longer true is taken away again.

    Called when a study is complete and when it changes its patient.
    """
    same = _under_one_accession(study)
    for one in same:
        others = {other.patient_id: other.patient for other in same}
        others.pop(one.patient_id)
        _set(one, ACCESSION_SHARED, _accession_texts(one, list(others.values())))
    elsewhere = _same_uid_elsewhere(study)
    _set(study, UID_ELSEWHERE, [_elsewhere_text()] if elsewhere else [])
    for other in elsewhere:
        _set(other, UID_ELSEWHERE, [_elsewhere_text()])


def note_series_dates(study: Study, series: Series, acquired: date | None) -> None:
    """Tell when a series was acquired on another day than its study says it was."""
    if acquired is None or study.study_date is None:
        return
    if abs(acquired - study.study_date) > ONE_DAY:
        number = "" if series.series_number is None else f" {series.series_number}"
        note(
            study, DATES_DIFFER, NoticeLevel.WARN,
            f"Series{number} ({series.modality}) was acquired on {acquired:%Y-%m-%d} by its "
            f"header, but its study is dated {study.study_date:%Y-%m-%d}.",
        )  # fmt: skip


def note_refusal(site: Site, code: str, study_uid: str, series_uid: str, sop_uid: str) -> None:
    """Something in quarantine claims a UID of a stored study: its reader is told."""
    if code not in REFUSED:
        return
    studies = Study.objects.filter(site=site)
    if code == "other_patient":
        found = studies.filter(study_instance_uid=study_uid)
    elif code == "other_study":
        found = studies.filter(series__series_instance_uid=series_uid)
    else:
        found = studies.filter(
            series__instances__site=site, series__instances__sop_instance_uid=sop_uid
        )
    for study in found.distinct():
        text = f"{REFUSED[code]} They wait in the quarantine."
        note(study, OBJECTS_REFUSED, NoticeLevel.WARN, text)


def note(study: Study, code: str, level: NoticeLevel, text: str) -> None:
    """Keep a notice once."""
    StudyNotice.objects.get_or_create(
        study=study, code=code, text=text[:400], defaults={"level": level}
    )


def _set(study: Study, code: str, texts: list[str]) -> None:
    """Exactly these notices of this code."""
    study.notices.filter(code=code).exclude(text__in=[text[:400] for text in texts]).delete()
    for text in texts:
        note(study, code, NoticeLevel.WARN, text)


def _under_one_accession(study: Study) -> list[Study]:
    """The site's studies under the same accession number, this one included."""
    if not study.accession_number:
        return []
    rows = Study.objects.filter(site=study.site_id, accession_number=study.accession_number)
    return list(rows.select_related("patient").order_by("pk")[:MOST_COMPARED])


def _accession_texts(study: Study, others: list[Patient]) -> list[str]:
    if len(others) > MOST_NAMED:
        return [
            f"The accession number {study.accession_number} is also used for at least "
            f"{len(others)} other patients. It identifies no order."
        ]
    return [_accession_text(study, other) for other in others]


def _accession_text(study: Study, other: Patient) -> str:
    return (
        f"The accession number {study.accession_number} is also used for another patient "
        f"({other.display_name or 'no name'}, ID {other.patient_id}). "
        "Make sure that the report goes to the right order."
    )


def _same_uid_elsewhere(study: Study) -> list[Study]:
    """The same study UID at another site for somebody else.

    A copy of one person's study at two sites is ordinary, so only another person is a conflict;
    the text says nothing about the other site's patient.
    """
    rows = Study.objects.filter(study_instance_uid=study.study_instance_uid)
    return [
        other
        for other in rows.exclude(site=study.site_id).select_related("patient")
        if _another_person(study.patient, other.patient)
    ]


def _elsewhere_text() -> str:
    return (
        "Another site received a study with the same UID for a person with another name or birth "
        "date. One of the two names the wrong person, or reused the UID."
    )


def _another_person(one: Patient, other: Patient) -> bool:
    names = one.name_key and other.name_key and one.name_key != other.name_key
    born = one.birth_date and other.birth_date and one.birth_date != other.birth_date
    return bool(names or born)
