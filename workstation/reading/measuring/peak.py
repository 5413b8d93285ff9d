"""SUVpeak: the highest mean over a sphere of 1 ml."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft

from workstation.reading.measuring import FloatArray, IntArray
from workstation.reading.measuring.lattices import Lattice, Voxels, block

RADIUS_MM = 6.2035
"""Radius of a sphere of 1 ml."""
OVERSAMPLING = 9
"""Points per voxel edge for a voxel's share in the sphere."""


@dataclass(frozen=True)
class Peak:
    value: float
    voxel: tuple[int, int, int]
    """(i, j, k) of the sphere's centre."""


def suv_peak(lattice: Lattice, voxels: Voxels, centres: IntArray) -> Peak | None:
    """The best 1 ml sphere centred on one of the voxels ``centres`` (n, 3) as (i, j, k); None
    where no such sphere lies wholly in the image. Spheres are of the layer's own millimetres."""
    weights = _weights(tuple(np.round(lattice.affine[:3, :3], 4).ravel().tolist()))
    half = np.array(weights.shape[::-1]) // 2
    fits = ((centres >= half) & (centres < lattice.size - half)).all(axis=1)
    centres = centres[fits]
    if len(centres) == 0:
        return None
    low = centres.min(axis=0) - half
    high = centres.max(axis=0) + half + 1
    values = block(voxels, low, high)
    # Correlation by Fourier transform: a 10 cm sphere would take seconds otherwise. The weights are
    # symmetric about their middle, so that correlation and convolution are the same.
    size = [n + w - 1 for n, w in zip(values.shape, weights.shape, strict=True)]
    fast = [fft.next_fast_len(n, real=True) for n in size]
    product = fft.rfftn(values, fast) * fft.rfftn(weights, fast)
    summed = fft.irfftn(product, fast)
    at = centres - low + half
    means = summed[at[:, 2], at[:, 1], at[:, 0]]
    best = centres[int(means.argmax())]
    # The winner once more by plain summation: no rounding of the transform stays in the number.
    box = block(voxels, best - half, best + half + 1)
    return Peak(float((box * weights).sum()), (int(best[0]), int(best[1]), int(best[2])))


@lru_cache(maxsize=32)
def _weights(columns: tuple[float, ...]) -> FloatArray:
    """Share of each voxel [k, j, i] in the sphere around the middle voxel, sum 1. ``columns``: the
    3x3 of (i, j, k) -> mm."""
    steps = np.array(columns).reshape(3, 3)
    reach = RADIUS_MM * np.linalg.norm(np.linalg.inv(steps), axis=1)
    half = np.ceil(reach - 1e-6).astype(int)
    offsets = (np.arange(OVERSAMPLING) + 0.5) / OVERSAMPLING - 0.5
    i, j, k = ((np.arange(-h, h + 1)[:, None] + offsets).ravel() for h in half)
    squares: FloatArray = np.zeros((len(k), len(j), len(i)))
    for row in steps:
        squares += (
            row[0] * i[None, None, :] + row[1] * j[None, :, None] + row[2] * k[:, None, None]
        ) ** 2
    n = OVERSAMPLING
    nx, ny, nz = (2 * h + 1 for h in half)
    shares = (squares <= RADIUS_MM**2).reshape(nz, n, ny, n, nx, n).mean(axis=(1, 3, 5))
    return np.asarray(shares / shares.sum())
