"""What the voxels say about the body region, when no tag does."""

from __future__ import annotations

import numpy as np
import scipy.ndimage as ndi

from analysis.geometry import Volume, isotropic_grid, resample

LOOK_MM = 6.0
BODY_HU = -300.0
LUNG_HU = (-950.0, -500.0)


def lung_content(ct: Volume) -> tuple[float, float]:
    """(share of the body, volume in ml) of lung-like voxels inside the body of a CT in HU.

    The body is everything within the skin in each axial slice: soft tissue with its holes filled,
    so that air outside and the table's foam do not count.
    """
    coarse = resample(ct, isotropic_grid(ct.grid, LOOK_MM))
    hu = np.asarray(coarse.array)
    tissue = ndi.binary_opening(hu > BODY_HU, iterations=1)
    labels, count = ndi.label(tissue)
    if count == 0:
        return 0.0, 0.0
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    body = labels == int(sizes.argmax())
    filled = np.stack([ndi.binary_fill_holes(plane) for plane in body])
    lung = filled & (hu > LUNG_HU[0]) & (hu < LUNG_HU[1])
    total = float(filled.sum())
    volume = float(lung.sum()) * coarse.grid.voxel_volume_ml
    return (float(lung.sum()) / total if total else 0.0), volume
