"""A reader enters a weight or dose that the header of a PET lacks, or takes it back.

What is entered is an input of the analysis like the images are (``requests.inputs_digest``): the
flow sees another digest and starts a new run, so that every number is computed by the one SUV code.
The entries of a case serve that case only. ``pet_values`` is what the page beside the report shows.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.db import transaction
from django.utils.translation import gettext

from analysis.entries import ENTRY_LIMITS, EnteredValue
from workstation.accounts.models import User
from workstation.accounts.services import record
from workstation.analyzing.models import Layer, LayerKind, Run, RunNotice
from workstation.analyzing.pet_models import PetEntry, PetQuantity
from workstation.broker import nudge
from workstation.live import publish
from workstation.receiving.models import Series
from workstation.worklist.models import Case, CaseState
from workstation.worklist.services import holds

_IN_WORDS: dict[str, tuple[str, float, str]] = {
    "weight_kg": ("Weight", 1.0, "kg"),
    "dose_bq": ("Injected dose", 1e6, "MBq"),
    "dose_mbq": ("Injected dose", 1.0, "MBq"),
    "half_life_s": ("Half-life", 60.0, "min"),
    "uptake_s": ("Uptake", 60.0, "min"),
    "philips_suv_factor": ("Maker's SUV factor", 1.0, "g/ml per count"),
    "philips_activity_factor": ("Maker's activity factor", 1.0, "Bq/ml per count"),
}
"""Input of the analysis -> (word, divisor, unit) on screen."""
_WHY = {
    "pet_no_height": "the height is missing",
    "pet_no_sex": "the sex is neither M nor F",
    "pet_no_weight": "the header's weight is missing",
}
WRITABLE = (CaseState.READING, CaseState.DRAFT)
REASON_LENGTH = 300


class EntryRefused(Exception):
    """The value cannot be taken; the message is for the reader."""


# --- what counts ----------------------------------------------------------------------------------


def entries_in_force(case: Case) -> list[PetEntry]:
    """The latest entry of each series and quantity, in order; what was taken back is not there."""
    latest: dict[tuple[int, str], PetEntry] = {}
    for entry in PetEntry.objects.filter(case=case).select_related("by", "series").order_by("pk"):
        latest[entry.series_id, entry.quantity] = entry
    return sorted((e for e in latest.values() if not e.withdrawn), key=lambda e: e.pk)


def entered_values(entries: Iterable[PetEntry], series: Series) -> tuple[EnteredValue, ...]:
    """The entries of one series as the analysis takes them."""
    return tuple(
        EnteredValue(
            name=entry.quantity,
            value=entry.sex if entry.quantity == PetQuantity.SEX else float(entry.value or 0.0),
            by=entry.by.display_name,
        )
        for entry in entries
        if entry.series_id == series.pk
    )


def entries_digest(case: Case) -> bytes:
    """What the entries in force add to the digest of a run's inputs; empty if there are none."""
    lines = (
        f"pet {e.series.series_instance_uid} {e.quantity} {e.sex or repr(e.value)} by {e.by_id}\n"
        for e in entries_in_force(case)
    )
    return "".join(lines).encode()


def entered_mark(case: Case) -> str:
    """The same for the same entries in force; empty without any."""
    lines = entries_digest(case)
    return hashlib.sha256(lines).hexdigest() if lines else ""


def entered_since(run: Run) -> bool:
    """Whether other values are in force than the run saw; what was entered and taken back since is
    no change. False for a run from before its inputs were kept."""
    now = entered_mark(run.case)
    return bool(run.inputs.get("entered", now) != now)


# --- what a reader does ---------------------------------------------------------------------------


@transaction.atomic
def enter_value(
    case: Case,
    series: Series,
    user: User,
    *,
    quantity: str,
    value: str,
    reason: str,
    address: str = "",
) -> PetEntry:
    """Keep a value for a PET of the case. Raises :class:`EntryRefused`."""
    locked = _locked(case, user)
    if series.modality != "PT" or not series.study.cases.filter(pk=case.pk).exists():
        raise EntryRefused(gettext("Values for SUV are entered for a PET of this case."))
    if quantity not in PetQuantity.values:
        raise EntryRefused(gettext("Choose what you enter: weight, dose, height or sex."))
    number, sex = _checked(PetQuantity(quantity), value)
    return _append(
        locked, series, user, address,
        quantity=quantity, value=number, sex=sex, reason=_reason(reason),
    )  # fmt: skip


@transaction.atomic
def withdraw_value(entry: PetEntry, user: User, *, address: str = "") -> PetEntry:
    """Take an entry back, by a row of its own. Raises :class:`EntryRefused`."""
    locked = _locked(entry.case, user)
    if entry.pk not in {e.pk for e in entries_in_force(locked)}:
        raise EntryRefused(
            gettext("This value does not count any more; there is nothing to take back.")
        )
    return _append(
        locked, entry.series, user, address,
        quantity=entry.quantity, withdrawn=True, reason="Taken back.",
    )  # fmt: skip


