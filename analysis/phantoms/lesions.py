"""Lesion shapes with an exactly known volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.phantoms.canvas import Array, Box, Canvas, Vector, length

_DIRECTIONS = 4096


def sphere_directions(count: int = _DIRECTIONS) -> npt.NDArray[np.float64]:
    """Evenly spread unit vectors (count, 3) (Fibonacci lattice)."""
    k = np.arange(count) + 0.5
    z = 1 - 2 * k / count
    angle = np.pi * (1 + 5**0.5) * k
    r = np.sqrt(1 - z**2)
    return np.stack([r * np.cos(angle), r * np.sin(angle), z], axis=1)


@dataclass(frozen=True, eq=False)
class Blob:
    """A star-shaped body: radius(direction) = scale * (1 + sum_m a_m * P3(axis_m . direction)).

    Its volume is the integral of radius^3 / 3 over all directions; ``scale`` is set so that it
    equals that of the sphere of ``diameter_mm``.
    """

    centre: npt.NDArray[np.float64]
    diameter_mm: float
    axes: npt.NDArray[np.float64]
    amplitudes: npt.NDArray[np.float64]
    scale: float

    @classmethod
    def make(
        cls, rng: np.random.Generator, centre: Vector, diameter_mm: float, roughness: float
    ) -> Blob:
        axes = rng.standard_normal((7, 3))
        axes /= np.linalg.norm(axes, axis=1, keepdims=True)
        amplitudes = roughness * rng.standard_normal(7)
        rough = cls(np.asarray(centre, dtype=float), diameter_mm, axes, amplitudes, 1.0)
        mean_cube = float(np.mean(rough._ratio(sphere_directions()) ** 3))
        scale = diameter_mm / 2 / mean_cube ** (1 / 3)
        return cls(rough.centre, diameter_mm, axes, amplitudes, scale)

    @property
    def volume_ml(self) -> float:
        return float(np.pi / 6 * self.diameter_mm**3 / 1000)

    @property
    def reach_mm(self) -> float:
        """No surface point is farther from the centre."""
        return float(self.scale * self._ratio(sphere_directions()).max() * 1.02)

    def _ratio(self, directions: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """radius / scale for unit vectors (..., 3)."""
        out = np.ones(directions.shape[:-1], dtype=directions.dtype)
        for axis, amplitude in zip(self.axes, self.amplitudes, strict=True):
            c = directions @ axis.astype(directions.dtype)
            out += directions.dtype.type(amplitude) * (5 * c**3 - 3 * c) / 2
        return np.maximum(out, directions.dtype.type(0.3))

    def distance(self, points: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Radial distance to the surface in mm (negative inside) of LPS points (..., 3)."""
        p = points - self.centre.astype(points.dtype)
        r = np.sqrt(np.sum(p * p, axis=-1))
        unit = p / np.maximum(r, points.dtype.type(1e-6))[..., None]
        return np.asarray(r - points.dtype.type(self.scale) * self._ratio(unit))

    def soft_shares(self, canvas: Canvas, edge_mm: float) -> tuple[Box | None, Array]:
        """Box and voxel shares that fade over ``edge_mm`` across the surface (one half on it)."""
        margin = self.reach_mm + edge_mm / 2
        box = canvas.box(self.centre - margin, self.centre + margin)
        if box is None:
            return None, np.zeros(0, dtype=np.float32)
        distance = self.distance(_points(canvas.axes(box)))
        return box, np.clip(0.5 - distance / np.float32(edge_mm), 0, 1).astype(np.float32)

    def shares(self, canvas: Canvas, fine_mm: float = 0.4) -> tuple[Box | None, Array]:
        """Box and voxel shares, by counting sub-voxels no larger than ``fine_mm``."""
        box = canvas.box(self.centre - self.reach_mm, self.centre + self.reach_mm)
        if box is None:
            return None, np.zeros(0, dtype=np.float32)
        points = _points(canvas.axes(box))
        distance = self.distance(points)
        share = (distance < 0).astype(np.float32)
        # Only voxels that the surface may cross need counting; 1.5 covers its slope.
        edge = np.abs(distance) < 1.5 * length(canvas.step) / 2
        parts = np.maximum(1, np.ceil(canvas.step / fine_mm)).astype(int)
        offsets = _points(
            [
                (((np.arange(n) + 0.5) / n - 0.5) * step).astype(np.float32)
                for n, step in zip(parts, canvas.step, strict=True)
            ]
        ).reshape(-1, 3)
        centres = points[edge]
        counted = np.zeros(len(centres), dtype=np.float32)
        for offset in offsets:
            counted += self.distance(centres + offset) < 0
        share[edge] = counted / np.float32(len(offsets))
        return box, share


def _points(axes: Sequence[Array]) -> Array:
    """LPS of a rectilinear grid of x, y, z values: (nz, ny, nx, 3)."""
    x, y, z = (a.ravel() for a in axes)
    out = np.empty((z.size, y.size, x.size, 3), dtype=np.float32)
    out[..., 0], out[..., 1], out[..., 2] = x, y[:, None], z[:, None, None]
    return out
