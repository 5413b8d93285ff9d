"""Where to start: many rigid placements tried on the coarsest level, the best ones improved.

Gradient descent alone needs a start within about 25 degrees and 30 mm (measured: 35 degrees and
43 mm off ended in a false optimum), and scanners, tables and patient positions differ by more.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from analysis.geometry import FloatArray
from analysis.registration.preparation import Level
from analysis.registration.rigid import distances, from_vector, rigid
from analysis.registration.similarity import Comparison

ROTATION_STEP_DEGREES = 30.0
SHIFT_STEP_MM = 30.0
POINTS = 6_000
RADIUS_MM = 80.0
"""Turning by 1 / RADIUS_MM rad moves a head's surface by 1 mm: the common measure of turning and
shifting in the search."""
DISTINCT_MM = 15.0
"""Starts closer than this lead to the same optimum; only the better one is improved."""

Objective = Callable[[FloatArray], float]


def candidates(reference: Level, moving: Level) -> list[FloatArray]:
    """Pull matrices: middles of body and of field of view, turned by -30, 0, 30 degrees about
    each axis and by 180 about one, and shifted by 30 mm along each axis."""
    middles = (moving.centroid - reference.centroid, moving.grid.centre - reference.grid.centre)
    steps = (-ROTATION_STEP_DEGREES, 0.0, ROTATION_STEP_DEGREES)
    turns = [Rotation.from_euler("xyz", a, degrees=True) for a in product(steps, repeat=3)]
    turns += [Rotation.from_rotvec(np.pi * axis) for axis in np.eye(3)]
    still = Rotation.identity()
    # Offsets for images that show different parts, longest along the body.
    offsets = [SHIFT_STEP_MM * sign * axis for axis in np.eye(3) for sign in (-1.0, 1.0)]
    offsets += [np.array([0.0, 0.0, 2 * SHIFT_STEP_MM * sign]) for sign in (-1.0, 1.0)]
    starts = [np.eye(4)]
    for middle in middles:
        starts += [rigid(turn, middle, reference.centroid) for turn in turns]
        starts += [rigid(still, middle + offset, reference.centroid) for offset in offsets]
    return starts


def objective(comparison: Comparison, smaller_ml: float, reference_ml: float) -> Objective:
    """-(NMI), with a growing penalty below the overlap that could be expected.

    A small overlap can hold any accidental match; the reference body can at most be covered by
    what the moving image shows of it.
    """
    wanted = 0.7 * min(1.0, smaller_ml / max(reference_ml, 1e-6))

    def cost(pull: FloatArray) -> float:
        found = comparison.score(pull)
        short = max(0.0, wanted - found.inside) / max(wanted, 1e-6)
        return -(found.nmi - 1.0) * (1.0 - short) ** 2

    return cost


def search(
    reference: Level,
    moving: Level,
    *,
    seed: int,
    keep: int,
    improve: int,
    report: Callable[[float], None],
) -> list[tuple[float, FloatArray]]:
    """The ``keep`` best distinct starts as (cost, pull), best first, after improving ``improve``.

    ``report`` gets the share done.
    """
    comparison = Comparison(reference, moving, points=POINTS, seed=seed)
    cost = objective(comparison, moving.body_ml, reference.body_ml)
    probes = reference.body_points(200)
    tried = [(cost(pull), pull) for pull in candidates(reference, moving)]
    report(0.4)
    chosen = distinct(tried, probes, improve)
    improved = []
    for number, (_, pull) in enumerate(chosen):
        improved.append(polish(cost, pull, reference.centroid, 180))
        report(0.4 + 0.6 * (number + 1) / len(chosen))
    return distinct(improved, probes, keep)


def distinct(
    tried: list[tuple[float, FloatArray]], probes: FloatArray, limit: int
) -> list[tuple[float, FloatArray]]:
    """The best entries of which no two lie closer than ``DISTINCT_MM``."""
    kept: list[tuple[float, FloatArray]] = []
    for value, pull in sorted(tried, key=lambda entry: entry[0]):
        if all(distances(pull, other, probes).mean() > DISTINCT_MM for _, other in kept):
            kept.append((value, pull))
        if len(kept) == limit:
            break
    return kept


def polish(
    cost: Objective, pull: FloatArray, centre: FloatArray, evaluations: int, step_mm: float = 10.0
) -> tuple[float, FloatArray]:
    """Nelder-Mead in six parameters from ``pull``; needs no gradient and jumps small bumps."""
    turning_point = pull[:3, :3] @ centre + pull[:3, 3]
    scale = np.array([1 / RADIUS_MM] * 3 + [1.0] * 3)

    def at(vector: FloatArray) -> float:
        return cost(from_vector(vector * scale, turning_point, pull))

    simplex = np.vstack([np.zeros(6), step_mm * np.eye(6)])
    simplex[1:] -= step_mm / 7  # so that the start lies in the middle of the simplex
    simplex[0] -= step_mm / 7
    found = minimize(
        at,
        np.zeros(6),
        method="Nelder-Mead",
        options={"initial_simplex": simplex, "maxfev": evaluations, "xatol": 0.3, "fatol": 1e-5},
    )
    start = at(np.zeros(6))
    if found.fun < start:
        return float(found.fun), from_vector(found.x * scale, turning_point, pull)
    return start, pull
