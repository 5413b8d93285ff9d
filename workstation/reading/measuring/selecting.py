"""Which voxels of a layer belong to an outline or a sphere. The rules stand in the README."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from django.utils.translation import gettext

from workstation.reading.measuring import CannotMeasure, FloatArray, IntArray, Mask
from workstation.reading.measuring.lattices import EDGE, Lattice, Voxels, block, take, trilinear
from workstation.reading.measuring.outlines import Plane, Shape, inside_share

PARALLEL_DEG = 0.1
MOST_SAMPLES = 4_000_000
MOST_VOXELS = 16_000_000
"""Of a sphere's box: some sixty bytes each while it is measured, in the web process."""
PROBES = 20
"""Per axis, of a ball, to say how much of it lies outside a field of view."""


@dataclass(frozen=True, eq=False)
class Selection:
    """The values of what belongs, each with its voxel. ``outside``: share beyond the field of
    view. ``sampled``: interpolated values of a plane, whose voxels are the nearest ones."""

    values: FloatArray
    voxels: IntArray
    """(n, 3) as (i, j, k)."""
    outside: float
    method: str
    sampled: bool = False


def planar(lattice: Lattice, voxels: Voxels, plane: Plane, shape: Shape) -> Selection:
    """The voxels of the nearest lattice plane, or samples of an oblique one."""
    axis = None if lattice.deformed else _parallel_axis(lattice, plane.normal)
    if axis is None:
        return _sampled(lattice, voxels, plane, shape)
    return _of_one_slice(lattice, voxels, plane, shape, axis)


def _parallel_axis(lattice: Lattice, normal: FloatArray) -> int | None:
    """The axis (0 i, 1 j, 2 k) whose lattice planes are parallel to a plane, if any is."""
    rows = np.linalg.inv(lattice.placed)[:3, :3]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    sine = np.linalg.norm(np.cross(rows, normal), axis=1)
    best = int(np.argmin(sine))
    return best if sine[best] <= np.sin(np.radians(PARALLEL_DEG)) else None


def _of_one_slice(
    lattice: Lattice, voxels: Voxels, plane: Plane, shape: Shape, axis: int
) -> Selection:
    a, b = (n for n in range(3) if n != axis)
    inverse = np.linalg.inv(lattice.placed)
    place = float((inverse @ np.append(plane.origin, 1.0))[axis])
    name = "ijk"[axis]
    if not -0.5 - EDGE <= place <= lattice.size[axis] - 0.5 + EDGE:
        return _nothing("the plane lies outside the image")
    number = int(np.clip(np.ceil(place - 0.5 - EDGE), 0, lattice.size[axis] - 1))
    # (a, b, 1) -> (u, v): centres of that lattice plane, projected along the normal.
    start = np.zeros(3)
    start[axis] = number
    origin = lattice.place_of(start)[0] - plane.origin
    steps = lattice.placed[:3, [a, b]]
    to_flat = np.stack(
        [np.append(plane.u @ steps, plane.u @ origin), np.append(plane.v @ steps, plane.v @ origin)]
    )
    outside = 1.0 - inside_share(
        (shape.corners - to_flat[:, 2]) @ np.linalg.inv(to_flat[:, :2]).T,
        np.array([-0.5, -0.5]), lattice.size[[a, b]] - 0.5,
    )  # fmt: skip
    cells = shape.cells(to_flat)
    cells = cells[((cells >= 0) & (cells < lattice.size[[a, b]])).all(axis=1)]
    ijk = np.full((len(cells), 3), number, dtype=np.int64)
    ijk[:, [a, b]] = cells
    method = f"voxels of plane {name} = {number} whose centre lies inside the outline"
    return Selection(take(voxels, ijk), ijk, outside, method)


def _sampled(lattice: Lattice, voxels: Voxels, plane: Plane, shape: Shape) -> Selection:
    step = lattice.smallest_edge_mm
    if shape.area / step**2 > MOST_SAMPLES:
        raise CannotMeasure(gettext(
            "The outline is too large for an oblique plane. Draw a smaller one."
        ))
    cells = shape.cells(np.array([[step, 0.0, 0.0], [0.0, step, 0.0]]))
    index = lattice.index_of(plane.lifted(cells * step))
    covered = lattice.covers(index)
    seen = index[covered]
    nearest = np.clip(np.rint(seen), 0, lattice.size - 1).astype(np.int64)
    through = " through the deformation" if lattice.deformed else " of the oblique plane"
    return Selection(
        trilinear(voxels, seen),
        nearest,
        1.0 - len(seen) / len(cells) if len(cells) else 0.0,
        f"trilinear samples{through}, {step:.3g} mm apart, inside the outline",
        sampled=True,
    )


