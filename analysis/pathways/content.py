"""What the voxels say about the body region, when no tag does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.ndimage as ndi

from analysis.geometry import Grid, Volume, isotropic_grid
from analysis.resampling import resample

LOOK_MM = 4.0
BODY_HU = -300.0
LUNG_HU = (-950.0, -500.0)


@dataclass(frozen=True, eq=False)
class BodyAir:
    """A CT looked at coarsely. Masks are [z, y, x] on ``grid``."""

    body: npt.NDArray[np.bool_]
    """Everything within the skin: tissue with its holes filled, slice by slice."""
    lung_like: npt.NDArray[np.bool_]
    """Air of lung density inside the body; neither table nor air around the patient count."""
    grid: Grid

    @property
    def lung_fraction(self) -> float:
        total = int(self.body.sum())
        return float(self.lung_like.sum()) / total if total else 0.0

    @property
    def lung_ml(self) -> float:
        return float(self.lung_like.sum()) * self.grid.voxel_volume_ml


def body_air(ct: Volume) -> BodyAir:
    """Body and lung-like air of a CT in HU."""
    coarse, _ = resample(ct, isotropic_grid(ct.grid, LOOK_MM))
    hu = np.asarray(coarse.array)
    labels, count = ndi.label(ndi.binary_opening(hu > BODY_HU))
    if count == 0:
        nothing = np.zeros(hu.shape, dtype=bool)
        return BodyAir(nothing, nothing, coarse.grid)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    body = labels == int(sizes.argmax())
    body = np.stack([ndi.binary_fill_holes(plane) for plane in body])
    lung_like = body & (hu > LUNG_HU[0]) & (hu < LUNG_HU[1])
    return BodyAir(body, lung_like, coarse.grid)
