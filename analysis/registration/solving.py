"""The transform itself: search, descents through the levels, and the same found again otherwise.

All poses are "pull": reference LPS -> moving LPS.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.linalg import sqrtm
from scipy.spatial.transform import Rotation

from analysis.geometry import FloatArray
from analysis.progress import Progress
from analysis.registration.crew import side_by_side
from analysis.registration.descent import ascend
from analysis.registration.matching import Match
from analysis.registration.preparation import Pyramid
from analysis.registration.rigid import distances, invert, rigid
from analysis.registration.search import Scorer, distinct, search
from analysis.registration.thresholds import BINS, FINAL_POINTS, MIDDLE_MM, POINTS

STARTS = 10
"""Poses improved on the coarsest level, and ..."""
KEPT = 3
"""... on the middle one."""

CHECK_SHARE = 0.5
"""Share of the points that the checks use: they look for millimetres."""

EMISSION = {"PT", "NM"}

PERTURBED_STARTS = 3
PERTURB_DEGREES = 4.0
PERTURB_MM = 5.0


@dataclass(frozen=True, eq=False)
class Solution:
    """``pull``; the same from perturbed starts (``others``) and with exchanged roles (``back``:
    moving LPS -> reference LPS), each with points of its own. ``forth`` is one direction alone,
    the partner of ``back`` in the round trip: ``pull`` may be the middle of two directions, which
    would halve it."""

    pull: FloatArray
    forth: FloatArray
    others: tuple[FloatArray, ...]
    back: FloatArray


def solve(
    fixed: Pyramid,
    mobile: Pyramid,
    *,
    affine: bool,
    start: FloatArray | None,
    seed: int,
    threads: int,
    progress: Progress,
) -> Solution:
    """The best transform and what it takes to doubt it. ``start`` (pull) replaces the search."""
    if start is None:
        progress(0.1, "Looking for a start")
        starts = _starts(fixed, mobile, seed, threads, progress)
        progress(0.5, "Aligning")
        reached = side_by_side(
            [partial(_climb, fixed, mobile, p, 1, seed) for p in starts],
            threads=threads,
            progress=lambda share: progress(0.5 + 0.1 * share, "Aligning"),
        )
        pose = max(reached, key=lambda pull: _worth(fixed, mobile, pull, seed))
    else:
        progress(0.5, "Aligning")
        pose = _climb(fixed, mobile, start, 1, seed)
    progress(0.6, "Aligning")
    best = _climb(fixed, mobile, pose, 2, seed)
    if affine:
        middle = _climb(fixed, mobile, best, 1, seed, affine=True)
        best = _climb(fixed, mobile, middle, 2, seed, affine=True)
    best, forth = _finished(fixed, mobile, best, seed, affine=affine, threads=threads)
    rng = np.random.default_rng(seed)

    def again(first: Pyramid, second: Pyramid, begin: FloatArray, number: int) -> FloatArray:
        near = _climb(first, second, begin, 1, seed + number, affine=affine, share=CHECK_SHARE)
        return _climb(first, second, near, 2, seed + number, affine=affine, share=CHECK_SHARE)

    nudges = [nudge(rng, fixed.middle.centroid) for _ in range(PERTURBED_STARTS)]
    reverse = invert(best) @ nudge(rng, mobile.middle.centroid, 0.5)
    jobs = [
        partial(again, fixed, mobile, best @ nudge, n + 1) for n, nudge in enumerate(nudges)
    ]
    jobs.append(partial(again, mobile, fixed, reverse, 11))
    *others, back = side_by_side(
        jobs, threads=threads,
        progress=lambda share: progress(0.65 + 0.2 * share, "Checking from other starts"),
    )
    return Solution(best, forth, tuple(others), back)


def nudge(rng: np.random.Generator, centre: FloatArray, share: float = 1.0) -> FloatArray:
    """A turn about ``centre`` and a shift, ``share`` times as large as ``PERTURB_*``, along random
    axes."""
    turn = Rotation.from_rotvec(np.radians(share * PERTURB_DEGREES) * _unit(rng))
    return rigid(turn, share * PERTURB_MM * _unit(rng), centre)


def _starts(
    fixed: Pyramid, mobile: Pyramid, seed: int, threads: int, progress: Progress
) -> list[FloatArray]:
    """The best distinct poses on the coarsest level."""
    first, second = fixed.coarse, mobile.coarse
    scorer = Scorer(first, second, seed)
    probes = first.body_points(200)
    tried = search(scorer, first, second, keep=STARTS)
    progress(0.3, "Looking for a start")
    match = Match(first, second, points=POINTS[0], seed=seed, bins=BINS[0])
    found = side_by_side(
        [partial(ascend, match, pull, iterations=10, tolerance_mm=0.3) for _, pull in tried],
        threads=threads,
        progress=lambda share: progress(0.3 + 0.2 * share, "Looking for a start"),
    )
    return [pull for _, pull in distinct(
        [(scorer.cost(f.pull), f.pull) for f in found], probes, KEPT
    )]


def _climb(
    fixed: Pyramid,
    mobile: Pyramid,
    pull: FloatArray,
    level: int,
    seed: int,
    *,
    affine: bool = False,
    share: float = 1.0,
) -> FloatArray:
    """The best pose near by on one level, with ``share`` times its points."""
    match = Match(
        fixed.levels[level], mobile.levels[level],
        points=int(share * POINTS[level]), seed=seed, bins=BINS[level],
        # Far away the overlap changes, which the normalised form bears; near by the plain one
        # came closer on real brains (README).
        normalised=level < 2,
        # PET shows no sharp skin: what little it shows of it must not pull on that of CT or MR.
        body_only=level == 2 and mobile.modality == "PT" != fixed.modality,
    )
    tolerance = 0.1 if level == 1 else 0.02 / share
    # More points than the level's own are for a start that is nearly there.
    first = 2.0 if share <= 1 else 0.5
    return ascend(
        match, pull, affine=affine, tolerance_mm=tolerance, first_step_mm=first
    ).pull


def _finished(
    fixed: Pyramid, mobile: Pyramid, pull: FloatArray, seed: int, *, affine: bool, threads: int
) -> tuple[FloatArray, FloatArray]:
    """(result, forward alone) of last descents on many points.

    Points on the one image's lattice in the other blur only the other, and each direction errs
    its own way. The middle of both favours neither (Reuter et al., NeuroImage 53, 2010). Emission
    images are blurred many times more than the others, so that only points of the other image say
    something: there the middle was worse on real PET and SPECT, and one direction is kept.
    """
    share = FINAL_POINTS / POINTS[2]
    climb = partial(_climb, level=2, seed=seed, affine=affine, share=share)
    if EMISSION & {fixed.modality, mobile.modality}:
        forth = climb(fixed, mobile, pull)
        return forth, forth
    forth, back = side_by_side(
        [lambda: climb(fixed, mobile, pull), lambda: climb(mobile, fixed, invert(pull))],
        threads=threads, progress=lambda _share: None,
    )
    apart = invert(forth) @ invert(back)
    if distances(apart, np.eye(4), fixed.middle.body_points(200)).mean() > MIDDLE_MM:
        return forth, forth
    return forth @ np.real(sqrtm(apart)), forth


def _worth(fixed: Pyramid, mobile: Pyramid, pull: FloatArray, seed: int) -> float:
    """Information at 4 mm, marked down where little of the reference lies in the moving image."""
    match = Match(fixed.middle, mobile.middle, points=POINTS[1], seed=seed, bins=BINS[1])
    value, inside = match.value(pull)
    wanted = 0.5 * min(1.0, mobile.middle.body_ml / max(fixed.middle.body_ml, 1e-6))
    short = max(0.0, wanted - inside) / max(wanted, 1e-6)
    return value * (1.0 - short) ** 2


def _unit(rng: np.random.Generator) -> FloatArray:
    vector = rng.normal(size=3)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float64)
