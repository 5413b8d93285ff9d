"""How good a registration is: measured figures, an estimated error, and a verdict with reasons.

No figure proves a registration right; each can prove one wrong. The verdict is therefore the
worst that any figure allows, and the reasons name what the reader should look at.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.spatial.transform import Rotation

from analysis.contracts import QualityFigure, Verdict
from analysis.geometry import FloatArray
from analysis.registration import thresholds as t
from analysis.registration.crew import side_by_side
from analysis.registration.descent import ascend
from analysis.registration.local import Blocks, match_blocks
from analysis.registration.matching import Match
from analysis.registration.preparation import Level, Pyramid
from analysis.registration.rigid import (
    angle_degrees,
    apply,
    distances,
    invert,
    is_rigid,
    rigid,
    stretch,
)
from analysis.registration.similarity import Comparison
from analysis.registration.solving import Solution
from analysis.registration.verdicts import worst

POINTS = 12_000
MIRROR_POINTS, PROBES = 6_000, 2_000
SHARPNESS_SHIFT_MM = 10.0


@dataclass(frozen=True)
class Figures:
    """Everything the verdict rests on. Lengths in mm; the rest are shares or information."""

    information_before: float
    information_after: float
    normalised_information: float
    shared: float
    sharpness: float
    mirror_gain: float
    overlap: float
    agreement: float
    consistency_mm: float
    spread_mm: float
    largest_voxel_mm: float
    turned_degrees: float
    moved_mm: float
    misfit: float
    """Share of local blocks that fit clearly better somewhere else; see :mod:`local`."""
    local_mm: float
    """Median distance to the best place of the blocks whose best place is sharp."""
    blocks: int
    smallest_scale: float = 1.0
    largest_scale: float = 1.0
    shear: float = 0.0
    jacobian: float = 1.0

    @property
    def disagreement(self) -> float:
        """Local misfit and local distance in one figure."""
        return self.misfit + self.local_mm / t.DISAGREEMENT_MM

    @property
    def estimated_error_mm(self) -> float:
        """Root of the squared sum of round trip, spread of starts, local distance and a tenth of
        the voxel."""
        parts = (
            self.consistency_mm, self.spread_mm, self.local_mm, 0.1 * self.largest_voxel_mm
        )
        return float(np.sqrt(np.sum(np.square(parts))))


def overlap(reference: Level, moving: Level, pull: FloatArray) -> float:
    """Share of the smaller body that lies in the other's field of view (the larger of the two)."""
    there = _share_inside(apply(pull, reference.body_points(PROBES)), moving)
    back = _share_inside(apply(invert(pull), moving.body_points(PROBES)), reference)
    return max(there, back)


def agreement(reference: Level, moving: Level, pull: FloatArray) -> float:
    """Dice of the two bodies, counted in the part of space that both images show."""
    # Every second voxel along each axis is plenty for two outlines.
    points = reference.grid.nodes(2).reshape(-1, 3)
    index = moving.grid.to_index(apply(pull, points))
    seen = _inside(index, moving)
    first = reference.body[::2, ::2, ::2].ravel()[seen]
    place = np.ascontiguousarray(index[seen].T, dtype=np.float32)
    second = moving.body_lattice.nearest(place) > 0.5
    total = int(first.sum() + second.sum())
    return float(2 * np.sum(first & second) / total) if total else 0.0


def sharpness(comparison: Comparison, pull: FloatArray, here: float) -> float:
    """Relative loss of shared information for shifts of 10 mm (mean over six directions): near 0
    when the images share nothing that depends on position."""
    if here <= 0:
        return 0.0
    away = []
    for axis in np.eye(3):
        for sign in (-1.0, 1.0):
            shifted = pull.copy()
            shifted[:3, 3] += sign * SHARPNESS_SHIFT_MM * axis
            away.append(max(0.0, comparison.score(shifted).nmi - 1.0))
    return float(1.0 - np.mean(away) / here)


