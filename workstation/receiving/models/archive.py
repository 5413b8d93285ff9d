"""Patient, study, series, instance as received, and what the reader should know of them."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy

from workstation.accounts.models import Site, SiteRow, User


class Patient(SiteRow):
    """Identity is site + issuer + ID; the same ID at two sites is two patients."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT)
    issuer = models.CharField(max_length=64, blank=True)
    patient_id = models.CharField(max_length=64)
    name = models.CharField(max_length=324, blank=True, help_text="DICOM PN, decoded.")
    name_key = models.CharField(
        max_length=400, blank=True, db_index=True,
        help_text="The name without case, accents and delimiters, for searching.",
    )  # fmt: skip
    birth_date = models.DateField(null=True)
    sex = models.CharField(max_length=16, blank=True)
    synthetic = models.BooleanField(default=False)
    merged_into = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, related_name="merged",
        help_text="This ID was merged: what arrives under it belongs to the other patient.",
    )  # fmt: skip

    class Meta:
        indexes = [models.Index(fields=["patient_id"], name="patient_by_id")]
        constraints = [
            models.UniqueConstraint(
                fields=["site", "issuer", "patient_id"], name="patient_identity"
            )
        ]

    @property
    def display_name(self) -> str:
        """``Family, Given Middle`` of the first group that there is: alphabetic, ideographic,
        phonetic (PS3.5 6.2.1)."""
        group = next((group for group in self.name.split("=") if group.strip("^ ")), "")
        family, _, rest = group.partition("^")
        given = " ".join(part for part in rest.split("^")[:2] if part)
        return f"{family}, {given}" if given else family

    @property
    def native_name(self) -> str:
        """The further groups, e.g. ``山田 太郎 · やまだ たろう``."""
        groups = [group for group in self.name.split("=") if group.strip("^ ")][1:]
        return " · ".join(" ".join(part for part in group.split("^") if part) for group in groups)


class Study(SiteRow):
    """One DICOM study. ``completed_at`` is set when its quiet time has passed."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT)
    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="studies")
    received_as = models.ForeignKey(
        Patient, on_delete=models.PROTECT, null=True, related_name="+",
        help_text="Whom the headers name, when the study was moved to another patient.",
    )  # fmt: skip
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
    expected_instances = models.PositiveIntegerField(
        null=True, help_text="How many the sender says there are, if it said."
    )
    expected_from = models.CharField(max_length=80, blank=True, help_text="Who said so.")
    deidentified = models.BooleanField(default=False)
    deleted_at = models.DateTimeField(
        null=True, help_text="A retention rule or an administrator deleted the images."
    )

    class Meta:
        indexes = [
            models.Index(fields=["site", "-study_date", "-id"], name="study_list"),
            models.Index(fields=["accession_number"], name="study_accession"),
            # Newest first over several sites, and the same UID at another site.
            models.Index(fields=["-study_date", "-id"], name="study_by_date"),
            models.Index(fields=["study_instance_uid"], name="study_by_uid"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["site", "study_instance_uid"], name="study_once")
        ]


class RoleSource(models.TextChoices):
    RULE = "rule", gettext_lazy("Rule")
    MANUAL = "manual", gettext_lazy("Set by hand")


class Series(SiteRow):
    SITE_PATH = "study__site"

    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="series")
    series_instance_uid = models.CharField(max_length=64, db_index=True)
    modality = models.CharField(max_length=16)
    series_number = models.IntegerField(null=True)
    description = models.CharField(max_length=128, blank=True)
    body_part = models.CharField(max_length=32, blank=True)
    frame_of_reference_uid = models.CharField(max_length=64, blank=True)
    role = models.CharField(
        max_length=32, blank=True, help_text="Code of the role catalogue; empty: not looked at yet."
    )
    role_source = models.CharField(max_length=12, choices=RoleSource, blank=True)
    role_reason = models.CharField(max_length=300, blank=True)
    role_details = models.JSONField(
        default=dict, blank=True, help_text="Evidence: b-values, tracer, contrast phase."
    )
    role_set_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    role_set_at = models.DateTimeField(null=True)

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
    rows = models.PositiveIntegerField(null=True)
    columns = models.PositiveIntegerField(null=True)
    number_of_frames = models.PositiveIntegerField(null=True)
    sha256 = models.CharField(max_length=64, db_index=True)
    size = models.PositiveBigIntegerField()
    source = models.CharField(max_length=80, help_text="dimse:AET, upload:ID, import")
    received_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["site", "sop_instance_uid"], name="instance_once")
        ]


class NoticeLevel(models.TextChoices):
    INFO = "info", gettext_lazy("Information")
    WARN = "warn", gettext_lazy("Warning")


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
