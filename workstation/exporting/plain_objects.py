"""What every DICOM object of ours starts from that no library writes; and the Encapsulated PDF."""

from __future__ import annotations

from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from workstation.exporting.sources import (
    DEVICE_SERIAL,
    MANUFACTURER,
    MODEL_NAME,
    SOFTWARE_VERSION,
    Sources,
    date_as_signed,
)

ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
COPIED = (
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
    "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber",
    "ReferringPhysicianName", "StudyDescription", "PatientAge", "PatientComments",
)  # fmt: skip


def code_sequence(value: str, scheme: str, meaning: str) -> Sequence:
    """A code sequence of one item."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return Sequence([item])


def new_object(
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


def write_pdf_object(sources: Sources, pdf: bytes, uid: str, series_uid: str) -> FileDataset:
    """The signed document as an Encapsulated PDF (PS3.3 A.45.1)."""
    ds = new_object(sources, ENCAPSULATED_PDF, uid, series_uid, "DOC")
    ds.SeriesNumber = 1004
    ds.SeriesDescription = "Radfuse: report. Not for diagnostic use"
    ds.ConversionType = "WSD"
    ds.AcquisitionDateTime = sources.signed_at.strftime("%Y%m%d%H%M%S%z")
    ds.BurnedInAnnotation = "YES"
    ds.DocumentTitle = "Radiology report (research, not for diagnostic use)"
    ds.ConceptNameCodeSequence = code_sequence("18748-4", "LN", "Diagnostic imaging study")
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.EncapsulatedDocumentLength = len(pdf)
    ds.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    return ds


def save(ds: pydicom.Dataset, path: Path) -> None:
    """Write as a DICOM file with preamble and file meta information."""
    ds.save_as(path, enforce_file_format=True)
