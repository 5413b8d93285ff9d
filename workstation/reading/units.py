"""Values as a radiologist reads them."""

from __future__ import annotations

import re

WORDS: dict[str, tuple[str, int]] = {
    "[hnsf'U]": ("HU", 0),
    "Bq/ml": ("Bq/ml", 0),
    "mm": ("mm", 1),
    "mm2": ("mm²", 1),
    "ml": ("ml", 2),
    "deg": ("°", 1),
    "1": ("", 1),
}
"""UCUM unit -> (word on screen, decimals)."""
_SUV = re.compile(r"(?:g|cm2)/ml\{(SUV[^}]+)\}(\.ml)?")
"""Every SUV carries its formula in the unit: that name is the word. With ``.ml`` it is a TLG."""


def is_suv(unit: str) -> bool:
    """Whether a layer's unit is a standardised uptake value, of whatever formula."""
    found = _SUV.fullmatch(unit)
    return found is not None and found[2] is None


def in_words(value: float, unit: str) -> str:
    """E.g. ``-35 HU``, ``4.21 SUVbw``; an unknown unit is shown as it is."""
    suv = _SUV.fullmatch(unit)
    if suv:
        word, decimals = suv[1] + ("·ml" if suv[2] else ""), 2
    else:
        word, decimals = WORDS.get(unit, (unit, 2))
    rounded = round(value, decimals) + 0.0  # no "-0"
    space = "" if word == "°" else " "
    return f"{rounded:.{decimals}f}{space}{word}".rstrip()
