"""Values for SUV that a reader entered because a PET header has none. See ``pet_inputs.py``."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy

from workstation.accounts.models import SiteRow, User
from workstation.receiving.models import Series
from workstation.worklist.models import Case


class PetQuantity(models.TextChoices):
    """Named as in ``analysis.entries.EnteredName``; a test compares the two."""

    WEIGHT = "weight_kg", gettext_lazy("Weight (kg)")
    DOSE = "dose_mbq", gettext_lazy("Injected dose (MBq)")
    HEIGHT = "height_m", gettext_lazy("Height (m)")
    SEX = "sex", gettext_lazy("Sex")


class PetEntry(SiteRow):
    """One value that somebody entered for a PET of a case, or took back. Append-only: of a series
    and quantity the latest row counts, and the header is never touched."""

    SITE_PATH = "case__site"

    case = models.ForeignKey(Case, on_delete=models.CASCADE, related_name="pet_entries")
    series = models.ForeignKey(Series, on_delete=models.CASCADE, related_name="+")
    quantity = models.CharField(max_length=10, choices=PetQuantity)
    value = models.FloatField(null=True, help_text="In the unit of the quantity.")
    sex = models.CharField(max_length=1, blank=True)
    withdrawn = models.BooleanField(default=False, help_text="The row takes the value back.")
    reason = models.CharField(max_length=300)
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(withdrawn=True, value=None, sex="")
                | Q(withdrawn=False, quantity="sex", value=None, sex__in=["M", "F"])
                | (
                    # A NULL would pass: to a database it is not false that it is greater than 0.
                    Q(withdrawn=False, value__isnull=False, value__gt=0, sex="")
                    & ~Q(quantity="sex")
                ),
                name="pet_entry_has_its_value",
            )
        ]

    @property
    def spoken(self) -> str:
        """E.g. ``70 kg``, ``370 MBq``, ``M``."""
        if self.quantity == PetQuantity.SEX:
            return self.sex
        unit = {"weight_kg": "kg", "dose_mbq": "MBq", "height_m": "m"}[self.quantity]
        return f"{self.value:g} {unit}" if self.value is not None else ""
