"""The membership of studies in cases: every change of it goes through here and keeps its reason."""

from __future__ import annotations

from functools import partial

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext

from workstation.accounts.models import User
from workstation.accounts.services import record
from workstation.broker import nudge
from workstation.live import publish
from workstation.receiving.models import Study
from workstation.worklist.models import Case, CaseState, Claim, Placement, PlacementKind
from workstation.worklist.services.cases import OPEN_STATES, describe_case
from workstation.worklist.services.rules import UNREAD
from workstation.worklist.states import move

K = PlacementKind


class CannotPlace(Exception):
    """A study cannot be put into or taken out of this case; the text says why."""


def add_study(
    case: Case, study: Study, kind: PlacementKind, reason: str, *,
    rule: int | None = None, by: User | None = None,
) -> None:  # fmt: skip
    case.studies.add(study)
    write_placement(case, study, kind, reason, rule, by)
    # An earlier study for comparison arrived long ago; nobody has waited for the case since then.
    waits = kind != K.COMPARED and study.site_id == case.site_id
    if waits and study.received_at < case.received_at:
        case.received_at = study.received_at
        case.save(update_fields=["received_at"])
    changed(case)


def remove_study(
    case: Case, study: Study, kind: PlacementKind, reason: str, *, by: User | None = None
) -> None:
    case.studies.remove(study)
    write_placement(case, study, kind, reason, None, by)
    own = case.studies.filter(site=case.site_id).exclude(pk__in=compared_studies(case))
    if not own.exists() and is_unread(case):
        case.studies.clear()
        move(case.pk, "emptied", reason="All its studies are read in other cases.")
        case.refresh_from_db()
    changed(case)


def write_placement(
    case: Case, study: Study, kind: PlacementKind, reason: str, rule: int | None, by: User | None
) -> None:
    Placement.objects.update_or_create(
        case=case, study=study,
        defaults={"kind": kind, "reason": reason[:300], "rule_id": rule, "by": by},
    )  # fmt: skip


def changed(case: Case) -> None:
    if case.state != CaseState.CLOSED:
        describe_case(case)
    publish(case.site_id, "case", case.pk)
    transaction.on_commit(partial(nudge, case.pk))


def say(case: Case, text: str) -> None:
    """The reader of the case is told; in a case nobody reads the history alone says it."""
    if not is_unread(case):
        case.alert = text[:300]
        case.save(update_fields=["alert"])
    publish(case.site_id, "case", case.pk)


def is_unread(case: Case) -> bool:
    return case.state in UNREAD and not Claim.objects.filter(case=case).exists()


def lock_open(case: Case) -> Case:
    locked = Case.objects.select_for_update().get(pk=case.pk)
    if locked.state not in OPEN_STATES:
        raise CannotPlace(
            gettext("The case is signed. What was read for the report stays what it is.")
        )
    return locked


def audit(case: Case, study: Study, user: User, action: str, address: str) -> None:
    record(
        "assemble", user=user, site=case.site, obj=study, case_id=case.pk, remote_address=address,
        detail={"action": action},
    )  # fmt: skip


def compared_studies(case: Case) -> QuerySet[Placement, int]:
    """Ids of the studies that are in the case only for comparison."""
    rows = case.placements.filter(kind=K.COMPARED)
    return rows.values_list("study", flat=True)
