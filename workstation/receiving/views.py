"""The upload page, the requests of its script, and the quarantine page."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from workstation.accounts.models import Site, User
from workstation.accounts.permissions import requires
from workstation.accounts.services import address_of, record
from workstation.receiving.files import Received, Receiver
from workstation.receiving.models import Quarantined, QuarantineState, Upload
from workstation.receiving.outcomes import Result
from workstation.receiving.services import (
    CannotHandle,
    count_outcomes,
    discard,
    finish_upload,
    release,
    start_upload,
)
from workstation.receiving.storage import StorageFull

RECENT = 10
PAGE_SIZE = 50
TOO_LARGE, CONFLICT, UNPROCESSABLE, NO_ROOM = 413, 409, 422, 507


class UploadForm(forms.Form):
    """Which of the user's sites the files belong to."""

    site = forms.ModelChoiceField(Site.objects.none(), empty_label=None)

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["site"].queryset = user.sites.order_by("name")  # type: ignore[attr-defined]


class DiscardForm(forms.Form):
    """Why bytes may be deleted."""

    reason = forms.CharField(max_length=255, strip=True)


@require_GET
@requires("upload.make")
def upload_page(request: HttpRequest) -> HttpResponse:
    """Drop zone and the latest uploads of the user's sites; with htmx only the latter."""
    recent = (
        Upload.objects.for_user(request.user)
        .select_related("site", "user")
        .prefetch_related("refusals")[:RECENT]
    )
    template = "receiving/_recent.html" if request.htmx else "receiving/upload.html"
    return render(request, template, {"form": UploadForm(request.user), "recent": recent})


@require_POST
@requires("upload.make")
def upload_start(request: HttpRequest) -> JsonResponse:
    """Open an upload; answers where its files go."""
    form = UploadForm(request.user, request.POST)
    if not form.is_valid():
        return JsonResponse({"detail": "Choose one of your sites."}, status=UNPROCESSABLE)
    upload = start_upload(form.cleaned_data["site"], request.user)
    return JsonResponse(
        {
            "id": upload.pk,
            "files_url": reverse("receiving:upload-files", args=[upload.pk]),
            "finish_url": reverse("receiving:upload-finish", args=[upload.pk]),
        },
        status=201,
    )


def _own_upload(request: HttpRequest, pk: int) -> Upload:
    return get_object_or_404(Upload.objects.for_user(request.user), pk=pk, user=request.user)


@require_POST
@requires("upload.make")
def upload_files(request: HttpRequest, pk: int) -> JsonResponse:
    """A batch of files (``files``) with their paths (``paths``, in the same order)."""
    upload = _own_upload(request, pk)
    if upload.finished_at is not None:
        return JsonResponse({"detail": "This upload is finished; start another."}, status=CONFLICT)
    if int(request.META.get("CONTENT_LENGTH") or 0) > settings.MAX_UPLOAD_BYTES:
        limit = settings.MAX_UPLOAD_BYTES // 1024**2
        detail = f"This is larger than the {limit} MB that this server takes at once."
        return JsonResponse({"detail": detail}, status=TOO_LARGE)
    files, paths = request.FILES.getlist("files"), request.POST.getlist("paths")
    if not files or len(files) != len(paths):
        detail = "Send files, and one path for each."
        return JsonResponse({"detail": detail}, status=UNPROCESSABLE)
    receiver = Receiver(upload.site, upload)
    received: list[Received] = []
    try:
        for file, path in zip(files, paths, strict=True):
            for item in receiver.take(file, path):
                received.append(item)
    except StorageFull as error:
        return JsonResponse({"detail": str(error)}, status=NO_ROOM)
    finally:
        count_outcomes(upload, [item.outcome for item in received])
    return JsonResponse(_summary(received))


def _summary(received: list[Received]) -> dict[str, Any]:
    counts = dict.fromkeys(Result, 0)
    for item in received:
        counts[item.outcome.result] += 1
    return {
        "counts": counts,
        "refused": [
            {"name": item.name, "code": item.outcome.code, "reason": item.outcome.reason}
            for item in received
            if item.outcome.result is Result.QUARANTINED
        ],
    }


@require_POST
@requires("upload.make")
def upload_finish(request: HttpRequest, pk: int) -> JsonResponse:
    """Everything was sent."""
    upload = finish_upload(_own_upload(request, pk), address=address_of(request))
    counts = {result: getattr(upload, result) for result in Result}
    return JsonResponse({"files": upload.files, "counts": counts})


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
