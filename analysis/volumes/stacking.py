"""Slices to a lattice: order, orientation, spacing, gaps, tilt. Proves it or refuses.

Order comes from the slice positions projected on the slice normal, never from file order or
InstanceNumber; so neither the order of files nor how the patient lay (head or feet first, supine,
prone, on a side) needs a rule: positions are the patient's own. What is off even places is judged
by :mod:`tolerances`, straightened by :mod:`straightening`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from analysis.contracts import Notice
from analysis.errors import InputRefused
from analysis.geometry import FloatArray, Grid
from analysis.volumes import tolerances
from analysis.volumes.damage import READ_ERRORS
from analysis.volumes.reading import MAX_VOXELS
from analysis.volumes.spacing import even_places


@dataclass(frozen=True, eq=False)
class Stack:
    """The instances in slice order with their lattice."""

    instances: tuple[Dataset, ...]
    """As they were acquired, in slice order."""
    order: tuple[int, ...]
    """Place in the input of each instance."""
    grid: Grid
    """Sheared if ``tilt_degrees`` is not 0."""
    places: FloatArray
    """For each slice of ``grid`` its place among the instances: 0, 1, 2 ... as they are, or
    fractions where uneven slices have to be interpolated."""
    tilt_degrees: float
    placement_error_mm: float
    """How far any voxel of any instance lies from where that instance's own header puts it."""
    notices: tuple[Notice, ...]

    @property
    def interpolated(self) -> bool:
        return len(self.places) != len(self.instances) or bool(
            np.any(self.places != np.arange(len(self.places)))
        )

def stack(instances: Sequence[Dataset]) -> Stack:
    """Order the slices and prove that they form one volume.

    Raises ``InputRefused``: ``too_few_slices``, ``no_geometry``, ``mixed_orientation``,
    ``mixed_geometry``, ``mixed_frame_of_reference``, ``overlapping_volumes``,
    ``missing_slice``, ``uneven_spacing``, ``volume_too_large``.
    """
    first = instances[0]
    if len(instances) < tolerances.MIN_SLICES:
        raise InputRefused(
            "too_few_slices",
            f"The series has {len(instances)} image(s); a volume needs at least "
            f"{tolerances.MIN_SLICES}. Localisers and single images are not analysed.",
        )
    orientations = np.array([floats_of(ds, "ImageOrientationPatient", 6) for ds in instances])
    positions = np.array([floats_of(ds, "ImagePositionPatient", 3) for ds in instances])
    spacings = np.array([floats_of(ds, "PixelSpacing", 2) for ds in instances])
    row, column = _directions(orientations)
    _check_same_frame(instances, spacings)
    normal = np.cross(row, column)
    order = np.argsort(positions @ normal, kind="stable")
    ordered = tuple(instances[int(n)] for n in order)
    positions = positions[order]
    along = positions @ normal
    _check_distinct(along)
    _check_straight(positions)
    even = even_places(along, _thicknesses(ordered))
    count = len(even.places)
    step = (positions[-1] - positions[0]) / (count - 1)
    row, column, step, start, tilt = _upright(row, column, step, positions[0], count)
    affine = np.eye(4)
    affine[:3, 0] = row * spacings[:, 1].mean()  # PixelSpacing is (between rows, between columns)
    affine[:3, 1] = column * spacings[:, 0].mean()
    affine[:3, 2], affine[:3, 3] = step, start
    grid = Grid((count, int(first.Rows), int(first.Columns)), affine)
    if count * grid.shape[1] * grid.shape[2] > MAX_VOXELS:
        raise InputRefused("volume_too_large", "The series is too large to be read as one volume.")
    error = _placement_error(
        grid, even.index_of_source, orientations[order], positions, spacings[order]
    )
    notices = (
        *even.notices,
        *_placement_notice(error),
        *_header_notices(first, float(np.median(np.diff(along))), len(instances)),
    )
    return Stack(ordered, tuple(int(n) for n in order), grid, even.places, tilt, error, notices)


