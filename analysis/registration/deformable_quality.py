"""How good a deformation is: figures, estimated error, verdict with reasons.

A deformation can make unlike images alike, so a better match proves little. What counts is whether
the field could be anatomy (no folding, no extreme change of volume), whether an independent
registration with exchanged roles finds the same, and whether the alignment below it was trusted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.contracts import QualityFigure, RegistrationRecord, Verdict
from analysis.deformation import Deformation
from analysis.geometry import FloatArray, Grid, Volume
from analysis.registration.descriptors import Float32Array, descriptors
from analysis.resampling import resample

Mask = npt.NDArray[np.bool_]

_NO_LIMIT = float(np.finfo(np.float64).max)
"""Finite, so that infinity and NaN fail it."""

BINS = 32
PROBES = 20_000

JACOBIAN_LOW, JACOBIAN_HIGH = 0.33, 3.0
"""Tissue that is to shrink or grow threefold is doubted wherever it happens in the body."""
CONSISTENCY_DOUBTFUL_MM, CONSISTENCY_REFUSED_MM = 3.0, 5.0
"""Of the way forth and back: the 95th percentile is doubted above the first (AAPM TG-132: the
largest voxel, 2-3 mm; the larger of this and the largest voxel is used), the mean is refused above
the second. Even tissue that looks the same a centimetre on raises the percentile alone. The
mean spread of starts has the limit of the percentile (measured: 0.3-1.4 mm for true fields)."""
ERROR_DOUBTFUL_MM, ERROR_REFUSED_MM = 4.0, 10.0
"""As for rigid registration."""
REACH_DOUBTFUL_MM = 45.0
"""Organs move by breathing up to about 40 mm; more is another cause."""
SHARED_DOUBTFUL, SHARED_REFUSED = 0.06, 0.03
"""Normalised mutual information minus 1 inside the body, after bending. As for rigid."""
COVERED_DOUBTFUL, COVERED_REFUSED = 0.30, 0.05
"""Share of the body that the moving image shows at all."""
GAIN_LEAST = 0.01
"""Relative gain of shared information and of descriptor match below which bending is not worth
having: noise alone gives some tenths of a percent."""


@dataclass(frozen=True)
class Figures:
    """Lengths in mm, the rest shares or information; over the body of the reference."""

    shared_before: float
    shared_after: float
    mismatch_before: float
    mismatch_after: float
    consistency_mean_mm: float
    consistency_p95_mm: float
    jacobian_min: float
    jacobian_p1: float
    jacobian_p99: float
    jacobian_max: float
    folded: float
    moved_mean_mm: float
    moved_max_mm: float
    covered: float
    voxel_mm: float
    start_error_mm: float
    spread_mm: float

    @property
    def gains(self) -> bool:
        """Whether the images match better bent than unbent, by both measures."""
        shared = self.shared_after - self.shared_before
        mismatch = self.mismatch_before - self.mismatch_after
        return (
            shared > GAIN_LEAST * max(self.shared_before, 0.01)
            and mismatch > GAIN_LEAST * self.mismatch_before
        )

    @property
    def estimated_error_mm(self) -> float:
        """Root of the squared sum of the mean round trip and a tenth of the largest voxel."""
        return float(np.hypot(self.consistency_mean_mm, 0.1 * self.voxel_mm))


def measure(
    fixed: Float32Array,
    mobile: Float32Array,
    body: Mask,
    seen: Mask,
    grid: Grid,
    field: Deformation,
    *,
    forth: Deformation,
    back: Deformation,
    start: RegistrationRecord,
    spread_mm: float,
    voxel_mm: float,
) -> Figures:
    """Figures of ``field`` from the images on ``grid`` (reference space), ``mobile`` unbent.

    ``forth`` and ``back`` are the two independent solutions, without matrix, of which ``field`` is
    the middle. ``seen``: where the moving image shows something.
    """
    lattice = Deformation(field.displacement, field.grid)
    bent, covered = resample(Volume(mobile, grid, "1"), grid, deformation=lattice)
    both = body & covered & seen
    unbent_shared = shared_information(fixed[both], mobile[both])
    bent_array = np.asarray(bent.array, dtype=np.float32)
    wanted = descriptors(fixed)
    before = float(np.square(wanted - descriptors(mobile))[:, both].mean())
    after = float(np.square(wanted - descriptors(bent_array))[:, both].mean())
    flat = np.flatnonzero(both)
    flat = flat[:: max(1, len(flat) // PROBES)]
    k, j, i = np.unravel_index(flat, body.shape)
    points = grid.to_lps(np.stack([i, j, k], axis=1))
    trip = np.linalg.norm(back.to_moving(forth.to_moving(points)) - points, axis=1)
    moved = np.linalg.norm(lattice.to_moving(points) - points, axis=1)
    jacobian = _at(field.jacobian(), field.grid, points)
    return Figures(
        shared_before=unbent_shared,
        shared_after=shared_information(fixed[both], bent_array[both]),
        mismatch_before=before,
        mismatch_after=after,
        # A point that leaves the field on its way has no round trip; it is left out.
        consistency_mean_mm=float(np.nanmean(trip)),
        consistency_p95_mm=float(np.nanpercentile(trip, 95)),
        jacobian_min=float(jacobian.min()),
        jacobian_p1=float(np.percentile(jacobian, 1)),
        jacobian_p99=float(np.percentile(jacobian, 99)),
        jacobian_max=float(jacobian.max()),
        folded=field.folded_share(),
        moved_mean_mm=float(np.nanmean(moved)),
        moved_max_mm=float(np.nanmax(moved)),
        covered=float(both.sum() / max(1, body.sum())),
        voxel_mm=voxel_mm,
        start_error_mm=estimated_error(start),
        spread_mm=spread_mm,
    )


def estimated_error(record: RegistrationRecord) -> float:
    """The record's own estimate in mm; NaN if it has none."""
    found = (q.value for q in record.quality if q.name == "estimated_error")
    return next(found, float("nan"))


