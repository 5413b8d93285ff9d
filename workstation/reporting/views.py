"""The report panel beside the images, sign-off, addendum, and the signed document."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from workstation.accounts.permissions import allowed, requires
from workstation.accounts.services import address_of, record
from workstation.analyzing.models import Finding
from workstation.analyzing.shown import current_run
from workstation.reading.models import FindingReview
from workstation.reading.services import ReviewRefused, review_finding
from workstation.receiving.services import notices_for
from workstation.reporting.difference import changes_since_draft
from workstation.reporting.documents import render_pdf
from workstation.reporting.models import Report, ReportSection
from workstation.reporting.services import (
    MEANINGS,
    ReportRefused,
    StaleRevision,
    addend_report,
    included_sentences,
    notice_of_kept_run,
    obstacles,
    restore_sentence,
    save_draft,
    seal,
    sign_report,
)
from workstation.worklist.filters import nothing_waits, remembered_query
from workstation.worklist.models import Case, CaseState
from workstation.worklist.services import claim_next, holds

SIGNED = (CaseState.SIGNED, CaseState.ADDENDED)


def _case(request: HttpRequest, case_id: int) -> Case:
    rows = Case.objects.for_user(request.user).select_related("patient", "site", "claim__user")
    return get_object_or_404(rows, pk=case_id)


def _report(case: Case) -> Report:
    return get_object_or_404(Report.objects.select_related("run", "saved_by"), case=case)


def case_notices(case: Case) -> list[dict[str, str]]:
    """What the reader must know before reading: how images arrived, what was refused; worst
    first. (Mere information stands in the viewer's list of notices.)"""
    found = [
        {"severity": notice.level, "text": notice.text, "about": study.description}
        for study in case.studies.order_by("pk")
        for notice in notices_for(study)
    ]
    run = current_run(case)
    for told in notice_of_kept_run(case, run) if run else []:
        found.append({"severity": told["severity"], "text": told["message"], "about": ""})
    for notice in run.notices.select_related("series") if run else []:
        about = notice.series.description or notice.series.modality if notice.series else ""
        found.append({"severity": notice.severity, "text": notice.message, "about": about})
    order = {"refused": 0, "warning": 1, "warn": 1}
    grave = [row for row in found if row["severity"] in order]
    return sorted(grave, key=lambda row: order[row["severity"]])


def _panel(request: HttpRequest, case: Case, **extra: Any) -> HttpResponse:
    report = Report.objects.select_related("run", "saved_by").filter(case=case).first()
    mine = holds(case, request.user)
    context: dict[str, Any] = {
        "case": case,
        "report": report,
        "writable": mine
        and case.state in (CaseState.READING, CaseState.DRAFT)
        and allowed(request.user, "report.edit"),
        "mine": mine,
        "signed": case.state in SIGNED,
        "meanings": MEANINGS,
        "notices": case_notices(case),
    }
    if report is not None:
        context.update(_report_context(report))
    context.update(extra)
    return render(request, "reporting/_panel.html", context)


def _report_context(report: Report) -> dict[str, Any]:
    findings = list(report.run.findings.order_by("number")) if report.run else []
    reviews = {
        review.finding_id: review
        for review in FindingReview.objects.filter(finding__in=findings).select_related("by")
    }
    rejected = {pk for pk, review in reviews.items() if review.state == "rejected"}
    sentences = list(report.sentences.select_related("finding"))
    sections = []
    for value, label in ReportSection.choices:
        rows = sorted(
            (s for s in sentences if s.section == value), key=lambda s: (s.position, s.pk)
        )
        sections.append(
            {
                "value": value,
                "label": label,
                "sentences": [
                    {
                        "row": s,
                        "struck": s.removed or s.finding_id in rejected,
                        "rejected": s.finding_id in rejected,
                        "review": reviews.get(s.finding_id),
                    }
                    for s in rows
                ],
            }
        )
    return {
        "sections": sections,
        "findings": [(finding, reviews.get(finding.pk)) for finding in findings],
        "pending": sum(1 for finding in findings if finding.pk not in reviews),
        "versions": [(v, json.loads(v.content)) for v in report.versions.order_by("number")],
        "obstacles": obstacles(report),
        "section_labels": dict(ReportSection.choices),
        # The signed text is canonical JSON with sorted keys; a report has an order of its own.
        "section_order": [*ReportSection.choices, ("addendum", "Addendum")],
    }


@require_GET
@never_cache
@requires("report.view")
def panel(request: HttpRequest, case_id: int) -> HttpResponse:
    """The report beside the images: the draft to its reader, read-only to others."""
    case = _case(request, case_id)
    record(
        "view", user=request.user, site=case.site, obj=case, case_id=case.pk,
        remote_address=address_of(request), detail={"what": "report"},
    )  # fmt: skip
    return _panel(request, case)


@require_POST
@requires("report.edit")
def save(request: HttpRequest, case_id: int) -> JsonResponse:
    """Autosave: ``revision`` and one ``s-<sentence id>`` field per sentence."""
    report = _report(_case(request, case_id))
    try:
        revision = int(request.POST.get("revision", ""))
        texts = {
            int(name.removeprefix("s-")): value
            for name, value in request.POST.items()
            if name.startswith("s-")
        }
    except ValueError:
        return JsonResponse({"detail": "The page is out of date. Reload it."}, status=400)
    try:
        saved = save_draft(
            report, request.user, revision=revision, texts=texts, address=address_of(request)
        )
    except StaleRevision as refusal:
        return JsonResponse({"detail": str(refusal)}, status=409)
    except ReportRefused as refusal:
        return JsonResponse({"detail": str(refusal)}, status=403)
    return JsonResponse({"revision": saved.revision})


@require_POST
@requires("report.edit")
def restore(request: HttpRequest, case_id: int, sentence_id: int) -> HttpResponse:
    """Undo: the AI's own words again."""
    case = _case(request, case_id)
    report = _report(case)
    get_object_or_404(report.sentences, pk=sentence_id)
    try:
        restore_sentence(report, request.user, sentence_id, address=address_of(request))
    except ReportRefused as refusal:
        return _panel(request, case, error=str(refusal))
    return _panel(request, case)


@require_POST
@requires("finding.review")
def review(request: HttpRequest, finding_id: int) -> HttpResponse:
    """Accept, edit or reject a finding from the report panel."""
    rows = Finding.objects.for_user(request.user).select_related("run__case")
    finding = get_object_or_404(rows, pk=finding_id)
    error = ""
    try:
        review_finding(
            finding,
            request.user,
            state=request.POST.get("state", ""),
            label=request.POST.get("label", ""),
            location=request.POST.get("location", ""),
            comment=request.POST.get("comment", ""),
            address=address_of(request),
        )
    except ReviewRefused as refusal:
        error = str(refusal)
    answer = _panel(request, _case(request, finding.run.case_id), error=error)
    answer["HX-Trigger"] = json.dumps({"radfuse:reviewed": {"finding": finding.pk}})
    return answer


@require_http_methods(["GET", "POST"])
@never_cache
@requires("report.sign")
def sign(request: HttpRequest, case_id: int) -> HttpResponse:
    """GET: the sign-off dialog with banner, difference and open points. POST: sign."""
    case = _case(request, case_id)
    report = _report(case)
    error = ""
    if request.method == "POST":
        try:
            sign_report(
                report,
                request.user,
                request,
                password=request.POST.get("password", ""),
                meaning=request.POST.get("meaning", ""),
                seen=request.POST.get("seen", ""),
            )
            if request.POST.get("then") == "next" and allowed(request.user, "case.claim"):
                return _next_case(request)
            answer = _panel(request, _case(request, case_id))
            answer["HX-Trigger"] = json.dumps(
                {
                    "radfuse:signed": {},
                    "radfuse:toast": {"message": gettext("Signed."), "level": "ok"},
                }
            )
            answer["HX-Retarget"] = "#report-panel"
            answer["HX-Reswap"] = "innerHTML"
            return answer
        except ReportRefused as refusal:
            error = str(refusal)
    return render(
        request,
        "reporting/_sign.html",
        {
            "case": case,
            "report": report,
            "seal": seal(report),
            "sentences": included_sentences(report),
            "section_labels": dict(ReportSection.choices),
            "changes": changes_since_draft(report),
            "obstacles": obstacles(report),
            "meanings": MEANINGS,
            "error": error,
        },
        status=422 if error else 200,
    )


def _next_case(request: HttpRequest) -> HttpResponse:
    """After signing: the browser goes on to the next case of the reader's list, or to the list."""
    query = remembered_query(request)
    case = claim_next(request.user, query, address=address_of(request))
    messages.success(request, gettext("Signed."))
    if case is None:
        messages.info(request, nothing_waits(query))
        target = f"{reverse('worklist:list')}?{query}"
    else:
        target = reverse("reading:case", args=[case.pk])
    return HttpResponse(status=204, headers={"HX-Redirect": target})


@require_POST
@requires("report.addend")
def addend(request: HttpRequest, case_id: int) -> HttpResponse:
    """Sign an addendum; a refused one keeps its text."""
    case = _case(request, case_id)
    try:
        addend_report(
            _report(case),
            request.user,
            request,
            text=request.POST.get("text", ""),
            password=request.POST.get("password", ""),
            meaning=request.POST.get("meaning", ""),
        )
    except ReportRefused as refusal:
        return _panel(request, case, error=str(refusal), addendum_text=request.POST.get("text", ""))
    return _panel(request, _case(request, case_id))


@require_GET
@never_cache
@requires("export.download")
def pdf(request: HttpRequest, case_id: int) -> HttpResponse:
    """The signed report as PDF, every version in it; before signing there is none."""
    case = _case(request, case_id)
    report = _report(case)
    newest = report.versions.order_by("number").last()
    if newest is None:
        return HttpResponse(
            gettext("The report is not signed yet; there is no document."), status=409
        )
    data = render_pdf(newest)
    record(
        "download", user=request.user, site=case.site, obj=report, case_id=case.pk,
        remote_address=address_of(request), detail={"document": "pdf"},
    )  # fmt: skip
    answer = HttpResponse(data, content_type="application/pdf")
    # The file name carries no patient data: downloads folders are read by others.
    answer["Content-Disposition"] = f'attachment; filename="report-case-{case.pk}.pdf"'
    return answer
