"""The quarantine page: what was refused, why, and what to do about it."""

from __future__ import annotations

from collections import Counter
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Q, QuerySet
from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from workstation.accounts.permissions import requires
from workstation.accounts.services import address_of, record
from workstation.receiving import corrections
from workstation.receiving.models import Quarantined, QuarantineState
from workstation.receiving.outcomes import Outcome, Result
from workstation.receiving.refusals import advice
from workstation.receiving.services import CannotHandle, discard, release
from workstation.receiving.services.correcting import (
    StillRefused,
    accept_corrected,
    accept_likewise,
    is_correctable,
    look_at,
    of_the_same_study,
    stored_otherwise,
)
from workstation.receiving.services.quarantining import note_download, opened_bytes
from workstation.receiving.storage import StorageFull

PAGE_SIZE = 50
AT_ONCE = 500
"""Entries that one request handles; more need a second click."""
UNPROCESSABLE = 422


class Filters(forms.Form):
    """What of the quarantine to show."""

    code = forms.CharField(required=False, max_length=60)
    sender = forms.CharField(required=False, max_length=80, strip=True)
    first = forms.DateField(required=False)
    last = forms.DateField(required=False)

    def applied(self, rows: QuerySet[Quarantined]) -> QuerySet[Quarantined]:
        """Filters that cannot be understood fit nothing: a bulk action must not reach too far."""
        if not self.is_valid():
            return rows.none()
        wanted = self.cleaned_data
        if wanted.get("code"):
            rows = rows.filter(code=wanted["code"])
        if sender := wanted.get("sender"):
            person = Q(upload__user__last_name__icontains=sender)
            rows = rows.filter(Q(source__icontains=sender) | person)
        if wanted.get("first"):
            rows = rows.filter(received_at__date__gte=wanted["first"])
        if wanted.get("last"):
            rows = rows.filter(received_at__date__lte=wanted["last"])
        return rows

    @property
    def query(self) -> str:
        """The filters as a query string, for links and forms that keep them."""
        return urlencode({name: self[name].value() or "" for name in self.fields})


class DiscardForm(forms.Form):
    """Why bytes may be deleted."""

    reason = forms.CharField(max_length=255, strip=True)


class CorrectionForm(forms.Form):
    """New values for the attributes that made an object be refused."""

    reason = forms.CharField(
        max_length=255, strip=True, label=gettext_lazy("Why this is right"),
        help_text=gettext_lazy("Kept with the entry, e.g. who confirmed it."),
    )  # fmt: skip

    likewise = forms.BooleanField(required=False)

    def __init__(self, held: Quarantined, values: dict[str, str], others: int, *args: Any) -> None:
        super().__init__(*args)
        self.before = values
        if others:
            self.fields["likewise"].label = f"Also for the {others} other objects of this study"
            self.fields["likewise"].help_text = "Patient ID, issuer and modality; UIDs stay."
        else:
            del self.fields["likewise"]
        cause = corrections.CAUSES[held.code]
        for keyword, label in corrections.FIELDS.items():
            self.fields[keyword] = forms.CharField(
                required=keyword not in ("IssuerOfPatientID", "Modality"), max_length=64,
                label=label, initial=values[keyword],
                help_text=gettext_lazy("At fault.") if keyword == cause else "",
            )  # fmt: skip
        if cause.endswith("InstanceUID") and held.code != "other_study":
            self.fields[cause].initial = corrections.new_uid()
            self.fields[
                cause
            ].help_text = "At fault. This is a new one; replace it if you know the right one."
        # The reason is asked last.
        self.order_fields([*corrections.FIELDS, "likewise", "reason"])

    def clean(self) -> dict[str, Any]:
        for keyword, wrong in corrections.check(self.changes).items():
            if keyword not in self.errors:
                self.add_error(keyword, wrong)
        return self.cleaned_data

    @property
    def changes(self) -> dict[str, str]:
        """What differs from the object as it came."""
        entered = {key: self.cleaned_data.get(key) or "" for key in corrections.FIELDS}
        return {key: value for key, value in entered.items() if value != self.before[key]}