def _upright(
    row: FloatArray, column: FloatArray, step: FloatArray, start: FloatArray, count: int
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, float]:
    """(row, column, step, start, tilt in degrees; 0 if the lattice is upright).

    A lean that may be rounding is taken out where it does least: out of positions if they hold
    less than they are rounded to, else out of the directions. Anything more is a tilt.
    """
    normal = np.cross(row, column)
    sideways = step - normal * (step @ normal)
    lean = float(np.linalg.norm(sideways)) * (count - 1)
    tilt = float(np.degrees(np.arctan2(np.linalg.norm(sideways), step @ normal)))
    if lean <= tolerances.TILT_MM:
        middle = sideways * (count - 1) / 2  # half the lean at either end
        return row, column, normal * (step @ normal), start + middle, 0.0
    if tilt > tolerances.TILT_DEGREES:
        return row, column, step, start, tilt
    line = step / np.linalg.norm(step)
    row = row - line * (row @ line)
    row = row / np.linalg.norm(row)
    return row, np.cross(line, row), step, start, 0.0


def _placement_error(
    grid: Grid,
    index: FloatArray,
    orientations: FloatArray,
    positions: FloatArray,
    spacings: FloatArray,
) -> float:
    """The largest distance in mm between where the lattice has the corner pixels of each instance
    and where that instance's own header has them (PS3.3 C.7.6.2.1.1)."""
    _, ny, nx = grid.shape
    worst = 0.0
    for i, j in ((0, 0), (nx - 1, 0), (0, ny - 1), (nx - 1, ny - 1)):
        told = (
            positions
            + orientations[:, :3] * spacings[:, 1:] * i
            + orientations[:, 3:] * spacings[:, :1] * j
        )
        ours = grid.to_lps(np.stack([np.full(len(index), i), np.full(len(index), j), index], -1))
        worst = max(worst, float(np.linalg.norm(told - ours, axis=1).max()))
    return worst


def _placement_notice(error: float) -> tuple[Notice, ...]:
    if error <= tolerances.PLACEMENT_NOTICE_MM:
        return ()
    return (
        Notice(
            "placed_approximately",
            f"The headers of single slices put some voxels up to {error:.1f} mm away from where "
            "the volume has them; measurements across slices are no better than that.",
        ),
    )


def _thicknesses(instances: Sequence[Dataset]) -> FloatArray | None:
    """SliceThickness of every slice in mm; None unless all tell one."""
    try:
        told = np.array([float(ds.get("SliceThickness") or 0) for ds in instances])
    except READ_ERRORS:
        return None
    return told if bool(np.all(np.isfinite(told)) and np.all(told > 0)) else None


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
    """Unit vectors of rows and columns, exactly orthogonal, as near as can be to all slices'."""
    row, column = orientations[0][:3], orientations[0][3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if (
        not np.allclose(lengths, 1, atol=tolerances.UNIT_LENGTH)
        or abs(row @ column) > tolerances.ORTHOGONAL
    ):
        raise _no_geometry("ImageOrientationPatient")
    if float(np.abs(orientations - orientations[0]).max()) > tolerances.PARALLEL:
        groups = len({tuple(np.round(o, 2)) for o in orientations})
        raise InputRefused(
            "mixed_orientation",
            f"The series mixes images of {max(groups, 2)} orientations (a localiser or radial "
            "scan?), which do not form one volume. Send each orientation as its own series.",
        )
    mean = orientations.mean(axis=0).reshape(2, 3)
    u, _, vt = np.linalg.svd(mean, full_matrices=False)
    nearest = np.asarray(u @ vt, dtype=np.float64)
    return nearest[0], nearest[1]


def _check_same_frame(instances: Sequence[Dataset], spacings: FloatArray) -> None:
    if spacings.min() <= 0:
        raise _no_geometry("PixelSpacing")
    sizes = {(int(ds.Rows), int(ds.Columns)) for ds in instances}
    if len(sizes) > 1 or not np.allclose(spacings, spacings[0], rtol=tolerances.SAME_PIXELS):
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
    apart = np.diff(along) > tolerances.SAME_POSITION_MM
    places = int(apart.sum()) + 1
    if places == len(along):
        return
    if places < tolerances.MIN_SLICES:
        raise InputRefused(
            "too_few_slices",
            f"The series has {len(along)} images at {places} position(s); a volume needs at least "
            f"{tolerances.MIN_SLICES} positions. Single slices over time are not analysed.",
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


def _check_straight(positions: FloatArray) -> None:
    """Slices follow one straight line; anything else is a moving field of view."""
    line = positions[-1] - positions[0]
    line = line / np.linalg.norm(line)
    beside = positions - positions[0]
    beside = beside - np.outer(beside @ line, line)
    if float(np.linalg.norm(beside, axis=1).max()) > tolerances.SIDEWAYS_MM:
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
    if told and abs(told - spacing) > tolerances.HEADER_SPACING * spacing:
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
