"""Change of a size between two dates: percent, volume doubling time, sum of diameters.

Numbers without Django. Doubling time: VDT = dt ln 2 / ln(V2 / V1); of diameters, taking the lesion
for a sphere, VDT = dt ln 2 / (3 ln(d2 / d1)). Growth: at least 25 % of volume (British Thoracic
Society), which is also about what a repeated measurement of a small solid nodule differs by.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

GROWTH_PERCENT = 25.0
LEAST_DAYS = 7
"""Below a week a doubling time says more about the two measurements than about the lesion. A rule
of this product: the formula knows no limit."""


class NoDoubling(Exception):
    """There is no doubling time to report; the reason is one of the codes below."""


NO_SIZE, NO_DATES, TOO_SOON, NO_GROWTH = "no_size", "no_dates", "too_soon", "no_growth"


@dataclass(frozen=True)
class Change:
    """What a value became: absolute in its own unit, and in percent (None where it was zero)."""

    absolute: float
    percent: float | None


def change(before: float, after: float) -> Change:
    """From ``before`` to ``after``, percent of the size of ``before``."""
    percent = 100 * (after - before) / abs(before) if before else None
    return Change(after - before, percent)


def doubling_days(volume_before: float, volume_after: float, days: int | None) -> float:
    """The volume doubling time in days; volumes in one unit. Raises :class:`NoDoubling`."""
    return _doubling(volume_before, volume_after, days, 1)


def doubling_days_of_diameters(before: float, after: float, days: int | None) -> float:
    """As :func:`doubling_days`, of diameters in one unit, as if the lesion were a sphere."""
    return _doubling(before, after, days, 3)


def _doubling(before: float, after: float, days: int | None, power: int) -> float:
    sizes = (before, after)
    if not all(math.isfinite(one) and one > 0 for one in sizes):
        raise NoDoubling(NO_SIZE)
    if days is None:
        raise NoDoubling(NO_DATES)
    if days < LEAST_DAYS:
        raise NoDoubling(TOO_SOON)
    doublings = power * (math.log2(after) - math.log2(before))
    if doublings <= 0:
        raise NoDoubling(NO_GROWTH)
    found = days / doublings
    if not math.isfinite(found):
        raise NoDoubling(NO_GROWTH)
    return found


def has_grown(volume_before: float, volume_after: float) -> bool:
    """At least 25 % more volume."""
    return volume_before > 0 and volume_after >= (1 + GROWTH_PERCENT / 100) * volume_before
