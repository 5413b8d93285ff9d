"""Patient, study, series, instance as received; quarantine; uploads."""

from __future__ import annotations

from django.db import models

from workstation.accounts.models import Site, SiteRow, User


class Patient(SiteRow):
    """Identity is site + issuer + ID; the same ID at two sites is two patients."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT)
    issuer = models.CharField(max_length=64, blank=True)
    patient_id = models.CharField(max_length=64)
    name = models.CharField(max_length=324, blank=True, help_text="DICOM PN, decoded.")
    birth_date = models.DateField(null=True)
    sex = models.CharField(max_length=16, blank=True)
    synthetic = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["site", "issuer", "patient_id"], name="patient_identity"
            )
        ]

    @property
    def display_name(self) -> str:
        """``Family, Given Middle`` of the alphabetic group."""
        family, _, rest = self.name.split("=")[0].partition("^")
        given = " ".join(part for part in rest.split("^")[:2] if part)
        return f"{family}, {given}" if given else family


class Study(SiteRow):
    """One DICOM study. ``completed_at`` is set when its quiet time has passed."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT)
    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="studies")
    study_instance_uid = models.CharField(max_length=64)
    accession_number = models.CharField(max_length=64, blank=True)
    study_date = models.DateField(null=True)
    study_time = models.TimeField(null=True)
    description = models.CharField(max_length=128, blank=True)
    referring_physician = models.CharField(max_length=324, blank=True)
    patient_age = models.CharField(max_length=8, blank=True)
    header = models.JSONField(default=dict, blank=True, help_text="Evidence copied into exports.")
    received_at = models.DateTimeField(auto_now_add=True)
    last_received_at = models.DateTimeField(db_index=True)
    completed_at = models.DateTimeField(null=True, db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["site", "study_instance_uid"], name="study_once")
        ]


class Series(SiteRow):
    SITE_PATH = "study__site"

    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="series")
    series_instance_uid = models.CharField(max_length=64, db_index=True)
    modality = models.CharField(max_length=16)
    series_number = models.IntegerField(null=True)
    description = models.CharField(max_length=128, blank=True)
    body_part = models.CharField(max_length=32, blank=True)
    frame_of_reference_uid = models.CharField(max_length=64, blank=True)

    class Meta:
        verbose_name_plural = "series"
        constraints = [
            models.UniqueConstraint(fields=["study", "series_instance_uid"], name="series_once")
        ]


class Instance(SiteRow):
    """One SOP instance, its bytes stored untouched and once under their SHA-256."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT)
    series = models.ForeignKey(Series, on_delete=models.PROTECT, related_name="instances")
    sop_instance_uid = models.CharField(max_length=64)
    sop_class_uid = models.CharField(max_length=64)
    transfer_syntax_uid = models.CharField(max_length=64)
    is_image = models.BooleanField(
        default=True, help_text="False: structure set, segmentation, report, ..."
    )
    instance_number = models.IntegerField(null=True)
    sha256 = models.CharField(max_length=64, db_index=True)
    size = models.PositiveBigIntegerField()
    source = models.CharField(max_length=80, help_text="dimse:AET, upload:ID, import")
    received_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["site", "sop_instance_uid"], name="instance_once")
        ]


class NoticeLevel(models.TextChoices):
    INFO = "info", "Information"
    WARN = "warn", "Warning"


class StudyNotice(SiteRow):
    """Something the reader should know about how a study arrived; shown in the case."""

    SITE_PATH = "study__site"

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="notices")
    code = models.CharField(max_length=60)
    level = models.CharField(max_length=8, choices=NoticeLevel)
    text = models.CharField(max_length=400)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["study", "code", "text"], name="study_notice_once")
        ]


class Upload(SiteRow):
    """One browser upload or folder import, with its count of what became of each file."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT)
    user = models.ForeignKey(User, on_delete=models.PROTECT, null=True)
    started_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)
    files = models.PositiveIntegerField(default=0)
    stored = models.PositiveIntegerField(default=0)
    repeated = models.PositiveIntegerField(default=0)
    quarantined = models.PositiveIntegerField(default=0)
    ignored = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["-id"]


class QuarantineState(models.TextChoices):
    HELD = "held", "Held"
    RELEASED = "released", "Released"
    DISCARDED = "discarded", "Discarded"


class Quarantined(SiteRow):
    """Bytes that were refused, with the reason; nothing vanishes."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT)
    received_at = models.DateTimeField(auto_now_add=True, db_index=True)
    source = models.CharField(max_length=80)
    upload = models.ForeignKey(
        Upload, on_delete=models.PROTECT, null=True, related_name="refusals"
    )
    filename = models.CharField(max_length=255, blank=True)
    code = models.CharField(max_length=60)
    reason = models.TextField()
    size = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    state = models.CharField(
        max_length=12, choices=QuarantineState, default=QuarantineState.HELD
    )
    handled_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True)
    handled_at = models.DateTimeField(null=True)
    handled_reason = models.CharField(max_length=255, blank=True)

    class Meta:
        ordering = ["-id"]
