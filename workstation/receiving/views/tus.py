"""The tus resumable upload protocol 1.0 (https://tus.io/protocols/resumable-upload).

Core, creation, creation-with-upload and expiration. Bytes on the disk are the offset; the answer
to a request that failed tells in ``detail`` what a person should do.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.http import http_date
from django.views.decorators.http import require_http_methods

from workstation.accounts.permissions import requires
from workstation.receiving import partials
from workstation.receiving.arriving import take_in
from workstation.receiving.files import Receiver, takes_long
from workstation.receiving.models import Upload, UploadedFile, UploadedFileState
from workstation.receiving.services.uploading import (
    add_file,
    announce_file,
    fingerprint,
    note_offset,
)
from workstation.receiving.storage import Staged, StorageFull, chunks_of, staged
from workstation.receiving.views.upload import NO_ROOM, NO_ROOM_TEXT, own_upload

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration"
PIECES = "application/offset+octet-stream"
BAD_REQUEST, CONFLICT, WRONG_VERSION, TOO_LARGE, WRONG_TYPE, LOCKED = 400, 409, 412, 413, 415, 423
LONGEST_NAME = 400


class Refused(Exception):
    """An answer with a status and a sentence for people."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def _answer(status: int, **headers: Any) -> HttpResponse:
    response = HttpResponse(status=status)
    for name, value in headers.items():
        response[name.replace("_", "-")] = str(value)
    return _marked(response)


def _marked(response: HttpResponse) -> HttpResponse:
    response["Tus-Resumable"] = VERSION
    response["Cache-Control"] = "no-store"
    return response


def _refusal(error: Refused) -> HttpResponse:
    response = _marked(JsonResponse({"detail": str(error)}, status=error.status))
    if error.status == WRONG_VERSION:
        response["Tus-Version"] = VERSION
    return response


def _check_version(request: HttpRequest) -> None:
    if request.headers.get("Tus-Resumable") != VERSION:
        raise Refused(WRONG_VERSION, "This server speaks version 1.0.0 of the tus protocol.")


def _number(request: HttpRequest, header: str) -> int:
    text = request.headers.get(header, "")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Refused(BAD_REQUEST, f"The request lacks a valid {header}.")
    return int(text)