def shared_information(first: Float32Array, second: Float32Array) -> float:
    """(H(A)+H(B))/H(A,B) - 1 of two lists of values, 32 bins between robust extremes."""
    if len(first) < 500:
        return 0.0
    bins = []
    for values in (first, second):
        low, high = np.percentile(values, [0.5, 99.5])
        scaled = (values - low) * (BINS / max(float(high - low), 1e-6))
        bins.append(np.clip(scaled, 0, BINS - 1).astype(np.int64))
    joint = np.bincount(bins[0] * BINS + bins[1], minlength=BINS * BINS).reshape(BINS, BINS)
    both = _entropy(joint.ravel())
    if both <= 0:
        return 0.0
    return float((_entropy(joint.sum(axis=1)) + _entropy(joint.sum(axis=0))) / both - 1.0)


def judge(f: Figures) -> tuple[Verdict, tuple[str, ...]]:
    """The worst that any figure allows, with the reasons. What is not a number is refused."""
    refused: list[str] = []
    doubtful: list[str] = []

    def hold(value: float, limit: float, worst: float, reason: str) -> None:
        """``value`` must not exceed ``limit``; beyond ``worst``, or NaN, it is refused."""
        if not value <= worst:
            refused.append(reason)
        elif value > limit:
            doubtful.append(reason)

    hold(
        f.folded, 0.0, 0.0,
        f"the deformation folds tissue over itself ({f.folded:.3%} of the field)",
    )
    ratio = f"volume ratio {f.jacobian_min:.2f} to {f.jacobian_max:.2f}"
    hold(
        -f.jacobian_min, -JACOBIAN_LOW, _NO_LIMIT,
        f"somewhere in the body tissue would shrink to less than a third ({ratio})",
    )
    hold(
        f.jacobian_max, JACOBIAN_HIGH, _NO_LIMIT,
        f"somewhere in the body tissue would grow more than threefold ({ratio})",
    )
    hold(
        f.consistency_p95_mm,
        max(CONSISTENCY_DOUBTFUL_MM, f.voxel_mm), _NO_LIMIT,
        "in parts of the body the images do not determine the deformation: bending forth and back "
        f"ends up to {f.consistency_p95_mm:.1f} mm away (95th percentile)",
    )
    hold(
        f.consistency_mean_mm, _NO_LIMIT, max(CONSISTENCY_REFUSED_MM, f.voxel_mm),
        "bending forth and back does not return to the start "
        f"({f.consistency_mean_mm:.1f} mm away on average)",
    )
    hold(
        f.spread_mm,
        max(CONSISTENCY_DOUBTFUL_MM, f.voxel_mm), _NO_LIMIT,
        f"bends that start differently end {f.spread_mm:.1f} mm apart on average",
    )
    hold(
        f.estimated_error_mm, ERROR_DOUBTFUL_MM, ERROR_REFUSED_MM,
        f"the estimated error is {f.estimated_error_mm:.1f} mm",
    )
    hold(
        f.moved_max_mm, REACH_DOUBTFUL_MM, _NO_LIMIT,
        f"tissue is moved by up to {f.moved_max_mm:.0f} mm, more than breathing explains",
    )
    hold(
        -f.shared_after, -SHARED_DOUBTFUL, -SHARED_REFUSED,
        f"inside the body the images share hardly any structure ({f.shared_after:.3f})",
    )
    hold(
        -f.covered, -COVERED_DOUBTFUL, -COVERED_REFUSED,
        f"the moving image shows only {f.covered:.0%} of the body",
    )
    reasons = (*refused, *doubtful)
    if refused:
        return "refused", reasons
    return ("doubtful", reasons) if doubtful else ("usable", ())


