"""Landmark pairs in numbers: the rigid fit and the distances that remain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from django.utils.translation import gettext

FloatArray = npt.NDArray[np.float64]

FEWEST = 3
THINNEST_MM = 2.0
"""Root mean square distance of the points from their best line, at least: below, the turn about
that line follows from how a hand shook, not from the anatomy."""


class FitRefused(Exception):
    """The pairs do not determine a rigid alignment; the message says why and what to do."""


@dataclass(frozen=True)
class Residuals:
    """Distances of pairs in mm; ``each`` is NaN where a pair lies outside a deformation."""

    each: FloatArray

    @property
    def known(self) -> FloatArray:
        return self.each[np.isfinite(self.each)]

    def as_json(self) -> dict[str, float | int | None]:
        """Mean, root mean square and maximum over the pairs with a known distance."""
        known = self.known
        if not len(known):
            return {"count": 0, "mean_mm": None, "rms_mm": None, "max_mm": None}
        return {
            "count": len(known),
            "mean_mm": float(known.mean()),
            "rms_mm": float(np.sqrt((known**2).mean())),
            "max_mm": float(known.max()),
        }


def fit_rigid(reference: npt.ArrayLike, moving: npt.ArrayLike) -> FloatArray:
    """The rigid 4x4 (moving LPS -> reference LPS, mm) with the least sum of squared distances.

    ``reference``, ``moving``: (n, 3) mm, pair by pair. By singular value decomposition without
    reflection: Kabsch 1976 (Acta Cryst. A32, 922), Umeyama 1991 (IEEE TPAMI 13, 376). Raises
    :class:`FitRefused` for fewer than three pairs, or points (almost) on a line in either image.
    """
    there = np.asarray(reference, dtype=np.float64).reshape(-1, 3)
    here = np.asarray(moving, dtype=np.float64).reshape(-1, 3)
    if len(there) < FEWEST:
        raise FitRefused(
            gettext("A fit needs at least {fewest} landmark pairs; there are {n}.").format(
                fewest=FEWEST, n=len(there)
            )
        )
    for name, points in (("reference", there), ("moving", here)):
        if _thickness(points) < THINNEST_MM:
            raise FitRefused(
                gettext(
                    "The landmarks of the {name} image lie on a line, which leaves a turn open. "
                    "Add a pair away from that line."
                ).format(name=name)
            )
    middle_there, middle_here = there.mean(axis=0), here.mean(axis=0)
    u, _, vt = np.linalg.svd((here - middle_here).T @ (there - middle_there))
    handed = np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))])
    matrix = np.eye(4)
    matrix[:3, :3] = vt.T @ handed @ u.T
    matrix[:3, 3] = middle_there - matrix[:3, :3] @ middle_here
    return matrix


def _thickness(points: FloatArray) -> float:
    """Root mean square extent along the second principal axis, mm."""
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return float(spread[1] / np.sqrt(len(points)))
