"""Where to start: many poses tried on the coarsest level, the best ones improved.

Headers place two scans of one patient anywhere: other tables, feet first against head first, prone
against supine, a head turned by 45 degrees, halves of a body that only just meet. A descent climbs
from about 25 degrees and 30 mm away, so the tried poses lie closer together than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from analysis.geometry import FloatArray
from analysis.registration.matching import draw, scaled, turned
from analysis.registration.preparation import Level
from analysis.registration.rigid import distances

TURN_STEP_DEGREES = 35.0
QUICK_POINTS = 800
POINTS = 4000
"""All poses are tried on few points, the best ``PROMISING`` again on more: with few alone, real
CT and MR of a leg started 40 mm off (measured)."""
PROMISING = 200
BINS = 12
WANTED_SHARE = 0.5
"""Half of what could overlap must overlap, else a pose is marked down: a small overlap can hold
any accidental match."""
DISTINCT_MM = 15.0
"""Poses closer than this lead to the same optimum; only the better one is improved."""

Scored = tuple[float, FloatArray]


def turns() -> FloatArray:
    """(162, 3, 3) rotations: no turn, half turns about each axis and quarter turns about the long
    axis, each with -35, 0 and 35 degrees about every axis."""
    steps = (-TURN_STEP_DEGREES, 0.0, TURN_STEP_DEGREES)
    small = Rotation.from_euler("xyz", list(product(steps, repeat=3)), degrees=True).as_matrix()
    bases = [(0, 0, 0), (180, 0, 0), (0, 180, 0), (0, 0, 180), (0, 0, 90), (0, 0, -90)]
    large = Rotation.from_euler("xyz", bases, degrees=True).as_matrix()
    return np.asarray([turn @ base for base in large for turn in small], dtype=np.float64)


def offsets(reference: Level, moving: Level) -> FloatArray:
    """(n, 3) displacements in the reference's axes from middle on middle, mm: none, a quarter of
    the body along each axis, a half of it along the long one, for halves that meet."""
    points = reference.body_points(2_000)
    extent = np.percentile(points, 97, axis=0) - np.percentile(points, 3, axis=0)
    rows = [np.zeros(3)]
    rows += [sign * 0.25 * extent * axis for axis in np.eye(3) for sign in (-1.0, 1.0)]
    rows += [sign * 0.5 * extent * np.eye(3)[2] for sign in (-1.0, 1.0)]
    return np.array(rows)


def search(scorer: Scorer, reference: Level, moving: Level, *, keep: int) -> list[Scored]:
    """The ``keep`` best distinct poses as (cost, pull), best first; ``scorer`` judges last."""
    quick = Scorer(reference, moving, scorer.seed, QUICK_POINTS)
    shifts = offsets(reference, moving)
    found: list[Scored] = []
    middles = [moving.centroid, moving.grid.centre - reference.grid.centre + reference.centroid]
    for matrix in turns():
        places = np.concatenate([middles[0] - shifts @ matrix.T, [middles[1]]])
        costs = quick.costs(matrix, places)
        for cost, place in zip(costs, places, strict=True):
            pull = np.eye(4)
            pull[:3, :3] = matrix
            pull[:3, 3] = place - matrix @ reference.centroid
            found.append((float(cost), pull))
    found.sort(key=lambda entry: entry[0])
    best = [np.eye(4)] + [pull for _, pull in found[:PROMISING]]
    return distinct([(scorer.cost(pull), pull) for pull in best], reference.body_points(200), keep)


class Scorer:
    """Cost of poses: -(NMI - 1), nearest neighbours, marked down for a small overlap."""

    def __init__(
        self, reference: Level, moving: Level, seed: int, points: int = POINTS
    ) -> None:
        self.seed = seed
        index = draw(reference.region, points, seed)
        self._arms = (reference.grid.to_lps(index.T) - reference.centroid).T
        self._centre = reference.centroid
        values = scaled(reference.lattice.values(index), reference.limits)
        self._rows = np.minimum((values * BINS).astype(np.int64), BINS - 1)
        array = scaled(moving.array, moving.limits)
        self._columns = np.minimum((array * BINS).astype(np.int64), BINS - 1).ravel()
        if moving.allowed is not None:
            # One more column takes what lies outside the mask; it is left out of the count.
            self._columns[~moving.allowed.ravel()] = BINS
        self._shape = np.array(moving.array.shape[::-1])
        self._to_index = np.linalg.inv(moving.grid.affine)
        self._wanted = WANTED_SHARE * min(1.0, moving.body_ml / max(reference.body_ml, 1e-6))

    def cost(self, pull: FloatArray) -> float:
        place = pull[:3, :3] @ self._centre + pull[:3, 3]
        return float(self.costs(pull[:3, :3], place[None])[0])

    def costs(self, turn: FloatArray, places: FloatArray) -> FloatArray:
        """Cost of pulling the reference's middle to each of ``places`` (n, 3) with one turn."""
        linear = self._to_index[:3, :3]
        arms = turned(linear @ turn, self._arms)
        starts = np.asarray(places @ linear.T + self._to_index[:3, 3])
        index = (arms[None] + starts[:, :, None]).astype(np.float32)
        cell = np.rint(index).astype(np.int64)
        nx, ny, nz = self._shape
        inside = (cell[:, 0] >= 0) & (cell[:, 0] < nx)
        for axis, count in ((1, ny), (2, nz)):
            inside &= (cell[:, axis] >= 0) & (cell[:, axis] < count)
        flat = cell[:, 0] + nx * (cell[:, 1] + ny * cell[:, 2])
        columns = self._columns.take(np.where(inside, flat, 0))
        columns[~inside] = BINS
        size = BINS * (BINS + 1)
        number = np.arange(len(places), dtype=np.int64)[:, None] * size
        joint = np.bincount(
            (number + self._rows * (BINS + 1) + columns).ravel(), minlength=size * len(places)
        ).reshape(len(places), BINS, BINS + 1)[:, :, :BINS]
        return self._judged(joint)

    def _judged(self, joint: npt.NDArray[np.int64]) -> FloatArray:
        count = np.maximum(joint.sum(axis=(1, 2)), 1)
        share = count / self._arms.shape[1]
        first = _entropies(joint.sum(axis=2), count)
        second = _entropies(joint.sum(axis=1), count)
        both = _entropies(joint.reshape(len(joint), -1), count)
        information = (first + second) / np.maximum(both, 1e-9) - 1.0
        short = np.maximum(0.0, self._wanted - share) / max(self._wanted, 1e-6)
        information[count < 0.1 * self._arms.shape[1]] = 0.0
        return np.asarray(-information * (1.0 - short) ** 2, dtype=np.float64)


def distinct(tried: Sequence[Scored], probes: FloatArray, limit: int) -> list[Scored]:
    """The best entries of which no two lie closer than ``DISTINCT_MM``."""
    kept: list[Scored] = []
    for value, pull in sorted(tried, key=lambda entry: entry[0]):
        if all(distances(pull, other, probes).mean() > DISTINCT_MM for _, other in kept):
            kept.append((value, pull))
        if len(kept) == limit:
            break
    return kept


def _entropies(counts: npt.NDArray[np.int64], total: npt.NDArray[np.int64]) -> FloatArray:
    """Entropy of each row in nats, small-sample bias removed (Miller & Madow, 1955)."""
    p = counts / total[:, None]
    plain = -(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=1)
    return np.asarray(plain + (np.count_nonzero(counts, axis=1) - 1) / (2 * total))
