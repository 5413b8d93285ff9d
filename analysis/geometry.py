"""The only place that knows LPS millimetres, affines and the zyx <-> xyz order.

Conventions are those of :mod:`analysis.contracts`. ``frontend/src/affine.ts`` mirrors this module
and shares its test vectors (``tests/analysis/vectors/affine.json``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from analysis.grids import FloatArray as FloatArray
from analysis.grids import Grid as Grid
from analysis.grids import apply as apply
from analysis.grids import as_matrix as as_matrix


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels with their place and unit. ``array`` is [z, y, x]."""

    array: npt.NDArray[np.generic]
    grid: Grid
    unit: str
    modality: str = ""
    role: str = "OTHER"

    def with_array(self, array: npt.NDArray[np.generic]) -> Volume:
        return replace(self, array=array)


def to_sitk(volume: Volume) -> sitk.Image:
    """A SimpleITK image with the volume's spacing, origin and direction (arrays are copied).

    Raises ``ValueError`` for a sheared affine, which ITK cannot hold.
    """
    direction = volume.grid.direction
    if not np.allclose(direction.T @ direction, np.eye(3), atol=1e-4):
        raise ValueError("the affine is sheared; resample the volume first")
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(volume.grid.spacing)
    image.SetOrigin([float(v) for v in volume.grid.affine[:3, 3]])
    image.SetDirection([float(v) for v in direction.ravel()])
    return image


def itk_affine(matrix: FloatArray) -> sitk.AffineTransform:
    """A 4x4 matrix as ITK's transform of points."""
    transform = sitk.AffineTransform(3)
    transform.SetMatrix([float(v) for v in matrix[:3, :3].ravel()])
    transform.SetTranslation([float(v) for v in matrix[:3, 3]])
    return transform


def grid_of(image: sitk.Image) -> Grid:
    """The grid of a 3-D SimpleITK image."""
    direction = np.array(image.GetDirection(), dtype=np.float64).reshape(3, 3)
    affine = np.eye(4)
    affine[:3, :3] = direction * np.array(image.GetSpacing(), dtype=np.float64)
    affine[:3, 3] = image.GetOrigin()
    nx, ny, nz = image.GetSize()
    return Grid((nz, ny, nx), affine)


def isotropic_grid(grid: Grid, spacing_mm: float) -> Grid:
    """A grid over the same box with cubic voxels of ``spacing_mm`` (same directions)."""
    nz, ny, nx = grid.shape
    size = np.array([nx, ny, nz], dtype=np.float64) * np.array(grid.spacing)
    count = np.maximum(1, np.round(size / spacing_mm)).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = grid.direction * spacing_mm
    # Same box: its corner, half a voxel outside the first centre, stays where it is.
    corner = grid.to_lps([-0.5, -0.5, -0.5])
    affine[:3, 3] = corner + grid.direction @ np.full(3, spacing_mm / 2)
    return Grid((int(count[2]), int(count[1]), int(count[0])), affine)


def axial_grid(grid: Grid, spacing_mm: float) -> Grid:
    """Cubic voxels along the patient axes (i = left, j = posterior, k = head) over ``grid``'s box.

    An oblique box is covered completely, so its corners reach beyond the original lattice.
    """
    nz, ny, nx = grid.shape
    corners = grid.to_lps(
        [
            (i, j, k)
            for i in (-0.5, nx - 0.5)
            for j in (-0.5, ny - 0.5)
            for k in (-0.5, nz - 0.5)
        ]
    )
    low, high = corners.min(axis=0), corners.max(axis=0)
    count = np.maximum(1, np.ceil((high - low) / spacing_mm - 1e-6)).astype(int)
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = (low + high) / 2 - (count - 1) / 2 * spacing_mm
    return Grid((int(count[2]), int(count[1]), int(count[0])), affine)


def subgrid(grid: Grid, start: tuple[int, int, int], stop: tuple[int, int, int]) -> Grid:
    """The part of a lattice from voxel ``start`` up to, not including, ``stop``; both (z, y, x)."""
    affine = grid.affine.copy()
    affine[:3, 3] = grid.to_lps(np.array(start[::-1]))
    return Grid((stop[0] - start[0], stop[1] - start[1], stop[2] - start[2]), affine)


def level_grid(grid: Grid, factors: tuple[int, int, int]) -> Grid:
    """The grid of a coarser level whose voxels are means of ``factors`` (fz, fy, fx) fine voxels.

    The first coarse voxel's centre lies in the middle of the fine voxels it covers, so the
    corner of the box stays where it is. Partial blocks at the far ends keep the full size.
    """
    fz, fy, fx = factors
    nz, ny, nx = grid.shape
    scale = np.array([fx, fy, fz], dtype=np.float64)
    affine = np.eye(4)
    affine[:3, :3] = grid.affine[:3, :3] * scale
    affine[:3, 3] = grid.to_lps((scale - 1) / 2)
    return Grid((-(-nz // fz), -(-ny // fy), -(-nx // fx)), affine)
