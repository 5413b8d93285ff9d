"""Pairing a lesion with the same one in an earlier study: kept, audited, undone by hiding it."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext

from workstation.accounts.models import User
from workstation.accounts.services import record
from workstation.analyzing.models import Finding
from workstation.live import publish
from workstation.reading.marks import lock_case, statuses_of
from workstation.reading.models import Measurement, PriorPair
from workstation.reading.prior_items import COMPARED, FINDING, MEASUREMENT
from workstation.reading.priors import Prior, priors_of
from workstation.reading.services import ReviewRefused, check_reading
from workstation.receiving.models import Study
from workstation.worklist.models import Case
from workstation.worklist.services import CannotPlace, compare_with, stop_comparing

MOST_PAIRS = 500
Named = tuple[str, int]
"""``measurement`` or ``finding``, and its id."""


@transaction.atomic
def pair_up(
    case: Case,
    user: User,
    *,
    current: Named,
    earlier: Named,
    study: int | None = None,
    is_node: bool = False,
    proposed_mm: float | None = None,
    address: str = "",
) -> PriorPair:
    """Say that two are the same lesion. ``study``: which earlier study of this case the earlier one
    was measured in; of another case it is known. Raises :class:`ReviewRefused`."""
    locked = lock_case(case.pk, user)
    now = _named(current, user)
    then = _named(earlier, user)
    if _case_of(now) != locked.pk:
        raise ReviewRefused(gettext("The first of a pair is a size of this case."))
    if current == earlier:
        raise ReviewRefused(gettext("A size is not compared with itself."))
    prior = _prior_of(then, locked, user, study)
    row = PriorPair(
        case=locked, study=prior.study, is_node=is_node, proposed_mm=proposed_mm, by=user,
        measurement=now if isinstance(now, Measurement) else None,
        finding=now if isinstance(now, Finding) else None,
        earlier_measurement=then if isinstance(then, Measurement) else None,
        earlier_finding=then if isinstance(then, Finding) else None,
    )  # fmt: skip
    if locked.prior_pairs.count() >= MOST_PAIRS:
        raise ReviewRefused(gettext("A case keeps at most {n} pairs.").format(n=MOST_PAIRS))
    _check_single(row)
    row.save()
    _note("made", row, locked, user, address)
    return row


@transaction.atomic
def unpair(pair: PriorPair, user: User, *, address: str = "") -> None:
    """Take a pair back, so that it can be undone."""
    case = lock_case(pair.case_id, user)
    row = PriorPair.objects.select_for_update().get(pk=pair.pk)
    if row.hidden_at is None:
        row.hidden_at, row.hidden_by = timezone.now(), user
        row.save(update_fields=["hidden_at", "hidden_by"])
        _note("deleted", row, case, user, address)


@transaction.atomic
def pair_again(pair: PriorPair, user: User, *, address: str = "") -> PriorPair:
    """Undo :func:`unpair`."""
    case = lock_case(pair.case_id, user)
    row = PriorPair.objects.select_for_update().get(pk=pair.pk)
    if row.hidden_at is not None:
        _check_single(row)
        row.hidden_at = row.hidden_by = None
        row.save(update_fields=["hidden_at", "hidden_by"])
        _note("restored", row, case, user, address)
    return row


@transaction.atomic
def register_prior(case: Case, study: Study, user: User, *, address: str = "") -> None:
    """Put an earlier study into the case for comparison; its next analysis registers it."""
    _steer(case, study, user, compare_with, address)


@transaction.atomic
def take_out_prior(case: Case, study: Study, user: User, *, address: str = "") -> None:
    """Undo :func:`register_prior`."""
    _steer(case, study, user, stop_comparing, address)


def _steer(case: Case, study: Study, user: User, verb: Any, address: str) -> None:
    check_reading(Case.objects.select_for_update().get(pk=case.pk), user)
    try:
        verb(case, study, user, address=address)
    except CannotPlace as reason:
        raise ReviewRefused(str(reason)) from None


def _named(named: Named, user: User) -> Measurement | Finding:
    kind, pk = named
    if kind == MEASUREMENT:
        rows = Measurement.objects.for_user(user).shown().filter(tool__in=COMPARED)
        found: Measurement | Finding | None = rows.filter(pk=pk).first()
    elif kind == FINDING:
        found = Finding.objects.for_user(user).select_related("run").filter(pk=pk).first()
    else:
        found = None
    if found is None:
        raise ReviewRefused(gettext("This measurement or finding is not there, or has no size."))
    return found


def _case_of(one: Measurement | Finding) -> int:
    return one.case_id if isinstance(one, Measurement) else one.run.case_id


def _prior_of(then: Measurement | Finding, case: Case, user: User, study: int | None) -> Prior:
    """The earlier study that the earlier size is of."""
    home = _case_of(then)
    listed = [one for one in priors_of(case, user) if one.relevance.days is not None]
    if home != case.pk:
        mine = [one for one in listed if one.read_in is not None and one.read_in.pk == home]
        # Of several studies that were read together the newest names the day.
        mine.sort(key=lambda one: one.relevance.days or 0)
        if not mine:
            raise ReviewRefused(gettext("This is no earlier study of this patient."))
        return mine[0]
    if isinstance(then, Finding):
        raise ReviewRefused(gettext("The findings of this case are of its current images."))
    chosen = [one for one in listed if one.in_case and one.study.pk == study]
    if not chosen:
        raise ReviewRefused(gettext("Say in which earlier study of this case it was measured."))
    _check_undistorted(case, chosen[0].study)
    return chosen[0]


def _check_undistorted(case: Case, study: Study) -> None:
    """What was measured through an alignment that stretches has not its own size."""
    _run, statuses = statuses_of(case)
    for layer, status, _ in statuses:
        of_study = layer.series is not None and layer.series.study_id == study.pk
        if of_study and status.fused and status.model != "rigid":
            raise ReviewRefused(
                gettext(
                    "{label} lies over the current images by an alignment that changes sizes. "
                    "Compare with a measurement of the case in which it was read."
                ).format(label=layer.label)
            )


def _check_single(row: PriorPair) -> None:
    same = PriorPair.objects.shown().filter(
        case=row.case_id, study=row.study_id, measurement=row.measurement_id,
        finding=row.finding_id,
    )  # fmt: skip
    if same.exclude(pk=row.pk).exists():
        raise ReviewRefused(
            gettext("It is paired with a size of this study already; take that pair back first.")
        )


def _note(what: str, row: PriorPair, case: Case, user: User, address: str) -> None:
    record(
        "pair", user=user, site=case.site, obj=row, case_id=case.pk, remote_address=address,
        detail={"what": what, "study": row.study_id},
    )  # fmt: skip
    publish(case.site_id, "measurement", case.pk)
