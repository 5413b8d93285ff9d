"""What people ask the archive for, turned into queries; every row passes the user's row filter."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from django import forms
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.utils.translation import gettext_lazy

from workstation.accounts.models import Site, User
from workstation.receiving.models import Patient, Series, Study
from workstation.receiving.names import name_key
from workstation.receiving.services import with_conflicts

PAGE_SIZE = 25
LAST_PAGE = 200
"""Further back nobody leafs; the search is narrowed instead, and the database never counts."""
ORDERS: dict[str, tuple[str, ...]] = {
    "date": ("study_date", "pk"),
    "-date": ("-study_date", "-pk"),
    "patient": ("patient__name_key", "pk"),
    "-patient": ("-patient__name_key", "-pk"),
    "received": ("last_received_at", "pk"),
    "-received": ("-last_received_at", "-pk"),
}
MODALITIES = ("CT", "MR", "PT", "US", "CR", "DX", "MG", "NM", "XA", "SR", "SEG", "RTSTRUCT")
SEARCH = {"class": "input", "type": "search", "autocomplete": "off"}
DATE = {"class": "input", "type": "date"}


class ArchiveForm(forms.Form):
    """The search of the archive page."""

    patient = forms.CharField(
        required=False, max_length=100, label=gettext_lazy("Patient name or ID"),
        widget=forms.TextInput(attrs={**SEARCH, "placeholder": "Patient name or ID"}),
    )  # fmt: skip
    accession = forms.CharField(
        required=False, max_length=64, label=gettext_lazy("Accession number"),
        widget=forms.TextInput(attrs={**SEARCH, "placeholder": "Accession", "size": "10"}),
    )  # fmt: skip
    description = forms.CharField(
        required=False, max_length=64, label=gettext_lazy("Description"),
        widget=forms.TextInput(attrs={**SEARCH, "placeholder": "Description", "size": "12"}),
    )  # fmt: skip
    date_from = forms.DateField(
        required=False,
        label=gettext_lazy("From"),
        widget=forms.DateInput(attrs=DATE, format="%Y-%m-%d"),
    )
    date_to = forms.DateField(
        required=False,
        label=gettext_lazy("To"),
        widget=forms.DateInput(attrs=DATE, format="%Y-%m-%d"),
    )
    modality = forms.ChoiceField(
        required=False, choices=[("", "Any modality"), *((m, m) for m in MODALITIES)],
        widget=forms.Select(attrs={"class": "input"}),
    )  # fmt: skip
    site = forms.ModelChoiceField(
        Site.objects.none(), required=False, empty_label=gettext_lazy("All my sites"),
        widget=forms.Select(attrs={"class": "input"}),
    )  # fmt: skip
    conflicts = forms.BooleanField(required=False, label=gettext_lazy("Conflicts only"))

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["site"].queryset = user.sites.order_by("name")  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Found:
    """One page of studies, and whether there are more."""

    studies: list[Study]
    number: int
    more: bool


def search(user: User, asked: dict[str, Any], order: str, number: int) -> Found:
    """The page ``number`` (from 1) of what was asked for; ``asked`` is the cleaned form."""
    number = min(max(number, 1), LAST_PAGE)
    start = (number - 1) * PAGE_SIZE
    rows = _filtered(user, asked).order_by(*ORDERS.get(order, ORDERS["-date"]))
    keys = list(rows.values_list("pk", flat=True)[start : start + PAGE_SIZE + 1])
    shown = keys[:PAGE_SIZE]
    by_key = {
        study.pk: study
        for study in Study.objects.filter(pk__in=shown)
        .select_related("patient", "site")
        .defer("header")
    }
    studies = [by_key[key] for key in shown if key in by_key]
    _describe(studies)
    return Found(studies, number, len(keys) > PAGE_SIZE and number < LAST_PAGE)


def _filtered(user: User, asked: dict[str, Any]) -> QuerySet[Study]:
    # The few sites are named, not joined: the planner then knows how many rows to expect.
    sites = list(user.sites.values_list("pk", flat=True)) if user.is_active else []
    if asked.get("site"):
        sites = [asked["site"].pk] if asked["site"].pk in sites else []
    rows = Study.objects.filter(site__in=sites)
    if asked.get("patient"):
        rows = rows.filter(patient__in=_patients(sites, asked["patient"]))
    if asked.get("accession"):
        rows = rows.filter(accession_number__istartswith=asked["accession"].strip())
    if asked.get("description"):
        rows = rows.filter(description__icontains=asked["description"].strip())
    rows = _between(rows, asked.get("date_from"), asked.get("date_to"))
    if asked.get("modality"):
        series = Series.objects.filter(study=OuterRef("pk"), modality=asked["modality"])
        rows = rows.filter(Exists(series))
    if asked.get("conflicts"):
        rows = with_conflicts(rows)
    return rows


def _between(rows: QuerySet[Study], start: date | None, end: date | None) -> QuerySet[Study]:
    if start is not None:
        rows = rows.filter(study_date__gte=start)
    if end is not None:
        rows = rows.filter(study_date__lte=end)
    return rows


def _patients(sites: list[int], text: str) -> QuerySet[Patient]:
    """Every word begins a part of the name, or the whole text begins the ID; also an ID that was
    merged into the patient."""
    named = Q()
    for word in name_key(text).split():
        named &= Q(name_key__contains=f" {word}")
    begins = text.strip()
    known = Q(patient_id__istartswith=begins) | Q(merged__patient_id__istartswith=begins)
    return Patient.objects.filter(site__in=sites).filter((named | known) if named else known)


def _describe(studies: list[Study]) -> None:
    """Modalities, series and images of each study, and whether something contradicts it."""
    keys = [study.pk for study in studies]
    modalities: dict[int, set[str]] = {key: set() for key in keys}
    series: dict[int, int] = dict.fromkeys(keys, 0)
    images: dict[int, int] = dict.fromkeys(keys, 0)
    for study_id, modality, count in (
        Series.objects.filter(study__in=keys)
        .annotate(count=Count("instances"))
        .values_list("study", "modality", "count")
    ):
        modalities[study_id].add(modality)
        series[study_id] += 1
        images[study_id] += count
    contradicted = set(
        with_conflicts(Study.objects.filter(pk__in=keys)).values_list("pk", flat=True)
    )
    for study in studies:
        study.modalities = " ".join(sorted(modalities[study.pk]))
        study.series_count = series[study.pk]
        study.image_count = images[study.pk]
        study.contradicted = study.pk in contradicted
