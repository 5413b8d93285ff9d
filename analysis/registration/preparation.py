"""From a volume to what registration needs: shrunken levels, a body mask, clean intensities."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from analysis.geometry import FloatArray, Grid, Volume
from analysis.hounsfield import HU_UNIT
from analysis.registration.lattice import Lattice
from analysis.registration.thresholds import CT_HU, CT_SHARES, LEVELS_MM

MASK_MARGIN_MM = 8.0
"""The mask is widened by this, so that the body's edge counts as image content."""

PET_SHARE = 0.05
"""Share of the 99.5th percentile above which PET counts as patient."""

CLOSING_MM = 10.0
"""Gaps in the thresholded body up to about this width are closed."""

FEW = 150_000
"""Values that percentiles are taken from: more would not move them."""

class NothingToCompare(ValueError):
    """A mask or the fields of view leave nothing; the message says so for people."""


Array = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Factors = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Level:
    """One resolution: float32 ``array`` [z, y, x] with air outside ``region`` levelled out.

    ``body`` is the patient without air around; ``region`` is the body widened by a margin.
    ``allowed`` is the caller's mask, if there is one: voxels outside it are never compared.
    """

    array: Array
    body: Mask
    region: Mask
    grid: Grid
    limits: tuple[float, float]
    """Intensity range that the histogram covers: robust minimum and maximum."""
    allowed: Mask | None = None

    @cached_property
    def lattice(self) -> Lattice:
        return Lattice(self.array, self.grid)

    @cached_property
    def body_lattice(self) -> Lattice:
        return Lattice(self.body.astype(np.float32), self.grid)

    @cached_property
    def allowed_lattice(self) -> Lattice | None:
        if self.allowed is None:
            return None
        return Lattice(self.allowed.astype(np.float32), self.grid)

    @cached_property
    def centroid(self) -> FloatArray:
        """LPS mm of the body's middle."""
        return np.asarray(self.body_points(20_000).mean(axis=0), dtype=np.float64)

    @property
    def body_ml(self) -> float:
        return float(self.body.sum()) * self.grid.voxel_volume_ml

    def body_points(self, limit: int) -> FloatArray:
        """At most ``limit`` body voxel centres, evenly picked, (n, 3) LPS mm."""
        flat = np.flatnonzero(self.body)
        flat = flat[:: max(1, len(flat) // limit)][:limit]
        k, j, i = np.unravel_index(flat, self.body.shape)
        return self.grid.to_lps(np.stack([i, j, k], axis=1))


@dataclass(frozen=True, eq=False)
class Pyramid:
    """The levels of one volume, coarsest first."""

    levels: tuple[Level, ...]
    largest_voxel_mm: float
    """Largest voxel dimension of the original volume."""
    extent_mm: float
    """Smallest side of the original field of view."""
    modality: str

    @property
    def coarse(self) -> Level:
        return self.levels[0]

    @property
    def middle(self) -> Level:
        return self.levels[len(self.levels) // 2]

    @property
    def fine(self) -> Level:
        return self.levels[-1]


def build_pyramid(volume: Volume, mask: Volume | None = None) -> Pyramid:
    """Levels of about 8, 4 and 2 mm; each axis is shrunk on its own, so that thick slices stay.

    ``mask`` (nonzero = look here; any grid in the volume's LPS) restricts what is compared.
    Raises ``NothingToCompare`` if it leaves nothing of the volume.
    """
    array, grid = shrunk(volume.array, volume.grid, LEVELS_MM[2])
    np.nan_to_num(array, copy=False)
    modality = kind_of(volume)
    # The outline needs no more than 4 mm, where it costs an eighth.
    rough, rough_grid = shrunk(array, grid, LEVELS_MM[1])
    body = body_mask(rough, rough_grid, modality)
    if modality == "CT":
        array, rough = _by_tissue(array), _by_tissue(rough)
    allowed = None
    if mask is not None:
        allowed = _sampled(mask, rough_grid)
        if not (body & allowed).any():
            raise NothingToCompare("the mask leaves nothing of the image")
        body &= allowed
    region = _grown(body, rough_grid, MASK_MARGIN_MM)
    limits = _limits(rough, body, modality)
    near = _repeated(_grown(region, rough_grid, 0.0), array.shape)
    np.clip(array, *limits, out=array)
    np.clip(rough, *limits, out=rough)
    if allowed is None and not region.all():
        # Table, head holder and noise around the patient must not pull on the result.
        air = float(np.median(rough[~region]))
        array[~near] = air
        rough[~region] = air
    if allowed is not None:
        region &= allowed

    def level(values: Array, at: Grid, b: Mask, r: Mask, a: Mask | None) -> Level:
        return Level(values, b, r, at, limits, a)

    def finer(given: Mask) -> Mask:
        return _repeated(given, array.shape)

    smooth = ndimage.gaussian_filter(rough, [0.25 * LEVELS_MM[0] / s for s in
                                             rough_grid.spacing[::-1]], truncate=2.0)
    coarse, coarse_grid = shrunk(smooth, rough_grid, LEVELS_MM[0])

    def coarser(given: Mask) -> Mask:
        return shrunk(given, rough_grid, LEVELS_MM[0])[0] >= 0.5

    fits = [None, None, None] if allowed is None else [coarser(allowed), allowed, finer(allowed)]
    levels = (
        level(coarse, coarse_grid, coarser(body), coarser(region), fits[0]),
        level(rough, rough_grid, body, region, fits[1]),
        level(array, grid, finer(body), finer(region), fits[2]),
    )
    spacing = np.array(volume.grid.spacing)
    size = np.array(volume.grid.shape[::-1]) * spacing
    return Pyramid(levels, float(spacing.max()), float(size.min()), modality)


def kind_of(volume: Volume) -> str:
    """The modality as registration sees it: whatever is in HU is CT."""
    return "CT" if volume.unit == HU_UNIT else volume.modality


def body_mask(array: Array, grid: Grid, modality: str) -> Mask:
    """The patient: bright connected tissue, closed and filled; everything if there is no air.

    CT has a physical threshold. PET takes a twentieth of its bright end,
    as hot organs would otherwise hide the rest of the body. Other images use Otsu on the square
    root, which separates air from the darkest tissue.
    """
    if modality == "CT" and float(array.min()) < -150.0:
        above = array > -150.0
    elif modality == "PT":
        above = array > PET_SHARE * float(np.percentile(array, 99.5))
    else:
        ceiling = float(np.percentile(array, 99.5))
        root = np.sqrt(np.clip(array - float(np.percentile(array, 0.5)), 0.0, max(ceiling, 1e-6)))
        above = root > _otsu(root)
    radius = np.array(grid.spacing[::-1])
    opened = ndimage.binary_opening(above, _ball(radius, 3.0))
    labels, count = ndimage.label(opened if opened.any() else above)
    if count > 1:
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        # Two legs or arms beside the trunk all belong to the patient.
        kept = np.flatnonzero(sizes >= 0.2 * sizes.max())
        body = np.isin(labels, kept)
    else:
        body = labels > 0
    body = _closed(body, grid)
    for plane in body:
        ndimage.binary_fill_holes(plane, output=plane)
    share = float(body.mean())
    if share > 0.9 or share < 0.01:
        return np.ones_like(body)
    return np.asarray(body, dtype=np.bool_)


def shrunk(
    array: npt.NDArray[np.generic], grid: Grid, target_mm: float
) -> tuple[Array, Grid]:
    """Means of whole blocks of voxels of about ``target_mm``, float32 (always a copy).

    Incomplete blocks at the far ends are left out.
    """
    factors = [
        min(max(1, round(target_mm / s)), n)
        for s, n in zip(grid.spacing[::-1], array.shape, strict=True)
    ]
    result: npt.NDArray[np.generic] = array
    for axis, factor in enumerate(factors):
        if factor == 1:
            continue
        count = result.shape[axis] // factor
        total: Array | None = None
        for start in range(factor):
            part = [slice(None)] * 3
            part[axis] = slice(start, count * factor, factor)
            if total is None:
                total = result[tuple(part)].astype(np.float32)
            else:
                np.add(total, result[tuple(part)], out=total, casting="unsafe")
        assert total is not None
        total *= np.float32(1 / factor)
        result = total
    scale = np.array(factors[::-1], dtype=np.float64)
    affine = grid.affine.copy()
    affine[:3, :3] = grid.affine[:3, :3] * scale
    affine[:3, 3] = grid.to_lps((scale - 1) / 2)
    nz, ny, nx = result.shape
    if result is array:
        result = array.astype(np.float32)
    return np.ascontiguousarray(result, dtype=np.float32), Grid((nz, ny, nx), affine)


def _by_tissue(hounsfield: Array) -> Array:
    """HU on a scale from 0 to 1 that gives soft tissue, a fifth of the range, most of the room."""
    result = np.zeros_like(hounsfield)
    for (low, high), (begin, end) in zip(pairwise(CT_HU), pairwise(CT_SHARES), strict=True):
        result += (np.clip(hounsfield, low, high) - low) * np.float32((end - begin) / (high - low))
    return result


def _repeated(mask: Mask, shape: tuple[int, ...]) -> Mask:
    """A mask of blocks on the finer grid that the blocks were made from."""
    for axis, count in enumerate(shape):
        factor = max(1, count // mask.shape[axis])
        mask = np.repeat(mask, factor, axis=axis)
        missing = count - mask.shape[axis]
        if missing > 0:
            widths = [(0, 0)] * 3
            widths[axis] = (0, missing)
            mask = np.pad(mask, widths, mode="edge")
    return np.ascontiguousarray(mask)


def _sampled(mask: Volume, grid: Grid) -> Mask:
    """The nearest value of ``mask`` at each voxel of ``grid``; outside the mask's box nothing."""
    lattice = Lattice(np.asarray(mask.array != 0, dtype=np.float32), mask.grid)
    points = grid.nodes().reshape(-1, 3)
    index = np.ascontiguousarray(mask.grid.to_index(points).T, dtype=np.float32)
    hit = lattice.inside(index) & (lattice.nearest(index) > 0.5)
    return np.asarray(hit.reshape(grid.shape), dtype=np.bool_)


def _limits(array: Array, body: Mask, modality: str) -> tuple[float, float]:
    if modality == "CT":
        low, high = float(array.min()), float(array.max())
        return low, high if high > low else low + 1.0
    inside = _some(array[body])
    low = float(min(np.percentile(inside, 0.5), np.percentile(_some(array.ravel()), 1.0)))
    high = float(np.percentile(inside, 99.5))
    return low, high if high > low else low + 1.0


def _some(values: Array) -> Array:
    return values[:: max(1, len(values) // FEW)]


def _otsu(values: npt.NDArray[np.float32]) -> float:
    counts, edges = np.histogram(values, bins=128)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    mean_below = np.cumsum(counts * middles) / np.maximum(below, 1)
    total = float((counts * middles).sum())
    mean_above = (total - np.cumsum(counts * middles)) / np.maximum(above, 1)
    between = below * above * (mean_below - mean_above) ** 2
    return float(middles[int(np.argmax(between))])


def _ball(spacing_zyx: FloatArray, radius_mm: float) -> npt.NDArray[np.bool_]:
    reach = np.floor(radius_mm / spacing_zyx).astype(int)
    axes = [np.arange(-r, r + 1) * s for r, s in zip(reach, spacing_zyx, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return np.asarray(z**2 + y**2 + x**2 <= radius_mm**2, dtype=np.bool_)


def _closed(mask: Mask, grid: Grid) -> Mask:
    """Gaps up to ``CLOSING_MM`` closed, box by box: a tenth of the time of a ball's."""
    grown = _grown(mask, grid, CLOSING_MM / 2)
    # Beyond the field of view the patient goes on: do not erode from the volume's border.
    return np.asarray(mask | ~_grown(~grown, grid, CLOSING_MM / 2), dtype=np.bool_)


def _grown(mask: Mask, grid: Grid, margin_mm: float) -> Mask:
    """The mask widened by ``margin_mm`` along each axis."""
    result = mask.astype(np.uint8)
    for axis, spacing in enumerate(grid.spacing[::-1]):
        reach = round(margin_mm / spacing)
        if reach:
            result = ndimage.maximum_filter1d(result, 2 * reach + 1, axis, mode="nearest")
    return np.asarray(result > 0, dtype=np.bool_)
