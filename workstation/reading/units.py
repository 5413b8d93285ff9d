"""Values as a radiologist reads them."""

from __future__ import annotations

WORDS: dict[str, tuple[str, int]] = {
    "[hnsf'U]": ("HU", 0),
    "g/ml{SUVbw}": ("SUVbw", 2),
    "Bq/ml": ("Bq/ml", 0),
    "mm": ("mm", 1),
    "1": ("", 1),
}
"""UCUM unit -> (word on screen, decimals)."""


def in_words(value: float, unit: str) -> str:
    """E.g. ``-35 HU``, ``4.21 SUVbw``; an unknown unit is shown as it is."""
    word, decimals = WORDS.get(unit, (unit, 2))
    rounded = round(value, decimals) + 0.0  # no "-0"
    return f"{rounded:.{decimals}f} {word}".rstrip()
