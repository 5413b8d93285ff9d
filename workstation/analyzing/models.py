"""Runs, their steps, what they made. The step table is the job queue's truth.

Refinements live in ``refinement_models.py``, values entered for SUV in ``pet_models.py``; both are
imported here, where Django looks for models.
"""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models import Count, OuterRef, Q, Subquery
from django.utils.translation import gettext_lazy
from django.utils.translation import gettext_lazy as _

from workstation.accounts.models import SiteQuerySet, SiteRow, User
from workstation.analyzing.pet_models import PetEntry, PetQuantity
from workstation.analyzing.refinement_models import (
    Refinement,
    RefinementEvent,
    RefinementModel,
    RefinementState,
)
from workstation.receiving.models import Series
from workstation.worklist.models import Case

__all__ = [
    "ENDED", "DraftSentence", "Finding", "Layer", "LayerKind", "PetEntry", "PetQuantity",
    "Refinement", "RefinementEvent",
    "RefinementModel", "RefinementState", "Registration", "Run", "RunFact", "RunNotice",
    "RunQuerySet", "RunState", "Step", "StepEvent", "StepState", "StepTitle", "state_of",
]  # fmt: skip


class StepState(models.TextChoices):
    WAITING = "waiting", gettext_lazy("Waiting for the step before")
    QUEUED = "queued", gettext_lazy("Queued")
    RUNNING = "running", gettext_lazy("Running")
    DONE = "done", gettext_lazy("Done")
    FAILED = "failed", gettext_lazy("Failed")
    CANCELLED = "cancelled", gettext_lazy("Cancelled")


class StepTitle(models.TextChoices):
    """The steps of ``analysis.contracts.STEPS`` in words; a test compares the two."""

    ASSEMBLE = "assemble", _("Volumes")
    REGISTER = "register", _("Registration")
    INFER = "infer", _("Fusion inference")
    MEASURE = "measure", _("Findings")
    DRAFT = "draft", _("Draft report")


class RunState(models.TextChoices):
    """Computed from the steps, stored nowhere."""

    WAITING = "waiting", gettext_lazy("Waiting")
    RUNNING = "running", gettext_lazy("Running")
    DONE = "done", gettext_lazy("Done")
    FAILED = "failed", gettext_lazy("Failed")
    CANCELLED = "cancelled", gettext_lazy("Cancelled")


ENDED = frozenset({RunState.DONE, RunState.FAILED, RunState.CANCELLED})


def state_of(steps: list[str]) -> RunState:
    """The state of a run whose steps are in these states."""
    states = set(steps)
    if StepState.CANCELLED in states:
        return RunState.CANCELLED
    if StepState.FAILED in states:
        return RunState.FAILED
    if states == {StepState.DONE}:
        return RunState.DONE
    if states & {StepState.RUNNING, StepState.DONE}:
        return RunState.RUNNING
    return RunState.WAITING


class RunQuerySet(SiteQuerySet):
    def with_progress(self) -> Self:
        """Annotate what a list shows, in one query: ``steps_total``, ``steps_done``,
        ``steps_failed``, ``now_step`` and ``now_progress`` of the step in hand."""
        in_hand = Step.objects.filter(
            run=OuterRef("pk"),
            state__in=[StepState.RUNNING, StepState.QUEUED, StepState.FAILED],
        ).order_by("position")
        return self.annotate(
            steps_total=Count("steps"),
            steps_done=Count("steps", filter=Q(steps__state=StepState.DONE)),
            steps_failed=Count("steps", filter=Q(steps__state=StepState.FAILED)),
            now_step=Subquery(in_hand.values("name")[:1]),
            now_progress=Subquery(in_hand.values("progress")[:1]),
        )

    def latest_of_each_case(self) -> Self:
        """One run per case: the newest."""
        newest = Run.objects.filter(case=OuterRef("case")).order_by("-number").values("pk")[:1]
        return self.filter(pk=Subquery(newest))


