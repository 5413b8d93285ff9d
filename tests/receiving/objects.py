"""DICOM objects for the tests of the receiving room, made in memory."""

from __future__ import annotations

import hashlib
import io
import zipfile
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    PYDICOM_IMPLEMENTATION_UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    RTStructureSetStorage,
)

ROWS, COLUMNS = 4, 6
NAME = "SYNTHETIC^Phantomine"
"""Unlike any word of the program, so that it can be searched in logs."""


def uid(*parts: object) -> str:
    return f"2.25.{int(hashlib.sha256(repr(parts).encode()).hexdigest()[:30], 16)}"


def dataset(number: int = 1, **values: Any) -> Dataset:
    """A small CT slice; ``values`` replace elements, None removes them."""
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    data.SOPClassUID = CTImageStorage
    data.SOPInstanceUID = uid("instance", number)
    data.StudyInstanceUID = uid("study")
    data.SeriesInstanceUID = uid("series")
    data.PatientID = "PHANTOMINE-7"
    data.PatientName = NAME
    data.PatientBirthDate = "19610203"
    data.PatientSex = "F"
    data.StudyDate = "20260105"
    data.StudyTime = "101530.5"
    data.StudyDescription = "Thorax"
    data.Modality = "CT"
    data.SeriesNumber = 2
    data.InstanceNumber = number
    data.Rows, data.Columns = ROWS, COLUMNS
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit = 15
    data.PixelRepresentation = 0
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.PixelData = bytes(ROWS * COLUMNS * 2)
    for keyword, value in values.items():
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    return data


def structure_set(number: int = 900) -> Dataset:
    """An object without images."""
    pixels = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelData",
              "PixelRepresentation", "SamplesPerPixel", "PhotometricInterpretation")  # fmt: skip
    return dataset(
        number,
        SOPClassUID=RTStructureSetStorage,
        Modality="RTSTRUCT",
        SeriesInstanceUID=uid("structures"),
        **dict.fromkeys(pixels),
    )


def encode(data: Dataset, *, implementation: str = PYDICOM_IMPLEMENTATION_UID) -> bytes:
    """The Part 10 file of a dataset; another ``implementation`` changes its meta group only."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = data.get("SOPClassUID", "1.2.3")
    meta.MediaStorageSOPInstanceUID = data.get("SOPInstanceUID", "1.2.3")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = implementation
    data.file_meta = meta
    data.preamble = bytes(128)
    buffer = io.BytesIO()
    data.save_as(buffer)
    return buffer.getvalue()


def ct(number: int = 1, **values: Any) -> bytes:
    return encode(dataset(number, **values))


def packed(entries: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return buffer.getvalue()
