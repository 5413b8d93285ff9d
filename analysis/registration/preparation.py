"""From a volume to what registration needs: shrunken levels, a body mask, clean intensities."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from analysis.geometry import FloatArray, Grid, Volume, grid_of, to_sitk
from analysis.registration.thresholds import CT_WINDOW, LEVELS_MM

BINS = 32
"""Histogram bins of the figures in :mod:`similarity`. ITK's metric uses 50."""

MASK_MARGIN_MM = 8.0
"""The mask is widened by this, so that the body's edge counts as image content."""

PET_SHARE = 0.05
"""Share of the 99.5th percentile above which PET counts as patient."""

CLOSING_MM = 10.0
"""Gaps in the thresholded body up to about this width are closed."""


@dataclass(frozen=True, eq=False)
class Level:
    """One resolution: float32 ``array`` [z, y, x] with air outside ``region`` levelled out.

    ``body`` is the patient without air around; ``region`` is the body widened by a margin.
    """

    array: npt.NDArray[np.float32]
    body: npt.NDArray[np.bool_]
    region: npt.NDArray[np.bool_]
    grid: Grid
    limits: tuple[float, float]
    """Intensity range that the histogram covers: robust minimum and maximum."""

    @cached_property
    def image(self) -> sitk.Image:
        return _wrap(self.array, self.grid)

    @cached_property
    def region_image(self) -> sitk.Image:
        return _wrap(self.region.astype(np.uint8), self.grid)

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


def build_pyramid(volume: Volume) -> Pyramid:
    """Levels of about 8, 4 and 2 mm; each axis is shrunk on its own, so that thick slices stay.

    The full-resolution copy is dropped as soon as the finest level exists (memory).
    """
    finest = _shrunk(to_sitk(_plain(volume)), LEVELS_MM[-1])
    if volume.modality == "CT" or volume.unit == "[hnsf'U]":
        finest = sitk.Clamp(finest, sitk.sitkFloat32, *CT_WINDOW)
    array = np.nan_to_num(sitk.GetArrayFromImage(finest), copy=False)
    grid = grid_of(finest)
    # The outline needs no more than 4 mm, where it costs an eighth.
    rough = _shrunk(finest, LEVELS_MM[1])
    outline = body_mask(sitk.GetArrayFromImage(rough), grid_of(rough), volume.modality)
    body = _at(outline, grid_of(rough), grid)
    region = _at(_widened(outline, grid_of(rough), MASK_MARGIN_MM), grid_of(rough), grid)
    limits = _limits(array, body, volume.modality)
    array = np.clip(array, *limits)
    if not region.all():
        # Table, head holder and noise around the patient must not pull on the result.
        array[~region] = np.median(array[~region])
    top = Level(array, body, region, grid, limits)
    levels = [top]
    for target in LEVELS_MM[-2::-1]:
        levels.insert(0, _coarser(top, target))
    spacing = np.array(volume.grid.spacing)
    size = np.array(volume.grid.shape[::-1]) * spacing
    return Pyramid(tuple(levels), float(spacing.max()), float(size.min()), volume.modality)


def body_mask(
    array: npt.NDArray[np.float32], grid: Grid, modality: str
) -> npt.NDArray[np.bool_]:
    """The patient: bright connected tissue, closed and filled; everything if there is no air.

    CT has a physical threshold, just above the clamp. PET takes a twentieth of its bright end,
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


def _plain(volume: Volume) -> Volume:
    """Types that SimpleITK cannot shrink (bool, float64 for memory) become float32."""
    if volume.array.dtype.kind in "iu" and volume.array.dtype.itemsize <= 2:
        return volume
    return volume.with_array(np.asarray(volume.array, dtype=np.float32))


def _shrunk(image: sitk.Image, target_mm: float) -> sitk.Image:
    factors = [max(1, round(target_mm / s)) for s in image.GetSpacing()]
    factors = [min(f, n) for f, n in zip(factors, image.GetSize(), strict=True)]
    return sitk.Cast(sitk.BinShrink(image, factors), sitk.sitkFloat32)


def _coarser(top: Level, target_mm: float) -> Level:
    smoothed = sitk.SmoothingRecursiveGaussian(top.image, target_mm / 4)
    shrunk = _shrunk(smoothed, target_mm)
    array = sitk.GetArrayFromImage(shrunk)

    def half(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        share = sitk.GetArrayFromImage(_shrunk(_wrap(mask.astype(np.float32), top.grid), target_mm))
        return np.asarray(share >= 0.5, dtype=np.bool_)

    return Level(array, half(top.body), half(top.region), grid_of(shrunk), top.limits)


def _at(mask: npt.NDArray[np.bool_], source: Grid, target: Grid) -> npt.NDArray[np.bool_]:
    """A mask on a finer grid over the same box, its outline interpolated."""
    pattern = _wrap(np.zeros(target.shape, dtype=np.uint8), target)
    filter_ = sitk.ResampleImageFilter()
    filter_.SetReferenceImage(pattern)
    filter_.SetInterpolator(sitk.sitkLinear)
    # The finer grid's outer centres lie beyond the coarser one's: take the edge's value there.
    filter_.SetUseNearestNeighborExtrapolator(True)
    shares = filter_.Execute(_wrap(mask.astype(np.float32), source))
    return np.asarray(sitk.GetArrayFromImage(shares) > 0.5, dtype=np.bool_)


def _wrap(array: npt.NDArray[np.generic], grid: Grid) -> sitk.Image:
    return to_sitk(Volume(array, grid, "1"))


def _limits(
    array: npt.NDArray[np.float32], body: npt.NDArray[np.bool_], modality: str
) -> tuple[float, float]:
    if modality == "CT":
        return max(CT_WINDOW[0], float(array.min())), min(CT_WINDOW[1], float(array.max()))
    inside = array[body]
    low = float(min(np.percentile(inside, 0.5), np.percentile(array, 1.0)))
    high = float(np.percentile(inside, 99.5))
    return low, high if high > low else low + 1.0


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


def _closed(mask: npt.NDArray[np.bool_], grid: Grid) -> npt.NDArray[np.bool_]:
    sampling = grid.spacing[::-1]
    grown = ndimage.distance_transform_edt(~mask, sampling=sampling) <= CLOSING_MM
    # Beyond the field of view the patient goes on: do not erode from the volume's border.
    padded = np.pad(grown, 1, mode="edge")
    inner = ndimage.distance_transform_edt(padded, sampling=sampling)[1:-1, 1:-1, 1:-1]
    return np.asarray(mask | (inner > CLOSING_MM), dtype=np.bool_)


def _widened(
    mask: npt.NDArray[np.bool_], grid: Grid, margin_mm: float
) -> npt.NDArray[np.bool_]:
    distance = ndimage.distance_transform_edt(~mask, sampling=grid.spacing[::-1])
    return np.asarray(distance <= margin_mm, dtype=np.bool_)
