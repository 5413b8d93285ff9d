"""STOW-RS: a multipart request becomes stored or quarantined objects (PS3.18 10.5).

Each part is staged on the disk while it is read; batches go through the store verb, each in one
transaction. What came whole is kept even if the request breaks off.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import NamedTuple

import pydicom

from workstation.accounts.models import Site
from workstation.receiving import storage
from workstation.receiving.dicomweb.encoding import Json, element
from workstation.receiving.dicomweb.parsing import NotMultipart, Part
from workstation.receiving.headers import UNREADABLE, Header, NotAccepted, read_header
from workstation.receiving.models import Instance
from workstation.receiving.outcomes import Outcome, Result
from workstation.receiving.services import quarantine, store_many
from workstation.receiving.services.storing import Arrival
from workstation.receiving.structure import DEFLATED

LONGEST_META = 4096
BATCH_FILES = 100
BATCH_BYTES = 256 * 1024**2
DICOM = "application/dicom"
OUT_OF_RESOURCES, OTHER_STUDY, NOT_UNDERSTOOD = 0xA700, 0xA900, 0xC000
DUPLICATE, CLASS_NOT_SUPPORTED = 0x0111, 0x0122
COERCED = 0xB000
"""Failure and warning reasons (PS3.4 B.2.3, PS3.7 C.4)."""
REASONS = {
    "conflicting": DUPLICATE,
    "not_storage": CLASS_NOT_SUPPORTED,
    "dicomdir": CLASS_NOT_SUPPORTED,
}


@dataclass(frozen=True)
class Said:
    """Who a part says it is; empty where it cannot be read."""

    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    study_instance_uid: str = ""


CUT_OFF = NotAccepted("truncated", "The request broke off in the middle of this object.")
NOT_DICOM = NotAccepted("not_dicom", "The request says itself that this part is no DICOM file.")
WRONG_PATH = NotAccepted(
    "wrong_path", "The object was sent to the address of another study than its header names."
)
Taken = tuple[Said, storage.Staged, Header | None]
"""A part on the disk."""


@dataclass
class Answer:
    """What became of the parts of one request."""

    stored: list[tuple[Said, int]] = field(default_factory=list)
    """With the instance's primary key."""
    failed: list[tuple[Said, int]] = field(default_factory=list)
    """With the failure reason."""
    codes: dict[str, int] = field(default_factory=dict)
    """Why objects were not stored: code -> number, for people."""

    def refuse(self, said: Said, reason: int, code: str) -> None:
        self.failed.append((said, reason))
        self.codes[code] = self.codes.get(code, 0) + 1

    @property
    def status(self) -> int:
        """200 all stored, 202 some, 409 none (PS3.18 table 10.5.3-1)."""
        if not self.failed:
            return 200
        return 202 if self.stored else 409


def store(site: Site, parts: Iterable[Part], *, source: str, study: str = "") -> Answer:
    """Take the parts of a request in. ``study``: the UID its path names, which all must have.

    A full disk and a body that cannot be read end the request; what came before is kept.
    """
    answer = Answer()
    waiting = iter(parts)
    more = True
    while more:
        with ExitStack() as stack:
            batch: list[Taken] = []
            more = _fill(batch, waiting, stack, answer, site, source, study)
            _store(site, batch, source, answer)
    return answer


def _fill(
    batch: list[Taken], waiting: Iterator[Part], stack: ExitStack,
    answer: Answer, site: Site, source: str, study: str,
) -> bool:  # fmt: skip
    """Stage parts until the batch is full; whether there may be more."""
    files = size = 0
    while files < BATCH_FILES and size < BATCH_BYTES:
        try:
            part = next(waiting, None)
            if part is None:
                return False
            is_dicom = part.media_type in (DICOM, "")
            staged = stack.enter_context(storage.staged(part.pieces(), sync_soon=True))
            files, size = files + 1, size + staged.size
            if not part.whole:
                # Cut off between two elements it may look like a whole object, and is none.
                quarantine(site, staged, CUT_OFF, source=source)
                answer.refuse(_said(staged)[0], NOT_UNDERSTOOD, CUT_OFF.code)
                return False
            if not is_dicom:
                quarantine(site, staged, NOT_DICOM, source=source)
                answer.refuse(Said(), NOT_UNDERSTOOD, NOT_DICOM.code)
                continue
            said, header = _said(staged)
            if study and header is not None and header.study_instance_uid != study:
                quarantine(site, staged, WRONG_PATH, source=source)
                answer.refuse(said, OTHER_STUDY, WRONG_PATH.code)
                continue
        except NotMultipart:
            answer.refuse(Said(), NOT_UNDERSTOOD, "broken_body")
            return False
        except storage.StorageFull:
            answer.refuse(Said(), OUT_OF_RESOURCES, "disk_full")
            return False
        batch.append((said, staged, header))
    return True


