"""Planar outlines: where they lie, how large they are, which points of a lattice are inside.

An outline lives in a :class:`Plane` with millimetre coordinates (u, v). ``cells`` answers for any
lattice that maps affinely to (u, v): voxel centres of a slice, or the samples of an oblique plane.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
from django.utils.translation import gettext

from workstation.reading.measuring import CannotMeasure, FloatArray, IntArray

PLANE_MM = 0.5
"""Corners may lie this far from the plane (rounding, not another slice)."""
PERPENDICULAR_DEG = 1.0
EDGE = 1e-6
"""Of a cell: a centre on the very edge is inside."""
ELLIPSE_CORNERS = 128
SAME = 1e-9
"""mm, or of a side: as good as the same point."""
SMALLEST_MM = 0.01
LARGEST_MM = 1000.0
MOST_LOOPS = 20


@dataclass(frozen=True, eq=False)
class Plane:
    """A plane in LPS mm with right-handed unit axes: ``u`` x ``v`` = ``normal``."""

    origin: FloatArray
    u: FloatArray
    v: FloatArray

    @property
    def normal(self) -> FloatArray:
        return np.cross(self.u, self.v)

    def flat(self, points: npt.ArrayLike) -> FloatArray:
        """(n, 3) LPS -> (n, 2) mm in the plane."""
        away = np.atleast_2d(np.asarray(points, dtype=np.float64)) - self.origin
        return np.stack([away @ self.u, away @ self.v], axis=1)

    def lifted(self, flat: npt.ArrayLike) -> FloatArray:
        """(n, 2) mm in the plane -> (n, 3) LPS."""
        uv = np.atleast_2d(np.asarray(flat, dtype=np.float64))
        return np.asarray(self.origin + uv[:, :1] * self.u + uv[:, 1:] * self.v)

    def off(self, points: npt.ArrayLike) -> FloatArray:
        """Signed distance of (n, 3) LPS from the plane, mm."""
        away = np.atleast_2d(np.asarray(points, dtype=np.float64)) - self.origin
        return np.asarray(away @ self.normal)


def plane_through(point: npt.ArrayLike, normal: npt.ArrayLike) -> Plane:
    """The plane through a point; its u points where the normal is smallest, which is arbitrary."""
    n = np.asarray(normal, dtype=np.float64)
    size = float(np.linalg.norm(n))
    if not np.isfinite(size) or size < 1e-6:
        raise CannotMeasure(gettext("The plane's normal has no direction."))
    n = n / size
    u = np.cross(n, np.eye(3)[int(np.argmin(np.abs(n)))])
    u /= np.linalg.norm(u)
    return Plane(np.asarray(point, dtype=np.float64), u, np.cross(n, u))


class Shape(Protocol):
    """What can be asked of an outline in its plane."""

    @property
    def area(self) -> float:
        """mm2."""

    @property
    def corners(self) -> FloatArray:
        """(n, 2) mm, in order, not repeated at the end: to draw, and to clip."""

    def cells(self, to_flat: FloatArray) -> IntArray:
        """(n, 2) integer places of a lattice whose centre lies inside. ``to_flat``: 2x3,
        (a, b, 1) -> (u, v) mm."""


@dataclass(frozen=True, eq=False)
class Ellipse:
    """Around the plane's origin: half axes as vectors (u, v) in mm."""

    first: FloatArray
    second: FloatArray

    @property
    def area(self) -> float:
        return float(np.pi * np.linalg.norm(self.first) * np.linalg.norm(self.second))

    @cached_property
    def corners(self) -> FloatArray:
        turn = 2 * np.pi * np.arange(ELLIPSE_CORNERS)[:, None] / ELLIPSE_CORNERS
        return np.asarray(np.cos(turn) * self.first + np.sin(turn) * self.second)

    def cells(self, to_flat: FloatArray) -> IntArray:
        # Unit circle coordinates of a place are affine in it: w = M (place - centre).
        both = np.stack([self.first, self.second], axis=1)
        turn = np.linalg.inv(both) @ to_flat[:, :2]
        centre = np.linalg.solve(to_flat[:, :2], -to_flat[:, 2])
        reach = np.linalg.norm(np.linalg.inv(turn), axis=1) + EDGE
        low, high = np.ceil(centre - reach).astype(int), np.floor(centre + reach).astype(int)
        a, b = np.meshgrid(
            np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1), indexing="ij"
        )
        places = np.stack([a.ravel(), b.ravel()], axis=1)
        w = (places - centre) @ turn.T
        return np.asarray(places[np.sum(w**2, axis=1) <= 1 + EDGE], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Polygon:
    """A simple polygon, (n, 2) mm."""

    corners: FloatArray

    @property
    def area(self) -> float:
        return abs(signed_area(self.corners))

    def cells(self, to_flat: FloatArray) -> IntArray:
        back = np.linalg.inv(to_flat[:, :2])
        return _filled((self.corners - to_flat[:, 2]) @ back.T)


def ellipse(points: npt.ArrayLike, normal: npt.ArrayLike) -> tuple[Plane, Ellipse]:
    """From ``[centre, end of one half axis, end of the other]``."""
    centre, one, two = np.asarray(points, dtype=np.float64)
    plane = plane_through(centre, normal)
    _check_plane(plane, np.stack([one, two]))
    first, second = plane.flat([one, two])
    lengths = np.linalg.norm(first), np.linalg.norm(second)
    if min(lengths) < SMALLEST_MM:
        raise CannotMeasure(gettext("The ellipse has no area. Draw it larger."))
    if 2 * max(lengths) > LARGEST_MM:
        raise CannotMeasure(gettext("The ellipse is larger than a metre."))
    sine = abs(float(first @ second)) / float(lengths[0] * lengths[1])
    if sine > np.sin(np.radians(PERPENDICULAR_DEG)):
        raise CannotMeasure(gettext("The half axes of an ellipse are perpendicular."))
    return plane, Ellipse(first, second)


def freehand(points: npt.ArrayLike, normal: npt.ArrayLike) -> tuple[Plane, Polygon, bool]:
    """The closed outline of these corners, and whether loops were cut off where it crossed
    itself."""
    corners = np.asarray(points, dtype=np.float64)
    plane = plane_through(corners[0], normal)
    _check_plane(plane, corners)
    flat = plane.flat(corners)
    if np.ptp(flat, axis=0).max() > LARGEST_MM:
        raise CannotMeasure(gettext("The outline is larger than a metre."))
    simple, cut = without_loops(_apart(flat))
    if len(simple) < 3 or abs(signed_area(simple)) < SMALLEST_MM**2:
        raise CannotMeasure(gettext("The outline has no area. Draw around something."))
    return plane, Polygon(simple), cut


def signed_area(corners: FloatArray) -> float:
    """By the shoelace formula; positive if counter-clockwise."""
    x, y = (corners - corners[:1]).T if len(corners) else np.empty((2, 0))
    return float(0.5 * np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def without_loops(corners: FloatArray) -> tuple[FloatArray, bool]:
    """A polygon that does not cross itself: at each crossing the larger part stays. An overshoot
    where the hand closes the line, or a small loop on the way, is cut off."""
    cuts = 0
    while (crossing := _first_crossing(corners)) is not None:
        if cuts == MOST_LOOPS:
            raise CannotMeasure(
                gettext("The outline crosses itself again and again. Draw it anew.")
            )
        i, j, at = crossing
        inner = np.vstack([at, corners[i + 1 : j + 1]])
        outer = np.vstack([corners[: i + 1], at, corners[j + 1 :]])
        corners = _apart(max(inner, outer, key=lambda part: abs(signed_area(part))))
        cuts += 1
    return corners, cuts > 0


def _apart(corners: FloatArray) -> FloatArray:
    """Without corners that lie on the one before."""
    if len(corners) == 0:
        return corners
    steps = np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1)
    return np.asarray(corners[steps > SAME])


def _first_crossing(corners: FloatArray) -> tuple[int, int, FloatArray] | None:
    """Sides i < j (side i runs from corner i to the next) that cross or touch, and where. A side
    owns its first corner, not its last: a line through a corner is found once."""
    count = len(corners)
    step = np.roll(corners, -1, axis=0) - corners
    for i in range(count - 2):
        # Neighbouring sides share a corner; the last side is the neighbour of the first.
        j = np.arange(i + 2, count - (i == 0))
        if j.size == 0:
            continue
        away = corners[j] - corners[i]
        cross = step[i, 0] * step[j, 1] - step[i, 1] * step[j, 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            t = (away[:, 0] * step[j, 1] - away[:, 1] * step[j, 0]) / cross
            s = (away[:, 0] * step[i, 1] - away[:, 1] * step[i, 0]) / cross
        own = (t > -SAME) & (t < 1 - SAME) & (s > -SAME) & (s < 1 - SAME)
        hit = np.flatnonzero(own)
        if hit.size:
            return i, int(j[hit[0]]), corners[i] + t[hit[0]] * step[i]
    return None


def inside_share(corners: FloatArray, low: FloatArray, high: FloatArray) -> float:
    """Share of a polygon's area that lies in the box ``low`` .. ``high``, by clipping."""
    whole = abs(signed_area(corners))
    part = corners
    for axis in (0, 1):
        for sign, limit in ((1.0, low[axis]), (-1.0, high[axis])):
            part = _clipped(part, axis, sign, float(limit))
    return min(1.0, abs(signed_area(part)) / whole) if whole > 0 else 0.0


def _clipped(corners: FloatArray, axis: int, sign: float, limit: float) -> FloatArray:
    """The part of a polygon with ``sign * (coordinate - limit) >= 0`` (Sutherland-Hodgman)."""
    if len(corners) == 0:
        return corners
    depth = sign * (corners[:, axis] - limit)
    kept: list[FloatArray] = []
    for n in range(len(corners)):
        here, there = depth[n - 1], depth[n]
        if (here < 0) != (there < 0):
            kept.append(corners[n - 1] + here / (here - there) * (corners[n] - corners[n - 1]))
        if there >= 0:
            kept.append(corners[n])
    return np.array(kept).reshape(-1, 2)


def _filled(corners: FloatArray) -> IntArray:
    """Integer places (a, b) inside a polygon given in lattice coordinates, edges included.

    Scan lines of constant b, by the even-odd rule. Each line is looked at a hair below and above,
    so that a side that lies on it counts as inside from either end.
    """
    a, b = corners.T
    a_next, b_next = np.roll(a, -1), np.roll(b, -1)
    found: list[IntArray] = []
    for row in range(int(np.ceil(b.min() - EDGE)), int(np.floor(b.max() + EDGE)) + 1):
        columns: set[int] = set()
        for line in (row - EDGE, row + EDGE):
            crossing = (b <= line) != (b_next <= line)
            share = (line - b[crossing]) / (b_next - b)[crossing]
            ends = np.sort(a[crossing] + share * (a_next - a)[crossing])
            for start, end in zip(ends[::2], ends[1::2], strict=True):
                columns.update(range(int(np.ceil(start - EDGE)), int(np.floor(end + EDGE)) + 1))
        if columns:
            inside = np.fromiter(columns, dtype=np.int64)
            inside.sort()
            found.append(np.stack([inside, np.full_like(inside, row)], axis=1))
    return np.vstack(found) if found else np.empty((0, 2), dtype=np.int64)


def _check_plane(plane: Plane, points: FloatArray) -> None:
    if np.abs(plane.off(points)).max() > PLANE_MM:
        raise CannotMeasure(gettext("The points do not lie in the plane that was named."))
