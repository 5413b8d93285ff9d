"""Painting anatomy: shapes with soft edges, laid over one another on a voxel grid.

A shape is a signed distance in mm (negative inside). Its share of a voxel is approximated from
that distance over one voxel width, so organ borders carry partial volume instead of stairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, Unpack, cast

import numpy as np
import numpy.typing as npt

from analysis.geometry import Grid

Array = npt.NDArray[np.float32]
Box = tuple[slice, slice, slice]
Vector = Sequence[float] | npt.NDArray[np.floating]


class Material(TypedDict, total=False):
    """What a shape is made of: a value for each layer it changes."""

    hu: float | Array
    suv: float | Array
    t1: float | Array
    t2: float | Array
    flair: float | Array
    gd: float | Array
    pet: float | Array


def axial_grid(lower: Vector, upper: Vector, spacing: tuple[float, float, float]) -> Grid:
    """An axial grid (x left, y posterior, z head) that fills the box of LPS corners, centred."""
    low, high = np.asarray(lower, dtype=float), np.asarray(upper, dtype=float)
    step = np.asarray(spacing, dtype=float)
    count = np.maximum(1, np.round((high - low) / step)).astype(int)
    affine = np.diag([*step, 1.0])
    affine[:3, 3] = (low + high) / 2 - step * (count - 1) / 2
    return Grid((int(count[2]), int(count[1]), int(count[0])), affine)


def length(v: npt.NDArray[np.floating]) -> float:
    return float(np.sqrt(np.sum(np.square(v))))


class Canvas:
    """Layers of equal shape [z, y, x] on an axial grid, painted in order from back to front."""

    def __init__(self, grid: Grid, **background: Unpack[Material]) -> None:
        self.grid = grid
        nz, ny, nx = grid.shape
        origin, step = grid.affine[:3, 3], np.asarray(grid.spacing)
        self.x: Array = (origin[0] + step[0] * np.arange(nx)).astype(np.float32)[None, None, :]
        self.y: Array = (origin[1] + step[1] * np.arange(ny)).astype(np.float32)[None, :, None]
        self.z: Array = (origin[2] + step[2] * np.arange(nz)).astype(np.float32)[:, None, None]
        self.origin, self.step = origin, step
        self.width = float(np.mean(step))
        self.layers: dict[str, Array] = {
            name: np.full(grid.shape, value, dtype=np.float32) for name, value in background.items()
        }

    def share(self, distance: Array) -> Array:
        """Share (0..1) of each voxel inside the shape of that signed distance."""
        out = np.multiply(distance, np.float32(-1.0 / self.width), dtype=np.float32)
        out += np.float32(0.5)
        return np.clip(out, 0.0, 1.0, out=out)

    def box(self, lower: Vector, upper: Vector) -> Box | None:
        """Voxels whose centres may lie within the LPS box (one voxel of margin)."""
        margin = self.step
        low = np.floor((np.asarray(lower) - margin - self.origin) / self.step).astype(int)
        high = np.ceil((np.asarray(upper) + margin - self.origin) / self.step).astype(int) + 1
        shape = np.array(self.grid.shape[::-1])
        low, high = np.maximum(low, 0), np.minimum(high, shape)
        if np.any(low >= high):
            return None
        return (slice(low[2], high[2]), slice(low[1], high[1]), slice(low[0], high[0]))

    def axes(self, box: Box) -> tuple[Array, Array, Array]:
        """(x, y, z) of the box, each ready to broadcast."""
        return self.x[:, :, box[2]], self.y[:, box[1], :], self.z[box[0], :, :]

    def paint(self, share: Array, box: Box | None = None, **values: Unpack[Material]) -> None:
        """Lay a material over what is there: new = old + share * (value - old)."""
        where = box if box is not None else (slice(None),) * 3
        for name, value in values.items():
            layer = self.layers[name][where]
            layer += share * (cast("float | Array", value) - layer)

    def ellipsoid(
        self,
        centre: Vector,
        semi: Vector,
        rotation: npt.NDArray[np.floating] | None = None,
        clip: Array | None = None,
        **values: Unpack[Material],
    ) -> None:
        """An ellipsoid; ``rotation`` has its axes as columns; ``clip`` scales its share."""
        semi_axes = np.asarray(semi, dtype=float)
        reach = semi_axes if rotation is None else np.sqrt((rotation**2) @ (semi_axes**2))
        box = self.box(np.asarray(centre) - reach, np.asarray(centre) + reach)
        if box is None:
            return
        share = self.share(ellipsoid_distance(*self.axes(box), centre, semi_axes, rotation))
        if clip is not None:
            share *= clip[box]
        self.paint(share, box, **values)

    def tube(
        self,
        points: Sequence[Vector],
        radii: Sequence[float],
        clip: Array | None = None,
        **values: Unpack[Material],
    ) -> None:
        """A tube through the points with a radius at each."""
        for k in range(len(points) - 1):
            box, share = self.segment(points[k], points[k + 1], radii[k], radii[k + 1])
            if box is not None:
                if clip is not None:
                    share = share * clip[box]
                self.paint(share, box, **values)

    def segment(self, start: Vector, end: Vector, r0: float, r1: float) -> tuple[Box | None, Array]:
        """Box and voxel shares of one piece of tube. A tube thinner than a voxel fills only
        part of it, which the factor 2r/width stands for."""
        a, b = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
        big = max(r0, r1)
        box = self.box(np.minimum(a, b) - big, np.maximum(a, b) + big)
        if box is None:
            return None, np.zeros(0, dtype=np.float32)
        x, y, z = self.axes(box)
        px, py, pz = x - np.float32(a[0]), y - np.float32(a[1]), z - np.float32(a[2])
        d = (b - a).astype(np.float32)
        t = np.clip((px * d[0] + py * d[1] + pz * d[2]) / max(float(d @ d), 1e-6), 0, 1)
        distance = np.sqrt((px - t * d[0]) ** 2 + (py - t * d[1]) ** 2 + (pz - t * d[2]) ** 2)
        distance -= np.float32(r0) + t * np.float32(r1 - r0)
        thin = min(1.0, (r0 + r1) / self.width)
        return box, self.share(distance) * np.float32(thin)


def ellipsoid_distance(
    x: Array,
    y: Array,
    z: Array,
    centre: Vector,
    semi: Vector,
    rotation: npt.NDArray[np.floating] | None = None,
) -> Array:
    """First-order signed distance to an ellipsoid, good near its surface."""
    p = [x - np.float32(centre[0]), y - np.float32(centre[1]), z - np.float32(centre[2])]
    if rotation is not None:
        r = np.asarray(rotation, dtype=np.float32)
        p = [r[0, k] * p[0] + r[1, k] * p[1] + r[2, k] * p[2] for k in range(3)]
    s = [np.float32(v) for v in semi]
    k0 = np.sqrt((p[0] / s[0]) ** 2 + (p[1] / s[1]) ** 2 + (p[2] / s[2]) ** 2)
    k1 = np.sqrt((p[0] / s[0] ** 2) ** 2 + (p[1] / s[1] ** 2) ** 2 + (p[2] / s[2] ** 2) ** 2)
    return np.asarray(k0 * (k0 - 1) / np.maximum(k1, np.float32(1e-6)), dtype=np.float32)


def rotation_matrix(degrees: Vector) -> npt.NDArray[np.float64]:
    """Rotation by angles about x, then y, then z (fixed axes)."""
    cx, cy, cz = np.cos(np.radians(degrees))
    sx, sy, sz = np.sin(np.radians(degrees))
    rx = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    rz = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(rz @ ry @ rx, dtype=np.float64)


class SmoothField:
    """A random field of mean 0 and variance 1 in space, smooth over ``scale_mm``.

    Cubic B-splines over a lattice drawn once in patient space, so that the same patient sampled
    on another grid has the same field.
    """

    def __init__(
        self, rng: np.random.Generator, lower: Vector, upper: Vector, scale_mm: float
    ) -> None:
        self.origin = np.asarray(lower, dtype=float) - 2 * scale_mm
        span = np.asarray(upper, dtype=float) - self.origin + 3 * scale_mm
        self.scale = scale_mm
        counts = np.ceil(span / scale_mm).astype(int)
        lattice = rng.standard_normal((counts[2], counts[1], counts[0]))
        # Variance of a cubic B-spline sum of white weights, averaged over the cell: 0.479 an axis.
        self.lattice = (lattice / 0.479365**1.5).astype(np.float32)

    def _weights(self, coordinate: Array, axis: int) -> Array:
        u = (coordinate.ravel() - self.origin[axis]) / self.scale
        knots = np.arange(self.lattice.shape[2 - axis])
        t = np.abs(u[:, None] - knots[None, :])
        near = 2 / 3 - t**2 + t**3 / 2
        far = np.clip(2 - t, 0, None) ** 3 / 6
        return np.asarray(np.where(t < 1, near, far), dtype=np.float32)

    def on(self, x: Array, y: Array, z: Array) -> Array:
        """The field on a rectilinear grid: [z, y, x]."""
        wx, wy, wz = self._weights(x, 0), self._weights(y, 1), self._weights(z, 2)
        rows = np.einsum("abc,xc->abx", self.lattice, wx, optimize=True)
        planes = np.einsum("abx,yb->ayx", rows, wy, optimize=True)
        a, ny, nx = planes.shape
        return np.asarray((wz @ planes.reshape(a, ny * nx)).reshape(-1, ny, nx))
