"""Which plane of a volume a picture shows: voxel axes, slice numbers, the letters at its edges.

The same planes and slice numbers as the viewer's (``frontend/src/viewer/orientation.ts``): those of
the voxel axes nearest to the patient's, so that nothing is interpolated between slices.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
PLANES = ("axial", "sagittal", "coronal")
_LETTERS = (("L", "R"), ("P", "A"), ("H", "F"))
_OBLIQUE = 0.2
"""A part of a direction that is named: about 12 degrees."""


@dataclass(frozen=True)
class SlicePlane:
    """One slice on the pixels of a picture. LPS mm."""

    origin: FloatArray
    """Centre of the top left pixel."""
    right: FloatArray
    """One pixel to the right, and ``down``: one row down."""
    down: FloatArray
    width: int
    height: int
    position: int
    """Slice number, from 1 in the direction "next" (feet, left, back)."""
    count: int
    millimetres_per_pixel: float

    @property
    def sides(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Top left corner, and the vectors along the top edge and down the left edge."""
        corner = self.origin - (self.right + self.down) / 2
        return corner, self.right * self.width, self.down * self.height

    @property
    def letters(self) -> tuple[str, str, str, str]:
        """Where the top, right, bottom and left edge of the picture lie in the patient."""
        return (
            letters_of(-self.down), letters_of(self.right),
            letters_of(self.down), letters_of(-self.right),
        )  # fmt: skip


def letters_of(direction: FloatArray) -> str:
    """R/L, A/P, H/F, strongest first, of every part above 0.2."""
    unit = direction / np.linalg.norm(direction)
    parts = sorted(
        ((abs(v), _LETTERS[n][0 if v > 0 else 1]) for n, v in enumerate(unit)),
        key=lambda part: -part[0],
    )
    return "".join(letter for size, letter in parts if size > _OBLIQUE)


def _patient_axes(axes: FloatArray) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Voxel axis and sign nearest to the patient's left, back and head; ``axes``: unit columns."""
    order = (0, 1, 2)
    best = -1.0
    for candidate in permutations((0, 1, 2)):
        fit = sum(abs(float(axes[n, axis])) for n, axis in enumerate(candidate))
        if fit > best + 1e-9:
            order, best = candidate, fit
    return order, tuple(1 if axes[n, axis] >= 0 else -1 for n, axis in enumerate(order))


def slice_plane(
    affine: FloatArray,
    shape: tuple[int, int, int],
    plane: str,
    position: int | None,
    longest: int,
) -> SlicePlane:
    """Slice ``position`` (clipped to the volume; None: the middle) of a plane of PLANES.

    ``affine``: 4x4, (i, j, k) -> LPS mm, ``shape``: (nz, ny, nx), ``longest``: pixels of the
    picture's longer side; pixels are square in mm.
    """
    counts = np.array(shape[::-1])
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    order, signs = _patient_axes(affine[:3, :3] / steps)
    left, back, head = range(3)
    across, right, down, up, ahead = {
        "axial": (head, left, back, 1, -1),
        "coronal": (back, left, head, -1, 1),
        "sagittal": (left, back, head, -1, 1),
    }[plane]

    def axis(which: int, turn: int = 1) -> tuple[int, int]:
        return order[which], signs[which] * turn

    through, next_sign = axis(across, ahead)
    count = int(counts[through])
    number = min(max(position or (count + 1) // 2, 1), count)
    index = np.zeros(3)
    index[through] = number - 1 if next_sign == 1 else count - number
    (u, u_sign), (v, v_sign) = axis(right), axis(down, up)
    sides = counts[[u, v]] * steps[[u, v]]
    pixel = float(max(sides) / longest)
    width, height = (max(1, round(float(side) / pixel)) for side in sides)
    move_u, move_v = np.zeros(3), np.zeros(3)
    move_u[u] = u_sign * counts[u] / width
    move_v[v] = v_sign * counts[v] / height
    for n, sign, move in ((u, u_sign, move_u), (v, v_sign, move_v)):
        # Voxels end half a step beyond the outermost centres.
        index[n] = (-0.5 if sign == 1 else counts[n] - 0.5) + move[n] / 2
    turn = affine[:3, :3]
    return SlicePlane(
        origin=turn @ index + affine[:3, 3], right=turn @ move_u, down=turn @ move_v,
        width=width, height=height, position=number, count=count, millimetres_per_pixel=pixel,
    )  # fmt: skip
