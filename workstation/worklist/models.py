"""Case, claim, the history of a case, and the rules by which studies become one."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from workstation.accounts.models import Site, SiteRow, User
from workstation.receiving.models import Patient, Study


class CaseState(models.TextChoices):
    RECEIVING = "receiving", _("Receiving")
    ANALYSING = "analysing", _("Analysing")
    READY = "ready", _("Ready")
    READING = "reading", _("Reading")
    DRAFT = "draft", _("Draft")
    SIGNED = "signed", _("Signed")
    ADDENDED = "addended", _("Addended")
    CLOSED = "closed", _("Closed")


class Priority(models.IntegerChoices):
    STAT = 1, _("STAT")
    URGENT = 2, _("Urgent")
    ROUTINE = 3, _("Routine")


class Case(SiteRow):
    """What a radiologist reads: the studies of one patient that belong together.

    ``state`` is written only by ``worklist.states.move``.
    """

    site = models.ForeignKey(Site, on_delete=models.PROTECT)
    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="cases")
    studies = models.ManyToManyField(Study, related_name="cases")
    state = models.CharField(max_length=12, choices=CaseState, default=CaseState.RECEIVING)
    priority = models.PositiveSmallIntegerField(choices=Priority, default=Priority.ROUTINE)
    title = models.CharField(max_length=200, blank=True)
    pathway = models.CharField(max_length=20, blank=True)
    modalities = models.CharField(max_length=80, blank=True, help_text="E.g. ``CT PT``.")
    activity = models.CharField(
        max_length=120, blank=True, help_text="What the analysis is doing now, for the list."
    )
    problem = models.TextField(blank=True, help_text="Why the analysis did not finish, if so.")
    new_images = models.BooleanField(
        default=False, help_text="Images arrived after the reader opened the case."
    )
    alert = models.CharField(
        max_length=300, blank=True, help_text="What changed about whose images these are."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    received_at = models.DateTimeField(db_index=True, help_text="First image of the first study.")
    ready_at = models.DateTimeField(null=True)
    signed_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["site", "state", "priority", "received_at"], name="case_list"),
            # The list in its usual order over several sites: read as far as the page goes.
            models.Index(fields=["priority", "received_at", "id"], name="case_urgency"),
        ]

    @property
    def priority_name(self) -> str:
        """``stat``, ``urgent`` or ``routine``: for styles and scripts, in every language."""
        return Priority(self.priority).name.lower()


class Claim(SiteRow):
    """Who holds the case. One row per case at most: the lock two readers cannot both get."""

    SITE_PATH = "case__site"

    case = models.OneToOneField(Case, on_delete=models.CASCADE, related_name="claim")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="claims")
    claimed_at = models.DateTimeField(auto_now_add=True)


class CaseEvent(SiteRow):
    """One move of a case: from, to, why, by whom, when. Append-only."""

    SITE_PATH = "case__site"

    case = models.ForeignKey(Case, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(auto_now_add=True)
    event = models.CharField(max_length=40)
    from_state = models.CharField(max_length=12)
    to_state = models.CharField(max_length=12)
    by = models.ForeignKey(User, on_delete=models.PROTECT, null=True)
    reason = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["id"]


class AssemblyRule(SiteRow):
    """When two studies of one patient are read as one case; the lead of the site edits it.

    The first active rule, by position, whose groups fit two studies decides about them.
    """

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="assembly_rules")
    name = models.CharField(max_length=60)
    pathway = models.CharField(
        max_length=20, blank=True, help_text="For people: which reading pathway this serves."
    )
    position = models.PositiveSmallIntegerField(help_text="The first rule that fits decides.")
    active = models.BooleanField(default=True)
    body = models.CharField(
        max_length=300, blank=True,
        help_text="Words of the body part or description, e.g. “chest thorax”. Empty: any.",
    )  # fmt: skip
    anchor = models.CharField(
        max_length=200, blank=True,
        help_text="Roles or modalities of the one study, e.g. “PET”. Empty: any.",
    )  # fmt: skip
    companions = models.CharField(
        max_length=200, blank=True,
        help_text="Roles or modalities of the other study, e.g. “CT CTA”. Empty: any.",
    )  # fmt: skip
    within_days = models.PositiveSmallIntegerField(
        help_text="How many days may lie between the two studies."
    )

    class Meta:
        ordering = ["position", "pk"]
        constraints = [models.UniqueConstraint(fields=["site", "name"], name="assembly_rule_name")]


class PlacementKind(models.TextChoices):
    JOINED = "joined", _("Joined by a rule")
    PUT_IN = "put_in", _("Put in by hand")
    TAKEN_OUT = "taken_out", _("Taken out by hand")
    LEFT = "left", _("Left for another case")
    COMPARED = "compared", _("Put in for comparison, as an earlier study")


class Placement(SiteRow):
    """Why a study is in a case, or stays out of it. ``Case.studies`` says which are in."""

    SITE_PATH = "case__site"

    case = models.ForeignKey(Case, on_delete=models.CASCADE, related_name="placements")
    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="placements")
    kind = models.CharField(max_length=10, choices=PlacementKind)
    rule = models.ForeignKey(AssemblyRule, on_delete=models.SET_NULL, null=True)
    reason = models.CharField(max_length=300)
    by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["case", "study"], name="placement_once")]
