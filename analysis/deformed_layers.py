"""A deformed image as a layer of its own: resampled once, on a lattice of the reference space.

A rigid or affine alignment needs none: the browser draws the image through the matrix.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from analysis.contracts import VolumeRecord
from analysis.deformation import Deformation
from analysis.geometry import FloatArray, Grid, Volume
from analysis.resampling import fill_of, resample
from analysis.volume_store import write_volume

MOST_VOXELS = 100_000_000
"""Of a deformed layer (200 MB as int16); a larger lattice is made coarser, and says so."""


def write_deformed(
    path: Path,
    moving: Volume,
    record: VolumeRecord,
    deformation: Deformation,
    *,
    reference: Grid,
    frame_of_reference_uid: str,
    run_dir: Path,
    key: str,
) -> VolumeRecord:
    """Draw ``moving`` (stored as ``record``) through ``deformation`` and store it at ``path``.

    The lattice is :func:`layer_grid`'s; ``frame_of_reference_uid`` is the reference's. Voxels
    outside the image hold the declared value that ``source`` names, with their share.
    """
    grid = layer_grid(reference, moving.grid, deformation)
    volume, inside = resample(moving, grid, deformation=deformation, interpolation="linear")
    drawn = write_volume(
        path,
        volume,
        run_dir=run_dir,
        key=key,
        label=f"{record.label} deformed",
        role=record.role,
        frame_of_reference_uid=frame_of_reference_uid,
        window=record.window,
        source={
            "deformed_from": record.key,
            "interpolation": "linear",
            "outside_value": fill_of(volume.unit),
            "outside_share": round(1.0 - float(inside.mean()), 4),
            "spacing_mm": [round(v, 3) for v in grid.spacing],
        },
        synthetic=record.synthetic,
        lossy=record.lossy,
    )
    # An earlier study stays one: it is not drawn over today's images unasked.
    return replace(drawn, prior=record.prior, study_date=record.study_date)


def layer_grid(reference: Grid, moving: Grid, deformation: Deformation) -> Grid:
    """A lattice along the reference's axes with the moving image's resolution, over the part of the
    reference's box that the deformed image can reach.

    Along each reference axis the voxels are as large as the moving image's in that direction, at
    least so large that the whole has at most ``MOST_VOXELS``.
    """
    push = np.asarray(deformation.matrix, dtype=np.float64)
    pull = np.linalg.inv(push)
    # One mm along a reference axis, in voxels of the moving image.
    per_mm = np.linalg.inv(moving.affine[:3, :3]) @ pull[:3, :3] @ reference.direction
    spacing = 1.0 / np.linalg.norm(per_mm, axis=0)
    reach = float(np.abs(deformation.displacement).max())
    low, high = _reached(reference, moving, push, reach)
    size = (high - low) * np.array(reference.spacing)
    voxels = float(np.prod(size / spacing))
    spacing *= max(1.0, voxels / MOST_VOXELS) ** (1 / 3)
    count = np.maximum(1, np.ceil(size / spacing - 1e-6)).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = reference.direction * spacing
    affine[:3, 3] = reference.to_lps(low) + reference.direction @ (spacing / 2)
    return Grid((int(count[2]), int(count[1]), int(count[0])), affine)


def _reached(
    reference: Grid, moving: Grid, push: FloatArray, reach_mm: float
) -> tuple[FloatArray, FloatArray]:
    """Edges (i, j, k) in reference indices of the box around the moving image, widened by the
    largest displacement and cut to the reference's own box."""
    ends = np.array(moving.shape[::-1]) - 0.5
    corners = np.array(
        [[(ends[axis] if bit >> axis & 1 else -0.5) for axis in range(3)] for bit in range(8)]
    )
    lps = moving.to_lps(corners) @ push[:3, :3].T + push[:3, 3]
    index = reference.to_index(lps)
    margin = reach_mm / np.array(reference.spacing)
    edge = np.array(reference.shape[::-1]) - 0.5
    low = np.clip(index.min(axis=0) - margin, -0.5, edge)
    high = np.clip(index.max(axis=0) + margin, -0.5, edge)
    if np.any(high <= low):  # nothing in common: the whole box, all of it marked as outside
        return np.full(3, -0.5), edge
    return low, high
