"""Read and judge the header of one DICOM file, without touching its pixels.

Every refusal is a :class:`NotAccepted` with a code and a sentence for people. Sentences never
quote values: bytes that do not parse may hold patient data in any place.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass, field
from datetime import date, datetime, time
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.uid import UID, ExplicitVRBigEndian
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import uid_to_service_class

from workstation.receiving.structure import LONGEST_META, WINDOW, Broken, Shape, plain_meta, walk

DICOMDIR = "1.2.840.10008.1.3.10"
UNREADABLE = (
    AttributeError, BytesLengthException, EOFError, InvalidDicomError, KeyError, LookupError,
    NotImplementedError, OSError, OverflowError, RecursionError, TypeError, ValueError,
    struct.error, zlib.error,
)  # fmt: skip
"""What pydicom raises on bytes that are not what they claim to be."""
TAGS = [
    "SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID",
    "SeriesInstanceUID", "Modality", "SeriesNumber", "InstanceNumber", "SeriesDescription",
    "BodyPartExamined", "FrameOfReferenceUID", "AccessionNumber", "StudyDate", "StudyTime",
    "StudyID", "StudyDescription", "ReferringPhysicianName", "InstitutionName", "PatientID",
    "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex", "PatientAge",
    "PatientSize", "PatientWeight", "TimezoneOffsetFromUTC", "Rows", "Columns", "BitsAllocated",
    "SamplesPerPixel", "NumberOfFrames", "PhotometricInterpretation", "SeriesDate",
    "AcquisitionDate", "AcquisitionDateTime",
]  # fmt: skip
WANTED: dict[int, tuple[str, bytes]] = {
    tag_for_keyword(keyword): (keyword, dictionary_VR(keyword).encode())
    for keyword in TAGS
}
EVIDENCE = [
    "SpecificCharacterSet", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate",
    "PatientSex", "PatientAge", "PatientSize", "PatientWeight", "StudyID", "StudyDate",
    "StudyTime", "StudyDescription", "AccessionNumber", "ReferringPhysicianName",
    "InstitutionName", "TimezoneOffsetFromUTC",
]  # fmt: skip
"""Kept with the study as text, decoded, for the exports."""
ESCAPE = re.compile(r"\x1b[\x20-\x2f]+[\x30-\x7e]")
UID_SHAPE = re.compile(r"[0-9]+(\.[0-9]+)*")
SIGNATURES: list[tuple[bytes, str]] = [
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"MZ", "a Windows program"),
]
IMAGE_CLASSES_BY_OTHER_NAMES = ("EnhancedUSVolumeStorage",)
BYTE = 8


Texts: TypeAlias = Dataset | dict[str, str]
"""Elements by keyword: of pydicom, or plain text."""


class NotAccepted(Exception):
    """The file cannot be stored as a DICOM object. ``code`` is stable, ``str()`` is for people."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Ignored(NotAccepted):
    """A file that belongs to DICOM media but is no object to store."""


