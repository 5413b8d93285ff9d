"""Who is who: merges, moves and links of patients, each with an undo."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy

from workstation.accounts.models import Site, SiteRow, User
from workstation.receiving.models.archive import Patient, Study


class ChangeKind(models.TextChoices):
    MERGE = "merge", gettext_lazy("Two patients merged")
    MOVE = "move", gettext_lazy("Study moved to another patient")


class IdentityChange(SiteRow):
    """One merge or move, with what is needed to take it back."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT)
    kind = models.CharField(max_length=8, choices=ChangeKind)
    from_patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="+")
    to_patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="+")
    studies = models.ManyToManyField(Study, related_name="identity_changes")
    reason = models.CharField(max_length=255)
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(auto_now_add=True)
    undone_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    undone_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]


class PatientLink(SiteRow):
    """An administrator of both sites says that two patients are one person.

    ``first`` is of ``site``; a second row holds the other direction, so that each site's row
    filter sees its own.
    """

    site = models.ForeignKey(Site, on_delete=models.PROTECT)
    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="links")
    other = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="+")
    reason = models.CharField(max_length=255)
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(auto_now_add=True)
    undone_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    undone_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["patient", "other"],
                condition=models.Q(undone_at__isnull=True),
                name="patient_link_once",
            )
        ]