def as_quality(f: Figures) -> tuple[QualityFigure, ...]:
    """The figures as records; ``passed`` is None where a figure only informs."""
    limit = max(CONSISTENCY_DOUBTFUL_MM, f.voxel_mm)
    return (
        QualityFigure(
            "estimated_error", f.estimated_error_mm, "mm",
            "root of summed squares of the mean round trip and a tenth of the largest voxel; a "
            "lower bound: where the images show no structure the field is a guess",
            f.estimated_error_mm <= ERROR_DOUBTFUL_MM,
        ),
        QualityFigure(
            "inverse_consistency", f.consistency_mean_mm, "mm",
            "mean round trip over body points, second registration with exchanged roles; the "
            "result is the middle of the two", None,
        ),
        QualityFigure(
            "inverse_consistency_p95", f.consistency_p95_mm, "mm",
            "95th percentile of the same", f.consistency_p95_mm <= limit,
        ),
        QualityFigure(
            "start_spread", f.spread_mm, "mm",
            "largest mean distance over the body between the coarsest level's results from no bend "
            "and from random smooth bends of 5 mm", f.spread_mm <= limit,
        ),
        QualityFigure(
            "jacobian_min", f.jacobian_min, "1", "volume ratio, smallest in the body",
            f.jacobian_min >= JACOBIAN_LOW,
        ),
        QualityFigure("jacobian_p1", f.jacobian_p1, "1", "1st percentile in the body", None),
        QualityFigure("jacobian_p99", f.jacobian_p99, "1", "99th percentile in the body", None),
        QualityFigure(
            "jacobian_max", f.jacobian_max, "1", "largest in the body",
            f.jacobian_max <= JACOBIAN_HIGH,
        ),
        QualityFigure(
            "folded", f.folded, "1",
            "share of all cell corners of the field with a determinant of 0 or less",
            f.folded == 0.0,
        ),
        QualityFigure(
            "shared_information_gain", f.shared_after - f.shared_before, "1",
            f"normalised mutual information in the body, {f.shared_after:.3f} bent against "
            f"{f.shared_before:.3f} unbent (each minus 1)", f.gains,
        ),
        QualityFigure(
            "shared_information", f.shared_after, "1",
            "normalised mutual information minus 1 in the body, bent",
            f.shared_after >= SHARED_DOUBTFUL,
        ),
        QualityFigure(
            "descriptor_gain", 1.0 - f.mismatch_after / max(f.mismatch_before, 1e-12), "1",
            "share of the mean squared descriptor difference in the body that bending takes away",
            f.gains,
        ),
        QualityFigure(
            "displacement", f.moved_mean_mm, "mm", "mean movement of body points by bending", None
        ),
        QualityFigure(
            "displacement_max", f.moved_max_mm, "mm", "largest movement of body points by bending",
            f.moved_max_mm <= REACH_DOUBTFUL_MM,
        ),
        QualityFigure(
            "overlap", f.covered, "1", "share of the body that the moving image shows",
            f.covered >= COVERED_DOUBTFUL,
        ),
    )


def _at(array: Float32Array, grid: Grid, points: FloatArray) -> FloatArray:
    """Values of the nearest nodes."""
    top = np.array(grid.shape[::-1]) - 1
    i, j, k = np.clip(np.rint(grid.to_index(points)), 0, top).astype(np.int64).T
    return np.asarray(array[k, j, i], dtype=np.float64)


def _entropy(counts: npt.NDArray[np.int64]) -> float:
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())
