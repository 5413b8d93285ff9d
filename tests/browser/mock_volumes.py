"""Arrays of the synthetic case: a chest of ellipsoids on CT and PET, and their geometry."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
NODULE = (60.0, -10.0, 12.0)
"""LPS mm of the nodule in the reference frame."""


def centred_affine(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Array:
    """Axis-aligned lattice centred on LPS 0."""
    nz, ny, nx = shape
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * s for n, s in zip((nx, ny, nz), spacing, strict=True)]
    return affine


def lps_points(shape: tuple[int, int, int], affine: Array) -> tuple[Array, Array, Array]:
    k, j, i = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij")
    rows = [affine[r, 0] * i + affine[r, 1] * j + affine[r, 2] * k + affine[r, 3] for r in range(3)]
    return rows[0], rows[1], rows[2]


def ball_of(
    at: tuple[Array, Array, Array], centre: tuple[float, ...], radii: tuple[float, ...]
) -> Array:
    return sum(((a - c) / r) ** 2 for a, c, r in zip(at, centre, radii, strict=True))


def rotation(degrees: float, shift: tuple[float, float, float]) -> Array:
    """Rigid 4x4: a turn about the head-feet axis, then a shift in mm."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = np.eye(4)
    matrix[:2, :2] = [[c, -s], [s, c]]
    matrix[:3, 3] = shift
    return matrix


def ct_volume(shape: tuple[int, int, int], affine: Array) -> Array:
    """A chest of ellipsoids in HU, int16."""
    at = lps_points(shape, affine)
    rng = np.random.default_rng(7)
    hu = np.full(shape, -1000.0, dtype=np.float32)
    body = ball_of(at, (0, 0, 0), (175, 115, 600))
    hu[body < 1] = -90
    hu[ball_of(at, (0, 2, 0), (160, 100, 600)) < 1] = 45
    for side in (-1, 1):
        lung = ball_of(at, (side * 72, -8, 10), (62, 78, 150)) < 1
        hu[lung] = -850
        vessels = (np.sin(at[0] / 7) * np.sin(at[1] / 9 + at[2] / 23) * np.sin(at[2] / 11)) > 0.62
        hu[lung & vessels] = -250
    hu[ball_of(at, (18, -28, -20), (48, 40, 60)) < 1] = 40
    hu[ball_of(at, (8, 30, 0), (13, 13, 600)) < 1] = 130
    hu[ball_of(at, (0, 70, 0), (20, 20, 600)) < 1] = 320
    hu[ball_of(at, (0, 70, 0), (8, 8, 600)) < 1] = 30
    shell = np.abs(np.sqrt(ball_of(at, (0, 2, 0), (150, 92, 600))) - 1) < 0.03
    hu[shell & (np.mod(at[2] + np.abs(at[0]) * 0.25, 24) < 9)] = 550
    hu[ball_of(at, NODULE, (11, 11, 11)) < 1] = 38
    hu += rng.normal(0, 12, shape).astype(np.float32)
    return np.clip(np.rint(hu), -1024, 3000).astype(np.int16)


def pet_volume(shape: tuple[int, int, int], affine: Array, matrix: Array) -> Array:
    """SUV x 1000 on its own grid and frame (``matrix`` carries it to the reference), int16."""
    at = lps_points(shape, matrix @ affine)
    suv = np.where(ball_of(at, (0, 2, 0), (160, 100, 600)) < 1, 0.8, 0.02).astype(np.float32)
    for side in (-1, 1):
        suv[ball_of(at, (side * 72, -8, 10), (62, 78, 150)) < 1] = 0.35
    heart = ball_of(at, (18, -28, -20), (44, 36, 52))
    suv[heart < 1] = 2.4
    suv += 9.0 * np.exp(-ball_of(at, NODULE, (11, 11, 11)))
    suv += np.random.default_rng(8).normal(0, 0.05, shape).astype(np.float32)
    return np.clip(np.rint(suv * 1000), 0, 32767).astype(np.int16)


def coarsen(array: Array, factors: tuple[int, int, int]) -> Array:
    """Block means, edges with what is left (labels are small here: maximum)."""
    fz, fy, fx = factors
    out = array.astype(np.float32)
    for axis, f in enumerate((fz, fy, fx)):
        starts = np.arange(0, array.shape[axis], f)
        if array.dtype == np.uint8:
            out = np.maximum.reduceat(out, starts, axis=axis)
        else:
            total = np.add.reduceat(out, starts, axis=axis)
            lengths = np.diff(np.append(starts, array.shape[axis]))
            out = total / lengths.reshape([-1 if a == axis else 1 for a in range(3)])
    return np.rint(out).astype(array.dtype)
