"""Mutual information on a fixed set of points, for the figures.

The figures use hard bins and remove the bias of small samples, and the same points before and
after, so that they can be compared; :mod:`matching` drives the optimisation.
Matrices are 4x4 and map *reference* LPS to *moving* LPS ("pull", ITK's sense).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.geometry import FloatArray
from analysis.registration.lattice import CHUNK, Floats
from analysis.registration.matching import draw
from analysis.registration.preparation import Level

BINS = 32


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
        index = draw(reference.body if body_only else reference.region, points, seed)
        self._points = reference.grid.to_lps(index.T)
        self._bins = _binned(reference.lattice.values(index), reference.limits)
        self._moving = moving
        self._body_only = body_only
        self._to_index = np.linalg.inv(moving.grid.affine)

    def score(self, pull: FloatArray) -> Score:
        """Similarity when reference point x shows the moving value at ``pull @ x``."""
        total = self._to_index @ pull
        index = np.ascontiguousarray(
            (self._points @ total[:3, :3].T + total[:3, 3]).T, dtype=np.float32
        )
        kept = self._moving.lattice.inside(index)
        if self._moving.allowed_lattice is not None:
            kept &= self._moving.allowed_lattice.nearest(index) > 0.5
        inside = float(kept.mean()) if kept.size else 0.0
        if self._body_only:
            kept &= self._moving.body_lattice.nearest(index) > 0.5
        if kept.sum() < 500:
            return Score(1.0, 0.0, inside)
        index, bins = np.ascontiguousarray(index[:, kept]), self._bins[kept]
        other = _binned(_valued(self._moving, index), self._moving.limits)
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


def _valued(level: Level, index: Floats) -> Floats:
    parts = [
        level.lattice.values(np.ascontiguousarray(index[:, begin : begin + CHUNK]))
        for begin in range(0, index.shape[1], CHUNK)
    ]
    return np.concatenate(parts)


def _binned(
    values: npt.NDArray[np.float32], limits: tuple[float, float]
) -> npt.NDArray[np.int64]:
    low, high = limits
    scaled = (values - low) * (BINS / (high - low))
    return np.asarray(np.clip(scaled, 0, BINS - 1), dtype=np.int64)
