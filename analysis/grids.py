"""Voxel lattices in LPS millimetres, with numpy alone: the web process may import this module.

:mod:`analysis.geometry` has the rest, which needs SimpleITK.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from analysis.contracts import Matrix

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Grid:
    """A voxel lattice: ``shape`` (nz, ny, nx) and ``affine`` (4x4, (i, j, k, 1) -> LPS mm)."""

    shape: tuple[int, int, int]
    affine: FloatArray

    @cached_property
    def spacing(self) -> tuple[float, float, float]:
        """Distance in mm between voxel centres along i, j, k."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(lengths[0]), float(lengths[1]), float(lengths[2])

    @cached_property
    def direction(self) -> FloatArray:
        """3x3 with the unit vectors of i, j, k in LPS as columns."""
        return np.asarray(self.affine[:3, :3] / np.asarray(self.spacing), dtype=np.float64)

    @property
    def voxel_volume_ml(self) -> float:
        return float(abs(np.linalg.det(self.affine[:3, :3])) / 1000.0)

    @property
    def centre(self) -> FloatArray:
        """LPS mm of the lattice's middle."""
        nz, ny, nx = self.shape
        return self.to_lps(np.array([(nx - 1) / 2, (ny - 1) / 2, (nz - 1) / 2]))

    def to_lps(self, ijk: npt.ArrayLike) -> FloatArray:
        """Voxel indices (..., 3) as (i, j, k) -> LPS mm (..., 3)."""
        points = np.asarray(ijk, dtype=np.float64)
        return np.asarray(points @ self.affine[:3, :3].T + self.affine[:3, 3], dtype=np.float64)

    def nodes(self, step: int = 1) -> FloatArray:
        """LPS mm of every ``step``-th voxel centre along each axis, [z, y, x, 3]."""
        nz, ny, nx = (np.arange(0, count, step) for count in self.shape)
        k, j, i = np.meshgrid(nz, ny, nx, indexing="ij")
        return self.to_lps(np.stack([i, j, k], axis=-1))

    def to_index(self, lps: npt.ArrayLike) -> FloatArray:
        """LPS mm (..., 3) -> fractional voxel indices (i, j, k) (..., 3)."""
        points = np.asarray(lps, dtype=np.float64) - self.affine[:3, 3]
        return np.asarray(points @ np.linalg.inv(self.affine[:3, :3]).T, dtype=np.float64)


def apply(matrix: npt.NDArray[np.floating], points: FloatArray) -> FloatArray:
    """Points (..., 3) mapped by a 4x4."""
    return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3], dtype=np.float64)


def as_matrix(array: npt.ArrayLike) -> Matrix:
    """A 4x4 array as the nested tuple that contracts carry."""
    rows = np.asarray(array, dtype=np.float64)
    if rows.shape != (4, 4):
        raise ValueError(f"expected a 4x4 matrix, got shape {rows.shape}")
    return tuple((float(r[0]), float(r[1]), float(r[2]), float(r[3])) for r in rows)
