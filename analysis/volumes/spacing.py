"""Whether slices follow each other evenly, and the even places of those that do not.

Three answers: even as it stands; uneven within :mod:`tolerances`, to be interpolated; or refused,
because slices are missing or lie nowhere near a rhythm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.contracts import Notice
from analysis.errors import InputRefused
from analysis.geometry import FloatArray
from analysis.volumes.tolerances import (
    CONTIGUOUS,
    CONTIGUOUS_STEPS_MM,
    DRIFT,
    EVEN,
    EVEN_MM,
    UNEVEN_STEPS,
)


@dataclass(frozen=True, eq=False)
class Places:
    """Even places along a stack, from its first slice to its last."""

    places: FloatArray
    """Of each even place, among the slices that are there: 0, 1, 2 ... or fractions between."""
    index_of_source: FloatArray
    """Of each slice that is there, among the even places."""
    notices: tuple[Notice, ...] = ()


def even_places(along: FloatArray, thicknesses: FloatArray | None) -> Places:
    """``along``: rising positions in mm of at least 3 slices; ``thicknesses`` in mm if all tell.

    Raises ``InputRefused``: ``missing_slice``, ``uneven_spacing``.
    """
    steps = np.diff(along)
    found = _lattice(steps)
    if found is not None and found[1].max() == 1 and _drift(along) <= _allowed_drift(found[0]):
        count = np.arange(len(along), dtype=np.float64)
        return Places(count, count)
    if _contiguous(steps, thicknesses):
        return _interpolated(along)
    if found is not None and found[1].max() > 1:
        raise _missing(along, *found)
    usual = float(np.median(steps))
    low, high = UNEVEN_STEPS
    if steps.min() < low * usual or steps.max() > high * usual:
        worst = int(np.argmax(np.abs(steps - usual)))
        raise InputRefused(
            "uneven_spacing",
            f"The slices are not evenly spaced: mostly {usual:.2f} mm, but "
            f"{steps[worst]:.2f} mm between slices {worst + 1} and {worst + 2}. "
            "Send the complete, evenly reconstructed series.",
        )
    return _interpolated(along)


def _drift(along: FloatArray) -> float:
    line = np.linspace(along[0], along[-1], len(along))
    return float(np.abs(along - line).max())


def _allowed_drift(spacing: float) -> float:
    return max(2 * EVEN_MM, DRIFT * spacing)


def _contiguous(steps: FloatArray, thicknesses: FloatArray | None) -> bool:
    """Whether slices of several thicknesses lie face to face, so that none is missing."""
    if thicknesses is None or np.ptp(thicknesses) <= EVEN_MM or steps.max() > CONTIGUOUS_STEPS_MM:
        return False
    planned = (thicknesses[:-1] + thicknesses[1:]) / 2
    # A scanner may also step by the slice before or after, where thicknesses change.
    fits = [np.abs(steps - p) <= CONTIGUOUS * p for p in (planned, thicknesses[:-1],
            thicknesses[1:])]  # fmt: skip
    return bool(np.all(np.logical_or.reduce(fits)))


def _interpolated(along: FloatArray) -> Places:
    """Even places as close as the finer quarter of the steps: one odd step sets no pace, and what
    was scanned finely stays fine."""
    steps = np.diff(along)
    count = round(float((along[-1] - along[0]) / np.percentile(steps, 25))) + 1
    even = np.linspace(along[0], along[-1], count)
    numbers = np.arange(len(along), dtype=np.float64)
    notice = Notice(
        "slices_interpolated",
        f"The slices are not evenly spaced ({steps.min():.2f} to {steps.max():.2f} mm): the volume "
        f"was interpolated between its {len(along)} slices to {count} of "
        f"{even[1] - even[0]:.2f} mm.",
    )
    return Places(
        np.interp(even, along, numbers),
        np.interp(along, even, np.arange(count, dtype=np.float64)),
        (notice,),
    )


def _lattice(steps: FloatArray) -> tuple[float, npt.NDArray[np.int_]] | None:
    """The spacing and each step as whole multiples of it, or None if there is no such spacing.

    Tried with the usual step first, then with the smallest (few slices, large gaps). At least
    half of the steps must be single, or a lucky divisor would explain anything.
    """
    for guess in (float(np.median(steps)), float(steps.min())):
        whole = np.rint(steps / guess).astype(int)
        if whole.min() < 1 or 2 * int((whole == 1).sum()) < len(steps):
            continue
        spacing = float(steps.sum() / whole.sum())
        tolerance = max(EVEN * spacing, EVEN_MM)
        if float(np.abs(steps - whole * spacing).max()) <= 2 * tolerance:  # both ends rounded
            return spacing, whole
    return None


def _missing(
    along: FloatArray, spacing: float, whole: npt.NDArray[np.int_]
) -> InputRefused:
    """A whole step too many is a missing slice."""
    gaps = np.flatnonzero(whole > 1)
    missing = int((whole[gaps] - 1).sum())
    where = "; ".join(
        f"{whole[g] - 1} between slices {g + 1} and {g + 2}, at "
        + ", ".join(f"{along[g] + n * spacing:.1f}" for n in range(1, min(whole[g], 4)))
        + (" ... mm" if whole[g] > 4 else " mm")
        for g in gaps[:5]
    )
    more = f" and {gaps.size - 5} more gaps" if gaps.size > 5 else ""
    return InputRefused(
        "missing_slice",
        f"{missing} of {len(along) + missing} slices {'is' if missing == 1 else 'are'} "
        f"missing ({where} along the slice axis{more}). Send the missing "
        f"slice{'' if missing == 1 else 's'} and the series is read again.",
    )
