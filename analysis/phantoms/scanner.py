"""How a scanner sees the object: resolution and noise of CT, PET and MR."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from analysis.geometry import Grid
from analysis.phantoms.canvas import Array

FWHM_TO_SIGMA = 1.0 / 2.354820045


def _blur_weights(
    source: npt.NDArray[np.float64], target: npt.NDArray[np.float64], sigma: float
) -> Array:
    """(target, source) weights of a Gaussian; rows sum to 1 (the object goes on past the edge)."""
    gap = target[:, None] - source[None, :]
    weights = np.exp(-0.5 * (gap / sigma) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def pet_view(activity: Array, grid: Grid, target: Grid, fwhm_mm: float) -> Array:
    """Noise-free PET of an object on an axial grid, seen on another axial grid.

    The point spread is a Gaussian of ``fwhm_mm`` between true and imaged activity. The object's
    voxels have averaged over their own width already, which is taken off the blur, so that the
    resolution does not depend on the grid the object was painted on.
    """
    out = activity
    for axis in range(3):  # x, y, z
        n_in, n_out = grid.shape[2 - axis], target.shape[2 - axis]
        here = grid.affine[axis, 3] + grid.spacing[axis] * np.arange(n_in)
        there = target.affine[axis, 3] + target.spacing[axis] * np.arange(n_out)
        variance = (fwhm_mm * FWHM_TO_SIGMA) ** 2 - grid.spacing[axis] ** 2 / 12
        sigma = float(np.sqrt(max(variance, (0.4 * grid.spacing[axis]) ** 2)))
        weights = _blur_weights(here, there, sigma)
        moved = np.moveaxis(out, 2 - axis, 0)
        flat = weights @ np.ascontiguousarray(moved).reshape(n_in, -1)
        out = np.moveaxis(flat.reshape(n_out, *moved.shape[1:]), 0, 2 - axis)
    return np.ascontiguousarray(out, dtype=np.float32)


def _correlated(
    rng: np.random.Generator, shape: tuple[int, ...], sigma: tuple[float, ...]
) -> Array:
    noise = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, mode="wrap")
    return np.asarray(noise / noise.std(), dtype=np.float32)


def pet_noise(
    rng: np.random.Generator, clean: Array, grid: Grid, level: float, typical: float
) -> Array:
    """Reconstruction noise: correlated over about 4.5 mm, its SD grows with the root of the
    activity, ``level`` is SD over mean at an uptake of ``typical``. Never below zero."""
    sigma = tuple(4.5 * FWHM_TO_SIGMA / s for s in reversed(grid.spacing))
    noise = _correlated(rng, clean.shape, sigma)
    spread = level * np.sqrt(np.maximum(clean, 0.02 * typical) * typical)
    return np.maximum(clean + spread * noise, 0).astype(np.float32)


def ct_view(hu: Array, grid: Grid, sigma_mm: float) -> Array:
    """Reconstruction blur in the plane and along z on top of the voxels' own averaging."""
    sigma = tuple(sigma_mm / s for s in reversed(grid.spacing))
    if max(sigma) < 0.15:
        return hu.copy()
    return np.asarray(gaussian_filter(hu, sigma, mode="nearest"), dtype=np.float32)


def ct_noise(rng: np.random.Generator, clean: Array, grid: Grid, sd_hu: float) -> Array:
    """Quantum noise: ``sd_hu`` in soft tissue for a voxel of 4 mm3, less in larger voxels and in
    lung, correlated over about a pixel in the plane; rounded to whole HU."""
    scale = float(np.clip(np.sqrt(4.0 / (grid.voxel_volume_ml * 1000)), 0.3, 1.3))
    noise = _correlated(rng, clean.shape, (0.35, 0.55, 0.55))
    dense = np.clip((clean + 1000) / 1000, 0, 1)
    noisy = clean + noise * np.float32(sd_hu * scale) * (0.45 + 0.55 * dense)
    return np.maximum(np.rint(noisy), -1024).astype(np.float32)


def mr_noise(rng: np.random.Generator, clean: Array, sd: float) -> Array:
    """Rician noise: the magnitude of a complex signal with Gaussian noise in both parts."""
    real = clean + np.float32(sd) * rng.standard_normal(clean.shape, dtype=np.float32)
    other = np.float32(sd) * rng.standard_normal(clean.shape, dtype=np.float32)
    return np.asarray(np.hypot(real, other), dtype=np.float32)
