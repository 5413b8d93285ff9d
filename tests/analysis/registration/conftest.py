"""One coarse synthetic head for the whole folder, and ways to spoil it."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.geometry import FloatArray, Grid, Volume
from analysis.phantoms.head import make_head
from analysis.phantoms.model import Phantom


@pytest.fixture(scope="session")
def head() -> Phantom:
    """Each series in a frame of its own; 3 mm voxels keep the tests quick."""
    return make_head(5, spacing_mm=(3.0, 3.0, 3.0), positive=True)


def placed(volume: Volume, matrix: FloatArray) -> Volume:
    """The same voxels somewhere else: each LPS point x moves to ``matrix @ x``."""
    grid = Grid(volume.grid.shape, np.asarray(matrix) @ volume.grid.affine)
    return Volume(volume.array, grid, volume.unit, volume.modality, volume.role)


def translation(x: float, y: float, z: float) -> FloatArray:
    matrix = np.eye(4)
    matrix[:3, 3] = (x, y, z)
    return matrix
