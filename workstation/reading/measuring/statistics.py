"""Numbers of the values that belong to a region."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workstation.reading.measuring.selecting import Selection


@dataclass(frozen=True)
class Statistics:
    """In the layer's unit. ``sd`` is that of the population (divided by n)."""

    count: int
    mean: float
    sd: float
    least: float
    least_at: tuple[int, int, int]
    """(i, j, k) of the voxel, of the one nearest to it for a sample."""
    most: float
    most_at: tuple[int, int, int]


def statistics(selection: Selection) -> Statistics | None:
    """None if nothing belongs. Of equal extremes the first in C order counts."""
    values = selection.values
    if values.size == 0:
        return None
    low, high = int(values.argmin()), int(values.argmax())
    return Statistics(
        count=int(values.size),
        mean=float(values.mean()),
        sd=float(values.std()),
        least=float(values[low]),
        least_at=_voxel(selection, low),
        most=float(values[high]),
        most_at=_voxel(selection, high),
    )


def _voxel(selection: Selection, at: int) -> tuple[int, int, int]:
    i, j, k = np.asarray(selection.voxels[at]).tolist()
    return i, j, k
