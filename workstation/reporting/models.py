"""The report of a case: a working draft of sentences, and versions that never change."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy

from workstation.accounts.models import SiteRow, User
from workstation.analyzing.models import Finding, Run
from workstation.worklist.models import Case


class ReportSection(models.TextChoices):
    INDICATION = "indication", gettext_lazy("Clinical information")
    TECHNIQUE = "technique", gettext_lazy("Technique")
    COMPARISON = "comparison", gettext_lazy("Comparison")
    FINDINGS = "findings", gettext_lazy("Findings")
    IMPRESSION = "impression", gettext_lazy("Impression")


class Report(SiteRow):
    """One report per case. ``revision`` grows with each autosave; a save names the revision it
    started from, so two tabs cannot silently overwrite each other."""

    SITE_PATH = "case__site"

    case = models.OneToOneField(Case, on_delete=models.CASCADE, related_name="report")
    run = models.ForeignKey(Run, on_delete=models.PROTECT, null=True, help_text="Draft's source.")
    revision = models.PositiveIntegerField(default=0)
    saved_at = models.DateTimeField(null=True)
    saved_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True)


class Origin(models.TextChoices):
    AI = "ai", gettext_lazy("AI draft")
    EDITED = "edited", gettext_lazy("AI draft, edited by the reader")
    READER = "reader", gettext_lazy("Reader")


class Sentence(SiteRow):
    """One sentence of the working draft."""

    SITE_PATH = "report__case__site"

    report = models.ForeignKey(Report, on_delete=models.CASCADE, related_name="sentences")
    section = models.CharField(max_length=12, choices=ReportSection)
    position = models.PositiveIntegerField()
    text = models.TextField()
    original = models.TextField(blank=True, help_text="The AI's words, for the difference.")
    origin = models.CharField(max_length=8, choices=Origin)
    finding = models.ForeignKey(Finding, on_delete=models.PROTECT, null=True)
    removed = models.BooleanField(default=False, help_text="Kept for the difference, not signed.")

    class Meta:
        ordering = ["section", "position"]


class VersionKind(models.TextChoices):
    FINAL = "final", gettext_lazy("Final")
    ADDENDUM = "addendum", gettext_lazy("Addendum")


class Version(SiteRow):
    """A signed text with its signature. Never changed: code, and a database trigger, refuse it.

    ``content`` is the canonical JSON that ``sha256`` covers together with ``previous_sha256``.
    """

    SITE_PATH = "report__case__site"

    report = models.ForeignKey(Report, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    kind = models.CharField(max_length=10, choices=VersionKind)
    content = models.TextField()
    sha256 = models.CharField(max_length=64)
    previous_sha256 = models.CharField(max_length=64, blank=True)
    signed_by = models.ForeignKey(User, on_delete=models.PROTECT)
    signer_name = models.CharField(max_length=200)
    meaning = models.CharField(max_length=100)
    signed_at = models.DateTimeField()

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["report", "number"], name="version_number")]
