"""Storage Commitment Push Model as SCP (PS3.4 annex J).

The request (N-ACTION) is written down before it is answered. The result (N-EVENT-REPORT) goes back
over the same association if the sender leaves it open, else over one that we open to the sender's
node, in the SCP role; a row and the sweep see to it that it gets there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

from django.db import DatabaseError, connection
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom import build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.sop_class import StorageCommitmentPushModel as PUSH_MODEL
from pynetdicom.sop_class import StorageCommitmentPushModelInstance as WELL_KNOWN

from workstation.receiving.headers import UID_SHAPE, UNREADABLE
from workstation.receiving.models import Commitment
from workstation.receiving.network.callers import caller_of
from workstation.receiving.network.calling import NotReached, association
from workstation.receiving.services.committing import (
    MOST_REFERENCES,
    Checked,
    check,
    finish_commitment,
    our_title,
    put_back_commitment,
    start_commitment,
    take_commitment,
)
from workstation.receiving.states import InvalidMove

log = logging.getLogger(__name__)

SUCCESS = 0x0000
PROCESSING_FAILURE, INVALID_VALUE, NO_SUCH_ACTION = 0x0110, 0x0115, 0x0123
REQUEST_COMMITMENT = 1
ALL_SAFE, SOME_MISSING = 1, 2
"""Action and event type IDs (PS3.4 J.3.2, J.3.3)."""
SETTLE_SECONDS = 1.0
"""A sender that does not wait releases its association within this time."""


def take_request(event: Event) -> tuple[int, Dataset | None]:
    """N-ACTION: keep what the sender asks about; answer it once this response is out."""
    if event.action_type != REQUEST_COMMITMENT:
        return NO_SUCH_ACTION, None
    try:
        wanted = event.action_information
        uid = str(wanted.get("TransactionUID", ""))
        references = list(_references(wanted))
    except UNREADABLE:
        return PROCESSING_FAILURE, None
    if not _is_uid(uid) or not 0 < len(references) <= MOST_REFERENCES:
        return INVALID_VALUE, None
    try:
        caller = caller_of(event)
        if caller is None:
            return PROCESSING_FAILURE, None
        row = take_commitment(caller.site, caller.node, caller.ae_title, uid, references)
    except DatabaseError as error:
        log.error("commitment not taken: database error %s", type(error).__name__)
        connection.close()
        return PROCESSING_FAILURE, None
    threading.Thread(
        target=_answer_soon, args=(event.assoc, row.pk), name=f"commitment-{row.pk}", daemon=True
    ).start()
    return SUCCESS, None


def _references(wanted: Dataset) -> Iterator[tuple[str, str]]:
    for item in wanted.get("ReferencedSOPSequence") or []:
        pair = str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID)
        if all(_is_uid(uid) for uid in pair):
            yield pair


def _is_uid(text: str) -> bool:
    return len(text) <= 64 and UID_SHAPE.fullmatch(text) is not None


def _answer_soon(link: Association, pk: int) -> None:
    """In a thread of its own: the association's thread must send the N-ACTION response first."""
    try:
        time.sleep(SETTLE_SECONDS)
        row = start_commitment(pk)
        if row is None:
            return
        if link.is_established and not link.acse.is_release_requested():
            checked = check(row)
            try:
                _report(link, row, checked)
            except (NotReached, RuntimeError, ValueError):
                put_back_commitment(row)
            else:
                finish_commitment(row, checked)
        else:
            put_back_commitment(row)
    except InvalidMove:
        log.warning("commitment %d was answered by another process", pk)
    except DatabaseError as error:
        # The sweep finds the row.
        log.error("commitment %d not answered: database error %s", pk, type(error).__name__)
    finally:
        connection.close()


def report(row: Commitment) -> Checked:
    """Answer over an association that we open, in the role of SCP. Raises :class:`NotReached`."""
    if row.node is None:
        raise NotReached("The sender is no node with an address; it cannot be called back.")
    checked = check(row)
    with association(
        row.node, [build_context(PUSH_MODEL)],
        roles=[build_role(PUSH_MODEL, scu_role=False, scp_role=True)],
    ) as link:  # fmt: skip
        _report(link, row, checked)
    return checked


def _report(link: Association, row: Commitment, checked: Checked) -> None:
    result = Dataset()
    result.TransactionUID = row.transaction_uid
    result.RetrieveAETitle = our_title()
    result.ReferencedSOPSequence = Sequence([_item(*pair) for pair in checked.safe])
    if checked.missing:
        result.FailedSOPSequence = Sequence([_item(*entry) for entry in checked.missing])
    event_type = SOME_MISSING if checked.missing else ALL_SAFE
    if not checked.safe:
        del result.ReferencedSOPSequence
    status, _ = link.send_n_event_report(result, event_type, PUSH_MODEL, WELL_KNOWN)
    if "Status" not in status:
        raise NotReached("The sender did not answer the result of its storage commitment.")
    if status.Status != SUCCESS:
        raise NotReached(f"The sender answered the result with status 0x{status.Status:04X}.")


def _item(sop_class: str, uid: str, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    if reason is not None:
        item.FailureReason = reason
    return item


CONTEXTS = [build_context(PUSH_MODEL)]
HANDLERS: list[Any] = [(evt.EVT_N_ACTION, take_request)]
"""What the listener adds to its own."""
