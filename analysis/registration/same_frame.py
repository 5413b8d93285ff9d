"""Series that claim one frame of reference: the claim is checked, never acted upon.

A shared FrameOfReferenceUID says that the scanner's coordinates are the same, not that the patient
lay still, and no more than that the export was right. A near-by placement that matches clearly
better is a reason for doubt, and so is what would show a stranger after a registration.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from analysis.contracts import QualityFigure, Verdict
from analysis.geometry import FloatArray
from analysis.registration import thresholds as t
from analysis.registration.crew import side_by_side
from analysis.registration.descent import ascend
from analysis.registration.matching import Match
from analysis.registration.preparation import Level, Pyramid
from analysis.registration.quality import as_quality, doubts, measure, overlap
from analysis.registration.rigid import distances, invert
from analysis.registration.similarity import Comparison, Score
from analysis.registration.solving import PERTURBED_STARTS, Solution, nudge

METHOD = "same frame of reference, checked by field of view and mutual information"

POINTS = 15_000
RULES = ("agreement", "shared", "sharpness", "mirror")
"""Of a registration's rules, those that a shared frame must meet as well, beside the local ones; at
worst they doubt it, for the header speaks for it."""
SHARED_FIGURES = (
    "local_distance", "shared_information", "sharpness", "mirror_gain", "body_agreement",
)  # fmt: skip

REACH_MM = 15.0
"""Placements shifted by this along each axis are starts of the check."""


def verify(
    reference: Pyramid, moving: Pyramid, *, seed: int, threads: int
) -> tuple[Verdict, tuple[str, ...], tuple[QualityFigure, ...]]:
    """Verdict, reasons and figures for the identity between two pyramids."""
    level, other = reference.middle, moving.middle
    still = np.eye(4)
    common = overlap(level, other, still)
    shares = QualityFigure(
        "overlap", common, "1", "share of the smaller body inside the other field of view",
        common >= t.OVERLAP_REFUSED,
    )
    if common == 0.0:
        reason = "the series share a frame of reference but show no common region"
        return "refused", (reason,), (shares,)
    reasons = []
    if common < t.OVERLAP_REFUSED:
        reasons.append(
            f"the two images show only {common:.0%} of the smaller body region in common"
        )
    compared = Comparison(level, other, points=POINTS, seed=seed)
    here = compared.score(still)
    if here.nmi - 1.0 < t.SHARED_INFORMATION_REFUSED or common < t.OVERLAP_REFUSED:
        reasons.append(
            "the images share too little structure to check whether the patient moved between them"
        )
        information = QualityFigure(
            "normalised_mutual_information", here.nmi, "1",
            "(H(A)+H(B))/H(A,B), body and 8 mm around, 32 bins", None,
        )
        return "doubtful", tuple(reasons), (shares, information)
    best, others, back = _near_places(reference, moving, compared, here, seed, threads)
    probes = level.body_points(2_000)
    shift = float(distances(best, still, probes).mean())
    spread = max(float(distances(best, found, probes).mean()) for found in others)
    # What shows a stranger, or left and right exchanged, in a registration shows it here as well.
    solution = Solution(still, best, others, back)
    measured = measure(reference, moving, solution, seed=seed, threads=threads)
    voxel = measured.largest_voxel_mm
    there = compared.score(best).nmi
    gain = float((there - 1.0) / (here.nmi - 1.0) - 1.0)
    limit = t.SAME_FRAME_SHIFT_MM + 0.5 * voxel
    moved = shift > limit and gain > t.SAME_FRAME_GAIN
    if moved:
        reasons.append(
            f"the images match better {shift:.0f} mm away from where they were delivered "
            f"(limit {limit:.0f} mm): the patient may have moved between the two series"
        )
    # Blocks of a low contrast fit anywhere, also where the frame is right: then they say nothing.
    blind = measured.disagreement >= t.DISAGREEMENT_BLIND
    reasons += doubts(measured, RULES if blind else (*RULES, "disagreement", "blocks"))
    error = float(np.hypot(shift, 0.1 * voxel))
    figures = (
        QualityFigure(
            "estimated_error", error, "mm",
            "root of summed squares of the distance to the best match near by and a tenth of the "
            "largest voxel; it contains the uncertainty of the check (round trip, spread)", None,
        ),
        shares,
        QualityFigure(
            "normalised_mutual_information", here.nmi, "1",
            "(H(A)+H(B))/H(A,B) as delivered, body and 8 mm around, 32 bins", None,
        ),
        QualityFigure(
            "better_match_distance", shift, "mm",
            "mean movement of body points to the best match near by (not applied)", not moved,
        ),
        QualityFigure(
            "better_match_gain", gain, "1",
            "relative gain of shared information at that place (not applied)", not moved,
        ),
        QualityFigure(
            "inverse_consistency", measured.consistency_mm, "mm",
            "mean round trip over body points, the best match near by looked for again with "
            "exchanged roles", None,
        ),
        QualityFigure(
            "start_spread", spread, "mm",
            f"largest mean distance between the best match near by and those from {len(others)} "
            "starts around it, over body points", None,
        ),
        QualityFigure(
            "local_misfit", measured.misfit, "1",
            f"share of {measured.blocks} blocks of 28 mm that fit clearly better somewhere else"
            + ("; as many as of unrelated images, so the blocks say nothing here" if blind else ""),
            None if blind else not doubts(measured, ("disagreement", "blocks")),
        ),
        *(figure for figure in as_quality(measured) if figure.name in SHARED_FIGURES),
    )  # fmt: skip
    return ("doubtful" if reasons else "usable"), tuple(reasons), figures


def _near_places(
    reference: Pyramid,
    moving: Pyramid,
    compared: Comparison,
    here: Score,
    seed: int,
    threads: int,
) -> tuple[FloatArray, tuple[FloatArray, ...], FloatArray]:
    """The best match near by; the same from perturbed starts; and with exchanged roles (moving LPS
    -> reference LPS). All at 4 mm, each with points of its own."""
    level, other = reference.middle, moving.middle

    def climb(first: Level, second: Level, start: FloatArray, number: int) -> FloatArray:
        match = Match(first, second, points=t.POINTS[1], seed=seed + number, bins=t.BINS[1])
        return ascend(match, start, tolerance_mm=0.1).pull

    match = Match(level, other, points=t.POINTS[1], seed=seed, bins=t.BINS[1])
    best = _nearby(match, compared, here)
    rng = np.random.default_rng(seed)
    starts = [best @ nudge(rng, level.centroid) for _ in range(PERTURBED_STARTS)]
    reverse = invert(best) @ nudge(rng, other.centroid, 0.5)
    jobs = [partial(climb, level, other, start, n + 1) for n, start in enumerate(starts)]
    jobs.append(partial(climb, other, level, reverse, 11))
    *others, back = side_by_side(jobs, threads=threads, progress=lambda _share: None)
    return best, tuple(others), back


def _nearby(match: Match, compared: Comparison, here: Score) -> FloatArray:
    """The best rigid placement reached from the identity and from six shifts."""

    def cost(pull: FloatArray) -> float:
        found = compared.score(pull)
        # Leaving the field of view must not pay.
        lost = max(0.0, here.inside - found.inside) / max(here.inside, 1e-6)
        return -(found.nmi - 1.0) * (1.0 - lost) ** 2

    starts = [np.eye(4)]
    for axis in np.eye(3):
        for sign in (-1.0, 1.0):
            shifted = np.eye(4)
            shifted[:3, 3] = sign * REACH_MM * axis
            starts.append(shifted)
    nearest = min(starts[1:], key=cost)
    climbed = [ascend(match, start, tolerance_mm=0.1).pull for start in (starts[0], nearest)]
    return min(climbed, key=cost)
