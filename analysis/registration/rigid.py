"""Rigid and affine 4x4 matrices: built, measured, compared. All map LPS mm to LPS mm."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from analysis.geometry import FloatArray
from analysis.geometry import apply as apply


def rigid(rotation: Rotation, shift: FloatArray, centre: FloatArray) -> FloatArray:
    """x -> R (x - centre) + centre + shift."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation.as_matrix()
    matrix[:3, 3] = centre + shift - matrix[:3, :3] @ centre
    return matrix


def turn_of(vector: FloatArray) -> FloatArray:
    """3x3 rotation of a rotation vector in rad (Rodrigues): a tenth of the time of a scipy one."""
    angle = float(np.sqrt(vector @ vector))
    x, y, z = vector / max(angle, 1e-12)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def invert(matrix: FloatArray) -> FloatArray:
    """The inverse; of a rigid matrix kept exactly rigid (transposed rotation)."""
    if not is_rigid(matrix, 1e-9):
        return np.asarray(np.linalg.inv(matrix), dtype=np.float64)
    result = np.eye(4)
    result[:3, :3] = matrix[:3, :3].T
    result[:3, 3] = -matrix[:3, :3].T @ matrix[:3, 3]
    return result


def distances(first: FloatArray, second: FloatArray, points: FloatArray) -> FloatArray:
    """Distance in mm between the images of each point under two matrices."""
    return np.asarray(
        np.linalg.norm(apply(first, points) - apply(second, points), axis=1), dtype=np.float64
    )


def angle_degrees(matrix: FloatArray) -> float:
    """Rotation angle of a matrix; of an affine one, that of the nearest rotation."""
    return float(np.degrees(Rotation.from_matrix(matrix[:3, :3]).magnitude()))


def stretch(matrix: FloatArray) -> FloatArray:
    """The symmetric U of the polar decomposition A = R U: eigenvalues are the scales, off-diagonal
    elements the shears (3x3)."""
    _, values, right = np.linalg.svd(matrix[:3, :3])
    return np.asarray(right.T @ np.diag(values) @ right, dtype=np.float64)


def is_rigid(matrix: FloatArray, tolerance: float = 1e-6) -> bool:
    rotation = matrix[:3, :3]
    return bool(
        np.allclose(rotation @ rotation.T, np.eye(3), atol=tolerance)
        and np.linalg.det(rotation) > 0
        and np.allclose(matrix[3], [0, 0, 0, 1], atol=tolerance)
    )
