"""Series that claim one frame of reference: the claim is checked, never acted upon.

A shared FrameOfReferenceUID says that the scanner's coordinates are the same, not that the patient
lay still. A near-by placement that matches clearly better is a reason for doubt.
"""

from __future__ import annotations

import numpy as np

from analysis.contracts import QualityFigure, Verdict
from analysis.geometry import FloatArray
from analysis.registration import thresholds as t
from analysis.registration.descent import ascend
from analysis.registration.matching import Match
from analysis.registration.preparation import Pyramid
from analysis.registration.quality import overlap
from analysis.registration.rigid import distances
from analysis.registration.similarity import Comparison, Score

METHOD = "same frame of reference, checked by field of view and mutual information"

POINTS = 15_000
REACH_MM = 15.0
"""Placements shifted by this along each axis are starts of the check."""


def verify(
    reference: Pyramid, moving: Pyramid, *, seed: int
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
    match = Match(level, other, points=t.POINTS[1], seed=seed, bins=t.BINS[1])
    best = _nearby(match, compared, here)
    shift = float(distances(best, still, level.body_points(2_000)).mean())
    there = compared.score(best).nmi
    gain = (there - 1.0) / (here.nmi - 1.0) - 1.0
    limit = t.SAME_FRAME_SHIFT_MM + 0.5 * max(
        reference.largest_voxel_mm, moving.largest_voxel_mm
    )
    moved = shift > limit and gain > t.SAME_FRAME_GAIN
    if moved:
        reasons.append(
            f"the images match better {shift:.0f} mm away from where they were delivered "
            f"(limit {limit:.0f} mm): the patient may have moved between the two series"
        )
    figures = (
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
    )
    return ("doubtful" if reasons else "usable"), tuple(reasons), figures


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
