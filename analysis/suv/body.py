"""What an SUV is normalised to: body weight, lean mass, surface or ideal weight.

Formulas as in the DICOM content mapping resource (PS3.16, codes 126401-126406) and summarised in
``clinical.md`` 1.5; w in kg, h in cm, BMI in kg/m2:

===================  ====================================  =====================================
SUVbw                w                                     w
SUVlbm(James128)     1.10 w - 128 (w/h)^2                  1.07 w - 148 (w/h)^2
SUVlbm(James120)     1.10 w - 120 (w/h)^2                  1.07 w - 148 (w/h)^2
SUVlbm(Janma)        9270 w / (6680 + 216 BMI)             9270 w / (8780 + 244 BMI)
SUVbsa (Du Bois)     0.007184 w^0.425 h^0.725 m2           the same
SUVibw               48.0 + 1.06 (h - 152)                 45.5 + 0.91 (h - 152)
===================  ====================================  =====================================

James with 128 and with 120 are both in use, and code 126402 stands for either: the name says which.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from analysis.contracts import Notice
from analysis.errors import InputRefused

ADULT_HEIGHT_M = 1.4
"""The formulas were made on adults; for somebody shorter their use is worth a word."""
SHORT_HEIGHT_M, TALL_HEIGHT_M = 0.2, 2.6


@dataclass(frozen=True)
class Person:
    """Who was imaged, as far as a formula needs it; None where it does not."""

    weight_kg: float
    height_m: float | None = None
    sex: str = ""
    """``M``, ``F`` or empty."""


@dataclass(frozen=True)
class Variant:
    """One way to normalise. ``size`` gives g (cm2 for the surface)."""

    code: str
    """For people who type, e.g. ``lbm-janma``."""
    name: str
    """As it stands beside every value, e.g. ``SUVlbm(Janma)``: the formula is part of the name."""
    unit: str
    """UCUM with the name, as DICOM context group 85 writes it (James120 has no unit there)."""
    formula: str
    suv_type: str
    """SUV Type (0054,1006) of a series that already holds it; empty where DICOM has no term."""
    size: Callable[[float, float, bool], float]
    """(weight kg, height cm, female) -> g or cm2."""
    needs_height: bool = True
    needs_sex: bool = True


def _james(male_constant: float) -> Callable[[float, float, bool], float]:
    def grams(w: float, h: float, female: bool) -> float:
        slope, constant = (1.07, 148.0) if female else (1.10, male_constant)
        return 1000 * (slope * w - constant * (w / h) ** 2)

    return grams


def _janmahasatian(w: float, h: float, female: bool) -> float:
    bmi = w / (h / 100) ** 2
    fixed, slope = (8780.0, 244.0) if female else (6680.0, 216.0)
    return 1000 * 9270 * w / (fixed + slope * bmi)


def _ideal(w: float, h: float, female: bool) -> float:
    return 1000 * (45.5 + 0.91 * (h - 152) if female else 48.0 + 1.06 * (h - 152))


VARIANTS: dict[str, Variant] = {
    v.code: v
    for v in (
        Variant("bw", "SUVbw", "g/ml{SUVbw}", "body weight", "BW",
                lambda w, h, female: 1000 * w, needs_height=False, needs_sex=False),
        Variant("lbm-james128", "SUVlbm(James128)", "g/ml{SUVlbm(James128)}",
                "lean body mass, James, 128 for men and 148 for women", "LBMJAMES128",
                _james(128.0)),
        Variant("lbm-james120", "SUVlbm(James120)", "g/ml{SUVlbm(James120)}",
                "lean body mass, James, 120 for men and 148 for women", "", _james(120.0)),
        Variant("lbm-janma", "SUVlbm(Janma)", "g/ml{SUVlbm(Janma)}",
                "lean body mass, Janmahasatian", "LBMJANMA", _janmahasatian),
        Variant("bsa", "SUVbsa", "cm2/ml{SUVbsa}", "body surface, Du Bois", "BSA",
                lambda w, h, female: 1e4 * 0.007184 * w**0.425 * h**0.725, needs_sex=False),
        Variant("ibw", "SUVibw", "g/ml{SUVibw}", "ideal body weight", "IBW", _ideal),
    )
}  # fmt: skip


def variant_of(code: str) -> Variant:
    """The variant of this code. Raises ``InputRefused`` (``suv_variant``)."""
    try:
        return VARIANTS[code]
    except KeyError:
        raise InputRefused(
            "suv_variant", f"There is no SUV variant {code}; choose one of {', '.join(VARIANTS)}."
        ) from None


def size_of(variant: Variant, person: Person) -> tuple[float, tuple[Notice, ...]]:
    """Body size in g (cm2 for SUVbsa) and what to say about it.

    Raises ``InputRefused``: ``pet_no_height``, ``pet_no_sex``, ``pet_body_size``.
    """
    if variant.needs_height and person.height_m is None:
        raise InputRefused(
            "pet_no_height",
            f"{variant.name} needs the patient's height, which the PET does not have.",
        )
    if variant.needs_sex and person.sex not in ("M", "F"):
        raise InputRefused(
            "pet_no_sex",
            f"{variant.name} has one formula for men and one for women, and the PET does not name "
            "the patient's sex as M or F.",
        )
    height = 100 * (person.height_m or 0.0)
    size = variant.size(person.weight_kg, height, person.sex == "F")
    lean = variant.code.startswith("lbm")
    if size <= 0 or (lean and size > 1000 * person.weight_kg):
        raise InputRefused(
            "pet_body_size",
            f"The formula of {variant.name} gives {size / 1000:.1f} kg for this weight and height, "
            "which cannot be: it was made for adults of usual build.",
        )
    notices = []
    if person.height_m is not None and person.height_m < ADULT_HEIGHT_M and variant.needs_height:
        notices.append(
            Notice("pet_formula_adults", f"The formula of {variant.name} was made on adults.")
        )
    if variant.code.startswith("lbm-james") and _turned_over(variant, person, height):
        notices.append(
            Notice(
                "pet_james_turnover",
                "At this weight the James formula gives less lean mass the heavier the patient "
                "is; use SUVlbm(Janma).",
            )
        )
    return size, tuple(notices)


def _turned_over(variant: Variant, person: Person, height_cm: float) -> bool:
    heavier = variant.size(person.weight_kg + 0.1, height_cm, person.sex == "F")
    return heavier < variant.size(person.weight_kg, height_cm, person.sex == "F")
