"""What a reader decides and measures at the images."""

from __future__ import annotations

from typing import Self

from django.db import models

from workstation.accounts.models import SiteQuerySet, SiteRow, User
from workstation.analyzing.models import Finding, Refinement, Registration
from workstation.receiving.models import Study
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
    BIDIRECTIONAL = "bidirectional", "Bidirectional"
    ANGLE = "angle", "Angle"
    ELLIPSE = "ellipse", "Ellipse"
    FREEHAND = "freehand", "Freehand"
    SPHERE = "sphere", "Sphere"
    THRESHOLD = "threshold", "Threshold volume"
    PROBE = "probe", "Probe"
    ARROW = "arrow", "Arrow"
    TEXT = "text", "Text"


class Hideable(SiteQuerySet):
    """Rows of the reader that are deleted by hiding them, so that it can be undone."""

    def shown(self) -> Self:
        return self.filter(hidden_at=None)

    def hidden(self) -> Self:
        return self.exclude(hidden_at=None)


class Measurement(SiteRow):
    """A reader's mark. Its numbers are :class:`MeasuredValue` rows, computed on the server from
    patient millimetres; ``value``, ``unit`` and ``text`` are the headline made of them."""

    SITE_PATH = "case__site"
    objects = Hideable.as_manager()

    case = models.ForeignKey(Case, on_delete=models.CASCADE, related_name="measurements")
    number = models.PositiveIntegerField(help_text="M1, M2 ... of the case; never used twice.")
    sent = models.UUIDField(null=True, help_text="The browser's id: sent again, one row.")
    tool = models.CharField(max_length=16, choices=MeasurementTool)
    label = models.CharField(max_length=200, blank=True, help_text="The reader's words.")
    purpose = models.CharField(max_length=10, blank=True, help_text="liver: of a sphere.")
    points = models.JSONField(help_text="LPS mm in the reference space, [[x, y, z], ...].")
    plane = models.JSONField(null=True, help_text='{"normal": [x, y, z]} of a planar tool.')
    threshold = models.JSONField(null=True, help_text="Method, and value if it is fixed.")
    layers = models.JSONField(default=list, help_text="Series keys whose values were asked for.")
    outline = models.JSONField(null=True, help_text="Closed polygon, LPS mm in reference space.")
    mask = models.JSONField(null=True, help_text="Run lengths on the own grid of a series.")
    value = models.FloatField(null=True)
    unit = models.CharField(max_length=32, blank=True)
    text = models.CharField(max_length=300, blank=True)
    notes = models.JSONField(default=list, help_text="What the reader must know of the values.")
    evidence = models.JSONField(
        default=dict, help_text="Run, reference series, and how each series lay then."
    )
    by = models.ForeignKey(User, on_delete=models.PROTECT)
    at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)
    hidden_at = models.DateTimeField(null=True)
    hidden_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["case", "number"], name="measurement_number"),
            models.UniqueConstraint(fields=["case", "sent"], name="measurement_sent_once"),
        ]

    @property
    def name(self) -> str:
        return f"M{self.number}"


class MeasuredValue(SiteRow):
    """One number of a measurement with its unit, method and way back to the voxels."""

    SITE_PATH = "measurement__case__site"

    measurement = models.ForeignKey(Measurement, on_delete=models.CASCADE, related_name="values")
    position = models.PositiveSmallIntegerField()
    key = models.CharField(max_length=80, blank=True, help_text="Series key; empty for geometry.")
    layer_label = models.CharField(max_length=64, blank=True)
    name = models.CharField(max_length=20)
    value = models.FloatField(null=True)
    unit = models.CharField(max_length=40, blank=True)
    reason = models.CharField(max_length=300, blank=True, help_text="Why there is no value.")
    method = models.CharField(max_length=300)
    voxels = models.PositiveIntegerField(null=True, help_text="Voxels or samples it is made of.")
    voxel = models.JSONField(null=True, help_text="(i, j, k) of an extreme.")
    place = models.JSONField(null=True, help_text="LPS mm of that voxel in the reference space.")

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["measurement", "position"], name="measured_once")
        ]


class KeyImage(SiteRow):
    """What the reader saw, as data to show it again, and the picture if the browser sent one."""

    SITE_PATH = "case__site"
    objects = Hideable.as_manager()

    case = models.ForeignKey(Case, on_delete=models.CASCADE, related_name="key_images")
    number = models.PositiveIntegerField(help_text="K1, K2 ... of the case; never used twice.")
    label = models.CharField(max_length=200, blank=True)
    state = models.JSONField(help_text="Plane, layers by series key with their windows, view.")
    picture = models.BinaryField(null=True)
    picture_type = models.CharField(max_length=16, blank=True)
    evidence = models.JSONField(default=dict, help_text="Run and reference series.")
    by = models.ForeignKey(User, on_delete=models.PROTECT)
    at = models.DateTimeField(auto_now_add=True)
    hidden_at = models.DateTimeField(null=True)
    hidden_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["case", "number"], name="key_image_number")]

    @property
    def name(self) -> str:
        return f"K{self.number}"


class PriorPair(SiteRow):
    """A lesion of this case and the same lesion in an earlier study: a measurement or a finding
    each. What became of its size is computed when it is asked for, never kept."""

    SITE_PATH = "case__site"
    objects = Hideable.as_manager()

    case = models.ForeignKey(Case, on_delete=models.CASCADE, related_name="prior_pairs")
    measurement = models.ForeignKey(
        Measurement, on_delete=models.CASCADE, null=True, related_name="prior_pairs"
    )
    finding = models.ForeignKey(
        Finding, on_delete=models.CASCADE, null=True, related_name="prior_pairs"
    )
    earlier_measurement = models.ForeignKey(
        Measurement, on_delete=models.CASCADE, null=True, related_name="+"
    )
    earlier_finding = models.ForeignKey(
        Finding, on_delete=models.CASCADE, null=True, related_name="+"
    )
    study = models.ForeignKey(
        Study, on_delete=models.PROTECT, related_name="+",
        help_text="The earlier study, whose date counts.",
    )  # fmt: skip
    is_node = models.BooleanField(
        default=False, help_text="A lymph node: its short axis goes into the sum of diameters."
    )
    proposed_mm = models.FloatField(
        null=True, help_text="Distance through the registration, if the pair was proposed by it."
    )
    by = models.ForeignKey(User, on_delete=models.PROTECT)
    at = models.DateTimeField(auto_now_add=True)
    hidden_at = models.DateTimeField(null=True)
    hidden_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(measurement=None) ^ models.Q(finding=None), name="pair_of_one"
            ),
            models.CheckConstraint(
                condition=models.Q(earlier_measurement=None) ^ models.Q(earlier_finding=None),
                name="pair_with_one",
            ),
        ]


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
