"""The same patient's earlier studies, the most relevant first, and how each can be looked at.

Relevance: the same part of the body before all else, then modality and role, then the most recent.
What an entry shares with the current images is told with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db.models import Q, QuerySet
from django.utils.translation import gettext, ngettext

from workstation.accounts.models import User
from workstation.analyzing.models import Finding, Layer, LayerKind
from workstation.analyzing.requests import prior_studies
from workstation.analyzing.shown import current_run
from workstation.reading.measured_layers import Statuses
from workstation.receiving.models import Patient, Study
from workstation.receiving.regions import overlap, regions_of
from workstation.receiving.services import linked_to
from workstation.worklist.models import Case, CaseState
from workstation.worklist.services import NOT_IMAGES, OPEN_STATES, compared_studies

MOST = 100
"""Entries of a list; the most relevant ones."""


@dataclass(frozen=True)
class Content:
    """What a study, or the current studies together, show. ``day``: None if it is not known."""

    day: date | None
    regions: frozenset[str]
    modalities: frozenset[str]
    roles: frozenset[str]


@dataclass(frozen=True)
class Relevance:
    """Why a prior stands where it does; compares by relevance, the most relevant first."""

    same_region: bool | None
    """None: the region of one of them is not known."""
    modalities: tuple[str, ...]
    roles: tuple[str, ...]
    days: int | None

    @property
    def rank(self) -> tuple[int, int, int, float]:
        region = {True: 0, None: 1, False: 2}[self.same_region]
        age = float("inf") if self.days is None else self.days
        return region, 0 if self.modalities else 1, 0 if self.roles else 1, age

    @property
    def words(self) -> str:
        """E.g. ``Same body part, same modality (CT), 300 days earlier``."""
        told = {
            True: gettext("same body part"),
            False: gettext("another body part"),
            None: gettext("body part not known"),
        }[self.same_region]
        parts = [told]
        if self.modalities:
            names = " ".join(self.modalities)
            parts.append(gettext("same modality ({modalities})").format(modalities=names))
        else:
            parts.append(gettext("another modality"))
        if self.days is None:
            parts.append(gettext("without a date"))
        elif self.days == 0:
            parts.append(gettext("the same day"))
        else:
            days = ngettext("{n} day earlier", "{n} days earlier", self.days)
            parts.append(days.format(n=self.days))
        return ", ".join(parts)


def relevance(current: Content, earlier: Content) -> Relevance:
    """How much an earlier study has to do with the current images."""
    same: bool | None = None
    if current.regions and earlier.regions:
        same = overlap(current.regions, earlier.regions)
    days = None
    if current.day is not None and earlier.day is not None:
        days = (current.day - earlier.day).days
    return Relevance(
        same,
        tuple(sorted(current.modalities & earlier.modalities)),
        tuple(sorted(current.roles & earlier.roles)),
        days,
    )


def content_of(studies: Iterable[Study]) -> Content:
    """What some studies show together; the day is that of the newest."""
    rows = list(studies)
    series = [one for study in rows for one in study.series.all()]
    days = [study.study_date for study in rows if study.study_date]
    return Content(
        day=max(days, default=None),
        regions=regions_of(
            [one.body_part for one in series],
            [*(s.description for s in rows), *(one.description for one in series)],
        ),
        modalities=frozenset(one.modality for one in series) - set(NOT_IMAGES),
        roles=frozenset(one.role for one in series if one.role),
    )


def current_studies(case: Case) -> list[Study]:
    """The studies that the case is about: all but those there for comparison."""
    rows = case.studies.exclude(pk__in=prior_studies(case)).prefetch_related("series")
    return list(rows.order_by("pk"))


def people_of(case: Case) -> QuerySet[Patient]:
    """The patient of a case under every ID that is known to be theirs."""
    ids = {case.patient_id, *(other.pk for other in linked_to(case.patient))}
    return Patient.objects.filter(Q(pk__in=ids) | Q(merged_into__in=ids))


@dataclass(frozen=True)
class Prior:
    """An earlier study of the patient. ``read_in``: the other case in which it is read, if any."""

    study: Study
    relevance: Relevance
    read_in: Case | None
    in_case: bool


def priors_of(case: Case, user: User) -> list[Prior]:
    """Earlier studies at the user's sites, and those already in the case; best first."""
    now = current_studies(case)
    current = content_of(now)
    visible = Study.objects.for_user(user).filter(patient__in=people_of(case), deleted_at=None)
    rows = Study.objects.filter(Q(pk__in=visible) | Q(pk__in=prior_studies(case)))
    rows = rows.exclude(pk__in=[study.pk for study in now])
    here = set(case.studies.values_list("pk", flat=True))
    found = []
    for study in rows.select_related("site", "patient").prefetch_related("series"):
        fits = relevance(current, content_of([study]))
        if fits.days is not None and fits.days < 0:
            continue  # a later study is no prior
        found.append(Prior(study, fits, _read_in(study, case, user), study.pk in here))
    found.sort(key=lambda one: (one.relevance.rank, -one.study.pk))
    return found[:MOST]


