"""The panel beside the report that shows what the SUV of each PET stands on, and its forms."""

from __future__ import annotations

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from analysis.entries import ENTRY_LIMITS
from workstation.accounts.permissions import allowed, requires
from workstation.accounts.services import address_of
from workstation.analyzing.pet_inputs import (
    EntryRefused,
    enter_value,
    may_enter,
    pet_values,
    withdraw_value,
)
from workstation.analyzing.pet_models import PetEntry, PetQuantity
from workstation.analyzing.shown import current_run
from workstation.receiving.models import Series
from workstation.worklist.models import Case

TEMPLATE = "analyzing/_pet_values.html"


class EntryForm(forms.Form):
    """One value and where it comes from; what it means is checked by the service."""

    quantity = forms.CharField(max_length=10)
    value = forms.CharField(max_length=20)
    reason = forms.CharField(max_length=300)


@require_GET
@never_cache
@requires("case.view")
def values(request: HttpRequest, case_id: int) -> HttpResponse:
    """The panel; the case page that holds it writes the audit row."""
    return _panel(request, _case(request, case_id))


@require_POST
@requires("suv_input.enter")
def enter(request: HttpRequest, case_id: int, series_id: int) -> HttpResponse:
    """Keep a value; the answer is the panel, with a sentence if it was refused."""
    case = _case(request, case_id)
    rows = Series.objects.select_related("study").filter(study__cases=case)
    series = get_object_or_404(rows, pk=series_id)
    form = EntryForm(request.POST)
    error = ""
    if form.is_valid():
        try:
            enter_value(case, series, request.user, **form.cleaned_data,
                        address=address_of(request))  # fmt: skip
        except EntryRefused as refusal:
            error = str(refusal)
    else:
        error = "Enter a value, and in a few words where it comes from."
    return _panel(request, case, error=error, series_id=series.pk)


@require_POST
@requires("suv_input.enter")
def withdraw(request: HttpRequest, pet_entry_id: int) -> HttpResponse:
    """Take a value back."""
    rows = PetEntry.objects.for_user(request.user).select_related("case", "series")
    entry = get_object_or_404(rows, pk=pet_entry_id)
    error = ""
    try:
        withdraw_value(entry, request.user, address=address_of(request))
    except EntryRefused as refusal:
        error = str(refusal)
    return _panel(request, entry.case, error=error, series_id=entry.series_id)


def _case(request: HttpRequest, case_id: int) -> Case:
    return get_object_or_404(Case.objects.for_user(request.user), pk=case_id)


def _range(quantity: PetQuantity) -> str:
    """E.g. ``0.5 to 500``; ``M or F``."""
    low_high = ENTRY_LIMITS.get(quantity.value)
    return f"{low_high[0]:g} to {low_high[1]:g}" if low_high else "M or F"


def _panel(
    request: HttpRequest, case: Case, *, error: str = "", series_id: int | None = None
) -> HttpResponse:
    return render(
        request,
        TEMPLATE,
        {
            "case": case,
            "series": pet_values(case, current_run(case)),
            "may_enter": allowed(request.user, "suv_input.enter")
            and may_enter(case, request.user),
            "quantities": [
                {"code": q.value, "label": q.label, "range": _range(q)} for q in PetQuantity
            ],
            "error": error,
            "error_series": series_id,
        },
    )
