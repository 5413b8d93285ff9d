"""What a person may enter for a PET whose header lacks it; crosses the border too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EnteredName = Literal["weight_kg", "dose_mbq", "height_m", "sex"]

ENTRY_LIMITS: dict[str, tuple[float, float]] = {
    "weight_kg": (0.5, 500.0),
    "dose_mbq": (0.1, 5000.0),
    "height_m": (0.2, 2.6),
}
"""What a person may enter; outside lies a slip of the unit or of the key."""


@dataclass(frozen=True)
class EnteredValue:
    """A value that a person entered because the header of a PET has none that can be used."""

    name: EnteredName
    value: float | str
    """In the unit of the name; ``M`` or ``F`` for the sex."""
    by: str = ""
    """Who, as it is shown beside every SUV that stands on it; empty on the command line."""
