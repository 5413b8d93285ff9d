"""The moves a refinement can make, and the one door that makes them.

| event       | from                    | to        | who          | token |
|-------------|-------------------------|-----------|--------------|-------|
| claim       | queued                  | running   | a worker     | given |
| finish      | running                 | done      | its worker   | asked |
| try_again   | running                 | queued    | its worker   | asked |
| interrupted | running                 | queued    | its worker   | asked |
| fail        | running                 | failed    | its worker   | asked |
| orphaned    | running                 | queued    | the sweep    |       |
| quarantine  | queued, running         | failed    | claim, sweep |       |
| retry       | failed                  | queued    | a person     |       |
| cancel      | queued, running, failed | cancelled | a person     |       |
| discard     | done                    | discarded | a person     |       |
"""

from __future__ import annotations

from typing import Any

from django.db import transaction

from workstation.accounts.models import User
from workstation.analyzing.models import Refinement, RefinementEvent, RefinementState
from workstation.analyzing.states import FENCED, InvalidMove, LostLease
from workstation.live import publish

S = RefinementState
MOVES: dict[tuple[RefinementState, str], RefinementState] = {
    (S.QUEUED, "claim"): S.RUNNING,
    (S.RUNNING, "finish"): S.DONE,
    (S.RUNNING, "try_again"): S.QUEUED,
    (S.RUNNING, "interrupted"): S.QUEUED,
    (S.RUNNING, "fail"): S.FAILED,
    (S.RUNNING, "orphaned"): S.QUEUED,
    (S.RUNNING, "quarantine"): S.FAILED,
    (S.QUEUED, "quarantine"): S.FAILED,
    (S.FAILED, "retry"): S.QUEUED,
    (S.QUEUED, "cancel"): S.CANCELLED,
    (S.RUNNING, "cancel"): S.CANCELLED,
    (S.FAILED, "cancel"): S.CANCELLED,
    (S.DONE, "discard"): S.DISCARDED,
}


@transaction.atomic
def move(
    refinement_id: int,
    event: str,
    *,
    token: str | None = None,
    by: User | None = None,
    reason: str = "",
    **columns: Any,
) -> Refinement:
    """Lock the row, make the move, set ``columns``, write who, when and why; the locked row.

    ``token`` as for a step (see :func:`workstation.analyzing.states.move`). Raises ``LostLease`` if
    the lease is not that of the row, ``InvalidMove`` if the table has no such move.
    """
    row = Refinement.objects.select_for_update().get(pk=refinement_id)
    old = RefinementState(row.state)
    if event in FENCED and (not token or row.token != token):
        raise LostLease(f"refinement {refinement_id} is held by another worker or by none")
    try:
        new = MOVES[old, event]
    except KeyError:
        raise InvalidMove(old, event) from None
    if new == S.RUNNING and not token:
        raise ValueError("a claim needs a token")
    row.state = new
    row.token = token or "" if new == S.RUNNING else ""
    for name, value in columns.items():
        setattr(row, name, value)
    row.save(update_fields=["state", "token", *columns])
    RefinementEvent.objects.create(
        refinement=row, event=event, from_state=old, to_state=new, by=by, reason=reason
    )
    tell(row)
    return row


def tell(refinement: Refinement) -> None:
    """Let the open browsers of the case's site know, on commit."""
    case = refinement.registration.run.case
    publish(case.site_id, "registration", case.pk)
