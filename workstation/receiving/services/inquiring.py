"""Questions that we ask other nodes by ourselves when a study arrives: the row is the job."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from workstation.broker import RETRIEVE_QUEUE, send
from workstation.receiving.models import (
    Inquiry,
    InquiryPurpose,
    InquiryState,
    PriorRule,
    RemoteNode,
    Study,
)
from workstation.receiving.states import InvalidMove, move

INQUIRE_ACTOR = "ask_node"
MAX_ATTEMPTS = {InquiryPurpose.COUNT: 3, InquiryPurpose.PRIORS: 6}
"""A count delays the reading of the study; priors do not."""
MESSAGE_LOST_AFTER = timedelta(seconds=60)
ORPHANED_AFTER = timedelta(minutes=5)
"""Longer than a question may take (``network.asking``, times its questions)."""
AGAIN = (InquiryState.ANSWERED, InquiryState.FAILED)


def pause_before(attempt: int) -> timedelta:
    """10 s, 20 s, 40 s, ... before attempt ``attempt + 1``."""
    return timedelta(seconds=10 * 2 ** max(0, attempt - 1))


@transaction.atomic
def ask(
    study: Study, node: RemoteNode, purpose: InquiryPurpose, rule: PriorRule | None = None
) -> Inquiry:
    """The question about this study, asked now if it was not asked before."""
    now = timezone.now()
    row, is_new = Inquiry.objects.get_or_create(
        study=study, purpose=purpose, rule=rule,
        defaults={
            "site": study.site, "node": node, "asked_at": now,
            "next_attempt_at": now + MESSAGE_LOST_AFTER,
        },
    )  # fmt: skip
    if is_new:
        transaction.on_commit(lambda: send(INQUIRE_ACTOR, RETRIEVE_QUEUE, row.pk))
    return row


@transaction.atomic
def ask_again(row: Inquiry) -> Inquiry:
    """The answer may be another one now."""
    now = timezone.now()
    moved = move(
        Inquiry, row.pk, "retry", attempts=0, error="", asked_at=now,
        next_attempt_at=now + MESSAGE_LOST_AFTER,
    )  # fmt: skip
    transaction.on_commit(lambda: send(INQUIRE_ACTOR, RETRIEVE_QUEUE, row.pk))
    return moved


def start_inquiry(pk: int) -> Inquiry | None:
    """Claim a question; None if somebody else has it, or it is answered."""
    row = Inquiry.objects.get(pk=pk)
    try:
        move(
            Inquiry, pk, "start", attempts=row.attempts + 1, started_at=timezone.now(),
            next_attempt_at=None,
        )  # fmt: skip
    except InvalidMove:
        return None
    return Inquiry.objects.select_related("node", "site", "study__patient", "rule").get(pk=pk)


def finish_inquiry(row: Inquiry, result: str) -> None:
    """The node has answered, and what follows from it is written."""
    move(
        Inquiry, row.pk, "finish", attempt=row.attempts, result=result[:500], error=""
    )


def fail_inquiry(row: Inquiry, reason: str) -> None:
    """No answer: later again, or given up; a study never waits for it for ever."""
    if row.attempts < MAX_ATTEMPTS[InquiryPurpose(row.purpose)]:
        due = timezone.now() + pause_before(row.attempts)
        move(
            Inquiry, row.pk, "try_again", attempt=row.attempts, error=reason[:300],
            next_attempt_at=due,
        )  # fmt: skip
    else:
        move(Inquiry, row.pk, "give_up", attempt=row.attempts, error=reason[:300])


def send_due_inquiries(now: datetime) -> None:
    """The sweep: lost messages, dead workers, questions whose pause is over."""
    lost = Inquiry.objects.filter(
        state=InquiryState.ASKING, started_at__lt=now - ORPHANED_AFTER
    )
    for row in lost:
        try:
            fail_inquiry(row, "The worker stopped in the middle.")
        except InvalidMove:
            continue  # it was answered between our look and the lock
    due = Q(next_attempt_at__lte=now) | Q(next_attempt_at=None)
    waiting = Inquiry.objects.filter(due, state=InquiryState.WAITING).order_by("pk")
    for pk in list(waiting.values_list("pk", flat=True)[:100]):
        Inquiry.objects.filter(pk=pk, state=InquiryState.WAITING).update(
            next_attempt_at=now + MESSAGE_LOST_AFTER
        )
        send(INQUIRE_ACTOR, RETRIEVE_QUEUE, pk)
