"""How things come in by hand, and what was refused: uploads, their files, quarantine."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy

from workstation.accounts.models import Site, SiteRow, User


class Upload(SiteRow):
    """One browser upload or folder import, with its count of what became of each file."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT)
    user = models.ForeignKey(User, on_delete=models.PROTECT, null=True)
    started_at = models.DateTimeField(auto_now_add=True)
    expected_files = models.PositiveIntegerField(null=True)
    expected_bytes = models.PositiveBigIntegerField(null=True)
    finished_at = models.DateTimeField(null=True)
    files = models.PositiveIntegerField(default=0)
    stored = models.PositiveIntegerField(default=0)
    repeated = models.PositiveIntegerField(default=0)
    quarantined = models.PositiveIntegerField(default=0)
    ignored = models.PositiveIntegerField(default=0)
    unfinished = models.PositiveIntegerField(
        default=0, help_text="Files that never arrived whole, when the upload ended."
    )

    class Meta:
        ordering = ["-id"]


class UploadedFileState(models.TextChoices):
    RECEIVING = "receiving", gettext_lazy("Receiving")
    WAITING = "waiting", gettext_lazy("Waiting to be opened")
    OPENING = "opening", gettext_lazy("Being opened")
    DONE = "done", gettext_lazy("Taken in")


class UploadedFile(SiteRow):
    """One file of a resumable upload; ``offset`` bytes are on the disk."""

    SITE_PATH = "upload__site"

    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="uploaded")
    key = models.UUIDField(unique=True)
    fingerprint = models.CharField(
        max_length=64, help_text="SHA-256 over path, size and date, as the browser sees the file."
    )
    name = models.CharField(max_length=400)
    size = models.PositiveBigIntegerField()
    offset = models.PositiveBigIntegerField(default=0)
    state = models.CharField(
        max_length=10, choices=UploadedFileState, default=UploadedFileState.RECEIVING
    )
    attempts = models.PositiveSmallIntegerField(
        default=0, help_text="How often a worker began to open this ZIP."
    )
    entries = models.PositiveIntegerField(null=True, help_text="Files in this ZIP.")
    entries_done = models.PositiveIntegerField(default=0)
    updated_at = models.DateTimeField(auto_now=True, db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["upload", "fingerprint"], name="uploaded_file_once")
        ]


class Disc(SiteRow):
    """A DICOMDIR that came with an upload, and whether all that it lists came as well."""

    SITE_PATH = "upload__site"

    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="discs")
    name = models.CharField(max_length=400, help_text="Path of the DICOMDIR in the upload.")
    listed = models.PositiveIntegerField()
    file_ids = models.JSONField(default=list, help_text="Evidence: what it lists.")
    missing = models.PositiveIntegerField(null=True, help_text="Empty until it was compared.")
    unreadable = models.PositiveIntegerField(
        default=0, help_text="Listed and there, but not accepted."
    )
    names = models.JSONField(default=list, help_text="Evidence: the first missing or refused.")

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["upload", "name"], name="disc_once")]


class QuarantineState(models.TextChoices):
    HELD = "held", gettext_lazy("Held")
    RELEASED = "released", gettext_lazy("Released")
    CORRECTED = "corrected", gettext_lazy("Accepted after correction")
    DISCARDED = "discarded", gettext_lazy("Discarded")


class Quarantined(SiteRow):
    """Bytes that were refused, with the reason; nothing vanishes."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT)
    received_at = models.DateTimeField(auto_now_add=True, db_index=True)
    source = models.CharField(max_length=80)
    upload = models.ForeignKey(Upload, on_delete=models.PROTECT, null=True, related_name="refusals")
    filename = models.CharField(max_length=255, blank=True)
    code = models.CharField(max_length=60)
    reason = models.TextField()
    size = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    state = models.CharField(max_length=12, choices=QuarantineState, default=QuarantineState.HELD)
    handled_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True)
    handled_at = models.DateTimeField(null=True)
    handled_reason = models.CharField(max_length=255, blank=True)
    correction = models.JSONField(
        default=dict, blank=True, help_text="Keywords that were changed to accept the object."
    )

    class Meta:
        ordering = ["-id"]
