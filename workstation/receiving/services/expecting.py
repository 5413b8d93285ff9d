"""How many images a study will have, and who says so.

A scanner (MPPS) or an archive (Instance Availability Notification) that announces its objects is
believed before a node that is asked for a count (C-FIND). Where nobody says anything, only the
quiet time decides.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction

from workstation.live import publish
from workstation.receiving.models import (
    Inquiry,
    InquiryPurpose,
    InquiryState,
    Instance,
    PerformedStep,
    RemoteNode,
    StepKind,
    Study,
)
from workstation.receiving.services.inquiring import AGAIN, ask, ask_again

GOING_ON = "IN PROGRESS"
SAID_BY = {
    StepKind.MPPS: "the scanner (MPPS)",
    StepKind.IAN: "the archive (instance availability)",
}


@dataclass(frozen=True)
class Announced:
    """What performed steps and availability notices say of a study. ``going_on``: an examination
    step has not ended."""

    instances: int | None
    said_by: str
    going_on: bool


def announced(study: Study) -> Announced:
    """Distinct objects over all ended steps and notices."""
    steps = PerformedStep.objects.filter(
        site_id=study.site_id, study_instance_uid=study.study_instance_uid
    )
    uids: set[str] = set()
    kinds: set[str] = set()
    going_on = False
    for step in steps:
        if step.status == GOING_ON:
            going_on = True
        else:
            uids |= set(step.references)
            kinds.add(step.kind)
    if not uids:
        return Announced(None, "", going_on)
    first = StepKind.MPPS if StepKind.MPPS in kinds else StepKind.IAN
    return Announced(len(uids), SAID_BY[first], going_on)


def note_announced(study: Study) -> Announced:
    """Keep with the study what its senders announced, if they did."""
    found = announced(study)
    if found.instances is not None:
        _expect(study, found.instances, found.said_by)
    return found


def _expect(study: Study, instances: int, said_by: str) -> None:
    if (study.expected_instances, study.expected_from) == (instances, said_by[:80]):
        return
    study.expected_instances, study.expected_from = instances, said_by[:80]
    study.save(update_fields=["expected_instances", "expected_from"])
    publish(study.site_id, "upload")


@transaction.atomic
def note_count(inquiry: Inquiry, instances: int | None) -> None:
    """A node was asked how many images the study has; None: it did not say."""
    study = Study.objects.select_for_update().get(pk=inquiry.study_id)
    if instances and announced(study).instances is None:
        _expect(study, instances, inquiry.node.name)


def count_is_open(study: Study) -> bool:
    """Whether a node still has to say how many images there are; asks it, if nobody has.

    Asked again when images came since: a node that passes a study on learns of them one by one.
    """
    if study.deidentified:
        return False  # no node knows it by this UID
    node = (
        RemoteNode.objects.filter(site_id=study.site_id, active=True, tells_counts=True)
        .exclude(host="")
        .order_by("pk")
        .first()
    )
    if node is None:
        return False
    row = ask(study, node, InquiryPurpose.COUNT)
    if row.state in AGAIN and row.asked_at < study.last_received_at:
        row = ask_again(row)
    return row.state in (InquiryState.WAITING, InquiryState.ASKING)


def arrived(study: Study) -> int:
    """How many objects of the study are here."""
    return Instance.objects.filter(series__study=study).count()


def arrivals() -> list[tuple[Study, str]]:
    """The studies on their way whose number is known, with what a list shows of them."""
    studies = Study.objects.filter(completed_at=None, expected_instances__isnull=False)
    return [
        (study, f"{arrived(study)} of {study.expected_instances} images received")
        for study in studies.prefetch_related("cases")
    ]
