"""Lengths, RECIST axes and angles from points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from django.utils.translation import gettext

from workstation.reading.measuring import CannotMeasure, FloatArray

PERPENDICULAR_DEG = 5.0
"""RECIST asks for perpendicular axes; a hand on a mouse comes this near."""
PLANE_MM = 0.5
"""Two axes are of one plane if their lines pass each other within this."""
SHORTEST_MM = 1e-3


@dataclass(frozen=True)
class Axes:
    """A RECIST pair in mm."""

    long_mm: float
    short_mm: float
    angle_deg: float
    """Between the two, 0 to 90."""


def length(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Euclidean distance in mm. Raises :class:`CannotMeasure` for one point twice."""
    mm = float(np.linalg.norm(_vector(first, second)))
    if mm < SHORTEST_MM:
        raise CannotMeasure(gettext("The two ends are the same point. Draw the line longer."))
    return mm


def angle(arm: npt.ArrayLike, vertex: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """The angle at ``vertex`` in degrees, 0 to 180."""
    a, b = _vector(vertex, arm), _vector(vertex, other)
    if min(np.linalg.norm(a), np.linalg.norm(b)) < SHORTEST_MM:
        raise CannotMeasure(
            gettext("An arm of the angle has no length. Move its end away from the vertex.")
        )
    # atan2 keeps its precision near 0 and 180 degrees, where acos loses half its digits.
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b)))


def axes(points: npt.ArrayLike) -> Axes:
    """Long and short axis of ``[a1, a2, b1, b2]``: perpendicular, crossing, in one plane."""
    a1, a2, b1, b2 = np.asarray(points, dtype=np.float64)
    one, two = length(a1, a2), length(b1, b2)
    along, across = (a2 - a1) / one, (b2 - b1) / two
    between = float(
        np.degrees(np.arctan2(np.linalg.norm(np.cross(along, across)), abs(along @ across)))
    )
    if between < 90 - PERPENDICULAR_DEG:
        raise CannotMeasure(
            gettext(
                "The two axes stand at {between:.0f} degrees. RECIST asks for perpendicular ones: "
                "turn one until they do."
            ).format(between=between)
        )
    # Nearest points of the two lines.
    cosine = along @ across
    apart = b1 - a1
    s = (apart @ along - cosine * (apart @ across)) / (1 - cosine**2)
    t = (cosine * (apart @ along) - apart @ across) / (1 - cosine**2)
    gap = float(np.linalg.norm((a1 + s * along) - (b1 + t * across)))
    if gap > PLANE_MM:
        raise CannotMeasure(
            gettext(
                "The two axes pass each other at {gap:.1f} mm. Draw both in the same plane."
            ).format(gap=gap)
        )
    if not (-PLANE_MM <= s <= one + PLANE_MM and -PLANE_MM <= t <= two + PLANE_MM):
        raise CannotMeasure(
            gettext("The two axes do not cross. Move the short one over the long one.")
        )
    return Axes(max(one, two), min(one, two), between)


def _vector(start: npt.ArrayLike, end: npt.ArrayLike) -> FloatArray:
    return np.asarray(end, dtype=np.float64) - np.asarray(start, dtype=np.float64)
