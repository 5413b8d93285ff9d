"""The list, and what a reader does from it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import mark_safe
from django.views.decorators.http import require_GET, require_POST

from workstation.accounts.permissions import allowed, requires
from workstation.accounts.services import address_of, record
from workstation.worklist.filters import TABS, CaseFilter, ordering
from workstation.worklist.models import Case, Priority
from workstation.worklist.services import (
    ClaimRefused,
    claim_case,
    release_case,
    set_priority,
)

PAGE_SIZE = 50
REMEMBERED = 500
"""Case ids a session remembers as already listed, so that a live refresh audits only new ones."""


@require_GET
@requires("case.list")
def case_list(request: HttpRequest) -> HttpResponse:
    """The worklist; with htmx only its table."""
    visible = Case.objects.for_user(request.user)
    filtered = CaseFilter(request.GET, queryset=visible, request=request)
    found = filtered.qs
    # The tab counts follow the search, so a hit in another tab is never overlooked.
    of_state = dict(found.order_by().values_list("state").annotate(count=Count("pk")))
    counts = {
        name: sum(of_state.get(state, 0) for state in states)
        for name, (_, states) in TABS.items()
    }
    tab = request.GET.get("tab", "")
    if tab not in TABS:
        tab = "ready"
    order = request.GET.get("order", "urgency")
    rows = (
        found.filter(state__in=TABS[tab][1])
        .select_related("patient", "site", "claim__user")
        .order_by(*ordering(order))
    )
    paginator = Paginator(rows, PAGE_SIZE)
    paginator.count = counts[tab]  # known already
    page = paginator.get_page(request.GET.get("page"))
    _prepare(page.object_list, request.user)
    _audit_listing(request, [case.pk for case in page])
    query = request.GET.copy()
    query.pop("page", None)
    context: dict[str, Any] = {
        "filter": filtered,
        "page": page,
        "tab": tab,
        "tabs": [(name, text, counts[name]) for name, (text, _) in TABS.items()],
        "order": order,
        "query": query.urlencode(),
        "any_case": bool(page.object_list) or visible.exists(),
    }
    template = "worklist/_table.html" if request.htmx else "worklist/list.html"
    return render(request, template, context)


def _prepare(cases: Iterable[Any], user: Any) -> None:
    """What each row's template asks several times, once: looking up a claim that is not there is
    dear in a template, and the choices of the priority are the same in every row."""
    options = {
        chosen: format_html_join(
            "", '<option value="{}"{}>{}</option>',
            (
                (value, mark_safe(" selected") if value == chosen else "", text)
                for value, text in Priority.choices
            ),
        )
        for chosen in Priority.values
    }  # fmt: skip
    for case in cases:
        claim = getattr(case, "claim", None)
        case.reader = claim.user.display_name if claim else ""
        case.mine = claim is not None and claim.user_id == user.pk
        case.priority_options = options[case.priority]


def _audit_listing(request: HttpRequest, ids: list[int]) -> None:
    seen: list[int] = request.session.get("listed", [])
    fresh = [pk for pk in ids if pk not in set(seen)]
    if fresh:
        request.session["listed"] = (seen + fresh)[-REMEMBERED:]
        record(
            "list", user=request.user, remote_address=address_of(request), detail={"cases": fresh}
        )


@require_POST
@requires("case.claim")
def claim(request: HttpRequest, case_id: int) -> HttpResponse:
    """Take the case and open it; a refused second reader is told who has it."""
    case = get_object_or_404(Case.objects.for_user(request.user), pk=case_id)
    try:
        claim_case(case, request.user, address=address_of(request))
    except ClaimRefused as refusal:
        messages.warning(request, f"Not claimed: {refusal}")
        return redirect("worklist:list")
    return redirect("reading:case", case_id=case.pk)


@require_POST
@requires("case.claim")
def release(request: HttpRequest, case_id: int) -> HttpResponse:
    """Give the case back; leads may free a case that another reader holds."""
    case = get_object_or_404(Case.objects.for_user(request.user), pk=case_id)
    try:
        release_case(
            case,
            request.user,
            forced=allowed(request.user, "case.release_other"),
            address=address_of(request),
        )
        messages.success(request, "The case is back on the list. The draft is kept.")
    except ClaimRefused as refusal:
        messages.warning(request, str(refusal))
    return redirect("worklist:list")


@require_POST
@requires("case.prioritise")
def prioritise(request: HttpRequest, case_id: int) -> HttpResponse:
    """Change the priority; the list refreshes by its live notice."""
    case = get_object_or_404(Case.objects.for_user(request.user), pk=case_id)
    try:
        priority = Priority(int(request.POST.get("priority", "")))
    except ValueError:
        return HttpResponse("Choose STAT, Urgent or Routine.", status=422)
    set_priority(case, priority, request.user, address=address_of(request))
    if request.htmx:
        return HttpResponse(status=204)
    return redirect(reverse("worklist:list"))


@require_POST
@requires("case.claim")
def next_case(request: HttpRequest) -> HttpResponse:
    """Claim the most urgent ready case and open it: the way through the list after signing."""
    waiting = (
        Case.objects.for_user(request.user)
        .filter(state="ready", claim=None)
        .order_by(*ordering("urgency"))
    )
    for case in waiting[:10]:
        try:
            claim_case(case, request.user, address=address_of(request))
        except ClaimRefused:
            # Another reader was quicker; the next one in line is ours to try.
            continue
        return redirect("reading:case", case_id=case.pk)
    messages.info(request, "No case is waiting. The list fills as studies arrive.")
    return redirect("worklist:list")