def _state_of(request: HttpRequest) -> str:
    state = request.GET.get("state", "")
    return state if state in QuarantineState.values else QuarantineState.HELD


@require_GET
@requires("quarantine.view")
def quarantine_page(request: HttpRequest) -> HttpResponse:
    """Refused bytes of the user's sites. Nothing of their content is shown."""
    state = _state_of(request)
    filters = Filters(request.GET)
    visible = filters.applied(Quarantined.objects.for_user(request.user))
    counts = visible.aggregate(
        **{value: Count("pk", filter=Q(state=value)) for value in QuarantineState.values}
    )
    rows = visible.filter(state=state).select_related("site", "handled_by", "upload__user")
    page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    for row in page:
        row.advice = advice(row.code)
        row.correctable = is_correctable(row)
    if not request.htmx:
        record("list", user=request.user, remote_address=address_of(request),
               detail={"quarantined": [row.pk for row in page]})  # fmt: skip
    codes = Quarantined.objects.for_user(request.user).filter(state=state)
    context = {
        "page": page,
        "state": state,
        "filters": filters,
        "filtered": any(filters[name].value() for name in filters.fields),
        "codes": sorted(
            {(code, advice(code).meaning) for code in codes.values_list("code", flat=True)},
            key=lambda pair: pair[1],
        ),
        "tabs": [(value, label, counts[value]) for value, label in QuarantineState.choices],
        "now": timezone.now(),
    }
    template = "receiving/_quarantine.html" if request.htmx else "receiving/quarantine.html"
    return render(request, template, context)


def _held(request: HttpRequest, pk: int) -> Quarantined:
    return get_object_or_404(Quarantined.objects.for_user(request.user), pk=pk)


def _back(request: HttpRequest) -> HttpResponse:
    """To the page with the filters from which the request came."""
    return redirect(f"{reverse('receiving:quarantine')}?{Filters(request.GET).query}")


@require_POST
@requires("quarantine.manage")
def quarantine_release(request: HttpRequest, pk: int) -> HttpResponse:
    """Try the bytes again."""
    try:
        outcome = release(_held(request, pk), request.user, address=address_of(request))
    except (CannotHandle, StorageFull) as error:
        messages.error(request, str(error))
        return _back(request)
    _tell(request, outcome)
    return _back(request)


def _tell(request: HttpRequest, outcome: Outcome) -> None:
    if outcome.result is Result.QUARANTINED:
        messages.warning(request, gettext("Still refused: {reason}").format(reason=outcome.reason))
    elif outcome.result is Result.REPEATED:
        messages.success(request, gettext("These images were in the archive already."))
    else:
        messages.success(request, gettext("Accepted. The images are with their study now."))


