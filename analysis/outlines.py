"""Delivered contours (RTSTRUCT) as outlines in patient millimetres, and as voxels of a grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.dataset import Dataset
from skimage.draw import polygon2mask

from analysis.contracts import OutlineRecord, Point
from analysis.errors import InputRefused
from analysis.geometry import Grid
from analysis.volumes.damage import READ_ERRORS, drop_damaged

DEFAULT_COLOR = "#ffcc00"
PLANE_TOLERANCE = 0.25
"""A contour may lie this part of a slice spacing off the plane it is filled in, and be uneven by
as much: more means it was drawn in other planes than this grid's."""


def read_outlines(paths: Sequence[str]) -> tuple[OutlineRecord, ...]:
    """Every region with closed planar contours of one or more RTSTRUCT files.

    Regions without such contours (points, open lines) are left out. Raises ``InputRefused``
    (``unreadable_file``, ``not_a_structure_set``, ``bad_contour``).
    """
    outlines: list[OutlineRecord] = []
    for path in paths:
        try:
            ds = dcmread(path, stop_before_pixels=True)
            drop_damaged(ds)
        except READ_ERRORS as error:
            raise InputRefused(
                "unreadable_file", "A structure set is damaged and cannot be read."
            ) from error
        if ds.get("Modality") != "RTSTRUCT":
            raise InputRefused("not_a_structure_set", "A file is not an RT structure set.")
        outlines += _regions(ds)
    return tuple(outlines)


def mask_of(outline: OutlineRecord, grid: Grid) -> npt.NDArray[np.bool_]:
    """The voxels inside an outline, bool [z, y, x]; even-odd, so inner contours are holes.

    The contours must lie in the grid's slice planes (the grid they were drawn on); raises
    ``InputRefused`` (``contour_off_plane``) if they do not. A voxel belongs if its centre lies
    inside. Contours outside the grid are ignored.
    """
    mask = np.zeros(grid.shape, dtype=bool)
    nz, ny, nx = grid.shape
    for polygon in outline.polygons:
        ijk = grid.to_index(np.array(polygon))
        k = round(float(ijk[:, 2].mean()))
        if float(np.abs(ijk[:, 2] - k).max()) > PLANE_TOLERANCE:
            raise InputRefused(
                "contour_off_plane",
                f"The contours of region {outline.number} do not lie in the slices of this series.",
            )
        if 0 <= k < nz:
            mask[k] ^= polygon2mask((ny, nx), ijk[:, [1, 0]])
    return mask


def _regions(ds: Dataset) -> list[OutlineRecord]:
    rois = {int(r.ROINumber): r for r in ds.get("StructureSetROISequence") or []}
    series = _referenced_series(ds)
    found = []
    for item in ds.get("ROIContourSequence") or []:
        try:
            number = int(item.ReferencedROINumber)
        except READ_ERRORS as error:
            raise InputRefused("bad_contour", "A region has no valid number.") from error
        roi = rois.get(number, Dataset())
        polygons = tuple(
            _polygon(contour)
            for contour in item.get("ContourSequence") or []
            if str(contour.get("ContourGeometricType")) in ("CLOSED_PLANAR", "CLOSED_PLANAR_XOR")
        )
        polygons = tuple(p for p in polygons if len(p) >= 3)
        if polygons:
            frame = str(
                roi.get("ReferencedFrameOfReferenceUID") or ds.get("FrameOfReferenceUID") or ""
            )
            found.append(
                OutlineRecord(
                    number=number,
                    name=str(roi.get("ROIName") or f"Region {number}"),
                    color=_color(item),
                    frame_of_reference_uid=frame,
                    series_instance_uid=series,
                    polygons=polygons,
                )
            )
    return found


def _polygon(contour: Dataset) -> tuple[Point, ...]:
    try:
        values = np.array([float(v) for v in contour.ContourData])
        points = values.reshape(-1, 3)
    except READ_ERRORS as error:
        raise InputRefused("bad_contour", "A contour of the structure set is damaged.") from error
    if not np.all(np.isfinite(points)):
        raise InputRefused("bad_contour", "A contour of the structure set is damaged.")
    return tuple((float(x), float(y), float(z)) for x, y, z in points)


def _color(item: Dataset) -> str:
    try:
        red, green, blue = (int(v) for v in item.ROIDisplayColor)
    except READ_ERRORS:
        return DEFAULT_COLOR
    if not all(0 <= v <= 255 for v in (red, green, blue)):
        return DEFAULT_COLOR
    return f"#{red:02x}{green:02x}{blue:02x}"


def _referenced_series(ds: Dataset) -> str:
    """The one image series that the structure set refers to; empty if none or several."""
    uids = {
        str(series.get("SeriesInstanceUID") or "")
        for frame in ds.get("ReferencedFrameOfReferenceSequence") or []
        for study in frame.get("RTReferencedStudySequence") or []
        for series in study.get("RTReferencedSeriesSequence") or []
    }
    return uids.pop() if len(uids) == 1 else ""