def mirror_gain(
    reference: Level, moving: Level, tissue: Comparison, pull: FloatArray, seed: int
) -> float:
    """Relative change of shared information when the moving image is read left-right flipped.

    The flip is about the sagittal plane through the body's middle; the patient's own middle plane
    may be tilted and shifted against it, so the flipped sense starts from several tilts. Both
    senses get the same improvement, on the same points, with scales where they were fitted.
    """
    affine, centre = not is_rigid(pull), reference.centroid
    match = Match(
        reference, moving, points=MIRROR_POINTS, seed=seed, bins=t.BINS[1], body_only=True
    )
    quick = Match(
        reference, moving, points=MIRROR_POINTS // 4, seed=seed, bins=t.BINS[0], body_only=True
    )
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    flip[0, 3] = 2 * centre[0]
    flipped = [
        pull
        @ flip
        @ rigid(Rotation.from_euler("yz", (roll, yaw), degrees=True), np.array([x, 0, 0]), centre)
        for roll, yaw, x in product((-15.0, 0.0, 15.0), (-15.0, 0.0, 15.0), (-8.0, 0.0, 8.0))
    ]
    ranked = sorted(flipped, key=lambda p: -quick.value(p)[0])
    straight, *others = (
        tissue.score(ascend(match, start, affine=affine, tolerance_mm=0.1).pull).nmi - 1.0
        for start in (pull, *ranked[:2])
    )
    return float(max(others) / straight - 1.0) if straight > 0 else 0.0


def measure(
    reference: Pyramid, moving: Pyramid, solution: Solution, *, seed: int, threads: int
) -> Figures:
    """All figures of a solution."""
    level, other = reference.middle, moving.middle
    pull = solution.pull
    whole = Comparison(level, other, points=POINTS, seed=seed)
    tissue = Comparison(level, other, points=POINTS, seed=seed, body_only=True)
    mirrored, local = side_by_side(
        [
            lambda: mirror_gain(level, other, tissue, pull, seed),
            lambda: match_blocks(reference.fine, moving.fine, pull),
        ],
        threads=threads,
        progress=lambda _share: None,
    )
    assert isinstance(mirrored, float)
    assert isinstance(local, Blocks)
    probes = level.body_points(PROBES)
    after = whole.score(pull)
    shared = tissue.score(pull).nmi - 1.0
    spread = [float(distances(pull, found, probes).mean()) for found in solution.others]
    returned = apply(solution.back, apply(solution.forth, probes))
    round_trip = np.linalg.norm(returned - probes, axis=1)
    stretched = np.eye(3) if is_rigid(pull) else stretch(invert(pull))
    scales = np.linalg.eigvalsh(stretched)
    return Figures(
        information_before=whole.score(np.eye(4)).mi,
        information_after=after.mi,
        normalised_information=after.nmi,
        shared=shared,
        sharpness=sharpness(tissue, pull, shared),
        mirror_gain=mirrored,
        overlap=overlap(level, other, pull),
        agreement=agreement(level, other, pull),
        consistency_mm=float(round_trip.mean()),
        spread_mm=max(spread, default=0.0),
        largest_voxel_mm=max(reference.largest_voxel_mm, moving.largest_voxel_mm),
        turned_degrees=angle_degrees(pull),
        moved_mm=float(distances(pull, np.eye(4), probes).mean()),
        misfit=local.misfit,
        local_mm=local.distance_mm,
        blocks=len(local.centres),
        smallest_scale=float(scales.min()),
        largest_scale=float(scales.max()),
        shear=float(np.abs(stretched - np.diag(np.diag(stretched))).max()),
        jacobian=1.0 if is_rigid(pull) else float(np.linalg.det(pull[:3, :3])),
    )


@dataclass(frozen=True)
class _Rule:
    """A limit pair on one figure. ``low_is_bad``: values below the limits fail, else above."""

    value: float
    doubtful: float
    refused: float
    low_is_bad: bool
    reason: str

    @property
    def verdict(self) -> Verdict:
        sign = 1.0 if self.low_is_bad else -1.0
        # Written so that a NaN is refused.
        if not sign * self.value >= sign * self.refused:
            return "refused"
        return "usable" if sign * self.value >= sign * self.doubtful else "doubtful"


