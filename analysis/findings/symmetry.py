"""The plane about which a head is most symmetric, for tumour-to-contralateral ratios."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.ndimage as ndi
from scipy.optimize import minimize

from analysis.geometry import Volume, isotropic_grid
from analysis.resampling import resample

LOOK_MM = 5.0
POINTS = 8000
"""Places compared with their mirror image, evenly picked."""
MIN_CORRELATION = 0.5
"""Below this the two halves do not look alike and no mirror image is trusted."""


@dataclass(frozen=True, eq=False)
class MirrorPlane:
    """Points p with ``normal . p = offset`` (LPS mm); ``normal`` is a unit vector close to +x."""

    normal: npt.NDArray[np.float64]
    offset: float
    correlation: float
    """Between the image and its mirror image inside the head."""

    def mirror(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """LPS points (..., 3) on the other side."""
        gap = points @ self.normal - self.offset
        return np.asarray(points - 2.0 * gap[..., None] * self.normal)

    def side(self, point: npt.NDArray[np.float64]) -> float:
        """Signed distance in mm, positive on the patient's left."""
        return float(point @ self.normal - self.offset)


def _normal(yaw: float, roll: float) -> npt.NDArray[np.float64]:
    n = np.array([1.0, np.tan(yaw), np.tan(roll)])
    return np.asarray(n / np.linalg.norm(n))


def mirror_plane(head: Volume) -> MirrorPlane | None:
    """The best mirror plane within 20 degrees of sagittal; None when the head is not symmetric.

    Coarse (5 mm voxels, smoothed): the plane is good to about 2 mm and 1 degree, enough to mirror
    a region of a centimetre, not to compare single voxels.
    """
    coarse, _ = resample(head, isotropic_grid(head.grid, LOOK_MM))
    image = ndi.gaussian_filter(np.asarray(coarse.array, dtype=np.float64), 1.0)
    inside = image > 0.5 * image.mean()
    if inside.sum() < 200:
        return None
    where = np.argwhere(inside)
    where = where[:: max(1, len(where) // POINTS)]
    points = coarse.grid.to_lps(where[:, ::-1])
    values = image[tuple(where.T)]
    middle = points.mean(axis=0)

    def loss(parameters: npt.NDArray[np.float64]) -> float:
        shift, yaw, roll = parameters[0], parameters[1] / 100, parameters[2] / 100
        normal = _normal(yaw, roll)
        plane = MirrorPlane(normal, float(middle @ normal) + shift, 0.0)
        index = coarse.grid.to_index(plane.mirror(points))[:, ::-1].T
        mirrored = ndi.map_coordinates(image, index, order=1, mode="constant")
        return -float(np.corrcoef(values, mirrored)[0, 1])

    start = min(
        itertools.product((-8.0, 0.0, 8.0), (-12.0, 0.0, 12.0), (-12.0, 0.0, 12.0)),
        key=lambda p: loss(np.array(p)),
    )
    best = minimize(loss, np.array(start), method="Nelder-Mead", options={"xatol": 0.2})
    if -best.fun < MIN_CORRELATION:
        return None
    normal = _normal(best.x[1] / 100, best.x[2] / 100)
    return MirrorPlane(normal, float(middle @ normal) + float(best.x[0]), -float(best.fun))
