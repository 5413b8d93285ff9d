"""Messages of the export queue; the rows decide, these only translate."""

from __future__ import annotations

import logging

import dramatiq

from workstation.broker import EXPORT_QUEUE
from workstation.exporting.sending import HeldBack, NotDelivered, send_by_c_store
from workstation.exporting.services import (
    SEND_ACTOR,
    WRITE_ACTOR,
    fail_delivery,
    fail_export,
    finish_delivery,
    finish_export,
    start_delivery,
    start_export,
)
from workstation.exporting.sources import CannotWrite
from workstation.exporting.states import InvalidMove
from workstation.exporting.writing import write_objects

log = logging.getLogger(__name__)
TIME_LIMIT_MS = 240_000


@dramatiq.actor(
    actor_name=WRITE_ACTOR, queue_name=EXPORT_QUEUE, max_retries=0, time_limit=TIME_LIMIT_MS
)
def write_actor(export_id: int) -> None:
    """Write one version's objects."""
    export = start_export(export_id)
    if export is None:
        return
    try:
        written = write_objects(export)
    except CannotWrite as reason:
        fail_export(export_id, str(reason), retriable=False)
    except Exception as error:
        log.exception("export %d could not be written", export_id)
        fail_export(export_id, f"Internal error ({type(error).__name__}).", retriable=True)
    else:
        try:
            finish_export(export_id, written)
        except InvalidMove:
            log.warning("export %d was taken back while it was written", export_id)


@dramatiq.actor(
    actor_name=SEND_ACTOR, queue_name=EXPORT_QUEUE, max_retries=0, time_limit=TIME_LIMIT_MS
)
def send_actor(delivery_id: int) -> None:
    """Send one object to one destination."""
    delivery = start_delivery(delivery_id)
    if delivery is None:
        return
    try:
        send_by_c_store(delivery)
    except HeldBack as reason:
        fail_delivery(delivery_id, str(reason), retriable=False)
    except NotDelivered as reason:
        fail_delivery(delivery_id, str(reason))
    except Exception as error:
        log.exception("delivery %d failed", delivery_id)
        fail_delivery(delivery_id, f"Internal error ({type(error).__name__}).")
    else:
        try:
            finish_delivery(delivery_id)
        except InvalidMove:
            log.warning("delivery %d was taken back while it was sent", delivery_id)
