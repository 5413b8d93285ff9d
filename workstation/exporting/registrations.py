"""How a series lies in the reference space, as a DICOM object: Spatial Registration (PS3.3 C.20.2)
or, with a field, Deformable Spatial Registration (C.20.3).

The two point in opposite directions. A Spatial Registration maps points of the moving series to
the object's frame of reference, ``x_reference = M @ x_moving``: our matrix as it is. A Deformable
one says where to sample, ``x_moving = M_post (M_pre x + D(x))`` for x in the object's frame of
reference; ours is ``inverse(matrix) @ (x + u(x))``, so D is u, ``M_post`` the inverse of our
matrix, and ``M_pre`` is left out, which stands for the identity.

What is written was on the screen when the report was signed. Who accepted it, when, the verdict
and the estimated error stand in Contributing Equipment (C.12.1) and, without any name, in the
comment of the registration.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.valuerep import format_number_as_ds

from workstation.analyzing.transforms import Transform
from workstation.exporting.plain_objects import code_sequence, new_object
from workstation.exporting.sources import (
    DEVICE_SERIAL,
    MANUFACTURER,
    MODEL_NAME,
    SOFTWARE_VERSION,
    CannotWrite,
    Sources,
    person_name,
)

SPATIAL_REGISTRATION = "1.2.840.10008.5.1.4.1.1.66.1"
DEFORMABLE_SPATIAL_REGISTRATION = "1.2.840.10008.5.1.4.1.1.66.3"
SERIES_NUMBER = 1003
ORTHONORMAL = 1e-6
"""How far from a rotation a matrix may be that is called RIGID."""
FloatArray = npt.NDArray[np.float64]


def write_registration(
    sources: Sources,
    moving_headers: list[Dataset],
    row: dict[str, Any],
    placed: Transform,
    uid: str,
    series_uid: str,
) -> FileDataset:
    """One fused series. ``row`` is its entry in the signed content, ``placed`` what ``row`` says.

    Raises :class:`CannotWrite` for a field whose lattice has no right angles.
    """
    headers = sources.reference_headers
    kind = SPATIAL_REGISTRATION if placed.field is None else DEFORMABLE_SPATIAL_REGISTRATION
    ds = new_object(sources, kind, uid, series_uid, "REG")
    ds.SeriesNumber = SERIES_NUMBER
    ds.SeriesDescription = "Radfuse: registration. Not for diagnostic use"
    ds.ContentLabel = "REGISTRATION"
    ds.ContentDescription = _how(row)[:64]
    ds.ContentCreatorName = person_name(_accepted_by(sources, row))
    ds.FrameOfReferenceUID = sources.frame_of_reference_uid
    ds.PositionReferenceIndicator = headers[0].get("PositionReferenceIndicator")
    ds.ContributingEquipmentSequence = [_acceptance(sources, row)]
    if placed.field is None:
        ds.RegistrationSequence = [
            _spatial(ds.FrameOfReferenceUID, headers, np.eye(4), None),
            _spatial(_moving_frame(sources, moving_headers), moving_headers, placed.matrix, row),
        ]
    else:
        frame = moving_headers[0].get("FrameOfReferenceUID")
        if not frame:
            raise CannotWrite(
                "The deformed series names no frame of reference, which its registration needs."
            )
        ds.DeformableRegistrationSequence = [
            _still(ds.FrameOfReferenceUID, headers),
            _deformable(str(frame), moving_headers, placed, row),
        ]
    _refer(ds, [*headers, *moving_headers])
    return ds


def matrix_type(matrix: FloatArray) -> str:
    """``RIGID`` only for a rotation and a shift (C.20.2.1.2); everything else is ``AFFINE``."""
    linear = matrix[:3, :3]
    orthonormal = np.abs(linear.T @ linear - np.eye(3)).max() <= ORTHONORMAL
    return "RIGID" if orthonormal and np.linalg.det(linear) > 0 else "AFFINE"


# --- matrices ------------------------------------------------------------------------------------


def _moving_frame(sources: Sources, headers: list[Dataset]) -> str:
    """Its frame of reference; none for a series that shares the reference's and was moved all the
    same: then the list of images says what is moved, and the rest of the frame stays."""
    frame = str(headers[0].get("FrameOfReferenceUID") or "")
    return "" if frame == sources.frame_of_reference_uid else frame


def _spatial(
    frame: str, headers: list[Dataset], matrix: FloatArray, row: dict[str, Any] | None
) -> Dataset:
    item = Dataset()
    if frame:
        item.FrameOfReferenceUID = frame
    item.ReferencedImageSequence = [_reference(h) for h in headers]
    step = Dataset()
    step.RegistrationTypeCodeSequence = _type_code(row)
    if row is not None:
        step.FrameOfReferenceTransformationComment = _figures(row)[:64]
    step.MatrixSequence = [_matrix(matrix)]
    item.MatrixRegistrationSequence = [step]
    return item


def _matrix(matrix: FloatArray) -> Dataset:
    """A DS holds 16 characters: 13 decimals of a rotation, so that a point 1 m away moves by less
    than 1e-9 mm."""
    item = Dataset()
    item.FrameOfReferenceTransformationMatrixType = matrix_type(matrix)
    item.FrameOfReferenceTransformationMatrix = _ds(matrix.ravel())
    return item


def _type_code(row: dict[str, Any] | None) -> Sequence:
    """What went into the registration (CID 7100)."""
    if row is None:
        code = codes.cid7100.FrameOfReferenceIdentity
    elif row["decision"] != "nudged":
        code = codes.cid7100.ImageContentBasedAlignment
    elif row.get("decision_method") == "landmarks":
        code = codes.cid7100.FiducialAlignment
    else:
        code = codes.cid7100.VisualAlignment
    return code_sequence(code.value, code.scheme_designator, code.meaning)


# --- fields --------------------------------------------------------------------------------------


def _still(frame: str, headers: list[Dataset]) -> Dataset:
    """The reference: it lies where it lies."""
    item = Dataset()
    item.SourceFrameOfReferenceUID = frame
    item.ReferencedImageSequence = [_reference(h) for h in headers]
    item.RegistrationTypeCodeSequence = _type_code(None)
    return item


def _deformable(
    frame: str, headers: list[Dataset], placed: Transform, row: dict[str, Any]
) -> Dataset:
    item = Dataset()
    item.SourceFrameOfReferenceUID = frame
    item.ReferencedImageSequence = [_reference(h) for h in headers]
    item.FrameOfReferenceTransformationComment = _figures(row)[:64]
    item.RegistrationTypeCodeSequence = _type_code(row)
    item.DeformableRegistrationGridSequence = [_grid(placed)]
    back = np.asarray(np.linalg.inv(placed.matrix), dtype=np.float64)
    item.PostDeformationMatrixRegistrationSequence = [_matrix(back)]
    return item


def _grid(placed: Transform) -> Dataset:
    """The lattice with its vectors, x fastest, float32 little-endian (C.20.3.1.3)."""
    assert placed.field is not None, "called only for a deformable registration"
    vectors, affine = placed.field.displacement, placed.field.grid.affine.copy()
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    axes = affine[:3, :3] / spacing
    if np.abs(axes.T @ axes - np.eye(3)).max() > ORTHONORMAL:
        raise CannotWrite(
            "The lattice of the deformation has no right angles, which DICOM asks for."
        )
    if np.linalg.det(axes) < 0:
        # The third axis of a DICOM grid is the cross product of the other two: read it backwards.
        affine[:3, 3] += (vectors.shape[0] - 1) * affine[:3, 2]
        vectors = vectors[::-1]
    nz, ny, nx = vectors.shape[:3]
    grid = Dataset()
    grid.ImageOrientationPatient = _ds([*axes[:, 0], *axes[:, 1]])
    grid.ImagePositionPatient = _ds(affine[:3, 3])
    grid.GridDimensions = [nx, ny, nz]
    grid.GridResolution = [float(value) for value in spacing]
    grid.VectorGridData = np.ascontiguousarray(vectors, dtype="<f4").tobytes()
    return grid


# --- words ---------------------------------------------------------------------------------------


def _how(row: dict[str, Any]) -> str:
    if row["decision"] != "nudged":
        return str(row["method"]) or "Registered"
    landmarks = row.get("decision_method") == "landmarks"
    return "Aligned by landmark pairs" if landmarks else "Aligned by hand"


def _figures(row: dict[str, Any]) -> str:
    """Verdict and error: no name, for it stays in what is de-identified."""
    if row["decision"] == "nudged":
        rms = (row.get("evidence") or {}).get("rms_mm")
        return "by hand" if rms is None else f"landmarks, RMS residual {rms:.1f} mm"
    error = row.get("estimated_error_mm")
    text = f"{row['verdict']}" + ("" if error is None else f", estimated error {error:.1f} mm")
    return text + (", accepted" if row["decision"] == "accepted" else "")


def _accepted_by(sources: Sources, row: dict[str, Any]) -> str:
    """Who decided on it; without a decision the one who signed what was fused by it."""
    return str(row.get("decided_by_name") or "") or str(sources.content["signature"]["name"])


def _acceptance(sources: Sources, row: dict[str, Any]) -> Dataset:
    """The software, the person and the moment, with verdict and error."""
    decided = row.get("decided_at") or ""
    at = datetime.fromisoformat(decided) if decided else sources.signed_at
    word = row["decision"] if decided else "accepted by signing the report"
    item = Dataset()
    purpose = codes.cid7005.ProcessingEquipment
    item.PurposeOfReferenceCodeSequence = code_sequence(
        purpose.value, purpose.scheme_designator, purpose.meaning
    )
    item.Manufacturer, item.ManufacturerModelName = MANUFACTURER, MODEL_NAME
    item.DeviceSerialNumber, item.SoftwareVersions = DEVICE_SERIAL, SOFTWARE_VERSION
    item.InstitutionName = sources.content["site"]["name"][:64]
    item.OperatorsName = person_name(_accepted_by(sources, row))
    item.ContributionDateTime = at.strftime("%Y%m%d%H%M%S%z")
    item.ContributionDescription = (
        f"Registration {word}. {_how(row)}; version {row['version']}; {_figures(row)}. "
        "Research software, not for diagnostic use."
    )[:1024]
    return item


# --- references ----------------------------------------------------------------------------------


def _refer(ds: Dataset, headers: Iterable[Dataset]) -> None:
    """Every image by study and series (Common Instance Reference, C.12.2)."""
    studies: dict[str, dict[str, dict[str, Dataset]]] = {}
    for header in headers:
        series = studies.setdefault(header.StudyInstanceUID, {})
        series.setdefault(header.SeriesInstanceUID, {})[header.SOPInstanceUID] = header
    others = []
    for study_uid, series in studies.items():
        items = [_series(uid, images.values()) for uid, images in series.items()]
        if study_uid == ds.StudyInstanceUID:
            ds.ReferencedSeriesSequence = items
            continue
        other = Dataset()
        other.StudyInstanceUID = study_uid
        other.ReferencedSeriesSequence = items
        others.append(other)
    if others:
        ds.StudiesContainingOtherReferencedInstancesSequence = others


def _series(uid: str, headers: Iterable[Dataset]) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = uid
    item.ReferencedInstanceSequence = [_reference(header) for header in headers]
    return item


def _reference(header: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    return item


def _ds(values: Iterable[float]) -> list[str]:
    return [format_number_as_ds(float(value)) for value in values]