@dataclass(frozen=True)
class Header:
    """What the archive needs to know of one object; text is decoded Unicode."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str
    series_instance_uid: str
    patient_id: str
    issuer: str
    patient_name: str
    birth_date: date | None
    sex: str
    modality: str
    is_image: bool
    sop_class_name: str
    study_date: date | None = None
    study_time: time | None = None
    acquired: date | None = None
    """Day of the acquisition, or of the series if there is none."""
    accession_number: str = ""
    study_description: str = ""
    referring_physician: str = ""
    patient_age: str = ""
    series_number: int | None = None
    instance_number: int | None = None
    series_description: str = ""
    body_part: str = ""
    frame_of_reference_uid: str = ""
    rows: int | None = None
    columns: int | None = None
    number_of_frames: int | None = None
    evidence: dict[str, str] = field(default_factory=dict)


def read_header(path: Path) -> Header:
    """The header of the DICOM file at ``path``, if the file is whole and says who it is.

    Raises :class:`NotAccepted`, or :class:`Ignored` for a DICOMDIR.
    """
    with path.open("rb", buffering=WINDOW) as file:
        meta = _meta(file)
        start = file.tell()
        transfer_syntax = _transfer_syntax(meta)
        if _media_class(meta) == DICOMDIR:
            raise Ignored(
                "dicomdir", "A DICOMDIR is the table of contents of a disc; it holds no images."
            )
        try:
            shape = walk(file, start, transfer_syntax, WANTED)
        except Broken as error:
            raise NotAccepted(error.code, str(error)) from None
        try:
            texts: Texts | None = _plain_texts(shape, transfer_syntax)
            if texts is None:
                file.seek(0)
                texts = pydicom.dcmread(
                    file, stop_before_pixels=True, specific_tags=list(TAGS)
                )
            return _judge(texts, transfer_syntax, shape)
        except NotAccepted:
            raise
        except UNREADABLE:
            raise NotAccepted(
                "unreadable", "The header of this DICOM file cannot be read."
            ) from None


def _plain_texts(shape: Shape, transfer_syntax: str) -> dict[str, str] | None:
    """The wanted elements as text, if ASCII and the dictionary's types are all there is to them.

    pydicom takes ten times as long; it does the rest: other character sets, other types.
    """
    order: Literal["big", "little"] = (
        "big" if transfer_syntax == ExplicitVRBigEndian else "little"
    )
    texts = {}
    for tag, (vr, value) in shape.values.items():
        keyword, expected = WANTED[tag]
        if (vr and vr != expected) or not value.isascii() or b"\x1b" in value:
            return None
        if expected == b"US":
            if len(value) != 2:
                return None
            texts[keyword] = str(int.from_bytes(value, order))
        else:
            texts[keyword] = value.decode("ascii")
    # What is longer than any honest value, or of undefined length, was not kept.
    if any(tag in WANTED and tag not in shape.values for tag in shape.tags):
        return None
    return texts


def _meta(file: BinaryIO) -> Texts:
    head = file.read(132)
    if not head:
        raise NotAccepted("empty", "The file is empty.")
    if head[128:] != b"DICM":
        raise NotAccepted("not_dicom", _what_else(head))
    start = file.tell()
    if (plain := plain_meta(file.read(LONGEST_META))) is not None:
        texts, length = plain
        file.seek(start + length)
        return texts
    file.seek(start)
    try:
        # Leaves the file at the first byte after group 2.
        return read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    except UNREADABLE:
        raise NotAccepted(
            "bad_meta", "The file meta information of this DICOM file cannot be read."
        ) from None


def _media_class(meta: Texts) -> str:
    try:
        return _text(meta, "MediaStorageSOPClassUID")
    except UNREADABLE:
        raise NotAccepted(
            "bad_meta", "The file meta information of this DICOM file cannot be read."
        ) from None


def _what_else(head: bytes) -> str:
    for signature, name in SIGNATURES:
        if head.startswith(signature):
            return f"This is {name}, not a DICOM file."
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        return "This is a text file, not a DICOM file."
    return "This is not a DICOM file: the DICM mark after its first 128 bytes is missing."


def _transfer_syntax(meta: Texts) -> str:
    try:
        uid = UID(_text(meta, "TransferSyntaxUID"))
    except UNREADABLE:
        raise NotAccepted("bad_meta", "The file's transfer syntax cannot be read.") from None
    if not uid:
        raise NotAccepted(
            "no_transfer_syntax", "The file does not say how it is encoded (transfer syntax)."
        )
    if uid.is_private or uid.type != "Transfer Syntax":
        raise NotAccepted(
            "unknown_transfer_syntax", "The file is encoded in a way DICOM does not define."
        )
    return str(uid)


def _judge(dataset: Texts, transfer_syntax: str, shape: Shape) -> Header:
    sop_class = _uid(dataset, "SOPClassUID", "SOP class")
    name = UID(sop_class).keyword
    if not _is_stored(sop_class):
        raise NotAccepted("not_storage", "This DICOM object is of no known kind that is stored.")
    if name:
        is_image = "ImageStorage" in name or name in IMAGE_CLASSES_BY_OTHER_NAMES
    else:
        is_image = bool(shape.pixel_tag) and _count(dataset, "Rows") is not None
    header = Header(
        sop_class_uid=sop_class,
        sop_instance_uid=_uid(dataset, "SOPInstanceUID", "instance"),
        transfer_syntax_uid=transfer_syntax,
        study_instance_uid=_uid(dataset, "StudyInstanceUID", "study"),
        series_instance_uid=_uid(dataset, "SeriesInstanceUID", "series"),
        patient_id=_patient_id(dataset),
        issuer=_text(dataset, "IssuerOfPatientID")[:64],
        patient_name=_text(dataset, "PatientName")[:324],
        birth_date=_date(dataset, "PatientBirthDate"),
        sex=_text(dataset, "PatientSex")[:16],
        # OT ("other") is DICOM's own word for it.
        modality=_text(dataset, "Modality")[:16] or "OT",
        is_image=is_image,
        sop_class_name=UID(sop_class).name.removesuffix(" Storage") if name else "Private object",
        study_date=_date(dataset, "StudyDate"),
        study_time=_time(dataset, "StudyTime"),
        acquired=_date(dataset, "AcquisitionDate")
        or _date(dataset, "AcquisitionDateTime")
        or _date(dataset, "SeriesDate"),
        accession_number=_text(dataset, "AccessionNumber")[:64],
        study_description=_text(dataset, "StudyDescription")[:128],
        referring_physician=_text(dataset, "ReferringPhysicianName")[:324],
        patient_age=_text(dataset, "PatientAge")[:8],
        series_number=_integer(dataset, "SeriesNumber"),
        instance_number=_integer(dataset, "InstanceNumber"),
        series_description=_text(dataset, "SeriesDescription")[:128],
        body_part=_text(dataset, "BodyPartExamined")[:32],
        frame_of_reference_uid=_text(dataset, "FrameOfReferenceUID")[:64],
        rows=_count(dataset, "Rows"),
        columns=_count(dataset, "Columns"),
        number_of_frames=_count(dataset, "NumberOfFrames"),
        evidence={key: value for key in EVIDENCE if (value := _text(dataset, key))},
    )
    if is_image:
        _check_pixels(dataset, shape)
    return header


@lru_cache(maxsize=512)
def _is_stored(sop_class: str) -> bool:
    """Storage classes, retired ones too, and whatever a maker or a newer standard has added."""
    if uid_to_service_class(sop_class) is StorageServiceClass:
        return True
    name = UID(sop_class).keyword
    return not name or ("Storage" in name and "Commitment" not in name and name != "Storage")


def _patient_id(dataset: Texts) -> str:
    patient_id = _text(dataset, "PatientID")
    if not patient_id:
        raise NotAccepted(
            "no_patient_id",
            "The file has no patient ID, so it cannot be told whose images these are.",
        )
    if len(patient_id) > 64:
        raise NotAccepted("bad_patient_id", "The patient ID is longer than DICOM allows (64).")
    return patient_id


def _uid(dataset: Texts, keyword: str, what: str) -> str:
    """Digits and dots, 64 at most. Leading zeros in a component are against the standard (PS3.5
    9.1) but common in the field, and harm nothing here."""
    value = _text(dataset, keyword)
    code = what.lower().replace(" ", "_")
    if not value:
        raise NotAccepted(f"missing_{code}_uid", f"The file has no {what} UID.")
    if len(value) > 64 or not UID_SHAPE.fullmatch(value):
        raise NotAccepted(f"invalid_{code}_uid", f"The {what} UID of the file is not valid.")
    return value


def _check_pixels(dataset: Texts, shape: Shape) -> None:
    """Native pixel data are as long as rows x columns x samples x frames x bits say."""
    if not shape.pixel_tag:
        raise NotAccepted("no_pixel_data", "This image object has no pixel data.")
    rows, columns = _integer(dataset, "Rows"), _integer(dataset, "Columns")
    bits = _integer(dataset, "BitsAllocated")
    frames = _integer(dataset, "NumberOfFrames") if _text(dataset, "NumberOfFrames") else 1
    if not rows or not columns or not bits or not frames or min(rows, columns, bits, frames) < 1:
        raise NotAccepted(
            "no_image_size", "The file does not say how large its image is (rows, columns, bits)."
        )
    if shape.fragments is not None:
        if shape.fragments == 0 or shape.pixel_bytes == 0:
            raise NotAccepted("truncated", "The compressed pixel data of this image are empty.")
        return
    samples = _integer(dataset, "SamplesPerPixel") or 1
    if _text(dataset, "PhotometricInterpretation") == "YBR_FULL_422":
        samples = 2
    needed = (rows * columns * samples * frames * bits + BYTE - 1) // BYTE
    if shape.pixel_bytes < needed:
        raise NotAccepted(
            "truncated",
            f"The pixel data are cut short: {shape.pixel_bytes} of {needed} bytes are there.",
        )


def _text(dataset: Texts, keyword: str) -> str:
    """The element as Unicode text, single-valued, without padding or left-over escapes.

    pydicom 3.0 leaves the GB2312 escape (ESC $ ) A) in front of decoded text.
    """
    value: Any = dataset.get(keyword)
    if value is None:
        return ""
    if type(value) is str:
        return value.replace("\x00", "").strip()
    if isinstance(value, pydicom.multival.MultiValue):
        value = "\\".join(str(part) for part in value)
    return ESCAPE.sub("", str(value)).replace("\x00", "").strip()


def _integer(dataset: Texts, keyword: str) -> int | None:
    try:
        number = int(_text(dataset, keyword))
    except ValueError:
        return None
    # PostgreSQL's integer; larger ones are nonsense in every element read here.
    return number if abs(number) < 2**31 else None


def _count(dataset: Texts, keyword: str) -> int | None:
    number = _integer(dataset, keyword)
    return number if number is not None and number > 0 else None


def _date(dataset: Texts, keyword: str) -> date | None:
    return _date_of(_text(dataset, keyword).replace(".", "")[:8])


@lru_cache(maxsize=1024)
def _date_of(text: str) -> date | None:
    """Remembered: the images of a study repeat a few dates, and strptime is slow."""
    try:
        return datetime.strptime(text, "%Y%m%d").date() if len(text) == 8 else None
    except ValueError:
        return None


def _time(dataset: Texts, keyword: str) -> time | None:
    return _time_of(_text(dataset, keyword).replace(":", "").partition(".")[0])


@lru_cache(maxsize=1024)
def _time_of(text: str) -> time | None:
    shape = {2: "%H", 4: "%H%M", 6: "%H%M%S"}.get(len(text))
    try:
        return datetime.strptime(text, shape).time() if shape else None
    except ValueError:
        return None
