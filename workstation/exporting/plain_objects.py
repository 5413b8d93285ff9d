"""DICOM objects no library writes for us: Spatial Registration and Encapsulated PDF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from workstation.exporting.sources import (
    DEVICE_SERIAL,
    MANUFACTURER,
    MODEL_NAME,
    SOFTWARE_VERSION,
    Sources,
    date_as_signed,
    person_name,
)

SPATIAL_REGISTRATION = "1.2.840.10008.5.1.4.1.1.66.1"
ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
COPIED = (
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
    "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber",
    "ReferringPhysicianName", "StudyDescription", "PatientAge", "PatientComments",
)  # fmt: skip


def _code(value: str, scheme: str, meaning: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return Sequence([item])


def _base(
    sources: Sources, sop_class: str, uid: str, series_uid: str, modality: str
) -> FileDataset:
    """Patient and study of the source image, a new series of ours (PS3.3 C.7)."""
    source = sources.reference_headers[0]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SpecificCharacterSet = "ISO_IR 192"
    for name in COPIED:
        if name in source:
            setattr(ds, name, source[name].value)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.SeriesInstanceUID = sop_class, uid, series_uid
    ds.Modality = modality
    ds.InstanceNumber = 1
    ds.Manufacturer, ds.ManufacturerModelName = MANUFACTURER, MODEL_NAME
    ds.DeviceSerialNumber, ds.SoftwareVersions = DEVICE_SERIAL, SOFTWARE_VERSION
    date_as_signed(ds, sources.signed_at)
    return ds


def write_registration(
    sources: Sources,
    moving_headers: list[Dataset],
    row: dict[str, Any],
    uid: str,
    series_uid: str,
) -> FileDataset:
    """One fused series' transform: ``x_reference = M · x_moving`` in mm (PS3.3 C.20.2)."""
    source = sources.reference_headers[0]
    ds = _base(sources, SPATIAL_REGISTRATION, uid, series_uid, "REG")
    ds.SeriesNumber = 1003
    ds.SeriesDescription = "Radfuse: registration. Not for diagnostic use"
    ds.ContentLabel = "REGISTRATION"
    ds.ContentDescription = f"{row['method']}; {row['decision'] or 'automatic'}"[:64]
    ds.ContentCreatorName = person_name(sources.content["signature"]["name"])
    ds.FrameOfReferenceUID = sources.frame_of_reference_uid
    ds.PositionReferenceIndicator = getattr(source, "PositionReferenceIndicator", None)
    by_hand = row["decision"] == "nudged"
    moving_frame = moving_headers[0].get("FrameOfReferenceUID", "")
    identity = [[float(i == j) for j in range(4)] for i in range(4)]
    ds.RegistrationSequence = Sequence(
        [
            _registered(ds.FrameOfReferenceUID, [source], identity, by_hand),
            _registered(moving_frame, moving_headers, row["matrix"], by_hand),
        ]
    )
    same = [h for h in [source, *moving_headers] if h.StudyInstanceUID == source.StudyInstanceUID]
    other = [h for h in moving_headers if h.StudyInstanceUID != source.StudyInstanceUID]
    ds.ReferencedSeriesSequence = _series_items(same)
    if other:
        study = Dataset()
        study.StudyInstanceUID = other[0].StudyInstanceUID
        study.ReferencedSeriesSequence = _series_items(other)
        ds.StudiesContainingOtherReferencedInstancesSequence = Sequence([study])
    return ds


def _registered(
    frame: str, headers: list[Dataset], matrix: list[list[float]], by_hand: bool
) -> Dataset:
    item = Dataset()
    if frame:
        # Without one, the list of images says what is moved (PS3.3 C.20.2, type 1C).
        item.FrameOfReferenceUID = frame
    item.ReferencedImageSequence = Sequence([_reference(h) for h in headers])
    values = Dataset()
    values.FrameOfReferenceTransformationMatrixType = "RIGID"
    values.FrameOfReferenceTransformationMatrix = [
        format_number_as_ds(float(value)) for row in matrix for value in row
    ]
    step = Dataset()
    step.FrameOfReferenceTransformationComment = ""
    step.RegistrationTypeCodeSequence = (
        _code("125025", "DCM", "Visual Alignment")
        if by_hand
        else _code("125024", "DCM", "Image Content-based Alignment")
    )
    step.MatrixSequence = Sequence([values])
    item.MatrixRegistrationSequence = Sequence([step])
    return item


def _reference(header: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    return item


def _series_items(headers: list[Dataset]) -> Sequence:
    items: dict[str, Dataset] = {}
    for header in headers:
        item = items.get(header.SeriesInstanceUID)
        if item is None:
            item = items[header.SeriesInstanceUID] = Dataset()
            item.SeriesInstanceUID = header.SeriesInstanceUID
            item.ReferencedInstanceSequence = Sequence([])
        item.ReferencedInstanceSequence.append(_reference(header))
    return Sequence(list(items.values()))


def write_pdf_object(sources: Sources, pdf: bytes, uid: str, series_uid: str) -> FileDataset:
    """The signed document as an Encapsulated PDF (PS3.3 A.45.1)."""
    ds = _base(sources, ENCAPSULATED_PDF, uid, series_uid, "DOC")
    ds.SeriesNumber = 1004
    ds.SeriesDescription = "Radfuse: report. Not for diagnostic use"
    ds.ConversionType = "WSD"
    ds.AcquisitionDateTime = sources.signed_at.strftime("%Y%m%d%H%M%S%z")
    ds.BurnedInAnnotation = "YES"
    ds.DocumentTitle = "Radiology report (research, not for diagnostic use)"
    ds.ConceptNameCodeSequence = _code("18748-4", "LN", "Diagnostic imaging study")
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.EncapsulatedDocumentLength = len(pdf)
    ds.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    return ds


def save(ds: pydicom.Dataset, path: Path) -> None:
    """Write as a DICOM file with preamble and file meta information."""
    ds.save_as(path, enforce_file_format=True)
