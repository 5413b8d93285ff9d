"""What the tests of de-identification share: real files, and an independent look at a result.

The look goes through the written bytes and the decoded elements with its own list of identifying
attributes; it knows nothing of the tables and of the engine's own check.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from tests.receiving.objects import dataset as slice_of
from workstation.receiving.deidentification.engine import deidentify
from workstation.receiving.deidentification.options import Dates, Options
from workstation.receiving.deidentification.substitutes import Substitutes

SUBSTITUTES = Substitutes(b"a key for tests, nothing else...", "1")
BASIC = Options()
RESEARCH = Options(
    dates=Dates.SHIFTED, patient_characteristics=True, safe_private=True, clean_descriptors=True
)
"""What a site would choose that wants SUV and readable series descriptions."""
PEOPLE_AND_PLACES = (
    "PatientName", "PatientID", "IssuerOfPatientID", "OtherPatientIDs", "OtherPatientNames",
    "PatientBirthName", "PatientMotherBirthName", "PatientAddress", "PatientTelephoneNumbers",
    "MedicalRecordLocator", "AccessionNumber", "ReferringPhysicianName", "PerformingPhysicianName",
    "NameOfPhysiciansReadingStudy", "PhysiciansOfRecord", "OperatorsName", "RequestingPhysician",
    "ScheduledPerformingPhysicianName", "ResponsiblePerson", "InstitutionName",
    "InstitutionAddress", "InstitutionalDepartmentName", "StationName", "DeviceSerialNumber",
    "RequestedProcedureID", "ScheduledProcedureStepID", "PerformedProcedureStepID", "AdmissionID",
    "RequestingService", "VerifyingObserverName", "VerifyingOrganization", "PersonName",
    "ContentCreatorName", "PatientBirthDate", "ROIInterpreter",
    "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest", "StationAETitle", "RetrieveAETitle",
)  # fmt: skip
MEANT_AS_NOBODY = {"anonymous", "anonymized", "none", "unknown", "removed", "anon"}
INSTANCE_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID",
                 "ReferencedSOPInstanceUID", "ReferencedFrameOfReferenceUID")  # fmt: skip
PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)


def elements(dataset: Dataset) -> Iterator[DataElement]:
    for element in dataset:
        yield element
        if element.VR == "SQ":
            for item in element.value:
                yield from elements(item)


def texts(element: DataElement) -> list[str]:
    if element.value is None or isinstance(element.value, bytes):
        return []
    many = element.value if isinstance(element.value, (MultiValue, list)) else [element.value]
    return [re.sub(r"\x1b\S\S?", "", str(one)).strip("\0 ") for one in many]


def originals(dataset: Dataset) -> set[str]:
    """Every string of at least three characters that names a person or a place."""
    found: set[str] = set()
    for element in elements(dataset):
        if element.keyword in PEOPLE_AND_PLACES or element.VR == "PN":
            for text in texts(element):
                found.add(text)
                if element.VR == "PN":
                    found.update(re.split(r"[\^= ,]+", text))
    return {text for text in found if len(text) >= 3 and text.casefold() not in MEANT_AS_NOBODY}


def original_uids(dataset: Dataset) -> set[str]:
    found = {
        text
        for element in elements(dataset)
        if element.keyword in INSTANCE_UIDS
        for text in texts(element)
    }
    return {uid for uid in found if uid and not uid.startswith("1.2.840.10008.")}


def written(dataset: Dataset) -> bytes:
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def read_again(dataset: Dataset) -> Dataset:
    return pydicom.dcmread(io.BytesIO(written(dataset)))


def leaks(strings: set[str], uids: set[str], result: Dataset) -> list[str]:
    """Keywords where an original is found: as a part of a text from five characters on, as a
    whole word when shorter; in private and binary elements as bytes."""
    found = []
    for element in elements(result):
        if element.tag in PIXELS or element.VR == "SQ":
            continue
        if element.keyword in ("ImageType", "FrameType"):
            # One phantom is called "Perfusion", which is also a word of the standard.
            continue
        if isinstance(element.value, bytes):
            body = element.value.lower()
            hit = any(len(s) >= 5 and s.lower().encode() in body for s in strings)
        elif element.VR == "UI":
            hit = bool(uids & set(texts(element)))
        elif element.VR in ("DA", "TM", "DT", "DS", "IS"):
            # Numbers and moved dates can be equal to an identifier by chance.
            hit = False
        else:
            hit = any(_holds(text, string) for text in texts(element) for string in strings)
        if hit:
            found.append(element.keyword or str(element.tag))
    return found


def _holds(text: str, string: str) -> bool:
    text, string = text.casefold(), string.casefold()
    if len(string) >= 5 or not string.isascii():
        return string in text
    return string in re.split(r"[\W_]+", text) or string == text


def dicom_files(*folders: Path) -> list[Path]:
    """Files below that pydicom reads and that are objects."""
    found = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if not path.is_file():
                continue
            try:
                if "SOPClassUID" in pydicom.dcmread(path, specific_tags=["SOPClassUID"]):
                    found.append(path)
            except (pydicom.errors.InvalidDicomError, NotImplementedError):
                continue
    assert found, "no DICOM files"
    return found


NAME, PATIENT_ID = "Wurzelhuber^Xaverius", "MRN-884422"


def code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def sent(**values: Any) -> Dataset:
    return slice_of(**{"PatientName": NAME, "PatientID": PATIENT_ID, **values})


def result_of(options: Options, **values: Any) -> Dataset:
    data = sent(**values)
    deidentify(data, options, SUBSTITUTES)
    return data