def _read_in(study: Study, case: Case, user: User) -> Case | None:
    # A case that was signed under another patient is not this patient's to open.
    own = Case.objects.for_user(user).filter(patient__in=people_of(case))
    cases = own.filter(studies=study).exclude(pk=case.pk)
    for other in cases.exclude(state=CaseState.CLOSED).select_related("patient").order_by("pk"):
        if study.pk not in set(compared_studies(other)):
            return other
    return None


def prior_json(prior: Prior, case: Case, statuses: Statuses, may_change: bool) -> dict[str, Any]:
    """One entry of the list. ``may_change``: the user reads this case now."""
    study, other = prior.study, prior.read_in
    series = {one.pk for one in study.series.all()}
    layers = [
        {"id": layer.pk, "label": layer.label, "fused": status.fused, "badge": status.badge}
        for layer, status, _ in statuses
        if layer.kind == LayerKind.SERIES and not layer.is_sibling and layer.series_id in series
    ]
    compared = study.pk in set(compared_studies(case)) if prior.in_case else False
    why_not = _why_not_register(prior, case, may_change)
    return {
        "study": study.pk,
        "date": study.study_date.isoformat() if study.study_date else "",
        "description": study.description,
        "accession": study.accession_number,
        "modalities": sorted(content_of([study]).modalities),
        "site": study.site.name if study.site_id != case.site_id else "",
        "patient": _identity(other.patient if other else study.patient),
        "linked": study.patient_id != case.patient_id,
        "reason": prior.relevance.words,
        "days": prior.relevance.days,
        "case": other.pk if other else None,
        "case_state": other.get_state_display() if other else "",
        "view": f"/api/cases/{other.pk}/view/" if other and _has_images(other) else None,
        "in_case": prior.in_case,
        "layers": layers,
        "can_register": not why_not and not prior.in_case,
        "why_not": "" if prior.in_case else why_not,
        "can_take_out": compared and may_change,
    }


def _identity(patient: Patient) -> dict[str, str]:
    return {
        "name": patient.display_name,
        "patient_id": patient.patient_id,
        "issuer": patient.issuer,
    }


def _has_images(case: Case) -> bool:
    run = current_run(case)
    return run is not None and Layer.objects.filter(run=run, is_reference=True).exists()


def _why_not_register(prior: Prior, case: Case, may_change: bool) -> str:
    if case.state not in OPEN_STATES:
        return gettext("The case is signed.")
    if not may_change:
        return gettext("Claim the case to register an earlier study with it.")
    if prior.study.study_date is None:
        return gettext("The study has no date.")
    if prior.study.completed_at is None:
        return gettext("The study is still arriving.")
    return ""


def findings_of(case: Case) -> list[Finding]:
    """What the run on screen found and the reader did not reject."""
    run = current_run(case)
    if run is None:
        return []
    rows = run.findings.select_related("review", "run__case").order_by("number")
    return [one for one in rows if getattr(one, "review", None) is None or
            one.review.state != "rejected"]
