"""Regions grown by a threshold inside a sphere, and masks as run lengths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from django.utils.translation import gettext
from scipy import ndimage as ndi

from workstation.reading.measuring import CannotMeasure, IntArray, Mask
from workstation.reading.measuring.lattices import Lattice
from workstation.reading.measuring.selecting import Ball, Selection

NEIGHBOURS_26 = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True, eq=False)
class Region:
    """What grew. ``low`` is the (i, j, k) of the box's first voxel, ``mask`` [k, j, i]."""

    selection: Selection
    low: IntArray
    mask: Mask
    threshold: float
    goes_on: bool
    """Voxels at or above the threshold touch it from outside the sphere."""
    at_edge: bool
    """It touches the edge of the image, so that part of it may be missing."""


def hottest(ball: Ball) -> float:
    """The highest value in the sphere."""
    return float(ball.values[ball.mask].max())


def grow(lattice: Lattice, ball: Ball, threshold: float, method: str) -> Region:
    """The voxels of the sphere at or above ``threshold`` that are 26-connected to the hottest one.

    ``ball`` has a margin of one voxel, to see what lies beyond. Raises :class:`CannotMeasure` if
    the hottest voxel is below the threshold.
    """
    inside = np.where(ball.mask, ball.values, -np.inf)
    top = np.unravel_index(int(inside.argmax()), inside.shape)
    if inside[top] < threshold:
        raise CannotMeasure(
            gettext(
                "The hottest voxel of the sphere is {inside_top:.2f}, below the threshold of "
                "{threshold:.2f}. Place the sphere elsewhere or take a lower threshold."
            ).format(inside_top=inside[top], threshold=threshold)
        )
    hot = ball.values >= threshold
    labels, _ = ndi.label(hot & ball.mask, structure=NEIGHBOURS_26)
    mask = np.asarray(labels == labels[top])
    around = ndi.binary_dilation(mask, structure=NEIGHBOURS_26)
    kji = np.argwhere(mask)
    ijk = kji[:, ::-1] + ball.low
    return Region(
        Selection(ball.values[mask], ijk, ball.outside, method),
        ball.low,
        mask,
        threshold,
        bool((around & hot & ~ball.mask).any()),
        bool(((ijk == 0) | (ijk == lattice.size - 1)).any()),
    )


def run_lengths(region: Region) -> tuple[list[list[int]], list[int]]:
    """The tight box ``[[i0, j0, k0], [i1, j1, k1]]`` (half-open) and counts of zeros and ones in
    turn, zeros first, [k][j][i] with i fastest."""
    kji = np.argwhere(region.mask)
    first, last = kji.min(axis=0), kji.max(axis=0) + 1
    part = region.mask[tuple(slice(a, b) for a, b in zip(first, last, strict=True))].ravel()
    changes = np.flatnonzero(np.diff(part)) + 1
    lengths = np.diff(np.concatenate([[0], changes, [part.size]]))
    counts = [int(n) for n in lengths]
    box = [(first[::-1] + region.low).tolist(), (last[::-1] + region.low).tolist()]
    return box, [0, *counts] if part[0] else counts


def from_runs(box: list[list[int]], counts: list[int]) -> Mask:
    """The mask [k, j, i] of a box again."""
    (i0, j0, k0), (i1, j1, k1) = box
    flags = np.arange(len(counts)) % 2 == 1
    return np.repeat(flags, counts).reshape(k1 - k0, j1 - j0, i1 - i0)
