"""Search, filters and order of the worklist, all answered by the database."""

from __future__ import annotations

from typing import Any

import django_filters
from django import forms
from django.db.models import Q, QuerySet

from workstation.receiving.models import Patient
from workstation.receiving.names import name_key
from workstation.worklist.models import Case, CaseState, Priority

S = CaseState
TABS: dict[str, tuple[str, tuple[CaseState, ...]]] = {
    "ready": ("Ready", (S.READY,)),
    "reading": ("In reading", (S.READING, S.DRAFT)),
    "not_ready": ("Not ready", (S.RECEIVING, S.ANALYSING)),
    "signed": ("Signed", (S.SIGNED, S.ADDENDED)),
    "all": ("All", tuple(state for state in S if state != S.CLOSED)),
}
"""Tab -> (text, states)."""

ORDERS: dict[str, tuple[str, ...]] = {
    "urgency": ("priority", "received_at", "pk"),
    "patient": ("patient__name", "pk"),
    "received": ("received_at", "pk"),
    "state": ("state", "pk"),
    "study": ("title", "pk"),
}
"""Column -> database order; a leading minus in the query turns it round."""

MODALITIES = ("CT", "MR", "PT", "US")


class CaseFilter(django_filters.FilterSet):
    """Query string -> rows. Unknown values are refused by the form, not ignored."""

    q = django_filters.CharFilter(
        method="search",
        label="Search",
        widget=forms.TextInput(
            attrs={
                "class": "input",
                "type": "search",
                "placeholder": "Patient, ID, accession, study",
                "autocomplete": "off",
            }
        ),
    )
    modality = django_filters.ChoiceFilter(
        label="Modality",
        choices=[(m, m) for m in MODALITIES],
        field_name="modalities",
        lookup_expr="contains",
        empty_label="Any modality",
    )
    priority = django_filters.ChoiceFilter(
        label="Priority", choices=Priority.choices, empty_label="Any priority"
    )
    mine = django_filters.BooleanFilter(
        label="Held by me", method="held_by_me", widget=forms.CheckboxInput
    )

    class Meta:
        model = Case
        fields: list[str] = []

    def search(self, rows: QuerySet[Case], name: str, value: str) -> QuerySet[Case]:
        """Every word must begin a part of the name, or occur in the ID, an accession number or
        the title."""
        members = Case.studies.through.objects
        for word in value.replace("^", " ").replace(",", " ").split():
            named = Q(patient_id__icontains=word)
            if parts := name_key(word).split():
                named |= Q(*(Q(name_key__contains=f" {part}") for part in parts))
            ordered = members.filter(study__accession_number__icontains=word)
            rows = rows.filter(
                Q(patient__in=Patient.objects.filter(named).values("pk"))
                | Q(title__icontains=word)
                | Q(pk__in=ordered.values("case"))
            )
        return rows

    def held_by_me(self, rows: QuerySet[Case], name: str, value: Any) -> QuerySet[Case]:
        return rows.filter(claim__user=self.request.user) if value else rows


def ordering(value: str) -> tuple[str, ...]:
    """The order named by ``column`` or ``-column``; the default is urgency."""
    column = value.removeprefix("-")
    keys = ORDERS.get(column, ORDERS["urgency"])
    if not value.startswith("-"):
        return keys
    return tuple(key.removeprefix("-") if key.startswith("-") else f"-{key}" for key in keys)
