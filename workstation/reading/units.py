"""Values as a radiologist reads them."""

from __future__ import annotations

import re

WORDS: dict[str, tuple[str, int]] = {
    "[hnsf'U]": ("HU", 0),
    "Bq/ml": ("Bq/ml", 0),
    "mm": ("mm", 1),
    "1": ("", 1),
}
"""UCUM unit -> (word on screen, decimals)."""
_SUV = re.compile(r"(?:g|cm2)/ml\{(SUV[^}]+)\}")
"""Every SUV carries its formula in the unit: that name is the word."""


def in_words(value: float, unit: str) -> str:
    """E.g. ``-35 HU``, ``4.21 SUVbw``; an unknown unit is shown as it is."""
    suv = _SUV.fullmatch(unit)
    word, decimals = (suv[1], 2) if suv else WORDS.get(unit, (unit, 2))
    rounded = round(value, decimals) + 0.0  # no "-0"
    return f"{rounded:.{decimals}f} {word}".rstrip()
