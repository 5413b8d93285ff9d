"""What a reader decides and measures at the images."""

from __future__ import annotations

from django.db import models

from workstation.accounts.models import SiteRow, User
from workstation.analyzing.models import Finding, Refinement, Registration
from workstation.worklist.models import Case


class ReviewState(models.TextChoices):
    ACCEPTED = "accepted", "Accepted"
    EDITED = "edited", "Edited"
    REJECTED = "rejected", "Rejected"


class FindingReview(SiteRow):
    """The reader's latest judgement of one finding; no row means pending. History is in the
    audit trail."""

    SITE_PATH = "finding__run__case__site"

    finding = models.OneToOneField(Finding, on_delete=models.CASCADE, related_name="review")
    state = models.CharField(max_length=10, choices=ReviewState)
    label = models.CharField(max_length=100, blank=True, help_text="Replaces the label if edited.")
    location = models.CharField(max_length=100, blank=True)
    comment = models.CharField(max_length=500, blank=True)
    by = models.ForeignKey(User, on_delete=models.PROTECT)
    at = models.DateTimeField(auto_now=True)


class RegistrationDecisionKind(models.TextChoices):
    ACCEPTED = "accepted", "Accepted"
    NUDGED = "nudged", "Nudged"
    REJECTED = "rejected", "Rejected"
    WITHDRAWN = "withdrawn", "Withdrawn"


class DecisionMethod(models.TextChoices):
    """Where the alignment of a decision comes from."""

    COMPUTED = "computed", "Computed"
    HAND = "hand", "Hand alignment"
    LANDMARKS = "landmarks", "Landmarks"
    REFINED = "refined", "Refined"


class RegistrationDecision(SiteRow):
    """A reader's decision on a registration. Append-only; the latest counts."""

    SITE_PATH = "registration__run__case__site"

    registration = models.ForeignKey(
        Registration, on_delete=models.CASCADE, related_name="decisions"
    )
    decision = models.CharField(max_length=10, choices=RegistrationDecisionKind)
    matrix = models.JSONField(null=True, help_text="4x4 of a nudge, else null.")
    method = models.CharField(max_length=10, choices=DecisionMethod, blank=True)
    refinement = models.ForeignKey(
        Refinement, on_delete=models.RESTRICT, null=True, related_name="decisions",
        help_text="The accepted refinement, whose matrix and field count.",
    )  # fmt: skip
    evidence = models.JSONField(default=dict, help_text="Of a landmark fit: pairs and residuals.")
    reason = models.CharField(max_length=500, blank=True)
    by = models.ForeignKey(User, on_delete=models.PROTECT)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]


class MeasurementTool(models.TextChoices):
    LENGTH = "length", "Length"
    PROBE = "probe", "Probe"


class Measurement(SiteRow):
    """A reader's measurement, computed on the server from patient millimetres."""

    SITE_PATH = "case__site"

    case = models.ForeignKey(Case, on_delete=models.CASCADE, related_name="measurements")
    tool = models.CharField(max_length=10, choices=MeasurementTool)
    points = models.JSONField(help_text="LPS mm in the reference space, [[x, y, z], ...].")
    value = models.FloatField()
    unit = models.CharField(max_length=32)
    text = models.CharField(max_length=300)
    evidence = models.JSONField(default=dict)
    by = models.ForeignKey(User, on_delete=models.PROTECT)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]


class LandmarkPair(SiteRow):
    """The same anatomical place, pointed at in both images. Undone by deleting it; the audit trail
    keeps that it was there."""

    SITE_PATH = "registration__run__case__site"

    registration = models.ForeignKey(
        Registration, on_delete=models.CASCADE, related_name="landmarks"
    )
    reference = models.JSONField(help_text="[x, y, z] LPS mm in the reference space.")
    moving = models.JSONField(help_text="[x, y, z] LPS mm in the moving series' own space.")
    label = models.CharField(max_length=64, blank=True)
    by = models.ForeignKey(User, on_delete=models.PROTECT)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
