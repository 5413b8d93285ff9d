"""How well a network does: overlap, detection, discrimination, each with its uncertainty.

Dice and its conventions follow BraTS (both empty: 1, one empty: 0). The variance of the area
under the ROC curve is DeLong's (Biometrics 1988;44:837), its interval is taken on the logit scale
so that it stays within 0..1. Intervals of means are percentile bootstraps over patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Z95 = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; ``n`` is the number of patients (or lesions) behind it."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def dice(predicted: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> float:
    """2|A and B| / (|A| + |B|)."""
    total = int(predicted.sum()) + int(truth.sum())
    if total == 0:
        return 1.0
    return 2.0 * int((predicted & truth).sum()) / total


def bootstrap_mean(values: list[float], seed: int = 20260101, draws: int = 2000) -> Estimate:
    """Mean with a percentile interval, patients drawn with replacement."""
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0:
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    rng = np.random.default_rng(seed)
    means = data[rng.integers(data.size, size=(draws, data.size))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(float(data.mean()), float(low), float(high), int(data.size))


def _placements(
    positive: npt.NDArray[np.float64], negative: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    wins = (positive[:, None] > negative[None, :]) + 0.5 * (positive[:, None] == negative[None, :])
    return wins.mean(axis=1), wins.mean(axis=0)


def auc(scores: list[float], truth: list[bool]) -> Estimate:
    """Area under the empirical ROC curve with DeLong's variance, interval on the logit scale.

    At an area of exactly 0 or 1 the logit and the variance vanish; the interval then runs to
    1 - (1 - 0.95)^(1/m), m the smaller class: the exact bound for m successes in m trials, which
    is wide of the mark only to the careful side.
    """
    values, labels = np.asarray(scores, dtype=np.float64), np.asarray(truth, dtype=bool)
    positive, negative = values[labels], values[~labels]
    if positive.size < 2 or negative.size < 2:
        return Estimate(float("nan"), float("nan"), float("nan"), int(values.size))
    by_positive, by_negative = _placements(positive, negative)
    area = float(by_positive.mean())
    if area in (0.0, 1.0):
        reach = 1 - 0.05 ** (1 / min(positive.size, negative.size))
        low, high = (0.0, reach) if area == 0.0 else (1 - reach, 1.0)
        return Estimate(area, low, high, int(values.size))
    variance = by_positive.var(ddof=1) / positive.size + by_negative.var(ddof=1) / negative.size
    centre = np.log(area / (1 - area))
    half = Z95 * np.sqrt(variance) / (area * (1 - area))
    low, high = 1 / (1 + np.exp(-(centre - half))), 1 / (1 + np.exp(-(centre + half)))
    return Estimate(area, float(low), float(high), int(values.size))


def auc_difference(
    first: list[float], second: list[float], truth: list[bool]
) -> tuple[float, float]:
    """(z, two-sided p) of first minus second on the same patients (paired DeLong)."""
    labels = np.asarray(truth, dtype=bool)
    parts = [_placements(np.asarray(s)[labels], np.asarray(s)[~labels]) for s in (first, second)]
    areas = [float(p[0].mean()) for p in parts]
    by_positive = np.cov([p[0] for p in parts]) / int(labels.sum())
    by_negative = np.cov([p[1] for p in parts]) / int((~labels).sum())
    cov = by_positive + by_negative
    variance = float(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1])
    if variance <= 0:
        return 0.0, 1.0
    z = (areas[0] - areas[1]) / float(np.sqrt(variance))
    return z, float(erfc(abs(z) / sqrt(2)))


@dataclass(frozen=True)
class Detection:
    """Lesion counts of one patient."""

    lesions: int
    found: int
    false_positives: int


def detect(
    predicted: npt.NDArray[np.bool_],
    truth: npt.NDArray[np.bool_],
    centres: npt.NDArray[np.floating],
    radii: npt.NDArray[np.floating],
    smallest: int = 2,
) -> Detection:
    """Compare marks (26-neighbourhood, at least ``smallest`` voxels) with known lesions.

    ``centres`` (n, 3) are voxels (z, y, x), ``radii`` (n,) voxels. A lesion is found when a mark
    reaches within its radius of its centre (the rule of LUNA16); a mark that touches no voxel of
    ``truth`` is a false positive.
    """
    marks, count = ndimage.label(predicted, structure=np.ones((3, 3, 3), dtype=bool))
    sizes = np.bincount(marks.ravel(), minlength=count + 1)
    kept = [m for m in range(1, count + 1) if sizes[m] >= smallest]
    voxels = np.argwhere(np.isin(marks, kept))
    found = 0
    for centre, radius in zip(centres, radii, strict=True):
        gaps = np.linalg.norm(voxels - centre, axis=1)
        found += bool(len(gaps)) and bool(gaps.min() <= max(radius, 1.0))
    touching = {int(v) for v in np.unique(marks[truth])}
    return Detection(len(centres), found, sum(1 for m in kept if m not in touching))
