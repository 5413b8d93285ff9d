"""PET counts to standardised uptake values by body weight (SUVbw), or a reason why not.

Follows the vendor-neutral procedure of the QIBA FDG-PET/CT profile with its robust branches, as
summarised in ``clinical.md`` 1.5. Nothing is guessed: a missing weight, dose or time refuses the
SUV with its own code, and what had to be assumed is a notice. ADMIN decay correction taken as
"already at the administration time" follows from the attribute's definition; it and the half-lives
of Cu-64 and Zr-89 come from memory in that reference and were not checked against a publication.

Limitation: the injected dose is taken as recorded; residual activity in the syringe is not
subtracted unless the site recorded the net dose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset

from analysis.contracts import Notice
from analysis.errors import InputRefused
from analysis.suv_times import elapsed_since_injection, number_or_none

SUV_UNIT = "g/ml{SUVbw}"

NATIVE_UNITS: dict[str, str] = {
    "BQML": "Bq/ml",
    "CNTS": "{counts}",
    "CPS": "{counts}/s",
    "PROPCNTS": "{propcounts}",
    "PROPCPS": "{propcounts}/s",
    "GML": "g/ml",
}
"""DICOM Units (0054,1001) as UCUM, for a PET that is shown without SUV."""

HALF_LIVES: dict[str, float] = {
    "F": 6586.2,
    "C": 1222.8,
    "Ga": 4062.6,
    "N": 598.2,
    "O": 122.4,
    "Rb": 76.2,
    "Cu": 45720.0,
    "Zr": 282240.0,
}
"""Seconds, by element of the usual PET nuclides (F-18, C-11, Ga-68, N-13, O-15, Rb-82, Cu-64,
Zr-89); used only when the file has no half-life, and then said so."""

_NUCLIDE_CODES: dict[str, str] = {
    "77004003": "F",
    "C-111A1": "F",
    "40565003": "C",
    "C-105A1": "C",
    "35337001": "Ga",
    "C-131A3": "Ga",
    "21576001": "N",
    "C-107A1": "N",
    "129504001": "O",
    "C-B1038": "O",
    "79197006": "Rb",
    "C-159A2": "Rb",
    "3932008": "Cu",
    "C-127A2": "Cu",
    "63360001": "Zr",
    "C-168A4": "Zr",
}
"""RadionuclideCodeSequence values (SNOMED CT, and SRT of older files), as pydicom's concept
dictionary lists them."""

MIN_DOSE_BQ = 1e4
"""A smaller number is a dose in MBq or GBq, not in Bq."""
MAX_WEIGHT_KG = 500.0


@dataclass(frozen=True)
class Suv:
    """``value * factor`` is SUVbw, for ``value`` = stored * RescaleSlope + RescaleIntercept."""

    factor: float
    branch: str
    """How the factor was found: ``GML``, ``philips-suv-factor``, ``BQML`` ..."""
    evidence: dict[str, Any] = field(default_factory=dict)
    """The inputs of the formula, without dates."""
    notices: tuple[Notice, ...] = ()


def suv_of(instances: Sequence[Dataset]) -> Suv:
    """The SUVbw factor of one PET series (headers of all its slices, any order).

    Raises ``InputRefused`` with one of the codes ``pet_units``, ``pet_not_attenuation_corrected``,
    ``pet_not_decay_corrected``, ``pet_suv_type``, ``pet_no_weight``, ``pet_no_dose``,
    ``pet_dose_unit``, ``pet_no_half_life``, ``pet_no_injection_time``, ``pet_no_scan_time``,
    ``pet_times_contradict``.
    """
    first = instances[0]
    units = _same(instances, "Units")
    decay = _same(instances, "DecayCorrection")
    if units not in ("BQML", "CNTS", "GML"):
        raise InputRefused(
            "pet_units",
            f"The PET is in units {units or 'not stated'}, which cannot be turned into SUV. "
            "Send the series in Bq/ml (BQML).",
        )
    _check_corrections(instances, decay)
    base: dict[str, Any] = {"units": units, "decay_correction": decay}
    if units == "GML":
        return _from_gml(instances, base)
    if units == "CNTS":
        philips = _philips(instances, 0x00)
        if philips:
            return Suv(philips, "philips-suv-factor", base | {"philips_suv_factor": philips})
        to_bqml = _philips(instances, 0x09)
        if not to_bqml:
            raise InputRefused(
                "pet_units",
                "The PET is in counts and carries neither the maker's SUV factor nor its "
                "activity factor, so no SUV can be computed. Send the series in Bq/ml (BQML).",
            )
        base["philips_activity_factor"] = to_bqml
    else:
        to_bqml = 1.0
    weight = _weight(first)
    drug = _radiopharmaceutical(first)
    dose = _dose(drug)
    half_life, notices = _half_life(drug)
    if decay == "ADMIN":
        elapsed = 0.0
        base["scan_time_from"] = "not needed: corrected to administration"
    else:
        elapsed, used, more = elapsed_since_injection(instances, drug, half_life)
        base["scan_time_from"] = used
        notices += more
    decayed = dose * 2.0 ** (-elapsed / half_life)
    factor = to_bqml * weight * 1000.0 / decayed
    base |= {
        "weight_kg": weight,
        "dose_bq": dose,
        "half_life_s": half_life,
        "uptake_s": elapsed,
        "dose_at_scan_bq": decayed,
        "method": "SUVbw = activity * weight / decayed dose (QIBA FDG-PET/CT)",
        "limitation": "dose not corrected for syringe residual",
    }
    branch = ("philips-activity-factor" if units == "CNTS" else "BQML") + f"/{decay}"
    return Suv(factor, branch, base, tuple(notices))


def _same(instances: Sequence[Dataset], keyword: str) -> str:
    values = {str(ds.get(keyword) or "").strip().upper() for ds in instances}
    if len(values) > 1:
        raise InputRefused(
            "pet_units", f"The PET slices disagree about {keyword}: {', '.join(sorted(values))}."
        )
    return values.pop()


def _check_corrections(instances: Sequence[Dataset], decay: str) -> None:
    for ds in instances:
        listed = ds.get("CorrectedImage") or []
        done = {str(v).upper() for v in ([listed] if isinstance(listed, str) else listed)}
        if "ATTN" not in done:
            raise InputRefused(
                "pet_not_attenuation_corrected",
                "The PET is not attenuation corrected, so its values are not uptake. Use the "
                "attenuation-corrected series.",
            )
        if "DECY" not in done:
            raise InputRefused(
                "pet_not_decay_corrected",
                "The PET is not marked as decay corrected (CorrectedImage lacks DECY).",
            )
    if decay not in ("START", "ADMIN"):
        raise InputRefused(
            "pet_not_decay_corrected",
            f"The PET's decay correction is {decay or 'not stated'}; SUV needs START or ADMIN.",
        )


def _from_gml(instances: Sequence[Dataset], base: dict[str, Any]) -> Suv:
    kind = _same(instances, "SUVType")
    if kind not in ("", "BW"):
        raise InputRefused(
            "pet_suv_type",
            f"The PET holds SUV of type {kind}, which is not normalised to body weight. "
            "It is shown as it is; no SUVbw is given.",
        )
    notices = (
        ()
        if kind
        else (
            Notice(
                "pet_suv_type_assumed",
                "The PET is in g/ml and does not name its SUV type: taken as body weight, "
                "the standard's default.",
                "info",
            ),
        )
    )
    return Suv(1.0, "GML", base | {"suv_type": kind or "BW (default)"}, notices)


def _philips(instances: Sequence[Dataset], element: int) -> float | None:
    """A factor of the Philips PET private block, located by its creator; None if absent or 0."""
    values: set[float] = set()
    for ds in instances:
        try:
            value = ds.private_block(0x7053, "Philips PET Private Group")[element].value
        except KeyError:
            return None
        values.add(number_or_none(value) or 0.0)
    if len(values) > 1:
        raise InputRefused("pet_units", "The maker's scale factor differs between the PET slices.")
    return values.pop() or None


def _weight(ds: Dataset) -> float:
    weight = number_or_none(ds.get("PatientWeight"))
    if not weight or weight <= 0 or weight > MAX_WEIGHT_KG:
        raise InputRefused(
            "pet_no_weight",
            "The PET has no usable patient weight, so no SUV can be computed. Correct "
            "PatientWeight (kg) at the scanner or PACS and send the series again.",
        )
    return weight


def _radiopharmaceutical(ds: Dataset) -> Dataset:
    sequence = ds.get("RadiopharmaceuticalInformationSequence")
    if not sequence:
        raise InputRefused(
            "pet_no_dose",
            "The PET does not name the injected radiopharmaceutical and its dose, so no SUV can "
            "be computed. Send the series with its radiopharmaceutical information.",
        )
    return sequence[0]


def _dose(drug: Dataset) -> float:
    dose = number_or_none(drug.get("RadionuclideTotalDose"))
    if not dose or dose < 0:
        raise InputRefused(
            "pet_no_dose",
            "The PET has no injected dose, so no SUV can be computed. Correct "
            "RadionuclideTotalDose (Bq) and send the series again.",
        )
    if dose < MIN_DOSE_BQ:
        raise InputRefused(
            "pet_dose_unit",
            f"The injected dose reads {dose:g} Bq, which must be MBq or GBq written in the wrong "
            "unit. Correct RadionuclideTotalDose to Bq and send the series again.",
        )
    return dose


def _half_life(drug: Dataset) -> tuple[float, list[Notice]]:
    half_life = number_or_none(drug.get("RadionuclideHalfLife"))
    if half_life and half_life > 0:
        return half_life, []
    codes = drug.get("RadionuclideCodeSequence") or []
    element = _NUCLIDE_CODES.get(str(codes[0].get("CodeValue", ""))) if codes else None
    if element is None:
        raise InputRefused(
            "pet_no_half_life",
            "The PET has neither a half-life nor a known radionuclide code, so no SUV can be "
            "computed.",
        )
    seconds = HALF_LIVES[element]
    notice = Notice(
        "pet_half_life_from_code",
        f"The PET has no half-life; {seconds:g} s was taken from its radionuclide code.",
    )
    return seconds, [notice]