def _rules(f: Figures) -> dict[str, _Rule]:
    voxel = 0.5 * f.largest_voxel_mm
    gain = f.information_after - f.information_before
    return {
        "overlap": _Rule(
            f.overlap, t.OVERLAP_DOUBTFUL, t.OVERLAP_REFUSED, True,
            f"the two images show only {f.overlap:.0%} of the smaller body region in common",
        ),
        "agreement": _Rule(
            f.agreement, t.AGREEMENT_DOUBTFUL, t.AGREEMENT_REFUSED, True,
            f"the body outlines agree badly (Dice {f.agreement:.2f}); "
            "different body parts or a moved patient",
        ),
        "gain": _Rule(
            gain, 0.0, -0.01, True,
            "the images match no better after registration than before",
        ),
        "shared": _Rule(
            f.shared, t.SHARED_INFORMATION_DOUBTFUL, t.SHARED_INFORMATION_REFUSED, True,
            f"inside the body the images share hardly any structure ({f.shared:.3f})",
        ),
        "sharpness": _Rule(
            f.sharpness, t.SHARPNESS_DOUBTFUL, t.SHARPNESS_REFUSED, True,
            "a shift of 10 mm hardly worsens the match, so the position is not determined "
            f"(loss {f.sharpness:.0%})",
        ),
        "mirror": _Rule(
            f.mirror_gain, t.MIRROR_DOUBTFUL, t.MIRROR_REFUSED, False,
            "the match improves when left and right of one image are exchanged "
            f"({f.mirror_gain:+.1%}): check the laterality of both series",
        ),
        "consistency": _Rule(
            f.consistency_mm,
            max(t.CONSISTENCY_DOUBTFUL_MM, voxel),
            max(t.ROUND_TRIP_REFUSED_MM, 2 * voxel),
            False,
            "registering forth and back does not return to the start "
            f"({f.consistency_mm:.1f} mm away)",
        ),
        "spread": _Rule(
            f.spread_mm,
            max(t.SPREAD_DOUBTFUL_MM, voxel),
            max(t.SPREAD_REFUSED_MM, 2 * voxel),
            False,
            f"slightly different starts end {f.spread_mm:.1f} mm apart",
        ),
        "disagreement": _Rule(
            f.disagreement, t.DISAGREEMENT_DOUBTFUL, np.inf, False,
            f"{f.misfit:.0%} of the local blocks fit clearly better somewhere else, typically "
            f"{f.local_mm:.0f} mm away: the images may show different patients, or the anatomy "
            "changed shape",
        ),
        "blocks": _Rule(
            f.blocks, t.BLOCKS_DOUBTFUL, 0, True,
            f"only {f.blocks} places have enough structure to check the alignment locally",
        ),
        "scales": _Rule(
            max(f.largest_scale, 1 / max(f.smallest_scale, 1e-6)),
            t.SCALE_DOUBTFUL, t.SCALE_REFUSED, False,
            f"scales between {f.smallest_scale:.2f} and {f.largest_scale:.2f} are not plausible "
            "for one patient",
        ),
        "shear": _Rule(
            f.shear, t.SHEAR_DOUBTFUL, t.SHEAR_REFUSED, False,
            f"a shear of {f.shear:.2f} is not plausible for one patient",
        ),
        "error": _Rule(
            f.estimated_error_mm, t.TARGET_ERROR_DOUBTFUL_MM, np.inf, False,
            f"the estimated error is {f.estimated_error_mm:.1f} mm",
        ),
    }


def judge(figures: Figures) -> tuple[Verdict, tuple[str, ...]]:
    """The worst verdict of all rules, and the reasons of every rule that is not met."""
    failed = [rule for rule in _rules(figures).values() if rule.verdict != "usable"]
    reasons = tuple(rule.reason for rule in failed)
    return worst("usable", *(rule.verdict for rule in failed)), reasons


