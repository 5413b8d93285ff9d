"""SUV figures of a lesion, on the PET's own voxels.

Definitions: SUVmax is the highest voxel of the region; SUVpeak the highest mean in a 1 ml sphere
(r = 6.2035 mm, fractional voxel weights) centred on a voxel of the region (the variant
"maximised within the lesion"); SUVmean and the metabolic volume come from the 26-connected voxels
around the maximum at or above 41 % of it (EANM), kept inside the lesion's surroundings.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.ndimage as ndi

from analysis.contracts import Point
from analysis.findings.case import Layer, Mask
from analysis.findings.shape import (
    NEIGHBOURS_26,
    apply,
    as_point,
    distance_outside,
    invert,
    mask_points,
    points_box,
)
from analysis.geometry import Grid, Volume, subgrid
from analysis.resampling import resample

PEAK_RADIUS_MM = 6.2035
"""Radius of a sphere of 1 ml."""
GROW_SHARE = 0.41
MAX_WITHIN_MM = 4.0
"""The maximum is looked for in the lesion and this far around it: breathing between CT and PET,
and the PET's coarser voxels, move it."""
GROW_WITHIN_MM = 10.0
"""Growing stops this far from the lesion; the scanner's blur carries its signal about so far."""
OVERSAMPLING = 9
FAR_MM = 1e6
MIN_CONTRAST = 1.25
"""Growing needs 41 % of the maximum to lie this much above the surroundings."""


@dataclass(frozen=True)
class PetFigures:
    """SUV figures; ``mtv_ml`` is None when the lesion does not stand out from its surroundings,
    and ``suv_mean`` is then the mean of the anatomical region."""

    suv_max: float
    suv_max_position: Point
    """Reference LPS mm."""
    suv_peak: float | None
    """None when no full 1 ml sphere fits into the PET's field of view."""
    suv_mean: float
    mtv_ml: float | None
    evidence: dict[str, Any]


