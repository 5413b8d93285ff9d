"""Modality Performed Procedure Step and Instance Availability Notification as SCP (PS3.4 F, R).

Only what tells how many objects a study has is kept: status, study, referenced instances.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from django.db import DatabaseError, connection
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import build_context, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import InstanceAvailabilityNotification as NOTIFICATION
from pynetdicom.sop_class import ModalityPerformedProcedureStep as STEP

from workstation.receiving.headers import UID_SHAPE, UNREADABLE
from workstation.receiving.models import StepKind
from workstation.receiving.network.callers import caller_of
from workstation.receiving.services.performed_steps import (
    StepRefused,
    StepReport,
    begin_step,
    change_step,
)

log = logging.getLogger(__name__)

SUCCESS = 0x0000
PROCESSING_FAILURE, NOT_AUTHORISED = 0x0110, 0x0124
KINDS = {str(STEP): StepKind.MPPS, str(NOTIFICATION): StepKind.IAN}
GONE = ("UNAVAILABLE",)
"""Instance Availability (0008,0056) of objects that cannot be fetched; they are not expected."""


def created(event: Event) -> tuple[int | Dataset, Dataset | None]:
    """N-CREATE of a performed step or of a notice."""
    kind = KINDS.get(str(event.request.AffectedSOPClassUID))
    if kind is None:
        return PROCESSING_FAILURE, None
    uid = str(event.request.AffectedSOPInstanceUID or generate_uid(prefix=None))
    try:
        caller = caller_of(event)
        if caller is None:
            return NOT_AUTHORISED, None
        data = event.attribute_list
        report = _step(data) if kind == StepKind.MPPS else _notice(data)
        begin_step(caller.site, uid, report, kind=kind, sent_by=caller.ae_title)
    except StepRefused as refusal:
        return _refused(refusal), None
    except UNREADABLE:
        return PROCESSING_FAILURE, None
    except DatabaseError as error:
        return _not_written(error), None
    answer = Dataset()
    answer.AffectedSOPInstanceUID = uid
    return SUCCESS, answer


def changed(event: Event) -> tuple[int | Dataset, Dataset | None]:
    """N-SET of a performed step."""
    try:
        caller = caller_of(event)
        if caller is None:
            return NOT_AUTHORISED, None
        uid = str(event.request.RequestedSOPInstanceUID)
        change_step(caller.site, uid, _step(event.modification_list))
    except StepRefused as refusal:
        return _refused(refusal), None
    except UNREADABLE:
        return PROCESSING_FAILURE, None
    except DatabaseError as error:
        return _not_written(error), None
    return SUCCESS, None


def _refused(refusal: StepRefused) -> Dataset:
    answer = Dataset()
    answer.Status, answer.ErrorComment = refusal.status, str(refusal)
    return answer


def _not_written(error: DatabaseError) -> int:
    log.error("performed step not written: database error %s", type(error).__name__)
    connection.close()
    return PROCESSING_FAILURE


def _step(data: Dataset) -> StepReport:
    """PS3.3 C.4.13 to C.4.15. A step of several scheduled procedures names their one study."""
    scheduled = data.get("ScheduledStepAttributesSequence") or []
    series = data.get("PerformedSeriesSequence")
    status = data.get("PerformedProcedureStepStatus")
    return StepReport(
        status=str(status) if status else None,
        study_instance_uid=next((_uid(item, "StudyInstanceUID") for item in scheduled), None),
        references=None if series is None else frozenset(_performed(series)),
    )


def _performed(series: list[Dataset]) -> Iterator[str]:
    for one in series:
        for keyword in (
            "ReferencedImageSequence", "ReferencedNonImageCompositeSOPInstanceSequence",
        ):  # fmt: skip
            for item in one.get(keyword) or []:
                if uid := _uid(item, "ReferencedSOPInstanceUID"):
                    yield uid


def _notice(data: Dataset) -> StepReport:
    """PS3.3 C.4.23: one study, its series, their objects and whether they can be fetched."""
    return StepReport(
        study_instance_uid=_uid(data, "StudyInstanceUID"),
        references=frozenset(
            uid
            for series in data.get("ReferencedSeriesSequence") or []
            for item in series.get("ReferencedSOPSequence") or []
            if str(item.get("InstanceAvailability", "")) not in GONE
            and (uid := _uid(item, "ReferencedSOPInstanceUID"))
        ),
    )


def _uid(item: Dataset, keyword: str) -> str:
    text = str(item.get(keyword, ""))
    return text if len(text) <= 64 and UID_SHAPE.fullmatch(text) else ""


CONTEXTS = [build_context(STEP), build_context(NOTIFICATION)]
HANDLERS: list[Any] = [(evt.EVT_N_CREATE, created), (evt.EVT_N_SET, changed)]
"""What the listener adds to its own."""
