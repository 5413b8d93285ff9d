"""Storage commitment: a sender asks whether its objects are safe, before it deletes them.

An object is committed when its row is here, of the same SOP class, and its bytes are in the
archive with their full length. Nothing less is a promise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from workstation.accounts.models import Site
from workstation.broker import RETRIEVE_QUEUE, send
from workstation.receiving.models import (
    Commitment,
    CommitmentState,
    Instance,
    RemoteNode,
)
from workstation.receiving.states import InvalidMove, move
from workstation.receiving.storage import archive_store, name_of

COMMIT_ACTOR = "answer_commitment"
MAX_ATTEMPTS = 8
MESSAGE_LOST_AFTER = timedelta(seconds=60)
ORPHANED_AFTER = timedelta(minutes=5)
MOST_REFERENCES = 100_000
ROWS_AT_ONCE = 500
PROCESSING_FAILURE, NO_SUCH_OBJECT, CLASS_CONFLICT = 0x0110, 0x0112, 0x0119
"""Failure Reason (0008,1197), PS3.3 C.14.1.1."""
ENDED = (CommitmentState.SENT, CommitmentState.FAILED)


@dataclass(frozen=True)
class Checked:
    """Which references are safe; the others with the reason, each a (class, instance) pair."""

    safe: list[tuple[str, str]] = field(default_factory=list)
    missing: list[tuple[str, str, int]] = field(default_factory=list)


def pause_before(attempt: int) -> timedelta:
    """10 s, 20 s, 40 s, ... an hour at most before attempt ``attempt + 1``."""
    return timedelta(seconds=min(3600, 10 * 2 ** max(0, attempt - 1)))


@transaction.atomic
def take_commitment(
    site: Site,
    node: RemoteNode | None,
    caller: str,
    transaction_uid: str,
    references: Iterable[tuple[str, str]],
) -> Commitment:
    """Keep the request. One that is repeated under its transaction UID is answered again."""
    pairs = [list(pair) for pair in dict.fromkeys(references)]
    row, is_new = Commitment.objects.get_or_create(
        calling_ae_title=caller, transaction_uid=transaction_uid,
        defaults={
            "site": site, "node": node, "references": pairs,
            "next_attempt_at": timezone.now() + MESSAGE_LOST_AFTER,
        },
    )  # fmt: skip
    if not is_new:
        row.references = pairs
        row.save(update_fields=["references"])
        if row.state in ENDED:
            row = move(
                Commitment, row.pk, "retry", attempts=0, error="",
                next_attempt_at=timezone.now() + MESSAGE_LOST_AFTER,
            )  # fmt: skip
    return row


def start_commitment(pk: int) -> Commitment | None:
    """Claim the answer; None if somebody else gives it, or it was given."""
    row = Commitment.objects.get(pk=pk)
    try:
        move(
            Commitment, pk, "start", attempts=row.attempts + 1, started_at=timezone.now(),
            next_attempt_at=None,
        )  # fmt: skip
    except InvalidMove:
        return None
    return Commitment.objects.select_related("node", "site").get(pk=pk)


def check(row: Commitment) -> Checked:
    """Look at rows and bytes, now."""
    checked = Checked()
    store = archive_store()
    pairs = [(str(pair[0]), str(pair[1])) for pair in row.references]
    for start in range(0, len(pairs), ROWS_AT_ONCE):
        part = pairs[start : start + ROWS_AT_ONCE]
        known = {
            one.sop_instance_uid: one
            for one in Instance.objects.filter(
                site=row.site,
                sop_instance_uid__in=[uid for _, uid in part],
                # Of these the originals are not kept: the sender must not delete its own.
                series__study__deidentified=False,
            )
        }
        for sop_class, uid in part:
            found = known.get(uid)
            if found is None:
                checked.missing.append((sop_class, uid, NO_SUCH_OBJECT))
            elif found.sop_class_uid != sop_class:
                checked.missing.append((sop_class, uid, CLASS_CONFLICT))
            else:
                name = name_of(found.sha256)
                if store.exists(name) and store.size(name) == found.size:
                    checked.safe.append((sop_class, uid))
                else:
                    checked.missing.append((sop_class, uid, PROCESSING_FAILURE))
    return checked


def finish_commitment(row: Commitment, checked: Checked) -> None:
    """The sender has taken the answer."""
    move(
        Commitment, row.pk, "finish", attempt=row.attempts, error="",
        committed=len(checked.safe), missing=len(checked.missing),
    )  # fmt: skip


def put_back_commitment(row: Commitment) -> None:
    """The association of the request is gone: a worker answers on one of our own."""
    move(
        Commitment, row.pk, "try_again", attempt=row.attempts, attempts=row.attempts - 1,
        next_attempt_at=timezone.now() + MESSAGE_LOST_AFTER,
    )  # fmt: skip
    transaction.on_commit(lambda: send(COMMIT_ACTOR, RETRIEVE_QUEUE, row.pk))


def fail_commitment(row: Commitment, reason: str, *, again: bool = True) -> None:
    """The answer did not get through: later again, with growing pauses, or given up."""
    if again and row.attempts < MAX_ATTEMPTS:
        due = timezone.now() + pause_before(row.attempts)
        move(
            Commitment, row.pk, "try_again", attempt=row.attempts, error=reason[:300],
            next_attempt_at=due,
        )  # fmt: skip
    else:
        move(Commitment, row.pk, "give_up", attempt=row.attempts, error=reason[:300])


def send_due_commitments(now: datetime) -> None:
    """The sweep: dead workers, lost messages, pauses that are over."""
    lost = Commitment.objects.filter(
        state=CommitmentState.SENDING, started_at__lt=now - ORPHANED_AFTER
    )
    for row in lost:
        try:
            fail_commitment(row, "The worker stopped in the middle.")
        except InvalidMove:
            continue  # it was answered between our look and the lock
    due = Q(next_attempt_at__lte=now) | Q(next_attempt_at=None)
    waiting = Commitment.objects.filter(due, state=CommitmentState.WAITING).order_by("pk")
    for pk in list(waiting.values_list("pk", flat=True)[:100]):
        Commitment.objects.filter(pk=pk, state=CommitmentState.WAITING).update(
            next_attempt_at=now + MESSAGE_LOST_AFTER
        )
        send(COMMIT_ACTOR, RETRIEVE_QUEUE, pk)


def our_title() -> str:
    """Retrieve AE Title (0008,0054) of committed objects."""
    return str(settings.DICOM_AE_TITLE)
