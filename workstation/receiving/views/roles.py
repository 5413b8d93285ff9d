"""The roles of a study's series: shown with their reason, corrected by hand."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET, require_POST

from workstation.accounts.permissions import allowed, requires
from workstation.accounts.services import address_of
from workstation.receiving.models import RoleSource, Series, Study
from workstation.receiving.services.tagging import (
    CannotTag,
    clear_role,
    role_choices,
    role_label,
    set_role,
)

TEMPLATE = "receiving/_series_roles.html"


class RoleForm(forms.Form):
    """Another role, and why."""

    role = forms.CharField(max_length=32)
    reason = forms.CharField(max_length=300, strip=True)


def roles_context(study: Study, user: Any) -> dict[str, Any]:
    """What ``receiving/_series_roles.html`` needs, for pages that include it."""
    rows = (
        study.series.select_related("role_set_by")
        .annotate(images=Count("instances"))
        .order_by("series_number", "pk")
    )
    may_set = allowed(user, "series.tag")
    return {
        "study": study,
        "may_set_role": may_set,
        "series_roles": [
            {
                "series": row,
                "label": role_label(row),
                "by_hand": row.role_source == RoleSource.MANUAL,
                "unsure": row.role_details.get("by") == "none",
                "conflict": bool(row.role_details.get("conflict")),
                "choices": role_choices(row) if may_set else [],
            }
            for row in rows
        ],
    }


@require_GET
@requires("archive.view")
def series_roles(request: HttpRequest, study_id: int) -> HttpResponse:
    """The list alone, as a page loads or refreshes it; the page itself writes the audit row."""
    study = get_object_or_404(Study.objects.for_user(request.user), pk=study_id)
    return render(request, TEMPLATE, roles_context(study, request.user))


@require_POST
@requires("series.tag")
def series_role(request: HttpRequest, series_id: int) -> HttpResponse:
    """Set a role by hand; the answer is the list again, with a sentence if it was refused."""
    series = _series(request, series_id)
    form = RoleForm(request.POST)
    error = ""
    if form.is_valid():
        try:
            set_role(
                series, request.user, form.cleaned_data["role"], form.cleaned_data["reason"],
                address=address_of(request),
            )  # fmt: skip
        except CannotTag as refusal:
            error = str(refusal)
    else:
        error = "Choose a role and say in a few words why (300 characters at most)."
    return _answer(request, series, error)


@require_POST
@requires("series.tag")
def series_role_clear(request: HttpRequest, series_id: int) -> HttpResponse:
    """Let the rules decide again."""
    series = _series(request, series_id)
    error = ""
    try:
        clear_role(series, request.user, address=address_of(request))
    except CannotTag as refusal:
        error = str(refusal)
    return _answer(request, series, error)


def _series(request: HttpRequest, series_id: int) -> Series:
    return get_object_or_404(
        Series.objects.for_user(request.user).select_related("study"), pk=series_id
    )


def _answer(request: HttpRequest, series: Series, error: str) -> HttpResponse:
    context = roles_context(series.study, request.user)
    return render(
        request, TEMPLATE, context | {"role_error": error, "role_error_series": series.pk}
    )
