"""The rules by which studies become cases: defaults, changes, and what a change would do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import Count, Q

from workstation.accounts.models import Site, User
from workstation.accounts.services import record
from workstation.broker import nudge
from workstation.receiving.models import Patient, Study
from workstation.worklist.assembly import (
    Rule,
    SeriesFacts,
    StudyFacts,
    folded,
    grouped,
)
from workstation.worklist.default_rules import DEFAULT_RULES
from workstation.worklist.models import AssemblyRule, Case, CaseState, PlacementKind

UNREAD = (CaseState.RECEIVING, CaseState.ANALYSING, CaseState.READY)
"""Cases that no reader has begun; only these are taken apart or joined by themselves."""
BY_HAND = (PlacementKind.PUT_IN, PlacementKind.TAKEN_OUT, PlacementKind.COMPARED)
MOST_SHOWN = 100


@transaction.atomic
def ensure_default_rules(site: Site) -> None:
    """A new site starts with the shipped rules; a site that has rules keeps its own."""
    if AssemblyRule.objects.filter(site=site).exists():
        return
    for position, values in enumerate(DEFAULT_RULES, start=1):
        AssemblyRule.objects.get_or_create(
            site=site, name=values["name"], defaults={"position": position, **values}
        )


def rules_of(site: Site) -> list[AssemblyRule]:
    """The site's active rules in the order in which they are asked."""
    rows = list(AssemblyRule.objects.filter(site=site))
    if not rows:
        ensure_default_rules(site)
        rows = list(AssemblyRule.objects.filter(site=site))
    return [row for row in rows if row.active]


def as_rule(row: AssemblyRule) -> Rule:
    return Rule(
        key=row.pk or 0,
        name=row.name,
        within_days=row.within_days,
        body=tuple(folded(row.body).split()),
        anchor=tuple(row.anchor.upper().split()),
        companions=tuple(row.companions.upper().split()),
    )


def facts_of(studies: Iterable[Study]) -> dict[int, StudyFacts]:
    """What the rules want to know of each study; ``series`` should be prefetched."""
    found = {}
    for study in studies:
        series = list(study.series.all())
        words = [study.description]
        for one in series:
            words += [one.body_part, one.description]
        found[study.pk] = StudyFacts(
            key=study.pk,
            date=study.study_date,
            series=tuple(SeriesFacts(one.modality, one.role) for one in series),
            text=folded(*words),
        )
    return found


@transaction.atomic
def save_rule(rule: AssemblyRule, user: User, *, address: str = "") -> None:
    """Keep a new or changed rule and let the flow look at the cases it may concern."""
    new = rule.pk is None
    rule.save()
    record(
        "assemble", user=user, site=rule.site, obj=rule, remote_address=address,
        detail={
            "action": "rule added" if new else "rule changed", "within_days": rule.within_days,
            "active": rule.active, "position": rule.position,
        },
    )  # fmt: skip
    for case_id in _several_studies(rule.site).values_list("pk", flat=True):
        transaction.on_commit(partial(nudge, case_id))


@dataclass(frozen=True)
class Change:
    """What a rule would do to the unread cases of one patient."""

    patient: Patient
    cases: list[Case]
    text: str


def preview(site: Site, rules: Sequence[AssemblyRule]) -> list[Change]:
    """The unread cases that these rules would take apart or join, for the lead to look at."""
    asked = [as_rule(row) for row in rules if row.active]
    found = []
    patients = _several_studies(site).values_list("patient", flat=True).distinct()
    for patient in Patient.objects.filter(pk__in=patients).order_by("pk"):
        cases = list(
            Case.objects.filter(site=site, patient=patient, state__in=UNREAD)
            .order_by("received_at", "pk").prefetch_related("studies__series", "placements")
        )  # fmt: skip
        change = _change(patient, cases, asked)
        if change is not None:
            found.append(change)
        if len(found) == MOST_SHOWN:
            break
    return found


def _change(patient: Patient, cases: list[Case], rules: list[Rule]) -> Change | None:
    now: dict[int, int] = {}
    studies: dict[int, Study] = {}
    for case in cases:
        if any(placement.kind in BY_HAND for placement in case.placements.all()):
            continue
        for study in case.studies.all():
            if study.site_id == case.site_id:
                now[study.pk] = case.pk
                studies[study.pk] = study
    ordered = sorted(studies.values(), key=lambda s: (s.received_at, s.pk))
    facts = facts_of(ordered)
    groups = grouped(rules, [facts[study.pk] for study in ordered])
    before: dict[int, set[int]] = {}
    for study_id, case_id in now.items():
        before.setdefault(case_id, set()).add(study_id)
    after = [{member.key for member in group} for group in groups]
    if sorted(map(sorted, before.values())) == sorted(map(sorted, after)):
        return None
    concerned = [
        case for case in cases if before.get(case.pk) and before[case.pk] not in after
    ]
    text = (
        f"{len(studies)} studies in {len(before)} case{'s' * (len(before) != 1)} "
        f"would be read as {len(after)} case{'s' * (len(after) != 1)}"
    )
    return Change(patient, concerned, text)


def _several_studies(site: Site) -> Any:
    """Unread cases whose patient has more than one study: only these can change."""
    busy = (
        Patient.objects.filter(site=site, cases__state__in=UNREAD)
        .annotate(many=Count("studies", filter=Q(studies__cases__state__in=UNREAD), distinct=True))
        .filter(many__gt=1)
    )
    return Case.objects.filter(site=site, state__in=UNREAD, patient__in=busy.values("pk"))
