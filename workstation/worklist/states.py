"""The moves a case can make, and the one door that makes them."""

from __future__ import annotations

from django.db import transaction

from workstation.accounts.models import User
from workstation.live import publish
from workstation.worklist.models import Case, CaseEvent, CaseState

S = CaseState
MOVES: dict[tuple[CaseState, str], CaseState] = {
    (S.RECEIVING, "study_completed"): S.ANALYSING,
    (S.ANALYSING, "study_completed"): S.ANALYSING,
    (S.READY, "study_completed"): S.ANALYSING,
    # The reader keeps the case; the new images are announced beside the report.
    (S.READING, "study_completed"): S.READING,
    (S.DRAFT, "study_completed"): S.DRAFT,
    (S.ANALYSING, "analysis_done"): S.READY,
    # A failed analysis never hides a case: it is readable, with the reason and a retry beside it.
    (S.ANALYSING, "analysis_failed"): S.READY,
    (S.READY, "analysis_retried"): S.ANALYSING,
    (S.READY, "claimed"): S.READING,
    (S.DRAFT, "claimed"): S.DRAFT,
    (S.READING, "released"): S.READY,
    (S.DRAFT, "released"): S.DRAFT,
    (S.READING, "draft_saved"): S.DRAFT,
    (S.READING, "signed"): S.SIGNED,
    (S.DRAFT, "signed"): S.SIGNED,
    (S.SIGNED, "addended"): S.ADDENDED,
    (S.ADDENDED, "addended"): S.ADDENDED,
    # All its studies are read elsewhere now; they may come back.
    (S.RECEIVING, "emptied"): S.CLOSED,
    (S.ANALYSING, "emptied"): S.CLOSED,
    (S.READY, "emptied"): S.CLOSED,
    (S.CLOSED, "reopened"): S.RECEIVING,
}


class InvalidMove(Exception):
    """The case is not in a state that allows this."""

    def __init__(self, state: str, event: str) -> None:
        super().__init__(f"a case that is {state} cannot be {event.replace('_', ' ')}")
        self.state = state
        self.event = event


@transaction.atomic
def move(case_id: int, event: str, *, by: User | None = None, reason: str = "") -> Case:
    """Lock the case, make the move, write who, when and why; returns the locked row.

    Raises :class:`InvalidMove` if the table has no such move.
    """
    case = Case.objects.select_for_update().get(pk=case_id)
    old = CaseState(case.state)
    try:
        new = MOVES[old, event]
    except KeyError:
        raise InvalidMove(old, event) from None
    if new != old:
        case.state = new
        case.save(update_fields=["state"])
    CaseEvent.objects.create(
        case=case, event=event, from_state=old, to_state=new, by=by, reason=reason[:500]
    )
    publish(case.site_id, "case", case.pk)
    return case