@cache
def _peak_weights(spacing: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    """Share of each voxel [z, y, x] inside a 1 ml sphere around the middle voxel, sum 1."""
    half = [int(np.ceil(PEAK_RADIUS_MM / s)) for s in spacing]
    offsets = (np.arange(OVERSAMPLING) + 0.5) / OVERSAMPLING - 0.5
    x, y, z = (
        (np.arange(-h, h + 1)[:, None] + offsets).ravel() * s
        for h, s in zip(half, spacing, strict=True)
    )
    squares = z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2
    inside = squares <= PEAK_RADIUS_MM**2
    nx, ny, nz = (2 * h + 1 for h in half)
    n = OVERSAMPLING
    shares = inside.reshape(nz, n, ny, n, nx, n).mean(axis=(1, 3, 5))
    return np.asarray(shares / shares.sum())


def suv_peak(pet: Volume, centres: Mask) -> tuple[float, tuple[int, int, int]] | None:
    """(highest 1 ml mean, its (z, y, x)) over spheres centred on ``centres`` and in the image."""
    sx, sy, sz = pet.grid.spacing
    weights = _peak_weights((round(sx, 4), round(sy, 4), round(sz, 4)))
    half = [n // 2 for n in weights.shape]
    where = np.argwhere(centres)
    fits = np.all((where >= half) & (where < np.asarray(centres.shape) - half), axis=1)
    where = where[fits]
    if where.size == 0:
        return None
    low = where.min(axis=0) - half
    high = where.max(axis=0) + np.asarray(half) + 1
    block = pet.array[low[0] : high[0], low[1] : high[1], low[2] : high[2]].astype(np.float64)
    means = ndi.correlate(block, weights, mode="nearest")
    values = means[tuple((where - low).T)]
    best = int(values.argmax())
    z, y, x = (int(v) for v in where[best])
    return float(values[best]), (z, y, x)


def grow(suv: npt.NDArray[np.floating], seed: tuple[int, int, int], within: Mask) -> Mask:
    """Voxels of ``within`` at or above 41 % of the seed's value, 26-connected to it."""
    labels, _ = ndi.label((suv >= GROW_SHARE * suv[seed]) & within, structure=NEIGHBOURS_26)
    return np.asarray(labels == labels[seed])


def distance_on_pet(mask: Mask, grid: Grid, pet: Layer, box_grid: Grid) -> npt.NDArray[np.float64]:
    """Distance in mm to a reference-space mask, sampled on a part of the PET's grid."""
    distance = distance_outside(mask, grid)
    known = Volume(distance.astype(np.float32), grid, "mm")
    moved, _ = resample(
        known, box_grid, matrix=invert(pet.matrix), fill=FAR_MM, averaged=False
    )
    return np.asarray(moved.array, dtype=np.float64)


def measure_pet(
    mask: Mask, grid: Grid, pet: Layer, *, growing: bool = True
) -> PetFigures | None:
    """SUV figures of the lesion ``mask`` on ``grid`` (reference space).

    ``grid`` has to reach ``GROW_WITHIN_MM`` beyond the mask. None when the lesion lies outside the
    PET's field of view. Without ``growing`` SUVmean is that of the mask: in the brain, 41 % of a
    tumour's maximum lies below normal grey matter.
    """
    points = apply(invert(pet.matrix), mask_points(mask, grid))
    margin = GROW_WITHIN_MM + PEAK_RADIUS_MM + 2 * max(pet.volume.grid.spacing)
    box = points_box(points, pet.volume.grid, margin)
    if box is None:
        return None
    (z0, y0, x0), (z1, y1, x1) = box
    part = Volume(
        pet.volume.array[z0:z1, y0:y1, x0:x1], subgrid(pet.volume.grid, *box), pet.volume.unit
    )
    distance = distance_on_pet(mask, grid, pet, part.grid)
    near = distance <= MAX_WITHIN_MM
    if not near.any():
        return None
    suv = np.asarray(part.array, dtype=np.float64)
    hottest = int(np.where(near, suv, -np.inf).argmax())
    z, y, x = (int(v) for v in np.unravel_index(hottest, suv.shape))
    around = distance <= GROW_WITHIN_MM
    return figures(part, pet, near, around, distance, (z, y, x), box[0], growing)


def figures(
    part: Volume,
    pet: Layer,
    near: Mask,
    around: Mask,
    distance: npt.NDArray[np.float64],
    top: tuple[int, int, int],
    start: tuple[int, int, int],
    growing: bool,
) -> PetFigures:
    """The figures of one region of a part of the PET; ``top`` is the hottest voxel's (z, y, x)."""
    suv = np.asarray(part.array, dtype=np.float64)
    suv_max = float(suv[top])
    rim = (distance > GROW_WITHIN_MM) & (distance < FAR_MM / 2)
    background = float(np.median(suv[rim])) if rim.any() else 0.0
    grown = grow(suv, top, around)
    distinct = growing and GROW_SHARE * suv_max >= MIN_CONTRAST * background
    inside = distance <= 0.5 * float(np.mean(part.grid.spacing))
    region = grown if distinct or not inside.any() else inside
    peak = suv_peak(part, near)
    z, y, x = top
    evidence: dict[str, Any] = {
        "pet_series": pet.uid,
        "suv_max_voxel_ijk": [x + start[2], y + start[1], z + start[0]],
        "suv_peak_variant": "maximised within the lesion, 1 ml sphere, fractional voxels",
        "suv_mean_region": "41 % of SUVmax, 26-connected" if distinct else "anatomical region",
        "threshold_suv": round(GROW_SHARE * suv_max, 4) if distinct else None,
        "background_suv": round(background, 4),
        "search_margin_mm": MAX_WITHIN_MM,
    }
    if peak is not None:
        pz, py, px = peak[1]
        evidence["suv_peak_voxel_ijk"] = [px + start[2], py + start[1], pz + start[0]]
    mtv = float(grown.sum()) * part.grid.voxel_volume_ml if distinct else None
    if growing:
        evidence["mtv_ml"] = None if mtv is None else round(mtv, 3)
    return PetFigures(
        suv_max=suv_max,
        suv_max_position=as_point(apply(pet.matrix, part.grid.to_lps((x, y, z)))),
        suv_peak=None if peak is None else peak[0],
        suv_mean=float(suv[region].mean()),
        mtv_ml=mtv,
        evidence=evidence,
    )
