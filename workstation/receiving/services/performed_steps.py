"""What senders say about their objects: MPPS of scanners, availability notices of archives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction

from workstation.accounts.models import Site
from workstation.receiving.models import PerformedStep, StepKind, Study
from workstation.receiving.services.deidentifying import archived_uids
from workstation.receiving.services.expecting import note_announced

IN_PROGRESS, COMPLETED, DISCONTINUED = "IN PROGRESS", "COMPLETED", "DISCONTINUED"
STATES = (IN_PROGRESS, COMPLETED, DISCONTINUED)
AVAILABLE = "AVAILABLE"
"""Our word for a notice of availability, which has no status of its own."""


class StepRefused(Exception):
    """``status`` is the DIMSE-N answer (PS3.7 annex C, PS3.4 F.7.2), the text its comment."""

    def __init__(self, status: int, comment: str) -> None:
        super().__init__(comment)
        self.status = status


@dataclass(frozen=True)
class StepReport:
    """What one message says. None: the message does not speak of it."""

    status: str | None = None
    study_instance_uid: str | None = None
    references: frozenset[str] | None = None


DUPLICATE, NO_SUCH_INSTANCE, INVALID_VALUE, NOT_ANY_MORE = 0x0111, 0x0112, 0x0106, 0x0110


@transaction.atomic
def begin_step(
    site: Site, uid: str, report: StepReport, *, kind: StepKind, sent_by: str
) -> PerformedStep:
    """N-CREATE: a scanner begins an examination, or an archive lists what it has.

    Raises :class:`StepRefused`.
    """
    if PerformedStep.objects.filter(site=site, sop_instance_uid=uid).exists():
        raise StepRefused(DUPLICATE, "known already")
    status = AVAILABLE if kind == StepKind.IAN else (report.status or "")
    if kind == StepKind.MPPS and status != IN_PROGRESS:
        raise StepRefused(INVALID_VALUE, "begins IN PROGRESS")
    step = PerformedStep(
        site=site, sop_instance_uid=uid, kind=kind, sent_by=sent_by[:16], status=status
    )
    _write(step, report)
    return step


@transaction.atomic
def change_step(site: Site, uid: str, report: StepReport) -> PerformedStep:
    """N-SET: the examination goes on, or has ended. Raises :class:`StepRefused`."""
    step = (
        PerformedStep.objects.select_for_update()
        .filter(site=site, sop_instance_uid=uid, kind=StepKind.MPPS)
        .first()
    )
    if step is None:
        raise StepRefused(NO_SUCH_INSTANCE, "no such performed step")
    if step.status != IN_PROGRESS:
        raise StepRefused(NOT_ANY_MORE, "may no longer be updated")
    if report.status is not None:
        if report.status not in STATES:
            raise StepRefused(INVALID_VALUE, "unknown status")
        step.status = report.status
    _write(step, report)
    return step


def _write(step: PerformedStep, report: StepReport) -> None:
    # What a sender is de-identified for is announced under other UIDs than it is archived.
    archived = archived_uids(step.site, f"dimse:{step.sent_by}")
    if report.study_instance_uid:
        step.study_instance_uid = archived(report.study_instance_uid)[:64]
    if report.references is not None:
        step.references = sorted(archived(uid) for uid in report.references)
        step.instances = len(report.references)
    step.save()
    studies: Iterable[Study] = Study.objects.select_for_update().filter(
        site=step.site, study_instance_uid=step.study_instance_uid, completed_at=None
    )
    for study in studies:
        note_announced(study)
