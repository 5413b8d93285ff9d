"""A corrected copy of a refused object: only identifying attributes change, and the old values
travel along in its Original Attributes Sequence (PS3.3 C.12.1.1.9).

Pixel data and every other element are written as they were read.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

import pydicom
from pydicom.config import RAISE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid
from pydicom.valuerep import validate_value

from workstation.receiving.headers import UID_SHAPE, UNREADABLE

MODIFYING_SYSTEM = "RADFUSE"
FIELDS: dict[str, str] = {
    "PatientID": "Patient ID",
    "IssuerOfPatientID": "Issuer of the patient ID",
    "StudyInstanceUID": "Study Instance UID",
    "SeriesInstanceUID": "Series Instance UID",
    "SOPInstanceUID": "SOP Instance UID",
    "Modality": "Modality",
}
"""Attributes a person may change, with their names on the page."""
CAUSES: dict[str, str] = {
    "no_patient_id": "PatientID",
    "bad_patient_id": "PatientID",
    "missing_study_uid": "StudyInstanceUID",
    "invalid_study_uid": "StudyInstanceUID",
    "missing_series_uid": "SeriesInstanceUID",
    "invalid_series_uid": "SeriesInstanceUID",
    "missing_instance_uid": "SOPInstanceUID",
    "invalid_instance_uid": "SOPInstanceUID",
    "conflicting": "SOPInstanceUID",
    "other_patient": "PatientID",
    "other_study": "SeriesInstanceUID",
}
"""Code of a refusal that a correction can lift -> the attribute that is at fault."""
SHOWN = [
    "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyDescription",
    "AccessionNumber", "SeriesDescription", "InstanceNumber", "InstitutionName",
]  # fmt: skip
"""What helps to tell whose image this is."""
ID_SHAPE = re.compile(r"[\x20-\x5b\x5d-\x7e]*")
CODE_SHAPE = re.compile(r"[A-Z0-9_ ]{1,16}")


class CannotCorrect(Exception):
    """The object, or what was entered for it, is not one that can be written."""


@dataclass(frozen=True)
class Found:
    """What a refused object says now."""

    values: dict[str, str]
    """Attributes that may be changed, as text; empty when absent."""
    about: list[tuple[str, str]]
    """What else tells whose image it is, with its name."""


def read(file: BinaryIO) -> Found:
    """The attributes of a refused object. Raises :class:`CannotCorrect`."""
    dataset = _dataset(file, stop_before_pixels=True)
    try:
        return Found(
            {keyword: _text(dataset, keyword) for keyword in FIELDS},
            [
                (pydicom.datadict.dictionary_description(keyword), text)
                for keyword in SHOWN
                if (text := _text(dataset, keyword))
            ],
        )
    except UNREADABLE:
        raise CannotCorrect("The header of this object cannot be read.") from None


def new_uid() -> str:
    """A UID that no other object has (2.25, PS3.5 B.2)."""
    return str(generate_uid(prefix=None))


def check(values: dict[str, str]) -> dict[str, str]:
    """Keyword -> what is wrong with the entered value; empty when all can be written."""
    wrong = {}
    for keyword, value in values.items():
        if keyword.endswith("UID"):
            if len(value) > 64 or not UID_SHAPE.fullmatch(value):
                wrong[keyword] = "Digits and dots, 64 at most."
        elif keyword == "Modality":
            if not CODE_SHAPE.fullmatch(value):
                wrong[keyword] = "Capital letters and digits, 16 at most, e.g. CT."
        elif len(value) > 64 or not ID_SHAPE.fullmatch(value):
            wrong[keyword] = "At most 64 Latin letters, digits and signs, without a backslash."
        elif keyword == "PatientID" and not value.strip():
            wrong[keyword] = "Without a patient ID the images belong to nobody."
    return wrong


def write(
    file: BinaryIO, changes: dict[str, str], *, source: str, now: datetime
) -> bytes:
    """The corrected object as a DICOM file. ``source`` is who sent the old values.

    Raises :class:`CannotCorrect`.
    """
    if check(changes):
        raise CannotCorrect("These values cannot be written.")
    dataset = _dataset(file)
    try:
        before = _original(dataset, list(changes), source, now)
        for keyword, value in changes.items():
            dataset[keyword] = DataElement(tag_for_keyword(keyword), dictionary_VR(keyword), value)
        earlier = list(dataset.get("OriginalAttributesSequence") or [])
        dataset.OriginalAttributesSequence = Sequence([*earlier, before])
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        written = io.BytesIO()
        dataset.save_as(written, enforce_file_format=True)
    except UNREADABLE:
        raise CannotCorrect("This object cannot be written with these values.") from None
    return written.getvalue()


def _dataset(file: BinaryIO, *, stop_before_pixels: bool = False) -> FileDataset:
    try:
        return pydicom.dcmread(file, stop_before_pixels=stop_before_pixels)
    except UNREADABLE:
        raise CannotCorrect("The header of this object cannot be read.") from None


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    return "" if value is None else str(value).replace("\x00", "").strip()


def _original(dataset: Dataset, keywords: list[str], source: str, now: datetime) -> Dataset:
    """One item: who changed what, when and why, with the values as they were."""
    item, before = Dataset(), Dataset()
    broken: list[Dataset] = []
    for keyword in keywords:
        old = _text(dataset, keyword)
        if _conforms(keyword, old):
            # An attribute that was not there is given as an empty one.
            setattr(before, keyword, old)
        else:
            broken.append(_nonconforming(keyword, old))
    item.ModifiedAttributesSequence = Sequence([before])
    if broken:
        item.NonconformingModifiedAttributesSequence = Sequence(broken)
    item.AttributeModificationDateTime = now.strftime("%Y%m%d%H%M%S.%f%z")
    item.ModifyingSystem = MODIFYING_SYSTEM
    item.SourceOfPreviousValues = source[:64]
    item.ReasonForTheAttributeModification = "CORRECT"
    return item


def _conforms(keyword: str, value: str) -> bool:
    try:
        validate_value(dictionary_VR(keyword), value, RAISE)
    except ValueError:
        return False
    return value.isascii()


def _nonconforming(keyword: str, value: str) -> Dataset:
    """A value that its type forbids, as bytes (PS3.3 C.12.1.1.9.2)."""
    item = Dataset()
    item.SelectorAttribute = tag_for_keyword(keyword)
    item.SelectorValueNumber = 0
    data = value.encode("utf-8", "replace")
    item.NonconformingDataElementValue = data + b"\0" * (len(data) % 2)
    return item
