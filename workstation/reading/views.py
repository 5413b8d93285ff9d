"""The case page: banner, viewer island, report panel."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from workstation.accounts.permissions import requires
from workstation.accounts.services import address_of, record
from workstation.reading.asking import case_for


@require_GET
@never_cache
@requires("case.view")
def case(request: HttpRequest, case_id: int) -> HttpResponse:
    """Opening a case is audited; whether it may be changed depends on the claim."""
    found = case_for(request, case_id)
    record(
        "view", user=request.user, site=found.site, obj=found, case_id=found.pk,
        remote_address=address_of(request), detail={"what": "case"},
    )  # fmt: skip
    studies = list(found.studies.select_related("site").order_by("study_date", "pk"))
    return render(
        request,
        "reading/case.html",
        {
            "case": found,
            "patient": found.patient,
            "studies": studies,
            "age": next((s.patient_age for s in reversed(studies) if s.patient_age), ""),
            # On another monitor: the same images, without the report.
            "second": request.GET.get("window") == "2",
            "mine": bool(getattr(found, "claim", None))
            and found.claim.user_id == request.user.pk,
        },
    )