def _locked(case: Case, user: User) -> Case:
    locked = Case.objects.select_for_update().get(pk=case.pk)
    if locked.state in (CaseState.SIGNED, CaseState.ADDENDED):
        raise EntryRefused(
            gettext("The report is signed; the values it stands on are not changed.")
        )
    if not holds(locked, user) or locked.state not in WRITABLE:
        raise EntryRefused(gettext("You do not hold this case. Claim it first."))
    return locked


def _append(case: Case, series: Series, user: User, address: str, **columns: Any) -> PetEntry:
    entry = PetEntry.objects.create(case=case, series=series, by=user, **columns)
    record(
        "enter_suv_input", user=user, site=case.site, obj=entry, case_id=case.pk,
        remote_address=address,
        detail={
            "series": series.pk, "quantity": entry.quantity, "withdrawn": entry.withdrawn,
        },
    )  # fmt: skip
    publish(case.site_id, "case", case.pk)
    transaction.on_commit(partial(nudge, case.pk))
    return entry


def _checked(quantity: PetQuantity, text: str) -> tuple[float | None, str]:
    """(number, sex) of what was typed; a comma may stand for the decimal point."""
    text = text.strip()
    if quantity == PetQuantity.SEX:
        if text.upper() not in ("M", "F"):
            raise EntryRefused(gettext("The formulas know M and F."))
        return None, text.upper()
    low, high = ENTRY_LIMITS[quantity]
    name, unit = quantity.label.rstrip(")").split(" (")
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        raise EntryRefused(
            gettext("{name}: enter a number in {unit}.").format(name=name, unit=unit)
        ) from None
    if not math.isfinite(number) or not low <= number <= high:
        raise EntryRefused(
            gettext(
                "{name}: {text_20} {unit} is not plausible ({low:g} to {high:g} {unit}). Check the "
                "unit."
            ).format(name=name, text_20=text[:20], unit=unit, low=low, high=high)
        )
    return number, ""


def _reason(text: str) -> str:
    reason = " ".join(text.split())
    if not reason:
        raise EntryRefused(gettext("Say in a few words where the value comes from."))
    if len(reason) > REASON_LENGTH:
        raise EntryRefused(
            gettext("The reason is longer than {reason_length} characters.").format(
                reason_length=REASON_LENGTH
            )
        )
    return reason


# --- what the page shows --------------------------------------------------------------------------


@dataclass(frozen=True)
class PetValues:
    """How it stands with the SUV of one PET series."""

    series: Series
    suv: dict[str, Any] = field(default_factory=dict)
    """``source.suv`` of the layer: inputs with origins, variants; empty without SUV."""
    refusal: str = ""
    """Why there is no SUV, as the analysis said it; empty with SUV or before an analysis."""
    entries: tuple[PetEntry, ...] = ()
    pending: bool = False
    """The analysis shown did not see the entries in force."""

    @property
    def inputs(self) -> list[tuple[str, str]]:
        """(what with its value, where it comes from), e.g. ``Weight 70 kg``, ``entered by A``."""
        found = []
        for used in self.suv.get("inputs", []):
            name, per_unit, unit = _IN_WORDS.get(used["name"], (used["name"], 1.0, used["unit"]))
            value = used["value"]
            shown = value if isinstance(value, str) else f"{value / per_unit:.6g}"
            found.append((f"{name} {shown} {unit}".strip(), str(used["origin"])))
        return found

    @property
    def variants(self) -> list[tuple[str, float]]:
        """(name, its value per 1 SUVbw) of the other variants that can be given."""
        found = self.suv.get("variants", {})
        return [(name, v["per_suv"]) for name, v in found.items() if "per_suv" in v]

    @property
    def missing(self) -> list[tuple[str, str]]:
        """(why, names) of the variants that cannot."""
        found: dict[str, list[str]] = {}
        for name, about in self.suv.get("variants", {}).items():
            if "refused" in about:
                found.setdefault(_WHY.get(about["refused"], about["reason"]), []).append(name)
        return [(why, ", ".join(names)) for why, names in found.items()]


def pet_values(case: Case, run: Run | None) -> list[PetValues]:
    """Every PET series of the case's complete studies, as ``run`` found it."""
    rows = (
        Series.objects.filter(study__cases=case, study__completed_at__isnull=False, modality="PT")
        .select_related("study")
        .order_by("study__study_date", "series_number", "pk")
    )
    layers = Layer.objects.filter(run=run, kind=LayerKind.SERIES, series__modality="PT")
    speaking = {layer.series_id: layer for layer in layers if not layer.is_sibling}
    notices = RunNotice.objects.filter(run=run, severity="refused", code__startswith="pet_")
    refusals = {notice.series_id: notice.message for notice in notices}
    entries = entries_in_force(case)
    pending = run is not None and entered_since(run)
    found = []
    for series in rows:
        layer = speaking.get(series.pk)
        suv = layer.record.get("source", {}).get("suv", {}) if layer else {}
        found.append(
            PetValues(
                series=series,
                suv=suv,
                refusal="" if suv else refusals.get(series.pk, ""),
                entries=tuple(e for e in entries if e.series_id == series.pk),
                pending=pending,
            )
        )
    return found


def may_enter(case: Case, user: User) -> bool:
    """Whether the reader holds the case and may still change it."""
    return case.state in WRITABLE and holds(case, user)
