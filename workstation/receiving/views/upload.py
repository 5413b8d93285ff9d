"""The upload page, and the requests with which its script opens, continues and ends an upload.

The bytes themselves travel by the tus protocol (``views/tus.py``).
"""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.conf import settings
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from workstation.accounts.models import Site, User
from workstation.accounts.permissions import requires
from workstation.accounts.services import address_of
from workstation.receiving import partials
from workstation.receiving.arriving import take_in
from workstation.receiving.files import Receiver
from workstation.receiving.models import Upload, UploadedFileState
from workstation.receiving.outcomes import Result
from workstation.receiving.services.uploading import (
    SAMPLE,
    continue_upload,
    fingerprint,
    finish_upload,
    start_upload,
)
from workstation.receiving.storage import StorageFull

RECENT = 10
SHOWN_REFUSALS = 200
KNOWN_AT_ONCE = 2000
UNPROCESSABLE, NO_ROOM = 422, 507
NO_ROOM_TEXT = (
    "The server's disk has no room for these files. Tell your administrator; what was sent "
    "before is stored."
)
OPEN = (UploadedFileState.WAITING, UploadedFileState.OPENING)


class UploadForm(forms.Form):
    """Which of the user's sites the files belong to, and how much will come."""

    site = forms.ModelChoiceField(Site.objects.none(), empty_label=None)
    files = forms.IntegerField(min_value=0, max_value=2**31 - 1, required=False)
    bytes = forms.IntegerField(min_value=0, max_value=2**62, required=False)

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
        .annotate(opening_count=Count("uploaded", filter=Q(uploaded__state__in=OPEN)))
        .prefetch_related("discs")[:RECENT]
    )
    context = {
        "form": UploadForm(request.user),
        "recent": recent,
        "unfinished": [u for u in recent if u.finished_at is None and u.user == request.user],
        "upload_days": settings.UPLOAD_DAYS,
        "now": timezone.now(),
    }
    template = "receiving/_recent.html" if request.htmx else "receiving/upload.html"
    return render(request, template, context)


@require_POST
@requires("upload.make")
def upload_start(request: HttpRequest) -> JsonResponse:
    """Open an upload, or continue the one that holds some of these files already.

    ``sample``: JSON list of some of the files, each ``[path, size, date in ms since 1970]``.
    """
    form = UploadForm(request.user, request.POST)
    if not form.is_valid():
        return _refused("Choose one of your sites.", UNPROCESSABLE)
    marks = _marks(request.POST.get("sample") or "[]", SAMPLE)
    if marks is None:
        return _refused("The list of files cannot be read.", UNPROCESSABLE)
    site, files, size = (form.cleaned_data[name] for name in ("site", "files", "bytes"))
    upload = continue_upload(site, request.user, marks, files=files or 0, size=size or 0)
    continued = upload is not None
    if upload is None:
        if size and not partials.has_room_for(size // 2):
            return _refused(NO_ROOM_TEXT, NO_ROOM)
        upload = start_upload(site, request.user, files=files, size=size)
    urls = {
        f"{name}_url": reverse(f"receiving:upload-{name}", args=[upload.pk])
        for name in ("files", "known", "state", "finish")
    }
    return JsonResponse({"id": upload.pk, "continued": continued, **urls}, status=201)


def _refused(detail: str, status: int) -> JsonResponse:
    return JsonResponse({"detail": detail}, status=status)


def _marks(text: str, limit: int) -> list[str] | None:
    """Fingerprints of a JSON list of ``[path, size, date]``; ``None`` if it is not one."""
    try:
        return [
            fingerprint(str(path), int(size), int(modified))
            for path, size, modified in json.loads(text)[:limit]
        ]
    except (ValueError, TypeError, KeyError):
        return None


def own_upload(request: HttpRequest, pk: int) -> Upload:
    """404 unless the user began this upload."""
    return get_object_or_404(
        Upload.objects.for_user(request.user).select_related("site", "user"),
        pk=pk, user=request.user,
    )  # fmt: skip


@require_POST
@requires("upload.make")
def upload_known(request: HttpRequest, pk: int) -> JsonResponse:
    """What has arrived of these files, in their order: null, ``{"done": true}`` or
    ``{"done": false, "offset": bytes, "url": where to go on}``."""
    upload = own_upload(request, pk)
    marks = _marks(request.POST.get("files") or "[]", KNOWN_AT_ONCE)
    if marks is None:
        return _refused("The list of files cannot be read.", UNPROCESSABLE)
    known: dict[str, dict[str, Any]] = {}
    for row in upload.uploaded.filter(fingerprint__in=marks):
        known[row.fingerprint] = (
            {
                "done": False,
                "offset": partials.offset_of(row.key),
                "url": reverse("receiving:uploaded-file", args=[row.pk]),
            }
            if row.state == UploadedFileState.RECEIVING
            else {"done": True}
        )
    return JsonResponse({"files": [known.get(mark) for mark in marks]})


@require_GET
@requires("upload.make")
def upload_state(request: HttpRequest, pk: int) -> JsonResponse:
    """Counts, refusals and archives that are being opened: what the page shows as progress."""
    return JsonResponse(_state(own_upload(request, pk)))


def _state(upload: Upload) -> dict[str, Any]:
    upload.refresh_from_db()
    opening = upload.uploaded.filter(state__in=OPEN)
    return {
        "finished": upload.finished_at is not None,
        "files": upload.files,
        "counts": {result: getattr(upload, result) for result in Result},
        "refused": [
            {"name": row.filename, "reason": row.reason}
            for row in upload.refusals.order_by("pk")[:SHOWN_REFUSALS]
        ],
        "opening": [
            {"name": row.name, "entries": row.entries or 0, "done": row.entries_done}
            for row in opening
        ],
        "discs": [
            {
                "name": disc.name, "listed": disc.listed, "missing": disc.missing,
                "unreadable": disc.unreadable, "names": disc.names,
            }
            for disc in upload.discs.all()
            if disc.missing is not None
        ],
    }  # fmt: skip


@require_POST
@requires("upload.make")
def upload_finish(request: HttpRequest, pk: int) -> JsonResponse:
    """Everything was sent. What is whole is taken in, what is not is given up."""
    upload = own_upload(request, pk)
    if upload.finished_at is None:
        try:
            _take_in_whole_files(upload)
        except partials.Busy:
            return _refused("A file is still being written; ask again in a moment.", 423)
        except StorageFull as error:
            return _refused(str(error), NO_ROOM)
        names = upload.uploaded.exclude(state=UploadedFileState.RECEIVING)
        if upload.discs.exists():
            present = list(names.values_list("name", flat=True))
            Receiver(upload.site, upload).check_discs(present)
        upload = finish_upload(upload, address=address_of(request))
    return JsonResponse(_state(upload))


def _take_in_whole_files(upload: Upload) -> None:
    """A server that was killed between the last byte and the archive left some behind."""
    for row in upload.uploaded.filter(state=UploadedFileState.RECEIVING):
        with partials.locked(row.key):
            row.refresh_from_db()
            whole = partials.offset_of(row.key) == row.size
            if whole and row.state == UploadedFileState.RECEIVING:
                take_in(row)
