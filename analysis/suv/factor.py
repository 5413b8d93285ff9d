"""PET values to standardised uptake values, or a reason why not.

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
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pydicom.dataset import Dataset

from analysis.contracts import Notice
from analysis.entries import EnteredValue
from analysis.errors import InputRefused
from analysis.suv.body import VARIANTS, Person, Variant, size_of
from analysis.suv.inputs import Input, Inputs, origin_of
from analysis.suv.times import elapsed_since_injection, number_or_none

BW = VARIANTS["bw"]
SUV_UNIT = BW.unit

NATIVE_UNITS: dict[str, str] = {
    "BQML": "Bq/ml",
    "CNTS": "{counts}",
    "CPS": "{counts}/s",
    "PROPCNTS": "{propcounts}",
    "PROPCPS": "{propcounts}/s",
    "GML": "g/ml",
    "CM2ML": "cm2/ml",
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

@dataclass(frozen=True)
class Suv:
    """``value * factor`` is the SUV, for ``value`` = stored * RescaleSlope + RescaleIntercept."""

    factor: float
    branch: str
    """How the factor was found: ``GML``, ``philips-suv-factor``, ``BQML/START`` ..."""
    evidence: dict[str, Any] = field(default_factory=dict)
    """The inputs of the formula with their origins, without dates."""
    notices: tuple[Notice, ...] = ()
    variant: Variant = BW

    @property
    def unit(self) -> str:
        """UCUM; the formula is part of it, e.g. ``g/ml{SUVlbm(Janma)}``."""
        return self.variant.unit


def suv_of(
    instances: Sequence[Dataset],
    variant: Variant = BW,
    entered: Sequence[EnteredValue] = (),
) -> Suv:
    """The SUV factor of one PET series (headers of all its slices, any order).

    ``entered`` are values that a person typed; each is used only where the header has none that
    can be used. Raises ``InputRefused`` with one of the codes of this package's README.
    """
    inputs = Inputs(instances, entered)
    units = _same(instances, "Units")
    kind = _same(instances, "SUVType") if units in ("GML", "CM2ML") else ""
    held = _held(units, kind)
    if units not in ("BQML", "CNTS", "GML", "CM2ML"):
        raise InputRefused(
            "pet_units",
            f"The PET is in units {units or 'not stated'}, which cannot be turned into SUV. "
            "Send the series in Bq/ml (BQML).",
        )
    decay = _same(instances, "DecayCorrection")
    _check_corrections(instances, decay)
    base: dict[str, Any] = {"units": units, "decay_correction": decay}
    if units in ("GML", "CM2ML"):
        weighed = _from_suv(variant, held, kind, base)
    else:
        weighed = _from_activity(inputs, units, decay, base)
    if variant not in (BW, held):
        weighed = _by_size(weighed, variant, inputs)
    evidence = weighed.evidence | {
        "variant": variant.name,
        "normalised_to": variant.formula,
        "inputs": [asdict(used) for used in inputs.used.values()],
    }
    if inputs.entries_used:
        evidence["entered"] = list(inputs.entries_used)
    return replace(
        weighed, evidence=evidence, notices=(*weighed.notices, *inputs.notices), variant=variant
    )


def native_unit(instances: Sequence[Dataset]) -> str:
    """UCUM of a PET that is shown as it came; an SUV in it carries its formula in the name.

    Empty where the units say nothing.
    """
    first = instances[0]
    units = str(first.get("Units") or "").strip().upper()
    held = _held(units, str(first.get("SUVType") or "").strip().upper())
    if held is not None and held is not BW:
        return held.unit
    return NATIVE_UNITS.get(units, "")


def other_variants(
    instances: Sequence[Dataset], suv: Suv, entered: Sequence[EnteredValue] = ()
) -> dict[str, dict[str, Any]]:
    """Every other variant of the series by name: ``per_suv`` (its value per 1 of ``suv``) and
    unit, or the refusal's code and reason."""
    found: dict[str, dict[str, Any]] = {}
    for variant in VARIANTS.values():
        if variant is suv.variant:
            continue
        try:
            other = suv_of(instances, variant, entered)
        except InputRefused as refusal:
            found[variant.name] = {"refused": refusal.code, "reason": refusal.message}
            continue
        found[variant.name] = {
            "unit": variant.unit,
            "per_suv": other.factor / suv.factor,
            "notices": [n.code for n in other.notices],
        }
    return found


