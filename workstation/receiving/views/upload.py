"""The upload page and the requests of its script."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from workstation.accounts.models import Site, User
from workstation.accounts.permissions import requires
from workstation.accounts.services import address_of
from workstation.receiving.files import Received, Receiver
from workstation.receiving.models import Upload
from workstation.receiving.outcomes import Result
from workstation.receiving.services import (
    count_outcomes,
    finish_upload,
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