@dataclass(frozen=True, eq=False)
class Ball:
    """The voxels of a box that lie in a sphere. ``mask`` and ``values`` are [k, j, i]."""

    low: IntArray
    """(i, j, k) of the box's first voxel."""
    values: FloatArray
    mask: Mask
    outside: float

    def selection(self, method: str) -> Selection:
        kji = np.argwhere(self.mask)
        return Selection(self.values[self.mask], kji[:, ::-1] + self.low, self.outside, method)


def ball(
    lattice: Lattice, voxels: Voxels, centre: FloatArray, radius: float, margin: int = 0
) -> Ball | None:
    """The voxels within ``radius`` mm of ``centre`` (reference LPS), in a box with ``margin``
    voxels around them; None if the sphere lies outside the field of view altogether."""
    probes = _probes(centre, radius)
    index = lattice.index_of(probes)
    known = np.isfinite(index).all(axis=1)
    outside = 1.0 - float(lattice.covers(index).mean())
    if not known.any():
        return None
    if not lattice.deformed:
        # How far a sphere reaches along each index axis is exact for an affine lattice.
        reach = radius * np.linalg.norm(np.linalg.inv(lattice.placed)[:3, :3], axis=1)
        middle = lattice.index_of(centre)[0]
        first, last = middle - reach, middle + reach
    else:
        # A deformation bends little between probes; a voxel more on each side holds the bend.
        first, last = index[known].min(axis=0) - 1, index[known].max(axis=0) + 1
    low = np.clip(np.ceil(first - EDGE).astype(np.int64) - margin, 0, lattice.size)
    high = np.clip(np.floor(last + EDGE).astype(np.int64) + 1 + margin, 0, lattice.size)
    if (high <= low).any():
        return None
    if int(np.prod(high - low)) > MOST_VOXELS:
        raise CannotMeasure(gettext("The sphere holds too many voxels. Draw a smaller one."))
    mask = _within(lattice, low, high, centre, radius)
    if not mask.any():
        return Ball(low, np.zeros(mask.shape), mask, outside)
    return Ball(low, block(voxels, low, high), mask, outside)


def _within(
    lattice: Lattice, low: IntArray, high: IntArray, centre: FloatArray, radius: float
) -> Mask:
    i, j, k = (np.arange(a, b) for a, b in zip(low, high, strict=True))
    limit = radius**2 * (1 + EDGE)
    if not lattice.deformed:
        # |A x + t - c|^2, axis by axis: no array of all points is made.
        columns = lattice.placed[:3, :3]
        offset = lattice.placed[:3, 3] - centre
        squares: FloatArray = np.zeros((len(k), len(j), len(i)))
        for row, start in zip(columns, offset, strict=True):
            away = (
                row[0] * i[None, None, :] + row[1] * j[None, :, None] + row[2] * k[:, None, None]
            )
            squares += (away + start) ** 2
        return np.asarray(squares <= limit)
    kji = np.stack(np.meshgrid(k, j, i, indexing="ij"), axis=-1).reshape(-1, 3)
    with np.errstate(invalid="ignore"):
        squares = np.sum((lattice.place_of(kji[:, ::-1]) - centre) ** 2, axis=1)
        return np.asarray((squares <= limit).reshape(len(k), len(j), len(i)))


def _probes(centre: FloatArray, radius: float) -> FloatArray:
    """Points that fill a ball evenly, its poles along the axes among them."""
    line = np.linspace(-1, 1, PROBES)
    cube = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    poles = np.vstack([np.eye(3), -np.eye(3)])
    filled = np.vstack([cube[np.sum(cube**2, axis=1) <= 1], poles])
    return np.asarray(centre + radius * filled)


def _nothing(method: str) -> Selection:
    return Selection(np.empty(0), np.empty((0, 3), dtype=np.int64), 1.0, method)
