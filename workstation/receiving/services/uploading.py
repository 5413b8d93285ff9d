"""Uploads and folder imports: opened, continued, counted, finished, expired."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from uuid import uuid4

from django.conf import settings
from django.db import transaction
from django.db.models import F, Max, Q
from django.utils import timezone

from workstation.accounts.models import Site, User
from workstation.accounts.services import record
from workstation.live import publish
from workstation.receiving import partials
from workstation.receiving.discs import SHOWN, Completeness
from workstation.receiving.models import Disc, Quarantined, Upload, UploadedFile, UploadedFileState
from workstation.receiving.outcomes import Outcome, Result

SAMPLE = 200
"""So many of a selection's files are asked for, to find the upload that it continues."""


def fingerprint(name: str, size: int, modified: int) -> str:
    """What tells a file of a person's folder from another: path, size, and the browser's mark of
    it (date and a checksum of its beginning, as digits: discs number their files alike)."""
    return hashlib.sha256(f"{name}\0{size}\0{modified}".encode()).hexdigest()


def start_upload(
    site: Site, user: User | None, *, files: int | None = None, size: int | None = None
) -> Upload:
    """Open an upload or folder import of so many files and bytes, if that is known."""
    return Upload.objects.create(site=site, user=user, expected_files=files, expected_bytes=size)


@transaction.atomic
def continue_upload(
    site: Site, user: User, sample: list[str], *, files: int, size: int
) -> Upload | None:
    """The user's newest unfinished upload that holds one of the sampled files, if there is one.

    ``sample`` are fingerprints; the upload then expects what was chosen now.
    """
    upload = (
        Upload.objects.select_for_update()
        .filter(
            site=site,
            user=user,
            finished_at=None,
            pk__in=UploadedFile.objects.filter(fingerprint__in=sample[:SAMPLE]).values("upload"),
        )
        .order_by("-pk")
        .first()
    )
    if upload is not None:
        upload.expected_files, upload.expected_bytes = files, size
        upload.save(update_fields=["expected_files", "expected_bytes"])
    return upload


def announce_file(upload: Upload, name: str, size: int, mark: str) -> UploadedFile:
    """A file of which the beginning has come or will come; known already under its fingerprint?
    Then that one."""
    row, _ = UploadedFile.objects.get_or_create(
        upload=upload, fingerprint=mark, defaults={"name": name[:400], "size": size, "key": uuid4()}
    )
    return row


def note_offset(file: UploadedFile, offset: int) -> None:
    """So many bytes are on the disk now."""
    file.offset = offset
    file.save(update_fields=["offset", "updated_at"])


@transaction.atomic
def finish_file(file: UploadedFile, outcomes: list[Outcome]) -> None:
    """The whole file was taken in. Row and counts change together, so nothing counts twice."""
    file.state, file.offset = UploadedFileState.DONE, file.size
    file.save(update_fields=["state", "offset", "updated_at"])
    count_outcomes(file.upload, outcomes)


@transaction.atomic
def add_file(
    upload: Upload, name: str, size: int, mark: str, outcomes: list[Outcome]
) -> UploadedFile:
    """A file that came and was taken in within one request."""
    row = announce_file(upload, name, size, mark)
    if row.state != UploadedFileState.DONE:
        finish_file(row, outcomes)
    return row


@transaction.atomic
def count_outcomes(upload: Upload, outcomes: list[Outcome]) -> None:
    """Add what became of a batch of files to the upload's counts."""
    tally = dict.fromkeys(Result, 0)
    for outcome in outcomes:
        tally[outcome.result] += 1
    Upload.objects.filter(pk=upload.pk).update(
        files=F("files") + len(outcomes),
        **{result.value: F(result.value) + count for result, count in tally.items()},
    )
    publish(upload.site_id, "upload")


def note_disc(upload: Upload, name: str, file_ids: list[str]) -> Disc:
    """A DICOMDIR came; what it lists is compared once everything is there."""
    row, _ = Disc.objects.update_or_create(
        upload=upload, name=name[:400], defaults={"listed": len(file_ids), "file_ids": file_ids}
    )
    return row


def note_completeness(disc: Disc, found: Completeness) -> Disc:
    """What of the disc's files is there."""
    disc.missing, disc.unreadable = len(found.missing), len(found.unreadable)
    disc.names = [*found.missing, *found.unreadable][:SHOWN]
    disc.save(update_fields=["missing", "unreadable", "names"])
    publish(disc.upload.site_id, "upload")
    return disc


def refused_names(upload: Upload) -> list[str]:
    """Names under which files of the upload went to quarantine."""
    return list(Quarantined.objects.filter(upload=upload).values_list("filename", flat=True))


@transaction.atomic
def finish_upload(upload: Upload, *, address: str = "") -> Upload:
    """Everything was sent. Doing it twice changes nothing.

    Half-sent files are given up: their bytes go, their number stays.
    """
    locked = Upload.objects.select_for_update().get(pk=upload.pk)
    if locked.finished_at is None:
        _end(locked, address, "finished")
    return locked


def expire_uploads(now: datetime) -> int:
    """End uploads for which nothing came for ``RADFUSE_UPLOAD_DAYS``; returns their number."""
    limit = now - timedelta(days=settings.UPLOAD_DAYS)
    stale = (
        Upload.objects.filter(finished_at=None, started_at__lt=limit)
        .annotate(latest=Max("uploaded__updated_at"))
        .filter(Q(latest=None) | Q(latest__lt=limit))
        .exclude(uploaded__state__in=[UploadedFileState.WAITING, UploadedFileState.OPENING])
    )
    ended = 0
    for pk in list(stale.values_list("pk", flat=True)):
        with transaction.atomic():
            upload = Upload.objects.select_for_update().get(pk=pk)
            if upload.finished_at is None:
                _end(upload, "", "expired")
                ended += 1
    return ended


def _end(upload: Upload, address: str, how: str) -> None:
    halves = upload.uploaded.filter(state=UploadedFileState.RECEIVING)
    keys = list(halves.values_list("key", flat=True))
    if upload.expected_files is not None:
        arrived = upload.uploaded.count() - len(keys)
        upload.unfinished = max(0, upload.expected_files - arrived)
    upload.finished_at = timezone.now()
    upload.save(update_fields=["finished_at", "unfinished"])
    # Names of files can hold patient names; they served to go on where the upload stopped.
    ended = (UploadedFileState.RECEIVING, UploadedFileState.DONE)
    upload.uploaded.filter(state__in=ended).delete()
    counts = {name: getattr(upload, name) for name in ("files", *Result, "unfinished")}
    record(
        "upload", user=upload.user, site=upload.site, obj=upload, remote_address=address,
        detail={**counts, "how": how},
    )  # fmt: skip
    publish(upload.site_id, "upload")
    transaction.on_commit(lambda: [partials.remove(key) for key in keys])
