"""Boxes, components, volumes and diameters of masks on a voxel grid."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.ndimage as ndi
from scipy.spatial import ConvexHull, QhullError
from skimage.measure import find_contours

from analysis.contracts import Matrix, Point
from analysis.findings.case import Mask
from analysis.geometry import Grid, Volume, as_matrix, subgrid

Box = tuple[tuple[int, int, int], tuple[int, int, int]]
"""(start, stop) in (z, y, x)."""

NEIGHBOURS_26 = np.ones((3, 3, 3), dtype=bool)
SLICE_SHARE = 0.5
"""Diameters are looked for in slices that hold at least this share of the largest area."""


def points_box(points_lps: npt.NDArray[np.float64], grid: Grid, margin_mm: float) -> Box | None:
    """The voxels of ``grid`` around LPS points (n, 3) and ``margin_mm`` more; None if outside."""
    index = grid.to_index(points_lps)
    margin = margin_mm / np.asarray(grid.spacing)
    low = np.floor(index.min(axis=0) - margin).astype(int)[::-1]
    high = np.ceil(index.max(axis=0) + margin).astype(int)[::-1] + 1
    low, high = np.maximum(low, 0), np.minimum(high, grid.shape)
    if np.any(low >= high):
        return None
    return (int(low[0]), int(low[1]), int(low[2])), (int(high[0]), int(high[1]), int(high[2]))


def crop(volume: Volume, box: Box) -> Volume:
    """The part of a volume inside a box of its own grid (a view, not a copy)."""
    (z0, y0, x0), (z1, y1, x1) = box
    return Volume(
        volume.array[z0:z1, y0:y1, x0:x1],
        subgrid(volume.grid, *box),
        volume.unit,
        volume.modality,
        volume.role,
    )


def zyx_spacing(grid: Grid) -> tuple[float, float, float]:
    """Voxel spacing in array order, for scipy's ``sampling``."""
    sx, sy, sz = grid.spacing
    return sz, sy, sx


def distance_inside(mask: Mask, grid: Grid) -> npt.NDArray[np.float64]:
    """Distance in mm of each voxel of the mask to the nearest voxel outside it (0 outside)."""
    padded = np.pad(mask, 1)  # beyond the array is outside
    inner = ndi.distance_transform_edt(padded, sampling=zyx_spacing(grid))
    return np.asarray(inner[1:-1, 1:-1, 1:-1], dtype=np.float64)


def distance_outside(mask: Mask, grid: Grid) -> npt.NDArray[np.float64]:
    """Distance in mm of each voxel to the nearest voxel of the mask (0 inside)."""
    if not mask.any():
        return np.full(mask.shape, np.inf)
    return np.asarray(
        ndi.distance_transform_edt(~mask, sampling=zyx_spacing(grid)), dtype=np.float64
    )


def largest_overlap(mask: Mask, seed: Mask) -> Mask:
    """The component of ``mask`` (26-connected) that shares most voxels with ``seed``."""
    labels, _ = ndi.label(mask, structure=NEIGHBOURS_26)
    counts = np.bincount(labels[seed & mask])
    if counts.size < 2:
        return np.zeros_like(mask)
    return np.asarray(labels == 1 + int(counts[1:].argmax()))


def mask_points(mask: Mask, grid: Grid) -> npt.NDArray[np.float64]:
    """LPS mm (n, 3) of the mask's voxel centres."""
    return grid.to_lps(np.argwhere(mask)[:, ::-1])


def as_point(lps: npt.ArrayLike) -> Point:
    """Three rounded coordinates (0.01 mm)."""
    x, y, z = (round(float(v), 2) for v in np.asarray(lps))
    return x, y, z


def apply(matrix: Matrix, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """LPS points (..., 3) through a 4x4 transform."""
    m = np.asarray(matrix, dtype=np.float64)
    return np.asarray(np.asarray(points, dtype=np.float64) @ m[:3, :3].T + m[:3, 3])


def invert(matrix: Matrix) -> Matrix:
    return as_matrix(np.linalg.inv(np.asarray(matrix, dtype=np.float64)))


@dataclass(frozen=True)
class Axes:
    """Longest diameter in the slice plane and the longest one perpendicular to it, same slice."""

    long_mm: float
    short_mm: float
    slice_index: int
    """Slice k of the array that was measured."""


def _hull(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    try:
        return np.asarray(points[ConvexHull(points).vertices])
    except QhullError:  # all on one line
        return points


def _slice_axes(
    shares: npt.NDArray[np.float64], spacing: tuple[float, float]
) -> tuple[float, float]:
    """(long, short) in mm of one slice [y, x] of voxel shares (0..1), outline at one half."""
    contours = find_contours(np.pad(shares, 1), 0.5)
    if not contours:
        return 0.0, 0.0
    outline = max(contours, key=len)
    points = _hull(np.asarray(outline[:, ::-1] * np.asarray(spacing), dtype=np.float64))
    gaps = points[:, None, :] - points[None, :, :]
    lengths = np.linalg.norm(gaps, axis=2)
    a, b = np.unravel_index(int(lengths.argmax()), lengths.shape)
    long_mm = float(lengths[a, b])
    if long_mm == 0.0:
        return 0.0, 0.0
    along = (points[b] - points[a]) / long_mm
    across = points @ np.array([-along[1], along[0]])
    return long_mm, float(across.max() - across.min())


def in_plane_axes(shares: npt.NDArray[np.floating], grid: Grid) -> Axes:
    """Diameters in the slice with the longest one (the way Lung-RADS asks for).

    ``shares`` [z, y, x] are voxel shares 0..1 (a plain mask works, with stairs of one voxel).
    """
    sx, sy, _ = grid.spacing
    areas = shares.sum(axis=(1, 2))
    best = Axes(0.0, 0.0, int(areas.argmax()))
    for k in np.flatnonzero(areas >= SLICE_SHARE * areas.max()):
        long_mm, short_mm = _slice_axes(np.asarray(shares[k], dtype=np.float64), (sx, sy))
        if long_mm > best.long_mm:
            best = Axes(long_mm, short_mm, int(k))
    return best


def tracking_uid(*parts: str) -> str:
    """A UID that the same finding in a rerun gets again (UUID v5 as 2.25.x, PS3.5 B.2)."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, '|'.join(parts)).int}"
