"""C-FIND: ask a node what it has (Query/Retrieve, study root, PS3.4 annex C).

A node may ignore any key that it does not support, so answers are compared again by whoever needs
them to match. Text travels as UTF-8 when it is not ASCII, and comes back in the character set that
each answer names.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from datetime import time as clock_time

import pydicom
from pydicom.dataset import Dataset
from pynetdicom import build_context
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as FIND

from workstation.receiving.headers import ESCAPE, UNREADABLE
from workstation.receiving.models import RemoteNode
from workstation.receiving.network.calling import NotReached, association

PENDING = (0xFF00, 0xFF01)
CANCELLED = 0xFE00
SUCCESS = 0x0000
LIMIT = 200
LONGEST_SECONDS = 60.0
"""A question whose answers go on for longer is cut off."""
AFTER_CANCEL = 2_000
"""Answers that may still come after a cancel before the association is aborted."""
STUDY_KEYS = (
    "StudyInstanceUID", "PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate",
    "PatientSex", "StudyDate", "StudyTime", "AccessionNumber", "StudyDescription",
    "ModalitiesInStudy", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances",
)  # fmt: skip
SERIES_KEYS = (
    "SeriesInstanceUID", "Modality", "SeriesDescription", "BodyPartExamined",
    "NumberOfSeriesRelatedInstances",
)  # fmt: skip
MESSAGE_ID = 1


@dataclass(frozen=True)
class Question:
    """What to look for; empty fields match everything. Names may end in ``*``."""

    patient_id: str = ""
    issuer: str = ""
    patient_name: str = ""
    birth_date: date | None = None
    accession_number: str = ""
    modality: str = ""
    study_instance_uid: str = ""
    since: date | None = None
    until: date | None = None

    @property
    def is_empty(self) -> bool:
        """Nothing that narrows the answer; a node would list its whole archive."""
        return self == Question()


@dataclass(frozen=True)
class FoundStudy:
    """A study that a node says it has, decoded."""

    study_instance_uid: str
    patient_id: str = ""
    issuer: str = ""
    patient_name: str = ""
    birth_date: date | None = None
    sex: str = ""
    study_date: date | None = None
    study_time: clock_time | None = None
    accession_number: str = ""
    description: str = ""
    modalities: tuple[str, ...] = ()
    series: int | None = None
    instances: int | None = None


@dataclass(frozen=True)
class FoundSeries:
    """A series that a node says it has."""

    series_instance_uid: str
    modality: str = ""
    description: str = ""
    body_part: str = ""
    instances: int | None = None


@dataclass(frozen=True)
class FoundInstance:
    sop_instance_uid: str
    sop_class_uid: str = ""


@dataclass(frozen=True)
class Answer:
    """Studies, newest first. ``more``: the node had more than the limit, and was cancelled."""

    studies: list[FoundStudy] = field(default_factory=list)
    more: bool = False


def find_studies(node: RemoteNode, question: Question, *, limit: int = LIMIT) -> Answer:
    """Ask for studies. Raises :class:`NotReached`."""
    with association(node, [build_context(FIND)]) as link:
        answers, more = _ask(link, _study_identifier(question), limit)
    found = {one.study_instance_uid: one for one in map(_study, answers)}
    found.pop("", None)
    newest = sorted(
        found.values(),
        key=lambda one: (one.study_date or date.min, one.study_time or clock_time.min),
        reverse=True,
    )
    return Answer(newest, more)


def find_series(node: RemoteNode, study_instance_uid: str) -> list[FoundSeries]:
    """The series of a study. Raises :class:`NotReached`."""
    with association(node, [build_context(FIND)]) as link:
        return series_over(link, study_instance_uid)


def series_over(link: Association, study_instance_uid: str) -> list[FoundSeries]:
    """As :func:`find_series`, on an open association."""
    identifier = _identifier("SERIES", SERIES_KEYS)
    identifier.StudyInstanceUID = study_instance_uid
    answers, _ = _ask(link, identifier, None)
    found = {one.series_instance_uid: one for one in map(_series, answers)}
    found.pop("", None)
    return list(found.values())


def instances_over(link: Association, study: str, series: str) -> list[FoundInstance]:
    """The objects of a series, on an open association. Raises :class:`NotReached`."""
    identifier = _identifier("IMAGE", ("SOPInstanceUID", "SOPClassUID"))
    identifier.StudyInstanceUID, identifier.SeriesInstanceUID = study, series
    answers, _ = _ask(link, identifier, None)
    found = {
        uid: FoundInstance(uid, _text(one, "SOPClassUID"))
        for one in answers
        if (uid := _text(one, "SOPInstanceUID"))
    }
    return list(found.values())


def _identifier(level: str, keys: tuple[str, ...]) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    for key in keys:
        setattr(identifier, key, "")
    return identifier


def _study_identifier(question: Question) -> Dataset:
    identifier = _identifier("STUDY", STUDY_KEYS)
    texts = {
        "PatientID": question.patient_id,
        "IssuerOfPatientID": question.issuer,
        "PatientName": question.patient_name,
        "AccessionNumber": question.accession_number,
        "ModalitiesInStudy": question.modality,
        "StudyInstanceUID": question.study_instance_uid,
        "PatientBirthDate": _da(question.birth_date),
        "StudyDate": _range(question.since, question.until),
    }
    for key, value in texts.items():
        setattr(identifier, key, value)
    if not all(value.isascii() for value in texts.values()):
        identifier.SpecificCharacterSet = "ISO_IR 192"
    return identifier


def _da(day: date | None) -> str:
    return f"{day:%Y%m%d}" if day else ""


def _range(since: date | None, until: date | None) -> str:
    return f"{_da(since)}-{_da(until)}" if since or until else ""


def _ask(
    link: Association, identifier: Dataset, limit: int | None
) -> tuple[list[Dataset], bool]:
    """All answers, or the first ``limit`` and True; then the rest is cancelled."""
    found: list[Dataset] = []
    surplus = 0
    for answer in _answers(link, identifier):
        if limit is None or len(found) < limit:
            found.append(answer)
            continue
        surplus += 1
        if surplus == 1:
            link.send_c_cancel(MESSAGE_ID, query_model=FIND)
        elif surplus > AFTER_CANCEL:
            link.abort()
            break
    return found, surplus > 0


def _answers(link: Association, identifier: Dataset) -> Iterator[Dataset]:
    until = time.monotonic() + LONGEST_SECONDS
    for status, answer in link.send_c_find(identifier, FIND, msg_id=MESSAGE_ID):
        if "Status" not in status:
            raise NotReached("The connection broke, or the node did not answer in time.")
        if status.Status in PENDING:
            if answer is None:
                raise NotReached("The node sent an answer that cannot be read.")
            yield answer
        elif status.Status not in (SUCCESS, CANCELLED):
            raise NotReached(f"The node answered the query with status 0x{status.Status:04X}.")
        if time.monotonic() > until:
            raise NotReached("The node took too long to answer; ask for less.")


def _study(answer: Dataset) -> FoundStudy:
    return FoundStudy(
        study_instance_uid=_text(answer, "StudyInstanceUID"),
        patient_id=_text(answer, "PatientID"),
        issuer=_text(answer, "IssuerOfPatientID"),
        patient_name=_text(answer, "PatientName"),
        birth_date=_date(_text(answer, "PatientBirthDate")),
        sex=_text(answer, "PatientSex"),
        study_date=_date(_text(answer, "StudyDate")),
        study_time=_time(_text(answer, "StudyTime")),
        accession_number=_text(answer, "AccessionNumber"),
        description=_text(answer, "StudyDescription"),
        modalities=tuple(
            dict.fromkeys(m for m in _text(answer, "ModalitiesInStudy").split("\\") if m)
        ),
        series=_count(_text(answer, "NumberOfStudyRelatedSeries")),
        instances=_count(_text(answer, "NumberOfStudyRelatedInstances")),
    )


def _series(answer: Dataset) -> FoundSeries:
    return FoundSeries(
        series_instance_uid=_text(answer, "SeriesInstanceUID"),
        modality=_text(answer, "Modality"),
        description=_text(answer, "SeriesDescription"),
        body_part=_text(answer, "BodyPartExamined"),
        instances=_count(_text(answer, "NumberOfSeriesRelatedInstances")),
    )


def _text(answer: Dataset, keyword: str) -> str:
    """Decoded text; an element that cannot be decoded counts as not answered."""
    try:
        value = answer.get(keyword)
        if isinstance(value, pydicom.multival.MultiValue):
            value = "\\".join(str(part) for part in value)
        return ESCAPE.sub("", str(value or "")).replace("\x00", "").strip()
    except UNREADABLE:
        return ""


def _count(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 9 else None


def _date(text: str) -> date | None:
    try:
        return datetime.strptime(text[:8], "%Y%m%d").date()
    except ValueError:
        return None


def _time(text: str) -> clock_time | None:
    try:
        return datetime.strptime(text[:6], "%H%M%S").time()
    except ValueError:
        return None


def as_name_key(text: str) -> str:
    """What a person types, as a PN key: ``Müller, Anna`` → ``Müller*^Anna*``; empty stays empty."""
    parts = [part.strip().rstrip("*") for part in text.replace("^", ",").split(",")]
    parts = [f"{part}*" for part in parts if part]
    return "^".join(parts)
