"""Merge, move, link: first both sides are shown beside each other, then it is done."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from workstation.accounts.models import Site
from workstation.accounts.permissions import requires
from workstation.accounts.services import address_of, record
from workstation.receiving.models import IdentityChange, Patient, PatientLink, Study
from workstation.receiving.services import (
    CannotChange,
    link_patients,
    merge_patients,
    move_study,
    resolve,
    undo_change,
    undo_link,
)

UNPROCESSABLE = 422
TEXT = forms.TextInput(attrs={"class": "input", "autocomplete": "off"})


class OtherPatientForm(forms.Form):
    """Who the other patient is: site, ID, and its issuer where the ID alone is not unique."""

    site = forms.ModelChoiceField(Site.objects.none(), empty_label=None,
                                  widget=forms.Select(attrs={"class": "input"}))  # fmt: skip
    patient_id = forms.CharField(max_length=64, label=gettext_lazy("Patient ID"), widget=TEXT)
    issuer = forms.CharField(
        max_length=64, required=False, label=gettext_lazy("Issuer of the ID"), widget=TEXT
    )

    def __init__(self, sites: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["site"].queryset = sites  # type: ignore[attr-defined]

    def found(self) -> list[Patient]:
        values = self.cleaned_data
        rows = Patient.objects.filter(
            site=values["site"], patient_id=values["patient_id"].strip()
        ).select_related("site")
        if values["issuer"].strip():
            rows = rows.filter(issuer=values["issuer"].strip())
        return list(rows.order_by("issuer")[:20])


@require_http_methods(["GET", "POST"])
@requires("patient.merge")
def merge(request: HttpRequest, patient_id: int) -> HttpResponse:
    """This ID belongs to another patient of the site."""
    source = _patient(request, patient_id)
    sites = request.user.sites.filter(pk=source.site_id)
    if request.method == "POST":
        other = _target(request)
        try:
            merge_patients(source, other, request.user, request.POST.get("reason", ""),
                           address=address_of(request))  # fmt: skip
        except CannotChange as refusal:
            return _compare(request, "merge", source, sites, refusal=refusal)
        messages.success(request, gettext("Merged. What still arrives under the old ID follows."))
        return redirect("receiving:patient", patient_id=other.pk)
    return _compare(request, "merge", source, sites)


@require_http_methods(["GET", "POST"])
@requires("patient.merge")
def move(request: HttpRequest, study_id: int) -> HttpResponse:
    """This study is of another patient of the site."""
    rows = Study.objects.for_user(request.user).select_related("patient__site", "site")
    study = get_object_or_404(rows, pk=study_id)
    sites = request.user.sites.filter(pk=study.site_id)
    if request.method == "POST":
        other = _target(request)
        try:
            move_study(study, other, request.user, request.POST.get("reason", ""),
                       address=address_of(request))  # fmt: skip
        except CannotChange as refusal:
            return _compare(request, "move", study.patient, sites, study, refusal)
        messages.success(request, gettext("Moved. More images of this study follow it."))
        return redirect("receiving:study", study_id=study.pk)
    return _compare(request, "move", study.patient, sites, study)


@require_http_methods(["GET", "POST"])
@requires("patient.link")
def link(request: HttpRequest, patient_id: int) -> HttpResponse:
    """This patient is a person whom another site knows under its own ID."""
    one = _patient(request, patient_id)
    sites = request.user.sites.exclude(pk=one.site_id)
    if request.method == "POST":
        other = _target(request)
        try:
            link_patients(one, other, request.user, request.POST.get("reason", ""),
                          address=address_of(request))  # fmt: skip
        except CannotChange as refusal:
            return _compare(request, "link", one, sites, refusal=refusal)
        messages.success(request, gettext("Linked. Each site keeps its ID and its studies."))
        return redirect("receiving:patient", patient_id=one.pk)
    return _compare(request, "link", one, sites)


@require_POST
@requires("patient.merge")
def undo(request: HttpRequest, change_id: int) -> HttpResponse:
    """Take a merge or move back."""
    change = get_object_or_404(IdentityChange.objects.for_user(request.user), pk=change_id)
    try:
        undo_change(change, request.user, address=address_of(request))
    except CannotChange as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, gettext("Taken back. Everything is where it was."))
    return redirect("receiving:patient", patient_id=change.from_patient_id)


@require_POST
@requires("patient.link")
def unlink(request: HttpRequest, link_id: int) -> HttpResponse:
    """The two are two persons after all."""
    found = get_object_or_404(PatientLink.objects.for_user(request.user), pk=link_id)
    try:
        undo_link(found, request.user, address=address_of(request))
    except CannotChange as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, gettext("The link is taken back."))
    return redirect("receiving:patient", patient_id=found.patient_id)


def _patient(request: HttpRequest, patient_id: int) -> Patient:
    rows = Patient.objects.for_user(request.user).select_related("site")
    return get_object_or_404(rows, pk=patient_id)


def _target(request: HttpRequest) -> Patient:
    """The other patient as the page showed it; of the user's sites."""
    key = request.POST.get("target", "")
    rows = Patient.objects.for_user(request.user).select_related("site")
    return get_object_or_404(rows, pk=int(key) if key.isascii() and key.isdigit() else 0)


def _compare(
    request: HttpRequest, action: str, one: Patient, sites: Any,
    study: Study | None = None, refusal: CannotChange | None = None,
) -> HttpResponse:  # fmt: skip
    """Ask for the other patient, show both, and let the person decide."""
    asked = request.GET if "patient_id" in request.GET else None
    form = OtherPatientForm(sites, asked)
    others: list[Patient] = []
    if refusal is not None:
        others = [_target(request)]
    elif asked is not None and form.is_valid():
        others = [other for other in form.found() if other.pk != one.pk]
    if others:
        record(
            "view", user=request.user, site=one.site, obj=one, remote_address=address_of(request),
            detail={"what": f"compare to {action}", "others": [other.pk for other in others]},
        )  # fmt: skip
    shown = resolve(others[0]) if len(others) == 1 else None
    context = {
        "action": action,
        "one": one,
        "study": study,
        "form": form,
        "asked": asked is not None and form.is_valid(),
        "others": others,
        "other": shown,
        "rows": _differences(one, shown) if shown else [],
        "refusal": refusal,
        "no_sites": not sites.exists(),
        "reason": request.POST.get("reason", "")[:255],
    }
    status = UNPROCESSABLE if refusal is not None else 200
    return render(request, "receiving/identity.html", context, status=status)


def _day(patient: Patient) -> str:
    return patient.birth_date.isoformat() if patient.birth_date else ""


def _differences(one: Patient, other: Patient) -> list[tuple[str, Any, Any, bool]]:
    """(what, here, there, whether they differ) for the person who decides."""
    pairs = [
        ("Name", one.display_name, other.display_name, one.name_key != other.name_key),
        ("Born", _day(one), _day(other), one.birth_date != other.birth_date),
        ("Sex", one.sex, other.sex, one.sex != other.sex),
    ]
    return [
        ("Site", one.site.name, other.site.name, False),
        ("ID", one.patient_id, other.patient_id, False),
        ("Issuer", one.issuer, other.issuer, False),
        *pairs,
        ("Studies", one.studies.count(), other.studies.count(), False),
    ]
