"""Pages about runs: the list for those who watch the machine, one run, and its retry."""

from __future__ import annotations

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_POST

from workstation.accounts.permissions import requires
from workstation.accounts.services import address_of
from workstation.analyzing.models import Run, Step
from workstation.analyzing.services import RetryRefused, latest_run, retry_run
from workstation.worklist.models import Case

PAGE_SIZE = 50


@require_GET
@requires("run.view")
def runs(request: HttpRequest) -> HttpResponse:
    """The newest run of each case, newest first; ``?failed=1`` only those that need somebody.

    Case numbers only: whoever looks after the machine need not see patients.
    """
    rows = (
        Run.objects.for_user(request.user)
        .latest_of_each_case()
        .with_progress()
        .select_related("case__site")
        .prefetch_related("steps")
        .order_by("-created_at")
    )
    only_failed = bool(request.GET.get("failed"))
    if only_failed:
        rows = rows.filter(steps_failed__gt=0)
    page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    template = "analyzing/_runs.html" if request.htmx else "analyzing/runs.html"
    return render(request, template, {"page": page, "only_failed": only_failed})


@require_GET
@requires("run.view")
def run(request: HttpRequest, run_id: int) -> HttpResponse:
    """One run with its steps, notices and history; with htmx only the part that changes."""
    found = get_object_or_404(
        Run.objects.for_user(request.user).select_related("case").prefetch_related("notices"),
        pk=run_id,
    )
    return _show(request, found)


@require_GET
@requires("run.view")
def case_run(request: HttpRequest, case_id: int) -> HttpResponse:
    """The newest run of a case, as a part of other pages."""
    case = get_object_or_404(Case.objects.for_user(request.user), pk=case_id)
    return _show(request, latest_run(case), case)


def _show(request: HttpRequest, found: Run | None, case: Case | None = None) -> HttpResponse:
    steps = Step.objects.filter(run=found).prefetch_related("events__by") if found else []
    newest = latest_run(found.case) if found else None
    template = "analyzing/_run.html" if request.htmx or case else "analyzing/run.html"
    return render(
        request,
        template,
        {
            "run": found,
            "case": case or (found.case if found else None),
            "steps": steps,
            "newest": newest,
            "embedded": case is not None,
        },
    )


@require_POST
@requires("run.retry")
def retry(request: HttpRequest, run_id: int) -> HttpResponse:
    """Let a failed run go on where it stopped."""
    found = get_object_or_404(Run.objects.for_user(request.user), pk=run_id)
    try:
        retry_run(found, request.user, address=address_of(request))
        messages.success(request, gettext("The analysis goes on where it stopped."))
    except RetryRefused as refusal:
        messages.warning(request, str(refusal))
    return redirect("analyzing:run", run_id=found.pk)
