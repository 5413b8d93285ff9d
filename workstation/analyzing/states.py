"""The moves a step can make, and the one door that makes them.

| event       | from             | to        | who            | token |
|-------------|------------------|-----------|----------------|-------|
| queue       | waiting          | queued    | the step before|       |
| claim       | queued           | running   | a worker       | given |
| finish      | running          | done      | its worker     | asked |
| try_again   | running          | queued    | its worker     | asked |
| interrupted | running          | queued    | its worker     | asked |
| fail        | running          | failed    | its worker     | asked |
| orphaned    | running          | queued    | the sweep      |       |
| quarantine  | queued, running  | failed    | claim, sweep   |       |
| retry       | failed           | queued    | a person       |       |
| cancel      | any open         | cancelled | flow, a person |       |
"""

from __future__ import annotations

from typing import Any

from django.db import transaction

from workstation.accounts.models import User
from workstation.analyzing.models import Step, StepEvent, StepState
from workstation.live import publish

S = StepState
MOVES: dict[tuple[StepState, str], StepState] = {
    (S.WAITING, "queue"): S.QUEUED,
    (S.QUEUED, "claim"): S.RUNNING,
    (S.RUNNING, "finish"): S.DONE,
    (S.RUNNING, "try_again"): S.QUEUED,
    (S.RUNNING, "interrupted"): S.QUEUED,
    (S.RUNNING, "fail"): S.FAILED,
    (S.RUNNING, "orphaned"): S.QUEUED,
    (S.RUNNING, "quarantine"): S.FAILED,
    (S.QUEUED, "quarantine"): S.FAILED,
    (S.FAILED, "retry"): S.QUEUED,
    (S.WAITING, "cancel"): S.CANCELLED,
    (S.QUEUED, "cancel"): S.CANCELLED,
    (S.RUNNING, "cancel"): S.CANCELLED,
    (S.FAILED, "cancel"): S.CANCELLED,
}
FENCED = frozenset({"finish", "try_again", "interrupted", "fail"})
"""Events only the worker that holds the step may cause: they must name its token."""
OPEN = frozenset({S.WAITING, S.QUEUED, S.RUNNING, S.FAILED})
"""States that ``cancel`` ends."""


class InvalidMove(Exception):
    """The step is not in a state that allows this."""

    def __init__(self, state: str, event: str) -> None:
        super().__init__(f"a step that is {state} takes no {event!r}")
        self.state = state
        self.event = event


class LostLease(Exception):
    """The worker no longer holds the step: it was returned to the queue, or cancelled."""


@transaction.atomic
def move(
    step_id: int,
    event: str,
    *,
    token: str | None = None,
    by: User | None = None,
    reason: str = "",
    **columns: Any,
) -> Step:
    """Lock the step, make the move, set ``columns``, write who, when and why; the locked row.

    ``token``: for ``claim`` the new lease; for a FENCED event the lease the worker holds. Raises
    :class:`LostLease` if the lease is not that of the row, :class:`InvalidMove` if the table has
    no such move.
    """
    step = Step.objects.select_for_update().select_related("run__case").get(pk=step_id)
    old = StepState(step.state)
    if event in FENCED and (not token or step.token != token):
        raise LostLease(f"step {step_id} is held by another worker or by none")
    try:
        new = MOVES[old, event]
    except KeyError:
        raise InvalidMove(old, event) from None
    if new == S.RUNNING and not token:
        raise ValueError("a claim needs a token")
    step.state = new
    step.token = token or "" if new == S.RUNNING else ""
    for name, value in columns.items():
        setattr(step, name, value)
    step.save(update_fields=["state", "token", *columns])
    StepEvent.objects.create(
        step=step, event=event, from_state=old, to_state=new, by=by, reason=reason
    )
    publish(step.run.case.site_id, "run", step.run.case_id)
    return step
