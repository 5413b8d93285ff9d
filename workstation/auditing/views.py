"""The audit browser: who did what, for leads and administrators."""

from __future__ import annotations

import django_filters
from django import forms
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from workstation.accounts.models import AuditRecord, User
from workstation.accounts.permissions import requires
from workstation.accounts.services import ACTIONS, address_of, record

PAGE_SIZE = 100
_INPUT = {"class": "input"}


class TrailFilter(django_filters.FilterSet):
    """Search the trail by person, action, case and day."""

    username = django_filters.CharFilter(
        lookup_expr="icontains",
        label=gettext_lazy("Person"),
        widget=forms.TextInput(attrs={**_INPUT, "type": "search", "placeholder": "Person"}),
    )
    action = django_filters.ChoiceFilter(
        choices=[(a, a.replace("_", " ").capitalize()) for a in ACTIONS],
        label=gettext_lazy("Action"),
        empty_label=gettext_lazy("Any action"),
    )
    case_id = django_filters.NumberFilter(
        label=gettext_lazy("Case"),
        widget=forms.NumberInput(attrs={**_INPUT, "placeholder": "Case no."}),
    )
    day = django_filters.DateFilter(
        field_name="at",
        lookup_expr="date",
        label=gettext_lazy("Day"),
        widget=forms.DateInput(attrs={**_INPUT, "type": "date"}),
    )

    class Meta:
        model = AuditRecord
        fields: list[str] = []


def visible_records(user: User) -> QuerySet[AuditRecord]:
    """Rows of the user's sites, and the sign-ins of people who share a site with the user."""
    sites = user.sites.all()
    return AuditRecord.objects.filter(
        Q(site__in=sites) | Q(site=None, user__sites__in=sites)
    ).distinct()


@require_GET
@requires("audit.view")
def trail(request: HttpRequest) -> HttpResponse:
    """Newest first; filters are the query string, so a view can be linked."""
    filtered = TrailFilter(
        request.GET, queryset=visible_records(request.user).select_related("site", "user")
    )
    page = Paginator(filtered.qs, PAGE_SIZE).get_page(request.GET.get("page"))
    # Who watched the watchers: reading the trail is a row of it too.
    record("view", user=request.user, remote_address=address_of(request), detail={"what": "audit"})
    return render(
        request,
        "auditing/trail.html",
        {"filter": filtered, "page": page, "actions": ACTIONS},
    )
