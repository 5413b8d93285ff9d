"""How long images are kept: which studies a rule would delete, why others stay, and doing it.

The rules and the deleting of images are the receiving room's; whether a study is still needed is
known here, where cases, reports and analyses are in sight.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Count, Exists, OuterRef, QuerySet, Sum
from django.utils.translation import gettext

from workstation.accounts.models import User
from workstation.analyzing.services import remove_volumes
from workstation.receiving.models import Deletion, RetentionRule, Retrieval, Series, Study
from workstation.receiving.services.keeping import CannotDelete, delete_images
from workstation.worklist.models import Case
from workstation.worklist.services import OPEN_STATES

AT_ONCE = 50
"""Studies deleted by one sweep, so that it stays short."""
LISTED = 200


@dataclass(frozen=True)
class Plan:
    """What a rule would delete now. ``studies`` are the oldest; the counts are of all."""

    studies: list[Study]
    count: int
    instances: int
    size: int


def due(rule: RetentionRule, now: datetime) -> QuerySet[Study]:
    """Studies of the rule's site that it may delete, those that waited longest first.

    Never one that still arrives, or that a case needs which nobody has signed.
    """
    open_case = Case.objects.filter(studies=OuterRef("pk"), state__in=OPEN_STATES)
    found = Study.objects.filter(
        site=rule.site,
        deleted_at__isnull=True,
        completed_at__isnull=False,
        last_received_at__lt=now - timedelta(days=rule.days),
        series__instances__isnull=False,
    ).exclude(Exists(open_case))
    if rule.only_reported:
        found = found.filter(Exists(Case.objects.filter(studies=OuterRef("pk"))))
    if rule.priors_only:
        prior = Retrieval.objects.filter(
            site=rule.site,
            study_instance_uid=OuterRef("study_instance_uid"),
            rule__isnull=False,
        )
        found = found.filter(Exists(prior))
    if wanted := rule.modalities.split():
        of_others = Series.objects.filter(study=OuterRef("pk")).exclude(modality__in=wanted)
        found = found.exclude(Exists(of_others))
    return found.distinct().order_by("last_received_at", "pk")


def plan(rule: RetentionRule, now: datetime) -> Plan:
    """The dry run: nothing is changed."""
    studies = due(rule, now)
    totals = Study.objects.filter(pk__in=studies.values("pk")).aggregate(
        count=Count("pk", distinct=True),
        instances=Count("series__instances"),
        size=Sum("series__instances__size"),
    )
    return Plan(
        studies=list(studies.select_related("patient")[:LISTED]),
        count=totals["count"],
        instances=totals["instances"],
        size=totals["size"] or 0,
    )


def apply_rule(rule: RetentionRule, now: datetime, *, limit: int = AT_ONCE) -> list[Deletion]:
    """Delete what the rule says, at most ``limit`` studies. An inactive rule deletes nothing."""
    if not rule.active:
        return []
    reason = f"retention rule {rule.name}: {rule.days} days"
    done = []
    for study in due(rule, now)[:limit]:
        try:
            done.append(delete_study(study, reason=reason, rule=rule))
        except CannotDelete:
            continue  # new images came in the meantime
    return done


@transaction.atomic
def delete_study(
    study: Study,
    *,
    reason: str,
    by: User | None = None,
    rule: RetentionRule | None = None,
    address: str = "",
) -> Deletion:
    """Delete a study's images, and what analyses made of them once a case has no images left.

    Reports, findings, measurements and audit stay. Raises :class:`CannotDelete`.
    """
    cases = list(study.cases.select_for_update())
    if held := next((case for case in cases if case.state in OPEN_STATES), None):
        raise CannotDelete(
            gettext(
                "Case {pk} with these images is not signed yet. Sign it first, or take the study "
                "out of the case."
            ).format(pk=held.pk)
        )
    deletion = delete_images(study, reason=reason, by=by, rule=rule, address=address)
    for case in cases:
        if not case.studies.filter(deleted_at__isnull=True).exists():
            remove_volumes(case)
    return deletion


def apply_all(now: datetime) -> int:
    """Every active rule of every site; returns how many studies were deleted."""
    rules = RetentionRule.objects.filter(active=True).select_related("site").order_by("pk")
    return sum(len(apply_rule(rule, now)) for rule in rules)
