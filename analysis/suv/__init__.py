"""PET counts to standardised uptake values, or the reason why not. See README.md."""

from analysis.suv.body import VARIANTS, Variant, variant_of
from analysis.suv.factor import (
    HALF_LIVES,
    NATIVE_UNITS,
    SUV_UNIT,
    Suv,
    native_unit,
    other_variants,
    suv_of,
)

__all__ = [
    "HALF_LIVES",
    "NATIVE_UNITS",
    "SUV_UNIT",
    "VARIANTS",
    "Suv",
    "Variant",
    "native_unit",
    "other_variants",
    "suv_of",
    "variant_of",
]
