"""What measurements and key images share: lock, number, trail, hide and restore.

Deleting hides a row, so that it can be undone; its number is never used again.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Max
from django.utils import timezone
from django.utils.translation import gettext

from workstation.accounts.models import User
from workstation.accounts.services import record
from workstation.analyzing.models import Run
from workstation.analyzing.shown import current_run
from workstation.live import publish
from workstation.reading.fusion_state import layer_statuses
from workstation.reading.measured_layers import Statuses
from workstation.reading.models import KeyImage, Measurement
from workstation.reading.services import ReviewRefused, check_reading
from workstation.worklist.models import Case

MOST_OF_A_KIND = 1000
"""Per case, deleted ones included."""


def lock_case(case_id: int, user: User) -> Case:
    """The case, locked, which the user holds and which is not signed; else a refusal."""
    case = Case.objects.select_for_update().get(pk=case_id)
    check_reading(case, user)
    return case


def next_number(rows: Any) -> int:
    """For a new row of a locked case, of its measurements or key images."""
    last = rows.aggregate(last=Max("number"))["last"] or 0
    if last >= MOST_OF_A_KIND:
        raise ReviewRefused(
            gettext("A case keeps at most {most_of_a_kind} of these.").format(
                most_of_a_kind=MOST_OF_A_KIND
            )
        )
    return int(last) + 1


def statuses_of(case: Case) -> tuple[Run | None, Statuses]:
    """The run on screen and how its layers lie."""
    run = current_run(case)
    return run, layer_statuses(run) if run else []


def note_mark(what: str, row: Measurement | KeyImage, case: Case, user: User, address: str) -> None:
    """Audit a change, and tell the other windows."""
    detail = {"what": what, "mark": row.name}
    if isinstance(row, Measurement):
        detail["tool"] = row.tool
    record(
        "measure", user=user, site=case.site, obj=row, case_id=case.pk, remote_address=address,
        detail=detail,
    )  # fmt: skip
    publish(case.site_id, "measurement", case.pk)


@transaction.atomic
def hide(mark: Measurement | KeyImage, user: User, *, address: str = "") -> None:
    """Delete, so that it can be undone. Hiding what is hidden changes nothing."""
    case = lock_case(mark.case_id, user)
    row = type(mark).objects.select_for_update().get(pk=mark.pk)
    if row.hidden_at is None:
        row.hidden_at, row.hidden_by = timezone.now(), user
        row.save(update_fields=["hidden_at", "hidden_by"])
        note_mark("deleted", row, case, user, address)


@transaction.atomic
def restore(mark: Measurement | KeyImage, user: User, *, address: str = "") -> None:
    """Undo :func:`hide`."""
    case = lock_case(mark.case_id, user)
    row = type(mark).objects.select_for_update().get(pk=mark.pk)
    if row.hidden_at is not None:
        row.hidden_at = row.hidden_by = None
        row.save(update_fields=["hidden_at", "hidden_by"])
        note_mark("restored", row, case, user, address)
