"""The moves of the jobs that talk to other nodes, and the one door that makes them."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db import transaction

from workstation.live import publish
from workstation.receiving.models import (
    Commitment,
    CommitmentState,
    Inquiry,
    InquiryState,
    Retrieval,
    RetrievalState,
)

R, C, Q = RetrievalState, CommitmentState, InquiryState
Job = Retrieval | Commitment | Inquiry
J = TypeVar("J", Retrieval, Commitment, Inquiry)
RETRIEVAL_MOVES: dict[tuple[str, str], str] = {
    (R.WAITING, "start"): R.RUNNING,
    (R.WAITING, "cancel"): R.CANCELLED,
    (R.RUNNING, "finish"): R.DONE,
    (R.RUNNING, "try_again"): R.WAITING,
    (R.RUNNING, "give_up"): R.FAILED,
    (R.RUNNING, "cancel"): R.CANCELLED,
    (R.FAILED, "retry"): R.WAITING,
    (R.CANCELLED, "retry"): R.WAITING,
}
COMMITMENT_MOVES: dict[tuple[str, str], str] = {
    (C.WAITING, "start"): C.SENDING,
    (C.SENDING, "finish"): C.SENT,
    (C.SENDING, "try_again"): C.WAITING,
    (C.SENDING, "give_up"): C.FAILED,
    # The sender asked once more under the same transaction.
    (C.SENT, "retry"): C.WAITING,
    (C.FAILED, "retry"): C.WAITING,
}
INQUIRY_MOVES: dict[tuple[str, str], str] = {
    (Q.WAITING, "start"): Q.ASKING,
    (Q.ASKING, "finish"): Q.ANSWERED,
    (Q.ASKING, "try_again"): Q.WAITING,
    (Q.ASKING, "give_up"): Q.FAILED,
    # More images came: the number may have grown.
    (Q.ANSWERED, "retry"): Q.WAITING,
    (Q.FAILED, "retry"): Q.WAITING,
}
MOVES: dict[type[Job], dict[tuple[str, str], str]] = {
    Retrieval: RETRIEVAL_MOVES,
    Commitment: COMMITMENT_MOVES,
    Inquiry: INQUIRY_MOVES,
}


class InvalidMove(Exception):
    """The job is not in a state that allows this, or another worker has it now."""


@transaction.atomic
def move(kind: type[J], pk: int, event: str, *, attempt: int = 0, **columns: Any) -> J:
    """Lock, check, write. ``attempt``: only if this is still the job's current attempt.

    Raises :class:`InvalidMove`.
    """
    row = kind.objects.select_for_update().get(pk=pk)
    target = MOVES[kind].get((row.state, event))
    if target is None or (attempt and row.attempts != attempt):
        raise InvalidMove(f"a {kind._meta.model_name} that is {row.state} takes no {event!r}")
    row.state = target
    for name, value in columns.items():
        setattr(row, name, value)
    row.save(update_fields=["state", *columns])
    publish(row.site_id, "retrieval")
    return row
