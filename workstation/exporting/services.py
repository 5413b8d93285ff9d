"""Results on their way out: requested when a version is signed, written, sent, sent again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from workstation.accounts.models import User
from workstation.accounts.services import record
from workstation.broker import EXPORT_QUEUE, send
from workstation.exporting.models import (
    Delivery,
    DeliveryState,
    Destination,
    Export,
    ExportObject,
    ExportState,
)
from workstation.exporting.states import InvalidMove, move_delivery, move_export
from workstation.reporting.models import Version
from workstation.worklist.models import Case

WRITE_ACTOR = "write_objects"
SEND_ACTOR = "send_object"
MAX_ATTEMPTS = 6
ORPHANED_AFTER = timedelta(minutes=5)
"""Longer than any single attempt may take (actors' time limit)."""
MESSAGE_LOST_AFTER = timedelta(seconds=60)
"""A waiting row whose message was sent this long ago is sent again by the sweep."""


def pause_before(attempt: int) -> timedelta:
    """How long to wait before attempt ``attempt + 1``: 10 s, 20 s, 40 s ... at most an hour."""
    return timedelta(seconds=min(3600, 10 * 2 ** max(0, attempt - 1)))


@dataclass(frozen=True)
class WrittenObject:
    """One DICOM file that was written, relative to the exports folder."""

    kind: str
    sop_class_uid: str
    sop_instance_uid: str
    path: str
    sha256: str


@transaction.atomic
def request_exports(case: Case) -> None:
    """Each signed version of the case gets its export row, once. Called by ``flow.advance``."""
    for version in Version.objects.filter(report__case=case, export=None):
        export = Export.objects.create(
            version=version, next_attempt_at=timezone.now() + MESSAGE_LOST_AFTER
        )
        transaction.on_commit(lambda pk=export.pk: send(WRITE_ACTOR, EXPORT_QUEUE, pk))


def start_export(export_id: int) -> Export | None:
    """Claim an export for writing; None if it is not due (somebody else has it, or it is done)."""
    export = Export.objects.get(pk=export_id)
    try:
        return move_export(
            export_id, "start", attempts=export.attempts + 1, started_at=timezone.now(),
            next_attempt_at=None,
        )  # fmt: skip
    except InvalidMove:
        return None


@transaction.atomic
def finish_export(export_id: int, written: Iterable[WrittenObject]) -> None:
    """Record what was written and queue it for every active destination of the site."""
    export = move_export(export_id, "finish", error="")
    site = export.version.report.case.site
    destinations = list(Destination.objects.filter(site=site, active=True))
    for item in written:
        row = ExportObject.objects.create(
            export=export, kind=item.kind, sop_class_uid=item.sop_class_uid,
            sop_instance_uid=item.sop_instance_uid, path=item.path, sha256=item.sha256,
        )  # fmt: skip
        for destination in destinations:
            delivery = Delivery.objects.create(
                object=row,
                destination=destination,
                next_attempt_at=timezone.now() + MESSAGE_LOST_AFTER,
            )
            transaction.on_commit(lambda pk=delivery.pk: send(SEND_ACTOR, EXPORT_QUEUE, pk))


def fail_export(export_id: int, reason: str, *, retriable: bool) -> None:
    """The objects could not be written: later again, or shown as failed with the reason."""
    export = Export.objects.get(pk=export_id)
    if retriable and export.attempts < MAX_ATTEMPTS:
        due = timezone.now() + pause_before(export.attempts)
        move_export(export_id, "try_again", error=reason[:500], next_attempt_at=due)
    else:
        move_export(export_id, "give_up", error=reason[:500])


def start_delivery(delivery_id: int) -> Delivery | None:
    """Claim a delivery for sending; None if it is not due, or its destination is switched off."""
    delivery = Delivery.objects.select_related("destination").get(pk=delivery_id)
    if not delivery.destination.active:
        return None
    try:
        return move_delivery(
            delivery_id, "start", attempts=delivery.attempts + 1, started_at=timezone.now(),
            next_attempt_at=None,
        )  # fmt: skip
    except InvalidMove:
        return None


@transaction.atomic
def finish_delivery(delivery_id: int) -> None:
    """The destination has confirmed the object."""
    delivery = move_delivery(delivery_id, "finish", error="", sent_at=timezone.now())
    version = delivery.object.export.version
    profile = delivery.destination.deidentification_id
    record(
        "export", user=version.signed_by, site=delivery.destination.site, obj=delivery,
        case_id=version.report.case_id,
        detail={
            "destination": delivery.destination.pk,
            "kind": delivery.object.kind,
            **({"deidentification": profile} if profile else {}),
        },
    )  # fmt: skip


def fail_delivery(delivery_id: int, reason: str, *, retriable: bool = True) -> None:
    """Not delivered: later again, with growing pauses; after the last attempt, or where trying
    again changes nothing, it waits for a person, with its reason."""
    delivery = Delivery.objects.get(pk=delivery_id)
    if retriable and delivery.attempts < MAX_ATTEMPTS:
        due = timezone.now() + pause_before(delivery.attempts)
        move_delivery(delivery_id, "try_again", error=reason[:500], next_attempt_at=due)
    else:
        move_delivery(delivery_id, "give_up", error=reason[:500])


@transaction.atomic
def resend(delivery: Delivery, user: User, *, address: str = "") -> None:
    """A person asks for one delivery again."""
    move_delivery(delivery.pk, "retry", attempts=0, error="", next_attempt_at=None)
    record(
        "retry", user=user, site=delivery.destination.site, obj=delivery, remote_address=address
    )
    transaction.on_commit(lambda: send(SEND_ACTOR, EXPORT_QUEUE, delivery.pk))


@transaction.atomic
def rewrite(export: Export, user: User, *, address: str = "") -> None:
    """A person asks for a failed export again."""
    moved = move_export(export.pk, "retry", attempts=0, error="", next_attempt_at=None)
    case = moved.version.report.case
    record(
        "retry", user=user, site=case.site, obj=moved, case_id=case.pk, remote_address=address
    )
    transaction.on_commit(lambda: send(WRITE_ACTOR, EXPORT_QUEUE, export.pk))


def send_due(now: datetime) -> None:
    """The sweep: rows whose time has come, or whose worker or message was lost."""
    lost = now - ORPHANED_AFTER
    writing = Export.objects.filter(state=ExportState.WRITING, started_at__lt=lost)
    sending = Delivery.objects.filter(state=DeliveryState.SENDING, started_at__lt=lost)
    _take_back(writing, move_export, now)
    _take_back(sending, move_delivery, now)
    due = Q(next_attempt_at__lte=now) | Q(next_attempt_at=None)
    _send_again(Export.objects.filter(due, state=ExportState.WAITING), WRITE_ACTOR, now)
    waiting = Delivery.objects.filter(
        due, state=DeliveryState.WAITING, destination__active=True
    )
    _send_again(waiting, SEND_ACTOR, now)


def _take_back(rows: QuerySet[Any], move: Callable[..., Any], now: datetime) -> None:
    """Rows whose worker was killed: again, or given up if it happens at every attempt."""
    for row in rows:
        event = "orphaned" if row.attempts < MAX_ATTEMPTS else "give_up"
        try:
            move(row.pk, event, error="The worker stopped in the middle.", next_attempt_at=now)
        except InvalidMove:
            continue  # it ended between our look and the lock


def _send_again(rows: QuerySet[Any], actor: str, now: datetime) -> None:
    for pk in list(rows.values_list("pk", flat=True)[:200]):
        # Looked at again only if this message is lost too.
        rows.model.objects.filter(pk=pk).update(next_attempt_at=now + MESSAGE_LOST_AFTER)
        send(actor, EXPORT_QUEUE, pk)


def cases_without_exports() -> list[int]:
    """Signed cases whose newest version was not requested yet (a lost nudge)."""
    return list(
        Version.objects.filter(export=None)
        .values_list("report__case_id", flat=True)
        .distinct()
    )


@transaction.atomic
def save_destination(
    destination: Destination, user: User, *, address: str = ""
) -> Destination:
    """Add or change a destination of a site."""
    destination.save()
    record(
        "manage", user=user, site=destination.site, obj=destination, remote_address=address,
        detail={"active": destination.active},
    )  # fmt: skip
    return destination
