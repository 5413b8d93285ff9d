"""The quarantine page: what was refused, why, and what to do about it."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from workstation.accounts.permissions import requires
from workstation.accounts.services import address_of, record
from workstation.receiving.models import Quarantined, QuarantineState
from workstation.receiving.outcomes import Result
from workstation.receiving.services import CannotHandle, discard, release
from workstation.receiving.storage import StorageFull

PAGE_SIZE = 50


class DiscardForm(forms.Form):
    """Why bytes may be deleted."""

    reason = forms.CharField(max_length=255, strip=True)


@require_GET
@requires("quarantine.view")
def quarantine_page(request: HttpRequest) -> HttpResponse:
    """Refused bytes of the user's sites. Nothing of their content is shown."""
    state = request.GET.get("state", "")
    if state not in QuarantineState.values:
        state = QuarantineState.HELD
    visible = Quarantined.objects.for_user(request.user)
    counts = visible.aggregate(
        **{value: Count("pk", filter=Q(state=value)) for value in QuarantineState.values}
    )
    rows = visible.filter(state=state).select_related("site", "handled_by")
    page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    if not request.htmx:
        record("list", user=request.user, remote_address=address_of(request),
               detail={"quarantined": [row.pk for row in page]})  # fmt: skip
    context = {
        "page": page,
        "state": state,
        "tabs": [(value, label, counts[value]) for value, label in QuarantineState.choices],
        "now": timezone.now(),
    }
    template = "receiving/_quarantine.html" if request.htmx else "receiving/quarantine.html"
    return render(request, template, context)


def _held(request: HttpRequest, pk: int) -> Quarantined:
    return get_object_or_404(Quarantined.objects.for_user(request.user), pk=pk)


@require_POST
@requires("quarantine.manage")
def quarantine_release(request: HttpRequest, pk: int) -> HttpResponse:
    """Try the bytes again."""
    try:
        outcome = release(_held(request, pk), request.user, address=address_of(request))
    except (CannotHandle, StorageFull) as error:
        messages.error(request, str(error))
        return redirect("receiving:quarantine")
    if outcome.result is Result.QUARANTINED:
        messages.warning(request, f"Still refused: {outcome.reason}")
    elif outcome.result is Result.REPEATED:
        messages.success(request, "These images were in the archive already.")
    else:
        messages.success(request, "Accepted. The images are with their study now.")
    return redirect("receiving:quarantine")


@require_POST
@requires("quarantine.manage")
def quarantine_discard(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete the bytes for good, with a reason."""
    held = _held(request, pk)
    form = DiscardForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Say why these bytes may be deleted (at most 255 characters).")
        return redirect("receiving:quarantine")
    try:
        discard(held, request.user, form.cleaned_data["reason"], address=address_of(request))
    except CannotHandle as error:
        messages.error(request, str(error))
    else:
        messages.success(request, "Deleted. The entry stays, with your reason.")
    return redirect("receiving:quarantine")
