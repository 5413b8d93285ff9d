"""What deformable registration compares: self-similarity, the same in CT, in any MR and in PET.

Modality independent neighbourhood descriptor with self-similarity context (Heinrich et al.,
MICCAI 2013, doi:10.1007/978-3-642-40811-3_24). It says how alike the small patches around a voxel
are to each other, not how bright they are, so images of different contrast can be subtracted.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

CHANNELS = 12
PATCH = 3
"""Edge of the compared patches, voxels."""
NOISE_FLOOR = 0.05
"""Share of the mean patch difference below which a difference counts as noise: without it the
descriptor of air and of even tissue would be noise blown up to full size."""

Float32Array = npt.NDArray[np.float32]
_AROUND = np.array(
    [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)], dtype=np.int64
)
_PAIRS = [
    (a, b) for a, b in combinations(range(6), 2) if np.sum((_AROUND[a] - _AROUND[b]) ** 2) == 2
]


def descriptors(image: Float32Array) -> Float32Array:
    """Values in 0..1, (12, z, y, x), for an image [z, y, x] on cubic voxels."""
    padded = np.pad(image, 1, mode="edge")
    beside = [
        padded[tuple(slice(1 + o, 1 + o + n) for o, n in zip(offset, image.shape, strict=True))]
        for offset in _AROUND
    ]
    result = np.empty((CHANNELS, *image.shape), np.float32)
    for channel, (a, b) in enumerate(_PAIRS):
        difference = beside[a] - beside[b]
        np.square(difference, out=difference)
        ndimage.uniform_filter(difference, PATCH, output=result[channel])
    result -= result.min(axis=0)
    scale = result.mean(axis=0)
    scale = np.maximum(scale, max(NOISE_FLOOR * float(scale.mean()), 1e-12))
    result /= scale
    np.negative(result, out=result)
    np.exp(result, out=result)
    return result
