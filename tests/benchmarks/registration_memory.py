"""Peak memory of a large pair: ``python -m tests.benchmarks.registration_memory``

A synthetic thorax on 512x512x600 voxels (CT, int16) against one on 400x400x400 (float32), the
moving one turned by 8 degrees and shifted by 25 mm. Prints seconds, error and peak memory of the
whole process, the two arrays (0.56 GB) included. ``--deformable`` bends after it.
"""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from analysis.geometry import Grid, Volume, as_matrix
from analysis.phantoms.thorax import make_thorax
from analysis.registration import register_series
from analysis.registration.deformable import deform_series
from analysis.registration.rigid import distances, invert, rigid
from analysis.resampling import resample

LIMIT_GB = 4.0


def main() -> int:
    phantom = make_thorax(1, spacing_mm=(3.0, 3.0, 3.0))
    ct, pet = phantom.reference.volume, phantom.series["PET"].volume
    reference = large(ct, (600, 512, 512))
    reference = reference.with_array(reference.array.astype(np.int16))
    moving = large(pet, (400, 400, 400))
    motion = rigid(
        Rotation.from_rotvec(np.radians(8) * np.array([0.6, 0.64, 0.48])),
        np.array([15.0, -12.0, 16.0]), moving.grid.centre,
    )
    moving = Volume(
        moving.array, Grid(moving.grid.shape, motion @ moving.grid.affine), moving.unit, "PT"
    )
    before = peak_gb()
    wall, cpu = time.perf_counter(), time.process_time()
    record = register_series(
        moving, reference, moving_uid="m", reference_uid="r", same_frame=False, seed=1, threads=2
    )
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    truth = np.array(phantom.series["PET"].to_reference) @ invert(motion)
    i, j, k = np.meshgrid(*(np.linspace(0.2, 0.8, 5) * n for n in moving.grid.shape[::-1]))
    points = moving.grid.to_lps(np.stack([i.ravel(), j.ravel(), k.ravel()], axis=1))
    found = np.array(record.parameters.get("rejected_matrix", record.matrix))
    error = distances(found, truth, points).mean()
    print(f"512x512x600 int16 with 400x400x400 float32: {record.verdict}, error {error:.2f} mm, "
          f"{wall:.1f} s wall, {cpu:.1f} s CPU, peak {peak_gb():.2f} GB "
          f"({before:.2f} GB before registration, phantom included)")
    if "--deformable" in sys.argv[1:]:
        matrix = record.parameters.get("rejected_matrix", record.matrix)
        start = replace(record, matrix=as_matrix(matrix), state="registered", verdict="usable")
        wall, cpu = time.perf_counter(), time.process_time()
        bent, field = deform_series(moving, reference, start, seed=1, threads=2)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(f"bent: {bent.model} {bent.verdict}, {field.grid.shape} nodes, {wall:.1f} s wall, "
              f"{cpu:.1f} s CPU, peak {peak_gb():.2f} GB")
    return 0 if peak_gb() < LIMIT_GB and error < 4.0 else 1


def large(volume: Volume, shape: tuple[int, int, int]) -> Volume:
    """The same box on ``shape`` voxels."""
    scale = np.array(volume.grid.shape[::-1]) / np.array(shape[::-1])
    affine = volume.grid.affine.copy()
    affine[:3, :3] = affine[:3, :3] * scale
    affine[:3, 3] = volume.grid.to_lps((scale - 1) / 2)
    resampled, _ = resample(volume, Grid(shape, affine), interpolation="linear")
    return resampled


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    sys.exit(main())
