"""The archive: what is stored, whose it is, and where it came from."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Max, Min
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from workstation.accounts.permissions import allowed, requires
from workstation.accounts.services import address_of, record
from workstation.receiving.archive_search import ArchiveForm, Found, search
from workstation.receiving.models import IdentityChange, Instance, Patient, PatientLink, Study
from workstation.receiving.services import (
    CONFLICTS,
    named_by_headers,
    notices_for,
    possibly_same,
    resolve,
    with_conflicts,
)
from workstation.receiving.views.roles import roles_context


@require_GET
@requires("archive.view")
def archive(request: HttpRequest) -> HttpResponse:
    """Search studies; with htmx only the table. Lists are audited, also each further page."""
    form = ArchiveForm(request.user, request.GET or None)
    order = request.GET.get("order", "-date")
    found = Found([], 1, False)
    if not form.is_bound or form.is_valid():
        asked = form.cleaned_data if form.is_bound else {}
        page = request.GET.get("page", "1")
        number = int(page) if page.isascii() and page.isdigit() and len(page) < 6 else 1
        found = search(request.user, asked, order, number)
        if found.studies:
            record("list", user=request.user, remote_address=address_of(request),
                   detail={"studies": [study.pk for study in found.studies]})  # fmt: skip
    visible = Study.objects.for_user(request.user)
    context = {
        "form": form,
        "found": found,
        "order": order,
        "asked": any(value for key, value in request.GET.items() if key not in ("order", "page")),
        "conflicts": with_conflicts(visible).count(),
        "several_sites": request.user.sites.count() > 1,
    }
    template = "receiving/_archive.html" if request.htmx else "receiving/archive.html"
    return render(request, template, context)


@require_GET
@requires("archive.view")
def study(request: HttpRequest, study_id: int) -> HttpResponse:
    """One study: its series, what contradicts it, where it came from, its cases, its history."""
    rows = Study.objects.for_user(request.user).select_related("patient", "site", "received_as")
    found = get_object_or_404(rows, pk=study_id)
    record(
        "view", user=request.user, site=found.site, obj=found, remote_address=address_of(request),
        detail={"what": "study"},
    )  # fmt: skip
    notices = notices_for(found)
    own_sites = request.user.sites.all()
    context: dict[str, Any] = {
        "study": found,
        "patient": found.patient,
        **roles_context(found, request.user),
        "received": Instance.objects.filter(series__study=found).count(),
        "sources": Instance.objects.filter(series__study=found)
        .values("source")
        .annotate(images=Count("pk"), first=Min("received_at"), last=Max("received_at"))
        .order_by("first"),
        "conflicts": [notice for notice in notices if notice.code in CONFLICTS],
        "notices": [notice for notice in notices if notice.code not in CONFLICTS],
        "named": named_by_headers(found),
        "cases": found.cases.filter(site__in=own_sites).select_related("site").order_by("pk"),
        "changes": found.identity_changes.select_related(
            "from_patient", "to_patient", "by", "undone_by"
        ),
    }
    return render(request, "receiving/study.html", context)


@require_GET
@requires("archive.view")
def patient(request: HttpRequest, patient_id: int) -> HttpResponse:
    """One patient of a site: IDs, links, studies, who may be the same, what was changed."""
    rows = Patient.objects.for_user(request.user).select_related("site", "merged_into")
    found = get_object_or_404(rows, pk=patient_id)
    record(
        "view", user=request.user, site=found.site, obj=found, remote_address=address_of(request),
        detail={"what": "patient"},
    )  # fmt: skip
    own_sites = set(request.user.sites.values_list("pk", flat=True))
    links = PatientLink.objects.filter(patient=found).select_related("other__site", "by")
    changes = IdentityChange.objects.for_user(request.user).select_related(
        "from_patient", "to_patient", "by", "undone_by"
    )
    may_suggest = allowed(request.user, "patient.merge")
    context: dict[str, Any] = {
        "patient": found,
        "today": resolve(found),
        "merged": found.merged.order_by("patient_id"),
        # The other site's patient is named only to people of that site.
        "links": [(link, link.other.site_id in own_sites) for link in links],
        "studies": found.studies.select_related("site").order_by("-study_date", "-pk")[:200],
        "suggested": possibly_same(found, request.user) if may_suggest else [],
        "changes": (changes.filter(from_patient=found) | changes.filter(to_patient=found))[:50],
    }
    return render(request, "receiving/patient.html", context)