def _held(units: str, kind: str) -> Variant | None:
    """The SUV that the values already are; None for activity, and for one whose formula the
    header does not tell (type LBM may be James with 120 or with 128)."""
    default = {"GML": "BW", "CM2ML": "BSA"}.get(units)
    if default is None:
        return None
    fits = {v.suv_type: v for v in VARIANTS.values() if v.suv_type}
    return fits.get(kind or default)


def _from_suv(
    variant: Variant, held: Variant | None, kind: str, base: dict[str, Any]
) -> Suv:
    if held is not variant and held is not BW:
        raise InputRefused(
            "pet_suv_type",
            f"The PET holds SUV of type {kind or 'BSA'}, from which no {variant.name} is computed. "
            "It is shown as it is.",
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
        if held is BW
        else ()
    )
    return Suv(1.0, base["units"], base | {"suv_type": kind or "BW (default)"}, notices, variant)


def _from_activity(inputs: Inputs, units: str, decay: str, base: dict[str, Any]) -> Suv:
    """SUVbw of values in Bq/ml, or in counts with one of the maker's factors."""
    instances = inputs.instances
    to_bqml = 1.0
    if units == "CNTS":
        philips = _philips(instances, 0x00)
        if philips:
            inputs.note("philips_suv_factor", philips, "g/ml", "Philips (7053,xx00)")
            return Suv(philips, "philips-suv-factor", base | {"philips_suv_factor": philips})
        to_bqml = _philips(instances, 0x09) or 0.0
        if not to_bqml:
            raise InputRefused(
                "pet_units",
                "The PET is in counts and carries neither the maker's SUV factor nor its "
                "activity factor, so no SUV can be computed. Send the series in Bq/ml (BQML).",
            )
        base["philips_activity_factor"] = to_bqml
        inputs.note("philips_activity_factor", to_bqml, "Bq/ml", "Philips (7053,xx09)")
    weight = inputs.weight_kg()
    dose = inputs.dose_bq()
    drug = inputs.drugs[0]
    half_life, notices = _half_life(drug)
    from_header = not notices
    inputs.used["half_life_s"] = Input(
        "half_life_s", half_life, "s",
        origin_of("RadionuclideHalfLife" if from_header else "RadionuclideCodeSequence"),
    )  # fmt: skip
    if decay == "ADMIN":
        elapsed = 0.0
        base["scan_time_from"] = "not needed: corrected to administration"
    else:
        elapsed, used, more = elapsed_since_injection(instances, drug, half_life)
        base["scan_time_from"] = used
        notices += more
        inputs.used["uptake_s"] = Input(
            "uptake_s", elapsed, "s", f"injection to {used}"
        )
    decayed = dose * 2.0 ** (-elapsed / half_life)
    factor = to_bqml * weight * 1000.0 / decayed
    base |= {
        "weight_kg": weight,
        "dose_bq": dose,
        "half_life_s": half_life,
        "uptake_s": elapsed,
        "dose_at_scan_bq": decayed,
        "method": "SUV = activity * body size / decayed dose (QIBA FDG-PET/CT)",
        "limitation": "dose not corrected for syringe residual",
    }
    branch = ("philips-activity-factor" if units == "CNTS" else "BQML") + f"/{decay}"
    return Suv(factor, branch, base, tuple(notices))


def _by_size(weighed: Suv, variant: Variant, inputs: Inputs) -> Suv:
    """From body weight to another body size. Where the maker computed the SUVbw, only the weight
    of the header can be the one it was computed with."""
    own = weighed.branch.partition("/")[0] in ("BQML", "philips-activity-factor")
    person = Person(
        inputs.weight_kg(enterable=own),
        inputs.height_m() if variant.needs_height else None,
        inputs.sex() if variant.needs_sex else "",
    )
    size, notices = size_of(variant, person)
    return replace(
        weighed,
        factor=weighed.factor * size / (1000.0 * person.weight_kg),
        evidence=weighed.evidence | {"body_size": size},
        notices=(*weighed.notices, *notices),
    )


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
