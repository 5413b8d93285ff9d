"""The geometry and arithmetic of measurements: numpy and scipy; of Django the words alone.

Points are LPS mm of the reference space, voxel indices are (i, j, k), arrays are [k, j, i].
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class CannotMeasure(Exception):
    """These points make no measurement; the message says why and what to do."""
