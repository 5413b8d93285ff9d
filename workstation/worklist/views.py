"""The list, and what a reader does from it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.backends.utils import csrf_input
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_POST

from workstation.accounts.models import User
from workstation.accounts.permissions import allowed, requires
from workstation.accounts.preferences import preferences_of
from workstation.accounts.services import address_of, record
from workstation.worklist.columns import ALWAYS, COLUMNS, OF_STUDIES, columns_of
from workstation.worklist.filters import (
    TABS,
    CaseFilter,
    asked,
    kept_filters,
    nothing_waits,
    ordering,
    remember_query,
    remembered_query,
)
from workstation.worklist.models import Case, Priority
from workstation.worklist.rows import prepare
from workstation.worklist.services import (
    ClaimRefused,
    claim_case,
    claim_next,
    release_case,
    set_priority,
)

PAGE_SIZE = 50
LIVE = "worklist-live"
"""The element of the table that asks again by itself."""
REMEMBERED = 500
"""Case ids a session remembers as already listed, so that a live refresh audits only new ones."""


@require_GET
@requires("case.list")
def case_list(request: HttpRequest) -> HttpResponse:
    """The worklist; with htmx only its table. Without a question: the person's default filter."""
    assert isinstance(request.user, User)
    saved = kept_filters(request.user)
    default = next((one["query"] for one in saved if one["default"]), "")
    if default and not request.GET and not request.htmx:
        return redirect(f"{reverse('worklist:list')}?{default}")
    # A list that only keeps itself up to date, perhaps in another window, is not the one in use.
    live = bool(request.htmx) and request.htmx.trigger == LIVE
    query = asked(request.GET) if live else remember_query(request)
    visible = Case.objects.for_user(request.user)
    filtered = CaseFilter(request.GET, queryset=visible, request=request)
    tab = request.GET.get("tab", "")
    if tab not in TABS:
        tab = "ready"
    counts = _counts(filtered.qs, request.user)
    columns = columns_of(request.user)
    order = request.GET.get("order", "urgency")
    rows = _tab(filtered.qs, tab, request.user).select_related("patient", "site", "claim__user")
    if OF_STUDIES & {column.name for column in columns}:
        rows = rows.prefetch_related("studies")
    paginator = Paginator(rows.order_by(*ordering(order)), PAGE_SIZE)
    paginator.count = counts[tab]  # known already
    page = paginator.get_page(request.GET.get("page"))
    prepare(page.object_list, request.user)
    _audit_listing(request, [case.pk for case in page])
    context: dict[str, Any] = {
        "filter": filtered,
        "page": page,
        "tab": tab,
        "tabs": [(name, text, counts[name]) for name, (text, _) in TABS.items()],
        "order": order,
        "csrf_field": csrf_input(request),  # once, for the forms of every row
        "columns": columns,
        "narrowed": any(request.GET.get(name) for name in ("q", "modality", "priority")),
        "any_case": bool(page.object_list) or visible.exists(),
    }
    if request.htmx:
        return render(request, "worklist/_table.html", context)
    context |= {
        "query": query,
        "all_columns": COLUMNS.values(),
        "always": ALWAYS,
        "kept": preferences_of(request.user, "worklist."),
        "shown": [column.name for column in columns],
    }
    return render(request, "worklist/list.html", context)


def _tab(found: QuerySet[Case], tab: str, user: User) -> QuerySet[Case]:
    rows = found.filter(state__in=TABS[tab][1])
    return rows.filter(claim__user=user) if tab == "mine" else rows


def _counts(found: QuerySet[Case], user: User) -> dict[str, int]:
    """How many are in each tab. The counts follow the search, so a hit in another tab is never
    overlooked."""
    of_state = dict(found.order_by().values_list("state").annotate(count=Count("pk")))
    counts = {
        name: sum(of_state.get(state, 0) for state in states)
        for name, (_, states) in TABS.items()
    }
    return {**counts, "mine": _tab(found, "mine", user).count()}


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
        messages.warning(request, gettext("Not claimed: {reason}").format(reason=refusal))
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
        messages.success(request, gettext("The case is back on the list. The draft is kept."))
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
        return HttpResponse(gettext("Choose STAT, Urgent or Routine."), status=422)
    set_priority(case, priority, request.user, address=address_of(request))
    if request.htmx:
        return HttpResponse(status=204)
    return redirect(reverse("worklist:list"))


@require_POST
@requires("case.claim")
def next_case(request: HttpRequest) -> HttpResponse:
    """Claim the top of the reader's list and open it: the way through the list after signing."""
    assert isinstance(request.user, User)
    query = remembered_query(request)
    case = claim_next(request.user, query, address=address_of(request))
    if case is not None:
        return redirect("reading:case", case_id=case.pk)
    messages.info(request, nothing_waits(query))
    return redirect(f"{reverse('worklist:list')}?{query}")
