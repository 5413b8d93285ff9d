"""De-identification: which rules apply, and the vault that leads back."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy

from workstation.accounts.models import Site, SiteRow, User


class Dates(models.TextChoices):
    REMOVE = "remove", gettext_lazy("Removed")
    SHIFT = "shift", gettext_lazy("Shifted by a constant number of days")
    KEEP = "keep", gettext_lazy("Kept")


class DeidentificationProfile(SiteRow):
    """The Basic Profile of PS3.15 annex E with a site's choice of options."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT)
    name = models.CharField(max_length=100)
    dates = models.CharField(max_length=8, choices=Dates, default=Dates.SHIFT)
    keep_patient_characteristics = models.BooleanField(
        default=True, help_text="Weight, size, sex, age: without them no SUV."
    )
    keep_safe_private = models.BooleanField(default=True)
    keep_device_identity = models.BooleanField(default=False)
    keep_institution = models.BooleanField(default=False)
    keep_uids = models.BooleanField(default=False)
    clean_descriptors = models.BooleanField(
        default=True, help_text="Keep descriptions, without words that name the patient."
    )
    allow_burned_in = models.BooleanField(
        default=False, help_text="Pass objects whose pixels may show names."
    )
    applies_to_site = models.BooleanField(
        default=False, help_text="For everything that reaches the site, by any way."
    )
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["site", "name"], name="deidentification_name"),
            models.UniqueConstraint(
                fields=["site"],
                condition=models.Q(applies_to_site=True, active=True),
                name="one_site_wide_profile",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class VaultKind(models.TextChoices):
    PATIENT = "patient", gettext_lazy("Patient")
    STUDY = "study", gettext_lazy("Study")


class VaultEntry(SiteRow):
    """One pseudonym and, encrypted, what it stands for. Only administrators open it."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT)
    kind = models.CharField(max_length=10, choices=VaultKind)
    lookup = models.CharField(max_length=64, help_text="HMAC of the original; finds it again.")
    pseudonym = models.CharField(max_length=64)
    sealed = models.BinaryField(help_text="The original, encrypted with the vault's key.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["site", "pseudonym"], name="vault_pseudonym")]
        constraints = [
            models.UniqueConstraint(fields=["site", "kind", "lookup"], name="vault_once")
        ]


class VaultOpening(SiteRow):
    """Who opened the vault, when and why."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT)
    user = models.ForeignKey(User, on_delete=models.PROTECT)
    reason = models.CharField(max_length=255)
    opened_at = models.DateTimeField(auto_now_add=True)
    entries = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["-id"]