class Run(SiteRow):
    """One analysis of a case's images. Its state is computed from its steps."""

    SITE_PATH = "case__site"
    objects = RunQuerySet.as_manager()

    case = models.ForeignKey(Case, on_delete=models.CASCADE, related_name="runs")
    number = models.PositiveIntegerField()
    reason = models.CharField(max_length=200)
    inputs_digest = models.CharField(
        max_length=64, help_text="SHA-256 over the sorted SOP instance UIDs and file hashes."
    )
    seed = models.PositiveIntegerField(default=20260101)
    fixed_registrations = models.JSONField(
        default=dict,
        help_text="SeriesInstanceUID -> RegistrationRecord by a reader, not computed again.",
    )
    inputs = models.JSONField(
        default=dict, help_text="What inputs_digest is made of, see run_inputs.inputs_of."
    )
    not_carried = models.JSONField(
        default=list,
        help_text="Decisions on alignments of earlier runs that this one could not keep, and why.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["case", "number"], name="run_number")]

    @property
    def state(self) -> RunState:
        """Uses prefetched steps if there are any."""
        return state_of([step.state for step in self.steps.all()])

    @property
    def problem(self) -> str:
        """Why the run has no result, for the reader; empty if it has, or may still have."""
        if self.state == RunState.CANCELLED:
            return "The analysis was cancelled."
        failed = next((s for s in self.steps.all() if s.state == StepState.FAILED), None)
        return f"{failed.get_name_display()}: {failed.error}" if failed else ""


class Step(SiteRow):
    """One step of a run. ``state`` is written only by ``analyzing.states.move``.

    ``attempts`` counts before work starts; ``token`` fences the commit of a worker that lost its
    lease; ``heartbeat_at`` is renewed while the child process lives; a queued step is not begun
    before ``due_at``; ``sent_at`` is when its last message went to the broker.
    """

    SITE_PATH = "run__case__site"

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="steps")
    name = models.CharField(max_length=20, choices=StepTitle)
    position = models.PositiveSmallIntegerField()
    queue = models.CharField(max_length=10)
    state = models.CharField(max_length=12, choices=StepState, default=StepState.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    token = models.CharField(max_length=32, blank=True)
    worker = models.CharField(max_length=100, blank=True, help_text="Host and process.")
    queued_at = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True, db_index=True)
    finished_at = models.DateTimeField(null=True)
    progress = models.FloatField(default=0.0)
    progress_text = models.CharField(max_length=200, blank=True)
    error_code = models.CharField(max_length=60, blank=True)
    error = models.TextField(blank=True, help_text="For the reader's eyes.")
    peak_memory_mb = models.PositiveIntegerField(null=True)

    class Meta:
        ordering = ["position"]
        indexes = [
            models.Index(
                fields=["state", "due_at"],
                name="step_open",
                condition=Q(state__in=["queued", "running"]),
            )
        ]
        constraints = [
            models.UniqueConstraint(fields=["run", "name"], name="step_once"),
            models.CheckConstraint(
                condition=Q(state="running") ^ Q(token=""), name="step_token_while_running"
            ),
        ]

    @property
    def seconds(self) -> float | None:
        """How long the last attempt took; None unless it ended."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()


class StepEvent(SiteRow):
    """One move of a step. Append-only."""

    SITE_PATH = "step__run__case__site"

    step = models.ForeignKey(Step, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(auto_now_add=True)
    event = models.CharField(max_length=40)
    from_state = models.CharField(max_length=12)
    to_state = models.CharField(max_length=12)
    by = models.ForeignKey(User, on_delete=models.PROTECT, null=True)
    reason = models.TextField(blank=True)

    class Meta:
        ordering = ["id"]


class LayerKind(models.TextChoices):
    SERIES = "series", gettext_lazy("Image series")
    HEATMAP = "heatmap", gettext_lazy("Probability map")
    SEGMENTATION = "segmentation", gettext_lazy("Segmentation")
    DEFORMED = "deformed", gettext_lazy("Deformed image series")


class Layer(SiteRow):
    """A stored volume that the viewer can stream. ``record`` is the contract's VolumeRecord."""

    SITE_PATH = "run__case__site"

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="layers")
    kind = models.CharField(max_length=12, choices=LayerKind)
    key = models.CharField(
        max_length=80, help_text="SeriesInstanceUID, with #n for the siblings of its main volume."
    )
    series = models.ForeignKey(Series, on_delete=models.PROTECT, null=True)
    label = models.CharField(max_length=64)
    role = models.CharField(max_length=10)
    unit = models.CharField(max_length=32)
    position = models.PositiveSmallIntegerField(default=0)
    is_reference = models.BooleanField(default=False)
    record = models.JSONField(help_text="VolumeRecord: paths relative to the run's folder.")
    refinement = models.OneToOneField(
        Refinement, on_delete=models.CASCADE, null=True, related_name="layer",
        help_text="Of a deformed layer: what deformed it.",
    )  # fmt: skip

    class Meta:
        ordering = ["position", "id"]
        constraints = [models.UniqueConstraint(fields=["run", "key"], name="layer_once")]

    @property
    def is_sibling(self) -> bool:
        """One of several volumes of a series, but not the one that speaks for it (see
        ``VolumeRecord.key``): it is looked at, never measured or exported."""
        return self.kind == LayerKind.SERIES and "#" in self.key


