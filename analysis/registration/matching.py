"""How well two levels match at a pose, and in which direction the match improves.

Poses are 4x4 and map *reference* LPS to *moving* LPS ("pull", the sense in which images are
sampled). Points are drawn once per level, so the same pose always gives the same figure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from analysis.geometry import FloatArray
from analysis.registration.information import PAD, Joint, spread, weight_slopes, weights
from analysis.registration.lattice import CHUNK, Floats
from analysis.registration.preparation import Level

F = TypeVar("F", np.float32, np.float64)

FEWEST = 300
"""Fewer common points than this say nothing."""


@dataclass(frozen=True, eq=False)
class Slope:
    """Information at a pose with its derivative: ``push`` (3,) for a shift of the moving points,
    ``twist`` (3, 3) for a matrix D in y -> y + D (y - centre), both in moving LPS."""

    value: float
    inside: float
    push: FloatArray
    twist: FloatArray


class Match:
    """Points of the reference level against the moving level.

    ``centre``: reference point about which poses turn. With ``body_only`` the points lie in the
    reference body, else also in a margin around it.
    """

    def __init__(
        self,
        reference: Level,
        moving: Level,
        *,
        points: int,
        seed: int,
        normalised: bool = True,
        body_only: bool = False,
        bins: int,
    ) -> None:
        index = draw(reference.body if body_only else reference.region, points, seed)
        self._bins = bins
        self._normalised = normalised
        points_lps = reference.grid.to_lps(index.T).T
        values = scaled(reference.lattice.values(index), reference.limits)
        self._rows = np.minimum(
            (values * np.float32(bins)).astype(np.int64), bins - 1
        ) * bins
        self._moving = moving
        self.centre = np.asarray(points_lps.mean(axis=1), dtype=np.float64)
        self._arms = np.ascontiguousarray(points_lps - self.centre[:, None], dtype=np.float32)

    def value(self, pull: FloatArray) -> tuple[float, float]:
        """(information, share of the points inside the moving image)."""
        joint, inside, _ = self._joint(pull, keep=False)
        if joint is None:
            return 0.0, inside
        return self._figure(joint), inside

    def slope(self, pull: FloatArray) -> Slope:
        """Information and derivative at ``pull``; zero where too few points are common."""
        joint, inside, parts = self._joint(pull, keep=True)
        push, twist = np.zeros(3), np.zeros((3, 3))
        if joint is None:
            return Slope(0.0, inside, push, twist)
        table = joint.slopes(self._normalised)
        low, high = self._moving.limits
        factor = (self._bins - 2 * PAD - 1) / (high - low) / joint.count
        for first, u, slopes, where in parts:
            pulling = np.zeros_like(u)
            for number, weight in enumerate(weight_slopes(u)):
                pulling += weight * table.take(first + number)
            force = slopes * pulling
            push += force.sum(axis=1, dtype=np.float64)
            twist += np.einsum("in,jn->ij", force, where, dtype=np.float64)
        # Slopes along index axes become slopes in LPS; the arms were those of the reference.
        back = self._moving.lattice.to_index[:3, :3].T * factor
        return Slope(self._figure(joint), inside, back @ push, back @ twist @ pull[:3, :3].T)

    def _figure(self, joint: Joint) -> float:
        return joint.normalised() - 1.0 if self._normalised else joint.mutual()

    def _joint(
        self, pull: FloatArray, *, keep: bool
    ) -> tuple[Joint | None, float, list[tuple[npt.NDArray[np.int64], Floats, Floats, Floats]]]:
        lattice, allowed = self._moving.lattice, self._moving.allowed_lattice
        total = lattice.to_index @ pull
        low, high = self._moving.limits
        bins = self._bins
        hist = np.zeros(bins * bins)
        parts = []
        seen = 0
        count = self._arms.shape[1]
        turn = total[:3, :3].astype(np.float32)
        shift = (total[:3, :3] @ self.centre + total[:3, 3]).astype(np.float32)[:, None]
        for begin in range(0, count, CHUNK):
            where = self._arms[:, begin : begin + CHUNK]
            index = turned(turn, where) + shift
            kept = lattice.inside(index)
            if allowed is not None:
                kept &= allowed.nearest(index) > 0.5
            rows = self._rows[begin : begin + CHUNK]
            if not kept.all():
                index = np.ascontiguousarray(index[:, kept])
                rows = rows[kept]
                if keep:
                    where = np.ascontiguousarray(where[:, kept])
            if not len(rows):
                continue
            seen += len(rows)
            if keep:
                values, slopes = lattice.values_and_slopes(index)
            else:
                values, slopes = lattice.values(index), index
            first, u = spread(scaled(values, (low, high)), rows, bins)
            for number, weight in enumerate(weights(u)):
                hist += np.bincount(first + number, weight, bins * bins)
            if keep:
                parts.append((first, u, slopes, where))
        inside = seen / max(1, count)
        if seen < min(FEWEST, count):
            return None, inside, parts
        return Joint(hist.reshape(bins, bins) / seen, seen), inside, parts


def turned(turn: npt.NDArray[F], arms: npt.NDArray[F]) -> npt.NDArray[F]:
    """``turn @ arms`` without BLAS, whose sums may depend on the number of threads."""
    out = np.empty_like(arms)
    for row in range(3):
        out[row] = turn[row, 0] * arms[0] + turn[row, 1] * arms[1] + turn[row, 2] * arms[2]
    return out


def draw(mask: npt.NDArray[np.bool_], points: int, seed: int) -> Floats:
    """At most ``points`` places (3, n) as (i, j, k): a random one in each of ``points`` equal runs
    of the mask's voxels, and at random within its voxel, since lattice points on lattice points
    would favour whole shifts."""
    rng = np.random.default_rng(seed)
    chosen = np.flatnonzero(mask)
    if len(chosen) > points:
        places = (np.arange(points) + rng.random(points)) * (len(chosen) / points)
        chosen = chosen[np.minimum(places.astype(np.int64), len(chosen) - 1)]
    k, j, i = np.unravel_index(chosen, mask.shape)
    index = np.stack([i, j, k]) + rng.uniform(-0.5, 0.5, (3, len(chosen)))
    top = np.array(mask.shape[::-1])[:, None] - 1
    return np.clip(index, 0, top).astype(np.float32)


def scaled(values: Floats, limits: tuple[float, float]) -> Floats:
    """Intensities as shares of the range ``limits``, clipped to [0, 1]."""
    low, high = limits
    share = (values - np.float32(low)) * np.float32(1 / (high - low))
    return np.asarray(np.clip(share, 0, 1), dtype=np.float32)
