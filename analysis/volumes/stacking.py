"""Slices to a lattice: order, orientation, spacing, gaps, tilt. Proves it or refuses.

Order comes from the slice positions projected on the slice normal, never from file order or
InstanceNumber.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from scipy import ndimage

from analysis.contracts import Notice
from analysis.errors import InputRefused
from analysis.geometry import FloatArray, Grid
from analysis.volumes.damage import READ_ERRORS
from analysis.volumes.reading import MAX_VOXELS

MIN_SLICES = 3
"""Fewer images are a localiser or a key image, not a volume."""
ORIENTATION_TOLERANCE = 1e-3
"""Largest difference between direction cosines of slices that count as parallel (0.06 degrees)."""
SAME_POSITION_MM = 0.01
"""Slices closer than this lie at the same position."""
SPACING_TOLERANCE = 0.05
"""A slice may lie this part of the spacing off its place ..."""
SPACING_TOLERANCE_MM = 0.06
"""... or this far, whichever is more: headers round positions to 0.1 mm."""
TILT_TOLERANCE_MM = 0.01
"""Sideways step per slice above which the stack is sheared (gantry tilt)."""
DRIFT_TOLERANCE = 0.25
"""Part of the spacing that slices may drift off their places along the stack, summed up."""
DRIFT_TOLERANCE_MM = 0.1
"""A slice may lie this far beside the straight line through all slices."""
HEADER_SPACING_TOLERANCE = 0.1
"""Relative difference to SpacingBetweenSlices above which a notice is given."""


@dataclass(frozen=True, eq=False)
class Stack:
    """The instances in slice order with their lattice; ``step`` is LPS mm from slice to slice."""

    instances: tuple[Dataset, ...]
    order: tuple[int, ...]
    """Place in the input of each slice k."""
    grid: Grid
    """Sheared if ``tilt_degrees`` is not 0."""
    tilt_degrees: float
    notices: tuple[Notice, ...]


def stack(instances: Sequence[Dataset]) -> Stack:
    """Order the slices and prove that they form one evenly spaced volume.

    Raises ``InputRefused``: ``too_few_slices``, ``no_geometry``, ``mixed_orientation``,
    ``mixed_geometry``, ``mixed_frame_of_reference``, ``overlapping_volumes``,
    ``missing_slice``, ``uneven_spacing``.
    """
    first = instances[0]
    if len(instances) < MIN_SLICES:
        raise InputRefused(
            "too_few_slices",
            f"The series has {len(instances)} image(s); a volume needs at least {MIN_SLICES}. "
            "Localisers and single images are not analysed.",
        )
    orientations = np.array([floats_of(ds, "ImageOrientationPatient", 6) for ds in instances])
    positions = np.array([floats_of(ds, "ImagePositionPatient", 3) for ds in instances])
    spacings = np.array([floats_of(ds, "PixelSpacing", 2) for ds in instances])
    row, column = _directions(orientations)
    _check_same_frame(instances, spacings)
    normal = np.cross(row, column)
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    along = along[order]
    _check_distinct(along)
    count = len(instances)
    _check_line(along)
    ordered = positions[order]
    step = (ordered[-1] - ordered[0]) / (count - 1)
    _check_straight(ordered, step)
    affine = np.eye(4)
    affine[:3, 0] = row * spacings[0][1]  # PixelSpacing is (between rows, between columns)
    affine[:3, 1] = column * spacings[0][0]
    affine[:3, 2] = step
    affine[:3, 3] = ordered[0]
    sideways = step - normal * (step @ normal)
    tilt = 0.0
    if float(np.linalg.norm(sideways)) > TILT_TOLERANCE_MM:
        tilt = float(np.degrees(np.arctan2(np.linalg.norm(sideways), step @ normal)))
    else:
        affine[:3, 2] = normal * (step @ normal)
    grid = Grid((count, int(first.Rows), int(first.Columns)), affine)
    if count * grid.shape[1] * grid.shape[2] > MAX_VOXELS:
        raise InputRefused("volume_too_large", "The series is too large to be read as one volume.")
    notices = _header_notices(first, float(step @ normal), count)
    places = tuple(int(i) for i in order)
    return Stack(tuple(instances[i] for i in places), places, grid, tilt, notices)


def untilt(
    array: npt.NDArray[np.generic], grid: Grid, outside: float
) -> tuple[npt.NDArray[np.float32], Grid]:
    """A sheared stack on an upright lattice: every slice stays in its own plane and is shifted
    within it (linear interpolation); the field grows so that nothing is cut off.

    Returns the array, float32 [z, y, x], and its grid.
    """
    i, j, step = grid.affine[:3, 0], grid.affine[:3, 1], grid.affine[:3, 2]
    spacing_x, spacing_y, _ = grid.spacing
    normal = np.cross(i / spacing_x, j / spacing_y)
    per_slice = np.array([step @ i / spacing_x**2, step @ j / spacing_y**2])  # voxels (x, y)
    shifts = np.arange(grid.shape[0])[:, None] * per_slice
    low = np.floor(shifts.min(axis=0)).astype(int)
    high = np.ceil(shifts.max(axis=0)).astype(int)
    nz, ny, nx = grid.shape
    size_x, size_y = nx + high[0] - low[0], ny + high[1] - low[1]
    result = np.empty((nz, size_y, size_x), dtype=np.float32)
    for k in range(nz):
        dx, dy = shifts[k] - low
        result[k] = ndimage.affine_transform(
            array[k].astype(np.float32),
            np.ones(2),
            offset=(-dy, -dx),
            output_shape=(size_y, size_x),
            order=1,
            cval=outside,
        )
    affine = grid.affine.copy()
    affine[:3, 2] = normal * (step @ normal)
    affine[:3, 3] = grid.affine[:3, 3] + low[0] * i + low[1] * j
    return result, Grid((nz, int(size_y), int(size_x)), affine)


def floats_of(ds: Dataset, keyword: str, count: int) -> list[float]:
    """``count`` finite numbers of an attribute; raises ``InputRefused`` (``no_geometry``)."""
    try:
        values = [float(v) for v in ds[keyword].value]
    except READ_ERRORS as error:
        raise _no_geometry(keyword) from error
    if len(values) != count or not np.all(np.isfinite(values)):
        raise _no_geometry(keyword)
    return values


def _no_geometry(keyword: str) -> InputRefused:
    return InputRefused(
        "no_geometry",
        f"An image does not say where it lies in the patient ({keyword} is missing or invalid), "
        "so it cannot be fused or measured.",
    )


def _directions(orientations: FloatArray) -> tuple[FloatArray, FloatArray]:
    row, column = orientations[0][:3], orientations[0][3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if not np.allclose(lengths, 1, atol=1e-2) or abs(row @ column) > 1e-2:
        raise _no_geometry("ImageOrientationPatient")
    if float(np.abs(orientations - orientations[0]).max()) > ORIENTATION_TOLERANCE:
        groups = len({tuple(np.round(o, 2)) for o in orientations})
        raise InputRefused(
            "mixed_orientation",
            f"The series mixes images of {max(groups, 2)} orientations (a localiser or radial "
            "scan?), which do not form one volume. Send each orientation as its own series.",
        )
    mean = orientations.mean(axis=0)
    row = mean[:3] / np.linalg.norm(mean[:3])
    column = mean[3:] - row * (row @ mean[3:])
    return row, np.asarray(column / np.linalg.norm(column))


def _check_same_frame(instances: Sequence[Dataset], spacings: FloatArray) -> None:
    if spacings.min() <= 0:
        raise _no_geometry("PixelSpacing")
    sizes = {(int(ds.Rows), int(ds.Columns)) for ds in instances}
    if len(sizes) > 1 or not np.allclose(spacings, spacings[0], rtol=1e-3):
        raise InputRefused(
            "mixed_geometry", "The images of this series differ in size or pixel spacing."
        )
    if len({str(ds.get("FrameOfReferenceUID") or "") for ds in instances}) > 1:
        raise InputRefused(
            "mixed_frame_of_reference",
            "The images of this series lie in different frames of reference.",
        )


def _check_distinct(along: FloatArray) -> None:
    """No two slices at one position."""
    apart = np.diff(along) > SAME_POSITION_MM
    places = int(apart.sum()) + 1
    if places == len(along):
        return
    if places < MIN_SLICES:
        raise InputRefused(
            "too_few_slices",
            f"The series has {len(along)} images at {places} position(s); a volume needs at least "
            f"{MIN_SLICES} positions. Single slices over time are not analysed.",
        )
    if len(along) % places == 0:
        text = f"The series has {len(along) // places} images at each of {places} positions"
    else:
        text = f"{len(along) - places} images lie at the same position as another"
    raise InputRefused(
        "overlapping_volumes",
        f"{text}, and nothing in them (time, b-value, echo, phase, acquisition) tells which "
        "belong together, so they are not read as volumes.",
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
        tolerance = max(SPACING_TOLERANCE * spacing, SPACING_TOLERANCE_MM)
        if float(np.abs(steps - whole * spacing).max()) <= 2 * tolerance:  # both ends rounded
            return spacing, whole
    return None


def _check_line(along: FloatArray) -> None:
    """Every slice on its place of the lattice; a whole step too many is a missing slice."""
    steps = np.diff(along)
    found = _lattice(steps)
    if found is None:
        usual = float(np.median(steps))
        worst = int(np.argmax(np.abs(steps - usual)))
        raise InputRefused(
            "uneven_spacing",
            f"The slices are not evenly spaced: mostly {usual:.2f} mm, but "
            f"{steps[worst]:.2f} mm between slices {worst + 1} and {worst + 2}. "
            "Send the complete, evenly reconstructed series.",
        )
    spacing, whole = found
    gaps = np.flatnonzero(whole > 1)
    if gaps.size:
        missing = int((whole[gaps] - 1).sum())
        where = "; ".join(
            f"{whole[g] - 1} between slices {g + 1} and {g + 2}, at "
            + ", ".join(f"{along[g] + n * spacing:.1f}" for n in range(1, min(whole[g], 4)))
            + (" ... mm" if whole[g] > 4 else " mm")
            for g in gaps[:5]
        )
        more = f" and {gaps.size - 5} more gaps" if gaps.size > 5 else ""
        raise InputRefused(
            "missing_slice",
            f"{missing} of {len(along) + missing} slices {'is' if missing == 1 else 'are'} "
            f"missing ({where} along the slice axis{more}). Send the missing "
            f"slice{'' if missing == 1 else 's'} and the series is read again.",
        )
    line = along[0] + np.arange(len(along)) * spacing
    drift = float(np.abs(along - line).max())
    if drift > max(2 * SPACING_TOLERANCE_MM, DRIFT_TOLERANCE * spacing):
        raise InputRefused(
            "uneven_spacing",
            f"The slices are not evenly spaced: they drift up to {drift:.2f} mm from even places.",
        )


def _check_straight(positions: FloatArray, step: FloatArray) -> None:
    """Slices follow one straight line; anything else is a moving field of view."""
    line = positions[0] + np.arange(len(positions))[:, None] * step
    beside = positions - line
    along = step / np.linalg.norm(step)
    beside = beside - np.outer(beside @ along, along)
    if float(np.linalg.norm(beside, axis=1).max()) > DRIFT_TOLERANCE_MM:
        raise InputRefused(
            "mixed_geometry",
            "The images of this series are shifted against each other within their planes.",
        )


def _header_notices(first: Dataset, spacing: float, count: int) -> tuple[Notice, ...]:
    notices = []
    try:
        told = abs(float(first.get("SpacingBetweenSlices") or 0))
    except ValueError:
        told = 0.0
    if told and abs(told - spacing) > HEADER_SPACING_TOLERANCE * spacing:
        notices.append(
            Notice(
                "spacing_contradicts_header",
                f"The slices lie {spacing:.2f} mm apart, but the header says {told:.2f} mm. "
                "Positions were used; check that no slices were left out.",
            )
        )
    try:
        announced = int(first.get("NumberOfSlices") or 0)
    except ValueError:
        announced = 0
    if announced > count:
        notices.append(
            Notice(
                "fewer_slices_than_announced",
                f"The scanner announced {announced} slices, {count} are here: the ends of the "
                "volume may be missing.",
            )
        )
    return tuple(notices)