class Registration(SiteRow):
    """How one series lies in the reference series' space, as computed. Decisions are reading's."""

    SITE_PATH = "run__case__site"

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="registrations")
    series = models.ForeignKey(Series, on_delete=models.PROTECT, related_name="registrations")
    reference = models.ForeignKey(Series, on_delete=models.PROTECT, related_name="+")
    state = models.CharField(max_length=16, help_text="FusionState of the contracts.")
    verdict = models.CharField(max_length=10)
    method = models.CharField(max_length=200)
    version = models.CharField(max_length=64)
    matrix = models.JSONField(help_text="4x4 row-major, moving LPS -> reference LPS, mm.")
    reasons = models.JSONField(default=list)
    quality = models.JSONField(default=list, help_text="QualityFigure list.")
    parameters = models.JSONField(default=dict)
    model = models.CharField(max_length=10, default="rigid")
    deformation = models.JSONField(null=True, help_text="FieldRecord of a deformable one.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "series"], name="registration_once")]


class Finding(SiteRow):
    """One finding as the analysis made it. The reader's judgement is reading's FindingReview."""

    SITE_PATH = "run__case__site"

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="findings")
    number = models.PositiveIntegerField()
    tracking_uid = models.CharField(max_length=64)
    label = models.CharField(max_length=100)
    location = models.CharField(max_length=100, blank=True)
    laterality = models.CharField(max_length=10, blank=True)
    probability = models.FloatField(null=True)
    x_mm = models.FloatField()
    y_mm = models.FloatField()
    z_mm = models.FloatField()
    long_axis_mm = models.FloatField()
    short_axis_mm = models.FloatField()
    volume_ml = models.FloatField()
    suv_max = models.FloatField(null=True)
    suv_peak = models.FloatField(null=True)
    suv_mean = models.FloatField(null=True)
    mean_value = models.FloatField(null=True, help_text="Mean of the reference series inside.")
    mean_unit = models.CharField(max_length=32, blank=True)
    method = models.CharField(max_length=300)
    evidence = models.JSONField(default=dict)

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["run", "number"], name="finding_number")]


class DraftSentence(SiteRow):
    """One sentence of the draft as the analysis wrote it."""

    SITE_PATH = "run__case__site"

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="sentences")
    position = models.PositiveIntegerField()
    section = models.CharField(max_length=20)
    text = models.TextField()
    finding = models.ForeignKey(Finding, on_delete=models.CASCADE, null=True)
    basis = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["position"]


class RunNotice(SiteRow):
    """Something the reader must know about the run or one of its series."""

    SITE_PATH = "run__case__site"

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="notices")
    step = models.CharField(max_length=20)
    code = models.CharField(max_length=60)
    message = models.TextField()
    severity = models.CharField(max_length=10)
    series = models.ForeignKey(Series, on_delete=models.CASCADE, null=True)

    class Meta:
        ordering = ["id"]


class RunFact(SiteRow):
    """Facts of a run that pages and exports ask for: pathway, models used, case probability,
    delivered outlines. ``value`` is evidence."""

    SITE_PATH = "run__case__site"

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="facts")
    name = models.CharField(max_length=40)
    value = models.JSONField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "name"], name="fact_once")]
