"""Mutual information on a fixed set of points: for the search for a start and for the figures.

ITK's Mattes metric drives the fine optimisation (:mod:`refine`); its value changes with samples
and overlap. The figures here use the same points before and after, so that they can be compared.
Matrices are 4x4 and map *reference* LPS to *moving* LPS ("pull", ITK's sense).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from analysis.geometry import FloatArray
from analysis.registration.preparation import BINS, Level


@dataclass(frozen=True)
class Score:
    """``nmi`` = (H(A)+H(B))/H(A,B) in [1, 2]; ``mi`` in nats; ``inside`` = share of the points
    that fall into the moving field of view."""

    nmi: float
    mi: float
    inside: float


class Comparison:
    """Reference points of one level against a moving level, scored for any rigid matrix.

    ``body_only`` takes points inside the reference body only and counts those that also fall
    into the moving body: what remains is information shared by tissue, not by outline and air.
    """

    def __init__(
        self,
        reference: Level,
        moving: Level,
        *,
        points: int,
        seed: int,
        body_only: bool = False,
    ) -> None:
        rng = np.random.default_rng(seed)
        chosen = np.flatnonzero(reference.body if body_only else reference.region)
        if len(chosen) > points:
            chosen = rng.choice(chosen, points, replace=False)
        k, j, i = np.unravel_index(chosen, reference.array.shape)
        # A random place within each voxel: lattice points on lattice points favour whole shifts.
        top = np.array(reference.array.shape[::-1]) - 1
        index = np.stack([i, j, k], axis=1) + rng.uniform(-0.5, 0.5, (len(chosen), 3))
        index = np.clip(index, 0, top)
        self._points = reference.grid.to_lps(index)
        self._bins = _binned(_sample(reference.array, index), reference.limits)
        self._moving = moving
        self._body_only = body_only
        self._array = moving.array
        self._body = moving.body.astype(np.float32)
        self._to_index = np.linalg.inv(moving.grid.affine)

    def score(self, pull: FloatArray) -> Score:
        """Similarity when reference point x shows the moving value at ``pull @ x``."""
        total = self._to_index @ pull
        index = self._points @ total[:3, :3].T + total[:3, 3]
        top = np.array(self._array.shape[::-1]) - 1
        kept = np.all((index >= -0.5) & (index <= top + 0.5), axis=1)
        inside = float(kept.mean()) if len(kept) else 0.0
        if kept.sum() < 500:
            return Score(1.0, 0.0, inside)
        index, bins = index[kept], self._bins[kept]
        if self._body_only:
            tissue = _sample(self._body, index) > 0.5
            index, bins = index[tissue], bins[tissue]
            if len(bins) < 500:
                return Score(1.0, 0.0, inside)
        other = _binned(_sample(self._array, index), self._moving.limits)
        joint = np.bincount(bins * BINS + other, minlength=BINS * BINS).reshape(BINS, BINS)
        return _from_joint(joint, inside)


def _from_joint(joint: npt.NDArray[np.int64], inside: float) -> Score:
    count = int(joint.sum())
    rows, columns = joint.sum(axis=1), joint.sum(axis=0)
    bias_joint = (np.count_nonzero(joint) - 1) / (2 * count)
    # Miller-Madow: the plug-in entropy of n samples is low by (used bins - 1) / 2n.
    first = _entropy(rows) + (np.count_nonzero(rows) - 1) / (2 * count)
    second = _entropy(columns) + (np.count_nonzero(columns) - 1) / (2 * count)
    both = _entropy(joint) + bias_joint
    if both <= 0:
        return Score(1.0, 0.0, inside)
    return Score((first + second) / both, first + second - both, inside)


def _entropy(counts: npt.NDArray[np.int64]) -> float:
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())


def _sample(array: npt.NDArray[np.float32], index: FloatArray) -> npt.NDArray[np.float32]:
    """Linear interpolation at (n, 3) indices (i, j, k); the edge voxel beyond the border."""
    return np.asarray(
        ndimage.map_coordinates(array, index[:, ::-1].T, order=1, mode="nearest"),
        dtype=np.float32,
    )


def _binned(
    values: npt.NDArray[np.float32], limits: tuple[float, float]
) -> npt.NDArray[np.int64]:
    low, high = limits
    scaled = (values - low) * (BINS / (high - low))
    return np.asarray(np.clip(scaled, 0, BINS - 1), dtype=np.int64)
