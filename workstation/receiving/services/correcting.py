"""Accept a refused object after a person corrected what it says about itself."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext

from workstation.accounts.models import User
from workstation.accounts.services import record
from workstation.live import publish
from workstation.receiving import corrections, storage
from workstation.receiving.headers import NotAccepted
from workstation.receiving.models import Instance, Quarantined, QuarantineState, Series, Study
from workstation.receiving.outcomes import Outcome
from workstation.receiving.services.quarantining import (
    CannotHandle,
    finish_held,
    locked_held,
    opened_bytes,
    take_again,
)

AT_ONCE = 1000


class StillRefused(Exception):
    """The corrected object was refused too; the text says why."""


def is_correctable(held: Quarantined) -> bool:
    """Whether a person could lift the refusal by correcting the header."""
    return held.state == QuarantineState.HELD and held.code in corrections.CAUSES


def look_at(held: Quarantined, user: User, *, address: str = "") -> corrections.Found:
    """What the object says, patient data included: who looks is written down."""
    with opened_bytes(held) as file:
        found = corrections.read(file)
    record("view", user=user, site=held.site, obj=held, remote_address=address)
    return found


def stored_otherwise(held: Quarantined, values: dict[str, str]) -> str:
    """What of the archive the object contradicts, in a sentence; empty if nothing."""
    if held.code == "other_patient":
        study = (
            Study.objects.filter(site=held.site, study_instance_uid=values["StudyInstanceUID"])
            .select_related("patient")
            .first()
        )
        return f"The study is stored under patient ID {study.patient.patient_id}." if study else ""
    if held.code == "other_study":
        series = (
            Series.objects.filter(
                study__site=held.site, series_instance_uid=values["SeriesInstanceUID"]
            )
            .select_related("study")
            .first()
        )
        if series:
            return f"The series is stored in study {series.study.study_instance_uid}."
    if held.code == "conflicting":
        first = Instance.objects.filter(
            site=held.site, sop_instance_uid=values["SOPInstanceUID"]
        ).first()
        if first:
            return f"The first object came {first.received_at:%Y-%m-%d %H:%M} from {first.source}."
    return ""


def of_the_same_study(held: Quarantined, values: dict[str, str]) -> list[Quarantined]:
    """Other held objects of this study, refused for the same reason from the same sender.

    Empty when the patient ID is not what is at fault: UIDs belong to one object each.
    """
    study = values["StudyInstanceUID"]
    if corrections.CAUSES.get(held.code) != "PatientID" or not study:
        return []
    others = Quarantined.objects.filter(
        site=held.site, source=held.source, code=held.code, state=QuarantineState.HELD
    ).exclude(pk=held.pk)
    return [other for other in others.order_by("pk")[:AT_ONCE] if _study_of(other) == study]


def _study_of(held: Quarantined) -> str:
    try:
        with opened_bytes(held) as file:
            return corrections.read(file).values["StudyInstanceUID"]
    except (CannotHandle, corrections.CannotCorrect):
        return ""


def accept_likewise(
    others: list[Quarantined],
    user: User,
    changes: dict[str, str],
    reason: str,
    *,
    address: str = "",
) -> tuple[int, int]:
    """Whose image it is, corrected for others as well: how many were accepted, and how many not."""
    shared = {key: value for key, value in changes.items() if not key.endswith("UID")}
    accepted = 0
    for other in others:
        try:
            accept_corrected(other, user, shared, reason, address=address)
            accepted += 1
        except (CannotHandle, corrections.CannotCorrect, StillRefused):
            continue  # it stays in quarantine and can be corrected by itself
    return accepted, len(others) - accepted


def accept_corrected(
    held: Quarantined, user: User, changes: dict[str, str], reason: str, *, address: str = ""
) -> Outcome:
    """Store a corrected copy; the refused bytes stay as they came, with what was changed.

    Raises :class:`CannotHandle`, :class:`corrections.CannotCorrect`, :class:`StillRefused`.
    """
    if not reason.strip():
        raise CannotHandle(gettext("Say why this correction is right."))
    if not is_correctable(held):
        raise CannotHandle(gettext("This entry cannot be accepted by a correction."))
    with transaction.atomic():
        locked_held(held)
    with opened_bytes(held) as file:
        before = corrections.read(file).values
        changes = {key: value for key, value in changes.items() if value != before[key]}
        if not changes:
            raise corrections.CannotCorrect(gettext("Nothing was changed."))
        file.seek(0)
        written = corrections.write(file, changes, source=held.source, now=timezone.localtime())
    with storage.staged([written]) as staged:
        try:
            outcome = take_again(held, staged)
        except NotAccepted as refusal:
            raise StillRefused(refusal.reason) from None
    _write_corrected(held, user, before, changes, outcome, reason.strip(), address)
    return outcome


@transaction.atomic
def _write_corrected(
    held: Quarantined,
    user: User,
    before: dict[str, str],
    changes: dict[str, str],
    outcome: Outcome,
    reason: str,
    address: str,
) -> None:
    row = locked_held(held)
    row.correction = {
        "changed": {key: {"from": before[key], "to": value} for key, value in changes.items()},
        "instance": outcome.instance_id,
    }
    row.save(update_fields=["correction"])
    finish_held(row, QuarantineState.CORRECTED, user, reason)
    record(
        "quarantine", user=user, site=row.site, obj=row, remote_address=address,
        detail={
            "action": "correct", "changed": sorted(changes), "result": outcome.result,
            "instance": outcome.instance_id,
        },
    )  # fmt: skip
    publish(row.site_id, "quarantine")
