"""Where results go, what was written of a signed version, and what became of each delivery."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy

from workstation.accounts.models import Site, SiteRow
from workstation.receiving.models import DeidentificationProfile
from workstation.reporting.models import Version


class Destination(SiteRow):
    """A DICOM node of a site that takes signed results by C-STORE."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT)
    name = models.CharField(max_length=100)
    ae_title = models.CharField(max_length=16)
    host = models.CharField(max_length=255)
    port = models.PositiveIntegerField()
    deidentification = models.ForeignKey(
        DeidentificationProfile, on_delete=models.PROTECT, null=True, blank=True,
        help_text="What it gets is de-identified on the way out.",
    )  # fmt: skip
    active = models.BooleanField(default=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["site", "name"], name="destination_name")]

    def __str__(self) -> str:
        return self.name


class ExportState(models.TextChoices):
    WAITING = "waiting", gettext_lazy("Waiting")
    WRITING = "writing", gettext_lazy("Writing")
    WRITTEN = "written", gettext_lazy("Written")
    FAILED = "failed", gettext_lazy("Failed")


class Export(SiteRow):
    """The writing of one signed version's DICOM objects: the row is the job.

    ``state`` is written only by ``exporting.states``.
    """

    SITE_PATH = "version__report__case__site"

    version = models.OneToOneField(Version, on_delete=models.PROTECT, related_name="export")
    state = models.CharField(max_length=10, choices=ExportState, default=ExportState.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    started_at = models.DateTimeField(null=True)
    next_attempt_at = models.DateTimeField(null=True, db_index=True)
    error = models.CharField(max_length=500, blank=True)


class ObjectKind(models.TextChoices):
    SR = "sr", gettext_lazy("Structured report (TID 1500)")
    SEG = "seg", gettext_lazy("Segmentation")
    REG = "reg", gettext_lazy("Spatial registration")
    PDF = "pdf", gettext_lazy("Report (encapsulated PDF)")


class ExportObject(SiteRow):
    """A DICOM object written from a signed version; its bytes lie under ``exports/``."""

    SITE_PATH = "export__version__report__case__site"

    export = models.ForeignKey(Export, on_delete=models.PROTECT, related_name="written")
    kind = models.CharField(max_length=5, choices=ObjectKind)
    sop_class_uid = models.CharField(max_length=64)
    sop_instance_uid = models.CharField(max_length=64, unique=True)
    path = models.CharField(max_length=200, help_text="Relative to the exports folder.")
    sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]


class DeliveryState(models.TextChoices):
    WAITING = "waiting", gettext_lazy("Waiting")
    SENDING = "sending", gettext_lazy("Sending")
    SENT = "sent", gettext_lazy("Sent")
    FAILED = "failed", gettext_lazy("Failed")


class Delivery(SiteRow):
    """One object to one destination, with its attempts. ``state`` is written only by
    ``exporting.states``."""

    SITE_PATH = "destination__site"

    object = models.ForeignKey(ExportObject, on_delete=models.PROTECT, related_name="deliveries")
    destination = models.ForeignKey(
        Destination, on_delete=models.PROTECT, related_name="deliveries"
    )
    state = models.CharField(max_length=10, choices=DeliveryState, default=DeliveryState.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    started_at = models.DateTimeField(null=True)
    next_attempt_at = models.DateTimeField(null=True, db_index=True)
    sent_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["object", "destination"], name="delivery_once")
        ]
