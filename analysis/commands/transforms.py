"""Transforms as files of other programs: ITK .tfm and .h5 (3D Slicer, ANTs, elastix tools).

ITK's sense is that of resampling: a point of the fixed image goes to its place in the moving one.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from analysis.contracts import Matrix
from analysis.deformation import Deformation
from analysis.errors import InputRefused
from analysis.geometry import FloatArray, as_matrix, itk_affine


def _field_image(deformation: Deformation) -> sitk.Image:
    """The displacement in LPS mm on its own grid, as a vector image."""
    grid = deformation.grid
    image = sitk.GetImageFromArray(deformation.displacement.astype(np.float64), isVector=True)
    image.SetSpacing(grid.spacing)
    image.SetOrigin([float(v) for v in grid.affine[:3, 3]])
    image.SetDirection([float(v) for v in grid.direction.ravel()])
    return image


def write_transform(path: Path, fixed_to_moving: FloatArray) -> None:
    """An affine (or rigid) transform as ITK text."""
    sitk.WriteTransform(itk_affine(fixed_to_moving), str(path))


def write_composite(path: Path, deformation: Deformation) -> None:
    """Field, then matrix, as one ITK transform (.h5): x -> inverse(matrix) @ (x + u(x))."""
    pull = np.linalg.inv(np.asarray(deformation.matrix, dtype=np.float64))
    both = sitk.CompositeTransform(3)
    # ITK applies the transform that was added last first.
    both.AddTransform(itk_affine(pull))
    both.AddTransform(sitk.DisplacementFieldTransform(_field_image(deformation)))
    sitk.WriteTransform(both, str(path))


def write_field(path: Path, deformation: Deformation) -> None:
    """u in mm along LPS at the nodes of its grid, in the space of the fixed image."""
    sitk.WriteImage(sitk.Cast(_field_image(deformation), sitk.sitkVectorFloat32), str(path))


def read_start(path: Path) -> Matrix:
    """A start from a file, as moving LPS -> fixed LPS (the sense of a registration record).

    ``path`` is an ITK transform (fixed -> moving), or a JSON with ``matrix`` as this program prints
    it (fixed -> moving). Raises ``InputRefused`` (``bad_start``, ``no_such_file``), also for a
    deformable result: its field would be lost.
    """
    if not path.is_file():
        raise InputRefused("no_such_file", f"There is no file {path}.")
    pull = _from_json(path) if path.suffix.lower() == ".json" else _from_itk(path)
    if not np.isfinite(pull).all() or abs(float(np.linalg.det(pull[:3, :3]))) < 1e-6:
        raise InputRefused("bad_start", f"{path.name} holds a matrix that cannot be inverted.")
    return as_matrix(np.linalg.inv(pull))


def _from_json(path: Path) -> FloatArray:
    try:
        found = json.loads(path.read_text("utf-8"))
        rows = np.asarray(found["matrix"] if isinstance(found, dict) else found, dtype=np.float64)
    except (ValueError, KeyError, TypeError) as error:
        raise InputRefused("bad_start", f"{path.name} holds no 4x4 matrix.") from error
    if isinstance(found, dict) and found.get("model") == "deformable":
        raise InputRefused(
            "bad_start",
            f"{path.name} is a deformable result, and a start has no displacements. Give the "
            'matrix that stands under "linear" in it.',
        )
    if rows.shape != (4, 4):
        raise InputRefused("bad_start", f"{path.name} holds no 4x4 matrix.")
    if not np.allclose(rows[3], (0, 0, 0, 1), atol=1e-6):
        raise InputRefused("bad_start", f"The last row of {path.name}'s matrix is not 0 0 0 1.")
    return rows


def _from_itk(path: Path) -> FloatArray:
    try:
        transform = sitk.ReadTransform(str(path))
    except RuntimeError as error:
        raise InputRefused("bad_start", f"{path.name} is no ITK transform file.") from error
    if transform.GetDimension() != 3 or not transform.IsLinear():
        raise InputRefused(
            "bad_start", f"{path.name} is no rigid or affine transform in three dimensions."
        )
    # Whatever kind it is: where it sends the origin and the unit vectors is its matrix.
    corners = np.array([transform.TransformPoint(p) for p in np.vstack([np.zeros(3), np.eye(3)])])
    matrix = np.eye(4)
    matrix[:3, 3] = corners[0]
    matrix[:3, :3] = (corners[1:] - corners[0]).T
    return matrix

