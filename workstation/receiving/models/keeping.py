"""How long images are kept, and what was deleted."""

from __future__ import annotations

from django.db import models

from workstation.accounts.models import Site, SiteRow, User
from workstation.receiving.models.archive import Study


class RetentionRule(SiteRow):
    """Studies of a site that may be deleted when they are old enough and nobody needs them."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT)
    name = models.CharField(max_length=100)
    active = models.BooleanField(default=False, help_text="Inactive rules only show what they do.")
    days = models.PositiveIntegerField(help_text="Days since the last image arrived.")
    modalities = models.CharField(max_length=80, blank=True, help_text="Empty: all.")
    only_reported = models.BooleanField(
        default=True, help_text="Only studies whose cases are signed."
    )
    priors_only = models.BooleanField(
        default=False, help_text="Only studies that were fetched as priors."
    )

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["site", "name"], name="retention_name")]


class Deletion(SiteRow):
    """One study whose images were deleted: why, by whom, how much. The study's row stays."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT)
    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="deletions")
    rule = models.ForeignKey(RetentionRule, on_delete=models.SET_NULL, null=True)
    by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    reason = models.CharField(max_length=255)
    at = models.DateTimeField(auto_now_add=True)
    instances = models.PositiveIntegerField()
    size = models.PositiveBigIntegerField(help_text="Bytes freed.")

    class Meta:
        ordering = ["-id"]


class UnreferencedBytes(models.Model):
    """Archived bytes whose last row was deleted; removed in two steps (``services/keeping.py``)."""

    sha256 = models.CharField(max_length=64, unique=True)
    since = models.DateTimeField(auto_now_add=True)
    set_aside_at = models.DateTimeField(null=True)
