"""Alignments that a browser sends, checked: 4x4, moving LPS -> reference LPS, mm."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from django.utils.translation import gettext

from workstation.reading.fusion_state import is_rigid
from workstation.reading.services import FARTHEST_MM, ReviewRefused

SAME_MM = 0.01
"""Two matrices are one alignment if no point within a metre of the origin is moved apart more."""
MOST_STRETCH = 2.0
"""A start may stretch or shrink by this factor at most; more is no scanner and no breath."""


def nudged_matrix(matrix: Any, current: Any) -> list[list[float]]:
    """A 4x4 (layer LPS -> reference LPS) that is rigid, or moves and turns an image that lies by
    ``current``: a nudge keeps the stretch of an affine alignment and adds none."""
    rows = four_by_four(matrix)
    if not (is_rigid(rows) or is_rigid(rows @ np.linalg.inv(np.asarray(current)))):
        raise ReviewRefused(
            gettext("A nudge may move and turn an image, not stretch or mirror it.")
        )
    return as_lists(rows)


def affine_matrix(matrix: Any) -> list[list[float]]:
    """A 4x4 from which a refinement may start: rigid or mildly affine, never mirrored."""
    rows = four_by_four(matrix)
    stretch = np.linalg.svd(rows[:3, :3], compute_uv=False)
    if stretch[0] > MOST_STRETCH or stretch[2] < 1 / MOST_STRETCH:
        raise ReviewRefused(
            gettext("The start stretches the image more than {most_stretch:g} times.").format(
                most_stretch=MOST_STRETCH
            )
        )
    if np.linalg.det(rows[:3, :3]) < 0:
        raise ReviewRefused(gettext("The start mirrors the image."))
    return as_lists(rows)


def four_by_four(matrix: Any) -> npt.NDArray[np.float64]:
    """A finite 4x4 of patient millimetres, or :class:`ReviewRefused`."""
    try:
        rows = np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ReviewRefused(gettext("An alignment needs a 4x4 matrix.")) from None
    if rows.shape != (4, 4) or not np.isfinite(rows).all():
        raise ReviewRefused(gettext("An alignment needs a 4x4 matrix."))
    if not np.allclose(rows[3], [0, 0, 0, 1]):
        raise ReviewRefused(gettext("The last row of an alignment is 0, 0, 0, 1."))
    if np.abs(rows[:3, 3]).max() > FARTHEST_MM:
        raise ReviewRefused(gettext("The alignment moves the image out of every room."))
    return rows


def as_lists(rows: npt.NDArray[np.float64]) -> list[list[float]]:
    """As it is stored and sent."""
    return [[float(v) for v in row] for row in rows]


def same_alignment(first: Any, second: Any) -> bool:
    """Whether two 4x4 differ by less than ``SAME_MM`` anywhere near."""
    apart = np.abs(np.asarray(first) - np.asarray(second))
    return bool((apart[:3, :3].sum(axis=1) * 1000 + apart[:3, 3]).max() < SAME_MM)
