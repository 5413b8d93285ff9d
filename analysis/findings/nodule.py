"""Refine a lung nodule on the native CT grid.

Half-maximum: the border lies midway between the nodule's own density and that of the lung around
it, so that neither window nor scanner blur shifts it. What touches the nodule is cut off: the
chest wall and mediastinum by the lung field (air closed by a ball, so that a nodule on the wall
stays in), vessels by an opening that only thinner structures fail.

The volume counts partial voxels in the border: each contributes its density's share between
lung and nodule. Counting whole voxels would round a 6 mm nodule by a third.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.ndimage as ndi

from analysis.findings.case import Mask
from analysis.findings.shape import (
    NEIGHBOURS_26,
    distance_inside,
    distance_outside,
    largest_overlap,
)
from analysis.geometry import Grid, Volume

AIR_HU = -500.0
CLOSING_MM = 12.0
"""Ball that closes the lung field; nodules on the wall up to about twice this are kept."""
REACH_MM = 8.0
"""The border is looked for this far around the network's candidate."""
BACKGROUND_MM = (3.0, 12.0)
"""Shell around the nodule whose lung voxels give the background."""
OPENING_SHARE = 0.45
"""Ball of the opening, as a share of the nodule's inscribed radius."""
OPENING_MM = (0.8, 4.0)
MIN_CONTRAST_HU = 100.0


@dataclass(frozen=True, eq=False)
class Nodule:
    """A refined nodule on the box it was measured in."""

    mask: Mask
    shares: npt.NDArray[np.float64]
    """Share of each voxel (0..1) that is nodule."""
    volume_ml: float
    nodule_hu: float
    background_hu: float
    threshold_hu: float
    opening_mm: float


def lung_field(hu: npt.NDArray[np.floating], grid: Grid) -> Mask:
    """Lung air closed by a ball: lung with its vessels and nodules, without wall and mediastinum.

    The box's faces are carried on, so that they close nothing by themselves.
    """
    air = hu < AIR_HU
    steps = [int(np.ceil(CLOSING_MM / s)) + 1 for s in grid.spacing[::-1]]
    padded = np.pad(air, [(n, n) for n in steps], mode="edge")
    dilated = distance_outside(padded, grid) <= CLOSING_MM
    closed = distance_inside(dilated, grid) > CLOSING_MM
    nz, ny, nx = steps
    z, y, x = air.shape
    field = closed[nz : nz + z, ny : ny + y, nx : nx + x] | air
    # A mass wider than the ball leaves a hole where its middle is; lung all around makes it ours.
    return np.asarray(ndi.binary_fill_holes(field))


def _densities(
    hu: npt.NDArray[np.floating], mask: Mask, field: Mask, grid: Grid
) -> tuple[float, float]:
    """(nodule, background) in HU: median of the nodule's inner half, median of lung around it."""
    depth = distance_inside(mask, grid)
    inner = depth >= 0.5 * depth.max()
    gap = distance_outside(mask, grid)
    shell = (gap > BACKGROUND_MM[0]) & (gap <= BACKGROUND_MM[1]) & field & (hu < AIR_HU)
    background = float(np.median(hu[shell])) if shell.any() else -850.0
    return float(np.median(hu[inner])), background


def _cut_off(mask: Mask, seed: Mask, grid: Grid) -> tuple[Mask, float]:
    """Open ``mask`` with a ball that suits its thickest place near ``seed``; keep that piece."""
    depth = distance_inside(mask, grid)
    radius = float(depth[seed & mask].max()) if (seed & mask).any() else float(depth.max())
    ball = float(np.clip(OPENING_SHARE * radius, *OPENING_MM))
    eroded = depth > ball
    if not eroded.any():
        return mask, 0.0
    core = _nearest_piece(eroded, seed, grid)
    half_voxel = 0.5 * min(grid.spacing)
    opened = mask & (distance_outside(core, grid) <= ball + half_voxel)
    return largest_overlap(opened, core), ball


def _nearest_piece(pieces: Mask, seed: Mask, grid: Grid) -> Mask:
    """The component that shares most voxels with ``seed``, else the one nearest to it."""
    best = largest_overlap(pieces, seed)
    if best.any():
        return best
    labels, _ = ndi.label(pieces, structure=NEIGHBOURS_26)
    gap = np.where(pieces, distance_outside(seed, grid), np.inf)
    return np.asarray(labels == labels[np.unravel_index(int(gap.argmin()), gap.shape)])


def _shares(
    hu: npt.NDArray[np.floating],
    mask: Mask,
    others: Mask,
    grid: Grid,
    nodule_hu: float,
    background_hu: float,
) -> npt.NDArray[np.float64]:
    """Voxel shares: 1 inside, the density's share in the border, 0 beyond and next to others."""
    border = 1.0 + 0.75 * max(grid.spacing)
    depth, gap = distance_inside(mask, grid), distance_outside(mask, grid)
    share = (hu - background_hu) / (nodule_hu - background_hu)
    result = np.where(depth > border, 1.0, np.clip(share, 0.0, 1.0))
    result[gap > border] = 0.0
    # Beside a cut-off structure the density says nothing about the nodule: whole voxels there.
    beside = distance_outside(others, grid) <= border
    result[beside] = mask[beside]
    return np.asarray(result, dtype=np.float64)


def refine(ct: Volume, candidate: Mask) -> Nodule | None:
    """The nodule that ``candidate`` (a mask on the grid of ``ct``, HU) points to.

    ``ct`` is a box that reaches at least 20 mm beyond the candidate. None when nothing dense
    enough stands out from the lung there.
    """
    hu = np.asarray(ct.array, dtype=np.float64)
    grid = ct.grid
    field = lung_field(hu, grid)
    reach = distance_outside(candidate, grid) <= REACH_MM
    allowed = reach & (field | candidate)
    background = -850.0
    inside_air = hu[field & (hu < AIR_HU)]
    if inside_air.size:
        background = float(np.median(inside_air))
    nodule = float(np.percentile(hu[candidate], 80))
    mask, ball, threshold = candidate, 0.0, 0.0
    for _ in range(3):  # densities and border settle together
        if nodule - background < MIN_CONTRAST_HU:
            return None
        threshold = 0.5 * (nodule + background)
        dense = (hu > threshold) & allowed
        mask, ball = _cut_off(largest_overlap(dense, candidate), candidate, grid)
        if not mask.any():
            return None
        nodule, background = _densities(hu, mask, field, grid)
    mask = np.asarray(ndi.binary_fill_holes(mask))
    others = (hu > threshold) & ~mask
    shares = _shares(hu, mask, others, grid, nodule, background)
    volume = float(shares.sum()) * grid.voxel_volume_ml
    mask = largest_overlap(shares >= 0.5, mask)
    return Nodule(mask, shares, volume, nodule, background, threshold, ball)
