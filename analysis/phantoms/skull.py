"""Skin, skull, face and throat: what surrounds the brain."""

from __future__ import annotations

import numpy as np

from analysis.phantoms.canvas import Array, Canvas, ellipsoid_distance
from analysis.phantoms.matter import (
    AIR,
    BONE,
    CSF,
    DURA,
    FAT,
    LENS,
    MARROW,
    MUCOSA,
    MUSCLE,
    SKIN,
    VITREOUS,
    WHITE,
)


def paint_skull(canvas: Canvas, cavity: Array, skull_mm: float, scalp_mm: float) -> None:
    """Everything outside the brain, and the cavity itself full of CSF. ``cavity`` is the signed
    distance to the inner face of the skull."""
    x, y, z = canvas.x, canvas.y, canvas.z
    skull = cavity - np.float32(skull_mm)
    face = ellipsoid_distance(x, y, z, (0, -46, -46), (66, 54, 66))
    neck = np.sqrt((x / 1.0) ** 2 + ((y - 18) / 1.05) ** 2) - 58
    neck = np.maximum(neck, z + 35)
    nose = ellipsoid_distance(x, y, z, (0, -96, -40), (15, 16, 22))
    soft = skull - np.float32(scalp_mm)
    for part, blend in ((face, 12.0), (neck, 14.0), (nose, 6.0)):
        soft = _smooth_union(soft, part.astype(np.float32), blend)
    canvas.paint(canvas.share(soft), **SKIN)
    for side in (-1, 1):
        canvas.ellipsoid((side * 78, 14, -22), (7, 15, 25), **SKIN)
    canvas.paint(canvas.share(soft + 1.8), **FAT)
    # Chewing, temporal and neck muscles.
    canvas.paint(canvas.share(np.maximum(soft + 7, np.minimum(neck, face) + 2)), **MUSCLE)
    for side in (-1, 1):
        canvas.ellipsoid((side * 64, -22, -18), (12, 26, 38), **MUSCLE)
        canvas.ellipsoid((side * 52, -28, -66), (11, 20, 30), **MUSCLE)
        canvas.ellipsoid((side * 24, 66, -70), (24, 16, 40), **MUSCLE)
    canvas.paint(canvas.share(skull), **BONE)
    _face(canvas)
    # Table, marrow, table; petrous bone and clivus are the skull between the fossae.
    diploe = np.maximum(np.abs(cavity - np.float32(skull_mm / 2)) - 1.5, -(z + 12))
    canvas.paint(canvas.share(diploe.astype(np.float32)), **MARROW)
    canvas.paint(canvas.share(cavity), **DURA)
    canvas.paint(canvas.share(cavity + np.float32(0.8)), **CSF)


def _smooth_union(a: Array, b: Array, blend: float) -> Array:
    h = np.clip(0.5 + (b - a) / np.float32(2 * blend), 0, 1)
    return np.asarray(b + (a - b) * h - np.float32(blend) * h * (1 - h), dtype=np.float32)


def _face(canvas: Canvas) -> None:
    """Facial bones, sinuses, orbits, throat."""
    canvas.ellipsoid((0, -68, -64), (30, 24, 15), **BONE)
    canvas.ellipsoid((0, -62, -70), (24, 22, 16), **MUSCLE)
    canvas.ellipsoid((0, -10, -34), (20, 24, 16), **BONE)
    canvas.ellipsoid((0, -4, -33), (14, 16, 11), **MARROW)
    canvas.tube([(0, 16, -74), (0, 18, -95)], [13, 13], **BONE)
    canvas.tube([(0, 16, -76), (0, 18, -95)], [9, 9], **MARROW)
    for side in (-1, 1):
        canvas.ellipsoid((side * 46, 24, -36), (20, 18, 15), **BONE)
        for k in range(7):
            cell = (side * (46 + 7 * np.cos(2.4 * k)), 30 + 8 * np.sin(2.4 * k), -40 - 1.8 * k)
            canvas.ellipsoid(cell, (3.8, 3.6, 4.2), **AIR)
        canvas.tube(
            [(side * 52, -52, -34), (side * 60, -34, -30), (side * 66, -8, -27)], [6, 4, 4], **BONE
        )
        canvas.tube([(side * 49, -14, -30), (side * 49, -8, -90)], [6, 6], **BONE)
        canvas.tube([(side * 49, -14, -34), (side * 49, -8, -90)], [3, 3], **MARROW)
        canvas.ellipsoid((side * 24, -64, -44), (18, 20, 20), **BONE)
        canvas.ellipsoid((side * 24, -64, -44), (15.5, 17.5, 17.5), **MUCOSA)
        canvas.ellipsoid((side * 24, -64, -44), (14, 16, 16), **AIR)
        canvas.ellipsoid((side * 31, -62, -15), (20, 29, 19), **BONE)
        canvas.ellipsoid((side * 31, -64, -15), (18, 28, 17.5), **FAT)
        for dx, dz in ((0, 11), (0, -11), (10, 0), (-10, 0)):
            canvas.tube(
                [(side * 31 + dx, -70, -15 + dz), (side * 20, -40, -12)], [2.4, 2], **MUSCLE
            )
        canvas.tube([(side * 30, -56, -15), (side * 16, -34, -9)], [3.3, 3.3], **CSF)
        canvas.tube([(side * 30, -56, -15), (side * 12, -26, -7)], [2, 2], **WHITE)
        canvas.ellipsoid((side * 31, -71, -15), (13.2, 13.2, 13.2), **DURA)
        canvas.ellipsoid((side * 31, -71, -15), (12.0, 12.0, 12.0), **VITREOUS)
        canvas.ellipsoid((side * 31, -80.5, -15), (4.6, 2.2, 4.6), **LENS)
        canvas.ellipsoid((side * 8.5, -86, 12), (9, 5, 11), **AIR)
        for k in range(4):
            canvas.ellipsoid((side * 6.5, -76 + 11 * k, -15), (4.2, 5, 8), **AIR)
    canvas.ellipsoid((0, -64, -40), (11, 26, 21), **MUCOSA)
    for side in (-1, 1):
        for level in (-52, -41, -30):
            canvas.ellipsoid((side * 5.5, -64 + level / 12, level), (2.2, 21, 3.0), **AIR)
    canvas.ellipsoid((0, -26, -27), (12, 12, 9), **AIR)
    canvas.tube([(0, -34, -42), (0, -28, -60), (0, -24, -95)], [9, 8, 8], **AIR)
