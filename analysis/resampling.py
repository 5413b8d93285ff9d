"""The one piece that puts a volume on another grid: for display, for networks, for measuring.

Three rules hold for every use. Nothing leaves its field of view silently: beside the volume comes
a mask of the voxels that the source covers, and the others hold a declared fill value, not a
chance zero. Nothing aliases: a source that is much finer than the target is first averaged over
whole blocks of voxels. Labels are never mixed: the label with the largest share of a voxel wins.

Done slab by slab along z, so memory beyond source and result is bounded by one slab.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analysis.contracts import Matrix
from analysis.deformation import Deformation
from analysis.geometry import Grid, Volume
from analysis.hounsfield import AIR_HU, HU_UNIT
from analysis.label_sampling import Labels
from analysis.sampling import Interpolation, Mask, Source, Way, slabs, source_of

FILL: dict[str, float] = {HU_UNIT: AIR_HU}
"""What stands outside the field of view, by unit: air for CT. Any other unit has ``FILL_ELSE``."""
FILL_ELSE = 0.0
"""No uptake (SUV, Bq/ml), no signal (MR), no probability, no label."""


def fill_of(unit: str) -> float:
    """The declared value outside the field of view of a volume in ``unit`` (UCUM)."""
    return FILL.get(unit, FILL_ELSE)


def resample(
    volume: Volume,
    grid: Grid,
    *,
    matrix: Matrix | None = None,
    deformation: Deformation | None = None,
    interpolation: Interpolation = "linear",
    fill: float | None = None,
    averaged: bool = True,
) -> tuple[Volume, Mask]:
    """The volume on ``grid``, and which voxels of ``grid`` lie in the volume's field of view.

    ``matrix`` maps the volume's LPS to the LPS of ``grid`` (moving -> reference; default: they are
    the same). A ``deformation`` holds its own matrix and stands in its place; where it has no
    answer, nothing is covered. The field of view ends at the outer faces of the outer voxels.

    ``linear`` and ``cubic`` give float32; ``cubic`` (B-spline) stays within the source's range, so
    that no uptake is negative and no maximum made up. ``nearest`` and ``labels`` keep the type:
    ``nearest`` picks; ``labels`` (whole numbers from 0) gives a voxel the label with the largest
    linearly interpolated share of it, background included, and a label that would vanish so keeps
    its best voxels, as many as make up its volume.

    ``fill`` is the value outside, by default :func:`fill_of` the unit. ``averaged=False`` takes the
    values at the voxels' middles even on a much coarser grid: for distances and the like, which
    are smooth and exact. Raises ``ValueError`` for a
    matrix beside a deformation, labels that are none, a fill that the type cannot hold, and
    ``cubic`` with fewer than 4 voxels along an axis.
    """
    if deformation is not None and matrix is not None:
        raise ValueError("a deformation holds its own matrix")
    if deformation is not None:
        matrix = deformation.matrix
    push = np.eye(4) if matrix is None else np.asarray(matrix, dtype=np.float64)
    pull = np.asarray(np.linalg.inv(push), dtype=np.float64)
    way = Way(grid, volume.grid, pull, deformation, averaged)
    outside = fill_of(volume.unit) if fill is None else fill
    kind = volume.array.dtype
    array = volume.array.view(np.uint8) if kind == np.bool_ else volume.array
    keeps_type = interpolation in ("nearest", "labels")
    result = np.empty(grid.shape, dtype=array.dtype if keeps_type else np.float32)
    if keeps_type and np.asarray(outside).astype(result.dtype) != outside:
        raise ValueError(f"{outside} cannot stand for outside in voxels of type {result.dtype}")
    inside = np.empty(grid.shape, dtype=bool)
    source: Source | Labels
    if interpolation == "labels":
        source = Labels(array, way)
    else:
        source = source_of(volume.with_array(array), way, interpolation)
    for block in slabs(grid.shape):
        covered = inside[block.region] = way.covered(block)
        values = source.of(block, covered) if isinstance(source, Labels) else source.of(block)
        result[block.region] = np.where(covered, values, result.dtype.type(outside))
    if isinstance(source, Labels):
        source.rescue(result)
    if keeps_type and kind == np.bool_:
        result = result.view(np.bool_)
    return replace(volume, array=result, grid=grid), inside
