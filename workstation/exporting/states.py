"""The moves of an export and of a delivery, and the one door that makes them."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from workstation.exporting.models import Delivery, DeliveryState, Export, ExportState
from workstation.live import publish

E, D = ExportState, DeliveryState
EXPORT_MOVES: dict[tuple[ExportState, str], ExportState] = {
    (E.WAITING, "start"): E.WRITING,
    (E.WRITING, "finish"): E.WRITTEN,
    (E.WRITING, "try_again"): E.WAITING,
    (E.WRITING, "orphaned"): E.WAITING,
    (E.WRITING, "give_up"): E.FAILED,
    (E.FAILED, "retry"): E.WAITING,
}
DELIVERY_MOVES: dict[tuple[DeliveryState, str], DeliveryState] = {
    (D.WAITING, "start"): D.SENDING,
    (D.SENDING, "finish"): D.SENT,
    (D.SENDING, "try_again"): D.WAITING,
    (D.SENDING, "orphaned"): D.WAITING,
    (D.SENDING, "give_up"): D.FAILED,
    (D.FAILED, "retry"): D.WAITING,
    # Sent once more on request: the receiver keeps one copy, its SOP Instance UID is the same.
    (D.SENT, "retry"): D.WAITING,
}


class InvalidMove(Exception):
    """The row is not in a state that allows this."""


@transaction.atomic
def move_export(pk: int, event: str, **columns: Any) -> Export:
    """Lock, check, write. Raises :class:`InvalidMove`."""
    row = Export.objects.select_for_update().select_related("version__report__case").get(pk=pk)
    target = EXPORT_MOVES.get((ExportState(row.state), event))
    if target is None:
        raise InvalidMove(f"an export that is {row.state} takes no {event!r}")
    _write(row, target, columns)
    case = row.version.report.case
    publish(case.site_id, "delivery", case.pk)
    return row


@transaction.atomic
def move_delivery(pk: int, event: str, **columns: Any) -> Delivery:
    """Lock, check, write. Raises :class:`InvalidMove`."""
    row = Delivery.objects.select_for_update().select_related("destination", "object").get(pk=pk)
    target = DELIVERY_MOVES.get((DeliveryState(row.state), event))
    if target is None:
        raise InvalidMove(f"a delivery that is {row.state} takes no {event!r}")
    _write(row, target, columns)
    publish(row.destination.site_id, "delivery")
    return row


def _write(row: Export | Delivery, state: str, columns: dict[str, Any]) -> None:
    row.state = state
    for name, value in columns.items():
        setattr(row, name, value)
    row.save(update_fields=["state", *columns])
