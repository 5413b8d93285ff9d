"""Values of one lattice at the voxels of another, block by block.

SimpleITK does the sampling, in voxel indices: so a sheared lattice (gantry tilt) is as good as any.
The rules, what stands outside and what labels need, are those of :mod:`analysis.resampling`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from analysis.deformation import Deformation
from analysis.geometry import FloatArray, Grid, Volume, itk_affine, level_grid

Mask = npt.NDArray[np.bool_]
Voxel = tuple[int, int, int]
"""(z, y, x)."""
Interpolation = Literal["linear", "nearest", "labels", "cubic"]

COARSER = 1.75
"""A target voxel that spans this many source voxels along an axis gets means of blocks of 2 (of 3
from 2.75 on, and so forth): every n-th voxel would be a noisy pick. Below, linear interpolation
itself averages enough."""
SLAB_VOXELS = 4_194_304
"""Target voxels made at a time."""
EDGE = 1e-6
"""Voxels by which the field of view is drawn in at its faces, so that rounding cannot count a
voxel as covered which the sampler takes for outside."""


def block_means(volume: Volume, factors: Voxel) -> Volume:
    """Means of whole blocks of (fz, fy, fx) voxels, float32, on :func:`level_grid`.

    Blocks at the far ends may be partial; theirs are the means of the voxels that are there.
    """
    (fz, fy, fx), (nz, ny, nx) = factors, volume.grid.shape
    rows, columns = np.arange(0, ny, fy), np.arange(0, nx, fx)
    area = np.outer(np.diff(np.append(rows, ny)), np.diff(np.append(columns, nx)))
    grid = level_grid(volume.grid, factors)
    means = np.empty(grid.shape, dtype=np.float32)
    for k, first in enumerate(range(0, nz, fz)):
        planes = volume.array[first : first + fz]
        total = planes.sum(axis=0, dtype=np.float64)
        blocks = np.add.reduceat(np.add.reduceat(total, rows), columns, axis=1)
        means[k] = blocks / (area * len(planes))
    return replace(volume, array=means, grid=grid)


@dataclass(frozen=True)
class Block:
    """A part of the target: voxels from ``start`` up to, not including, ``stop``."""

    start: Voxel
    stop: Voxel

    @property
    def region(self) -> tuple[slice, slice, slice]:
        z, y, x = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x

    @property
    def shape(self) -> Voxel:
        z, y, x = (b - a for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x

    def within(self, other: Block) -> tuple[slice, slice, slice]:
        """Its region in an array of ``other`` alone."""
        z, y, x = (
            slice(a - first, b - first)
            for a, b, first in zip(self.start, self.stop, other.start, strict=True)
        )
        return z, y, x

    def corners(self) -> FloatArray:
        """Its 8 outer voxel centres, (8, 3) as (i, j, k)."""
        ends = np.array([self.start, np.array(self.stop) - 1], dtype=np.float64)[:, ::-1]
        return np.asarray(ends[np.indices((2, 2, 2)).reshape(3, 8).T, np.arange(3)])


def slabs(shape: Voxel) -> Iterator[Block]:
    nz, ny, nx = shape
    planes = max(1, SLAB_VOXELS // (ny * nx))
    for first in range(0, nz, planes):
        yield Block((first, 0, 0), (min(nz, first + planes), ny, nx))


@dataclass(frozen=True, eq=False)
class Way:
    """From voxels of the target to voxels of a source, through LPS millimetres.

    ``pull`` is reference LPS -> source LPS, 4x4; with a ``deformation`` its inverted matrix.
    """

    target: Grid
    source: Grid
    pull: FloatArray
    deformation: Deformation | None
    averaged: bool = True

    def matrix(self) -> FloatArray:
        """4x4, target voxels -> source voxels, both (i, j, k, 1), apart from the deformation."""
        matrix = np.linalg.inv(self.source.affine) @ self.pull @ self.target.affine
        return np.asarray(matrix, dtype=np.float64)

    def factors(self) -> Voxel:
        """(fz, fy, fx): source voxels to average before sampling.

        Along each source axis as many as it takes to get one target voxel further: thick oblique
        slices do not blur what their own planes resolve.
        """
        if not self.averaged:
            return 1, 1, 1
        reach = 1 / np.linalg.norm(np.linalg.inv(self.matrix()[:3, :3]), axis=0)
        whole = np.floor(reach + (2 - COARSER) + 1e-9).astype(int)
        fx, fy, fz = np.clip(whole, 1, np.array(self.source.shape[::-1]))
        return int(fz), int(fy), int(fx)

    def transform(self, block: Block, source: Grid) -> sitk.Transform | None:
        """Target voxels of ``block`` -> voxels of ``source`` (a lattice in the source's LPS);
        None where the deformation answers for none of them."""
        into = np.linalg.inv(source.affine) @ self.pull
        if self.deformation is None:
            return itk_affine(into @ self.target.affine)
        nodes = self.deformation.grid
        to_nodes = np.linalg.inv(nodes.affine) @ self.target.affine
        part = touched(to_nodes, block, Block((0, 0, 0), nodes.shape))
        if part is None:
            return None
        # The field as steps between its own nodes: then its lattice may lie as it likes.
        turn = np.linalg.inv(nodes.affine[:3, :3]).T
        steps = self.deformation.displacement[part.region].astype(np.float64) @ turn
        image = sitk.GetImageFromArray(steps, isVector=True)
        image.SetOrigin([float(v) for v in part.start[::-1]])
        moved = sitk.DisplacementFieldTransform(image)
        return sitk.CompositeTransform(
            [itk_affine(into @ nodes.affine), moved, itk_affine(to_nodes)]
        )

    def covered(self, block: Block) -> Mask:
        """Which voxels of ``block`` lie in the field of view (and in the deformation's)."""
        transform = self.transform(block, self.source)
        if transform is None:
            return np.zeros(block.shape, dtype=bool)
        mask = _execute(_box_image(self.source.shape), transform, block, sitk.sitkNearestNeighbor)
        if self.deformation is not None:
            nodes = self.deformation.grid
            to_nodes = itk_affine(np.linalg.inv(nodes.affine) @ self.target.affine)
            known = _execute(_box_image(nodes.shape), to_nodes, block, sitk.sitkNearestNeighbor)
            return np.asarray((mask == 1) & (known == 1))
        return np.asarray(mask == 1)


def touched(matrix: npt.NDArray[np.floating], block: Block, other: Block) -> Block | None:
    """The voxels of ``other`` around those that ``matrix`` takes ``block`` to, one to spare."""
    places = (block.corners() @ matrix[:3, :3].T + matrix[:3, 3])[:, ::-1]
    low = np.maximum(np.floor(places.min(axis=0)).astype(int) - 1, other.start)
    high = np.minimum(np.ceil(places.max(axis=0)).astype(int) + 2, other.stop)
    return None if np.any(low >= high) else Block(voxel_of(low), voxel_of(high))


def voxel_of(zyx: npt.ArrayLike) -> Voxel:
    z, y, x = (int(n) for n in np.asarray(zyx))
    return z, y, x


def _box_image(shape: Voxel) -> sitk.Image:
    """One voxel as large as the field of view of a lattice, in its voxel indices: what ITK finds
    inside it is covered, without an image of ones as large as the source."""
    image = sitk.GetImageFromArray(np.ones((1, 1, 1), dtype=np.uint8))
    image.SetSpacing([n - 2 * EDGE for n in shape[::-1]])
    image.SetOrigin([(n - 1) / 2 for n in shape[::-1]])
    return image


def _execute(
    image: sitk.Image, transform: sitk.Transform, block: Block, interpolator: int
) -> npt.NDArray[np.generic]:
    """ITK's samples at the voxels of ``block``; zero outside. Real-valued ones come as float32."""
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize([int(n) for n in block.shape[::-1]])
    resampler.SetOutputOrigin([float(v) for v in block.start[::-1]])
    resampler.SetTransform(transform)
    resampler.SetInterpolator(interpolator)
    if interpolator != sitk.sitkNearestNeighbor:
        resampler.SetOutputPixelType(sitk.sitkFloat32)
    return np.asarray(sitk.GetArrayFromImage(resampler.Execute(image)))


@dataclass(frozen=True, eq=False)
class Source:
    """A volume as ITK samples it: averaged where the target is coarser, in voxel indices."""

    image: sitk.Image
    grid: Grid
    way: Way
    interpolator: int
    limits: tuple[float, float] | None = None

    def of(self, block: Block) -> npt.NDArray[np.generic]:
        """Values at the voxels of ``block``; those of voxels that are not covered mean nothing."""
        transform = self.way.transform(block, self.grid)
        if transform is None:
            return np.zeros(block.shape, dtype=np.float32)  # nothing is covered
        values = _execute(self.image, transform, block, self.interpolator)
        return values if self.limits is None else np.clip(values, *self.limits)


def averaged(volume: Volume, factors: Voxel, way: Way) -> Source:
    if factors != (1, 1, 1):
        volume = block_means(volume, factors)
    return Source(sitk.GetImageFromArray(volume.array), volume.grid, way, sitk.sitkLinear)


def source_of(volume: Volume, way: Way, interpolation: Interpolation) -> Source:
    if interpolation == "nearest":
        image = sitk.GetImageFromArray(volume.array)
        return Source(image, volume.grid, way, sitk.sitkNearestNeighbor)
    source = averaged(volume, way.factors(), way)
    if interpolation == "linear":
        return source
    if min(source.grid.shape) < 4:
        raise ValueError("cubic interpolation needs 4 voxels along each axis")
    low_high = sitk.MinimumMaximumImageFilter()
    low_high.Execute(source.image)
    spline = sitk.BSplineDecomposition(sitk.Cast(source.image, sitk.sitkFloat32), 3)
    return Source(
        spline,
        source.grid,
        way,
        sitk.sitkBSplineResamplerOrder3,
        (low_high.GetMinimum(), low_high.GetMaximum()),
    )