@require_POST
@requires("quarantine.manage")
def quarantine_discard(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete the bytes for good, with a reason."""
    held = _held(request, pk)
    form = DiscardForm(request.POST)
    if not form.is_valid():
        messages.error(
            request, gettext("Say why these bytes may be deleted (at most 255 characters).")
        )
        return _back(request)
    try:
        discard(held, request.user, form.cleaned_data["reason"], address=address_of(request))
    except CannotHandle as error:
        messages.error(request, str(error))
    else:
        messages.success(request, gettext("Deleted. The entry stays, with your reason."))
    return _back(request)


@require_POST
@requires("quarantine.manage")
def quarantine_many(request: HttpRequest) -> HttpResponse:
    """``do`` (release or discard) with the ticked entries (``pk``), or with all that match the
    filters (``all``)."""
    rows = Quarantined.objects.for_user(request.user).filter(state=QuarantineState.HELD)
    if request.POST.get("all"):
        rows = Filters(request.GET).applied(rows)
    else:
        ticked = [int(pk) for pk in request.POST.getlist("pk") if pk.isdecimal() and len(pk) < 19]
        rows = rows.filter(pk__in=ticked)
    found = rows.count()
    if not found:
        messages.error(request, gettext("Tick the entries first, or choose all that match."))
        return _back(request)
    form = DiscardForm(request.POST)
    if request.POST.get("do") == "discard":
        if not form.is_valid():
            messages.error(
                request, gettext("Say why these bytes may be deleted (at most 255 characters).")
            )
            return _back(request)
        reason = form.cleaned_data["reason"]
        done = _each(request, rows, lambda row, **who: _discarded(row, reason, **who))
    else:
        done = _each(request, rows, lambda row, **who: release(row, **who).result.value)
    left = f" {found - AT_ONCE} more wait: do it once more." if found > AT_ONCE else ""
    messages.info(request, f"{_in_words(done)}.{left}")
    return _back(request)


def _discarded(row: Quarantined, reason: str, **who: Any) -> str:
    user = who.pop("user")
    discard(row, user, reason, **who)
    return "discarded"


def _each(request: HttpRequest, rows: QuerySet[Quarantined], act: Any) -> Counter[str]:
    done: Counter[str] = Counter()
    for row in rows.order_by("pk")[:AT_ONCE]:
        try:
            done[act(row, user=request.user, address=address_of(request))] += 1
        except CannotHandle:
            done["failed"] += 1
        except StorageFull as error:
            messages.error(request, str(error))
            break
    return done


def _in_words(done: Counter[str]) -> str:
    names = {
        "stored": "accepted", "repeated": "in the archive already", "quarantined": "still refused",
        "discarded": "deleted", "failed": "could not be handled", "ignored": "ignored",
    }  # fmt: skip
    return ", ".join(f"{count} {names[what]}" for what, count in done.items()) or "Nothing done"


@require_GET
@requires("quarantine.download")
def quarantine_bytes(request: HttpRequest, pk: int) -> HttpResponse | FileResponse:
    """The refused bytes as they came, as a file that no browser opens."""
    held = _held(request, pk)
    try:
        file = opened_bytes(held)
    except CannotHandle as error:
        messages.error(request, str(error))
        return _back(request)
    note_download(held, request.user, address=address_of(request))
    return FileResponse(
        file, as_attachment=True, filename=f"quarantined-{held.pk}.bin",
        content_type="application/octet-stream",
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
    )  # fmt: skip


@require_http_methods(["GET", "POST"])
@requires("quarantine.manage")
def quarantine_correct(request: HttpRequest, pk: int) -> HttpResponse:
    """Accept an object after its identifying attributes were corrected by a person."""
    held = _held(request, pk)
    if not is_correctable(held):
        messages.error(request, gettext("This entry cannot be accepted by a correction."))
        return _back(request)
    address = address_of(request)
    try:
        found = look_at(held, request.user, address=address)
    except (CannotHandle, corrections.CannotCorrect) as error:
        messages.error(request, str(error))
        return _back(request)
    data = [request.POST] if request.method == "POST" else []
    others = of_the_same_study(held, found.values)
    form = CorrectionForm(held, found.values, len(others), *data)
    if request.method == "POST" and form.is_valid():
        try:
            outcome = accept_corrected(
                held, request.user, form.changes, form.cleaned_data["reason"], address=address
            )
        except (CannotHandle, corrections.CannotCorrect, StillRefused, StorageFull) as error:
            form.add_error(None, str(error))
        else:
            _tell(request, outcome)
            if form.cleaned_data.get("likewise"):
                accepted, left = accept_likewise(
                    others, request.user, form.changes, form.cleaned_data["reason"],
                    address=address,
                )  # fmt: skip
                messages.info(
                    request,
                    gettext("Of the others {accepted} were accepted, {left} stay.").format(
                        accepted=accepted, left=left
                    ),
                )
            return _back(request)
    context = {
        "held": held,
        "form": form,
        "about": found.about,
        "before": found.values,
        "advice": advice(held.code),
        "stored_otherwise": stored_otherwise(held, found.values),
    }
    status = UNPROCESSABLE if form.errors else 200
    return render(request, "receiving/correct.html", context, status=status)
