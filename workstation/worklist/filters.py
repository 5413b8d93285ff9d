"""Search, filters and order of the worklist, all answered by the database."""

from __future__ import annotations

from typing import Any

import django_filters
from django import forms
from django.db.models import Q, QuerySet
from django.http import HttpRequest, QueryDict
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from workstation.accounts.models import User
from workstation.accounts.preferences import preferences_of
from workstation.receiving.models import Patient
from workstation.receiving.names import name_key
from workstation.worklist.models import Case, CaseState, Priority

S = CaseState
FILTERS = "worklist.filters"
TABS: dict[str, tuple[str | Promise, tuple[CaseState, ...]]] = {
    "not_ready": (_("Not ready"), (S.RECEIVING, S.ANALYSING)),
    "ready": (_("Ready"), (S.READY,)),
    "mine": (_("Mine"), (S.READING, S.DRAFT)),
    "reading": (_("In reading"), (S.READING, S.DRAFT)),
    "signed": (_("Signed"), (S.SIGNED, S.ADDENDED)),
    "all": (_("All"), tuple(state for state in S if state != S.CLOSED)),
}
"""Tab -> (text, states). *Mine* are those of them that the person holds."""

ORDERS: dict[str, tuple[str, ...]] = {
    "urgency": ("priority", "received_at", "pk"),
    "patient": ("patient__name", "pk"),
    "received": ("received_at", "pk"),
    "state": ("state", "pk"),
    "study": ("title", "pk"),
}
"""Column -> database order; a leading minus in the query turns it round."""

MODALITIES = ("CT", "MR", "PT", "US")


ASKED = ("tab", "q", "modality", "priority", "order")
"""The words of a query string that say which cases a person wants to see, and how sorted."""
REMEMBERED = "worklist"


def asked(query: QueryDict) -> str:
    """``query`` with nothing but these words, and none of them empty."""
    kept = QueryDict(mutable=True)
    for name in ASKED:
        if value := query.get(name, ""):
            kept[name] = value
    return kept.urlencode()


def remember_query(request: HttpRequest) -> str:
    """The list as this person has it now; "next case" goes on from it."""
    query = asked(request.GET)
    if request.session.get(REMEMBERED, "") != query:
        request.session[REMEMBERED] = query
    return query


def remembered_query(request: HttpRequest) -> str:
    return str(request.session.get(REMEMBERED, ""))


def nothing_waits(query: str) -> str:
    """What a reader is told who asked for the next case when there is none."""
    narrowed = QueryDict(query)
    if any(narrowed.get(name) for name in ("q", "modality", "priority")):
        return gettext("No case of your filter is waiting. Other cases may be: clear the filter.")
    return gettext("No case is waiting. The list fills as studies arrive.")


def kept_filters(user: User) -> list[dict[str, Any]]:
    """The saved filters of a person, each with a ``query`` of known words only."""
    kept: list[dict[str, Any]] = preferences_of(user, FILTERS).get(FILTERS) or []
    return [{**one, "query": asked(QueryDict(one["query"]))} for one in kept]


class CaseFilter(django_filters.FilterSet):
    """Query string -> rows. Unknown values are refused by the form, not ignored."""

    q = django_filters.CharFilter(
        method="search",
        label=_("Search"),
        widget=forms.TextInput(
            attrs={
                "class": "input",
                "type": "search",
                "placeholder": _("Patient, ID, accession, study"),
                "autocomplete": "off",
            }
        ),
    )
    modality = django_filters.ChoiceFilter(
        label=_("Modality"),
        choices=[(m, m) for m in MODALITIES],
        field_name="modalities",
        lookup_expr="contains",
        empty_label=_("Any modality"),
    )
    priority = django_filters.ChoiceFilter(
        label=_("Priority"), choices=Priority.choices, empty_label=_("Any priority")
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


def ordering(value: str) -> tuple[str, ...]:
    """The order named by ``column`` or ``-column``; the default is urgency."""
    column = value.removeprefix("-")
    keys = ORDERS.get(column, ORDERS["urgency"])
    if not value.startswith("-"):
        return keys
    return tuple(key.removeprefix("-") if key.startswith("-") else f"-{key}" for key in keys)
