"""Voxels in memory, lattices that lie anyhow, and answers by brute force over every voxel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from workstation.reading.measuring.lattices import Lattice

FloatArray = npt.NDArray[np.float64]


@dataclass
class ArrayVoxels:
    """An array [k, j, i] whose stored numbers are its values times two plus one."""

    array: FloatArray

    @property
    def shape(self) -> tuple[int, int, int]:
        nz, ny, nx = self.array.shape
        return nz, ny, nx

    def plane(self, k: int, rows: int, columns: int) -> FloatArray:
        return (self.array[k, :rows, :columns] - 1.0) / 2.0

    def physical(self, stored: FloatArray) -> FloatArray:
        return np.asarray(stored) * 2.0 + 1.0


def affine_of(
    spacing: tuple[float, float, float], turn: Rotation, origin: tuple[float, float, float]
) -> FloatArray:
    """(i, j, k) -> LPS mm."""
    affine = np.eye(4)
    affine[:3, :3] = turn.as_matrix() * np.array(spacing)
    affine[:3, 3] = origin
    return affine


def noise(shape: tuple[int, int, int] = (9, 24, 20), seed: int = 1) -> ArrayVoxels:
    return ArrayVoxels(np.random.default_rng(seed).normal(100.0, 40.0, shape).round(3))


def centres_of(lattice: Lattice) -> FloatArray:
    """(n, 3) reference LPS of every voxel, in C order of [k, j, i]."""
    nz, ny, nx = lattice.shape
    k, j, i = np.indices((nz, ny, nx)).reshape(3, -1)
    return lattice.placed[:3, :3] @ np.array([i, j, k]) + lattice.placed[:3, 3:]  # (3, n)


def brute_plane(
    lattice: Lattice, array: FloatArray, origin: FloatArray, normal: FloatArray
) -> tuple[npt.NDArray[np.bool_], FloatArray]:
    """Which voxels lie within half a slice of a plane (which has no voxel plane exactly between
    two), and all centres relative to its origin, (3, n)."""
    away = centres_of(lattice) - origin[:, None]
    normal = normal / np.linalg.norm(normal)
    spacing = 1 / np.abs(np.linalg.inv(lattice.placed)[:3, :3] @ normal).max()
    return np.abs(normal @ away) <= spacing / 2, away


def winds(corners: FloatArray, points: FloatArray) -> npt.NDArray[np.bool_]:
    """Points (n, 2) inside a polygon by the sum of the angles under which its sides are seen."""
    total = np.zeros(len(points))
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        u, v = a - points, b - points
        total += np.arctan2(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0], np.sum(u * v, axis=1))
    return np.abs(total) > np.pi
