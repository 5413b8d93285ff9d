"""Voxels of an uneven or tilted stack on an even, upright lattice."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.contracts import Notice
from analysis.geometry import FloatArray, Grid, Volume
from analysis.resampling import fill_of, resample
from analysis.volumes.stacking import Stack


def between_slices(array: npt.NDArray[np.generic], places: FloatArray) -> npt.NDArray[np.float32]:
    """[z, y, x] at fractional slice numbers, linear between the two neighbours, float32."""
    result = np.empty((len(places), *array.shape[1:]), dtype=np.float32)
    before = np.minimum(places.astype(int), len(array) - 2)
    for k, (first, share) in enumerate(zip(before, places - before, strict=True)):
        result[k] = array[first]
        if share > 0:
            result[k] *= np.float32(1 - share)
            result[k] += np.float32(share) * array[first + 1].astype(np.float32)
    return result


def upright_grid(grid: Grid) -> Grid:
    """The orthogonal lattice over a sheared one: each slice stays in its own plane, and the field
    of view grows so that nothing is cut off."""
    i, j, step = grid.affine[:3, 0], grid.affine[:3, 1], grid.affine[:3, 2]
    spacing_x, spacing_y, _ = grid.spacing
    normal = np.cross(i / spacing_x, j / spacing_y)
    per_slice = np.array([step @ i / spacing_x**2, step @ j / spacing_y**2])  # voxels (x, y)
    shifts = np.array([np.zeros(2), per_slice * (grid.shape[0] - 1)])
    low, high = np.floor(shifts.min(axis=0)), np.ceil(shifts.max(axis=0))
    affine = grid.affine.copy()
    affine[:3, 2] = normal * (step @ normal)
    affine[:3, 3] = grid.affine[:3, 3] + low[0] * i + low[1] * j
    nz, ny, nx = grid.shape
    return Grid((nz, ny + int(high[1] - low[1]), nx + int(high[0] - low[0])), affine)


def straightened(
    volume: Volume, stacked: Stack
) -> tuple[Volume, dict[str, Any], tuple[Notice, ...]]:
    """The decoded slices of a stack on an even, orthogonal lattice: (volume, evidence, notices).

    ``volume`` holds one plane for each instance of ``stacked``. It comes back as it is where the
    stack is even and upright. Else the result is float32, linear between voxels; of a tilted stack
    it is larger than what was scanned, and what was not scanned holds the declared fill of its
    unit.
    """
    how: list[str] = []
    evidence: dict[str, Any] = {}
    notices: list[Notice] = []
    if stacked.interpolated:
        volume = volume.with_array(between_slices(volume.array, stacked.places))
        how.append("interpolated between slices, linear")
    if stacked.tilt_degrees:
        volume, inside = resample(volume, upright_grid(stacked.grid))
        how.append("slices shifted within their planes, linear")
        evidence["tilt_degrees"] = round(stacked.tilt_degrees, 3)
        evidence["not_scanned"] = {
            "share": round(1 - float(inside.mean()), 4), "value": fill_of(volume.unit),
        }  # fmt: skip
        notices.append(
            Notice(
                "gantry_tilt",
                f"The slices are stacked at {stacked.tilt_degrees:.1f} degrees (gantry tilt); "
                "they were shifted within their planes to an upright volume.",
                "info",
            )
        )
    if how:
        evidence["resampled"] = "; ".join(how)
    return volume, evidence, tuple(notices)