def _said(staged: storage.Staged) -> tuple[Said, Header | None]:
    """Who a part says it is, and its header if it is fit to be stored."""
    try:
        found = read_header(staged.path)
    except NotAccepted:
        return _said_by_refused(staged), None
    said = Said(found.sop_class_uid, found.sop_instance_uid, found.study_instance_uid)
    return said, found


def _said_by_refused(staged: storage.Staged) -> Said:
    tags = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID"]
    try:
        if _is_deflated(staged):
            return Said()  # pydicom would unpack any amount
        header = pydicom.dcmread(staged.path, stop_before_pixels=True, specific_tags=list(tags))
        return Said(*(str(header.get(tag) or "") for tag in tags))
    except (NotAccepted, *UNREADABLE):
        return Said()


def _is_deflated(staged: storage.Staged) -> bool:
    with staged.path.open("rb") as file:
        beginning = file.read(LONGEST_META)
    return any(syntax.encode() in beginning for syntax in DEFLATED)


def _store(site: Site, batch: list[Taken], source: str, answer: Answer) -> None:
    arrivals = [Arrival(site, staged, source, header=header) for _, staged, header in batch]
    try:
        outcomes = store_many(arrivals)
    except storage.StorageFull:
        for (said, _, _), arrival in zip(batch, arrivals, strict=True):
            _store_alone(said, arrival, answer)
        return
    for (said, _, _), outcome in zip(batch, outcomes, strict=True):
        _note(answer, said, outcome)


def _store_alone(said: Said, arrival: Arrival, answer: Answer) -> None:
    """The disk is full: some may be stored by now, and a small one may still fit."""
    try:
        [outcome] = store_many([arrival])
    except storage.StorageFull:
        answer.refuse(said, OUT_OF_RESOURCES, "disk_full")
    else:
        _note(answer, said, outcome)


def _note(answer: Answer, said: Said, outcome: Outcome) -> None:
    if outcome.result in (Result.STORED, Result.REPEATED) and outcome.instance_id is not None:
        answer.stored.append((said, outcome.instance_id))
    else:
        answer.refuse(said, REASONS.get(outcome.code, NOT_UNDERSTOOD), outcome.code)


def as_json(answer: Answer, root: str) -> Json:
    """The Store Instances Response Module (PS3.18 table I.1-1)."""
    rows = _rows([key for _, key in answer.stored])
    found: Json = {}
    studies = {row.study_instance_uid for row in rows.values()}
    if len(studies) == 1:
        found["00081190"] = element("UR", f"{root}/studies/{studies.pop()}")
    referenced = [_referenced(said, rows[key], root) for said, key in answer.stored]
    if referenced:
        found["00081199"] = {"vr": "SQ", "Value": referenced}
    named = [pair for pair in answer.failed if pair[0].sop_instance_uid]
    if named:
        found["00081198"] = {"vr": "SQ", "Value": [_failed(*pair) for pair in named]}
    nameless = [pair for pair in answer.failed if not pair[0].sop_instance_uid]
    if nameless:
        found["0008119A"] = {"vr": "SQ", "Value": [_failed(*pair) for pair in nameless]}
    return dict(sorted(found.items()))


class Row(NamedTuple):
    """What a stored object is called here."""

    pk: int
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str

    def url(self, root: str) -> str:
        return (
            f"{root}/studies/{self.study_instance_uid}/series/{self.series_instance_uid}"
            f"/instances/{self.sop_instance_uid}"
        )


def _rows(keys: list[int]) -> dict[int, Row]:
    found = Instance.objects.filter(pk__in=keys).values_list(
        "pk", "sop_class_uid", "sop_instance_uid", "series__series_instance_uid",
        "series__study__study_instance_uid",
    )  # fmt: skip
    return {row.pk: row for row in map(Row._make, found)}


def _referenced(said: Said, row: Row, root: str) -> Json:
    """As the sender calls it. One that was de-identified has another UID here: a warning."""
    item = {
        "00081150": element("UI", said.sop_class_uid or row.sop_class_uid),
        "00081155": element("UI", said.sop_instance_uid or row.sop_instance_uid),
    }
    if said.sop_instance_uid in ("", row.sop_instance_uid):
        item["00081190"] = element("UR", row.url(root))
    else:
        item["00081196"] = element("US", COERCED)
    return item


def _failed(said: Said, reason: int) -> Json:
    item = {"00081197": element("US", reason)}
    if said.sop_instance_uid:
        item = {
            "00081150": element("UI", said.sop_class_uid),
            "00081155": element("UI", said.sop_instance_uid),
            **item,
        }
    return item
