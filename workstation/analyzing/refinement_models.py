"""A reader's "refine from here": the job and its result. See ``refinements.py``."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from workstation.accounts.models import SiteRow, User


class RefinementState(models.TextChoices):
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"
    DISCARDED = "discarded", "Discarded"


class RefinementModel(models.TextChoices):
    RIGID = "rigid", "Rigid"
    AFFINE = "affine", "Affine"
    DEFORMABLE = "deformable", "Deformable"


class Refinement(SiteRow):
    """A reader's "refine from here": a job, and what came of it. Nothing is fused by it until
    reading's RegistrationDecision accepts it.

    ``state`` is written only by ``analyzing.refinement_states.move``; the lease works as a Step's.
    """

    SITE_PATH = "registration__run__case__site"

    registration = models.ForeignKey(
        "analyzing.Registration", on_delete=models.CASCADE, related_name="refinements"
    )
    model = models.CharField(max_length=10, choices=RefinementModel)
    start_matrix = models.JSONField(help_text="4x4, moving LPS -> reference LPS, mm.")
    start_method = models.CharField(
        max_length=12, help_text="Where the start came from: computed, hand, landmarks, refined."
    )
    by = models.ForeignKey(User, on_delete=models.PROTECT)
    at = models.DateTimeField(auto_now_add=True)

    state = models.CharField(
        max_length=12, choices=RefinementState, default=RefinementState.QUEUED
    )
    attempts = models.PositiveSmallIntegerField(default=0)
    token = models.CharField(max_length=32, blank=True)
    worker = models.CharField(max_length=100, blank=True, help_text="Host and process.")
    due_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    progress = models.FloatField(default=0.0)
    progress_text = models.CharField(max_length=200, blank=True)
    error_code = models.CharField(max_length=60, blank=True)
    error = models.TextField(blank=True, help_text="For the reader's eyes.")
    peak_memory_mb = models.PositiveIntegerField(null=True)

    matrix = models.JSONField(null=True, help_text="4x4 of the result, null until done.")
    method = models.CharField(max_length=200, blank=True)
    version = models.CharField(max_length=64, blank=True)
    verdict = models.CharField(max_length=10, blank=True)
    reasons = models.JSONField(default=list)
    quality = models.JSONField(default=list, help_text="QualityFigure list.")
    parameters = models.JSONField(default=dict)
    deformation = models.JSONField(null=True, help_text="FieldRecord of a deformable result.")

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["state", "due_at"],
                name="refinement_open",
                condition=Q(state__in=["queued", "running"]),
            )
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["registration"],
                condition=Q(state__in=["queued", "running"]),
                name="refinement_one_at_a_time",
            ),
            models.CheckConstraint(
                condition=Q(state="running") ^ Q(token=""), name="refinement_token_while_running"
            ),
        ]


class RefinementEvent(SiteRow):
    """One move of a refinement. Append-only."""

    SITE_PATH = "refinement__registration__run__case__site"

    refinement = models.ForeignKey(Refinement, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(auto_now_add=True)
    event = models.CharField(max_length=40)
    from_state = models.CharField(max_length=12)
    to_state = models.CharField(max_length=12)
    by = models.ForeignKey(User, on_delete=models.PROTECT, null=True)
    reason = models.TextField(blank=True)

    class Meta:
        ordering = ["id"]