def _metadata(request: HttpRequest) -> dict[str, str]:
    """``key base64, key base64``; values are UTF-8."""
    found = {}
    for pair in request.headers.get("Upload-Metadata", "").split(","):
        key, _, value = pair.strip().partition(" ")
        try:
            found[key] = base64.b64decode(value.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise Refused(BAD_REQUEST, "The file's metadata cannot be read.") from None
    return found


def _expires() -> str:
    return http_date((timezone.now() + timedelta(days=settings.UPLOAD_DAYS)).timestamp())


@require_http_methods(["OPTIONS", "POST"])
@requires("upload.make")
def upload_files(request: HttpRequest, pk: int) -> HttpResponse:
    """Announce a file, with its beginning or all of it in the same request.

    ``Upload-Metadata``: ``filename`` (the path in the chosen folder) and ``modified`` (ms).
    """
    upload = own_upload(request, pk)
    if request.method == "OPTIONS":
        return _answer(
            204, Tus_Version=VERSION, Tus_Extension=EXTENSIONS,
            Tus_Max_Size=settings.MAX_UPLOAD_BYTES,
        )  # fmt: skip
    try:
        return _create(request, upload)
    except Refused as error:
        return _refusal(error)
    except StorageFull:
        return _refusal(Refused(NO_ROOM, NO_ROOM_TEXT))


def _create(request: HttpRequest, upload: Upload) -> HttpResponse:
    _check_version(request)
    if upload.finished_at is not None:
        raise Refused(CONFLICT, "This upload is finished; start another.")
    size = _number(request, "Upload-Length")
    if size > settings.MAX_UPLOAD_BYTES:
        limit = settings.MAX_UPLOAD_BYTES // 1024**2
        raise Refused(
            TOO_LARGE, f"This file is larger than the {limit} MB that this server takes in one."
        )
    metadata = _metadata(request)
    name, modified = metadata.get("filename", ""), metadata.get("modified", "0")
    if not name or len(name) > LONGEST_NAME or not modified.isdigit():
        raise Refused(BAD_REQUEST, "The file's name is missing or longer than 400 characters.")
    if not partials.has_room_for(size):
        raise StorageFull
    mark = fingerprint(name, size, int(modified))
    known = upload.uploaded.filter(fingerprint=mark).first()
    if known is not None:
        offset = known.size if _is_done(known) else partials.offset_of(known.key)
        return _created(known, offset)
    if request.content_type != PIECES:
        row = announce_file(upload, name, size, mark)
        if size == 0:
            take_in(row)
        return _created(row, 0)
    with staged(chunks_of(request)) as body:  # type: ignore[arg-type]
        return _begin(upload, name, size, mark, body)


def _begin(upload: Upload, name: str, size: int, mark: str, body: Staged) -> HttpResponse:
    """The usual small file comes whole, and is taken in without a detour over the disk."""
    if body.size > size:
        raise Refused(BAD_REQUEST, "More bytes came than Upload-Length said.")
    if body.size == size and not takes_long(body.path):
        receiver = Receiver(upload.site, upload)
        outcomes = [item.outcome for item in receiver.take_staged(body, name)]
        return _created(add_file(upload, name, size, mark, outcomes), size)
    row = announce_file(upload, name, size, mark)
    with _sole_writer(row):
        if partials.offset_of(row.key) == 0:
            note_offset(row, partials.adopt(row.key, body.path))
        offset = partials.offset_of(row.key)
        if offset == size:
            take_in(row)
    return _created(row, offset)


def _created(row: UploadedFile, offset: int) -> HttpResponse:
    return _answer(
        201, Location=reverse("receiving:uploaded-file", args=[row.pk]), Upload_Offset=offset,
        Upload_Expires=_expires(),
    )  # fmt: skip


def _is_done(row: UploadedFile) -> bool:
    return row.state != UploadedFileState.RECEIVING


@contextmanager
def _sole_writer(row: UploadedFile) -> Iterator[None]:
    try:
        with partials.locked(row.key):
            yield
    except partials.Busy:
        raise Refused(LOCKED, "This file is still being written by another request.") from None


@require_http_methods(["HEAD", "PATCH"])
@requires("upload.make")
def uploaded_file(request: HttpRequest, pk: int) -> HttpResponse:
    """How much of a file is there (HEAD); more of it (PATCH)."""
    row = get_object_or_404(
        UploadedFile.objects.for_user(request.user).select_related("upload__site"),
        pk=pk, upload__user=request.user,
    )  # fmt: skip
    try:
        _check_version(request)
        return _offset(row) if request.method == "HEAD" else _append(request, row)
    except Refused as error:
        return _refusal(error)
    except StorageFull:
        return _refusal(Refused(NO_ROOM, NO_ROOM_TEXT))


def _offset(row: UploadedFile) -> HttpResponse:
    """Whole, but the server died before it was taken in? Then now: the client sends no more."""
    if not _is_done(row) and partials.offset_of(row.key) == row.size:
        _take_in_once(row)
    offset = row.size if _is_done(row) else partials.offset_of(row.key)
    return _answer(200, Upload_Offset=offset, Upload_Length=row.size, Upload_Expires=_expires())


def _take_in_once(row: UploadedFile) -> None:
    with _sole_writer(row):
        row.refresh_from_db()
        if not _is_done(row):
            take_in(row)


def _append(request: HttpRequest, row: UploadedFile) -> HttpResponse:
    if request.content_type != PIECES:
        raise Refused(WRONG_TYPE, f"Send the bytes as {PIECES}.")
    start = _number(request, "Upload-Offset")
    with _sole_writer(row):
        row.refresh_from_db()
        there = row.size if _is_done(row) else partials.offset_of(row.key)
        if start != there:
            raise Refused(CONFLICT, f"{there} bytes of this file are here; go on from there.")
        if _is_done(row):
            return _answer(204, Upload_Offset=there)
        if not partials.has_room_for((row.size - there) // 2):
            raise StorageFull
        pieces = chunks_of(request)  # type: ignore[arg-type]
        offset = partials.append(row.key, pieces, at_most=row.size)
        if offset == row.size:
            take_in(row)
        else:
            note_offset(row, offset)
    return _answer(204, Upload_Offset=offset, Upload_Expires=_expires())