def doubts(figures: Figures, names: tuple[str, ...]) -> tuple[str, ...]:
    """The reasons of those of the named rules that are not met."""
    rules = (_rules(figures)[name] for name in names)
    return tuple(rule.reason for rule in rules if rule.verdict != "usable")


def as_quality(f: Figures) -> tuple[QualityFigure, ...]:
    """The figures as records; ``passed`` is None where a figure only informs."""
    rules = _rules(f)

    def ok(name: str) -> bool:
        return rules[name].verdict == "usable"

    body = f"{POINTS} random points of the reference body, 4 mm level"
    return (
        QualityFigure(
            "estimated_error", f.estimated_error_mm, "mm",
            "root of summed squares of round trip, spread of starts, local distance and a tenth of "
            "the largest voxel", ok("error"),
        ),
        QualityFigure(
            "local_distance", f.local_mm, "mm",
            f"median distance from where {f.blocks} blocks of 28 mm lie to where they fit best, "
            "within 12 mm", None,
        ),
        QualityFigure(
            "local_misfit", f.misfit, "1",
            f"share of {f.blocks} blocks of 28 mm that fit clearly better somewhere else",
            ok("disagreement") and ok("blocks"),
        ),
        QualityFigure(
            "inverse_consistency", f.consistency_mm, "mm",
            "mean round trip over body points, second registration with exchanged roles",
            ok("consistency"),
        ),
        QualityFigure(
            "start_spread", f.spread_mm, "mm",
            "largest mean distance between solutions from perturbed starts, over body points",
            ok("spread"),
        ),
        QualityFigure(
            "mutual_information_gain", f.information_after - f.information_before, "1",
            f"nats, after {f.information_after:.3f} minus before {f.information_before:.3f} "
            "(as delivered), same points, body and 8 mm around", ok("gain"),
        ),
        QualityFigure(
            "normalised_mutual_information", f.normalised_information, "1",
            "(H(A)+H(B))/H(A,B), body and 8 mm around, 32 bins", None,
        ),
        QualityFigure(
            "shared_information", f.shared, "1",
            f"normalised mutual information minus 1, {body} that lie in both bodies",
            ok("shared"),
        ),
        QualityFigure(
            "sharpness", f.sharpness, "1",
            "relative loss of shared information for 10 mm shifts, mean of six directions",
            ok("sharpness"),
        ),
        QualityFigure(
            "mirror_gain", f.mirror_gain, "1",
            "relative change of shared information with left and right exchanged", ok("mirror"),
        ),
        QualityFigure(
            "overlap", f.overlap, "1",
            "share of the smaller body inside the other field of view", ok("overlap"),
        ),
        QualityFigure(
            "body_agreement", f.agreement, "1",
            "Dice of the body outlines where both fields of view overlap", ok("agreement"),
        ),
        QualityFigure(
            "largest_scale", f.largest_scale, "1",
            "largest scale along any direction, 1 for a rigid model", ok("scales"),
        ),
        QualityFigure(
            "smallest_scale", f.smallest_scale, "1",
            "smallest scale along any direction, 1 for a rigid model", ok("scales"),
        ),
        QualityFigure(
            "shear", f.shear, "1",
            "largest off-diagonal element of the stretch along x, y, z; 0 for a rigid model",
            ok("shear"),
        ),
        QualityFigure(
            "jacobian", f.jacobian, "1",
            "volume in the moving series of one unit of the reference, the same everywhere; 1 for "
            "a rigid model", None,
        ),
        QualityFigure("rotation", f.turned_degrees, "deg", "angle of the transform", None),
        QualityFigure(
            "displacement", f.moved_mm, "mm", "mean movement of body points", None
        ),
    )


def _inside(index: FloatArray, level: Level) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    top = np.array(level.array.shape[::-1]) - 0.5
    return np.asarray(np.all((index >= -0.5) & (index <= top), axis=1))


def _share_inside(points: FloatArray, level: Level) -> float:
    return float(_inside(level.grid.to_index(points), level).mean())
