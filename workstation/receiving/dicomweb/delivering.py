"""The bytes of an instance as they leave: those that came, unless its study was moved.

A study moved to another patient leaves with that patient's identity and says so in
OriginalAttributesSequence (PS3.3 C.12.1.1.9.1). Everything else leaves byte for byte, unless the
client asks for Explicit VR Little Endian and the object is encoded in another way.
"""

from __future__ import annotations

import copy
import io
import logging
import struct
from collections.abc import Iterator
from typing import BinaryIO

import pydicom
from django.utils import timezone
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from workstation.receiving.dicomweb.encoding import little_endian
from workstation.receiving.headers import UNREADABLE
from workstation.receiving.models import Instance, Study
from workstation.receiving.plain_text import as_utf_8
from workstation.receiving.storage import BytesMissing, chunks_of, opened, path_of

log = logging.getLogger(__name__)
IDENTITY = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex")
NOT_DECODED = (*UNREADABLE, RuntimeError, struct.error)
"""What pydicom and its decoders raise for pixel data that they cannot decode."""


def is_moved(study: Study) -> bool:
    """Whether the headers name another patient than the one the study now belongs to."""
    return study.received_as_id is not None and study.received_as_id != study.patient_id


def file_of(instance: Instance) -> BinaryIO:
    """The stored file, to be read in places. Raises :class:`BytesMissing`."""
    try:
        return path_of(instance.sha256).open("rb")
    except FileNotFoundError:
        raise BytesMissing from None


def delivered(instance: Instance, transfer_syntax: str = "*") -> tuple[str, Iterator[bytes]]:
    """Transfer syntax and pieces of the Part 10 file; ``*`` keeps the stored transfer syntax.

    An object that cannot be decoded leaves as it is stored: the first value says so. Raises
    :class:`BytesMissing`.
    """
    stored = instance.transfer_syntax_uid
    study = instance.series.study
    if transfer_syntax == ExplicitVRLittleEndian != stored:
        try:
            return str(ExplicitVRLittleEndian), iter([_plain(_read(instance, study))])
        except NOT_DECODED as error:
            log.warning("instance %s is delivered as stored: %s", instance.pk, type(error).__name__)
    if is_moved(study):
        return stored, iter([_written(_read(instance, study))])
    return stored, _stored(instance)


def _read(instance: Instance, study: Study) -> Dataset:
    with file_of(instance) as file:
        dataset = pydicom.dcmread(file)
    if is_moved(study):
        correct(dataset, study)
    return dataset


def _stored(instance: Instance) -> Iterator[bytes]:
    # Opened at once: bytes that are missing are found before the answer begins.
    file = opened(instance.sha256)

    def pieces() -> Iterator[bytes]:
        with file:
            yield from chunks_of(file)

    return pieces()


def _written(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def _plain(dataset: Dataset) -> bytes:
    """The Part 10 file in Explicit VR Little Endian."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        dataset.decompress()
    if syntax == ExplicitVRBigEndian:
        _turn_bytes(dataset)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    dataset.save_as(buffer, implicit_vr=False, little_endian=True)
    return buffer.getvalue()


def _turn_bytes(dataset: Dataset) -> None:
    """Big endian values in memory to little endian; numbers are turned by reading them."""
    for item in dataset.iterall():
        if isinstance(item.value, bytes):
            item.value = little_endian(item.value, item.VR, ">")
    dataset.set_original_encoding(False, True, dataset.original_character_set)


def correct(dataset: Dataset, study: Study) -> None:
    """Give a header the identity of the study's patient; the values it had are kept inside."""
    patient = study.patient
    before = Dataset()
    for keyword in IDENTITY:
        if keyword in dataset:
            before[keyword] = copy.deepcopy(dataset[keyword])
    change = study.identity_changes.filter(undone_at__isnull=True).order_by("-id").first()
    item = Dataset()
    item.ModifiedAttributesSequence = Sequence([before])
    at = change.at if change else timezone.now()
    item.AttributeModificationDateTime = at.strftime("%Y%m%d%H%M%S.%f%z")
    item.ModifyingSystem = "Radfuse"
    item.SourceOfPreviousValues = ""
    item.ReasonForTheAttributeModification = "CORRECT"
    as_utf_8(dataset)
    earlier = list(dataset.get("OriginalAttributesSequence") or [])
    dataset.OriginalAttributesSequence = Sequence([*earlier, item])
    dataset.PatientID = patient.patient_id
    dataset.PatientName = patient.name
    dataset.PatientBirthDate = patient.birth_date.strftime("%Y%m%d") if patient.birth_date else ""
    dataset.PatientSex = patient.sex
    if patient.issuer or "IssuerOfPatientID" in dataset:
        dataset.IssuerOfPatientID = patient.issuer
