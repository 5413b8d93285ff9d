"""A reader's "refine from here": one series registered again from an alignment that is given.

Outside the steps of a run, and never over what a run computed: its files lie in a folder of their
own, and whether the result is used is the reader's decision.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from analysis.contracts import RefineRequest, RefineResult, VolumeRecord, to_json
from analysis.deformation import Deformation
from analysis.errors import InputRefused
from analysis.geometry import FloatArray, Grid, Volume
from analysis.registration import register_series
from analysis.registration.deformable import (
    DEFORMABLE_VERSION,
    METHOD,
    deform_series,
    stored,
)
from analysis.resampling import fill_of, resample
from analysis.volume_store import read_volume, write_volume

Progress = Callable[[float, str], None]

RESULT = "result.json"
FIELD = "field.npz"
NO_GAIN = "the images match no better bent than unbent"
DEFORMING = 0.9
"""Share of the progress until the deformed volume is resampled."""
MOST_VOXELS = 100_000_000
"""Of a deformed layer (200 MB as int16); a larger lattice is made coarser, and says so."""


def refine(request: RefineRequest, progress: Progress) -> RefineResult:
    """Do it, store ``result.json`` last and atomically, and return it.

    Started again, it begins with an empty folder. Raises :class:`analysis.errors.AnalysisError`; a
    registration that cannot be trusted is no error but a record with the verdict ``refused``.
    """
    run_dir = Path(request.run_dir)
    folder = run_dir / request.folder
    (folder / RESULT).unlink(missing_ok=True)  # first: a half-done result must not look done
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    progress(0.0, "Reading the volumes")
    moving = read_volume(run_dir, request.moving)
    reference = read_volume(run_dir, request.reference)
    if request.model == "deformable":
        result = _deform(request, moving, reference, folder, progress)
    else:
        record = register_series(
            moving,
            reference,
            moving_uid=request.moving.series_instance_uid,
            reference_uid=request.reference.series_instance_uid,
            same_frame=False,  # the reader asks for the alignment to be moved, same frame or not
            seed=request.seed,
            threads=request.threads,
            progress=progress,
            model=request.model,
            start=request.start.matrix,
        )
        result = RefineResult(record)
    partial = folder / f"{RESULT}.partial"
    with partial.open("wb") as file:
        file.write(to_json(result))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / RESULT)
    progress(1.0, "Done")
    return result


def _deform(
    request: RefineRequest, moving: Volume, reference: Volume, folder: Path, progress: Progress
) -> RefineResult:
    try:
        record, deformation = deform_series(
            moving,
            reference,
            request.start,
            seed=request.seed,
            threads=request.threads,
            device=request.device,
            progress=lambda share, text: progress(DEFORMING * share, text),
        )
    except ValueError as error:
        raise InputRefused("nothing_to_compare", f"Not deformed: {error}.") from error
    if record.model != "deformable":
        # The start as it came: there is nothing new that could be accepted.
        nothing = replace(
            record, verdict="refused", state="not_registered", method=METHOD,
            version=DEFORMABLE_VERSION, reasons=(NO_GAIN,), model="deformable",
        )  # fmt: skip
        return RefineResult(nothing)
    if record.verdict == "refused":
        return RefineResult(record)
    progress(DEFORMING, "Drawing the deformed image")
    record = stored(record, deformation, Path(request.run_dir), folder / FIELD)
    deformed = _deformed_layer(request, moving, reference.grid, deformation, folder)
    return RefineResult(record, deformed)


def _deformed_layer(
    request: RefineRequest,
    moving: Volume,
    reference: Grid,
    deformation: Deformation,
    folder: Path,
) -> VolumeRecord:
    grid = layer_grid(reference, moving.grid, deformation)
    volume, inside = resample(moving, grid, deformation=deformation, interpolation="linear")
    record = request.moving
    return write_volume(
        folder / "deformed.rfv",
        volume,
        run_dir=Path(request.run_dir),
        key=f"deformed-{Path(request.folder).name}",
        label=f"{record.label} deformed",
        role=record.role,
        frame_of_reference_uid=request.reference.frame_of_reference_uid,
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
